//! The end of dpkg's run: everything that was left, all kernels and packages at once.

use dkms_core::command::reconcile::perform;
use dkms_core::context::Context;
use dkms_core::error::Error;
use dkms_core::execute::run::depmods;
use dkms_core::names::Release;
use dkms_core::reconcile::summary::{self as core_summary, Summary};
use dkms_core::reconcile::superseded;
use dkms_core::reconcile::{How, Initramfs, Scope, initramfs};
use dkms_core::report::{Event, Reporter};
use dkms_core::run::Session;

use crate::{core, hooks, pending, summary};

/// Does what is left. Failures are in the records, and told; nobody's package fails for them.
pub fn run(ctx: &Context) {
    let reporter = core::reporter();
    if let Err(error) = try_run(ctx, &reporter) {
        reporter.report(Event::Error(error.lines()));
    }
    summary::end_of_dpkg(ctx);
}

fn try_run(ctx: &Context, reporter: &dyn Reporter) -> Result<(), Error> {
    let session = Session::new(ctx)?;
    session.heal(reporter)?;
    if superseded::settle(&session, reporter)? {
        depmods(&session, reporter);
    }
    drop(session);
    let left = pending::list(&ctx.trees);
    let (there, gone): (Vec<Release>, Vec<Release>) =
        left.into_iter().partition(|release| ctx.trees.modules_dir(release).is_dir());
    for release in gone {
        pending::forget(&ctx.trees, &release);
    }
    if !there.is_empty() && !ctx.autoinstall_is_off() {
        let kernels = there.iter().map(|release| core::kernel(ctx, release)).collect::<Result<Vec<_>, _>>()?;
        let how = How { initramfs: Initramfs::Auto, spare_known_failures: true, ..How::default() };
        let done = perform(ctx, &Scope::Kernels(kernels), how, true, reporter)?;
        summary::keep(ctx, done.summary);
        for release in there {
            if hooks::is_settled(ctx, &release) {
                pending::forget(&ctx.trees, &release);
            }
        }
    }
    // Packages that went may have left their modules in an initramfs.
    let mut notes = Summary::default();
    for (release, why) in initramfs::settle(ctx, reporter) {
        notes.note(core_summary::not_renewed(&release, &why));
    }
    summary::keep(ctx, notes);
    Ok(())
}
