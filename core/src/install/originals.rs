//! Modules of somebody else's that ours takes the place of: kept aside, and put back on removal.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use fs_err as fs;

use super::error::Error;
use super::ours::is_ours;
use crate::context::Context;
use crate::durable;
use crate::elf::Module;
use crate::journal::{Change, origin_file};
use crate::kernel::installed;
use crate::names::{Kernel, Name, Release};
use crate::report::Reporter;
use crate::tree::manifest::InstalledFile;
use crate::tree::walk::{self, Filter};

/// Stages the archiving of `found` (paths relative to the kernel's modules directory): the first at the
/// classic's place, further copies of the same name under `collisions/`, by where they came from.
pub fn archive(
    ctx: &Context,
    change: &mut Change<'_>,
    name: &Name,
    kernel: &Kernel,
    found: &[&Path],
    reporter: &dyn Reporter,
) {
    let modules = ctx.trees.modules_dir(&kernel.release);
    let archive = ctx.trees.originals(name, kernel);
    let mut taken: Vec<PathBuf> = Vec::new();
    for path in found {
        let Some(file) = path.file_name() else { continue };
        let from = modules.join(path);
        let shown = ctx.trees.shown(&from);
        let mut to = archive.join(file);
        if taken.contains(&to) {
            to = archive.join("collisions").join(path);
        }
        reporter.line(&format!("Found pre-existing {}, archiving for uninstallation", shown.display()));
        change.archive(&from, &to, &shown);
        taken.push(to);
    }
}

/// Stages putting everything archived back, and the archive's removal. `legacy` gives the directory
/// (relative to the kernel's) for an archived file without a note of its origin; `ours` tells the files that go. What
/// somebody else has put at its place since is newer and stays: of a kernel that was upgraded, the archived one is history.
/// Of a kernel that is gone, nothing is put back.
pub fn restore(
    ctx: &Context,
    change: &mut Change<'_>,
    name: &Name,
    kernel: &Kernel,
    legacy: &dyn Fn(&str) -> Option<PathBuf>,
    ours: &dyn Fn(&Path) -> bool,
    reporter: &dyn Reporter,
) -> Result<(), Error> {
    let archive = ctx.trees.originals(name, kernel);
    if !archive.is_dir() {
        return Ok(());
    }
    if !is_there(ctx, kernel, ours) {
        change.remove_dir_all(&archive);
        return Ok(());
    }
    let mut files = Vec::new();
    modules_below(&archive, &mut files)?;
    files.sort();
    for file in files {
        let Some(to) = destination(ctx, &file, &kernel.release, legacy, reporter)? else { continue };
        let shown = ctx.trees.shown(&to);
        if to.exists() && !ours(&to) {
            reporter.line(&format!("{} is newer than the archived original, and stays", shown.display()));
            change.remove_file(&file).remove_file(&origin_file(&file));
            continue;
        }
        reporter.line(&format!("Restoring archived original module {}", shown.display()));
        change.restore(&file, &to);
    }
    change.prune_empty_dirs(&archive, &ctx.trees.name_dir(name));
    Ok(())
}

/// Takes `files`, modules of the package `name`, out of the archives of other packages, where the classic and versions of ours
/// have put them: nobody would know of them when they came back.
pub fn forget(
    ctx: &Context,
    change: &mut Change<'_>,
    name: &Name,
    kernel: &Kernel,
    files: &[InstalledFile],
    reporter: &dyn Reporter,
) {
    let packages = walk::walk(&ctx.trees, &Filter::default()).packages;
    let names: BTreeSet<Name> = packages.into_iter().map(|entry| entry.package.name).collect();
    for other in names.iter().filter(|other| *other != name) {
        let archive = ctx.trees.originals(other, kernel);
        let mut archived = Vec::new();
        if !archive.is_dir() || modules_below(&archive, &mut archived).is_err() {
            continue;
        }
        for path in archived.iter().filter(|path| files.iter().any(|file| is_that(file, path))) {
            let shown = ctx.trees.shown(path);
            reporter.line(&format!("Deleting {}: it is no module of the kernel's own", shown.display()));
            change.remove_file(path).remove_file(&origin_file(path));
        }
        change.prune_empty_dirs(&archive, &ctx.trees.name_dir(other));
    }
}

/// Whether the archived file at `path` is what was put there as `file`, signed anew or not; never one of the kernel's own, which
/// may have been built from the same source (scripts/mod/modpost.c: `intree`).
fn is_that(file: &InstalledFile, path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().split(".ko").next() == Some(&file.name))
        && is_ours(file, path)
        && Module::read(path).is_ok_and(|module| module.field("intree") != Some("Y"))
}

/// Whether the kernel is installed, or at least has files of its own.
fn is_there(ctx: &Context, kernel: &Kernel, ours: &dyn Fn(&Path) -> bool) -> bool {
    let dir = ctx.trees.modules_dir(&kernel.release);
    let own = |_: &Release, path: &Path| ours(&dir.join(path));
    installed::look(&ctx.trees, kernel.release.clone(), &own).is_some_and(|found| !found.is_orphan(&own))
}

/// Where an archived file goes; `None`, after a warning, if its note leads elsewhere.
fn destination(
    ctx: &Context,
    file: &Path,
    release: &Release,
    legacy: &dyn Fn(&str) -> Option<PathBuf>,
    reporter: &dyn Reporter,
) -> Result<Option<PathBuf>, Error> {
    let modules = ctx.trees.modules_dir(release);
    let note = origin_file(file);
    let name = file.file_name().unwrap_or_default();
    if !note.is_file() {
        let text = name.to_string_lossy();
        let module = text.split(".ko").next().unwrap_or_default();
        return Ok(legacy(module).map(|dir| modules.join(dir).join(name)));
    }
    let text = durable::text(&note).map_err(durable::named(&note))?;
    let origin = text.lines().next().unwrap_or_default();
    // The note holds the path as the classic saw it: /lib/modules/K/…, or the same behind a link.
    let inside = ctx.trees.install.inside.join(release);
    let below = Path::new(origin)
        .strip_prefix(&inside)
        .ok()
        .or_else(|| {
            Path::new(origin).strip_prefix(Path::new("/usr").join(inside.strip_prefix("/").unwrap_or(&inside))).ok()
        })
        .filter(|below| below.components().all(|part| matches!(part, std::path::Component::Normal(_))));
    if below.is_none() {
        reporter.warning(&[&format!(
            "Bad original location '{origin}' in {}: the module stays archived",
            ctx.trees.shown(&note).display()
        )]);
    }
    Ok(below.map(|below| modules.join(below)))
}

fn modules_below(dir: &Path, found: &mut Vec<PathBuf>) -> Result<(), Error> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            modules_below(&entry.path(), found)?;
        } else if entry.path().extension().is_none_or(|end| end != "origin") {
            found.push(entry.path());
        }
    }
    Ok(())
}
