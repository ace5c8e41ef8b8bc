//! The last thing a person reads: what each kernel lacks, why, and the command that mends it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Outcome;
use crate::context::Context;
use crate::error::Error;
use crate::execute::Done;
use crate::names::{Kernel, Release};
use crate::plan::{Action, Reason, Step};
use crate::tree::record::{Outcome as Recorded, Record};

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
    /// Of each missing package: why, what serves in its place, and the command that mends it.
    lacks: Vec<Vec<String>>,
}

impl Summary {
    /// What `outcome` came to.
    pub fn of(ctx: &Context, outcome: &Outcome) -> Self {
        let mut kernels: BTreeMap<&Kernel, Part> = BTreeMap::new();
        for (index, step) in outcome.plan.steps.iter().enumerate() {
            let part = kernels.entry(&step.kernel).or_default();
            match (&outcome.results[index], step.action) {
                (Some(Ok(Done::Installed)), _) => part.done.push(step.package.to_string()),
                (Some(Ok(_)), Action::Remove) => part.removed.push(step.package.to_string()),
                (Some(Err(Error::Excluded { .. } | Error::NothingInstalled(_)) | Ok(_)), _)
                | (None, Action::Keep | Action::Skip | Action::Remove) => {}
                (Some(Err(error)), _) => part.lacks.push(lack(ctx, step, &why(error), &mend_error(step, error))),
                (None, _) => part.lacks.push(lack(ctx, step, &reason(ctx, step), &mend_reason(step))),
            }
        }
        let mut notes = outcome.broken.clone();
        let not_renewed = |(release, why): &(Release, String)| not_renewed(release, why);
        notes.extend(outcome.initramfs_failures.iter().map(not_renewed));
        notes.extend(outcome.trust.iter().flatten().cloned());
        Self { kernels: kernels.into_iter().map(|(kernel, part)| (kernel.clone(), part)).collect(), notes }
    }

    /// Adds what a later run came to: what was lacking before and is not any more is forgotten.
    pub fn merge(&mut self, later: Self) {
        for (kernel, part) in later.kernels {
            let Some((_, known)) = self.kernels.iter_mut().find(|(known, _)| *known == kernel) else {
                self.kernels.push((kernel, part));
                continue;
            };
            add(&mut known.removed, part.removed);
            add(&mut known.done, part.done);
            known.lacks = part.lacks;
        }
        self.kernels.sort_by(|(one, _), (other, _)| one.cmp(other));
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

    /// Line by line; empty when nothing was done and nothing is lacking.
    pub fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for (kernel, part) in &self.kernels {
            lines.extend(part.removed.iter().map(|package| format!("{kernel}: removed {package}")));
            if !part.done.is_empty() {
                lines.push(format!("{kernel}: installed {}", part.done.join(", ")));
            }
            if !part.lacks.is_empty() {
                lines.push(format!("{kernel} LACKS:"));
                lines.extend(part.lacks.iter().flatten().cloned());
            }
        }
        lines.extend(self.notes.iter().cloned());
        if !lines.is_empty() {
            lines.insert(0, "DKMS summary".to_owned());
        }
        lines
    }
}

/// The summary of `outcome`, line by line; empty when nothing was done and nothing is lacking.
pub fn lines(ctx: &Context, outcome: &Outcome) -> Vec<String> {
    Summary::of(ctx, outcome).lines()
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

/// Why a step was not tried. Of a failure that was only remembered, the record knows more than the plan.
fn reason(ctx: &Context, step: &Step) -> String {
    if let (Reason::KnownFailure(..), Ok(Some(record))) =
        (&step.reason, Record::load(&ctx.trees, &step.package, &step.kernel))
    {
        if let Recorded::Failed { step, diagnostic, log, .. } = record.outcome {
            let diagnostic = diagnostic.map(|text| format!(": {text}")).unwrap_or_default();
            let log = log.map(|log| format!(" (log: {})", log.display())).unwrap_or_default();
            return format!("{step} failed{diagnostic}{log}; not tried again: nothing has changed");
        }
    }
    match &step.reason {
        // What is to be done about them is said as what mends it.
        Reason::Headers(_) => "waiting for headers".to_owned(),
        other => other.to_string(),
    }
}

fn lack(ctx: &Context, step: &Step, why: &str, mend: &str) -> Vec<String> {
    let mut lines = vec![format!("  {}: {why}", step.package)];
    if let Some(version) = kept(ctx, step) {
        lines.push(format!("      {}/{version} stays installed for it", step.package.name));
    }
    if !why.contains(mend) {
        lines.push(format!("      fix: {mend}"));
    }
    lines
}

/// The version that is installed for the kernel all the same (docs/laws.md 1).
fn kept(ctx: &Context, step: &Step) -> Option<String> {
    let target = std::fs::read_link(ctx.trees.active_link(&step.package.name, &step.kernel)).ok()?;
    target.components().next().map(|part| part.as_os_str().to_string_lossy().into_owned())
}

/// The reason in one line: what failed, and the first diagnostic.
fn why(error: &Error) -> String {
    match error {
        Error::Make { diagnostic: Some(diagnostic), log, .. } => {
            format!("build failed: {} (log: {})", diagnostic.text, log.display())
        }
        Error::Make { log, .. } => format!("build failed (log: {})", log.display()),
        other => other.lines().first().cloned().unwrap_or_default(),
    }
}

fn mend_error(step: &Step, error: &Error) -> String {
    match error {
        Error::NoHeaders { advice, .. } | Error::NoTool { advice, .. } => advice.clone(),
        Error::Make { advice: Some(advice), .. }
        | Error::Script { advice: Some(advice), .. }
        | Error::NotProduced { advice: Some(advice), .. } => format!("{advice}; then: {}", again(step)),
        Error::Make { diagnostic: Some(diagnostic), .. } if diagnostic.about_source => format!(
            "{} does not compile for this kernel: look for a newer version; to try it again: {}",
            step.package,
            again(step)
        ),
        _ => again(step),
    }
}

fn mend_reason(step: &Step) -> String {
    match &step.reason {
        Reason::Headers(what) => what.clone(),
        Reason::Unregistered(names) | Reason::Dependencies(names) => {
            let names: Vec<String> = names.iter().map(ToString::to_string).collect();
            format!("install {} for this kernel, then: dkms autoinstall -k {}", names.join(", "), step.kernel.release)
        }
        Reason::Cycle(_) | Reason::Unusable(_) => {
            format!("correct its dkms.conf or ask its author, then: {}", again(step))
        }
        _ => again(step),
    }
}

fn again(step: &Step) -> String {
    format!("dkms install {} -k {}", step.package, step.kernel.release)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn summary(done: &[&str], lacks: &[&str], notes: &[&str]) -> Summary {
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        let part =
            Part { done: words(done), lacks: lacks.iter().map(|lack| words(&[lack])).collect(), ..Part::default() };
        Summary { kernels: vec![(Kernel::new("6.1", "x86_64").unwrap(), part)], notes: words(notes) }
    }

    #[test]
    fn later_runs_count() {
        let mut all = summary(&["a/1"], &["  b/1: waits", "  c/1: failed"], &["x"]);
        all.merge(summary(&["b/1"], &["  c/1: failed"], &["x"]));
        assert_eq!(
            all.lines(),
            ["DKMS summary", "6.1 (x86_64): installed a/1, b/1", "6.1 (x86_64) LACKS:", "  c/1: failed", "x"]
        );
        let text = serde_json::to_string(&all).unwrap();
        assert_eq!(serde_json::from_str::<Summary>(&text).unwrap(), all);
        all.retain(|_| false);
        assert_eq!(all.lines(), ["DKMS summary", "x"]);
        assert!(summary(&[], &[], &[]).lines().is_empty());
    }
}
