//! What any room may meet: a lock, a change, a program, a file, or a fact that can't be had.

use crate::durable::FileError;
use crate::process::stop::Stop;
use crate::sandbox::handover::HandoverError;
use crate::{conf, host, journal, kernel, lock, process};

/// An error of the rooms that all others stand on.
#[derive(Debug, thiserror::Error)]
pub enum SystemError {
    /// Another run of ours works on the same thing.
    #[error(transparent)]
    Lock(#[from] lock::LockError),
    /// A signal asked this run to end before this was done.
    #[error("Interrupted by {0}; what was done stays.\nTo go on, give the same command again, or: dkms reconcile")]
    Interrupted(Stop),
    /// A change could not be carried out; everything is as it was.
    #[error(transparent)]
    Journal(#[from] journal::JournalError),
    /// A program could not be run.
    #[error(transparent)]
    Process(#[from] process::ProcessError),
    /// What a build would have to be given, or to give back, can't be.
    #[error(transparent)]
    Handover(#[from] HandoverError),
    /// dkms.conf or framework.conf could not be evaluated.
    #[error(transparent)]
    Conf(#[from] conf::ConfError),
    /// A fact about a kernel could not be had.
    #[error(transparent)]
    Kernel(#[from] kernel::Error),
    /// A fact about the system could not be had.
    #[error(transparent)]
    Host(#[from] host::Error),
    /// A file operation failed; the message names it.
    #[error("{0}")]
    Io(#[from] std::io::Error),
}

impl From<FileError> for SystemError {
    /// A file of ours could not be read or written: counts as a change that was not carried out.
    fn from(error: FileError) -> Self {
        Self::Journal(journal::JournalError::File(error))
    }
}

/// Whatever any room may meet becomes the variant `System` of a room's own error, from the error that it was or as a
/// [`SystemError`].
macro_rules! from_system_error {
    ($error:ty) => {
        impl<E> From<E> for $error
        where
            $crate::system_error::SystemError: From<E>,
        {
            fn from(error: E) -> Self {
                Self::System(error.into())
            }
        }
    };
}
pub(crate) use from_system_error;
