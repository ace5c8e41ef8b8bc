//! How much the administrator cares about a package.

use crate::assignments;
use crate::durable;
use crate::names::Name;
use crate::tree::Trees;

/// The directive that says it.
pub const DKMS_POLICY: &str = "DKMS_POLICY";

/// How much the administrator cares about a package.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// A failure is not worth a warning's exit code.
    Optional,
    /// The default.
    Wanted,
    /// A failure fails.
    Required,
}

impl Wish {
    /// What a value of `DKMS_POLICY` means; `None` if it is none.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "optional" => Some(Self::Optional),
            "wanted" => Some(Self::Wanted),
            "required" => Some(Self::Required),
            _ => None,
        }
    }

    /// The wish for the package `name`: the last plain assignment to `DKMS_POLICY` in `/etc/dkms/<name>.conf`, and
    /// nowhere else. It is read without a shell: what decides about a failure must not depend on a file that failed.
    pub fn of(trees: &Trees, name: &Name) -> Self {
        let text = durable::read(&trees.outer(format!("/etc/dkms/{name}.conf"))).ok().flatten().unwrap_or_default();
        let value = assignments::value(&String::from_utf8_lossy(&text), DKMS_POLICY);
        value.and_then(|value| Self::parse(&value)).unwrap_or(Self::Wanted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::root::Root;

    #[test]
    fn only_the_administrators_file_counts() {
        let tmp = tempfile::tempdir().unwrap();
        let trees = Trees::new(Root::at(tmp.path()).unwrap());
        let name = Name::new("hello").unwrap();
        let (etc, source) = (tmp.path().join("etc/dkms"), tmp.path().join("usr/src/hello-1"));
        fs_err::create_dir_all(&etc).unwrap();
        fs_err::create_dir_all(&source).unwrap();
        fs_err::write(source.join("dkms.conf"), "DKMS_POLICY=required\n").unwrap();
        fs_err::write(etc.join("hello-1.conf"), "DKMS_POLICY=required\n").unwrap();
        assert_eq!(Wish::of(&trees, &name), Wish::Wanted);
        for (text, wish) in [
            ("DKMS_POLICY=required\n", Wish::Required),
            ("DKMS_POLICY=required # whatever happens\n", Wish::Required),
            ("\tDKMS_POLICY=\"optional\" ; X=1", Wish::Optional),
            ("BUILD_EXCLUSIVE_KERNEL='^6[.]' DKMS_POLICY=required\n", Wish::Required),
            ("export DKMS_POLICY='required'", Wish::Required),
            ("DKMS_POLICY=required\nDKMS_POLICY=wanted\n", Wish::Wanted),
            ("#DKMS_POLICY=required\n", Wish::Wanted),
            ("DKMS_POLICY=required true\n", Wish::Wanted),
            ("DKMS_POLICY=$X\n", Wish::Wanted),
            ("DKMS_POLICY=always\n", Wish::Wanted),
            ("DKMS_POLICY=required\nexit 1\n", Wish::Required),
        ] {
            fs_err::write(etc.join("hello.conf"), text).unwrap();
            assert_eq!(Wish::of(&trees, &name), wish, "{text:?}");
        }
    }
}
