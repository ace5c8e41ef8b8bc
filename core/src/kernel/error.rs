//! What can go wrong while learning about a kernel.

use std::io;
use std::path::PathBuf;

/// Why a fact about a kernel could not be had.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There are no usable headers; the caller adds which package brings them (classic: exit 21).
    #[error("no kernel headers for {release}: looked for an include directory in {}", list(looked))]
    HeadersMissing {
        /// The kernel release.
        release: String,
        /// The directories tried, as they are called inside the root.
        looked: Vec<PathBuf>,
    },
    /// A file or directory could not be read.
    #[error("cannot read {what} {}: {source}", path.display())]
    Read {
        /// What it was read for ("the kernel configuration", …).
        what: &'static str,
        /// Its outer path.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The relocated headers tree could not be written.
    #[error("cannot make the relocated headers tree at {}: {source}", path.display())]
    Relocate {
        /// The file or directory being made.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
}

impl Error {
    /// For `map_err`: a failed read of `path`, needed as `what`.
    pub(crate) fn read(what: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Read { what, path, source }
    }
}

fn list(paths: &[PathBuf]) -> String {
    let shown: Vec<String> = paths.iter().map(|p| p.display().to_string()).collect();
    shown.join(", ")
}
