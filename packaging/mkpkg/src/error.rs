//! Why the program made no package, and its exit codes.

use std::path::PathBuf;

use dkms_core::error::Error as CoreError;
use dkms_mkpkg::PackageError;

/// Why no package was made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The tree, the words or dkms.conf.
    #[error(transparent)]
    Core(#[from] CoreError),
    /// The package itself.
    #[error(transparent)]
    Package(#[from] PackageError),
    /// A template that can't be followed.
    #[error("{}: {why}", file.display())]
    Template {
        /// The template.
        file: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// A file operation.
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// Something asked for that there is not.
    #[error("{0}")]
    Usage(String),
}

impl Error {
    /// The exit code: that of the core, 2 for wrong words, 6 as mktarball's for the rest.
    pub fn code(&self) -> u8 {
        match self {
            Self::Core(error) => error.code(),
            Self::Usage(_) => 2,
            _ => 6,
        }
    }
}
