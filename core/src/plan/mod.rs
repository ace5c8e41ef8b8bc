//! Desired state minus actual state: what is to be done for which package on which kernel, and why.
//!
//! Pure: facts in, a plan out. A plan is data; it can be printed, tested without a machine, and executed.

mod order;
mod requested;
#[cfg(test)]
mod tests;

use std::fmt;

use serde::Serialize;

use crate::names::{Kernel, Name, Package, Release, Version};

pub use requested::{Want, rebuilt, requested};

/// What is known of the system, as far as a plan depends on it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    /// The kernels in scope.
    pub kernels: Vec<KernelFacts>,
    /// The packages, each on each kernel in scope; those of one kernel in the order of their names.
    pub packages: Vec<PackageFacts>,
    /// The names of all registered packages, whatever their version.
    pub registered: Vec<Name>,
}

/// A kernel in scope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KernelFacts {
    /// The kernel.
    pub kernel: Kernel,
    /// Whether it is there.
    pub presence: Presence,
    /// Its headers.
    pub headers: HeadersState,
    /// Packages that were installed for it although it is gone.
    pub leftovers: Vec<Package>,
}

/// Whether a kernel is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// It is installed.
    Installed,
    /// Only its headers are, but somebody named it.
    Named,
    /// It was removed; what is left is ours.
    Gone,
}

/// Whether modules can be built for a kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HeadersState {
    /// Yes.
    Ready,
    /// No; what to do about it.
    Missing(String),
    /// They belong to another build of the kernel; what to do about it.
    Mismatch(String),
}

/// A package on a kernel: the newest registered version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackageFacts {
    /// The package.
    pub package: Package,
    /// The kernel.
    pub kernel: Kernel,
    /// What is there of it.
    pub state: State,
    /// Another version of it that is installed.
    pub other: Option<Version>,
    /// What its dkms.conf says.
    pub wish: Wish,
    /// BUILD_DEPENDS.
    pub depends: Vec<Name>,
    /// BUILD_DEPENDS_REBUILD: it is rebuilt when a dependency changes.
    pub follows: bool,
    /// A failure that is known and would only be repeated; set where such are to be spared.
    pub known_failure: Option<KnownFailure>,
}

/// What is there of a package on a kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// Nothing.
    Absent,
    /// An artefact that can be installed as it is.
    Built,
    /// An artefact, or an installation, that is no longer right.
    Stale {
        /// Why.
        why: Stale,
        /// It is installed, and stays so until the new one is in place.
        installed: bool,
    },
    /// It is installed as it should be.
    Installed,
    /// It uses the build for this other kernel, through a link of the vendor's (weak modules).
    Shared(Release),
}

/// Why an artefact is no longer right.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Stale {
    /// The kernel was built anew under the same release.
    Kernel,
    /// The kernel's headers are others.
    Headers,
    /// The same version arrived anew, with another source.
    Source,
    /// A dependency has another version now.
    Dependency(Name),
    /// Files of it are missing or were changed beside the kernel's modules.
    Files,
    /// It is not signed as the policy says.
    Signature(String),
    /// The same, but there is no artefact to sign.
    Unsigned(String),
}

/// What a package's dkms.conf says for a kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wish {
    /// It is to be installed.
    Install,
    /// It is installed by hand only.
    Manual,
    /// It is not meant for this kernel.
    Excluded(String),
    /// It can't be understood.
    Unusable(String),
    /// It was not asked: what is there is right.
    Content,
}

/// A failure that trying again would only repeat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownFailure {
    /// Its exit code.
    pub code: u8,
    /// What went wrong.
    pub why: String,
}

/// One thing to be done, or not to be done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Step {
    /// The package.
    pub package: Package,
    /// The kernel.
    pub kernel: Kernel,
    /// What is done.
    pub action: Action,
    /// Why.
    pub reason: Reason,
    /// The steps (by index) that must come first.
    pub after: Vec<usize>,
}

/// What a step does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Build it and install it.
    Build,
    /// Build it; what is installed stays as it is.
    BuildOnly,
    /// Install what is built.
    Install,
    /// Sign what is installed, without building it.
    Sign,
    /// Remove what is left of it.
    Remove,
    /// Nothing, since nothing is to be done.
    Keep,
    /// Nothing, since it is not meant for this kernel.
    Skip,
    /// Nothing, since something must come first.
    Wait,
    /// Nothing, since it can't work.
    Fail,
}

/// Why a step is in the plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// Somebody asked for it by name, and it is not there.
    Requested,
    /// Somebody asked for it with `--force`, although it is there.
    Forced,
    /// It is not there.
    Missing,
    /// Another version is installed, this one is newer.
    Newer(Version),
    /// What is there is no longer right.
    Stale(Stale),
    /// Its kernel was removed.
    Orphaned,
    /// It is as it should be.
    Present,
    /// It is built, and no more was asked for.
    Built,
    /// It is installed by hand only, and was not.
    Manual,
    /// The build for another kernel serves, as long as this one's headers are not there.
    Shared(Release),
    /// dkms.conf excludes the kernel.
    Excluded(String),
    /// The kernel's headers are not there, or not the right ones.
    Headers(String),
    /// Packages that it needs are registered, but won't be installed for this kernel.
    Dependencies(Vec<Name>),
    /// Packages that it needs are not registered (yet).
    Unregistered(Vec<Name>),
    /// It needs itself, by way of these.
    Cycle(Vec<Name>),
    /// Its dkms.conf can't be used.
    Unusable(String),
    /// The same inputs have failed before.
    KnownFailure(u8, String),
}

/// What is to be done, in an order in which it can be done.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Plan {
    /// The steps. A step's `after` are indices smaller than its own.
    pub steps: Vec<Step>,
}

impl Plan {
    /// Whether it changes nothing.
    pub fn is_idle(&self) -> bool {
        !self
            .steps
            .iter()
            .any(|step| step.installs() || matches!(step.action, Action::BuildOnly | Action::Sign | Action::Remove))
    }
}

/// The plan for `facts`.
pub fn plan(facts: &Facts) -> Plan {
    let mut steps = Vec::new();
    for kernel in &facts.kernels {
        match kernel.presence {
            Presence::Gone => steps.extend(kernel.leftovers.iter().map(|package| Step {
                package: package.clone(),
                kernel: kernel.kernel.clone(),
                action: Action::Remove,
                reason: Reason::Orphaned,
                after: Vec::new(),
            })),
            Presence::Installed | Presence::Named => order::for_kernel(facts, kernel, &mut steps),
        }
    }
    Plan { steps }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = |names: &[Name]| names.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
        match self {
            Self::Requested => f.write_str("it was asked for"),
            Self::Forced => f.write_str("it was asked for with --force"),
            Self::Missing => f.write_str("it is missing"),
            Self::Newer(version) => write!(f, "version {version} is installed, this one is newer"),
            Self::Stale(Stale::Kernel) => f.write_str("the kernel was rebuilt under the same release"),
            Self::Stale(Stale::Source) => f.write_str("its source has changed"),
            Self::Stale(Stale::Headers) => f.write_str("the kernel's headers have changed"),
            Self::Stale(Stale::Dependency(name)) => write!(f, "it depends on {name}, which has changed"),
            Self::Stale(Stale::Files) => f.write_str("files of it are missing or were changed"),
            Self::Stale(Stale::Signature(why) | Stale::Unsigned(why)) => {
                write!(f, "it is not signed as it should be: {why}")
            }
            Self::Orphaned => f.write_str("its kernel was removed"),
            Self::Present => f.write_str("it is as it should be"),
            Self::Built => f.write_str("it is built"),
            Self::Manual => f.write_str("it is installed by hand only"),
            Self::Shared(from) => write!(f, "it has no headers, and shares the build for {from}"),
            Self::Excluded(why) => write!(f, "it is not meant for this kernel: {why}"),
            Self::Headers(what) => write!(f, "waiting for headers: {what}"),
            Self::Dependencies(missing) => {
                write!(f, "it needs {}, which is not installed for this kernel", names(missing))
            }
            Self::Unregistered(missing) => write!(f, "it needs {}, not registered with DKMS yet", names(missing)),
            Self::Cycle(path) => {
                write!(f, "it needs itself: {}", path.iter().map(ToString::to_string).collect::<Vec<_>>().join(" -> "))
            }
            Self::Unusable(why) => write!(f, "its dkms.conf can't be used: {why}"),
            Self::KnownFailure(_, why) => write!(f, "it failed before and nothing has changed: {why}"),
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { package, kernel, reason, .. } = self;
        match self.action {
            Action::Build => write!(f, "build and install {package} for kernel {kernel}: {reason}"),
            Action::BuildOnly => write!(f, "build {package} for kernel {kernel}: {reason}"),
            Action::Install => write!(f, "install {package} for kernel {kernel}: {reason}"),
            Action::Sign => write!(f, "sign {package} for kernel {kernel}: {reason}"),
            Action::Remove => write!(f, "remove {package} from kernel {kernel}: {reason}"),
            Action::Keep => write!(f, "keep {package} for kernel {kernel}: {reason}"),
            Action::Skip => write!(f, "skip {package} for kernel {kernel}: {reason}"),
            Action::Wait => write!(f, "wait with {package} for kernel {kernel}: {reason}"),
            Action::Fail => write!(f, "cannot build {package} for kernel {kernel}: {reason}"),
        }
    }
}
