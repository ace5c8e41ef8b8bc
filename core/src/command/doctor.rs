//! `dkms doctor`: whether this system's modules are as they should be. It looks, and changes nothing.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use serde::Serialize;

use super::kernels;
use crate::cli::args::Args;
use crate::conf::Wish;
use crate::context::Context;
use crate::error::Error;
use crate::host::boot_loader;
use crate::kernel::version;
use crate::loadable::gather::Loadable;
use crate::names::{Kernel, Release};
use crate::plan::{Action, Because, FollowUp, Overdue, Reason, Step};
use crate::reconcile::summary::{Cause, untried};
use crate::reconcile::{How, Scope, preview};
use crate::report::Reporter;
use crate::run::Session;
use crate::sign::will_load;
use crate::tree::walk::{self, Filter, Source};

/// What ends with 0, 1 or 2: for scripts that watch a machine.
const HEALTHY: u8 = 0;
const UNHEALTHY: u8 = 1;
const UNKNOWN: u8 = 2;

/// How bad a problem is, the worst first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
enum Severity {
    /// The administrator requires it.
    Required,
    /// It is wanted.
    Wanted,
    /// Nothing could be told.
    Unknown,
    /// Good to know; it does not count.
    Note,
}

/// One thing that is not as it should be.
#[derive(Debug, Serialize)]
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

/// Everything, for programs.
#[derive(Debug, Serialize)]
struct Health<'a> {
    healthy: bool,
    kernels: BTreeSet<String>,
    problems: &'a [Problem],
}

/// Prints the problems; the exit code is 0 without any, 1 if something wanted is missing, 2 if that could not be told.
pub(super) fn run(ctx: &Context, args: &Args, json: bool, reporter: &dyn Reporter) -> Result<u8, Error> {
    let scope = if args.kernels.is_empty() { Scope::All } else { Scope::Kernels(kernels(ctx, args)?) };
    let session = Session::new(ctx)?;
    let (plan, broken) = match preview(&session, &scope, How { spare_known_failures: true, ..How::default() }) {
        Ok(seen) => seen,
        Err(error) => {
            reporter.report(super::event(&error));
            return Ok(UNKNOWN);
        }
    };
    let looked_at: BTreeSet<Kernel> = plan.steps.iter().map(|step| step.kernel.clone()).collect();
    let doctor = Doctor { ctx, next: boot_loader::next(&ctx.trees), in_scope: args.kernels.iter().cloned().collect() };
    let mut problems: Vec<Problem> = plan.steps.iter().filter_map(|step| doctor.step(step)).collect();
    let not_loadable = doctor.not_loadable(&plan.steps);
    // Of an index or an image that is old, the modules that suffer from it tell more.
    let told: BTreeSet<String> = not_loadable.iter().filter_map(|problem| problem.kernel.clone()).collect();
    problems.extend(not_loadable);
    problems.extend(doctor.registrations());
    problems.extend(plan.overdue.iter().filter_map(|overdue| doctor.overdue(overdue, &told)));
    let kernels: Vec<Kernel> = looked_at.iter().cloned().collect();
    if let Some(lines) = will_load::advice(&session.facts, &kernels)? {
        problems.push(Problem { fix: None, ..Problem::of_system(Severity::Wanted, lines.join(" ")) });
    }
    // Of a package whose source is gone, more is said already.
    let told: Vec<String> =
        problems.iter().filter_map(|problem| Some(format!("{} is broken", problem.package.as_ref()?))).collect();
    let broken = broken.into_iter().filter(|line| !told.iter().any(|words| line.starts_with(words)));
    problems.extend(broken.map(|line| Problem { fix: None, ..Problem::of_system(Severity::Unknown, line) }));
    if ctx.autoinstall_is_off() {
        let note = "automatic installation is turned off by /etc/dkms/no-autoinstall".to_owned();
        problems.push(Problem { fix: None, ..Problem::of_system(Severity::Note, note) });
    }
    problems.sort_by(|a, b| order(a).cmp(&order(b)).then_with(|| newest_first(a, b)));
    let code = match problems.iter().map(|problem| problem.severity).min() {
        Some(Severity::Required | Severity::Wanted) => UNHEALTHY,
        Some(Severity::Unknown) => UNKNOWN,
        Some(Severity::Note) | None => HEALTHY,
    };
    if json {
        let kernels = looked_at.iter().map(|kernel| kernel.release.to_string()).collect();
        let health = Health { healthy: code == HEALTHY, kernels, problems: &problems };
        reporter.line(&serde_json::to_string_pretty(&health).map_err(std::io::Error::other)?);
        return Ok(code);
    }
    tell(&problems, looked_at.len(), reporter);
    Ok(code)
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
    fn overdue(&self, overdue: &Overdue, told: &BTreeSet<String>) -> Option<Problem> {
        let release = &overdue.kernel;
        let what = match (overdue.what, overdue.why) {
            _ if !self.is_in_scope(release) => return None,
            (what, Because::Interrupted) => format!("an interrupted run left {what} undone"),
            _ if told.contains(release.as_str()) => return None,
            (FollowUp::Depmod, Because::Outdated) => "depmod's index is not of the modules that are there".to_owned(),
            (what, Because::Outdated) => format!("its {what} holds modules that are not the installed ones"),
        };
        Some(Problem { kernel: Some(release.to_string()), ..self.problem(Severity::Wanted, release, what) })
    }

    /// Packages whose source is gone, and entries of the tree that can't be read.
    fn registrations(&self) -> Vec<Problem> {
        let walk = walk::walk(&self.ctx.trees, &Filter::default());
        let broken = walk.packages.iter().filter(|entry| entry.source == Source::Broken);
        let mut found: Vec<_> = broken
            .map(|entry| Problem {
                package: Some(entry.package.to_string()),
                fix: Some(format!("put the source back, or: dkms remove {} --all", entry.package)),
                ..Problem::of_system(Severity::Wanted, "its source is gone".to_owned())
            })
            .collect();
        found.extend(walk.unreadable.iter().map(|entry| {
            let problem = format!("{}: {}", self.ctx.trees.shown(&entry.path).display(), entry.why);
            Problem { fix: None, ..Problem::of_system(Severity::Unknown, problem) }
        }));
        found
    }
}

fn tell(problems: &[Problem], kernels: usize, reporter: &dyn Reporter) {
    let counted = |count: usize, what: &str| format!("{count} {what}{}", if count == 1 { "" } else { "s" });
    let counts = problems.iter().filter(|problem| problem.severity != Severity::Note).count();
    if counts == 0 {
        let seen = match kernels {
            0 => "no package is registered".to_owned(),
            some => format!("{} looked at", counted(some, "kernel")),
        };
        reporter.line(&format!("Healthy: {seen}, nothing that is wanted is missing."));
    } else {
        reporter.line(&format!("{}:", counted(counts, "problem")));
    }
    for problem in problems {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::test_system::System;
    use crate::plan::FollowUp;

    /// The exit code and the lines for people; the JSON must say the same.
    fn examined(system: &System) -> (u8, Vec<String>) {
        let (code, lines) = system.run(&["doctor"]);
        let (again, json) = system.run(&["doctor", "--format", "json"]);
        let json: serde_json::Value = serde_json::from_str(&json.join("\n")).unwrap();
        assert_eq!((again, json["healthy"].as_bool()), (code, Some(code == 0)), "{json}");
        assert_eq!(json["problems"].as_array().unwrap().is_empty(), lines.len() == 1, "{json} {lines:?}");
        (code, lines)
    }

    #[test]
    fn what_is_wanted_and_missing_makes_a_system_unhealthy() {
        let system = System::new();
        assert_eq!(examined(&system).0, HEALTHY, "nothing is wanted");
        system.add("");
        let (code, lines) = examined(&system);
        assert_eq!((code, lines[0].as_str()), (UNHEALTHY, "1 problem:"));
        assert!(lines[1].contains("6.1") && lines[1].contains("hello/1: waiting for headers"), "{lines:?}");
        assert!(lines.iter().any(|line| line.contains("fix: ")), "{lines:?}");
        system.write("etc/dkms/hello.conf", "DKMS_POLICY=optional\n");
        let (code, lines) = examined(&system);
        assert_eq!((code, lines[0].starts_with("Healthy")), (HEALTHY, true));
        assert!(lines[1].contains("note: "), "an optional package is told of: {lines:?}");
    }

    #[test]
    fn what_is_not_meant_for_a_kernel_is_not_missing() {
        let system = System::new();
        system.add("BUILD_EXCLUSIVE_KERNEL='^5'");
        assert_eq!(examined(&system).0, HEALTHY);
        let system = System::new();
        system.add("AUTOINSTALL=no");
        assert_eq!(examined(&system).0, HEALTHY);
    }

    #[test]
    fn a_source_that_is_gone_an_overdue_depmod_and_an_unusable_conf_are_problems() {
        let system = System::new();
        system.add("");
        fs_err::remove_dir_all(system.path().join("usr/src/hello-1")).unwrap();
        let (code, lines) = examined(&system);
        assert!(
            code == UNHEALTHY && lines.iter().any(|line| line.contains("hello/1: its source is gone")),
            "{lines:?}"
        );
        let system = System::new();
        system.write("var/lib/dkms/.dkms/owed/depmod/6.1@1-1", "");
        let (code, lines) = examined(&system);
        assert!(code == UNHEALTHY && lines.iter().any(|line| line.contains("left depmod undone")), "{lines:?}");
        assert_eq!(FollowUp::Depmod.left(&system.ctx.trees).len(), 1, "it only looks");
        let system = System::new();
        system.add("if");
        assert_eq!(examined(&system).0, UNHEALTHY);
    }

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
