//! Which files make up a package's conf.

use std::path::{Path, PathBuf};

use crate::names::{Kernel, Package};
use crate::tree::Trees;

/// Where an administrator's overrides are, inside the root.
const OVERRIDES: &str = "/etc/dkms";

/// One conf file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// Its path inside the root, for messages.
    pub inside: PathBuf,
    /// Its path for this process.
    pub outer: PathBuf,
}

impl Source {
    /// The file that `inside` is in the trees' root.
    pub fn new(trees: &Trees, inside: impl Into<PathBuf>) -> Self {
        let inside = inside.into();
        let outer = trees.outer(&inside);
        Self { inside, outer }
    }
}

/// The files of a package's conf in the order in which they count: its own one (`conf`, an inside
/// path, where the user gave another than `<tree>/<m>/<v>/source/dkms.conf`), which need not exist,
/// then those of the six overrides that exist (docs/contract.md 1.4). Those that name a kernel
/// are looked for only when there is one.
pub fn package_files(trees: &Trees, package: &Package, conf: Option<&Path>, kernel: Option<&Kernel>) -> Vec<Source> {
    let own = match conf {
        Some(conf) => conf.to_owned(),
        None => trees.shown(&trees.source_link(package)).join("dkms.conf"),
    };
    let Package { name, version } = package;
    let mut names = vec![format!("{name}.conf"), format!("{name}-{version}.conf")];
    if let Some(Kernel { release, arch }) = kernel {
        names.extend([
            format!("{name}-{version}-{release}.conf"),
            format!("{name}-{version}-{release}-{arch}.conf"),
            format!("{name}--{release}.conf"),
            format!("{name}--{release}-{arch}.conf"),
        ]);
    }
    let overrides = names
        .into_iter()
        .map(|name| Source::new(trees, Path::new(OVERRIDES).join(name)))
        .filter(|source| source.outer.is_file());
    std::iter::once(Source::new(trees, own)).chain(overrides).collect()
}

/// The framework's files that exist: `framework.conf`, then `framework.conf.d/*.conf` by name.
pub fn framework_files(trees: &Trees) -> std::io::Result<Vec<Source>> {
    let main = Source::new(trees, Path::new(OVERRIDES).join("framework.conf"));
    let directory = Path::new(OVERRIDES).join("framework.conf.d");
    let mut names = Vec::new();
    match fs_err::read_dir(trees.outer(&directory)) {
        Ok(entries) => {
            for entry in entries {
                names.push(PathBuf::from(entry?.file_name()));
            }
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    // As the shell's `*.conf` does: no dot files.
    names.retain(|name| name.extension().is_some_and(|end| end == "conf") && !name.to_string_lossy().starts_with('.'));
    names.sort();
    let fragments = names.into_iter().map(|name| Source::new(trees, directory.join(name)));
    Ok(std::iter::once(main).chain(fragments).filter(|source| source.outer.is_file()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::root::Root;

    #[test]
    fn overrides_in_order_and_only_existing_ones() {
        let tmp = tempfile::tempdir().unwrap();
        let etc = tmp.path().join("etc/dkms");
        fs_err::create_dir_all(&etc).unwrap();
        let trees = Trees::new(Root::at(tmp.path()).unwrap());
        let package = Package::new("m", "1").unwrap();
        let kernel = Kernel::new("6.1", "x86_64").unwrap();
        let names = |conf: Option<&str>, kernel| -> Vec<String> {
            package_files(&trees, &package, conf.map(Path::new), kernel)
                .iter()
                .map(|source| source.inside.display().to_string())
                .collect()
        };
        let own = "/var/lib/dkms/m/1/source/dkms.conf";
        assert_eq!(names(None, Some(&kernel)), [own]);
        for name in [
            "m--6.1-x86_64.conf",
            "m--6.1.conf",
            "m-1-6.1-x86_64.conf",
            "m-1-6.1.conf",
            "m-1.conf",
            "m.conf",
            "m-2.conf",
        ] {
            fs_err::write(etc.join(name), "").unwrap();
        }
        assert_eq!(
            names(None, Some(&kernel)),
            [
                own,
                "/etc/dkms/m.conf",
                "/etc/dkms/m-1.conf",
                "/etc/dkms/m-1-6.1.conf",
                "/etc/dkms/m-1-6.1-x86_64.conf",
                "/etc/dkms/m--6.1.conf",
                "/etc/dkms/m--6.1-x86_64.conf",
            ]
        );
        assert_eq!(names(Some("/tmp/x.conf"), None), ["/tmp/x.conf", "/etc/dkms/m.conf", "/etc/dkms/m-1.conf"]);
    }
}
