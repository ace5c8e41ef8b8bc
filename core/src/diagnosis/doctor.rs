//! Whether a system's modules are as they should be. It looks, and changes nothing.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use serde::Serialize;

use super::cause::{Cause, untried};
use crate::conf::Wish;
use crate::context::Context;
use crate::error::Error;
use crate::host::boot_loader;
use crate::kernel::version;
use crate::loadable::gather::Loadable;
use crate::names::{Kernel, Package, Release};
use crate::plan::{Action, Because, FollowUp, Overdue, Reason, Registering, Step};
use crate::reconcile::{Broken, How, Preview, Scope, preview};
use crate::report::Reporter;
use crate::run::Session;
use crate::sign::will_load;

/// How bad a problem is, the worst first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// The administrator requires it.
    Required,
    /// It is wanted.
    Wanted,
    /// It could not be found out.
    Unknown,
    /// Good to know; it does not count.
    Note,
}

/// One thing that is not as it should be.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
struct Problem {
    severity: Severity,
    #[serde(skip_serializing_if = "Option::is_none")]
    kernel: Option<String>,
    /// The kernel boots next; if that is not known, it is the one that runs.
    boots_next: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    package: Option<String>,
    what: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    log: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fix: Option<String>,
    /// What keeps it from happening again.
    #[serde(skip_serializing_if = "Option::is_none")]
    lasting: Option<String>,
}

/// How a system is.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Health {
    healthy: bool,
    /// The releases of the kernels that packages are meant for.
    kernels: BTreeSet<String>,
    /// The worst first.
    problems: Vec<Problem>,
    /// How many kernels those are, with their architectures.
    #[serde(skip)]
    looked_at: usize,
}

impl Health {
    /// Looks at the kernels of `scope`.
    pub fn of(session: &Session<'_>, scope: &Scope) -> Result<Self, Error> {
        let ctx = session.ctx;
        let Preview { plan, broken, notes } =
            preview(session, scope, How { spare_known_failures: true, ..How::default() })?;
        let kernels: BTreeSet<Kernel> = plan.steps.iter().map(|step| step.kernel.clone()).collect();
        let kernels: Vec<Kernel> = kernels.into_iter().collect();
        let in_scope = match scope {
            Scope::All => BTreeSet::new(),
            Scope::Kernels(named) => named.iter().map(|kernel| kernel.release.to_string()).collect(),
        };
        let doctor = Doctor { ctx, next: boot_loader::next(&ctx.trees), in_scope };
        let mut problems: Vec<Problem> = plan.steps.iter().filter_map(|step| doctor.step(step)).collect();
        let not_loadable = doctor.not_loadable(&plan.steps);
        // Of an index or an image that is old, the modules that suffer from it say more.
        let suffering: BTreeSet<String> = not_loadable.iter().filter_map(|problem| problem.kernel.clone()).collect();
        problems.extend(not_loadable);
        // What reconcile would forget since its source is gone counts, too: the source may be meant to be there.
        let vanished = plan.registering.iter().filter_map(|registering| match registering {
            Registering::Vanished(package) => Some(package),
            _ => None,
        });
        problems.extend(vanished.map(Problem::of_source));
        problems.extend(broken.iter().map(|broken| match broken {
            Broken::Source(package, _) => Problem::of_source(package),
            Broken::Entry(path, why) => Problem::without_fix(Severity::Unknown, format!("{}: {why}", path.display())),
        }));
        problems.extend(notes.into_iter().map(|note| Problem::without_fix(Severity::Unknown, note)));
        problems.extend(plan.overdue.iter().filter_map(|overdue| doctor.overdue(overdue, &suffering)));
        let trust = will_load::advice(&session.facts, &kernels)?;
        problems.extend(trust.map(|lines| Problem::without_fix(Severity::Wanted, lines.join(" "))));
        if ctx.autoinstall_is_off() {
            let note = "automatic installation is turned off by /etc/dkms/no-autoinstall".to_owned();
            problems.push(Problem::without_fix(Severity::Note, note));
        }
        problems.sort_by(|a, b| order(a).cmp(&order(b)).then_with(|| newest_first(a, b)));
        let releases = kernels.iter().map(|kernel| kernel.release.to_string()).collect();
        let mut health = Self { healthy: true, kernels: releases, problems, looked_at: kernels.len() };
        health.healthy = matches!(health.worst(), None | Some(Severity::Note));
        Ok(health)
    }

    /// How bad the worst of its problems is; `None` without any.
    pub fn worst(&self) -> Option<Severity> {
        self.problems.iter().map(|problem| problem.severity).min()
    }

    /// The packages that some kernel lacks, of those problems that are as bad as `severity` or worse; each once.
    pub fn packages(&self, severity: Severity) -> impl Iterator<Item = &str> {
        let bad = self.problems.iter().filter(move |problem| problem.severity <= severity);
        bad.filter_map(|problem| problem.package.as_deref()).collect::<BTreeSet<_>>().into_iter()
    }

    /// Prints it for people.
    pub fn print(&self, reporter: &dyn Reporter) {
        let counted = |count: usize, what: &str| format!("{count} {what}{}", if count == 1 { "" } else { "s" });
        let counts = self.problems.iter().filter(|problem| problem.severity != Severity::Note).count();
        if counts == 0 {
            let seen = match self.looked_at {
                0 => "no package is registered".to_owned(),
                some => format!("{} looked at", counted(some, "kernel")),
            };
            reporter.line(&format!("Healthy: {seen}, nothing that is wanted is missing."));
        } else {
            reporter.line(&format!("{}:", counted(counts, "problem")));
        }
        for problem in &self.problems {
            let next = if problem.boots_next { " (boots next)" } else { "" };
            let kernel = problem.kernel.as_ref().map(|kernel| format!("{kernel}{next}: ")).unwrap_or_default();
            let package = problem.package.as_ref().map(|package| format!("{package}: ")).unwrap_or_default();
            let note = if problem.severity == Severity::Note { "note: " } else { "" };
            reporter.line(&format!("  {note}{kernel}{package}{}", problem.what));
            for (word, text) in
                [("log", &problem.log), ("fix", &problem.fix), ("so that it does not happen again", &problem.lasting)]
            {
                if let Some(text) = text {
                    reporter.line(&format!("      {word}: {text}"));
                }
            }
        }
    }
}

fn order(problem: &Problem) -> (Severity, Reverse<bool>) {
    (problem.severity, Reverse(problem.boots_next))
}

fn newest_first(a: &Problem, b: &Problem) -> std::cmp::Ordering {
    let release = |problem: &Problem| problem.kernel.clone().unwrap_or_default();
    version::by_age(&release(b), &release(a)).then_with(|| a.package.cmp(&b.package))
}

impl Problem {
    fn of_system(severity: Severity, problem: String) -> Self {
        let fix = Some("dkms reconcile".to_owned());
        Self { severity, kernel: None, boots_next: false, package: None, what: problem, log: None, fix, lasting: None }
    }

    fn without_fix(severity: Severity, problem: String) -> Self {
        Self { fix: None, ..Self::of_system(severity, problem) }
    }

    /// The source of a package is gone.
    fn of_source(package: &Package) -> Self {
        Self {
            package: Some(package.to_string()),
            fix: Some(format!("put the source back, or: dkms remove {package} --all")),
            ..Self::of_system(Severity::Wanted, "its source is gone".to_owned())
        }
    }
}

struct Doctor<'a> {
    ctx: &'a Context,
    next: Option<Release>,
    /// The releases asked for; all if empty.
    in_scope: BTreeSet<String>,
}

impl Doctor<'_> {
    fn is_in_scope(&self, release: &Release) -> bool {
        self.in_scope.is_empty() || self.in_scope.contains(release.as_str())
    }

    fn boots_next(&self, release: &Release) -> bool {
        let running = self.ctx.machine.running.as_ref().filter(|_| self.ctx.trees.root.is_host());
        self.next.as_ref().or(running) == Some(release)
    }

    fn problem(&self, severity: Severity, release: &Release, problem: String) -> Problem {
        Problem { boots_next: self.boots_next(release), ..Problem::of_system(severity, problem) }
    }

    /// How much a package matters.
    fn severity(&self, step: &Step) -> Severity {
        match Wish::of(&self.ctx.trees, &step.package.name) {
            Wish::Required => Severity::Required,
            Wish::Wanted => Severity::Wanted,
            Wish::Optional => Severity::Note,
        }
    }

    /// A step that a reconciliation would take, or could not take.
    fn step(&self, step: &Step) -> Option<Problem> {
        let about = |severity, cause: Cause| Problem {
            kernel: Some(step.kernel.release.to_string()),
            package: Some(step.package.to_string()),
            log: cause.log,
            fix: cause.fix,
            lasting: cause.lasting,
            ..self.problem(severity, &step.kernel.release, cause.why)
        };
        match step.action {
            Action::Skip if step.reason == Reason::Held => {
                let fix = Some(format!("dkms unhold {}", step.package.name));
                Some(about(Severity::Note, Cause { why: step.reason.to_string(), log: None, fix, lasting: None }))
            }
            Action::Keep | Action::Skip | Action::Outdate => None,
            Action::Remove | Action::Delete | Action::Uninstall => {
                let fix = Some("dkms reconcile".to_owned());
                Some(about(Severity::Note, Cause { why: step.reason.to_string(), log: None, fix, lasting: None }))
            }
            Action::Build | Action::BuildOnly | Action::Install | Action::Sign | Action::Wait | Action::Fail => {
                Some(about(self.severity(step), untried(self.ctx, step)))
            }
        }
    }

    /// What is installed and would not be loaded.
    fn not_loadable(&self, steps: &[Step]) -> Vec<Problem> {
        let loadable = Loadable::new(&self.ctx.trees);
        let mut found = Vec::new();
        for step in steps.iter().filter(|step| step.action == Action::Keep) {
            for answer in loadable.will_boot(&step.package, &step.kernel) {
                let Err(why) = answer.answer else { continue };
                let release = &step.kernel.release;
                let severity = if why.is_meant() { Severity::Note } else { self.severity(step) };
                found.push(Problem {
                    kernel: Some(release.to_string()),
                    package: Some(step.package.to_string()),
                    fix: why.mend(&step.package.to_string(), release),
                    ..self.problem(severity, release, format!("{} would not be loaded: {why}", answer.module))
                });
            }
        }
        found
    }

    /// What a reconciliation would make anew.
    fn overdue(&self, overdue: &Overdue, suffering: &BTreeSet<String>) -> Option<Problem> {
        let release = &overdue.kernel;
        let what = match (overdue.what, overdue.why) {
            _ if !self.is_in_scope(release) => return None,
            (what, Because::Interrupted) => format!("an interrupted run left {what} undone"),
            _ if suffering.contains(release.as_str()) => return None,
            (FollowUp::Depmod, Because::Outdated) => "depmod's index is not of the modules that are there".to_owned(),
            (what, Because::Outdated) => format!("its {what} holds modules that are not the installed ones"),
        };
        Some(Problem { kernel: Some(release.to_string()), ..self.problem(Severity::Wanted, release, what) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::test_system::System;

    /// A kernel that lost its index, and one whose image is old, are told of once.
    #[test]
    fn what_is_out_of_date_is_a_problem_of_its_kernel() {
        let system = System::new();
        let doctor = Doctor { ctx: &system.ctx, next: None, in_scope: BTreeSet::new() };
        let overdue = |what, why| Overdue { kernel: Release::new("6.1").unwrap(), what, why };
        let nobody = BTreeSet::new();
        let modules = BTreeSet::from(["6.1".to_owned()]);
        for (what, why, words, beside_modules) in [
            (FollowUp::Depmod, Because::Outdated, "depmod's index", false),
            (FollowUp::Initramfs, Because::Outdated, "its initramfs holds", false),
            (FollowUp::Initramfs, Because::Interrupted, "left initramfs undone", true),
        ] {
            let overdue = overdue(what, why);
            let found = doctor.overdue(&overdue, &nobody).unwrap();
            assert!(found.severity == Severity::Wanted && found.what.contains(words), "{found:?}");
            assert_eq!((found.kernel.as_deref(), found.fix.as_deref()), (Some("6.1"), Some("dkms reconcile")));
            assert_eq!(doctor.overdue(&overdue, &modules).is_some(), beside_modules, "{what}");
        }
        let elsewhere = Doctor { in_scope: BTreeSet::from(["6.2".to_owned()]), ..doctor };
        assert!(elsewhere.overdue(&overdue(FollowUp::Depmod, Because::Interrupted), &nobody).is_none());
    }

    #[test]
    fn the_kernel_that_boots_next_and_what_is_required_come_first() {
        let problem = |severity, boots_next, kernel: &str| Problem {
            boots_next,
            kernel: Some(kernel.to_owned()),
            ..Problem::of_system(severity, String::new())
        };
        let mut problems = [
            problem(Severity::Note, true, "6.9"),
            problem(Severity::Wanted, false, "6.1"),
            problem(Severity::Wanted, false, "6.12"),
            problem(Severity::Wanted, true, "6.2"),
            problem(Severity::Unknown, false, "6.1"),
            problem(Severity::Required, false, "5.1"),
        ];
        problems.sort_by(|a, b| order(a).cmp(&order(b)).then_with(|| newest_first(a, b)));
        let kernels: Vec<_> = problems.iter().filter_map(|problem| problem.kernel.as_deref()).collect();
        assert_eq!(kernels, ["5.1", "6.2", "6.12", "6.1", "6.1", "6.9"]);
    }
}
