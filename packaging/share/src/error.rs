//! What keeps an artefact from being shared.

use std::path::PathBuf;

use dkms_core::durable::FileError;

/// Why something could not be done.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// What was asked for makes no sense.
    #[error("{0}")]
    Usage(String),
    /// The share does not answer, not in time, or not to us: it is of no use for now.
    #[error("{0}")]
    Away(String),
    /// What the share has is not to be used.
    #[error("{0}")]
    Refused(String),
    /// Nothing can be written to the share by this road.
    #[error("{0} can only be read: push to the directory that the web server shows (file://…)")]
    ReadOnly(String),
    /// A file of this machine's.
    #[error(transparent)]
    File(#[from] FileError),
    /// A file of this machine's.
    #[error("{}: {why}", path.display())]
    Unfit {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// A package can't be built.
    #[error("{}", .0.lines().join("\n"))]
    Core(#[from] dkms_core::error::Error),
    /// A build failed, as was said.
    #[error("{what} was not built")]
    NotBuilt {
        /// The package and the kernel.
        what: String,
        /// The exit code of the build.
        code: u8,
    },
    /// Something could not be said.
    #[error("cannot write the output: {0}")]
    Output(std::io::Error),
}

impl Error {
    /// The exit code, as in dkms(8).
    pub fn code(&self) -> u8 {
        match self {
            Self::Core(error) => error.code(),
            Self::NotBuilt { code, .. } => *code,
            Self::Usage(_) | Self::ReadOnly(_) => 2,
            Self::File(_) | Self::Unfit { .. } | Self::Output(_) => 18,
            Self::Away(_) => 22,
            Self::Refused(_) => 23,
        }
    }
}
