//! The only room that starts programs.

use std::ffi::OsStr;
use std::process::Command;

/// A bare command; every program this project starts begins here.
#[allow(clippy::disallowed_methods)] // this is the one place
pub fn command(program: impl AsRef<OsStr>) -> Command {
    Command::new(program)
}
