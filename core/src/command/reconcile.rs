//! `dkms reconcile`: make every kernel have what it should have. The single entry for fronts, the boot unit
//! and image builds.

use super::kernels;
use crate::cli::args::Args;
use crate::cli::verb::{Reconciling, Show};
use crate::conf::framework::Policy;
use crate::context::Context;
use crate::diagnosis::summary::Summary;
use crate::error::{Error, RequestError};
use crate::host::boot_loader;
use crate::kernel::installed;
use crate::plan::{Action, Step};
use crate::reconcile::{How, Outcome, Preview, Scope, foresee, reconcile};
use crate::report::{Event, Reporter};
use crate::run::Session;

pub(super) fn run(ctx: &Context, args: &Args, options: &Reconciling, reporter: &dyn Reporter) -> Result<u8, Error> {
    let event = options.event.as_deref();
    let boot = event == Some("boot");
    if ctx.autoinstall_is_off() {
        super::tell_disabled(reporter);
        return Ok(0);
    }
    let Some(scope) = scope(ctx, args, boot)? else { return Ok(0) };
    let Reconciling { initramfs, strict, show, .. } = *options;
    let how = How { initramfs, spare_known_failures: boot, strict, load: boot, ..How::default() };
    if ctx.options.dry_run {
        return print(show, &foresee(&Session::new(ctx)?, &scope, how)?, reporter);
    }
    match super::check_access(ctx, args) {
        // A package manager's run in a system without /var: that modules are lacking is policy's business, as ever.
        Err(error @ Error::Request(RequestError::ReadOnlyTree { .. }))
            if event.is_some() && !must_succeed(ctx, how) =>
        {
            reporter.warning(&[&error]);
            return Ok(0);
        }
        checked => checked?,
    }
    // rpm's file triggers are scriptlets, too, but come when all files are in their places.
    let over = ctx.machine.rpm_scriptlet.is_none() || matches!(event, Some("files-changed" | "transaction-end"));
    let done = perform(ctx, &scope, how, over, reporter)?;
    let next = boot_loader::next(&ctx.trees);
    let logged = event.is_some() && done.summary.log(&ctx.trees, next.as_ref());
    let lines = done.summary.lines(next.as_ref());
    let is_in_journal = logged && ctx.machine.journal;
    if !is_in_journal && !lines.is_empty() {
        // The last thing said; on standard error, since standard output may be somebody's protocol.
        reporter.report(Event::Note(format!("\n{}", lines.join("\n"))));
    }
    // Nobody waits for the unit: policy is for transactions.
    Ok(if boot { done.outcome.code(ctx, true) } else { done.code })
}

/// Whether a missing module is a failure.
fn must_succeed(ctx: &Context, how: How<'_>) -> bool {
    how.strict || ctx.framework.policy == Policy::Fail
}

/// What a whole reconciliation came to.
#[derive(Debug)]
pub struct Performed {
    /// How the steps ended.
    pub outcome: Outcome,
    /// What is to be reported.
    pub summary: Summary,
    /// The exit code by policy.
    pub code: u8,
}

/// The verb itself, for fronts that keep the summary until later. `over`: all files of the transaction that we are part
/// of are in their places, so that what is not there now will not come.
pub fn perform(
    ctx: &Context,
    scope: &Scope,
    how: How<'_>,
    over: bool,
    reporter: &dyn Reporter,
) -> Result<Performed, Error> {
    let session = Session::new(ctx)?;
    let how = How { over: Some(over), ..how };
    let outcome = reconcile(&session, scope, how, reporter)?;
    let summary = Summary::of(ctx, &outcome);
    if !outcome.changed.is_empty() {
        let changed = |step: &&crate::plan::Step| outcome.changed.contains(&step.kernel.release);
        let last = outcome.plan.steps.iter().rev().find(changed).map(|step| &step.kernel);
        super::post_transaction(&session, last, reporter)?;
    }
    let code = outcome.code(ctx, how.strict);
    Ok(Performed { outcome, summary, code })
}

/// The kernels meant; `None`: none of them is in this root.
fn scope(ctx: &Context, args: &Args, boot: bool) -> Result<Option<Scope>, Error> {
    if !args.kernels.is_empty() {
        return Ok(Some(Scope::Kernels(kernels(ctx, args)?)));
    }
    if !boot {
        return Ok(Some(Scope::All));
    }
    let Some(release) = ctx.machine.running.clone() else { return Ok(None) };
    let is_there = installed::is_there(&ctx.trees, &release);
    Ok(if is_there { Some(Scope::Kernels(vec![ctx.kernel(&release)?])) } else { None })
}

/// Prints a plan instead of carrying it out.
pub(super) fn print(show: Show, preview: &Preview, reporter: &dyn Reporter) -> Result<u8, Error> {
    let Preview { plan, broken, notes } = preview;
    if show.json {
        super::document(plan, reporter)?;
        return Ok(0);
    }
    let is_shown = |step: &&Step| show.long || step.action != Action::Keep;
    let lines = plan.in_order(|steps| steps.filter(is_shown).map(ToString::to_string).collect());
    for line in &lines {
        reporter.line(line);
    }
    if lines.is_empty() {
        reporter.line(&"Nothing to do.");
    }
    for broken in broken {
        reporter.warning(&[broken]);
    }
    for note in notes {
        reporter.warning(&[note]);
    }
    Ok(0)
}
