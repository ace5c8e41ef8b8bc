//! What keeps modules from becoming an artefact.

use std::path::PathBuf;

use crate::sandbox::handover::HandoverError;
use crate::sign::NotSigned;
use crate::system_error::{SystemError, from_system_error};

/// Why modules did not become an artefact.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// What make produced is no module for this kernel.
    #[error("{module} is not a kernel module that can be installed: {why}")]
    NotAModule {
        /// The file.
        module: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// What a build left in its artefact can't stay there.
    #[error("The build left something in its artefact that can't be kept; the previous build was restored.\n{0}")]
    BadArtefact(HandoverError),
    /// A module is not signed, and must be.
    #[error(transparent)]
    NotSigned(#[from] NotSigned),
    /// What any room may meet.
    #[error(transparent)]
    System(SystemError),
}

from_system_error!(Error);
