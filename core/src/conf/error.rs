//! What can go wrong while conf files are evaluated.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// Why a request got no answer. Everything but [`ConfError::Start`] concerns that request alone.
#[derive(Debug, thiserror::Error)]
pub enum ConfError {
    /// bash can't be started.
    #[error("can't start {program} to read {file}: {source}; conf files are bash programs, install bash",
        program = .program.display(), file = .file.display())]
    Start {
        /// The program that was to be started.
        program: PathBuf,
        /// The first file it was to read.
        file: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Talking to bash failed.
    #[error("reading {file} with bash failed: {source}", file = .file.display())]
    BashIo {
        /// The first file of the request.
        file: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A path, variable or directive can't be handed to bash.
    #[error("{what} can't be handed to bash: it contains a NUL byte")]
    Nul {
        /// Which one it is.
        what: String,
    },
    /// A file is missing, unreadable, or not a file.
    #[error("{file} is missing or can't be read", file = .file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
    },
    /// A file left bash before its end.
    #[error("{file} called exit (status {status}) instead of running to its end{said}; \
             remove the exit, or the failing command under set -e",
        file = .file.display(), said = said(.message))]
    Exited {
        /// The file.
        file: PathBuf,
        /// The status it left with.
        status: i32,
        /// What it said on standard error.
        message: String,
    },
    /// bash does not understand a file.
    #[error("{file} is not valid bash{said}", file = .file.display(), said = said(.message))]
    Syntax {
        /// The file.
        file: PathBuf,
        /// bash's own line about it.
        message: String,
    },
    /// The text of a directive can't be expanded.
    #[error("the value of {directive} in {file} can't be expanded by bash{said}",
        file = .file.display(), said = said(.message))]
    Expansion {
        /// The file.
        file: PathBuf,
        /// The directive with its index.
        directive: String,
        /// What bash said.
        message: String,
    },
    /// A file did not come to its end in time; bash was killed.
    #[error("{file} was still running after {limit:?} and was killed; does it wait for something?",
        file = .file.display())]
    TimedOut {
        /// The file.
        file: PathBuf,
        /// The time it had.
        limit: Duration,
    },
    /// A file sets more text than any real one does.
    #[error("{file} sets values of more than a mebibyte", file = .file.display())]
    TooLarge {
        /// The file.
        file: PathBuf,
    },
    /// bash ended in the middle.
    #[error("bash ended while reading {file}{said}", file = .file.display(), said = said(.message))]
    Died {
        /// The file.
        file: PathBuf,
        /// What was said on standard error.
        message: String,
    },
    /// What went wrong may be due to rights that the files of packages lack.
    #[error("{source}\n{advice}")]
    Denied {
        /// What went wrong.
        source: Box<ConfError>,
        /// What helps.
        advice: String,
    },
    /// A file of the framework's can't be read by us.
    #[error("can't read {file}: {source}", file = .file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// `: MESSAGE`, or nothing.
fn said(message: &str) -> String {
    if message.is_empty() { String::new() } else { format!(": {message}") }
}
