//! The way into the shared core: a dkms command of this process, and the context to look around with.

use std::ffi::OsString;

use dkms_core::cli::args::Args;
use dkms_core::cli::surroundings;
use dkms_core::command;
use dkms_core::context::Context;
use dkms_core::error::Error;
use dkms_core::report::{Console, Event, Reporter};

/// Where everything is said: pacman shows it and writes it to its log.
pub fn console() -> Console {
    Console::new(false, surroundings::wants_colour(), false)
}

/// The surroundings of a command made of `words`.
pub fn context(words: &[&str]) -> Result<Context, Error> {
    let args = Args::parse(words.iter().map(OsString::from))?;
    surroundings::context(&args)
}

/// Runs the dkms command that `words` make, as if typed; gives its exit code.
pub fn dkms(words: &[&str], reporter: &dyn Reporter) -> u8 {
    log::debug!("dkms {}", words.join(" "));
    let ran = Args::parse(words.iter().map(OsString::from))
        .map_err(Error::from)
        .and_then(|args| Ok(command::run(&surroundings::context(&args)?, &args, reporter)));
    ran.unwrap_or_else(|error| {
        reporter.report(Event::Error(error.lines()));
        error.code()
    })
}
