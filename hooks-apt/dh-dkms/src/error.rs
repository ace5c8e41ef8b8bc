//! What can go wrong, said to a packager.

use std::path::PathBuf;

/// Why dh_dkms stops.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The command line.
    #[error("{0}; dh_dkms --help lists the options")]
    Usage(String),
    /// A file that can't be read or written; fs-err names it.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// debian/control or debian/changelog.
    #[error("{file}: {why}")]
    Bad {
        /// The file.
        file: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// A file that debian/PACKAGE.dkms names.
    #[error("{list} names {file}, which is not there")]
    NoFile {
        /// Where it is named.
        list: PathBuf,
        /// The file.
        file: String,
    },
    /// dkms.conf can't be evaluated.
    #[error("{file} can't be evaluated: {why}")]
    Conf {
        /// The file.
        file: PathBuf,
        /// What bash says.
        why: String,
    },
    /// A directive that every dkms.conf needs.
    #[error("{file} sets no {directive}")]
    Lacks {
        /// The file.
        file: PathBuf,
        /// The directive.
        directive: &'static str,
    },
    /// A name or version that can't be part of a path.
    #[error("{file}: {directive} is {value:?}; only letters, digits and - + . ~ : _ are allowed")]
    BadValue {
        /// The file.
        file: PathBuf,
        /// The directive.
        directive: &'static str,
        /// Its value.
        value: String,
    },
}
