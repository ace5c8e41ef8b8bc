//! What a kernel's initramfs may still hold of modules that were taken out: `<tree>/.dkms/initramfs/<K>`, a module's name
//! a line; or [`WHATEVER`], where it lacks what was put in. A package manager's run removes and installs packages one by one; the
//! image is looked at once, when all is over.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use crate::context::Context;
use crate::durable;
use crate::names::{Kernel, Package, Release};
use crate::system_error::SystemError;
use crate::tree::Trees;
use crate::tree::manifest::KernelManifest;

/// Instead of a module's name: the image is to be renewed whatever it lists.
pub const WHATEVER: &str = "*";

/// Notes that the modules of `package` are about to be taken out of `kernel`.
pub fn note(ctx: &Context, package: &Package, kernel: &Kernel) -> Result<(), SystemError> {
    let trees = &ctx.trees;
    let beside = KernelManifest::beside(trees, &kernel.release)?;
    let mut names: BTreeSet<String> = BTreeSet::new();
    if let Some(entry) = beside.as_ref().and_then(|beside| beside.find(package, &kernel.arch)) {
        names.extend(entry.files.iter().map(|file| file.name.clone()));
    } else {
        // The classic's: what it built tells.
        let built = fs::read_dir(trees.artefact_modules(package, kernel)).into_iter().flatten().flatten();
        let files = built.filter_map(|entry| entry.file_name().into_string().ok());
        names.extend(files.filter_map(|name| Some(name.split_once(".ko")?.0.to_owned())));
    }
    names.extend(read(trees, &kernel.release));
    if names.is_empty() {
        return Ok(());
    }
    let text = names.into_iter().collect::<Vec<_>>().join("\n");
    durable::own_dirs(&dir(trees))
        .and_then(|()| trees.write(&dir(trees).join(&kernel.release), text.as_bytes(), 0o644))?;
    Ok(())
}

/// Notes that the image of `release` is to be renewed, whatever it lists: another time will do better, or for all packages of a
/// run at once.
pub fn note_whatever(trees: &Trees, release: &Release) {
    let noted = durable::own_dirs(&dir(trees))
        .and_then(|()| trees.write(&dir(trees).join(release), WHATEVER.as_bytes(), 0o644));
    if let Err(error) = noted {
        log::warn!("{error}");
    }
}

/// Forgets what is noted for the kernel.
pub fn forget(trees: &Trees, release: &Release) {
    if let Err(error) = durable::remove_any(&dir(trees).join(release)) {
        log::warn!("{error}");
    }
}

/// The kernels for which something is noted, with the names of the modules.
pub fn all(trees: &Trees) -> Vec<(Release, Vec<String>)> {
    let entries = fs::read_dir(dir(trees)).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    let releases = names.filter(|name| !name.starts_with('.')).filter_map(|name| Release::new(name).ok());
    releases.map(|release| (release.clone(), read(trees, &release))).collect()
}

fn dir(trees: &Trees) -> PathBuf {
    trees.state("initramfs")
}

fn read(trees: &Trees, release: &Release) -> Vec<String> {
    let text = durable::text(&dir(trees).join(release)).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}
