//! Why an archive can be refused.

use std::io;
use std::path::PathBuf;

use rustix::io::Errno;

/// Why an archive was refused.
#[derive(Debug, thiserror::Error)]
#[error(
    "The archive {} is refused{}: {fault}.\nNothing was unpacked.",
    .archive.display(),
    .entry.as_ref().map(|e| format!(" because of its entry {e:?}")).unwrap_or_default()
)]
pub struct ReadError {
    /// The archive.
    pub archive: PathBuf,
    /// The entry at fault, with unprintable bytes replaced; `None` if it is the archive as a whole.
    pub entry: Option<String>,
    /// What is wrong.
    pub fault: Fault,
}

/// What can be wrong with an archive or one of its entries.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// Reading or decompressing failed, or writing to the private directory did.
    #[error("{what}: {error}")]
    Io {
        /// What was being done.
        what: &'static str,
        /// The system's or the decoder's word for it.
        error: io::Error,
    },
    /// The file ends before its content does.
    #[error("it is truncated")]
    Truncated,
    /// Not a tar archive, or a damaged one.
    #[error("it is not a tar archive, or it is damaged ({0})")]
    NotTar(&'static str),
    /// Nothing in it.
    #[error("it is empty")]
    Empty,
    /// Bytes behind the end of the archive.
    #[error("there is data after the end of the archive")]
    Trailing,
    /// The name is not one.
    #[error("its name {0}")]
    Name(&'static str),
    /// A GNU long name or a pax path.
    #[error("its long name is not acceptable: {0}")]
    LongName(&'static str),
    /// A pax record that would change what an entry is.
    #[error("its pax header is not acceptable: {0}")]
    Pax(String),
    /// The same name twice.
    #[error("the name occurs twice")]
    Duplicate,
    /// A part of the path is no directory.
    #[error("a directory on its path is a link or a file")]
    Prefix,
    /// Not a file, directory or link.
    #[error("it is {0}; only files, directories and links are accepted")]
    Kind(&'static str),
    /// Setuid, setgid or sticky.
    #[error("it has the special permission bits {0:04o} (setuid, setgid or sticky)")]
    SpecialBits(u32),
    /// A directory or link with a body.
    #[error("it has content, although its type has none")]
    Body,
    /// A symbolic link that leads outside.
    #[error("it is a link to {target:?} and {why}")]
    Link {
        /// Where it points.
        target: String,
        /// What is wrong with that.
        why: &'static str,
    },
    /// A hard link to something that is not an earlier regular file of the archive.
    #[error("it is a hard link to {0:?}, which is no earlier file of the archive")]
    HardLink(String),
    /// A limit is exceeded.
    #[error("it has more than {limit} {what}")]
    Limit {
        /// What is counted.
        what: &'static str,
        /// How much is allowed.
        limit: u64,
    },
}
pub(super) fn io_fault(what: &'static str) -> impl Fn(io::Error) -> Fault {
    move |error| {
        if error.kind() == io::ErrorKind::UnexpectedEof {
            return Fault::Truncated;
        }
        Fault::Io { what, error }
    }
}

pub(super) fn sys_fault(what: &'static str) -> impl Fn(Errno) -> Fault {
    move |error| Fault::Io { what, error: error.into() }
}
