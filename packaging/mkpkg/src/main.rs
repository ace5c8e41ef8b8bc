//! `dkms-mkpkg`: what `dkms mkpkg`, `mkdeb`, `mkrpm` and `mkdriverdisk` become.

use std::ffi::OsString;
use std::process::ExitCode;

use dkms_core::cli::args::{self, Args};
use dkms_core::cli::surroundings;
use dkms_core::probes;
use dkms_core::report::{Console, Event, Json, Reporter};

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
    ExitCode::from(run(words))
}

fn run(words: Vec<OsString>) -> u8 {
    let meant = args::guess(&words);
    let parsed = Args::parse(words);
    let args = parsed.as_ref().unwrap_or(&meant);
    let quiet = args.flag("quiet");
    let console = |quiet| Console::new(surroundings::is_terminal(), surroundings::wants_colour(), quiet);
    let json = args.wants_json().then(|| Json::new(false, quiet));
    let failed = |error: &dyn std::fmt::Display, code| {
        let event = Event::Error(error.to_string().lines().map(str::to_owned).collect());
        match &json {
            Some(json) => json.report(event),
            // Also with -q, as ever.
            None => console(false).report(event),
        }
        code
    };
    let mut changed = false;
    let code = match &parsed {
        Err(error) => failed(error, 2),
        Ok(args) => match surroundings::context(args) {
            Err(error) => failed(&error, error.code()),
            Ok(ctx) => {
                let spoken = console(quiet);
                let reporter: &dyn Reporter = json.as_ref().map_or(&spoken, |json| json);
                match program::run(&ctx, args, reporter) {
                    Ok(()) => {
                        changed = !ctx.options.dry_run;
                        0
                    }
                    Err(error) => failed(&error, error.code()),
                }
            }
        },
    };
    if let Some(json) = &json {
        json.end(code, changed);
    }
    code
}
