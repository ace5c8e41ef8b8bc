//! A plan in words: what `--dry-run` prints.

use std::fmt;

use super::{Action, Because, FollowUp, Foreseen, Overdue, Plan, Reason, Registering, Stale, Step, Unlink, Unlinked};
use crate::names::Name;

impl Plan {
    /// What would be changed, a line each, for those who asked for a package by name.
    pub fn promises(&self) -> Vec<String> {
        self.in_order(|steps| steps.flat_map(Step::promises).collect())
    }

    /// Everything in the order in which it is done, a line each. `lines`: those of steps.
    pub fn in_order(&self, lines: impl Fn(&mut dyn Iterator<Item = &Step>) -> Vec<String>) -> Vec<String> {
        fn all<'a, T: ToString + 'a>(what: impl Iterator<Item = &'a T>) -> Vec<String> {
            what.map(ToString::to_string).collect()
        }
        let last = |what: &&Registering| matches!(what, Registering::Forget(_));
        let first = |step: &&Step| step.reason == Reason::NoOwner;
        [
            all(self.overdue.iter()),
            all(self.links.iter()),
            lines(&mut self.superseded.iter().filter(first)),
            all(self.registering.iter().filter(|what| !last(what))),
            lines(&mut self.steps.iter()),
            lines(&mut self.superseded.iter().filter(|step| !first(step))),
            all(self.registering.iter().filter(last)),
            all(self.foreseen.iter()),
        ]
        .concat()
    }
}

impl Step {
    fn promises(&self) -> Vec<String> {
        let Self { package, kernel, .. } = self;
        let build = || format!("Would build {package} for kernel {kernel}.");
        let install = || format!("Would install {package} for kernel {kernel}.");
        let uninstall = || format!("Would uninstall {package} from kernel {kernel}.");
        let delete = || format!("Would delete the build of {package} for kernel {kernel}.");
        match (self.action, &self.reason) {
            (Action::Build, _) => vec![build(), install()],
            (Action::BuildOnly, _) => vec![build()],
            (Action::Install, _) => vec![install()],
            (Action::Sign, Reason::Stale(Stale::Signature(why))) => {
                vec![format!("Would sign {package} for kernel {kernel}: {why}.")]
            }
            (Action::Sign, _) => vec![format!("Would sign {package} for kernel {kernel}.")],
            (Action::Uninstall, _) => vec![uninstall()],
            (Action::Delete, _) => vec![delete()],
            (Action::Remove, Reason::Orphaned) => vec![format!("Would remove {package} from kernel {kernel}.")],
            (Action::Remove, Reason::Succeeded(_) | Reason::NoOwner) => {
                vec![format!("Would remove {package} from kernel {kernel}: {}.", self.reason)]
            }
            (Action::Remove, _) => vec![uninstall(), delete()],
            (Action::Outdate, _) => vec![format!(
                "Would mark the modules of {package} for kernel {kernel} as outdated until they are rebuilt."
            )],
            (Action::Keep, Reason::Present) => vec![format!("{package} is installed for kernel {kernel} already.")],
            (Action::Keep, Reason::Built) => vec![format!("{package} is built for kernel {kernel} already.")],
            (Action::Keep | Action::Skip | Action::Wait | Action::Fail, _) => Vec::new(),
        }
    }
}

impl fmt::Display for Foreseen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { package, kernel, from, differs } = self;
        match differs {
            None => write!(f, "{package} for kernel {kernel} is reused from kernel {from}."),
            Some(why) => write!(f, "{package} for kernel {kernel} is not reused from kernel {from}: {why}."),
        }
    }
}

impl fmt::Display for Registering {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Copy(from, to) => write!(f, "Would copy {} to {}.", from.display(), to.display()),
            Self::Add(package) => write!(f, "Would add {package}: it is not registered."),
            Self::Again(package, source) => {
                write!(f, "Would register {package} again, with its source at {}.", source.display())
            }
            Self::Load(file) => write!(f, "Would load {}.", file.display()),
            Self::Rpm(file) => write!(f, "Would install {} using rpm.", file.display()),
            Self::Wait(package) => write!(f, "Would keep {package} until its successor is installed."),
            Self::Forget(package) => write!(f, "Would delete {package} from the DKMS tree."),
            Self::Vanished(package) => write!(f, "Would unregister {package}: its source and modules are gone."),
        }
    }
}

impl fmt::Display for Unlink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kernel, link, why } = self;
        write!(f, "Would delete the link {}. ", link.display())?;
        match why {
            Unlinked::Unwanted(why) => f.write_str(why),
            Unlinked::Dangling => write!(f, "Kernel {kernel} loses the module that it leads to."),
            Unlinked::OwnBuild => write!(f, "Kernel {kernel} gets a build of its own."),
        }
    }
}

impl fmt::Display for FollowUp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Depmod => "depmod",
            Self::Initramfs => "initramfs",
        })
    }
}

impl fmt::Display for Overdue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kernel, what, why } = self;
        match (what, why) {
            (FollowUp::Depmod, Because::Interrupted) => {
                write!(f, "Would run depmod for kernel {kernel}: an earlier run was interrupted.")
            }
            (FollowUp::Depmod, Because::Outdated) => {
                write!(f, "Would run depmod for kernel {kernel}: its index does not have the installed modules.")
            }
            (FollowUp::Initramfs, Because::Interrupted) => {
                write!(f, "Would renew the {what} of kernel {kernel}, if it matters: an earlier run was interrupted.")
            }
            (FollowUp::Initramfs, Because::Outdated) => {
                write!(f, "Would renew the {what} of kernel {kernel}: it does not have the installed modules.")
            }
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = |names: &[Name]| names.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
        match self {
            Self::Requested => f.write_str("requested"),
            Self::Forced => f.write_str("requested with --force"),
            Self::Missing => f.write_str("it is missing"),
            Self::Newer(version) => write!(f, "version {version} is installed, this one is newer"),
            Self::Stale(Stale::Kernel) => f.write_str("the kernel was rebuilt under the same release"),
            Self::Stale(Stale::Source) => f.write_str("its source has changed"),
            Self::Stale(Stale::Headers) => f.write_str("the kernel's headers have changed"),
            Self::Stale(Stale::Dependency(name)) => write!(f, "it depends on {name}, which has changed"),
            Self::Stale(Stale::Files) => f.write_str("its files are missing or were changed"),
            Self::Stale(Stale::Signature(why) | Stale::Unsigned(why)) => {
                write!(f, "it is not signed as it should be: {why}")
            }
            Self::Orphaned => f.write_str("its kernel was removed"),
            Self::Present => f.write_str("it is as it should be"),
            Self::Gone => f.write_str("it is not there"),
            Self::Upgrade => f.write_str("its kernel is about to be replaced"),
            Self::Succeeded(version) => write!(f, "version {version} takes its place"),
            Self::NoOwner => f.write_str("its package is no longer installed"),
            Self::Built => f.write_str("it is built"),
            Self::Manual => f.write_str("it is only installed by hand"),
            Self::Held => f.write_str("it is held"),
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
            Action::Uninstall => write!(f, "uninstall {package} from kernel {kernel}: {reason}"),
            Action::Delete => write!(f, "delete the build of {package} for kernel {kernel}: {reason}"),
            Action::Outdate => write!(f, "mark {package} as outdated for kernel {kernel}: {reason}"),
            Action::Remove => write!(f, "remove {package} from kernel {kernel}: {reason}"),
            Action::Keep => write!(f, "keep {package} for kernel {kernel}: {reason}"),
            Action::Skip => write!(f, "skip {package} for kernel {kernel}: {reason}"),
            Action::Wait => write!(f, "wait with {package} for kernel {kernel}: {reason}"),
            Action::Fail => write!(f, "cannot build {package} for kernel {kernel}: {reason}"),
        }
    }
}
