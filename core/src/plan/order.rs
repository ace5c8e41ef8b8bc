//! The steps for one kernel, in the order of their dependencies.

use std::collections::BTreeMap;

use super::{Action, HeadersState, KernelInput, PackageInput, PackageState, PlanInput, Reason, Stale, Step, Wish};
use crate::names::Name;

/// How far a package has been looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mark {
    /// Its dependencies are being looked at: coming back to it is a cycle.
    Open,
    /// Its step, by index, is in the plan.
    Step(usize),
}

struct Sorter<'a> {
    facts: &'a PlanInput,
    kernel: &'a KernelInput,
    packages: BTreeMap<&'a Name, &'a PackageInput>,
    marks: BTreeMap<&'a Name, Mark>,
    /// The names on the way to the one being looked at.
    path: Vec<&'a Name>,
    steps: &'a mut Vec<Step>,
}

/// Appends the steps for `kernel`; each comes after those it depends on.
pub(super) fn for_kernel<'a>(facts: &'a PlanInput, kernel: &'a KernelInput, steps: &'a mut Vec<Step>) {
    let here = facts.packages.iter().filter(|package| package.kernel == kernel.kernel);
    let packages: BTreeMap<_, _> = here.map(|package| (&package.package.name, package)).collect();
    let names: Vec<&Name> = packages.keys().copied().collect();
    let mut sorter = Sorter { facts, kernel, packages, marks: BTreeMap::new(), path: Vec::new(), steps };
    for name in names {
        sorter.visit(name);
    }
}

impl<'a> Sorter<'a> {
    fn visit(&mut self, name: &'a Name) -> Option<usize> {
        if let Some(Mark::Step(index)) = self.marks.get(name) {
            return Some(*index);
        }
        let package = *self.packages.get(name)?;
        self.marks.insert(name, Mark::Open);
        self.path.push(name);
        let mut before = Vec::new();
        let mut cycle = None;
        for dependency in &package.depends {
            if self.marks.get(dependency) == Some(&Mark::Open) {
                let from = self.path.iter().position(|on| *on == dependency).unwrap_or(0);
                let mut around: Vec<Name> = self.path[from..].iter().map(|name| (*name).clone()).collect();
                around.push(dependency.clone());
                cycle = Some(around);
            } else if let Some((key, _)) = self.packages.get_key_value(dependency) {
                let key: &'a Name = key;
                before.extend(self.visit(key));
            }
        }
        self.path.pop();
        let (action, reason) = self.decide(package, &before, cycle);
        // Only what is changed by this plan has to be waited for.
        let after = if matches!(action, Action::Build | Action::Install) {
            before.into_iter().filter(|index| self.changes(*index)).collect()
        } else {
            Vec::new()
        };
        let index = self.steps.len();
        self.steps.push(Step {
            package: package.package.clone(),
            kernel: self.kernel.kernel.clone(),
            action,
            reason,
            after,
        });
        self.marks.insert(name, Mark::Step(index));
        Some(index)
    }

    fn changes(&self, index: usize) -> bool {
        self.steps[index].installs()
    }

    fn decide(&self, package: &PackageInput, before: &[usize], cycle: Option<Vec<Name>>) -> (Action, Reason) {
        match &package.wish {
            Wish::Held if package.state == PackageState::Installed => return (Action::Keep, Reason::Present),
            Wish::Held => return (Action::Skip, Reason::Held),
            Wish::Excluded(why) => return (Action::Skip, Reason::Excluded(why.clone())),
            Wish::Unusable(why) => return (Action::Fail, Reason::Unusable(why.clone())),
            // What was installed by hand is kept right, what was not is left alone.
            Wish::Manual
                if !matches!(package.state, PackageState::Installed | PackageState::Stale { installed: true, .. }) =>
            {
                return (Action::Skip, Reason::Manual);
            }
            Wish::Install | Wish::Manual | Wish::Content => {}
        }
        let follows =
            before.iter().filter(|index| package.follows && self.changes(**index)).map(|index| &self.steps[*index]);
        let changed = follows.map(|step| Stale::Dependency(step.package.name.clone())).next();
        let (action, reason) = match (&package.state, changed) {
            (PackageState::Stale { why: why @ Stale::Signature(_), .. }, None) => {
                return (Action::Sign, Reason::Stale(why.clone()));
            }
            (PackageState::Stale { why, .. }, _) => (Action::Build, Reason::Stale(why.clone())),
            (PackageState::Installed | PackageState::Built, Some(why)) => (Action::Build, Reason::Stale(why)),
            (PackageState::Installed, None) => return (Action::Keep, Reason::Present),
            (PackageState::Built, None) => (Action::Install, Self::absent(package)),
            (PackageState::Absent | PackageState::Shared(_), _) => (Action::Build, Self::absent(package)),
        };
        if action == Action::Install {
            return (action, reason);
        }
        if let Some(path) = cycle {
            return (Action::Fail, Reason::Cycle(path));
        }
        // Where headers are missing, what it needs is missing for the same cause.
        match &self.kernel.headers {
            HeadersState::Ready => {}
            HeadersState::Missing(what) | HeadersState::Mismatch(what) => {
                if let PackageState::Shared(from) = &package.state {
                    return (Action::Keep, Reason::Shared(from.clone()));
                }
                return (Action::Wait, Reason::Headers(what.clone()));
            }
        }
        if let Some(reason) = self.unmet(package) {
            return reason;
        }
        if let Some(failure) = &package.known_failure {
            return (Action::Fail, Reason::KnownFailure(failure.code, failure.why.clone()));
        }
        (action, reason)
    }

    fn absent(package: &PackageInput) -> Reason {
        package.other.clone().map_or(Reason::Missing, Reason::Newer)
    }

    /// The dependencies that will not be there, if any: registered ones that fail the build for good, or
    /// unknown ones that may still come.
    fn unmet(&self, package: &PackageInput) -> Option<(Action, Reason)> {
        let (mut failing, mut unknown) = (Vec::new(), Vec::new());
        for name in &package.depends {
            match self.marks.get(name) {
                Some(Mark::Step(index)) => {
                    let step = &self.steps[*index];
                    let state = self.packages.get(name).map(|package| &package.state);
                    let there = match step.action {
                        Action::Build | Action::Install | Action::BuildOnly => true,
                        Action::Skip if step.reason != Reason::Held => step.reason != Reason::Manual,
                        Action::Skip | Action::Keep | Action::Sign | Action::Wait | Action::Fail => {
                            matches!(
                                state,
                                Some(
                                    PackageState::Installed
                                        | PackageState::Shared(_)
                                        | PackageState::Stale { installed: true, .. }
                                )
                            ) || self.packages.get(name).is_some_and(|package| package.other.is_some())
                        }
                        Action::Remove | Action::Uninstall | Action::Delete | Action::Outdate => false,
                    };
                    if !there {
                        failing.push(name.clone());
                    }
                }
                Some(Mark::Open) => failing.push(name.clone()),
                None if self.facts.registered.contains(name) => failing.push(name.clone()),
                None => unknown.push(name.clone()),
            }
        }
        if !failing.is_empty() {
            failing.extend(unknown);
            return Some((Action::Fail, Reason::Dependencies(failing)));
        }
        (!unknown.is_empty()).then_some((Action::Wait, Reason::Unregistered(unknown)))
    }
}
