//! Desired state minus actual state: what is to be done for which package on which kernel, and why.
//!
//! Pure: facts in, a plan out. A plan is data; it can be printed, tested without a machine, and executed.

mod order;
mod requested;
#[cfg(test)]
mod tests;
mod words;

use std::path::PathBuf;

use serde::Serialize;

use crate::names::{Kernel, Name, Package, Release, Version};

pub use requested::{Depth, There, Want, rebuilt, requested, taken_away};

/// What is known of the system, as far as a plan depends on it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PlanInput {
    /// The kernels in scope.
    pub kernels: Vec<KernelInput>,
    /// The packages, each on each kernel in scope; those of one kernel in the order of their names.
    pub packages: Vec<PackageInput>,
    /// The names of all registered packages, whatever their version.
    pub registered: Vec<Name>,
}

/// A kernel in scope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KernelInput {
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
pub struct PackageInput {
    /// The package.
    pub package: Package,
    /// The kernel.
    pub kernel: Kernel,
    /// What is there of it.
    pub state: PackageState,
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
pub enum PackageState {
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
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
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
    /// The administrator holds it as it is.
    Held,
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
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
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

impl Step {
    /// A step that waits for no other.
    pub fn new(package: Package, kernel: &Kernel, action: Action, reason: Reason) -> Self {
        Self { package, kernel: kernel.clone(), action, reason, after: Vec::new() }
    }
}

/// What a step does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
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
    /// Take what is installed out of the kernel's module tree.
    Uninstall,
    /// Delete what is built; nothing of it is installed.
    Delete,
    /// Uninstall it, and delete what is built.
    Remove,
    /// Count it as stale from now on.
    Outdate,
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
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
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
    /// Nothing of it is there that could be taken away.
    Gone,
    /// Its kernel is about to be replaced under the same release.
    Upgrade,
    /// It waited for this version, which takes its place.
    Succeeded(Version),
    /// It waited for a successor, and the package that it came with is gone.
    NoOwner,
    /// It is as it should be.
    Present,
    /// It is built, and no more was asked for.
    Built,
    /// It is installed by hand only, and was not.
    Manual,
    /// The administrator holds it as it is.
    Held,
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

/// What is to be done with a package's registration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Registering {
    /// Copy its source from a directory to its place.
    Copy(PathBuf, PathBuf),
    /// Register it.
    Add(Package),
    /// Register it again: its modules are installed, and its source is in this place.
    Again(Package, PathBuf),
    /// Load an archive.
    Load(PathBuf),
    /// Have rpm install a package file.
    Rpm(PathBuf),
    /// Keep it until its successor is installed.
    Wait(Package),
    /// Delete it from the tree.
    Forget(Package),
    /// The same, since its source and its modules are gone.
    Vanished(Package),
}

/// What is to be done, in an order in which it can be done.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Plan {
    /// What is done with packages' registrations: before the steps, but for [`Registering::Forget`].
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub registering: Vec<Registering>,
    /// The steps. A step's `after` are indices smaller than its own.
    pub steps: Vec<Step>,
    /// Follow-ups that are done in any case: what interrupted runs left, and what somebody else has put out of date.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub overdue: Vec<Overdue>,
    /// Versions that waited for a successor and go: before the steps if their package is gone, else after them, where
    /// the successor is installed then.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub superseded: Vec<Step>,
    /// Links to modules of ours that go.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub links: Vec<Unlink>,
    /// What is known beforehand of steps that build: for who only looks.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub foreseen: Vec<Foreseen>,
}

/// A package that was built for one kernel, and is to be built for another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Foreseen {
    /// The package.
    pub package: Package,
    /// The kernel that it is to be built for.
    pub kernel: Kernel,
    /// The kernel that it was built for.
    pub from: Release,
    /// What differs between the two for its build; `None`: nothing, so the modules are used again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub differs: Option<String>,
}

/// A kernel's link to a module for another kernel (weak modules) that goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Unlink {
    /// The kernel that has it.
    pub kernel: Release,
    /// Where it is, inside the root.
    pub link: PathBuf,
    /// Why.
    pub why: Unlinked,
}

/// Why a link goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Unlinked {
    /// Policy does not allow it, in a sentence: before the steps.
    Unwanted(String),
    /// A step takes away the module that it leads to.
    Dangling,
    /// A step gives its kernel a build of its own.
    OwnBuild,
}

/// What follows a change beside a kernel's modules: once for each kernel, at the end of the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum FollowUp {
    /// depmod.
    Depmod,
    /// A new initramfs.
    Initramfs,
}

/// A follow-up that should have been done before.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Overdue {
    /// The kernel.
    pub kernel: Release,
    /// Which.
    pub what: FollowUp,
    /// Why.
    pub why: Because,
}

/// Why a follow-up is overdue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Because {
    /// A run was interrupted.
    Interrupted,
    /// It does not have the modules that are installed.
    Outdated,
}

impl Plan {
    /// Whether it changes nothing.
    pub fn is_idle(&self) -> bool {
        let idle = |step: &Step| matches!(step.action, Action::Keep | Action::Skip | Action::Wait | Action::Fail);
        let others = self.registering.len() + self.overdue.len() + self.superseded.len() + self.links.len();
        others == 0 && self.steps.iter().all(idle)
    }
}

/// The plan for `facts`.
pub fn plan(facts: &PlanInput) -> Plan {
    let mut steps = Vec::new();
    for kernel in &facts.kernels {
        match kernel.presence {
            Presence::Gone => steps.extend(
                kernel
                    .leftovers
                    .iter()
                    .map(|package| Step::new(package.clone(), &kernel.kernel, Action::Remove, Reason::Orphaned)),
            ),
            Presence::Installed | Presence::Named => order::for_kernel(facts, kernel, &mut steps),
        }
    }
    Plan { steps, ..Plan::default() }
}
