//! The names everything else is keyed by: packages, kernels, architectures.
//!
//! Each becomes part of a path below the DKMS tree, so each is checked once, here,
//! and is safe to join to a path from then on.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Why a word can't be a package name, a version, a kernel release or an architecture.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} {text:?} is not usable: {why}")]
pub struct NameError {
    /// What the word was meant to be ("module name", "kernel release", …).
    pub what: &'static str,
    /// The word as given.
    pub text: String,
    /// What is wrong with it.
    pub why: &'static str,
}

/// The one of `known` that `word` is one or two slips away from. Short names have many neighbours: one slip there.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let slips = known.into_iter().map(|name| (strsim::damerau_levenshtein(word, name), name));
    slips.filter(|(slips, name)| *slips <= if name.len() < 8 { 1 } else { 2 }).min().map(|(_, name)| name)
}

/// Whether two names mean one module: `-` and `_` are the same to modprobe(8).
pub fn is_same_module(one: &str, other: &str) -> bool {
    one.replace('-', "_") == other.replace('-', "_")
}

/// Those of `words`, which a dkms.conf has for other packages, that can be names.
pub fn names_in(words: &[String]) -> impl Iterator<Item = Name> {
    words.iter().filter_map(|word| Name::new(word.as_str()).ok())
}

fn check(what: &'static str, text: &str) -> Result<(), NameError> {
    let why = if text.is_empty() {
        "it is empty"
    } else if text == "." || text == ".." {
        "it is a directory reference"
    } else if text.contains('/') {
        "it contains a slash"
    } else if text.starts_with('.') {
        "it begins with a dot"
    } else if text.starts_with('-') {
        "it begins with a dash"
    } else if text.chars().any(|c| c.is_whitespace() || c.is_control()) {
        "it contains white space or a control character"
    } else if text.contains(['*', '?', '[', ']', '"', '\'', '\\', '`', '$', ';', '&', '|', '<', '>', '(', ')']) {
        "it contains a character that the shell or a glob would interpret"
    } else if is_reserved(what, text) {
        "the DKMS tree has something else of that name"
    } else if text.len() > 200 {
        "it is longer than 200 bytes"
    } else {
        return Ok(());
    };
    Err(NameError { what, text: text.to_owned(), why })
}

/// Whether the layout of the DKMS tree gives the word another meaning (docs/contract.md 3): beside the versions of a package are
/// its archive and its links, beside the kernels of a version its source and its build.
fn is_reserved(what: &str, text: &str) -> bool {
    match what {
        "module version" => {
            text == "original_module" || text.strip_prefix("kernel-").is_some_and(|rest| rest.contains('-'))
        }
        "kernel release" => ["source", "build"].contains(&text),
        _ => false,
    }
}

macro_rules! name_type {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// Checks and wraps `text`; fails with what is wrong with it.
            pub fn new(text: impl Into<String>) -> Result<Self, NameError> {
                let text = text.into();
                check($what, &text)?;
                Ok(Self(text))
            }

            /// The bare text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl AsRef<Path> for $name {
            fn as_ref(&self) -> &Path {
                Path::new(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = NameError;
            fn from_str(text: &str) -> Result<Self, NameError> {
                Self::new(text)
            }
        }

        impl TryFrom<String> for $name {
            type Error = NameError;
            fn try_from(text: String) -> Result<Self, NameError> {
                Self::new(text)
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0
            }
        }
    };
}

name_type!(
    /// The name of a DKMS package (what the classic calls the module).
    Name,
    "module name"
);
name_type!(
    /// The version of a DKMS package.
    Version,
    "module version"
);
name_type!(
    /// A kernel release, as `uname -r` prints it.
    Release,
    "kernel release"
);
name_type!(
    /// The architecture label of a kernel: a word in paths, nothing more.
    Arch,
    "architecture"
);

/// A DKMS package: `name/version`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Package {
    /// Its name.
    pub name: Name,
    /// Its version.
    pub version: Version,
}

impl Package {
    /// Checks both words and puts them together.
    pub fn new(name: &str, version: &str) -> Result<Self, NameError> {
        Ok(Self { name: Name::new(name)?, version: Version::new(version)? })
    }

    /// The package that a directory of the source tree, `<name>-<version>`, is called after. Both may hold dashes: one of the
    /// `known` names decides, the longest, if what follows it looks like a version (`nv-ng-1.0` is none of `nv`), otherwise the
    /// last dash (docs/contract.md 9.4). `None` if it has none.
    pub fn of_directory<'a>(directory: &str, known: impl IntoIterator<Item = &'a str>) -> Option<Self> {
        let is_version = |text: &str| text.trim_start_matches(['v', 'r']).starts_with(|c: char| c.is_ascii_digit());
        let lengths = known.into_iter().filter_map(|name| {
            let version = directory.strip_prefix(name)?.strip_prefix('-')?;
            (is_version(version) || !version.contains('-')).then_some(name.len())
        });
        let dash = lengths.max().or_else(|| directory.rfind('-'))?;
        let (name, version) = (&directory[..dash], &directory[dash + 1..]);
        Self::new(name, version).ok()
    }
}

impl fmt::Display for Package {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.name, self.version)
    }
}

/// A kernel of the root being worked on: release and architecture label.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Kernel {
    /// Its release.
    pub release: Release,
    /// Its architecture label.
    pub arch: Arch,
}

impl Kernel {
    /// Checks both words and puts them together.
    pub fn new(release: &str, arch: &str) -> Result<Self, NameError> {
        Ok(Self { release: Release::new(release)?, arch: Arch::new(arch)? })
    }
}

impl fmt::Display for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.release, self.arch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_directories_are_called_after() {
        let known = ["nv", "nv-ng", "zfs", "xo"];
        for (directory, known, package) in [
            ("hello-1.0", &known[..0], Some("hello/1.0")),
            ("my-hello-1.0", &[], Some("my-hello/1.0")),
            ("zfs-2.0-1", &[], Some("zfs-2.0/1")),
            ("zfs-2.0-1", &known, Some("zfs/2.0-1")),
            ("xo-v0.3-88-gf6f30b7", &known, Some("xo/v0.3-88-gf6f30b7")),
            ("nv-ng-1.0", &known[..1], Some("nv-ng/1.0")),
            ("nv-ng-1.0-2", &known, Some("nv-ng/1.0-2")),
            ("nv-git", &known, Some("nv/git")),
            ("nv", &known, None),
            ("nv-", &[], None),
        ] {
            let found = Package::of_directory(directory, known.iter().copied());
            assert_eq!(found.map(|package| package.to_string()).as_deref(), package, "{directory}");
        }
    }

    #[test]
    fn usual_names_pass() {
        for text in ["zfs", "v4l2loopback", "rtl8812au", "6.12.117+deb13-cloud-amd64", "1:2.0~rc1", "5.15.0-1020_x"] {
            assert!(Name::new(text).is_ok(), "{text}");
        }
    }

    #[test]
    fn words_that_mean_something_else_in_the_tree_are_refused() {
        for version in ["original_module", "kernel-6.1-x86_64"] {
            assert!(Version::new(version).is_err() && Name::new(version).is_ok(), "{version}");
        }
        assert!(Version::new("kernel-6").is_ok() && Version::new("original").is_ok());
        assert!(Release::new("source").is_err() && Release::new("build").is_err());
    }

    #[test]
    fn names_that_would_leave_the_tree_are_refused() {
        for text in ["", ".", "..", "a/b", "../x", ".dkms", "a b", "a\nb", "*", "-k", "a$(b)", "a\0b"] {
            assert!(Name::new(text).is_err(), "{text:?}");
        }
    }
}
