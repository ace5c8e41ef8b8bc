//! Versions that wait for their successor.
//!
//! Shipped prerm scripts call `dkms remove --all` when their package is upgraded, too: before the new version's files are
//! there, let alone built. Then (and when dpkg takes a package out of use for a while) the version is not removed but
//! marked: its source is copied into the tree and `source` pointed there, so that it stays valid, for the classic as well,
//! while dpkg replaces the files in /usr/src.
//!
//! A mark ends in one of three ways, which [`settle`] finds out: another version is installed for the kernel (this one
//! goes there); the package that it came with is there as it was (nothing goes) or not any more (this version goes
//! everywhere). The same version may also arrive anew ([`adopt`]).

use std::path::Path;

use crate::context::Context;
use crate::durable::{self, NEW};
use crate::error::Error;
use crate::files::copy_tree;
use crate::host::owner::{Owner, OwnerState, Signs};
use crate::install;
use crate::install::superseded_mark::{all, load, to_bytes};
use crate::journal::{Change, WorkDir};
use crate::names::{Kernel, Package};
use crate::report::Reporter;
use crate::run::Session;
use crate::tree::walk::{self, Built, Filter};
use fs_err as fs;

pub use crate::install::superseded_mark::{Mark, is_marked, is_of_other, is_outdated, list};

/// `owner` brought files for `package`, which is registered already: its source may be another.
pub fn renew(ctx: &Context, package: &Package, owner: Owner) -> Result<(), Error> {
    let trees = &ctx.trees;
    let mark =
        Mark { package: package.clone(), owner, source: fs::read_link(trees.source_link(package))?, renewed: true };
    let dir = trees.superseded(package);
    durable::own_dirs(&dir)?;
    let _lock = ctx.lock_tree()?;
    let mut change = Change::new(trees, format!("look at {package} anew"));
    change.stage_bytes(to_bytes(&mark)?, 0o644, &dir.join("mark.json"));
    change.commit()?;
    Ok(())
}

/// Marks `package`, which a script of `owner` asked to have removed.
pub fn mark(ctx: &Context, package: &Package, owner: Owner, reporter: &dyn Reporter) -> Result<(), Error> {
    let trees = &ctx.trees;
    let dir = trees.superseded(package);
    let copy = dir.join("source");
    let link = trees.source_link(package);
    let source = fs::read_link(&link)?;
    // The same package may be taken out of use twice, as when its upgrade is tried again.
    let kept = source == trees.shown(&copy);
    let before = load(trees, package).map(|mark| mark.source).filter(|_| kept);
    let mark =
        Mark { package: package.clone(), owner, source: before.unwrap_or_else(|| source.clone()), renewed: false };
    durable::own_dirs(&dir)?;
    // A later run deletes what a killed one left here.
    let work = WorkDir::new(trees)?;
    let stage = dir.join(format!("{NEW}source"));
    let original = trees.source_of(package);
    let staged = !kept && original.is_dir();
    if staged {
        durable::remove_any(&stage)?;
        copy_tree(&original, &stage)?;
    }
    {
        let _lock = ctx.lock_tree()?;
        let mut change = Change::new(trees, format!("keep {package} until its successor is there"));
        change.stage_bytes(to_bytes(&mark)?, 0o644, &dir.join("mark.json"));
        if staged {
            change.replace_dir(&stage, &copy);
            change.stage_symlink(trees.shown(&copy), &link);
        }
        change.commit()?;
    }
    work.remove();
    reporter.line(&format!("Keeping {package} until its successor is installed."));
    Ok(())
}

/// The source of a marked version is there again, at `source` (an inside path): what `add` of it means. Gives false if it
/// was not marked. What was built stays until [`is_outdated`] has it built again.
pub fn adopt(ctx: &Context, package: &Package, source: &Path) -> Result<bool, Error> {
    let trees = &ctx.trees;
    let Some(mark) = load(trees, package).filter(|mark| !mark.renewed) else { return Ok(false) };
    let _lock = ctx.lock_tree()?;
    let mut change = Change::new(trees, format!("take {package} up again"));
    change.stage_symlink(source, &trees.source_link(package));
    let renewed = Mark { renewed: true, ..mark };
    change.stage_bytes(to_bytes(&renewed)?, 0o644, &trees.superseded(package).join("mark.json"));
    change.remove_dir_all(&trees.superseded(package).join("source"));
    change.commit()?;
    Ok(true)
}

/// The marks that end before anything is built: of versions whose package is there as it was, or has brought them anew.
/// `over`: all files of the transaction that we are part of are in their places.
pub fn revivals(ctx: &Context, over: bool) -> Vec<(Mark, OwnerState)> {
    let marks = list(&ctx.trees).into_iter().map(|mark| {
        let state = owner_state(ctx, &mark, over);
        (mark, state)
    });
    let source = |mark: &Mark| ctx.trees.outer(&mark.source).is_dir();
    marks
        .filter(|(mark, state)| matches!(state, OwnerState::Unchanged | OwnerState::Reinstalled) && source(mark))
        .collect()
}

/// Takes a version up again.
pub fn revive(ctx: &Context, mark: &Mark, state: OwnerState) -> Result<(), Error> {
    match state {
        OwnerState::Reinstalled => adopt(ctx, &mark.package, &mark.source).map(|_| ()),
        _ => restore(ctx, mark),
    }
}

fn owner_state(ctx: &Context, mark: &Mark, over: bool) -> OwnerState {
    let successor = !others(ctx, &mark.package).is_empty();
    mark.owner.owner_state(&ctx.world, Signs { over, successor, source: ctx.trees.outer(&mark.source).is_dir() })
}

/// Takes out the versions that nobody waits for: their package is gone. Before anything is built, since another package may
/// bring their modules.
pub fn settle_gone(session: &Session<'_>, over: bool, reporter: &dyn Reporter) -> Result<(), Error> {
    let gone = |mark: &Mark| !mark.renewed && owner_state(session.ctx, mark, over) == OwnerState::Gone;
    for mark in all(&session.ctx.trees).iter().filter(|mark| gone(mark)) {
        settle_one(session, mark, over, reporter)?;
    }
    Ok(())
}

/// Ends the marks that can end. The caller holds no lock and runs depmod for the kernels touched. Gives true if anything
/// was changed.
pub fn settle(session: &Session<'_>, reporter: &dyn Reporter) -> Result<bool, Error> {
    settle_at(session, session.ctx.machine.rpm_scriptlet.is_none(), reporter)
}

/// The same where the caller knows better whether all files of the transaction are in their places (`over`).
pub fn settle_at(session: &Session<'_>, over: bool, reporter: &dyn Reporter) -> Result<bool, Error> {
    let mut changed = false;
    for mark in all(&session.ctx.trees) {
        changed |= settle_one(session, &mark, over, reporter)?;
    }
    Ok(changed)
}

fn settle_one(session: &Session<'_>, mark: &Mark, over: bool, reporter: &dyn Reporter) -> Result<bool, Error> {
    let ctx = session.ctx;
    let package = &mark.package;
    let built = built(ctx, package);
    if !ctx.trees.package_dir(package).is_dir() {
        drop_mark(ctx, package)?;
        return Ok(false);
    }
    if mark.renewed {
        if !built.iter().any(|built| is_outdated(ctx, package, &built.kernel)) {
            drop_mark(ctx, package)?;
        }
        return Ok(false);
    }
    match owner_state(ctx, mark, over) {
        OwnerState::Undecided => Ok(false),
        OwnerState::Unchanged => restore(ctx, mark).map(|()| true),
        OwnerState::Reinstalled => adopt(ctx, package, &mark.source),
        OwnerState::Replaced => end(session, mark, &built, false, reporter),
        OwnerState::Gone => end(session, mark, &built, true, reporter),
    }
}

/// Takes the version out where it has a successor, or everywhere if it is gone; forgets it when nothing is left.
fn end(
    session: &Session<'_>,
    mark: &Mark,
    built: &[Built],
    gone: bool,
    reporter: &dyn Reporter,
) -> Result<bool, Error> {
    let ctx = session.ctx;
    let package = &mark.package;
    let others = others(ctx, package);
    let mut changed = false;
    for kernel in built.iter().map(|built| &built.kernel) {
        let replaced = others.iter().any(|other| install::is_installed(ctx, other, kernel));
        if replaced || gone {
            take_out(session, package, kernel, reporter)?;
            changed = true;
        }
    }
    if self::built(ctx, package).is_empty() && (gone || !others.is_empty()) {
        if install::forget(ctx, package, &|holder| log::info!("waiting for {holder}"))? {
            drop_mark(ctx, package)?;
        }
        changed = true;
    }
    Ok(changed)
}

fn take_out(session: &Session<'_>, package: &Package, kernel: &Kernel, reporter: &dyn Reporter) -> Result<(), Error> {
    let ctx = session.ctx;
    let _lock = ctx.lock_pair(package, kernel, &|holder| log::info!("waiting for {holder}"))?;
    let evaluate = || {
        let facts = session.facts.kernel(kernel)?;
        session.facts.evaluate(package, &facts, None, false)
    };
    if install::is_installed(ctx, package, kernel) || ctx.machine.maintainer_script.is_some() {
        super::initramfs_pending::note(ctx, package, kernel)?;
    }
    // Nobody asked for these words: the successor's are enough.
    let quiet = crate::report::Buffer::default();
    if install::unbuild(ctx, package, kernel, &evaluate, &quiet)? {
        session.touched(&kernel.release);
    }
    reporter.line(&format!("Removed {package} from kernel {kernel}: it has a successor, or is no longer installed."));
    Ok(())
}

/// The versions of the same name that are registered and not marked.
fn others(ctx: &Context, package: &Package) -> Vec<Package> {
    let filter = Filter { name: Some(package.name.to_string()), ..Filter::default() };
    walk::walk(&ctx.trees, &filter)
        .packages
        .into_iter()
        .map(|entry| entry.package)
        .filter(|other| other != package && !is_marked(&ctx.trees, other))
        .collect()
}

fn built(ctx: &Context, package: &Package) -> Vec<Built> {
    walk::walk(&ctx.trees, &Filter::package(package)).packages.into_iter().flat_map(|entry| entry.built).collect()
}

/// All is as it was: `source` leads to where it did, if that is there.
fn restore(ctx: &Context, mark: &Mark) -> Result<(), Error> {
    let trees = &ctx.trees;
    if !trees.outer(&mark.source).is_dir() {
        return Ok(());
    }
    {
        let _lock = ctx.lock_tree()?;
        let mut change = Change::new(trees, format!("take {} up again", mark.package));
        change.stage_symlink(&mark.source, &trees.source_link(&mark.package));
        change.commit()?;
    }
    drop_mark(ctx, &mark.package)
}

/// Forgets the mark, and the source that was kept with it.
fn drop_mark(ctx: &Context, package: &Package) -> Result<(), Error> {
    let dir = ctx.trees.superseded(package);
    durable::remove_any(&dir)?;
    durable::prune(&dir, &ctx.trees.own())?;
    ctx.trees.changed(&dir);
    Ok(())
}

/// Ends the mark of a version that was just removed for good.
pub fn forget(ctx: &Context, package: &Package) -> Result<(), Error> {
    drop_mark(ctx, package)
}
