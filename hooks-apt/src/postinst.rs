//! `/usr/lib/dkms/common.postinst NAME VERSION TARBALL_ROOT ARCH UPGRADE`: what the postinst of every shipped `*-dkms`
//! package runs on `configure` (docs/contract.md 9.2).

use std::path::{Path, PathBuf};

use dkms_core::context::Context;
use dkms_core::error::Error;
use dkms_core::execute::{self, Done, Voice, run::depmods, work::state_of};
use dkms_core::kernel::installed::{self, Presence};
use dkms_core::names::{Kernel, Package, Release};
use dkms_core::plan::{Reason, Step, Want, requested};
use dkms_core::policy::Ending;
use dkms_core::reconcile::summary::Summary;
use dkms_core::reconcile::superseded;
use dkms_core::reconcile::{How, Initramfs, Outcome, Scope, reconcile};
use dkms_core::report::{Event, Reporter};
use dkms_core::run::Session;
use dkms_core::tree::walk::{self, Filter, Source};

use crate::kernels::Facts;
use crate::{core, hooks, pending, summary};

/// The package could not be registered from its tarball.
const BAD_TARBALL: u8 = 2;
/// A package that is not meant for a kernel (docs/contract.md 2.15).
const EXCLUDED: u8 = 77;

/// Registers the package and has it installed for the kernels that it should serve. Fails if that worked for none of
/// them although it was tried: one kernel that a package does not build for is no reason to leave it half-configured.
pub fn run(words: &[String]) -> u8 {
    let word = |index: usize| words.get(index).map_or("", String::as_str);
    let (name, version, tarballs, upgrade) = (word(0), word(1), word(2), !word(4).is_empty());
    if name.is_empty() || version.is_empty() {
        core::say("common.postinst: the name and the version of a package are needed.");
        return 1;
    }
    match serve(name, version, tarballs, upgrade) {
        Ok(code) => code,
        Err(error) => {
            core::reporter().report(Event::Error(error.lines()));
            error.code()
        }
    }
}

fn serve(name: &str, version: &str, tarballs: &str, upgrade: bool) -> Result<u8, Error> {
    let package = Package::new(name, version)?;
    let (ctx, _) = core::context(&["reconcile"])?;
    let reporter = core::reporter();
    let tarball = Path::new(tarballs).join(format!("{}-{}.dkms.tar.gz", package.name, package.version));
    let has_tarball = !tarballs.is_empty() && ctx.trees.outer(&tarball).is_file();
    let code = if has_tarball { load(&tarball) } else { register(&ctx, &package)? };
    if code != 0 {
        return Ok(code);
    }
    if ctx.autoinstall_is_off() {
        core::say("dkms: automatic installation of modules has been disabled.");
        return Ok(0);
    }
    let session = Session::new(&ctx)?;
    let code = if has_tarball { install_prebuilt(&session, &package)? } else { 0 };
    if code != 0 {
        return Ok(code);
    }
    let chosen = Facts::of(&ctx, upgrade)?.choose();
    if chosen.is_empty() {
        core::say(format!("dkms: no kernel headers were found; {package} is not built for any kernel."));
        core::say("    Once the headers of a kernel are installed, its modules follow.");
        return Ok(0);
    }
    let list = chosen.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    core::say(format!("dkms: installing {package} for {list}"));
    for release in &chosen {
        pending::note(&ctx.trees, release);
    }
    let kernels = chosen.iter().map(|release| core::kernel(&ctx, release)).collect::<Result<Vec<_>, _>>()?;
    let renewed = renew(&session, &package, &kernels, &reporter);
    let how = How { initramfs: Initramfs::Auto, spare_known_failures: true, ..How::default() };
    let outcome = reconcile(&session, &Scope::Kernels(kernels), how, &reporter)?;
    if superseded::settle(&session, &reporter)? {
        depmods(&session, &reporter);
    }
    for release in &chosen {
        if hooks::is_settled(&ctx, release) {
            pending::forget(&ctx.trees, release);
        }
    }
    core::ask_for_drain(&ctx);
    summary::keep(&ctx, Summary::of(&ctx, &outcome));
    Ok(conclude(&ctx, &package, &outcome, &renewed))
}

/// Builds the package again for those kernels that have it from another source of the same version: its revision was
/// upgraded. Gives the kernels for which that failed, with the exit codes; they keep what they had.
fn renew(session: &Session<'_>, package: &Package, kernels: &[Kernel], reporter: &dyn Reporter) -> Vec<(Release, u8)> {
    let asked = |kernel| requested(package, kernel, &state_of(session.ctx, package, kernel), Want::Installed, false);
    let steps = kernels.iter().map(asked).filter(|step| matches!(step.reason, Reason::Stale(_)));
    let steps: Vec<Step> = steps.collect();
    let results = execute::run(session, &steps, Voice::Asked, reporter);
    let failed = |(step, result): (&Step, Option<Result<Done, Error>>)| {
        Some((step.kernel.release.clone(), result?.err()?.code()))
    };
    steps.iter().zip(results).filter_map(failed).filter(|(_, code)| *code != EXCLUDED).collect()
}

/// Loads the tarball that the package brings.
fn load(tarball: &Path) -> u8 {
    if core::dkms(&["ldtarball", "--archive", &tarball.to_string_lossy(), "--force"]) == 0 {
        return 0;
    }
    core::say(format!("dkms: {} could not be loaded.", tarball.display()));
    BAD_TARBALL
}

/// Installs the modules that a tarball brought built, for kernels that are here: that takes no headers. Gives the code of
/// the last that failed.
fn install_prebuilt(session: &Session<'_>, package: &Package) -> Result<u8, Error> {
    let ctx = session.ctx;
    let found = installed::scan(&ctx.trees, &|_, _| false)?;
    let is_here =
        |kernel: &Kernel| found.iter().any(|f| f.release == kernel.release && f.presence == Presence::Installed);
    let built = walk::walk(&ctx.trees, &Filter::package(package)).packages.into_iter().flat_map(|entry| entry.built);
    let mut last = 0;
    for kernel in built.map(|built| built.kernel).filter(is_here) {
        let facts = session.facts.kernel(&kernel)?;
        if !session.facts.evaluate(package, &facts, None, false)?.conf.autoinstall {
            continue;
        }
        let (name, version) = (package.name.as_str(), package.version.as_str());
        let code =
            core::dkms(&["install", "-m", name, "-v", version, "-k", &format!("{}/{}", kernel.release, kernel.arch)]);
        last = if code == 0 || code == EXCLUDED { last } else { code };
    }
    Ok(last)
}

/// Makes the package known, with its source where it belongs.
fn register(ctx: &Context, package: &Package) -> Result<u8, Error> {
    let source = ctx.trees.source.inside.join(format!("{}-{}", package.name, package.version));
    if ctx.trees.outer(&source).is_dir() && superseded::adopt(ctx, package, &source)? {
        return Ok(0);
    }
    match state(ctx, package) {
        Source::Added => return Ok(0),
        // Its link leads nowhere; the source is back where it belongs.
        Source::Broken if ctx.trees.outer(&source).is_dir() => relink(ctx, package, &source)?,
        Source::Broken | Source::None => {}
    }
    if state(ctx, package) == Source::Added {
        return Ok(0);
    }
    Ok(core::dkms(&["add", "-m", package.name.as_str(), "-v", package.version.as_str()]))
}

fn relink(ctx: &Context, package: &Package, source: &PathBuf) -> Result<(), Error> {
    let _lock = ctx.lock_tree()?;
    let mut change = dkms_core::journal::Change::new(&ctx.trees, format!("mend the source link of {package}"));
    change.stage_symlink(source, &ctx.trees.source_link(package));
    change.commit()?;
    Ok(())
}

fn state(ctx: &Context, package: &Package) -> Source {
    walk::walk(&ctx.trees, &Filter::package(package)).packages.first().map_or(Source::None, |entry| entry.source)
}

/// Tells how it ended for this package, kernel by kernel, and gives the exit code: that of the last failure if there was
/// no success at all, or if framework.conf (`continue_on_error`) wants every failure to count.
fn conclude(ctx: &Context, package: &Package, outcome: &Outcome, renewed: &[(Release, u8)]) -> u8 {
    let mut failures = renewed.to_vec();
    let mut any_good = false;
    for (index, step) in outcome.plan.steps.iter().enumerate() {
        if step.package != *package {
            continue;
        }
        let release = &step.kernel.release;
        if renewed.iter().any(|(failed, _)| failed == release) {
            continue;
        }
        match outcome.ending(index) {
            Ending::Present | Ending::Excluded | Ending::Waiting => any_good = true,
            Ending::Failed(code) => failures.push((release.clone(), code)),
        }
        match (&outcome.results[index], outcome.ending(index)) {
            (None, Ending::Present) => {}
            (_, Ending::Present) => core::say(format!("dkms: {package} is installed for kernel {release}.")),
            (Some(Err(error)), _) => {
                core::say(format!("dkms: {package}: {}", error.lines().first().cloned().unwrap_or_default()));
            }
            (_, _) => core::say(format!("dkms: {package}: {step}")),
        }
    }
    let Some((_, code)) = failures.last() else { return 0 };
    let list = failures.iter().map(|(release, _)| release.to_string()).collect::<Vec<_>>().join(", ");
    core::say(format!("dkms: {package} could not be installed for {list}; what was installed before is still there."));
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
