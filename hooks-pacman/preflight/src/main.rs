//! `dkms-alpm-preflight`: what pacman's databases tell about a transaction before it happens. Started by `dkms-alpm
//! preflight`, which bears with it when it can't start: this is the only program of ours that needs libalpm.

mod packages;

use std::process::ExitCode;

use dkms_core::error::Error;
use dkms_core::event;
use dkms_core::preflight;
use dkms_core::probes;
use dkms_core::report::{Event, Reporter};
use dkms_core::root::Root;
use dkms_hooks_pacman::launcher::REFUSES;
use dkms_hooks_pacman::places::Places;
use dkms_hooks_pacman::preflight::{Headers, Packages, incoming};
use dkms_hooks_pacman::targets::Targets;

fn main() -> ExitCode {
    let words: Vec<_> = std::env::args_os().skip(1).collect();
    // dkms.conf is evaluated through this same program when it needs a world of its own.
    if let Some(code) = probes::stage(&words) {
        return code;
    }
    let reporter = dkms_hooks_pacman::console();
    match run(&reporter) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            reporter.report(Event::Error(error.lines()));
            ExitCode::from(1)
        }
    }
}

fn run(reporter: &dyn Reporter) -> Result<u8, Error> {
    let targets = Targets::read(std::io::stdin())?;
    if targets.kernels.is_empty() {
        return Ok(0);
    }
    let ctx = event::surroundings(false)?;
    let places = Places::of(&Root::host());
    let databases = packages::Databases::open(&places.db.to_string_lossy(), &places.caches);
    let unknown: &dyn Packages = &Unknown;
    let packages = match &databases {
        Ok(databases) => databases as &dyn Packages,
        Err(error) => {
            reporter.report(Event::Note(format!("DKMS can't read pacman's databases: {error}")));
            unknown
        }
    };
    let verdict = preflight::look(&ctx, &incoming(&ctx, &targets, packages))?;
    for finding in &verdict.findings {
        reporter.warning(&[finding]);
    }
    if let Some(reason) = verdict.stop() {
        reporter.report(Event::Error(vec![format!("DKMS refuses this transaction: {reason}.")]));
        return Ok(REFUSES);
    }
    Ok(0)
}

/// For want of databases.
struct Unknown;

impl Packages for Unknown {
    fn headers(&self, _: &dkms_core::names::Release) -> Option<Headers> {
        None
    }
}
