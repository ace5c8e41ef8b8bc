//! This process's streams and environment: the one place here that reads the environment.

use std::fmt::Display;
use std::io::Write;

use dkms_core::cli::surroundings;
use dkms_core::report::Console;

/// Standard output becomes standard error, and standard input empty: debconf may be at the other end of both.
pub fn leave_alone() {
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

/// A variable of the environment.
#[allow(clippy::disallowed_methods)] // this is the one place
pub fn variable(name: &str) -> Option<String> {
    std::env::var_os(name).map(|value| value.to_string_lossy().into_owned()).filter(|value| !value.is_empty())
}
