//! `dkms-share`: what `dkms share` becomes, and whom `dkms` asks before it builds.
//!
//! A program of its own, since it brings TLS and HTTP: `dkms` has neither, and starts this one only where `share` is set in
//! framework.conf.

use std::process::ExitCode;

use dkms_core::cli::surroundings;
use dkms_core::probes;
use dkms_core::report::{Console, Event, Reporter};

mod address;
mod artefact;
mod carried;
mod error;
mod road;
mod service;
mod share;
mod tasks;
mod trust;
mod verbs;
mod words;

fn main() -> ExitCode {
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    let words = surroundings::words();
    match words.as_slice() {
        [word] if word == dkms_core::share::SERVE => return service::serve(),
        [word] if word == service::FETCH => return service::fetch_apart(),
        _ => {}
    }
    // Builds start this program again, as they do dkms.
    if let Some(code) = probes::stage(&words) {
        return code;
    }
    let console = Console::new(surroundings::is_terminal(), surroundings::wants_colour(), false);
    let words = match words::Words::parse(words) {
        Ok(words) => words,
        Err(words::Stop::Help(text)) => {
            console.line(&text.trim_end());
            return ExitCode::SUCCESS;
        }
        Err(words::Stop::Wrong(text)) => {
            console.report(Event::Error(text.trim_end().lines().map(str::to_owned).collect()));
            return ExitCode::from(2);
        }
    };
    env_logger::Builder::new()
        .filter_level(if words.debug { log::LevelFilter::Debug } else { log::LevelFilter::Warn })
        .init();
    ExitCode::from(verbs::run(&words, &console))
}
