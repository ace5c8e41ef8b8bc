//! Calling the core: contexts, verbs, and this process's streams and environment. The one place here that reads the
//! environment or starts programs of dpkg's.

use std::ffi::OsString;
use std::fmt::Display;
use std::io::Write;

use dkms_core::cli::args::Args;
use dkms_core::cli::surroundings;
use dkms_core::command;
use dkms_core::context::Context;
use dkms_core::error::Error;
use dkms_core::host::dpkg;
use dkms_core::names::{Arch, Kernel, Release};
use dkms_core::report::{Console, Event, Reporter};

/// Standard output becomes standard error, and standard input empty: debconf may be at the other end of both.
pub fn leave_streams_alone() {
    if let Ok(null) = fs_err::File::open("/dev/null") {
        let _ = rustix::stdio::dup2_stdin(null.into_parts().0);
    }
    let _ = rustix::stdio::dup2_stdout(std::io::stderr());
}

/// What the core logs is worth a warning.
pub fn log_warnings() {
    env_logger::Builder::new()
        .filter_level(log::LevelFilter::Warn)
        .format(|out, record| writeln!(out, "Warning: {}", record.args()))
        .init();
}

/// One line for the person who waits.
pub fn say(text: impl Display) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// The reporter of this process.
pub fn reporter() -> Console {
    Console::new(false, surroundings::wants_colour(), false)
}

/// The context of a run of the core with these words (`["reconcile"]`).
pub fn context(words: &[&str]) -> Result<(Context, Args), Error> {
    let args = Args::parse(words.iter().map(OsString::from).collect::<Vec<_>>()).map_err(Error::Usage)?;
    Ok((surroundings::context(&args)?, args))
}

/// Runs a verb of the core as if typed; gives its exit code.
pub fn dkms(words: &[&str]) -> u8 {
    let reporter = reporter();
    match context(words) {
        Ok((ctx, args)) => command::run(&ctx, &args, &reporter),
        Err(error) => {
            reporter.report(Event::Error(error.lines()));
            error.code()
        }
    }
}

/// `release` with the architecture that this system's modules have.
pub fn kernel(ctx: &Context, release: &Release) -> Result<Kernel, Error> {
    let arch = Arch::new(ctx.distribution.arch_label(release, &ctx.machine.name))?;
    Ok(Kernel { release: release.clone(), arch })
}

/// A variable of the environment.
#[allow(clippy::disallowed_methods)] // this is the one place
pub fn variable(name: &str) -> Option<String> {
    std::env::var_os(name).map(|value| value.to_string_lossy().into_owned()).filter(|value| !value.is_empty())
}

/// Asks dpkg to call our package at the end of its run. Outside of maintainer scripts there is nobody to ask.
pub fn ask_for_drain(ctx: &Context) {
    if ctx.machine.maintainer_script.is_none() {
        return;
    }
    dpkg::ask_for_drain(&ctx.world);
}
