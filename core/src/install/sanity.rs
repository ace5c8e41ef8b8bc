//! Whether a module may take the place of one that the kernel has already (docs/contract.md 6.6).

use std::cmp::Ordering;
use std::path::Path;

use crate::elf::{ElfError, Module};
use crate::kernel::version;

/// What tells modules of one name apart.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ModuleVersion {
    /// The first word of modinfo's `version`.
    pub version: String,
    /// modinfo's `srcversion`.
    pub srcversion: String,
}

impl ModuleVersion {
    /// Those of the module file at `path`; a file that is no module has none.
    pub fn read(path: &Path) -> Self {
        match Module::read(path) {
            Ok(module) => Self::new(module.field("version"), module.field("srcversion")),
            Err(error) => {
                match error {
                    // It names the file itself.
                    ElfError::Read { .. } => log::warn!("{error}"),
                    _ => log::warn!("{}: {error}", path.display()),
                }
                Self::default()
            }
        }
    }

    /// From modinfo's fields.
    pub fn new(version: Option<&str>, srcversion: Option<&str>) -> Self {
        let mut words = version.unwrap_or_default().split_whitespace();
        let first = words.next().unwrap_or_default().to_owned();
        // Before modules had a srcversion, its place was a checksum behind the version.
        let checksum = words.nth(1).unwrap_or_default();
        Self { version: first, srcversion: srcversion.unwrap_or(checksum).to_owned() }
    }
}

/// What was decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Install it.
    Install,
    /// The kernel's is newer.
    NotNewer,
    /// The kernel has this one.
    Same,
}

/// Compares the built module with the one `found` in the kernel's tree. `is_same`: they do the same. The same version and srcversion
/// do not tell: a srcversion is of the `.c` files, and since Linux 7 not of the headers beside them.
pub fn judge(built: &ModuleVersion, found: &ModuleVersion, is_same: impl FnOnce() -> bool) -> Verdict {
    match version::compare(&found.version, &built.version) {
        Ordering::Greater => Verdict::NotNewer,
        Ordering::Equal if found.srcversion == built.srcversion && is_same() => Verdict::Same,
        Ordering::Less | Ordering::Equal => Verdict::Install,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_classics_table_and_what_modules_do() {
        let facts = |version: &str, srcversion: &str| ModuleVersion::new(Some(version), Some(srcversion));
        let cases = [
            ("1.0", "A", "2.0", "B", false, Verdict::NotNewer),
            ("2.0", "A", "1.0", "B", false, Verdict::Install),
            ("1.0", "A", "1.0", "A", true, Verdict::Same),
            ("1.0", "A", "1.0", "A", false, Verdict::Install),
            ("1.0", "A", "1.0", "B", false, Verdict::Install),
            ("", "", "", "", true, Verdict::Same),
            ("", "", "", "", false, Verdict::Install),
            ("", "A", "", "A", true, Verdict::Same),
            ("", "A", "", "A", false, Verdict::Install),
            ("1.0", "A", "", "B", false, Verdict::Install),
            ("", "A", "1.0", "B", false, Verdict::NotNewer),
            ("5.15.0-1020", "", "5.15.0-999", "", false, Verdict::Install),
        ];
        for (version, srcversion, found_version, found_srcversion, same, expected) in cases {
            let verdict = judge(&facts(version, srcversion), &facts(found_version, found_srcversion), || same);
            assert_eq!(verdict, expected, "{version} {srcversion} over {found_version} {found_srcversion}");
        }
    }
}
