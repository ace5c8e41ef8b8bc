//! What is wrong with an archive, or with where one is to be written.

use std::path::PathBuf;

use crate::archive::layout::LayoutError;
use crate::archive::reader::ReadError;
use crate::archive::writer::WriteError;
use crate::names::{Kernel, Package};

/// Why an archive was not loaded or written.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// No archive is named.
    #[error("No archive is named.\nName one: dkms ldtarball ARCHIVE")]
    NotNamed,
    /// There is no such archive.
    #[error("{} does not exist.", .0.display())]
    Missing(PathBuf),
    /// The tree has what it holds.
    #[error("{0} is already added!\nAborting.")]
    AlreadyAdded(Package),
    /// Its dkms.conf is that of another package.
    #[error("{} is not a valid DKMS tarball.\nIts dkms.conf is that of {package}, but it holds {holds}.", archive.display())]
    OtherPackage {
        /// The archive.
        archive: PathBuf,
        /// The package of its dkms.conf.
        package: Package,
        /// The package that it says it holds.
        holds: Package,
    },
    /// rpm did not install the package file.
    #[error("Unable to install {} using rpm.\nCheck to ensure that your system can install .rpm files.", .0.display())]
    NotByRpm(PathBuf),
    /// Nothing is built that could be written: for this kernel, or any.
    #[error(
        "No modules built for {}.\nBuild them first: dkms build, then try again.",
        .0.as_ref().map_or_else(|| "any kernel".to_owned(), ToString::to_string)
    )]
    NothingBuilt(Option<Kernel>),
    /// The place that is to be written ends in no name.
    #[error("{} names no file.", .0.display())]
    NoFileName(PathBuf),
    /// Nothing can be written to this directory.
    #[error("Missing write permissions for {}.", .0.display())]
    NotWritable(PathBuf),
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
