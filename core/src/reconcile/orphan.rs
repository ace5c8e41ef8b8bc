//! What a removed kernel leaves behind: taken out by manifest, not by what dkms.conf says today.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::context::Context;
use crate::durable;
use crate::error::Error;
use crate::initramfs::list;
use crate::install;
use crate::journal::{Change, JournalError};
use crate::kernel::installed;
use crate::lock::{self, Holder};
use crate::names::{Kernel, Package, Release};
use crate::plan::{FollowUp, Step};
use crate::process::stop;
use crate::report::{Event, Reporter};
use crate::run::{Session, foresight};
use crate::system_error::SystemError;
use crate::tree::manifest::KernelManifest;
use crate::tree::walk::{self, Filter, Unreadable};
use crate::weak;

/// Carries out a `Remove` step.
pub(super) fn remove(session: &Session<'_>, step: &Step, reporter: &dyn Reporter) -> Result<(), Error> {
    reporter.report(Event::Note(format!("dkms: removing module {} for kernel {}", step.package, step.kernel)));
    unbuild(session, &step.package, &step.kernel, reporter)
}

/// Takes a package out of a kernel, and what was built of it for that.
pub(crate) fn unbuild(
    session: &Session<'_>,
    package: &Package,
    kernel: &Kernel,
    reporter: &dyn Reporter,
) -> Result<(), Error> {
    let waiting = |holder: &Holder| log::info!("waiting for {holder}");
    let _locks = (session.ctx.lock_pair(package, kernel, &waiting)?, session.ctx.pass_gate(kernel, &waiting)?);
    Ok(install::unbuild(session, package, kernel, reporter)?)
}

/// Unbuilds every package for `kernel`, removes whatever else its manifest says is ours, and clears the
/// empty directories away. Gives the packages that failed. The caller has closed the kernel's gate: nobody else changes
/// anything there, and the packages' own locks, which builds hold for long, are not needed.
pub(super) fn remove_all(
    session: &Session<'_>,
    kernel: &Kernel,
    reporter: &dyn Reporter,
) -> Result<Vec<(Package, Error)>, Error> {
    let ctx = session.ctx;
    let mut failures: Vec<(Package, Error)> = Vec::new();
    let there = built(ctx, kernel);
    index_without(session, kernel, &there)?;
    for package in there {
        if let Some(stop) = stop::requested() {
            return Err(SystemError::Interrupted(stop).into());
        }
        reporter.report(Event::Note(format!("dkms: removing module {package} for kernel {kernel}")));
        if let Err(error) = install::unbuild(session, &package, kernel, reporter).map_err(Error::from) {
            reporter.report(Event::Error(error.lines()));
            failures.push((package, error));
        }
        reporter.line(&"");
    }
    let of_kernel = format!("@{}@{}", kernel.release, kernel.arch);
    lock::discard_all(&ctx.trees.locks(), &|name| name.ends_with(&of_kernel));
    if let Err(error) = forgotten(session, kernel, &failures, reporter) {
        reporter.report(Event::Error(error.lines()));
        let beside = KernelManifest::beside(&ctx.trees, &kernel.release)?.unwrap_or_default();
        let left = beside.installed.iter().find(|entry| !failures.iter().any(|(failed, _)| *failed == entry.package));
        failures.extend(left.map(|entry| (entry.package.clone(), error)));
    }
    Ok(failures)
}

/// Makes the index without the modules of all that goes, at once: their removals then find nothing in it.
fn index_without(session: &Session<'_>, kernel: &Kernel, packages: &[Package]) -> Result<(), Error> {
    let (trees, release) = (&session.ctx.trees, &kernel.release);
    if packages.len() < 2 || session.ctx.options.no_depmod {
        return Ok(());
    }
    // Another run's index would be lost.
    let _lock = session.ctx.lock_tree()?;
    let dir = trees.modules_dir(release);
    let beside = KernelManifest::beside(trees, release)?.unwrap_or_default();
    let entries =
        beside.installed.iter().filter(|entry| entry.arch == kernel.arch && packages.contains(&entry.package));
    let files = entries.flat_map(|entry| &entry.files).map(|file| (file, file.outer(&dir)));
    let going: Vec<PathBuf> = files.filter(|(file, path)| install::is_ours(file, path)).map(|(_, path)| path).collect();
    // Until they have gone, it lacks modules that are there.
    FollowUp::Depmod.note(trees, release, "").map_err(JournalError::File)?;
    session.touched(release);
    // Each of them is taken out in a change of its own, which holds the turn again.
    drop(foresight::without(session.ctx, release, &going.iter().map(PathBuf::as_path).collect::<Vec<_>>()));
    Ok(())
}

/// The packages that are built for `kernel`, in order of their names.
fn built(ctx: &Context, kernel: &Kernel) -> Vec<Package> {
    let packages = walk::walk(&ctx.trees, &Filter::kernel(kernel)).packages.into_iter();
    packages.filter(|entry| entry.is_built_for(kernel)).map(|entry| entry.package).collect()
}

/// Removes the files that the manifest beside the modules lists for packages that the tree no longer knows;
/// those of packages that `failed` stay with what else there is of them.
fn forgotten(
    session: &Session<'_>,
    kernel: &Kernel,
    failed: &[(Package, Error)],
    reporter: &dyn Reporter,
) -> Result<(), Error> {
    let ctx = session.ctx;
    // Read under the lock: what another run has installed meanwhile, the tree knows, with the originals that it took the place of.
    let lock = ctx.lock_tree()?;
    let Some(beside) = KernelManifest::beside(&ctx.trees, &kernel.release)? else {
        return Ok(());
    };
    let mut beside = Arc::unwrap_or_clone(beside);
    let walk = walk::walk(&ctx.trees, &Filter::kernel(kernel));
    let known = |package: &Package| {
        walk.packages.iter().any(|entry| entry.package == *package && entry.is_built_for(kernel))
            || failed.iter().any(|(failed, _)| failed == package)
    };
    let here = beside.installed.iter().filter(|entry| entry.arch == kernel.arch && !known(&entry.package));
    let here: Vec<_> = here.cloned().collect();
    if here.is_empty() {
        return Ok(());
    }
    // What can't be read may be the tree's part of one of them, with the originals that come back when it goes.
    let concerns =
        |path: &Path, name| path.starts_with(ctx.trees.name_dir(name)) || ctx.trees.name_dir(name).starts_with(path);
    let unread = walk.unreadable.iter().find(|at| here.iter().any(|entry| concerns(&at.path, &entry.package.name)));
    if let Some(Unreadable { path, why }) = unread {
        return Err(JournalError::File(durable::at("read", path)(std::io::Error::other(why.to_string()))).into());
    }
    let dir = ctx.trees.modules_dir(&kernel.release);
    let mut change = Change::new(&ctx.trees, format!("remove what is left for {kernel}"));
    for entry in &here {
        for file in &entry.files {
            let installed = file.outer(&dir);
            if install::is_ours(file, &installed) {
                reporter.line(&format!("Deleting {}", ctx.trees.shown(&installed).display()));
                change.remove_file(&installed);
                change.prune_empty_dirs(&dir.join(&file.path), &dir);
            }
        }
        beside.drop(&entry.package.name, &entry.arch);
    }
    let gone: Vec<String> = here.iter().flat_map(|entry| &entry.files).map(|file| file.name.clone()).collect();
    list::stage(ctx, &mut change, &kernel.release, &beside, &gone, &[]);
    change.stage_kernel_manifest(&kernel.release, &beside);
    foresight::commit(ctx, &kernel.release, change)?;
    drop(lock);
    session.touched(&kernel.release);
    for entry in here {
        weak::removed(ctx, kernel, &entry.paths(), !entry.provenance.no_weak_modules, reporter);
    }
    Ok(())
}

/// Removes what manifests beside the modules of a removed kernel list and the tree knows nothing of.
pub(super) fn forget(session: &Session<'_>, release: &Release, reporter: &dyn Reporter) -> Result<(), Error> {
    let beside = KernelManifest::beside(&session.ctx.trees, release)?.unwrap_or_default();
    let arches: BTreeSet<_> = beside.installed.iter().map(|entry| entry.arch.clone()).collect();
    for arch in arches {
        forgotten(session, &Kernel { release: release.clone(), arch }, &[], reporter)?;
    }
    Ok(())
}

/// Deletes the directory of a removed kernel, of which nothing is left but our manifest and depmod's files.
pub(super) fn clear(ctx: &Context, release: &Release) -> Result<(), Error> {
    let dir = ctx.trees.modules_dir(release);
    let ours = |_: &Release, path: &std::path::Path| crate::tree::paths::is_note(path);
    let is_orphan = || {
        ctx.trees.changed(&dir);
        installed::look(&ctx.trees, release.clone(), &ours).is_some_and(|found| found.is_orphan(&ours))
    };
    if !is_orphan() {
        return Ok(());
    }
    let _lock = ctx.lock_tree()?;
    // It may have come back meanwhile.
    if !is_orphan() {
        return Ok(());
    }
    let mut change = Change::new(&ctx.trees, format!("clear the directory of the removed kernel {release}"));
    change.remove_dir_all(&dir);
    change.commit()?;
    let of_kernel = format!("@{release}@");
    lock::discard_all(&ctx.trees.locks(), &|name| name.contains(&of_kernel));
    Ok(())
}
