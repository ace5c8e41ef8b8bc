//! What `add`, `ldtarball`, `build` and `install` share: from words to a source that is to be registered.

use super::{autoinstall, kernels, package, print};
use crate::cli::args::Args;
use crate::cli::table::Id;
use crate::cli::verb::Show;
use crate::context::Context;
use crate::error::Error;
use crate::names::Kernel;
use crate::plan::{Plan, Registering};
use crate::reconcile::Initramfs;
use crate::register::conf::Registration;
use crate::register::known::any_kernel;
use crate::register::{self, Again, Asked, Found, Placed, place};
use crate::report::Reporter;
use crate::run::Session;

/// What a verb begins with: what was interrupted is healed, and the source that `asked` names looked at.
pub(super) fn look<'a>(
    ctx: &'a Context,
    args: &Args,
    asked: impl FnOnce() -> Result<Asked, Error>,
    reporter: &dyn Reporter,
) -> Result<(Session<'a>, Registration, Found), Error> {
    let session = Session::new(ctx)?;
    let alone = args.verb.is_some_and(|verb| matches!(verb.id, Id::Add | Id::Ldtarball));
    let how = Registration { kernel: some_kernel(ctx, args)?, alone };
    if !ctx.options.dry_run {
        session.heal(reporter)?;
    }
    let found = register::look(&session, &how, asked()?)?;
    Ok((session, how, found))
}

/// What the words name: an archive only when nothing else is named.
pub(super) fn asked(ctx: &Context, args: &Args, again: Again) -> Result<Asked, Error> {
    match (&args.source, &args.archive) {
        (Some(dir), _) if is_nameless(args) => Ok(Asked::Directory(dir.clone())),
        (None, Some(file)) if is_nameless(args) => Ok(Asked::File(file.clone(), again)),
        _ => package(ctx, args).map(Asked::Package),
    }
}

fn is_nameless(args: &Args) -> bool {
    args.module.is_none() && args.version.is_none()
}

/// Registers what was found and does no more, or prints the plan; gives the exit code.
pub(super) fn finish(
    (session, how, found): (Session<'_>, Registration, Found),
    args: &Args,
    reporter: &dyn Reporter,
) -> Result<u8, Error> {
    if session.ctx.options.dry_run {
        let registering = planned(&session, &how, &found, reporter)?;
        return Ok(print(&Plan { registering, ..Plan::default() }, reporter));
    }
    match found.place(&session, &how, reporter)? {
        Placed::Source(package) => place::add(&session, &how, &package, reporter),
        Placed::Registered(_, code) => Ok(code),
        Placed::Rpm => autoinstall::run(session.ctx, args, Initramfs::Auto, Show::default(), reporter),
    }
}

/// The plan of that.
fn planned(
    session: &Session<'_>,
    how: &Registration,
    found: &Found,
    reporter: &dyn Reporter,
) -> Result<Vec<Registering>, Error> {
    let first = found.planned(session.ctx);
    let second = found.source(session.ctx).map(|(package, _)| place::planned(session, how, package, first.is_some()));
    let second = second.transpose().inspect_err(|_| {
        // The copy is made before the refusal.
        if let Some(copied) = &first {
            reporter.line(copied);
        }
    })?;
    Ok(first.into_iter().chain(second).collect())
}

/// Any kernel to read a dkms.conf for, when which one does not matter.
pub(super) fn some_kernel(ctx: &Context, args: &Args) -> Result<Kernel, Error> {
    if args.kernels.is_empty() {
        return any_kernel(ctx, args.arches.first().map(String::as_str));
    }
    Ok(kernels(ctx, args)?.remove(0))
}
