//! `dkms kernel_preinst` and `dkms kernel_prerm`: a kernel's package is about to be upgraded under the same
//! release, or to be removed (docs/contract.md 2.13).

use super::{check_access, kernels, print, with_follow_ups};
use crate::cli::args::Args;
use crate::context::Context;
use crate::error::Error;
use crate::execute::run::depmods;
use crate::names::Kernel;
use crate::plan::Plan;
use crate::reconcile::{kernel_is_coming, kernel_is_going, orphaned, outdated};
use crate::report::{Event, Reporter};
use crate::run::Session;

/// What both return when something could not be done.
const FAILED: u8 = 14;

pub(super) fn preinst(ctx: &Context, args: &Args, reporter: &dyn Reporter) -> Result<u8, Error> {
    let kernel = kernels(ctx, args)?.remove(0);
    check_access(ctx, args)?;
    if ctx.options.dry_run {
        return Ok(print(&Plan { steps: outdated(ctx, &kernel), ..Plan::default() }, reporter));
    }
    coming(ctx, &kernel, reporter)
}

/// Has everything built for `kernel` count as stale, and says so; gives the exit code.
pub(crate) fn coming(ctx: &Context, kernel: &Kernel, reporter: &dyn Reporter) -> Result<u8, Error> {
    let session = Session::new(ctx)?;
    session.heal(reporter)?;
    for package in kernel_is_coming(&session, kernel)? {
        reporter.report(Event::Note(format!(
            "dkms: {package} will be rebuilt for kernel {kernel}; its present modules stay until then"
        )));
    }
    Ok(0)
}

pub(super) fn prerm(ctx: &Context, args: &Args, reporter: &dyn Reporter) -> Result<u8, Error> {
    let kernel = kernels(ctx, args)?.remove(0);
    check_access(ctx, args)?;
    if ctx.options.dry_run {
        return Ok(print(&with_follow_ups(ctx, Plan { steps: orphaned(ctx, &kernel), ..Plan::default() }), reporter));
    }
    going(ctx, &kernel, reporter)
}

/// Takes everything of ours away from `kernel`; gives the exit code.
pub(crate) fn going(ctx: &Context, kernel: &Kernel, reporter: &dyn Reporter) -> Result<u8, Error> {
    let session = Session::new(ctx)?;
    let failures = kernel_is_going(&session, kernel, reporter);
    depmods(&session, reporter);
    let failures = failures?;
    if failures.is_empty() {
        return Ok(0);
    }
    let list: Vec<String> = failures.iter().map(|(package, error)| format!("{package}({})", error.code())).collect();
    reporter.report(Event::Error(vec![format!(
        "dkms kernel_prerm for kernel {kernel} failed for module(s) {}.",
        list.join(" ")
    )]));
    Ok(FAILED)
}
