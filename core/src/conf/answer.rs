//! What bash made of the files of one request.

use std::collections::BTreeSet;
use std::path::PathBuf;

use super::directive::Raw;

/// What the files of one request set.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answer {
    /// The directives' values.
    pub raw: Raw,
    /// What the package's own file sets of [`super::directive::ADMINISTRATORS`]: it is in no other field.
    pub ignored: Raw,
    /// The files that were evaluated, in order.
    pub files: Vec<PathBuf>,
    /// The values of `MAKE_MATCH`, `PATCH_MATCH`, `BUILD_EXCLUSIVE_KERNEL` and `BUILD_EXCLUSIVE_ARCH`
    /// that match the request's kernel, as bash's `=~` sees it.
    pub matching: BTreeSet<(String, usize)>,
    /// Those of them that are no valid regular expression (they match nothing).
    pub invalid: BTreeSet<(String, usize)>,
    /// Deprecated directives, one for each file after which they were set.
    pub deprecated: Vec<Deprecation>,
    /// The beginning of what the files said on standard error.
    pub stderr: String,
}

impl Answer {
    /// Whether the pattern `name[index]` matches the kernel.
    pub fn matches(&self, name: &str, index: usize) -> bool {
        self.matching.contains(&(name.to_owned(), index))
    }
}

/// A deprecated directive; displayed as the classic does behind `Deprecated feature: `.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deprecation {
    /// Its name.
    pub directive: &'static str,
    /// The file after which it was set.
    pub file: PathBuf,
}

impl std::fmt::Display for Deprecation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({})", self.directive, self.file.display())?;
        match self.directive {
            "OBSOLETE_BY" => write!(f, ": use BUILD_EXCLUSIVE_KERNEL_MAX instead"),
            "CLEAN" => write!(f, ": nothing is cleaned, every build has a fresh copy of the source"),
            "REMAKE_INITRD" => write!(f, ": the kernel's hooks renew the initramfs, or post_transaction does"),
            name if name.starts_with("MODULES_CONF") => {
                write!(f, ": it goes to /etc/modprobe.d/dkms-NAME.conf, unless modprobe_conf=\"no\"")
            }
            _ => Ok(()),
        }
    }
}
