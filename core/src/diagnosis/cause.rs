//! Why a kernel lacks a package, and the command that mends it.

use serde::{Deserialize, Serialize};

use crate::compile;
use crate::context::Context;
use crate::error::{Error, StepError};
use crate::facts;
use crate::host::headers_package;
use crate::plan::{Reason, Step};
use crate::system_error::SystemError;
use crate::tree::record::{Outcome, Record};

/// Why packages are missing, and what to do about it: what has the same cause is told together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cause {
    /// What is the matter.
    pub why: String,
    /// The log of the build that failed.
    pub log: Option<String>,
    /// The command that fixes it.
    pub fix: Option<String>,
    /// What keeps it from happening again.
    pub lasting: Option<String>,
}

/// What the record of a failure says: its step, the diagnostic, and the log of this kernel's build.
fn recorded(ctx: &Context, step: &Step) -> Option<(String, Option<String>, Option<String>)> {
    match Record::load(&ctx.trees, &step.package, &step.kernel).ok()??.outcome {
        Outcome::Failed { step, diagnostic, log, .. } => {
            Some((step, diagnostic, log.map(|log| log.display().to_string())))
        }
        _ => None,
    }
}

/// Why a step failed.
pub fn failed(ctx: &Context, step: &Step, error: &Error) -> Cause {
    let again = again(step);
    let why = match error {
        Error::Compile(compile::Error::Make { diagnostic: Some(diagnostic), .. }) => {
            format!("build failed: {}", diagnostic.text)
        }
        Error::Compile(compile::Error::Make { .. }) => "build failed".to_owned(),
        Error::Facts(facts::Error::NoHeaders { .. }) => return no_headers(ctx, step, None),
        Error::Compile(compile::Error::NotShared { .. }) => "waiting for a build in the share".to_owned(),
        other => other.cause(),
    };
    let fix = match error {
        Error::Step(StepError::NoTool { advice, .. })
        | Error::Compile(
            compile::Error::Make { advice: Some(advice), .. }
            | compile::Error::Script { advice: Some(advice), .. }
            | compile::Error::NotProduced { advice: Some(advice), .. },
        ) => format!("{advice}; then: {again}"),
        Error::Compile(compile::Error::Make { diagnostic: Some(diagnostic), .. }) if diagnostic.about_source => {
            newer(step)
        }
        // What its own files make fail fails again.
        Error::Compile(
            compile::Error::PatchFailed { .. }
            | compile::Error::PatchMissing { .. }
            | compile::Error::PatchPath(_)
            | compile::Error::Script { .. }
            | compile::Error::NotProduced { .. },
        )
        | Error::Finish(_)
        | Error::Step(StepError::EmptySource(_)) => newer(step),
        Error::Facts(facts::Error::BadConf { .. } | facts::Error::ConfMissing(_))
        | Error::System(SystemError::Conf(_)) => {
            format!("correct its dkms.conf or ask its author, then: {again}")
        }
        Error::Step(StepError::NotLoadable { lines, .. }) => {
            match lines.iter().find_map(|line| line.split_once("To fix it: ")) {
                Some((_, command)) => command.to_owned(),
                None => newer(step),
            }
        }
        Error::Compile(compile::Error::NotShared { package, .. }) => {
            format!("on a builder: dkms share push {package}; then: {again}")
        }
        // The other package is told of in its own line.
        Error::Step(StepError::MissingDependencies { .. }) => {
            return Cause { why, log: None, fix: None, lasting: None };
        }
        Error::System(SystemError::Lock(_))
        | Error::Compile(compile::Error::Make { .. } | compile::Error::TooLong { .. }) => again,
        _ => format!("once the cause is gone: {again}"),
    };
    // The build directory's log is the latest build's, perhaps for another kernel.
    let log = recorded(ctx, step).and_then(|(_, _, log)| log);
    let fix = (!why.contains(&fix)).then_some(fix);
    Cause { why, log, fix, lasting: None }
}

/// Why a step was not tried. Of a failure that was only remembered, the record knows more than the plan.
pub fn untried(ctx: &Context, step: &Step) -> Cause {
    let cause = |why: String, fix: Option<String>| Cause { why, log: None, fix, lasting: None };
    match &step.reason {
        Reason::Headers(what) => no_headers(ctx, step, Some(what)),
        Reason::KnownFailure(..) => {
            let (what, diagnostic, log) = recorded(ctx, step).unwrap_or_else(|| ("build".to_owned(), None, None));
            let diagnostic = diagnostic.map(|text| format!(": {text}")).unwrap_or_default();
            let why = format!("{what} failed{diagnostic}; not tried again: nothing has changed");
            Cause { why, log, fix: Some(newer(step)), lasting: None }
        }
        Reason::Dependencies(_) => cause(step.reason.to_string(), None),
        Reason::Unregistered(names) => {
            let names: Vec<String> = names.iter().map(ToString::to_string).collect();
            let fix = format!("install {}; then: dkms autoinstall -k {}", names.join(", "), step.kernel.release);
            cause(step.reason.to_string(), Some(fix))
        }
        Reason::Cycle(_) | Reason::Unusable(_) => cause(
            step.reason.to_string(),
            Some(format!("correct its dkms.conf or ask its author, then: {}", again(step))),
        ),
        // `install` takes what is installed already for what was asked for.
        Reason::Stale(_) => cause(step.reason.to_string(), Some(format!("dkms reconcile -k {}", step.kernel.release))),
        other => cause(other.to_string(), Some(again(step))),
    }
}

/// Headers are missing, or (`what`) they are others than the kernel's.
fn no_headers(ctx: &Context, step: &Step, what: Option<&str>) -> Cause {
    let release = &step.kernel.release;
    let advice = || headers_package::missing(&ctx.distribution, &ctx.trees, release);
    let is_here = ctx.trees.modules_dir(release).is_dir();
    Cause {
        why: "waiting for headers".to_owned(),
        log: None,
        fix: Some(what.map_or_else(advice, str::to_owned)),
        lasting: headers_package::lasting(&ctx.distribution, release).filter(|_| is_here),
    }
}

fn newer(step: &Step) -> String {
    format!("look for a newer version of {}, or tell its author; after a change: {}", step.package.name, again(step))
}

fn again(step: &Step) -> String {
    format!("dkms install {} -k {}", step.package, step.kernel.release)
}
