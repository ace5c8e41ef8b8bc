//! What there may be in the tree: packages, what is built of them, and what can't be looked at.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use crate::names::{Kernel, NameError, Package};

/// A version directory in the tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackageEntry {
    /// The package.
    pub package: Package,
    /// What its `source` says.
    pub source: Source,
    /// What is built, by kernel release and architecture in byte order; only what the filter wants.
    pub built: Vec<Built>,
}

impl PackageEntry {
    /// Whether it is built for `kernel`.
    pub fn is_built_for(&self, kernel: &Kernel) -> bool {
        self.built.iter().any(|built| built.kernel == *kernel)
    }
}

/// What the `source` of a version directory says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// A link to a directory: the package is added.
    Added,
    /// A dangling link, or no link though the source tree has the package: broken.
    Broken,
    /// Neither: not added (a binaries-only tarball, or the remains of something).
    None,
}

/// An artefact in the tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Built {
    /// The kernel it is for.
    pub kernel: Kernel,
    /// It is the active one: installed.
    pub installed: bool,
    /// Somebody else's modules are archived for this package and kernel.
    pub original_modules: bool,
    /// Nothing at all, not even what can't be read, is where archived modules of this package would be, for whatever kernel.
    pub nothing_archived: bool,
}

/// An entry of the tree that could not be looked at.
#[derive(Debug, Clone)]
pub struct Unreadable {
    /// Its path.
    pub path: PathBuf,
    /// What is wrong with it.
    pub why: Why,
}

/// Why an entry can't be looked at.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Why {
    /// The system refuses.
    #[error(transparent)]
    Io(Arc<io::Error>),
    /// Its name is of no use.
    #[error(transparent)]
    Name(#[from] NameError),
}

impl From<io::Error> for Why {
    fn from(error: io::Error) -> Self {
        Self::Io(Arc::new(error))
    }
}

/// The names in the tree, checked by nobody.
#[derive(Debug, Clone, Default)]
pub struct Names {
    /// The directories, in byte order.
    pub names: Vec<String>,
    /// What could not be looked at.
    pub unreadable: Vec<Unreadable>,
}

/// All that the tree has of one name.
#[derive(Debug, Clone, Default)]
pub struct NameEntry {
    /// Its versions, in byte order.
    pub packages: Vec<PackageEntry>,
    /// What could not be looked at.
    pub unreadable: Vec<Within>,
}

/// Something that could not be looked at, and whom it concerns.
#[derive(Debug, Clone)]
pub struct Within {
    /// The version it belongs to.
    pub version: Option<String>,
    /// The kernel's release it belongs to.
    pub release: Option<String>,
    /// The architecture it belongs to.
    pub arch: Option<String>,
    /// What it is.
    pub what: Unreadable,
}
