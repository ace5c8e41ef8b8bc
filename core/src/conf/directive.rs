//! The names that conf files may set, and the values bash gave them.

use std::collections::BTreeMap;

/// The directives of a dkms.conf (dkms(8), "DKMS.CONF"; docs/contract.md 4.3), in the order in
/// which the classic knows them, then the deprecated ones in the order of their warnings, then ours.
pub const PACKAGE: &[&str] = &[
    "PACKAGE_NAME",
    "PACKAGE_VERSION",
    "POST_ADD",
    "POST_BUILD",
    "POST_INSTALL",
    "POST_REMOVE",
    "PRE_BUILD",
    "PRE_INSTALL",
    "BUILD_DEPENDS",
    "BUILD_EXCLUSIVE_ARCH",
    "BUILD_EXCLUSIVE_CONFIG",
    "BUILD_EXCLUSIVE_KERNEL",
    "BUILD_EXCLUSIVE_KERNEL_MIN",
    "BUILD_EXCLUSIVE_KERNEL_MAX",
    "MAKE",
    "MAKE_MATCH",
    "PATCH",
    "PATCH_MATCH",
    "BUILT_MODULE_NAME",
    "BUILT_MODULE_LOCATION",
    "DEST_MODULE_NAME",
    "DEST_MODULE_LOCATION",
    "STRIP",
    "AUTOINSTALL",
    "NO_WEAK_MODULES",
    "BUILD_DEPENDS_REBUILD",
    "CLEAN",
    "REMAKE_INITRD",
    "MODULES_CONF",
    "MODULES_CONF_OBSOLETES",
    "MODULES_CONF_ALIAS_TYPE",
    "MODULES_CONF_OBSOLETE_ONLY",
    "OBSOLETE_BY",
    "DKMS_POLICY",
    "MODULES_LOAD",
    "DKMS_BUILD_AS",
    "DKMS_BUILD_NETWORK",
    "DKMS_SCRIPTS_AS",
    "DKMS_JOBS",
    "DKMS_REUSE",
];

/// The directives of ours that only the administrator sets: in an override below `/etc/dkms` or on the command line. Those in
/// a package's own dkms.conf are ignored.
pub const ADMINISTRATORS: &[&str] = &["DKMS_BUILD_AS", "DKMS_BUILD_NETWORK", "DKMS_SCRIPTS_AS", "DKMS_REUSE"];

/// The deprecated directives, in the order in which they are warned about.
pub const DEPRECATED: &[&str] = &[
    "CLEAN",
    "REMAKE_INITRD",
    "MODULES_CONF",
    "MODULES_CONF_OBSOLETES",
    "MODULES_CONF_ALIAS_TYPE",
    "MODULES_CONF_OBSOLETE_ONLY",
    "OBSOLETE_BY",
];

/// The options of framework.conf (docs/contract.md 5), and those of ours: `policy`, `modprobe_conf`, `build_as`,
/// `build_network`, `build_time_limit`, `probe_cache`, `compiler_launcher`, `scripts_as`, `result_cache`, `result_cache_size`,
/// `notify`, `reuse`, and those of a share.
pub const FRAMEWORK: &[&str] = &[
    "source_tree",
    "dkms_tree",
    "install_tree",
    "tmp_location",
    "verbose",
    "symlink_modules",
    "autoinstall_all_kernels",
    "modprobe_on_install",
    "continue_on_error",
    "parallel_jobs",
    "compress_gzip_opts",
    "compress_xz_opts",
    "compress_zstd_opts",
    "build_environment",
    "post_transaction",
    "sign_file",
    "mok_signing_key",
    "mok_certificate",
    "try_sign_modules",
    "policy",
    "modprobe_conf",
    "build_as",
    "build_network",
    "build_time_limit",
    "probe_cache",
    "compiler_launcher",
    "scripts_as",
    "result_cache",
    "result_cache_size",
    "notify",
    "reuse",
    "share",
    "share_push",
    "share_key",
    "share_time_limit",
    "build_locally",
];

/// The values of directives, by name and array index; a plain variable is index 0. Arrays may have holes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Raw(BTreeMap<String, BTreeMap<usize, String>>);

impl Raw {
    /// Sets one value.
    pub fn set(&mut self, name: &str, index: usize, value: &str) {
        self.0.entry(name.to_owned()).or_default().insert(index, value.to_owned());
    }

    /// Sets all that `other` has.
    pub fn extend(&mut self, other: Self) {
        for (name, values) in other.0 {
            self.0.entry(name).or_default().extend(values);
        }
    }

    /// The value at `index`, also when it is empty; `None` if it is not set.
    pub fn at(&self, name: &str, index: usize) -> Option<&str> {
        self.0.get(name)?.get(&index).map(String::as_str)
    }

    /// The value at `index` unless it is not set or empty.
    pub fn text(&self, name: &str, index: usize) -> Option<&str> {
        self.at(name, index).filter(|text| !text.is_empty())
    }

    /// Every index and value of a directive that is set, in index order.
    pub fn all(&self, name: &str) -> impl Iterator<Item = (usize, &str)> + '_ {
        self.0.get(name).into_iter().flatten().map(|(index, value)| (*index, value.as_str()))
    }

    /// Every directive that is set, with its values.
    pub fn directives(&self) -> impl Iterator<Item = (&str, &BTreeMap<usize, String>)> {
        self.0.iter().map(|(name, values)| (name.as_str(), values))
    }
}

/// One value given on the command line with `--directive`: it replaces what the files say, unexpanded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Directive {
    /// The name; unknown ones are passed over.
    pub name: String,
    /// The array index, 0 when none was given.
    pub index: usize,
    /// Whether it was `NAME+=VALUE`: the value goes behind the one from the files.
    pub append: bool,
    /// The value.
    pub value: String,
}

impl Directive {
    /// Reads `NAME=VALUE`, `NAME[INDEX]=VALUE` or `NAME+=VALUE`; `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let (left, value) = text.split_once('=')?;
        let (left, append) = match left.strip_suffix('+') {
            Some(left) => (left, true),
            None => (left, false),
        };
        let (name, index) = match left.strip_suffix(']') {
            Some(left) => {
                let (name, index) = left.split_once('[')?;
                (name, index.parse().ok()?)
            }
            None => (left, 0),
        };
        is_variable(name).then(|| Self { name: name.to_owned(), index, append, value: value.to_owned() })
    }
}

/// Whether bash takes `name` for a variable's name (bash(1), "DEFINITIONS").
pub(super) fn is_variable(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directives_of_the_command_line() {
        let parsed = |text| Directive::parse(text).map(|d| (d.name, d.index, d.append, d.value));
        let given = |name: &str, index, append, value: &str| Some((name.to_owned(), index, append, value.to_owned()));
        assert_eq!(parsed("MAKE=a=b  c"), given("MAKE", 0, false, "a=b  c"));
        assert_eq!(parsed("MAKE[12]=x"), given("MAKE", 12, false, "x"));
        assert_eq!(parsed("MAKE+= x"), given("MAKE", 0, true, " x"));
        assert_eq!(parsed("STRIP="), given("STRIP", 0, false, ""));
        for bad in ["nonsense", "=x", "1A=x", "A-B=x", "A[x]=y", "A]=y", "A[1=y", "A[-1]=y"] {
            assert_eq!(parsed(bad), None, "{bad}");
        }
    }

    #[test]
    fn holes_and_empty_values_differ() {
        let mut raw = Raw::default();
        raw.set("MAKE", 3, "x");
        raw.set("MAKE", 1, "");
        assert_eq!(raw.all("MAKE").collect::<Vec<_>>(), [(1, ""), (3, "x")]);
        assert_eq!((raw.at("MAKE", 1), raw.text("MAKE", 1)), (Some(""), None));
        assert_eq!((raw.at("MAKE", 0), raw.at("PATCH", 0)), (None, None));
    }
}
