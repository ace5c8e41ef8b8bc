//! `/usr/lib/dkms/common.postinst NAME VERSION TARBALL_ROOT ARCH UPGRADE`: what the postinst of every shipped `*-dkms`
//! package runs on `configure` (docs/contract.md 9.2).

use std::path::Path;

use dkms_core::conf::Wish;
use dkms_core::context::Context;
use dkms_core::error::Error;
use dkms_core::event::{self, Arrival, Event, EventOptions};
use dkms_core::names::Package;
use dkms_core::policy::{self, Ending};
use dkms_core::reconcile::Outcome;
use dkms_core::report::{Event as Said, Reporter};

use crate::kernels::Candidates;
use crate::{pending, streams, summary};

/// Registers the package and has it installed for the kernels that it should serve. What a failure means, policy decides:
/// with `warn` the package is configured all the same, since one that is not makes every later run of apt fail.
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
    let chosen = if is_off { Vec::new() } else { Candidates::of(&ctx, upgrade)?.choose() };
    if !chosen.is_empty() {
        let list = chosen.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        streams::say(format!("dkms: installing {package} for {list}"));
    }
    let before = pending::list(&ctx.trees);
    for release in &chosen {
        pending::note(&ctx.trees, release);
    }
    let initramfs = pending::initramfs(&ctx);
    let options =
        EventOptions { initramfs, again: true, over: true, kernels: Some(chosen.clone()), ..EventOptions::default() };
    let done = event::handle(&ctx, &[Event::SourceArrived(arrival)], &options, &streams::reporter())?;
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
    pending::ask_for_end_of_run(&ctx);
    summary::keep(&ctx, done.summary);
    Ok(done.outcome.map_or(0, |outcome| conclude(&ctx, &package, &outcome)))
}

/// Tells how it ended for this package, kernel by kernel, and gives the exit code.
fn conclude(ctx: &Context, package: &Package, outcome: &Outcome) -> u8 {
    let mut endings = Vec::new();
    for (index, step) in outcome.plan.steps.iter().enumerate() {
        if step.package != *package {
            continue;
        }
        let release = &step.kernel.release;
        let ending = outcome.ending(index);
        match (&outcome.results[index], ending) {
            (None, Ending::Present) => {}
            (_, Ending::Present) => streams::say(format!("dkms: {package} is installed for kernel {release}.")),
            (Some(Err(error)), _) => {
                streams::say(format!("dkms: {package}: {}", error.lines().first().cloned().unwrap_or_default()));
            }
            (_, _) => streams::say(format!("dkms: {package}: {step}")),
        }
        endings.push((release.to_string(), ending));
    }
    let failed = |ending: &Ending| matches!(ending, Ending::Failed(_));
    let failures: Vec<&str> =
        endings.iter().filter(|(_, ending)| failed(ending)).map(|(release, _)| release.as_str()).collect();
    if failures.is_empty() {
        return 0;
    }
    streams::say(format!(
        "dkms: {package} could not be installed for {}; what was installed before is still there.",
        failures.join(", ")
    ));
    let endings: Vec<Ending> = endings.iter().map(|(_, ending)| *ending).collect();
    let wish = Wish::of(&ctx.trees, &package.name);
    let counts = policy::exit_code(endings.iter().map(|ending| (wish, *ending)), ctx.framework.policy, false) != 0;
    let code = verdict(&endings, counts, ctx.framework.continue_on_error);
    if code == 0 {
        streams::say("    It is tried again when its source, the kernel or the headers change.");
    } else {
        streams::say("    Its package is not configured. Once this is fixed: dpkg --configure -a");
    }
    code
}

/// The exit code of the package's configuration: that of the last failure if failures count by policy and no kernel has
/// the package, or if framework.conf (`continue_on_error`) wants each failure to count.
fn verdict(endings: &[Ending], counts: bool, goes_on: bool) -> u8 {
    let mut failures = endings.iter().filter_map(|ending| match ending {
        Ending::Failed(code) => Some(*code),
        Ending::Present | Ending::Excluded | Ending::Waiting => None,
    });
    let any_good = endings.iter().any(|ending| !matches!(ending, Ending::Failed(_)));
    failures.next_back().filter(|_| !goes_on || (counts && !any_good)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::verdict;
    use dkms_core::policy::Ending::{Excluded, Failed, Present, Waiting};

    #[test]
    fn policy_decides_whether_a_package_is_configured() {
        for (endings, counts, goes_on, code) in [
            (&[Failed(9), Failed(10)][..], false, true, 0),
            (&[Failed(9), Failed(10)], true, true, 10),
            (&[Present, Failed(10)], true, true, 0),
            (&[Failed(10), Waiting], true, true, 0),
            (&[Failed(10), Excluded], true, true, 0),
            (&[Present, Failed(10)], true, false, 10),
            // Somebody has asked for it.
            (&[Present, Failed(10)], false, false, 10),
            (&[Present, Waiting], true, false, 0),
            (&[], true, false, 0),
        ] {
            assert_eq!(verdict(endings, counts, goes_on), code, "{endings:?} {counts} {goes_on}");
        }
    }
}
