//! `dkms-alpm`: what pacman's hooks run. See the library for the moments.

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use dkms_core::context::NO_AUTOINSTALL;
use dkms_core::error::{Error, RequestError};
use dkms_core::event;
use dkms_core::host::boot_loader;
use dkms_core::probes;
use dkms_core::process::Environment;
use dkms_core::report::{Event, Reporter};
use dkms_hooks_pacman::places::Places;
use dkms_hooks_pacman::sources::Owned;
use dkms_hooks_pacman::targets::Targets;
use dkms_hooks_pacman::{arrive, console, launcher, note, summary};

const USAGE: &str = "\
Usage: dkms-alpm [-D] preflight | upgrade | remove | install | summary
       dkms-alpm package-installed | package-going
The hooks of pacman run this, with the paths of the transaction on standard input; see alpm-hooks(5). The second form is for the
scripts of the package dkms.
With -D, depmod is left out.";

fn main() -> ExitCode {
    let words: Vec<_> = std::env::args_os().skip(1).collect();
    if let Some(code) = probes::stage(&words) {
        return code;
    }
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    let mut words: Vec<String> = words.iter().map(|word| word.to_string_lossy().into_owned()).collect();
    let environment: Environment = std::env::vars_os().collect();
    let debug = environment.contains_key(std::ffi::OsStr::new("DKMS_ALPM_HOOK_DEBUG"));
    env_logger::Builder::new()
        .filter_level(if debug { log::LevelFilter::Debug } else { log::LevelFilter::Warn })
        .format(|out, record| writeln!(out, "Warning: {}", record.args()))
        .init();
    let no_depmod = words.iter().any(|word| word == "-D");
    words.retain(|word| word != "-D");
    let reporter = console();
    let [moment] = words.as_slice() else {
        reporter.report(Event::Note(USAGE.to_owned()));
        return ExitCode::from(2);
    };
    let code = run(moment, no_depmod, &environment, &reporter).unwrap_or_else(|error| {
        reporter.report(Event::Error(error.lines()));
        error.code()
    });
    ExitCode::from(code)
}

fn run(moment: &str, no_depmod: bool, environment: &Environment, reporter: &dyn Reporter) -> Result<u8, Error> {
    if moment == "preflight" {
        let mut input = Vec::new();
        std::io::Read::read_to_end(&mut std::io::stdin(), &mut input)?;
        let program = Path::new(launcher::PROGRAM);
        return Ok(launcher::ask(program, input, environment, launcher::LIMIT, reporter));
    }
    match moment {
        "package-installed" => return event::own::here(&event::surroundings(false)?).map(|()| 0),
        "package-going" => {
            let lines = event::own::going(&event::surroundings(false)?)?;
            for line in lines {
                reporter.report(Event::Note(line));
            }
            return Ok(0);
        }
        _ => {}
    }
    let targets = Targets::read(std::io::stdin())?;
    // Of a verb that changes something: what is built gets a world of its own.
    let mut ctx = event::surroundings(true)?;
    if !ctx.machine.root {
        return Err(Error::Request(RequestError::NotRoot));
    }
    ctx.options.no_depmod = no_depmod;
    let trees = &ctx.trees;
    let pacman = rustix::process::getppid().map_or(0, |pid| pid.as_raw_nonzero().get());
    let owned = Owned::by(trees.outer(Places::of(&trees.root).db));
    // What can't be given back now will be another time.
    let give_back = || {
        if let Err(error) = event::copies::give_back(&ctx, &|directory| owned.holds(directory), reporter) {
            reporter.report(Event::Error(error.lines()));
        }
    };
    match moment {
        "upgrade" => {
            note::write(trees, pacman, &targets.sources)?;
            Ok(0)
        }
        "remove" => {
            give_back();
            let events = arrive::leaving(&ctx, &targets, &note::read(trees, pacman));
            Ok(event::handle(&ctx, &events, &arrive::options(&targets), reporter)?.code)
        }
        "install" => {
            note::forget(trees);
            give_back();
            let events = arrive::arrived(&ctx, &targets);
            let done = event::handle(&ctx, &events, &arrive::options(&targets), reporter).inspect_err(|error| {
                // The last word has to say so, too: what is said in between scrolls away.
                let lines = [vec!["The modules could not be looked after:".to_owned()], error.lines()].concat();
                let _ = summary::keep(trees, &lines);
            })?;
            let next = boot_loader::next(trees);
            done.summary.log(trees, next.as_ref());
            let mut lines = done.summary.lines(next.as_ref());
            if ctx.autoinstall_is_off() {
                lines.push(format!("{NO_AUTOINSTALL} exists: no modules are built."));
            }
            summary::keep(trees, &lines)?;
            Ok(done.code)
        }
        "summary" => {
            summary::say(trees, reporter);
            Ok(0)
        }
        _ => {
            reporter.report(Event::Note(USAGE.to_owned()));
            Ok(2)
        }
    }
}
