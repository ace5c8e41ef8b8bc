//! `dkms-mkpkg`: what `dkms mkpkg`, `mkdeb`, `mkrpm` and `mkdriverdisk` become.

use std::process::ExitCode;

use dkms_core::cli::{args::Args, surroundings};
use dkms_core::probes;
use dkms_core::report::{Console, Event, Reporter};

mod about;
mod disk;
mod error;
mod job;
mod program;
mod template;

fn main() -> ExitCode {
    let words = surroundings::words();
    if let Some(code) = probes::stage(&words) {
        return code;
    }
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    let console = |quiet| Console::new(surroundings::is_terminal(), surroundings::wants_colour(), quiet);
    let failed = |error: &dyn std::fmt::Display, code| {
        console(false).report(Event::Error(error.to_string().lines().map(str::to_owned).collect()));
        ExitCode::from(code)
    };
    let args = match Args::parse(words) {
        Ok(args) => args,
        Err(error) => return failed(&error, 2),
    };
    let ctx = match surroundings::context(&args) {
        Ok(ctx) => ctx,
        Err(error) => return failed(&error, error.code()),
    };
    match program::run(&ctx, &args, &console(args.flag("quiet"))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(&error, error.code()),
    }
}
