//! What keeps facts from being known.

use std::path::PathBuf;

use crate::names::Kernel;
use crate::system_error::{SystemError, from_system_error};

/// Why something about a kernel or a dkms.conf is not known.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file given with `-c` is not in the root whose bash is to read it.
    #[error("{} is not below {}, where it is to be read; copy it there.", file.display(), root.display())]
    OutsideRoot {
        /// The file.
        file: PathBuf,
        /// The root.
        root: PathBuf,
    },
    /// A dkms.conf that can't be read.
    #[error("Could not locate dkms.conf file.\nFile: {} does not exist or cannot be read.", .0.display())]
    ConfMissing(PathBuf),
    /// A dkms.conf that is not fit.
    #[error("Bad conf file.\nFile: {} does not represent a valid dkms.conf file.\n{why}", file.display())]
    BadConf {
        /// The file.
        file: PathBuf,
        /// What is wrong with it, a line each.
        why: String,
    },
    /// The kernel's headers are not there.
    #[error("Your kernel headers for kernel {} cannot be found at {looked_for}.\n{advice}", kernel.release)]
    NoHeaders {
        /// The kernel.
        kernel: Kernel,
        /// Where they were looked for.
        looked_for: String,
        /// What to install on this distribution.
        advice: String,
    },
    /// What any room may meet.
    #[error(transparent)]
    System(SystemError),
}

from_system_error!(Error);
