//! What is wrong with an archive, or with where one is to be written.

use crate::archive::layout::LayoutError;
use crate::archive::reader::ReadError;
use crate::archive::writer::WriteError;

/// Why an archive was not loaded or written.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// An archive can't be loaded or written as asked.
    #[error("{0}")]
    Refused(String, u8),
    /// An archive can't be read, or is not one that is accepted.
    #[error(transparent)]
    Read(ReadError),
    /// What an archive holds is not what a DKMS archive holds.
    #[error("{0}\nNothing was loaded.")]
    Layout(LayoutError),
    /// An archive can't be written.
    #[error("Failed to make tarball.\n{0}")]
    Write(WriteError),
}
