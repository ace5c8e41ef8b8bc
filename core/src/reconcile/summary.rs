//! The last thing a person reads: what each kernel lacks, why, and the command that mends it.

use std::collections::BTreeMap;

use super::Outcome;
use crate::context::Context;
use crate::error::Error;
use crate::execute::Done;
use crate::names::Kernel;
use crate::plan::{Action, Reason, Step};

/// The summary of `outcome`, line by line; empty when nothing was done and nothing is lacking.
pub fn lines(ctx: &Context, outcome: &Outcome) -> Vec<String> {
    let mut kernels: BTreeMap<&Kernel, Vec<usize>> = BTreeMap::new();
    for (index, step) in outcome.plan.steps.iter().enumerate() {
        kernels.entry(&step.kernel).or_default().push(index);
    }
    let mut lines = Vec::new();
    for (kernel, steps) in kernels {
        let (mut done, mut lacks) = (Vec::new(), Vec::new());
        for index in steps {
            let step = &outcome.plan.steps[index];
            match (&outcome.results[index], step.action) {
                (Some(Ok(Done::Installed)), _) => done.push(step.package.to_string()),
                (Some(Ok(_)), Action::Remove) => lines.push(format!("{kernel}: removed {}", step.package)),
                (Some(Err(Error::Excluded { .. }) | Ok(_)), _)
                | (None, Action::Keep | Action::Skip | Action::Remove) => {}
                (Some(Err(error)), _) => lacks.push(lack(ctx, step, &why(error), &mend_error(step, error))),
                (None, _) => lacks.push(lack(ctx, step, &waits(&step.reason), &mend_reason(step))),
            }
        }
        if !done.is_empty() {
            lines.push(format!("{kernel}: installed {}", done.join(", ")));
        }
        if !lacks.is_empty() {
            lines.push(format!("{kernel} LACKS:"));
            lines.extend(lacks.into_iter().flatten());
        }
    }
    lines.extend(outcome.broken.iter().cloned());
    for (release, why) in &outcome.initramfs_failures {
        lines.push(format!("The initramfs of kernel {release} is not renewed: {why}"));
    }
    lines.extend(outcome.trust.iter().flatten().cloned());
    if !lines.is_empty() {
        lines.insert(0, "DKMS summary".to_owned());
    }
    lines
}

fn lack(ctx: &Context, step: &Step, why: &str, mend: &str) -> Vec<String> {
    let mut lines = vec![format!("  {}: {why}", step.package)];
    if let Some(version) = kept(ctx, step) {
        lines.push(format!("      {}/{version} stays installed for it", step.package.name));
    }
    lines.push(format!("      mend it: {mend}"));
    lines
}

/// The version that is installed for the kernel all the same (law 1).
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

/// Why nothing was tried. What is to be done about headers is said as what mends it.
fn waits(reason: &Reason) -> String {
    match reason {
        Reason::Headers(_) => "waiting for headers".to_owned(),
        other => other.to_string(),
    }
}

fn mend_error(step: &Step, error: &Error) -> String {
    match error {
        Error::NoHeaders { advice, .. } | Error::NoTool { advice, .. } => advice.clone(),
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
            format!("mend its dkms.conf or ask its author, then: {}", again(step))
        }
        _ => again(step),
    }
}

fn again(step: &Step) -> String {
    format!("dkms install {} -k {}", step.package, step.kernel.release)
}
