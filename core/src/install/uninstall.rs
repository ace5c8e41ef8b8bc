//! Taking a package's modules out of a kernel's tree: uninstall, unbuild, and forgetting the package.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::error::Error;
use super::{artefact, is_built, is_installed, is_ours, originals, prebuilt};
use crate::conf::framework::ScriptsAs;
use crate::conf::package_files;
use crate::context::Context;
use crate::initramfs::list;
use crate::journal::Change;
use crate::lock::{self, Holder};
use crate::modprobe;
use crate::names::{Kernel, Package};
use crate::process::Environment;
use crate::report::Reporter;
use crate::run::{Session, depmod, foresight, script};
use crate::tree::beside;
use crate::tree::manifest::{BuiltModule, Installed, InstalledFile, KernelManifest};
use crate::tree::record::{Outcome, Record};
use crate::tree::walk;
use crate::weak;

/// Uninstalls `package` from `kernel`; gives whether anything was done. The caller holds the pair's lock, and runs depmod for
/// the kernels that the session has noted. dkms.conf is asked only if no manifest says what was installed.
pub fn uninstall(
    session: &Session<'_>,
    package: &Package,
    kernel: &Kernel,
    reporter: &dyn Reporter,
) -> Result<bool, Error> {
    let ctx = session.ctx;
    // Where the tree is empty (another /var, or none), what lies beside the modules says what to take out.
    if !is_installed(ctx, package, kernel) && beside::known(&ctx.trees, package, kernel).is_none() {
        let quiet = artefact::manifest(ctx, package, kernel)?.is_some_and(|manifest| manifest.provenance.has_exclusive);
        if !quiet {
            reporter.line(&format!("Module {package} is not installed for kernel {kernel}. Skipping..."));
        }
        return Ok(false);
    }
    reporter.line(&format!("Module {package} for kernel {kernel}:"));
    // The tree's link is older than the installation: a run in a snapshot could not write it. No file there is of this version.
    if let Some(successor) = beside::successor(&ctx.trees, package, kernel) {
        reporter.line(&format!("{successor} is installed there instead and is left in place."));
        let _lock = ctx.lock_tree()?;
        let mut change = Change::new(&ctx.trees, format!("unlink {package} from {kernel}"));
        change.remove_file(&ctx.trees.active_link(&package.name, kernel));
        change.commit()?;
        return Ok(false);
    }
    reporter.line(&"Before uninstall, this module version was ACTIVE on this kernel.");
    let post_remove = take_out(session, package, kernel, reporter)?;
    session.touched(&kernel.release);
    if let Some(line) = post_remove {
        // Not before there is an override is its word needed. Where that can't be had, the package may have seen to it.
        let overridden = package_files(&ctx.trees, package, None, Some(kernel)).len() > 1;
        let scripts_as = match overridden.then(|| session.facts.evaluate_as_is(package, kernel)) {
            None => None,
            Some(Ok(evaluated)) => evaluated.conf.scripts_as,
            Some(Err(error)) => {
                log::info!("{error}");
                Some(ScriptsAs::None)
            }
        };
        // Its status never counted, and it gets none of the build's variables (docs/contract.md 4.6).
        script::run(ctx, package, "post_remove", (&line, scripts_as), &Environment::new(), reporter)?;
        depmod::changed(ctx, &kernel.release);
    }
    Ok(true)
}

/// The change itself; gives the POST_REMOVE script.
fn take_out(
    session: &Session<'_>,
    package: &Package,
    kernel: &Kernel,
    reporter: &dyn Reporter,
) -> Result<Option<String>, Error> {
    let ctx = session.ctx;
    let dir = ctx.trees.modules_dir(&kernel.release);
    let beside = KernelManifest::beside(&ctx.trees, &kernel.release)?.unwrap_or_default();
    let (entry, modules) = installed(session, package, kernel, &beside)?;
    // Another run may have written it meanwhile: for another package, since we hold this one's lock.
    let lock = ctx.lock_tree()?;
    let mut beside = Arc::unwrap_or_clone(KernelManifest::beside(&ctx.trees, &kernel.release)?.unwrap_or_default());
    let mut change = Change::new(&ctx.trees, format!("uninstall {package} from {kernel}"));
    // Another package may have put a module of the same source in the place of this one's.
    let others: Vec<PathBuf> =
        beside.installed.iter().filter(|other| other.package.name != package.name).flat_map(Installed::paths).collect();
    let is_ours =
        |file: &InstalledFile, path: &Path| !others.contains(&file.path.join(&file.file)) && is_ours(file, path);
    for file in &entry.files {
        let installed = file.outer(&dir);
        if is_ours(file, &installed) {
            reporter.line(&format!("Deleting {}", ctx.trees.shown(&installed).display()));
            change.remove_file(&installed);
            change.prune_empty_dirs(&dir.join(&file.path), &dir);
        } else {
            reporter.line(&format!("Module {} was not found within {}/", file.file, ctx.trees.shown(&dir).display()));
        }
    }
    let legacy =
        |name: &str| modules.iter().find(|module| module.name == name).map(|module| module.own_location.clone());
    let ours = |path: &Path| entry.files.iter().any(|file| file.outer(&dir) == path && is_ours(file, path));
    originals::restore(ctx, &mut change, &package.name, kernel, &legacy, &ours, reporter)?;
    originals::forget(ctx, &mut change, &package.name, kernel, &entry.files, reporter);
    prebuilt::come_back(ctx, &mut change, &package.name, kernel, reporter);
    change.remove_file(&ctx.trees.active_link(&package.name, kernel));
    modprobe::conf::stage_removal(ctx, &mut change, &package.name, kernel, reporter);
    let gone: Vec<String> = entry.files.iter().map(|file| file.name.clone()).collect();
    // That of another version is that one's.
    if beside.find(package, &kernel.arch).is_some() {
        beside.drop(&package.name, &kernel.arch);
    }
    list::stage(ctx, &mut change, &kernel.release, &beside, &gone, &[]);
    change.stage_kernel_manifest(&kernel.release, &beside);
    foresight::commit(ctx, &kernel.release, change)?;
    drop(lock);
    weak::removed(ctx, kernel, &entry.paths(), !entry.provenance.no_weak_modules, reporter);
    Ok(entry.provenance.post_remove)
}

/// What is installed of `package`, and what is known of the modules that were built: by the manifest `beside` the modules; else
/// by the artefact's, which says as much as dkms.conf, which may be gone; else, of what the classic installed, by dkms.conf.
fn installed(
    session: &Session<'_>,
    package: &Package,
    kernel: &Kernel,
    beside: &KernelManifest,
) -> Result<(Installed, Vec<BuiltModule>), Error> {
    let ctx = session.ctx;
    let known = beside.find(package, &kernel.arch).cloned();
    let (modules, provenance) = match artefact::manifest(ctx, package, kernel)? {
        Some(manifest) => (manifest.modules.clone(), manifest.provenance.clone()),
        None if known.is_some() => Default::default(),
        None => {
            let evaluated = session.facts.evaluate_as_is(package, kernel)?;
            let modules = artefact::modules_by_conf(ctx, package, kernel, &evaluated)?;
            (modules, evaluated.conf.provenance())
        }
    };
    let entry = known.unwrap_or_else(|| Installed {
        package: package.clone(),
        arch: kernel.arch.clone(),
        files: files_of(ctx, kernel, modules.clone()),
        artefact_digest: None,
        provenance,
        installed_at: 0,
    });
    Ok((entry, modules))
}

/// The files that an artefact's modules are, or would be, beside the kernel's.
pub fn files_of(ctx: &Context, kernel: &Kernel, modules: Vec<BuiltModule>) -> Vec<InstalledFile> {
    let dir = ctx.trees.modules_dir(&kernel.release);
    let files = modules.into_iter().map(|module| {
        let place = [&module.location, &module.own_location]
            .into_iter()
            .find(|place| std::fs::symlink_metadata(dir.join(place).join(&module.file)).is_ok());
        InstalledFile {
            path: place.unwrap_or(&module.location).clone(),
            name: module.name,
            file: module.file,
            srcversion: module.srcversion,
            digest: module.digest,
            identity: None,
            tree_identity: None,
            symlink: false,
        }
    });
    files.collect()
}

/// Uninstalls, and deletes what was built; locks and depmod as for [`uninstall`].
pub fn unbuild(
    session: &Session<'_>,
    package: &Package,
    kernel: &Kernel,
    reporter: &dyn Reporter,
) -> Result<(), Error> {
    let ctx = session.ctx;
    let changed = uninstall(session, package, kernel, reporter)?;
    if !is_built(ctx, package, kernel) && !ctx.trees.artefact(package, kernel).exists() {
        if !changed {
            reporter.line(&format!("Module {package} is not built for kernel {kernel}. Skipping..."));
        }
        // A run that was killed between the two has left it. What failed stays on record.
        let record = Record::load(&ctx.trees, package, kernel)?;
        if record.is_some_and(|record| matches!(record.outcome, Outcome::Built | Outcome::Installed)) {
            Record::remove(&ctx.trees, package, kernel)?;
        }
        return Ok(());
    }
    let files =
        artefact::manifest(ctx, package, kernel)?.map(|manifest| files_of(ctx, kernel, manifest.modules.clone()));
    let _lock = ctx.lock_tree()?;
    let mut change = Change::new(&ctx.trees, format!("unbuild {package} for {kernel}"));
    originals::forget(ctx, &mut change, &package.name, kernel, &files.unwrap_or_default(), reporter);
    change.remove_dir_all(&ctx.trees.artefact(package, kernel));
    change.prune_empty_dirs(&ctx.trees.kernel_dir(package, kernel), &ctx.trees.package_dir(package));
    change.commit()?;
    Ok(Record::remove(&ctx.trees, package, kernel)?)
}

/// What the change is called that deletes a package's registration.
pub fn removal_of(package: &Package) -> String {
    format!("remove {package}")
}

/// Deletes the package's registration and all that is left of it in the tree. `on_wait` gets the process that we wait for. Does
/// nothing, and says so, if the package turns out to be built for some kernel: another run was at it.
pub fn forget(ctx: &Context, package: &Package, on_wait: &dyn Fn(&Holder)) -> Result<bool, Error> {
    // A build for another kernel that is under way would be left without its package.
    let unused = ctx.lock_build(package, on_wait)?;
    let lock = ctx.lock_tree()?;
    if !walk::built(&ctx.trees, package).is_empty() {
        return Ok(false);
    }
    let mut change = Change::new(&ctx.trees, removal_of(package));
    change.remove_dir_all(&ctx.trees.package_dir(package));
    change.prune_empty_dirs(&ctx.trees.name_dir(&package.name), &ctx.trees.dkms.outer);
    change.commit()?;
    Record::remove_package(&ctx.trees, package)?;
    drop((lock, unused));
    let (first, all) =
        (format!("{}@{}", package.name, package.version), format!("{}@{}@", package.name, package.version));
    lock::discard_all(&ctx.trees.locks(), &|name| name == first || name.starts_with(&all));
    Ok(true)
}
