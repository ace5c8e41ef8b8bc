//! The files beside the kernels' modules against the manifests there, and against the tree.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use super::{Fault, Findings, Repair, state};
use crate::context::Context;
use crate::digest::Digest;
use crate::durable;
use crate::error::Error;
use crate::install::damage;
use crate::kernel::installed::{self, Presence};
use crate::loadable;
use crate::names::{Kernel, Package, Release};
use crate::plan::{Action, Reason, Stale, Step};
use crate::tree::manifest::{Installed, InstalledFile, KernelManifest, Manifest};
use crate::tree::walk::{Built, PackageEntry, Source, Walk};

/// What is known of one kernel.
struct Beside<'a> {
    ctx: &'a Context,
    walk: &'a Walk,
    release: &'a Release,
    dir: PathBuf,
    manifest: KernelManifest,
}

pub(super) fn look(ctx: &Context, walk: &Walk, found: &mut Findings<'_>) -> Result<(), Error> {
    if ctx.trees.is_another {
        return Ok(());
    }
    let mut manifests: BTreeMap<Release, KernelManifest> = BTreeMap::new();
    let mut damaged: BTreeSet<Release> = BTreeSet::new();
    for release in releases(ctx) {
        match read(ctx, &release) {
            Ok(manifest) => drop(manifests.insert(release, manifest)),
            Err(why) => {
                bad_manifest(ctx, walk, &release, why, found);
                damaged.insert(release);
            }
        }
    }
    remains(ctx, walk, &manifests, found)?;
    for (release, manifest) in manifests {
        let dir = ctx.trees.modules_dir(&release);
        let beside = Beside { ctx, walk, release: &release, dir, manifest };
        for entry in &beside.manifest.installed {
            beside.entry(entry, found);
        }
        beside.not_listed(found);
        beside.foreign(found);
    }
    for release in loadable::gather::stale(&ctx.trees).into_iter().filter(|release| !damaged.contains(release)) {
        // A module that is missing is reason enough for the index to name what is not there.
        found.add(Fault::StaleIndex, Repair::Depmod(release.clone())).on(&release);
    }
    Ok(())
}

/// The kernels' directories; another name of one is no other kernel.
fn releases(ctx: &Context) -> Vec<Release> {
    let entries = fs::read_dir(&ctx.trees.install.outer).into_iter().flatten().flatten();
    let directories = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    directories.filter_map(|entry| Release::new(entry.file_name().to_string_lossy()).ok()).collect()
}

/// A kernel's manifest; empty if there is none, or if it was written for another kernel.
fn read(ctx: &Context, release: &Release) -> Result<KernelManifest, String> {
    let Some(bytes) = durable::read(&ctx.trees.kernel_manifest(release)).map_err(|error| error.to_string())? else {
        return Ok(KernelManifest::default());
    };
    let manifest = KernelManifest::parse(&bytes)?;
    let own = manifest.release.as_ref().is_none_or(|written| written == release);
    Ok(if own { manifest } else { KernelManifest::default() })
}

/// What the tree says is installed for a kernel, with how that is written to its manifest again.
fn active<'a>(walk: &'a Walk, release: &'a Release) -> impl Iterator<Item = (&'a PackageEntry, &'a Built)> {
    let of = move |entry: &'a PackageEntry| {
        let here = entry.built.iter().filter(move |built| built.installed && built.kernel.release == *release);
        here.map(move |built| (entry, built))
    };
    walk.packages.iter().flat_map(of)
}

fn install(package: &Package, kernel: &Kernel) -> Repair {
    Repair::Step(Step::new(package.clone(), kernel, Action::Install, Reason::Stale(Stale::Files)))
}

fn bad_manifest(ctx: &Context, walk: &Walk, release: &Release, why: String, found: &mut Findings<'_>) {
    let path = ctx.trees.kernel_manifest(release);
    let mut any = false;
    for (entry, built) in active(walk, release) {
        any = true;
        let repair = install(&entry.package, &built.kernel);
        found.at(&path, Fault::BadManifest, repair).of(&entry.package).on(release).because(&why);
    }
    if !any {
        let advice = "delete it, and install what is missing: dkms autoinstall -k ".to_owned() + release.as_str();
        found.at(&path, Fault::BadManifest, Repair::ByHand(advice)).on(release).because(why);
    }
}

/// What is left of kernels that were removed.
fn remains(
    ctx: &Context,
    walk: &Walk,
    manifests: &BTreeMap<Release, KernelManifest>,
    found: &mut Findings<'_>,
) -> Result<(), Error> {
    let ours = |release: &Release, path: &Path| {
        let files = || manifests.get(release).into_iter().flat_map(|manifest| &manifest.installed);
        crate::tree::paths::is_note(path) || files().any(|entry| entry.paths().iter().any(|own| own == path))
    };
    let scanned = installed::scan(&ctx.trees, &ours)?;
    for kernel in scanned.iter().filter(|kernel| kernel.presence == Presence::Leftover && kernel.is_orphan(&ours)) {
        let dir = ctx.trees.modules_dir(&kernel.release);
        found.at(&dir, Fault::KernelGone, Repair::Reconcile(None)).on(&kernel.release);
    }
    for entry in &walk.packages {
        let gone =
            |built: &&Built| built.installed && !scanned.iter().any(|kernel| kernel.release == built.kernel.release);
        for built in entry.built.iter().filter(gone) {
            let link = ctx.trees.active_link(&entry.package.name, &built.kernel);
            let repair = Repair::Reconcile(None);
            found.at(&link, Fault::KernelGone, repair).of(&entry.package).on(&built.kernel.release);
        }
    }
    Ok(())
}

impl Beside<'_> {
    fn kernel(&self, entry: &Installed) -> Kernel {
        Kernel { release: self.release.clone(), arch: entry.arch.clone() }
    }

    /// One entry of the manifest against the files and the tree.
    fn entry(&self, entry: &Installed, found: &mut Findings<'_>) {
        let package = &entry.package;
        let kernel = self.kernel(entry);
        let in_tree = |known: &&PackageEntry| known.package == *package;
        let known = self.walk.packages.iter().find(in_tree);
        let built = known.is_some_and(|known| known.is_built_for(&kernel));
        let usual = self.ctx.trees.source_place(package);
        let has_source = known.is_some_and(|known| known.source == Source::Added)
            || self.ctx.trees.outer(usual.join("dkms.conf")).is_file();
        let there = |file: &InstalledFile| fs::symlink_metadata(file.outer(&self.dir)).is_ok();
        if !entry.files.iter().any(there) && !built {
            let path = self.ctx.trees.kernel_manifest(self.release);
            found.at(&path, Fault::NothingLeft, Repair::Forget(self.release.clone())).of(package).on(self.release);
            return;
        }
        if known.is_none() {
            let dir = self.dir.join(entry.files.first().map_or(Path::new(""), |file| &file.path));
            let repair = if has_source {
                Repair::Reconcile(Some(kernel.clone()))
            } else {
                let back = usual.display();
                Repair::ByHand(format!("put its source at {back}, or run: dkms remove {package} --all"))
            };
            found.at(&dir, Fault::Unregistered, repair).of(package).on(self.release);
        }
        for file in &entry.files {
            self.file(entry, file, built || has_source, found);
        }
    }

    fn file(&self, entry: &Installed, file: &InstalledFile, can_be_put_back: bool, found: &mut Findings<'_>) {
        let path = file.outer(&self.dir);
        let (package, kernel) = (&entry.package, self.kernel(entry));
        let leads_somewhere = || !file.symlink || self.ctx.trees.root.outer(&self.ctx.trees.shown(&path)).exists();
        if damage::is_damaged(file, &path) || !leads_somewhere() {
            let missing = fs::symlink_metadata(&path).is_err() || !leads_somewhere();
            let fault = if missing { Fault::ModuleMissing } else { Fault::ModuleDamaged };
            let repair = if can_be_put_back {
                install(package, &kernel)
            } else {
                Repair::ByHand(format!("put the source of {package} back, or run: dkms remove {package} --all"))
            };
            found.at(&path, fault, repair).of(package).on(self.release);
            return;
        }
        let is_whole = file.symlink
            || Digest::of_file(&path).is_ok_and(|digest| digest == file.digest)
            || crate::install::is_replaced_by_the_kernels(file, &path);
        if !is_whole {
            let advice = format!("if nobody meant it so: dkms install {package} -k {} --force", self.release);
            found.at(&path, Fault::ModuleChanged, Repair::ByHand(advice)).of(package).on(self.release);
        }
    }

    /// What the tree says is installed, and the manifest does not know. The classic wrote no manifests: of what it built
    /// nothing is said.
    fn not_listed(&self, found: &mut Findings<'_>) {
        for (entry, built) in active(self.walk, self.release) {
            let package = &entry.package;
            let manifest = Manifest::of(&self.ctx.trees, package, &built.kernel).ok().flatten();
            let Some(manifest) = manifest else { continue };
            if self.manifest.find(package, &built.kernel.arch).is_some() {
                continue;
            }
            let is_there = |place: &Path, file: &str| fs::symlink_metadata(self.dir.join(place).join(file)).is_ok();
            let there = manifest.modules.iter().any(|module| is_there(&module.location, &module.file));
            let fault = if there { Fault::NotListed } else { Fault::ModuleMissing };
            let link = self.ctx.trees.active_link(&package.name, &built.kernel);
            found.at(&link, fault, install(package, &built.kernel)).of(package).on(self.release);
        }
    }

    /// Files in the directories where we put modules that nobody knows.
    fn foreign(&self, found: &mut Findings<'_>) {
        let mut known: BTreeSet<PathBuf> = self.manifest.installed.iter().flat_map(Installed::paths).collect();
        let mut directories: BTreeSet<PathBuf> =
            self.manifest.installed.iter().flat_map(|entry| &entry.files).map(|file| file.path.clone()).collect();
        directories.insert("updates/dkms".into());
        // What no manifest lists, but the tree, is ours, too; the classic's by its name.
        let mut names: BTreeSet<String> = BTreeSet::new();
        for (entry, built) in active(self.walk, self.release) {
            let dir = self.ctx.trees.artefact_modules(&entry.package, &built.kernel);
            let files = fs::read_dir(dir).into_iter().flatten().flatten();
            names.extend(files.filter_map(|file| file.file_name().into_string().ok()));
        }
        for directory in directories {
            state::leftovers(&self.dir.join(&directory), found);
            // Only a directory of our own has nothing but ours in it.
            if !directory.ends_with("dkms") {
                continue;
            }
            for entry in fs::read_dir(self.dir.join(&directory)).into_iter().flatten().flatten() {
                let name = entry.file_name().to_string_lossy().into_owned();
                let path = directory.join(&name);
                let is_module = name.contains(".ko") && !name.starts_with('.');
                // Links are the vendor's, to builds for other kernels.
                if !is_module || entry.path().is_symlink() || names.contains(&name) || !known.insert(path) {
                    continue;
                }
                let advice = "delete it, if nobody needs it, and run depmod".to_owned();
                found.at(&entry.path(), Fault::Foreign, Repair::ByHand(advice)).on(self.release);
            }
        }
        state::leftovers(&self.dir, found);
    }
}
