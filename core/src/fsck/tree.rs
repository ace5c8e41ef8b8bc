//! The tree: registrations, what is built, and the links that say what is installed.

use std::fs;
use std::path::Path;

use super::{Fault, Findings, Repair};
use crate::context::Context;
use crate::digest::Digest;
use crate::durable;
use crate::elf::Module;
use crate::error::Error;
use crate::names::{Arch, Kernel, Package, Release};
use crate::plan::{Action, Reason, Stale, Step};
use crate::reconcile::vanished;
use crate::superseded;
use crate::tree::manifest::{KernelManifest, Manifest};
use crate::tree::paths::MANIFEST;
use crate::tree::walk::{Built, PackageEntry, Source, Walk};

pub(super) fn look(ctx: &Context, walk: &Walk, found: &mut Findings<'_>) -> Result<(), Error> {
    for entry in &walk.unreadable {
        let advice = "mend its permissions or its name, or delete it".to_owned();
        found.at(&entry.path, Fault::Unreadable, Repair::ByHand(advice)).because(&entry.why);
    }
    for entry in &walk.packages {
        source(ctx, entry, found)?;
        for built in &entry.built {
            artefact(ctx, entry, built, found);
        }
        hollow(ctx, entry, found);
    }
    for name in names(walk) {
        links(ctx, walk, name, found);
    }
    Ok(())
}

fn names(walk: &Walk) -> impl Iterator<Item = &crate::names::Name> {
    let mut last = None;
    walk.packages.iter().map(|entry| &entry.package.name).filter(move |name| last.replace(*name) != Some(name))
}

/// What the package's link leads to.
fn source(ctx: &Context, entry: &PackageEntry, found: &mut Findings<'_>) -> Result<(), Error> {
    let package = &entry.package;
    let dir = ctx.trees.package_dir(package);
    match entry.source {
        Source::Broken => {
            let usual = ctx.trees.source_place(package);
            let repair = if ctx.trees.outer(usual.join("dkms.conf")).is_file() {
                Repair::Link(usual)
            } else if vanished::has_vanished(ctx, entry)? {
                Repair::Reconcile(None)
            } else {
                let back = usual.display();
                Repair::ByHand(format!("put its source back at {back}, or run: dkms remove {package} --all"))
            };
            found.at(&dir.join("source"), Fault::NoSource, repair).of(package);
        }
        Source::None if entry.built.is_empty() && !superseded::is_marked(&ctx.trees, package) => {
            let repair = if is_hollow(&dir) {
                Repair::Delete
            } else {
                Repair::ByHand(format!("look into it, and delete it, or run: dkms add {package}"))
            };
            found.at(&dir, Fault::Remains, repair).of(package);
        }
        Source::Added | Source::None => {}
    }
    Ok(())
}

/// Whether there is nothing in `dir` but directories.
fn is_hollow(dir: &Path) -> bool {
    let entries = fs::read_dir(dir).into_iter().flatten();
    entries.flatten().all(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()) && is_hollow(&entry.path()))
}

/// Directories of builds without a module: they are in the way of the next build.
fn hollow(ctx: &Context, entry: &PackageEntry, found: &mut Findings<'_>) {
    let releases = fs::read_dir(ctx.trees.package_dir(&entry.package)).into_iter().flatten().flatten();
    for dir in releases.filter(|dir| dir.file_type().is_ok_and(|kind| kind.is_dir())) {
        let name = dir.file_name().to_string_lossy().into_owned();
        let Ok(release) = Release::new(name.as_str()) else { continue };
        for arch in fs::read_dir(dir.path()).into_iter().flatten().flatten() {
            let Ok(arch) = Arch::new(arch.file_name().to_string_lossy()) else { continue };
            let kernel = Kernel { release: release.clone(), arch };
            let place = ctx.trees.artefact(&entry.package, &kernel);
            let is_build = ["log", "module", MANIFEST].iter().any(|part| place.join(part).exists());
            if is_build && !entry.is_built_for(&kernel) && is_hollow(&place.join("module")) {
                found.at(&place, Fault::BuildDamaged, Repair::Delete).of(&entry.package).on(&release);
            }
        }
    }
}

/// The step that makes a build anew, where there is a source to build.
fn build_again(entry: &PackageEntry, built: &Built) -> Repair {
    let (package, kernel) = (&entry.package, &built.kernel);
    if entry.source != Source::Added {
        return Repair::ByHand(format!("put its source back, or run: dkms unbuild {package} -k {}", kernel.release));
    }
    Repair::Step(if built.installed {
        Step::new(package.clone(), kernel, Action::Build, Reason::Stale(Stale::Files))
    } else {
        Step::new(package.clone(), kernel, Action::BuildOnly, Reason::Forced)
    })
}

/// What was built against its manifest.
fn artefact(ctx: &Context, entry: &PackageEntry, built: &Built, found: &mut Findings<'_>) {
    let (package, kernel) = (&entry.package, &built.kernel);
    let release = &kernel.release;
    let modules = ctx.trees.artefact_modules(package, kernel);
    let path = ctx.trees.manifest(package, kernel);
    let manifest = match durable::read(&path) {
        Ok(Some(bytes)) => Manifest::parse(&bytes),
        // The classic's builds have none.
        Ok(None) => {
            if !modules.is_dir() || is_hollow(&modules) {
                let dir = ctx.trees.artefact(package, kernel);
                found.at(&dir, Fault::BuildDamaged, build_again(entry, built)).of(package).on(release);
            }
            return;
        }
        Err(error) => Err(error.to_string()),
    };
    let manifest = manifest.and_then(|manifest| {
        let own = manifest.package == *package && manifest.kernel == *kernel;
        if own { Ok(manifest) } else { Err(format!("it is of {} for {}", manifest.package, manifest.kernel)) }
    });
    let manifest = match manifest {
        Ok(manifest) => manifest,
        Err(why) => {
            found.at(&path, Fault::BadManifest, build_again(entry, built)).of(package).on(release).because(why);
            return;
        }
    };
    for module in &manifest.modules {
        let file = modules.join(&module.file);
        if Digest::of_file(&file).is_ok_and(|digest| digest == module.digest) {
            continue;
        }
        if Module::read(&file).is_ok() {
            let advice = format!("if nobody meant it so: dkms build {package} -k {release} --force");
            found.at(&file, Fault::BuildChanged, Repair::ByHand(advice)).of(package).on(release);
        } else {
            found.at(&file, Fault::BuildDamaged, build_again(entry, built)).of(package).on(release);
        }
    }
}

/// The links of a package that say which version is installed, and its archives of original modules.
fn links(ctx: &Context, walk: &Walk, name: &crate::names::Name, found: &mut Findings<'_>) {
    let dir = ctx.trees.name_dir(name);
    for entry in fs::read_dir(&dir).into_iter().flatten().flatten() {
        let file = entry.file_name().to_string_lossy().into_owned();
        let Some(kernel) = file.strip_prefix("kernel-").and_then(kernel_of) else { continue };
        let path = entry.path();
        if !path.is_symlink() || ctx.trees.root.outer(&ctx.trees.shown(&path)).is_dir() {
            continue;
        }
        let beside = KernelManifest::known(&ctx.trees, &kernel.release);
        let installed = beside.find_name(name, &kernel.arch).map(|entry| entry.package.clone());
        let with_source = |package: &Package| {
            walk.packages.iter().any(|entry| entry.package == *package && entry.source == Source::Added)
        };
        let repair = match installed.filter(with_source) {
            Some(package) => Repair::Step(Step::new(package, &kernel, Action::Build, Reason::Stale(Stale::Files))),
            None => Repair::Delete,
        };
        found.at(&path, Fault::DanglingLink, repair).on(&kernel.release);
    }
    let archives = dir.join("original_module");
    for entry in fs::read_dir(&archives).into_iter().flatten().flatten() {
        let Ok(release) = Release::new(entry.file_name().to_string_lossy()) else { continue };
        if !ctx.trees.modules_dir(&release).is_dir() {
            let advice = "delete it, unless the kernel comes back: it holds modules of that kernel".to_owned();
            found.at(&entry.path(), Fault::KernelGone, Repair::ByHand(advice)).on(&release);
        }
    }
}

/// `<K>-<A>`: no architecture has a dash.
fn kernel_of(text: &str) -> Option<Kernel> {
    let (release, arch) = text.rsplit_once('-')?;
    Some(Kernel { release: Release::new(release).ok()?, arch: Arch::new(arch).ok()? })
}
