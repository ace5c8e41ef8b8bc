//! `/usr/lib/dkms/common.postinst NAME VERSION TARBALL_ROOT ARCH UPGRADE`: what the postinst of every shipped `*-dkms`
//! package runs on `configure` (docs/contract.md 9.2).

use std::path::Path;

use dkms_core::context::Context;
use dkms_core::error::Error;
use dkms_core::event::{self, Arrival, Event, Ways};
use dkms_core::names::Package;
use dkms_core::policy::Ending;
use dkms_core::reconcile::Outcome;
use dkms_core::report::{Event as Said, Reporter};

use crate::kernels::Facts;
use crate::{pending, streams, summary};

/// Registers the package and has it installed for the kernels that it should serve. Fails if that worked for none of
/// them although it was tried: one kernel that a package does not build for is no reason to leave it half-configured.
pub fn run(words: &[String]) -> u8 {
    let word = |index: usize| words.get(index).map_or("", String::as_str);
    let (name, version, tarballs, upgrade) = (word(0), word(1), word(2), !word(4).is_empty());
    if name.is_empty() || version.is_empty() {
        streams::say("common.postinst: the name and the version of a package are needed.");
        return 1;
    }
    match serve(name, version, tarballs, upgrade) {
        Ok(code) => code,
        Err(error) => {
            streams::reporter().report(Said::Error(error.lines()));
            error.code()
        }
    }
}

fn serve(name: &str, version: &str, tarballs: &str, upgrade: bool) -> Result<u8, Error> {
    let package = Package::new(name, version)?;
    let ctx = event::surroundings(true)?;
    let tarball = Path::new(tarballs).join(format!("{}-{}.dkms.tar.gz", package.name, package.version));
    let has_tarball = !tarballs.is_empty() && ctx.trees.outer(&tarball).is_file();
    let arrival = if has_tarball {
        Arrival::Tarball(package.clone(), tarball.clone())
    } else {
        Arrival::Package(package.clone())
    };
    let is_off = ctx.autoinstall_is_off();
    let chosen = if is_off { Vec::new() } else { Facts::of(&ctx, upgrade)?.choose() };
    if !chosen.is_empty() {
        let list = chosen.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        streams::say(format!("dkms: installing {package} for {list}"));
    }
    let before = pending::list(&ctx.trees);
    for release in &chosen {
        pending::note(&ctx.trees, release);
    }
    let ways = Ways { again: true, over: true, kernels: Some(chosen.clone()), ..Ways::default() };
    let done = event::handle(&ctx, &[Event::SourceArrived(arrival)], &ways, &streams::reporter())?;
    for release in chosen.iter().filter(|release| match done.refused {
        Some(_) => !before.contains(release),
        None => done.is_settled(release),
    }) {
        pending::forget(&ctx.trees, release);
    }
    if let Some(code) = done.refused {
        if has_tarball {
            streams::say(format!("dkms: {} could not be loaded.", tarball.display()));
        }
        return Ok(code);
    }
    if is_off {
        streams::say("dkms: automatic installation of modules has been disabled.");
        return Ok(0);
    }
    if chosen.is_empty() {
        streams::say(format!("dkms: no kernel headers were found; {package} is not built for any kernel."));
        streams::say("    Once the headers of a kernel are installed, its modules follow.");
    }
    pending::ask_for_drain(&ctx);
    summary::keep(&ctx, done.summary);
    Ok(done.outcome.map_or(0, |outcome| conclude(&ctx, &package, &outcome)))
}

/// Tells how it ended for this package, kernel by kernel, and gives the exit code: that of the last failure if there was
/// no success at all, or if framework.conf (`continue_on_error`) wants every failure to count.
fn conclude(ctx: &Context, package: &Package, outcome: &Outcome) -> u8 {
    let mut failures = Vec::new();
    let mut any_good = false;
    for (index, step) in outcome.plan.steps.iter().enumerate() {
        if step.package != *package {
            continue;
        }
        let release = &step.kernel.release;
        match outcome.ending(index) {
            Ending::Present | Ending::Excluded | Ending::Waiting => any_good = true,
            Ending::Failed(code) => failures.push((release.clone(), code)),
        }
        match (&outcome.results[index], outcome.ending(index)) {
            (None, Ending::Present) => {}
            (_, Ending::Present) => streams::say(format!("dkms: {package} is installed for kernel {release}.")),
            (Some(Err(error)), _) => {
                streams::say(format!("dkms: {package}: {}", error.lines().first().cloned().unwrap_or_default()));
            }
            (_, _) => streams::say(format!("dkms: {package}: {step}")),
        }
    }
    let Some((_, code)) = failures.last() else { return 0 };
    let list = failures.iter().map(|(release, _)| release.to_string()).collect::<Vec<_>>().join(", ");
    streams::say(format!(
        "dkms: {package} could not be installed for {list}; what was installed before is still there."
    ));
    verdict(*code, any_good, ctx.framework.continue_on_error)
}

/// The exit code where the last failure had `code`: some kernel has the package, or none; and whether that is enough.
fn verdict(code: u8, any_good: bool, goes_on: bool) -> u8 {
    if any_good && goes_on { 0 } else { code }
}

#[cfg(test)]
mod tests {
    use super::verdict;

    #[test]
    fn one_good_kernel_is_enough_unless_told_otherwise() {
        for (any_good, goes_on, code) in [(true, true, 0), (true, false, 10), (false, true, 10), (false, false, 10)] {
            assert_eq!(verdict(10, any_good, goes_on), code);
        }
    }
}
