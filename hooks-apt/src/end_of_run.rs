//! The end of dpkg's run: everything that was left, all kernels and packages at once.

use dkms_core::context::Context;
use dkms_core::error::Error;
use dkms_core::event::{self, Event, EventOptions};
use dkms_core::names::Release;
use dkms_core::report::{Event as Said, Reporter};

use crate::{pending, streams, summary};

/// Does what is left. Failures are in the records, and reported; nobody's package fails for them.
pub fn run(ctx: &Context) {
    let reporter = streams::reporter();
    if let Err(error) = try_run(ctx, &reporter) {
        reporter.report(Said::Error(error.lines()));
    }
    summary::end_of_dpkg(ctx);
}

fn try_run(ctx: &Context, reporter: &dyn Reporter) -> Result<(), Error> {
    let (there, gone): (Vec<Release>, Vec<Release>) =
        pending::list(&ctx.trees).into_iter().partition(|release| ctx.trees.modules_dir(release).is_dir());
    for release in gone {
        pending::forget(&ctx.trees, &release);
    }
    let kernels = there.iter().cloned().map(Event::KernelInstalled);
    let events: Vec<Event> = kernels.chain([Event::RunOver]).collect();
    let options = EventOptions { again: true, over: true, ..EventOptions::default() };
    let done = event::handle(ctx, &events, &options, reporter)?;
    for release in there.iter().filter(|release| done.is_settled(release) && !ctx.autoinstall_is_off()) {
        pending::forget(&ctx.trees, release);
    }
    summary::keep(ctx, done.summary);
    Ok(())
}
