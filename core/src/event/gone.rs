//! What goes: kernels, and versions whose source has gone. Nothing that works is taken away before its successor is in
//! place.

use std::path::PathBuf;

use super::{Event, EventOptions, Handled, register};
use crate::command;
use crate::context::Context;
use crate::error::Error;
use crate::execute::run::depmods;
use crate::install;
use crate::kernel::installed;
use crate::names::Release;
use crate::policy::FAILED;
use crate::reconcile::orphan;
use crate::report::{self, Reporter};
use crate::run::Session;
use crate::tree::walk::{self, Filter, PackageEntry, Source};

/// Takes away what `events` say is going or gone.
pub(super) fn take_away(
    ctx: &Context,
    events: &[Event],
    options: &EventOptions,
    handled: &mut Handled,
    reporter: &dyn Reporter,
) -> Result<(), Error> {
    for event in events {
        match event {
            Event::KernelGoing(release) => {
                handled.code = handled.code.max(going(ctx, release, reporter));
            }
            Event::KernelGone(release) => kernel_is_gone(ctx, release, options, handled, reporter)?,
            _ => {}
        }
    }
    if options.everything && !events.iter().all(Event::is_ahead) {
        drop_replaced(ctx, events, handled, reporter)?;
    }
    Ok(())
}

/// Takes everything of ours away from a kernel; gives the exit code.
fn going(ctx: &Context, release: &Release, reporter: &dyn Reporter) -> u8 {
    command::carry_out(ctx, reporter, || command::kernel::going(ctx, &ctx.kernel(release)?, reporter))
}

/// A kernel that was removed leaves nothing of ours. Its going may have been missed: a killed package manager, a kernel
/// without that hook.
fn kernel_is_gone(
    ctx: &Context,
    release: &Release,
    options: &EventOptions,
    handled: &mut Handled,
    reporter: &dyn Reporter,
) -> Result<(), Error> {
    if installed::is_there(&ctx.trees, release) {
        return Ok(());
    }
    let built = |entry: &PackageEntry| entry.built.iter().any(|built| built.kernel.release == *release);
    let any = walk::walk(&ctx.trees, &Filter::default()).packages.iter().any(built)
        || ctx.trees.kernel_manifest(release).exists();
    handled.code = handled.code.max(going(ctx, release, reporter));
    if any {
        handled.summary.note(format!("{}: removed, and its modules with it", ctx.kernel(release)?));
    }
    if !options.everything {
        return Ok(());
    }
    // Empty directories that the package manager could not remove, and depmod's files.
    let dir = ctx.trees.modules_dir(release);
    let is_orphan = || {
        ctx.trees.changed(&dir);
        let left = installed::look(&ctx.trees, release.clone(), &|_, _| false);
        left.is_some_and(|left| left.is_orphan(&|_, _| false))
    };
    if is_orphan() {
        let _lock = ctx.lock_tree()?;
        if is_orphan() {
            fs_err::remove_dir_all(&dir)?;
            ctx.trees.changed(&dir);
        }
    }
    // Where there is no /proc, somebody works on this root from outside.
    let at_home = !ctx.machine.in_chroot && ctx.trees.outer("/proc/self").exists();
    if at_home && ctx.machine.running.as_ref() == Some(release) {
        handled.summary.note(format!(
            "The running kernel {release} has been removed: modules can't be loaded any more. Reboot to start the new one."
        ));
    }
    Ok(())
}

/// A registered version whose source went.
struct Replaced {
    entry: PackageEntry,
    /// Whether another version of it is there.
    has_successor: bool,
}

/// The versions whose place another one takes, and those that `events` took away for good. Any other package without its
/// source is somebody else's doing; `dkms status` tells of it.
fn replaced(ctx: &Context, events: &[Event]) -> Vec<Replaced> {
    let gone: Vec<&PathBuf> = events
        .iter()
        .filter_map(|event| match event {
            Event::SourceUpgraded(dir) => Some(dir),
            _ => None,
        })
        .collect();
    let packages = walk::walk(&ctx.trees, &Filter::default()).packages;
    let is_there = |entry: &PackageEntry| {
        entry.source == Source::Added && ctx.trees.source_of(&entry.package).join("dkms.conf").is_file()
    };
    let (there, absent): (Vec<_>, Vec<_>) = packages.into_iter().partition(is_there);
    let replaced = absent.into_iter().filter_map(|entry| {
        let dir = register::link(ctx, &entry.package).filter(|dir| dir.starts_with(&ctx.trees.source.inside))?;
        let has_successor = there.iter().any(|other| other.package.name == entry.package.name);
        (has_successor || gone.contains(&&dir)).then_some(Replaced { entry, has_successor })
    });
    replaced.collect()
}

/// Forgets what is replaced, on the kernels where its successor is installed.
fn drop_replaced(ctx: &Context, events: &[Event], handled: &mut Handled, reporter: &dyn Reporter) -> Result<(), Error> {
    let session = Session::new(ctx)?;
    for Replaced { entry, has_successor } in replaced(ctx, events) {
        let package = &entry.package;
        let mut kept = false;
        for built in &entry.built {
            let kernel = &built.kernel;
            // Where the successor could not be installed, the predecessor goes on serving.
            if built.installed && has_successor && installed::is_there(&ctx.trees, &kernel.release) {
                handled.summary.note(format!("{kernel}: {package} stays installed, although its source has gone"));
                kept = true;
                continue;
            }
            orphan::unbuild(&session, package, kernel, reporter)?;
        }
        if !kept {
            reporter.report(report::Event::Line(format!("Deleting module {package} completely from the DKMS tree.")));
            install::forget(ctx, package, &|holder| log::info!("waiting for {holder}"))?;
        }
    }
    // An index that is old for another reason may be made anew in the same go.
    let ours = session.touched_so_far();
    if depmods(&session, reporter).iter().any(|(release, _)| ours.contains(release)) {
        handled.code = handled.code.max(FAILED);
    }
    Ok(())
}
