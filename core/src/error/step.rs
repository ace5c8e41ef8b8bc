//! What keeps a step of a plan from being done, before or after the work itself.

use std::path::PathBuf;

use crate::names::{Kernel, Package};

/// Why a step was not carried out, or did not come to what it was for.
#[derive(Debug, thiserror::Error)]
pub enum StepError {
    /// Another run removed the package before this one came to it.
    #[error("{0} has been removed by another dkms meanwhile.")]
    Removed(Package),
    /// Another run took everything away from the kernel before this one came to it.
    #[error(
        "{package} is not put in place for kernel {kernel}: another dkms has taken all modules away from that kernel meanwhile, since it is being removed."
    )]
    KernelGone {
        /// The package.
        package: Package,
        /// The kernel.
        kernel: Kernel,
    },
    /// Nothing to build in the source directory.
    #[error("The directory {} does not appear to have module source located within it.\nBuild halted.", .0.display())]
    EmptySource(PathBuf),
    /// A directory is in the way.
    #[error(
        "This module/version has already been built on: {}\nDirectory {} already exists but holds no modules. Run: dkms unbuild {package} -k {}", kernel.release, dir.display(), kernel.release
    )]
    BuildInTheWay {
        /// The package.
        package: Package,
        /// The kernel.
        kernel: Kernel,
        /// The directory.
        dir: PathBuf,
    },
    /// dkms.conf says that this kernel is not for it.
    #[error(
        "The {} for module {package} includes BUILD_EXCLUSIVE directives which do not match this kernel/arch/config for any modules.\nThis indicates that it should not be built: {why}", file.display()
    )]
    Excluded {
        /// The package.
        package: Package,
        /// The dkms.conf.
        file: PathBuf,
        /// Which rule excludes it.
        why: String,
    },
    /// The compiler or make is not there.
    #[error("{program} is needed to build modules for kernel {}, but it is not installed.\n{advice}", kernel.release)]
    NoTool {
        /// The program.
        program: String,
        /// The kernel.
        kernel: Kernel,
        /// What to install.
        advice: String,
    },
    /// Packages that this one needs are not installed for the kernel.
    #[error("Aborting build of module {package} for kernel {kernel} due to missing BUILD_DEPENDS: {}.\nInstall them first, or override by specifying --force.", missing.join(" "))]
    MissingDependencies {
        /// The package.
        package: Package,
        /// The kernel.
        kernel: Kernel,
        /// The names that are missing.
        missing: Vec<String>,
    },
    /// What was installed would not be loaded.
    #[error("The modules of {package} are installed for kernel {kernel}, but would not be loaded:\n{}", .lines.join("\n"))]
    NotLoadable {
        /// The package.
        package: Package,
        /// The kernel.
        kernel: Kernel,
        /// Why, a module a line.
        lines: Vec<String>,
    },
}
