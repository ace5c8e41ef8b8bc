//! The steps of what somebody asks for by name: whatever AUTOINSTALL says, and without a look at what it needs, which
//! building does.

use super::{Action, PackageState, Reason, Stale, Step};
use crate::names::{Kernel, Name, Package};

/// What is wanted of a package on a kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Want {
    /// Its artefact.
    Built,
    /// Its modules beside the kernel's.
    Installed,
}

/// How far a package is taken away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// Out of kernels' module trees.
    Uninstall,
    /// What was built of it, too.
    Unbuild,
    /// Its registration, too, when nothing is left.
    Remove,
}

/// The step that makes `package` what is wanted of it for `kernel`, where it is in `state`. `force`: although it is that
/// already.
pub fn requested(package: &Package, kernel: &Kernel, state: &PackageState, want: Want, force: bool) -> Step {
    let build = match want {
        Want::Built => Action::BuildOnly,
        Want::Installed => Action::Build,
    };
    let asked = if force { Reason::Forced } else { Reason::Requested };
    let (action, reason) = match (state, want) {
        (PackageState::Stale { why, .. }, _) => (build, Reason::Stale(why.clone())),
        (PackageState::Installed, Want::Installed) if !force => (Action::Keep, Reason::Present),
        (PackageState::Installed | PackageState::Built, Want::Installed) => (Action::Install, asked),
        (PackageState::Installed | PackageState::Built, Want::Built) if !force => (Action::Keep, Reason::Built),
        (PackageState::Absent | PackageState::Shared(_), _)
        | (PackageState::Installed | PackageState::Built, Want::Built) => (build, asked),
    };
    Step::new(package.clone(), kernel, action, reason)
}

/// The steps that build these packages anew for `kernel`, since `changed` has. Each comes with those (by index) that it
/// needs.
pub fn rebuilt(packages: Vec<(Package, Vec<usize>)>, kernel: &Kernel, changed: &Name) -> Vec<Step> {
    let why = || Reason::Stale(Stale::Dependency(changed.clone()));
    let step = |(package, after)| Step { after, ..Step::new(package, kernel, Action::Build, why()) };
    packages.into_iter().map(step).collect()
}

/// What there is of a package on a kernel, for those who take it away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct There {
    /// It is installed.
    pub installed: bool,
    /// It has an artefact, or the remains of one.
    pub built: bool,
}

/// The step that takes `package` away from `kernel`, of what is `there`.
pub fn taken_away(package: &Package, kernel: &Kernel, there: There, depth: Depth) -> Step {
    let action = match (there, depth) {
        (There { installed: true, .. }, Depth::Uninstall) | (There { installed: true, built: false }, _) => {
            Action::Uninstall
        }
        (There { installed: true, built: true }, Depth::Unbuild | Depth::Remove) => Action::Remove,
        (There { installed: false, built: true }, Depth::Unbuild | Depth::Remove) => Action::Delete,
        (There { installed: false, .. }, _) => Action::Keep,
    };
    let reason = if action == Action::Keep { Reason::Gone } else { Reason::Requested };
    Step::new(package.clone(), kernel, action, reason)
}

impl Step {
    /// Whether the step leaves modules beside the kernel's.
    pub fn installs(&self) -> bool {
        matches!(self.action, Action::Build | Action::Install)
    }

    /// Whether it takes the place of another version of the package whatever the versions of their modules are. Somebody
    /// who asks by name is asked for `--force` first.
    pub fn replaces(&self) -> bool {
        !matches!(self.reason, Reason::Requested | Reason::Forced)
    }

    /// What is still to be done of a step that builds or installs, now that nobody else works on the pair and it is in the
    /// state `now`.
    pub fn again(&self, now: &PackageState) -> Action {
        let there = matches!(now, PackageState::Built | PackageState::Installed);
        match (self.action, &self.reason) {
            (action @ (Action::Build | Action::BuildOnly), Reason::Stale(_))
            | (action @ Action::BuildOnly, Reason::Forced) => action,
            (Action::BuildOnly, _) if there => Action::Keep,
            (Action::Build | Action::Install, Reason::Requested) if *now == PackageState::Installed => Action::Keep,
            (Action::Build, _) if there => Action::Install,
            (Action::Install, _) if !there => Action::Build,
            (action, _) => action,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> (Package, Kernel) {
        (Package::new("a", "1").unwrap(), Kernel::new("6.1", "x86_64").unwrap())
    }

    fn step(state: &PackageState, want: Want, force: bool) -> Step {
        let (package, kernel) = pair();
        requested(&package, &kernel, state, want, force)
    }

    #[test]
    fn what_is_asked_for_and_what_is_there() {
        let stale = || PackageState::Stale { why: Stale::Source, installed: true };
        use Want::{Built, Installed};
        for (state, want, force, expected) in [
            (PackageState::Absent, Built, false, (Action::BuildOnly, Reason::Requested)),
            (PackageState::Absent, Installed, false, (Action::Build, Reason::Requested)),
            (PackageState::Absent, Built, true, (Action::BuildOnly, Reason::Forced)),
            (PackageState::Absent, Installed, true, (Action::Build, Reason::Forced)),
            (PackageState::Built, Built, false, (Action::Keep, Reason::Built)),
            (PackageState::Built, Built, true, (Action::BuildOnly, Reason::Forced)),
            (PackageState::Built, Installed, false, (Action::Install, Reason::Requested)),
            (PackageState::Built, Installed, true, (Action::Install, Reason::Forced)),
            (PackageState::Installed, Built, false, (Action::Keep, Reason::Built)),
            (PackageState::Installed, Built, true, (Action::BuildOnly, Reason::Forced)),
            (PackageState::Installed, Installed, false, (Action::Keep, Reason::Present)),
            (PackageState::Installed, Installed, true, (Action::Install, Reason::Forced)),
            (stale(), Built, false, (Action::BuildOnly, Reason::Stale(Stale::Source))),
            (stale(), Installed, false, (Action::Build, Reason::Stale(Stale::Source))),
        ] {
            let step = step(&state, want, force);
            assert_eq!((step.action, step.reason), expected, "{state:?} {want:?} {force}");
        }
    }

    #[test]
    fn under_the_lock_a_plan_is_looked_at_again() {
        use Want::{Built, Installed};
        let states = [PackageState::Absent, PackageState::Built, PackageState::Installed];
        for want in [Built, Installed] {
            for before in &states {
                for force in [false, true] {
                    let planned = step(before, want, force);
                    // Where nothing has changed, it is the same step.
                    assert_eq!(planned.again(before), planned.action, "{before:?} {want:?} {force}");
                }
                for (now, force) in states.iter().flat_map(|now| [(now, false), (now, true)]) {
                    let (planned, fresh) = (step(before, want, force), step(now, want, force));
                    if planned.action != Action::Keep {
                        assert_eq!(planned.again(now), fresh.action, "{before:?} {now:?} {want:?} {force}");
                    }
                }
            }
        }
        // What a reconciliation wants installed again is installed, whatever the link says.
        let (package, kernel) = pair();
        let again = Step { package, kernel, action: Action::Install, reason: Reason::Missing, after: Vec::new() };
        assert_eq!(again.again(&PackageState::Installed), Action::Install);
        assert!(again.replaces() && !step(&PackageState::Absent, Installed, false).replaces());
    }
}
