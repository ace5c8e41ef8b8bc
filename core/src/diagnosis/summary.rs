//! The last thing a person reads: what each kernel lacks, why, and the command that fixes it.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::cause::{Cause, failed, untried};
use crate::context::Context;
use crate::error::{Error, StepError};
use crate::execute::Done;
use crate::install;
use crate::kernel::version;
use crate::names::{Kernel, Release};
use crate::plan::{Action, Step};
use crate::reconcile::Outcome;
use crate::report::syslog::{self, Severity};
use crate::tree::Trees;
use crate::tree::walk;

/// The first words of what is said.
pub const HEADING: &str = "DKMS summary";

/// What one or several runs came to. Fronts that are called many times in one transaction keep it until the end.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// The kernels that were looked at, by release and architecture, each also if there is nothing to tell.
    kernels: Vec<(Kernel, Part)>,
    /// What concerns no kernel in particular.
    notes: Vec<String>,
}

/// What there is to tell about one kernel.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Part {
    removed: Vec<String>,
    done: Vec<String>,
    missing: Vec<Missing>,
}

/// A package that a kernel should have and has not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Missing {
    package: String,
    cause: Cause,
    /// The version that is installed in its place (docs/laws.md 1).
    kept: Option<String>,
}

impl Summary {
    /// What `outcome` came to.
    pub fn of(ctx: &Context, outcome: &Outcome) -> Self {
        let mut kernels: BTreeMap<&Kernel, Part> = BTreeMap::new();
        for (index, step) in outcome.plan.steps.iter().enumerate() {
            let part = kernels.entry(&step.kernel).or_default();
            let cause = match (&outcome.results[index], step.action) {
                (Some(Ok(Done::Installed)), _) => {
                    part.done.push(step.package.to_string());
                    continue;
                }
                (Some(Ok(_)), Action::Remove) => {
                    part.removed.push(step.package.to_string());
                    continue;
                }
                (
                    Some(
                        Err(
                            Error::Step(StepError::Excluded { .. })
                            | Error::Install(install::Error::NothingInstalled(_)),
                        )
                        | Ok(_),
                    ),
                    _,
                )
                | (None, Action::Keep | Action::Skip | Action::Remove) => continue,
                (Some(Err(error)), _) => failed(ctx, step, error),
                (None, _) => untried(ctx, step),
            };
            part.missing.push(Missing { package: step.package.to_string(), cause, kept: kept(ctx, step) });
        }
        let mut notes: Vec<String> = outcome.broken.iter().map(ToString::to_string).collect();
        notes.extend(outcome.notes.iter().cloned());
        let not_renewed = |(release, why): &(Release, String)| not_renewed(release, why);
        notes.extend(outcome.initramfs_failures.iter().map(not_renewed));
        notes.extend(outcome.trust.iter().flatten().cloned());
        Self { kernels: kernels.into_iter().map(|(kernel, part)| (kernel.clone(), part)).collect(), notes }
    }

    /// Adds what a later run came to: what was missing before and is not any more is forgotten.
    pub fn merge(&mut self, later: Self) {
        for (kernel, part) in later.kernels {
            let Some((_, known)) = self.kernels.iter_mut().find(|(known, _)| *known == kernel) else {
                self.kernels.push((kernel, part));
                continue;
            };
            add(&mut known.removed, part.removed);
            add(&mut known.done, part.done);
            known.missing = part.missing;
        }
        add(&mut self.notes, later.notes);
    }

    /// Adds a line of its own.
    pub fn note(&mut self, line: String) {
        add(&mut self.notes, vec![line]);
    }

    /// Forgets the kernels for which `stays` does not hold.
    pub fn retain(&mut self, stays: impl Fn(&Release) -> bool) {
        self.kernels.retain(|(kernel, _)| stays(&kernel.release));
    }

    /// Whether the kernel `release` was looked at.
    pub fn has(&self, release: &Release) -> bool {
        self.kernels.iter().any(|(kernel, _)| kernel.release == *release)
    }

    /// Whether some kernel lacks a package.
    pub fn has_missing(&self) -> bool {
        self.kernels.iter().any(|(_, part)| !part.missing.is_empty())
    }

    /// Line by line; empty when nothing was done and nothing is missing. The kernel that boots next comes first, then the
    /// newest.
    pub fn lines(&self, boots_next: Option<&Release>) -> Vec<String> {
        self.lines_and_severities(boots_next).into_iter().map(|(_, line)| line).collect()
    }

    /// Sends the lines to the log of the system in `trees`: what is missing as errors. Every front calls it, once a run. Says
    /// whether the log has taken them.
    pub fn log(&self, trees: &Trees, boots_next: Option<&Release>) -> bool {
        let lines = self.lines_and_severities(boots_next);
        syslog::send(&trees.outer("/dev/log"), lines.iter().map(|(severity, line)| (*severity, line.as_str())))
    }

    /// The lines, and how much each matters.
    fn lines_and_severities(&self, boots_next: Option<&Release>) -> Vec<(Severity, String)> {
        let is_next = |kernel: &Kernel| boots_next == Some(&kernel.release);
        let mut kernels: Vec<&(Kernel, Part)> = self.kernels.iter().collect();
        kernels.sort_by(|(a, _), (b, _)| match is_next(b).cmp(&is_next(a)) {
            Ordering::Equal => version::by_age(b.release.as_str(), a.release.as_str()).then_with(|| a.cmp(b)),
            order => order,
        });
        let mut lines = Vec::new();
        let notice = |line: String| (Severity::Notice, line);
        for (kernel, part) in &kernels {
            lines.extend(part.removed.iter().map(|package| notice(format!("{kernel}: removed {package}"))));
            if !part.done.is_empty() {
                lines.push(notice(format!("{kernel}: installed {}", part.done.join(", "))));
            }
            if part.missing.is_empty() {
                continue;
            }
            let next = if is_next(kernel) { " (this kernel boots next)" } else { "" };
            let mut of_kernel = vec![format!("{kernel} is missing {}{next}:", counted(part.missing.len(), "package"))];
            of_kernel.extend(lines_by_cause(&part.missing));
            lines.extend(of_kernel.into_iter().map(|line| (Severity::Error, line)));
        }
        lines.extend(self.notes.iter().map(|note| (Severity::Warning, note.clone())));
        if !lines.is_empty() {
            let missing = kernels.iter().filter(|(_, part)| !part.missing.is_empty()).count();
            let count = match (missing, kernels.len()) {
                (0, _) | (_, 1) => String::new(),
                (some, all) => format!(": {some} of {all} kernels lack packages"),
            };
            lines.insert(0, notice(format!("{HEADING}{count}")));
        }
        lines
    }
}

/// The lines about what one kernel is missing, by cause, in the order of the first of each.
fn lines_by_cause(missing: &[Missing]) -> Vec<String> {
    let mut causes: Vec<&Cause> = Vec::new();
    for one in missing {
        if !causes.contains(&&one.cause) {
            causes.push(&one.cause);
        }
    }
    let mut lines = Vec::new();
    for cause in causes {
        let of_cause = || missing.iter().filter(|one| one.cause == *cause);
        let names: Vec<&str> = of_cause().map(|one| one.package.as_str()).collect();
        lines.push(format!("  {}: {}", names.join(", "), cause.why));
        lines.extend(of_cause().filter_map(|one| Some(format!("      {} stays installed for it", one.kept.as_ref()?))));
        lines.extend(cause.log.iter().map(|log| format!("      log: {log}")));
        let lasting = cause.lasting.iter().map(|fix| format!("; so that it does not happen again: {fix}"));
        let lasting = lasting.collect::<String>();
        lines.extend(cause.fix.iter().map(|fix| format!("      fix: {fix}{lasting}")));
    }
    lines
}

fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// What to say of a kernel whose initramfs could not be renewed.
pub fn not_renewed(release: &Release, why: &str) -> String {
    format!("The initramfs of kernel {release} is not renewed: {why}")
}

fn add(known: &mut Vec<String>, more: Vec<String>) {
    for line in more {
        if !known.contains(&line) {
            known.push(line);
        }
    }
}

/// The version that is installed for the kernel all the same (docs/laws.md 1).
fn kept(ctx: &Context, step: &Step) -> Option<String> {
    let name = &step.package.name;
    walk::active_version(&ctx.trees, name, &step.kernel).map(|version| format!("{name}/{version}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn missing(package: &str, why: &str, fix: &str) -> Missing {
        let cause = Cause { why: why.to_owned(), log: None, fix: Some(fix.to_owned()), lasting: None };
        Missing { package: package.to_owned(), cause, kept: None }
    }

    fn summary(release: &str, done: &[&str], missing: &[Missing], notes: &[&str]) -> Summary {
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        let part = Part { done: words(done), missing: missing.to_vec(), ..Part::default() };
        Summary { kernels: vec![(Kernel::new(release, "x86_64").unwrap(), part)], notes: words(notes) }
    }

    #[test]
    fn later_runs_count() {
        let (waits, fails) = (missing("b/1", "waits", "x"), missing("c/1", "failed", "y"));
        let mut all = summary("6.1", &["a/1"], &[waits, fails.clone()], &["x"]);
        all.merge(summary("6.1", &["b/1"], &[fails], &["x"]));
        assert_eq!(
            all.lines(None),
            [
                "DKMS summary",
                "6.1 (x86_64): installed a/1, b/1",
                "6.1 (x86_64) is missing 1 package:",
                "  c/1: failed",
                "      fix: y",
                "x"
            ]
        );
        assert!(all.has_missing() && all.has(&Release::new("6.1").unwrap()));
        let text = serde_json::to_string(&all).unwrap();
        assert_eq!(serde_json::from_str::<Summary>(&text).unwrap(), all);
        all.retain(|_| false);
        assert_eq!(all.lines(None), ["DKMS summary", "x"]);
        assert!(summary("6.1", &[], &[], &[]).lines(None).is_empty());
    }

    /// `journalctl -p err` shows what is missing, and no more.
    #[test]
    fn what_is_missing_is_an_error_in_the_log() {
        let severities = |summary: &Summary| {
            summary.lines_and_severities(None).iter().map(|(severity, _)| *severity).collect::<Vec<_>>()
        };
        use Severity::{Error, Notice, Warning};
        assert_eq!(severities(&summary("6.1", &["a/1"], &[], &["x"])), [Notice, Notice, Warning]);
        let all = summary("6.1", &["a/1"], &[missing("b/1", "waits", "x")], &[]);
        assert_eq!(severities(&all), [Notice, Notice, Error, Error, Error]);
    }

    /// One line for each cause; what boots next comes first, and is marked; then the newest.
    #[test]
    fn causes_are_told_once_and_kernels_in_the_order_of_use() {
        let headers = |package| missing(package, "waiting for headers", "apt install linux-headers");
        let mut broken = missing("b/1", "build failed: b.c:1", "a newer version");
        broken.cause.log = Some("/b.log".to_owned());
        broken.kept = Some("b/0".to_owned());
        let mut all = summary("6.9", &[], &[headers("a/1"), broken, headers("c/1")], &[]);
        for (release, missing) in [("6.10", vec![headers("a/1")]), ("6.11", vec![]), ("6.8", vec![headers("a/1")])] {
            all.merge(summary(release, &[], &missing, &[]));
        }
        assert_eq!(
            all.lines(Some(&Release::new("6.9").unwrap())),
            [
                "DKMS summary: 3 of 4 kernels lack packages",
                "6.9 (x86_64) is missing 3 packages (this kernel boots next):",
                "  a/1, c/1: waiting for headers",
                "      fix: apt install linux-headers",
                "  b/1: build failed: b.c:1",
                "      b/0 stays installed for it",
                "      log: /b.log",
                "      fix: a newer version",
                "6.10 (x86_64) is missing 1 package:",
                "  a/1: waiting for headers",
                "      fix: apt install linux-headers",
                "6.8 (x86_64) is missing 1 package:",
                "  a/1: waiting for headers",
                "      fix: apt install linux-headers",
            ]
        );
    }
}
