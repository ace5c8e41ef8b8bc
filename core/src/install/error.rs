//! What keeps modules from being installed or taken out.

use std::path::PathBuf;

use crate::names::{Kernel, Package};
use crate::sign::NotSigned;
use crate::system_error::{SystemError, from_system_error};
use crate::{facts, journal};

/// Why modules were not installed, or not taken out.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The kernel's module tree is not there.
    #[error("The directory {} doesn't exist.\nYou cannot install a module onto a non-existent kernel.", .0.display())]
    NoModulesDir(PathBuf),
    /// `PRE_INSTALL` refused.
    #[error("pre_install failed, aborting install.\nYou may override by specifying --force.")]
    PreInstall,
    /// A file of the artefact has gone.
    #[error("Missing module {module} in {}\nBuild it again: dkms build {package} -k {} --force", dir.display(), kernel.release)]
    MissingModule {
        /// Its file name.
        module: String,
        /// Where it should be.
        dir: PathBuf,
        /// The package.
        package: Package,
        /// The kernel.
        kernel: Kernel,
    },
    /// A file of the artefact is not what was built.
    #[error("{} can't be installed: {why}.\nBuild it again: dkms build {package} -k {} --force", file.display(), kernel.release)]
    DamagedModule {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        why: String,
        /// The package.
        package: Package,
        /// The kernel.
        kernel: Kernel,
    },
    /// The modules could not be written; everything is as it was.
    #[error("The modules could not be installed; nothing was changed.\n{0}")]
    NotPut(journal::JournalError),
    /// Every module was refused.
    #[error("Installation aborted.\n{}", .0.join("\n"))]
    NothingInstalled(Vec<String>),
    /// depmod failed.
    #[error("Problems with depmod detected for kernel {release}: {why}\n{after}")]
    Depmod {
        /// The kernel.
        release: String,
        /// What it said.
        why: String,
        /// What was done about it.
        after: &'static str,
    },
    /// A module is not signed, and must be.
    #[error(transparent)]
    NotSigned(#[from] NotSigned),
    /// A fact is not known.
    #[error(transparent)]
    Facts(#[from] facts::Error),
    /// What any room may meet.
    #[error(transparent)]
    System(SystemError),
}

from_system_error!(Error);
