//! BUILD_EXCLUSIVE_*: which kernels a package, or one of its modules, is not for.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt;

use crate::kernel::version::compare;

/// Looks a `CONFIG_…` option of a kernel up: `y`, `m`, or the first character of any other value.
pub type Lookup<'a> = dyn Fn(&str) -> Option<char> + 'a;

/// What is known of the kernel that decides about exclusion.
#[derive(Clone, Copy)]
pub struct KernelInfo<'a> {
    /// Its release.
    pub release: &'a str,
    /// Its architecture label.
    pub arch: &'a str,
    /// Its configuration; `None` if there is none, and then nothing about it is checked.
    pub config: Option<&'a Lookup<'a>>,
}

impl fmt::Debug for KernelInfo<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KernelInfo")
            .field("release", &self.release)
            .field("arch", &self.arch)
            .field("config", &self.config.is_some())
            .finish()
    }
}

/// A pattern and whether the kernel of the request matched it, as bash said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    /// The extended regular expression.
    pub text: String,
    /// Whether it matched.
    pub matches: bool,
}

/// The conditions of one index. All must hold; those of index 0 hold for every module
/// (in bash a plain variable is element 0: docs/contract.md 4.4).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Conditions {
    /// BUILD_EXCLUSIVE_KERNEL.
    pub kernel: Option<Pattern>,
    /// BUILD_EXCLUSIVE_ARCH.
    pub arch: Option<Pattern>,
    /// BUILD_EXCLUSIVE_KERNEL_MIN.
    pub min: Option<String>,
    /// BUILD_EXCLUSIVE_KERNEL_MAX, or OBSOLETE_BY in its place.
    pub max: Option<String>,
    /// The words of BUILD_EXCLUSIVE_CONFIG.
    pub config: Vec<String>,
}

/// The conditions of all indices that have some.
pub type Exclusive = BTreeMap<usize, Conditions>;

/// Why a kernel is excluded; displayed in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// The release does not match.
    Kernel {
        /// The release.
        release: String,
        /// The pattern.
        pattern: String,
    },
    /// The architecture does not match.
    Arch {
        /// The architecture.
        arch: String,
        /// The pattern.
        pattern: String,
    },
    /// The kernel is too old.
    Min {
        /// The release.
        release: String,
        /// The oldest one allowed.
        min: String,
    },
    /// The kernel is too new.
    Max {
        /// The release.
        release: String,
        /// The newest one allowed.
        max: String,
    },
    /// The kernel is configured differently.
    Config {
        /// `CONFIG_X`, or `!CONFIG_X` where it must be off.
        wanted: String,
    },
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kernel { release, pattern } => {
                write!(f, "kernel {release} does not match BUILD_EXCLUSIVE_KERNEL={pattern}")
            }
            Self::Arch { arch, pattern } => {
                write!(f, "architecture {arch} does not match BUILD_EXCLUSIVE_ARCH={pattern}")
            }
            Self::Min { release, min } => write!(f, "kernel {release} is older than BUILD_EXCLUSIVE_KERNEL_MIN={min}"),
            Self::Max { release, max } => write!(f, "kernel {release} is newer than BUILD_EXCLUSIVE_KERNEL_MAX={max}"),
            Self::Config { wanted } => match wanted.strip_prefix('!') {
                Some(name) => write!(f, "the kernel has {name}, which excludes it"),
                None => write!(f, "the kernel has no {wanted}"),
            },
        }
    }
}

impl Conditions {
    /// Which of the conditions the kernel fails; none: it is not excluded by these.
    pub fn failing(&self, facts: &KernelInfo<'_>) -> Vec<Reason> {
        let release = || facts.release.to_owned();
        let mut reasons = Vec::new();
        if let Some(pattern) = self.kernel.as_ref().filter(|pattern| !pattern.matches) {
            reasons.push(Reason::Kernel { release: release(), pattern: pattern.text.clone() });
        }
        if let Some(pattern) = self.arch.as_ref().filter(|pattern| !pattern.matches) {
            reasons.push(Reason::Arch { arch: facts.arch.to_owned(), pattern: pattern.text.clone() });
        }
        if let Some(min) = &self.min {
            if compare(facts.release, min) == Ordering::Less {
                reasons.push(Reason::Min { release: release(), min: min.clone() });
            }
        }
        if let Some(max) = &self.max {
            if compare(facts.release, max) == Ordering::Greater {
                reasons.push(Reason::Max { release: release(), max: max.clone() });
            }
        }
        if let Some(config) = facts.config {
            for wanted in &self.config {
                let on = |name| matches!(config(name), Some('y' | 'm'));
                let holds = match wanted.strip_prefix('!') {
                    Some(name) => !on(name),
                    None => on(wanted),
                };
                if !holds {
                    reasons.push(Reason::Config { wanted: wanted.clone() });
                }
            }
        }
        reasons
    }
}

/// The conditions that `index` fails, those for all modules first.
pub fn failing(exclusive: &Exclusive, index: usize, facts: &KernelInfo<'_>) -> Vec<Reason> {
    let mut reasons = general(exclusive, facts);
    if index != 0 {
        reasons.extend(exclusive.get(&index).map(|conditions| conditions.failing(facts)).unwrap_or_default());
    }
    reasons
}

/// The conditions for all modules that fail.
pub fn general(exclusive: &Exclusive, facts: &KernelInfo<'_>) -> Vec<Reason> {
    exclusive.get(&0).map(|conditions| conditions.failing(facts)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_in_order() {
        for (less, more) in [
            ("4.9", "4.12"),
            ("4.12", "4.12-rc1"),
            ("4.12-rc1", "4.12.1"),
            ("4.12-rc2", "4.12-rc10"),
            ("5.15.0-999-generic", "5.15.0-1020-generic"),
            ("999.0", "2024.10"),
            ("6.1", "6.1.0-56-amd64"),
            ("6.12.95+deb13-amd64", "6.12.117+deb13-amd64"),
            ("", "0"),
        ] {
            assert_eq!(compare(less, more), Ordering::Less, "{less} {more}");
            assert_eq!(compare(more, less), Ordering::Greater, "{more} {less}");
        }
        for (one, other) in [("4.9", "4.09"), ("6.1", "6.1"), ("5.0", "5.00")] {
            assert_eq!(compare(one, other), Ordering::Equal, "{one} {other}");
        }
    }

    #[test]
    fn table_of_exclusions() {
        let config = |name: &str| match name {
            "CONFIG_Y" => Some('y'),
            "CONFIG_M" => Some('m'),
            "CONFIG_N" => Some('n'),
            _ => None,
        };
        let facts = KernelInfo { release: "6.12.117+deb13-amd64", arch: "x86_64", config: Some(&config) };
        let bounds = |min: &str, max: &str| Conditions {
            min: (!min.is_empty()).then(|| min.to_owned()),
            max: (!max.is_empty()).then(|| max.to_owned()),
            ..Conditions::default()
        };
        let configured = |words: &str| Conditions {
            config: words.split_whitespace().map(str::to_owned).collect(),
            ..Conditions::default()
        };
        let pattern = |matches| Some(Pattern { text: "x".to_owned(), matches });
        for (conditions, count) in [
            (Conditions::default(), 0),
            (bounds("6.12", ""), 0),
            (bounds("6.12.117+deb13-amd64", "6.12.117+deb13-amd64"), 0),
            (bounds("6.12.118", ""), 1),
            (bounds("", "6.12"), 1),
            (bounds("", "6.13"), 0),
            (bounds("", "6.12.1000"), 0),
            (bounds("7", "5"), 2),
            (configured("CONFIG_Y CONFIG_M !CONFIG_N !CONFIG_GONE"), 0),
            (configured("CONFIG_N"), 1),
            (configured("CONFIG_GONE !CONFIG_Y !CONFIG_M"), 3),
            (Conditions { kernel: pattern(true), arch: pattern(false), ..Conditions::default() }, 1),
            (Conditions { kernel: pattern(false), ..Conditions::default() }, 1),
        ] {
            let reasons = conditions.failing(&facts);
            assert_eq!(reasons.len(), count, "{conditions:?}: {reasons:?}");
        }
        let without = KernelInfo { config: None, ..facts };
        assert_eq!(configured("CONFIG_GONE").failing(&without), []);
    }

    #[test]
    fn index_zero_is_for_all() {
        let facts = KernelInfo { release: "6.1", arch: "x86_64", config: None };
        let min = |version: &str| Conditions { min: Some(version.to_owned()), ..Conditions::default() };
        let exclusive = Exclusive::from([(0, min("6.0")), (2, min("6.2"))]);
        let count = |index| failing(&exclusive, index, &facts).len();
        assert_eq!((count(0), count(1), count(2)), (0, 0, 1));
        let exclusive = Exclusive::from([(0, min("7.0")), (2, min("6.2"))]);
        let count = |index| failing(&exclusive, index, &facts).len();
        assert_eq!((count(0), count(1), count(2)), (1, 1, 2));
        assert_eq!(
            failing(&exclusive, 0, &facts)[0].to_string(),
            "kernel 6.1 is older than BUILD_EXCLUSIVE_KERNEL_MIN=7.0"
        );
    }
}
