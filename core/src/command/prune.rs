//! `dkms prune`: what nothing needs any more. It says what that is, and with `--yes` takes it away.
//!
//! A version is of no use if a newer one is registered and no kernel that is here has it installed; a build, if its kernel is
//! gone, or has another version installed. Sources in `/usr/src` stay: a package manager may have brought them.

use std::collections::BTreeMap;

use super::{check_access, remove};
use crate::cli::args::Args;
use crate::conf::holds::Holds;
use crate::context::Context;
use crate::error::Error;
use crate::execute::run::depmods;
use crate::kernel::version;
use crate::names::{Kernel, Name, Package};
use crate::plan::{Depth, Plan, Reason, Registering, Step, There, taken_away};
use crate::report::Reporter;
use crate::run::Session;
use crate::superseded;
use crate::system_error::SystemError;
use crate::tree::record::Record;
use crate::tree::walk::{self, Built, Filter, PackageEntry, Source};
use crate::weak;

/// Prints what would go, or with `yes` takes it away.
pub(super) fn run(ctx: &Context, args: &Args, yes: bool, json: bool, reporter: &dyn Reporter) -> Result<u8, Error> {
    let acts = yes && !ctx.options.dry_run;
    if acts {
        check_access(ctx, args)?;
    }
    let session = Session::new(ctx)?;
    if acts {
        session.heal(reporter)?;
    }
    let plan = plan(ctx)?;
    if json && !acts {
        super::document(&plan, reporter)?;
        return Ok(0);
    }
    if plan.is_idle() {
        reporter.line(&"Everything here is of use.");
        return Ok(0);
    }
    if !acts {
        plan.promises().iter().for_each(|line| reporter.line(line));
        if !ctx.options.dry_run {
            reporter.line(&"To do it: dkms prune --yes");
        }
        return Ok(0);
    }
    // What another run has done since is looked at again: what is of use by now stays.
    for step in &plan.steps {
        let is_it = |other: &Step| (&other.package, &other.kernel) == (&step.package, &step.kernel);
        let still = || -> Result<bool, Error> { Ok(self::plan(ctx)?.steps.iter().any(is_it)) };
        remove::take_away_if(&session, Depth::Unbuild, (&step.package, &step.kernel), &still, reporter)?;
    }
    depmods(&session, reporter);
    for registering in &plan.registering {
        let Registering::Forget(package) = registering else { continue };
        if self::plan(ctx)?.registering.contains(registering) {
            remove::forget_unbuilt(ctx, package, reporter)?;
        }
    }
    Record::forget_gone(&ctx.trees).map_err(SystemError::from)?;
    Ok(0)
}

/// What nothing needs.
fn plan(ctx: &Context) -> Result<Plan, Error> {
    let trees = &ctx.trees;
    let walk = walk::walk(trees, &Filter::default());
    let holds = Holds::read(trees).map_err(SystemError::from)?;
    let shared = weak::links::shared(trees);
    let mut plan = Plan::default();
    let mut names: BTreeMap<&Name, Vec<&PackageEntry>> = BTreeMap::new();
    // What waits for its successor goes when that is there; what others share is of use to them.
    let counts = |entry: &&PackageEntry| {
        !superseded::is_marked(trees, &entry.package)
            && !shared.contains_key(&entry.package)
            && !holds.holds_any(&entry.package.name)
    };
    for entry in walk.packages.iter().filter(counts) {
        names.entry(&entry.package.name).or_default().push(entry);
    }
    let is_here = |kernel: &Kernel| trees.modules_dir(&kernel.release).is_dir();
    for entries in names.values() {
        let newest = entries
            .iter()
            .filter(|entry| entry.source == Source::Added)
            .max_by(|a, b| version::by_age(a.package.version.as_str(), b.package.version.as_str()));
        for entry in entries {
            let is_installed = |built: &&Built| built.installed && is_here(&built.kernel);
            let is_old = newest.is_some_and(|newest| newest.package != entry.package && is_older(entry, newest));
            let goes_wholly = is_old && !entry.built.iter().any(|built| is_installed(&built));
            let has_another = |kernel: &Kernel| {
                let others = entries.iter().filter(|other| other.package != entry.package);
                others.flat_map(|other| &other.built).any(|built| built.installed && built.kernel == *kernel)
            };
            for built in &entry.built {
                let is_useless = !is_here(&built.kernel) || is_old && !built.installed && has_another(&built.kernel);
                if goes_wholly || is_useless {
                    plan.steps.push(step(&entry.package, built, is_here(&built.kernel)));
                }
            }
            if goes_wholly {
                plan.registering.push(Registering::Forget(entry.package.clone()));
            }
        }
    }
    Ok(plan)
}

fn is_older(entry: &PackageEntry, newest: &PackageEntry) -> bool {
    version::by_age(entry.package.version.as_str(), newest.package.version.as_str()).is_lt()
}

fn step(package: &Package, built: &Built, is_here: bool) -> Step {
    let there = There { installed: built.installed, built: true };
    let step = taken_away(package, &built.kernel, there, Depth::Unbuild);
    if is_here { step } else { Step { reason: Reason::Orphaned, ..step } }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::test_system::System;
    use std::os::unix::fs::symlink;

    fn version(system: &System, version: &str, built: &[&str]) -> Package {
        let package = Package::new("hello", version).unwrap();
        let trees = &system.ctx.trees;
        system.write(&format!("usr/src/hello-{version}/dkms.conf"), "");
        fs_err::create_dir_all(trees.package_dir(&package)).unwrap();
        symlink(format!("/usr/src/hello-{version}"), trees.source_link(&package)).unwrap();
        for release in built {
            let kernel = Kernel::new(release, "x86_64").unwrap();
            fs_err::create_dir_all(trees.artefact_modules(&package, &kernel)).unwrap();
        }
        package
    }

    fn install(system: &System, package: &Package, release: &str) {
        let link = system.ctx.trees.active_link(&package.name, &Kernel::new(release, "x86_64").unwrap());
        symlink(format!("{}/{release}/x86_64", package.version), link).unwrap();
    }

    fn output_of(system: &System) -> Vec<String> {
        let (code, lines) = system.run(&["prune"]);
        assert_eq!(code, 0);
        assert_eq!(system.run(&["prune", "--dry-run"]).1, lines[..lines.len() - usize::from(lines.len() > 1)]);
        lines
    }

    const NOTHING: &str = "Everything here is of use.";

    #[test]
    fn what_is_of_use_stays() {
        let system = System::new();
        assert_eq!(output_of(&system), [NOTHING]);
        let old = version(&system, "1", &["6.1"]);
        assert_eq!(output_of(&system), [NOTHING], "the only version");
        install(&system, &old, "6.1");
        version(&system, "2", &[]);
        assert_eq!(output_of(&system), [NOTHING], "the older one is installed, and the newer one not");
    }

    #[test]
    fn what_is_of_no_use_is_shown_and_goes() {
        let system = System::new();
        version(&system, "1", &["6.1", "5.9"]);
        let new = version(&system, "2", &["6.1", "5.9"]);
        install(&system, &new, "6.1");
        let lines = output_of(&system);
        assert_eq!(
            lines,
            [
                "Would delete the build of hello/1 for kernel 5.9 (x86_64).",
                "Would delete the build of hello/1 for kernel 6.1 (x86_64).",
                "Would delete the build of hello/2 for kernel 5.9 (x86_64).",
                "Would delete hello/1 from the DKMS tree.",
                "To do it: dkms prune --yes",
            ]
        );
        let (code, json) = system.run(&["prune", "--format", "json"]);
        let json: serde_json::Value = serde_json::from_str(&json.join("\n")).unwrap();
        assert_eq!((code, json["steps"].as_array().unwrap().len()), (0, 3));
        system.write("etc/dkms/holds", "hello\n");
        assert_eq!(output_of(&system), [NOTHING], "what is held stays");
        system.write("etc/dkms/holds", "");
        assert_eq!(system.run(&["prune", "--yes"]).0, 0);
        assert_eq!(output_of(&system), [NOTHING]);
        let walk = walk::walk(&system.ctx.trees, &Filter::default());
        let left: Vec<_> = walk.packages.iter().map(|entry| (entry.package.to_string(), entry.built.len())).collect();
        assert_eq!(left, [("hello/2".to_owned(), 1)]);
        assert!(system.path().join("usr/src/hello-1/dkms.conf").exists(), "sources stay");
    }

    /// Does something when the first thing is said.
    struct Meddler<F: FnOnce()>(std::sync::Mutex<Option<F>>);

    impl<F: FnOnce() + Send> Reporter for Meddler<F> {
        fn report(&self, _: crate::report::Event) {
            if let Some(meddle) = self.0.lock().unwrap().take() {
                meddle();
            }
        }
    }

    /// Another run takes the newer version away while the first of the older one's builds goes.
    #[test]
    fn what_is_of_use_in_the_meantime_stays() {
        let system = System::new();
        let old = version(&system, "1", &["5.9", "6.1"]);
        let new = version(&system, "2", &["6.1"]);
        install(&system, &new, "6.1");
        let trees = &system.ctx.trees;
        let meddler = Meddler(std::sync::Mutex::new(Some(|| {
            fs_err::remove_file(trees.active_link(&new.name, &Kernel::new("6.1", "x86_64").unwrap())).unwrap();
            fs_err::remove_dir_all(trees.package_dir(&new)).unwrap();
        })));
        let args = Args::parse(["prune".into(), "--yes".into()]).unwrap();
        assert_eq!(run(&system.ctx, &args, true, false, &meddler).unwrap(), 0);
        assert!(meddler.0.lock().unwrap().is_none(), "nothing was said");
        trees.snapshot().forget_all();
        let left = walk::walk(trees, &Filter::default()).packages;
        let built: Vec<_> = left.iter().flat_map(|entry| &entry.built).map(|built| &built.kernel.release).collect();
        assert_eq!((left.len(), &left[0].package), (1, &old));
        assert_eq!(built.iter().map(|release| release.as_str()).collect::<Vec<_>>(), ["6.1"]);
    }
}
