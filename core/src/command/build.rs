//! `dkms build` and `dkms install`: one or more kernels, adding the package first where needed.

use std::path::Path;

use super::{
    autoinstall, check_access, check_not_broken, kernels, post_transaction, print, source, tell_trust, with_follow_ups,
};
use crate::cli::args::Args;
use crate::cli::verb::Show;
use crate::context::Context;
use crate::error::{Error, StepError};
use crate::execute::work::state_of;
use crate::execute::{self, Done, Results, Voice};
use crate::install;
use crate::install::superseded_mark::is_of_other_at;
use crate::loadable::gather::{Answer, Loadable};
use crate::lock::Holder;
use crate::modprobe;
use crate::names::{Kernel, Package};
use crate::plan::{PackageState, Plan, Registering, Stale, Step, Want, rebuilt, requested};
use crate::reconcile::{Initramfs, dependants};
use crate::register::conf::Registration;
use crate::register::{Again, Found, Placed, place};
use crate::report::{Buffer, Event, Reporter};
use crate::run::Session;
use crate::superseded::{self, Waiting};
use crate::tree::walk::{self, Source};

/// How often a package that others remove is added again.
const TRIES: usize = 3;

pub(super) fn run(ctx: &Context, args: &Args, want: Want, reporter: &dyn Reporter) -> Result<u8, Error> {
    check_access(ctx, args)?;
    let asked = || source::asked(ctx, args, Again::SameSource);
    let (session, how, found) = source::look(ctx, args, asked, reporter)?;
    if ctx.options.dry_run {
        let mut plan = with_follow_ups(ctx, preview(args, &how, &session, &found, want)?);
        execute::work::foresee(&session, &mut plan);
        return Ok(print(&plan, reporter));
    }
    let package = match found.place(&session, &how, reporter)? {
        Placed::Source(package) => package,
        Placed::Registered(package, 0) => {
            reporter.line(&"");
            package
        }
        Placed::Registered(_, code) => return Ok(code),
        Placed::Rpm => return autoinstall::run(ctx, args, Initramfs::Auto, Show::default(), reporter),
    };
    check_not_broken(ctx, &package)?;
    let kernels = kernels(ctx, args)?;
    let on_wait = |holder: &Holder| {
        reporter.report(Event::Note(format!("Waiting for {holder}, which takes all modules away from a kernel.")));
    };
    session.begin(&kernels, &on_wait)?;
    let mut tries = TRIES;
    let (mut steps, mut results) = loop {
        if !is_known(ctx, &package, &kernels) {
            let code = place::add(&session, &how, &package, reporter)?;
            if code != 0 {
                return Ok(code);
            }
            reporter.line(&"");
        }
        let steps = steps(ctx, &package, &kernels, want, &ctx.trees.source_of(&package));
        let results = execute::run::without_depmod(&session, &steps, Voice::Asked, reporter);
        // Another run removed it before this one came to build it: as if that had ended before this began.
        let removed = results.iter().flatten().any(|result| matches!(result, Err(Error::Step(StepError::Removed(_)))));
        if !removed || tries == 0 {
            break (steps, results);
        }
        tries -= 1;
        session.facts.forget(&package);
    };
    if want == Want::Installed && !ctx.options.force {
        dependants(&session, &mut steps, &mut results, reporter)?;
    }
    if want == Want::Installed {
        superseded::settle(&session, ctx.machine.rpm_scriptlet.is_none(), reporter)?;
    }
    execute::run::depmod_once(&session, &steps, &mut results, reporter);
    let installed = steps.iter().zip(&results).filter(|(_, result)| matches!(result, Some(Ok(Done::Installed))));
    modprobe::devices::load_matching(ctx, false, installed.map(|(step, _)| &step.kernel.release));
    let ended = |done: Done| results.iter().flatten().any(|result| matches!(result, Ok(found) if *found == done));
    if want == Want::Installed && ended(Done::Installed) {
        post_transaction(&session, steps.last().map(|step| &step.kernel), reporter)?;
        warn_of_images(ctx, &steps, &results, reporter);
    }
    // Also of what was there already: it is no less refused.
    if want == Want::Installed && (ended(Done::Installed) || ended(Done::Already)) {
        let pairs: Vec<(Package, Kernel)> = steps.into_iter().map(|step| (step.package, step.kernel)).collect();
        tell_trust(&session, &pairs, reporter)?;
    }
    Ok(code(&results))
}

/// Says where a kernel's initramfs would load another module than the one that was just installed, or lacks it. Within a
/// package manager's run it is made anew later.
fn warn_of_images(ctx: &Context, steps: &[Step], results: &Results, reporter: &dyn Reporter) {
    if ctx.machine.maintainer_script.is_some() || ctx.machine.rpm_scriptlet.is_some() {
        return;
    }
    let loadable = Loadable::new(&ctx.trees);
    for (step, _) in steps.iter().zip(results).filter(|(_, result)| matches!(result, Some(Ok(Done::Installed)))) {
        for Answer { module, answer } in loadable.in_image(&step.package, &step.kernel) {
            if let Err(why) = answer {
                let text = why.with_mend(&step.package.to_string(), &step.kernel.release);
                reporter.warning(&[&format!("{module} for kernel {}: {text}", step.kernel)]);
            }
        }
    }
}

/// BUILD_DEPENDS_REBUILD (docs/contract.md 8): what was built against another version of what was just installed is
/// built anew. A failure does not undo the installation, and leaves the dependant's old modules in place.
fn dependants(
    session: &Session<'_>,
    steps: &mut Vec<Step>,
    results: &mut Results,
    reporter: &dyn Reporter,
) -> Result<(), Error> {
    let done = steps.iter().zip(results.iter());
    let installed = done.filter(|(_, result)| matches!(result, Some(Ok(Done::Installed)))).map(|(step, _)| step);
    let again = followers(session.ctx, installed, reporter)?;
    let rebuilt = execute::run::without_depmod(session, &again, Voice::Dependants, reporter);
    for (step, result) in again.iter().zip(&rebuilt) {
        if matches!(result, Some(Err(_))) && install::is_installed(session.ctx, &step.package, &step.kernel) {
            reporter.warning(&[&format!(
                "{} could not be rebuilt for kernel {}: its present modules stay.",
                step.package, step.kernel
            )]);
        }
    }
    steps.extend(again);
    results.extend(rebuilt);
    Ok(())
}

/// One exit code for several kernels: the first failure's; 77 only if every kernel is excluded.
/// (The classic returned the last kernel's, whatever had become of the others.)
pub(super) fn code(results: &Results) -> u8 {
    let codes: Vec<u8> = results.iter().flatten().map(|result| result.as_ref().err().map_or(0, Error::code)).collect();
    if let Some(failure) = codes.iter().find(|code| **code != 0 && **code != 77) {
        return *failure;
    }
    if !codes.is_empty() && codes.iter().all(|code| *code == 77) { 77 } else { 0 }
}

/// Whether nothing has to be added: built already, it may have come without its source.
fn is_known(ctx: &Context, package: &Package, kernels: &[Kernel]) -> bool {
    walk::source(&ctx.trees, package) == Source::Added
        || kernels.iter().all(|kernel| install::is_built(ctx, package, kernel))
}

/// The steps for a package whose source is, or will be, what is at `source` (an outer path).
fn steps(ctx: &Context, package: &Package, kernels: &[Kernel], want: Want, source: &Path) -> Vec<Step> {
    let force = ctx.options.force || (ctx.options.rpm_safe_upgrade && want == Want::Installed);
    let step = |kernel| {
        let mut state = state_of(ctx, package, kernel);
        // Who forces a package means its present source.
        if ctx.options.force && source.is_dir() && is_of_other_at(ctx, package, kernel, source) {
            state = PackageState::Stale { why: Stale::Source, installed: state == PackageState::Installed };
        }
        requested(package, kernel, &state, want, force)
    };
    kernels.iter().map(step).collect()
}

/// The steps that rebuild what follows `installed`.
fn followers<'a>(
    ctx: &Context,
    installed: impl Iterator<Item = &'a Step>,
    reporter: &dyn Reporter,
) -> Result<Vec<Step>, Error> {
    let mut again: Vec<Step> = Vec::new();
    for step in installed {
        let found = dependants::find(ctx, &step.kernel, &step.package)?;
        for cycle in &found.cycles {
            let cycle = cycle.iter().map(ToString::to_string).collect::<Vec<_>>().join(" -> ");
            reporter.warning(&[&"The following modules could not be rebuilt due to dependency cycles:", &cycle]);
        }
        let first = again.len();
        let mut rebuilt = rebuilt(found.packages, &step.kernel, &step.package.name);
        rebuilt.iter_mut().flat_map(|step| &mut step.after).for_each(|before| *before += first);
        again.append(&mut rebuilt);
    }
    Ok(again)
}

/// The plan of a run, without a change.
fn preview(args: &Args, how: &Registration, session: &Session<'_>, found: &Found, want: Want) -> Result<Plan, Error> {
    let ctx = session.ctx;
    let mut plan = Plan { registering: found.planned(ctx).into_iter().collect(), ..Plan::default() };
    let Some((package, source)) = found.source(ctx) else { return Ok(plan) };
    let is_copied = !plan.registering.is_empty();
    if !is_copied {
        check_not_broken(ctx, package)?;
    }
    let kernels = kernels(ctx, args)?;
    if !is_known(ctx, package, &kernels) {
        plan.registering.push(place::planned(session, how, package, is_copied)?);
    }
    plan.steps = steps(ctx, package, &kernels, want, &source);
    if want == Want::Installed && !ctx.options.force {
        let followers = followers(ctx, plan.steps.iter().filter(|step| step.installs()), &Buffer::default())?;
        plan.steps.extend(followers);
    }
    if want == Want::Installed {
        // Whoever installs settles what waits for a successor.
        let waiting = superseded::waiting(ctx, ctx.machine.rpm_scriptlet.is_none(), std::slice::from_ref(package));
        let again = superseded::revivals(ctx, &waiting).map(|Waiting { mark, .. }| mark.clone());
        plan.registering.extend(again.map(|mark| Registering::Again(mark.package, mark.source)));
        superseded::plan_ends(ctx, &waiting, &mut plan);
    }
    Ok(plan)
}
