//! What is wrong with a package's registration, or with a source that is to be registered.

use std::path::PathBuf;

use crate::lint::draft::DraftError;
use crate::names::Package;

/// Why a package can't be worked with, or a source not be registered.
#[derive(Debug, thiserror::Error)]
pub enum RegistrationError {
    /// The package's registration is damaged.
    #[error(
        "{package} is broken!\nMissing the source directory or the symbolic link pointing to it.\nPut the source back at {}, or run: dkms remove {package} --all", source_dir.display()
    )]
    Broken {
        /// The package.
        package: Package,
        /// Where its source is expected.
        source_dir: PathBuf,
    },
    /// `fsck` found what is not as it should be, and is so still.
    #[error("{left} {} wrong, {} of them can be mended{}", if *left == 1 { "thing is" } else { "things are" }, mendable, if *mendable > 0 { ": dkms fsck --repair" } else { "" })]
    Unsound {
        /// How much.
        left: usize,
        /// How much of it `--repair` can mend.
        mendable: usize,
    },
    /// The package is not registered.
    #[error("The module/version combo: {0} is not located in the DKMS tree.\nRegister it first: dkms add {0}")]
    NotAdded(Package),
    /// There is nothing of the package to take away.
    #[error(
        "The module/version combo: {0} is not located in the DKMS tree.\nThere is nothing of it to remove; dkms status lists what there is."
    )]
    NotThere(Package),
    /// The package is registered already.
    #[error("DKMS tree already contains: {0}\nYou cannot add the same module/version combo more than once.")]
    AlreadyAdded(Package),
    /// The place of the package's source has that of another package.
    #[error(
        "{} is the source directory of {other}, and {package} would have the same.\nRemove {other} first, or give {package} another name or version; with --force its source is replaced.", dir.display()
    )]
    DirectoryTaken {
        /// The package that is to be registered.
        package: Package,
        /// The directory that both have.
        dir: PathBuf,
        /// The package whose source is there.
        other: Package,
    },
    /// No source to register.
    #[error("Could not find module source directory.\nDirectory: {} does not exist.{}", .0.display(), .1.as_ref().map(|near| format!("\n{near}")).unwrap_or_default())]
    NoSource(PathBuf, Option<String>),
    /// A directory that is to be added has no dkms.conf.
    #[error("{} must contain a dkms.conf file!", .0.display())]
    NoConf(PathBuf),
    /// A dkms.conf is to be written where there is one.
    #[error("{} exists already; with --force it is replaced.", .0.display())]
    ConfExists(PathBuf),
    /// A dkms.conf can't be drafted.
    #[error("{}: {why}.", dir.display())]
    NoDraft {
        /// The source.
        dir: PathBuf,
        /// What is lacking.
        why: DraftError,
    },
}
