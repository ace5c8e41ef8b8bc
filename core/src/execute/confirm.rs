//! Installed is not yet loaded: what is asked of each installation after depmod.

use super::work::Done;
use crate::context::Context;
use crate::error::{Error, StepError};
use crate::loadable::Why;
use crate::loadable::gather::{Answer, Loadable};
use crate::lock::LockError;
use crate::parallel;
use crate::plan::{Action, Reason, Step};
use crate::report::{Event, Reporter};
use crate::run::Session;
use crate::tree::record::{Outcome, Record};

/// How the errors of this room are recorded.
const LOAD: &str = "load";

/// Asks of each installation whether it will be loaded; of what is only kept, if it would not have been when it was last asked. Where
/// nothing of a package would be, it has failed.
pub(super) fn confirm(
    session: &Session<'_>,
    steps: &[Step],
    results: &mut [Option<Result<Done, Error>>],
    reporter: &dyn Reporter,
) {
    let ctx = session.ctx;
    let loadable = Loadable::new(&ctx.trees);
    // Most of what a run looks at is only kept.
    let kept =
        steps.iter().zip(results.iter()).map(|(step, result)| (step, result.is_none() && step.action == Action::Keep));
    let refused_before = parallel::map(&kept.collect::<Vec<_>>(), |(step, is_kept)| *is_kept && was_refused(ctx, step));
    for ((result, step), was_refused) in results.iter_mut().zip(steps).zip(refused_before) {
        // A lock only where there is something to ask.
        let is_asked = match result {
            Some(Ok(Done::Installed)) => true,
            // Asked for by name, and there already.
            Some(Ok(Done::Already)) => step.reason == Reason::Present,
            None => was_refused,
            _ => false,
        };
        if !is_asked {
            continue;
        }
        // What another run takes away is no failure of this one.
        let still = session.still(&step.kernel);
        if matches!(still, Err(LockError::Closed { .. })) {
            continue;
        }
        if matches!(result, Some(Ok(Done::Installed))) {
            warn_of_dependants(&loadable, step, reporter);
        }
        let outcome = match refused(ctx, &loadable, step, reporter) {
            Some(error) => {
                let outcome = Outcome::Failed {
                    step: LOAD.to_owned(),
                    code: i32::from(error.code()),
                    diagnostic: error.lines().get(1).cloned(),
                    log: None,
                    remembered_key: None,
                };
                *result = Some(Err(error));
                outcome
            }
            None if result.is_some() => continue,
            None => Outcome::Installed,
        };
        let (package, kernel) = (step.package.clone(), step.kernel.clone());
        let record = Record { package, kernel, outcome, at: ctx.timestamp() };
        if let Err(error) = record.store(&ctx.trees) {
            log::warn!("{error}");
        }
    }
}

/// Whether its record says that it would not be loaded.
fn was_refused(ctx: &Context, step: &Step) -> bool {
    let record = Record::load(&ctx.trees, &step.package, &step.kernel).ok().flatten();
    record.is_some_and(|record| matches!(record.outcome, Outcome::Failed { step, .. } if step == LOAD))
}

/// Says what would not be loaded of the package of `step`. Gives the error if that is all of it.
fn refused(ctx: &Context, loadable: &Loadable<'_>, step: &Step, reporter: &dyn Reporter) -> Option<Error> {
    let (_, lines, _) = lacking(loadable, step);
    if lines.is_empty() {
        return None;
    }
    // Another command may be taking it out: the index loses it first. Once more, while nobody changes anything.
    let locked = ctx.lock_tree();
    let (count, lines, is_meant) = lacking(&Loadable::new(&ctx.trees), step);
    drop(locked);
    if lines.is_empty() {
        return None;
    }
    let all = lines.len() == count;
    let (package, kernel) = (step.package.clone(), step.kernel.clone());
    let error = Error::Step(StepError::NotLoadable { package, kernel, lines });
    if !all || is_meant {
        reporter.report(Event::Warning(error.lines()));
        return None;
    }
    reporter.report(Event::Error(error.lines()));
    Some(error)
}

/// How many modules there are of the package of `step`, what is to be said of those that would not be loaded, and whether all
/// of that is as somebody wants it: then it is not lacking.
fn lacking(loadable: &Loadable<'_>, step: &Step) -> (usize, Vec<String>, bool) {
    let answers = loadable.package(&step.package, &step.kernel);
    let count = answers.len();
    let mut is_meant = true;
    // Where the kernel's package has made no index yet, it is about to.
    let lines = (answers.into_iter())
        .filter_map(|answer| {
            // What a script has signed or stripped after the installation is loaded all the same.
            let why = answer.answer.err().filter(|why| !matches!(why, Why::NoIndex | Why::Changed))?;
            is_meant &= why.is_meant();
            let text = why.with_mend(&step.package.to_string(), &step.kernel.release);
            Some(format!("{}: {text}", answer.module))
        })
        .collect();
    (count, lines, is_meant)
}

/// Says which other packages' modules would no longer be loaded, now that those of `step` are others.
fn warn_of_dependants(loadable: &Loadable<'_>, step: &Step, reporter: &dyn Reporter) {
    for (package, answer) in loadable.dependants(&step.package, &step.kernel) {
        if let Err(why @ (Why::OtherSymbol { .. } | Why::Needs { .. } | Why::Because { .. })) = answer.answer {
            let Answer { module, .. } = answer;
            let mut lines = vec![format!("{module} of {package} would no longer be loaded: {why}.")];
            let mend = why.mend(&package.to_string(), &step.kernel.release);
            lines.extend(mend.map(|command| format!("To fix it: {command}")));
            reporter.report(Event::Warning(lines));
        }
    }
}
