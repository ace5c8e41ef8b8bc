//! Versions that wait for their successor.
//!
//! Shipped prerm scripts call `dkms remove --all` when their package is upgraded, too: before the new version's files are
//! there, let alone built. Then (and when dpkg takes a package out of use for a while) the version is not removed but
//! marked: its source is copied into the tree and `source` pointed there, so that it stays valid, for the classic as well,
//! while dpkg replaces the files in /usr/src.
//!
//! A mark ends in one of three ways, which [`plan_ends`] and [`revivals`] find out: another version is installed for the
//! kernel (this one goes there); the package that it came with is there as it was (nothing goes) or not any more (this
//! version goes everywhere). The same version may also arrive anew ([`adopt`]). A run carries this out in two parts, since
//! what nobody wants may be in the way of what is installed, and what has a successor stays until that is there.

use std::path::Path;

use crate::context::Context;
use crate::durable::{self, NEW};
use crate::error::Error;
use crate::files::copy_tree;
use crate::host::owner::{Owner, OwnerState, Signs};
use crate::initramfs::pending;
use crate::install;
use crate::install::superseded_mark::{load, to_bytes};
use crate::journal::{Change, WorkDir};
use crate::lock::Holder;
use crate::names::Package;
use crate::plan::{Action, Plan, Reason, Registering, Step};
use crate::report::Reporter;
use crate::run::Session;
use crate::tree::walk::{self, Built};
use fs_err as fs;

pub use crate::install::superseded_mark::{Mark, all, is_marked, is_of_other_at, is_outdated, list};

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

/// A version that waits for its successor, and what is known of that.
#[derive(Debug)]
pub struct Waiting {
    /// Its mark.
    pub mark: Mark,
    /// What has become of the package that it came with.
    pub state: OwnerState,
    /// The other versions, that wait for nothing.
    others: Vec<Package>,
}

/// The versions that wait. `over`: all files of the transaction that we are part of are in their places; `arriving`: what is
/// about to be registered.
pub fn waiting(ctx: &Context, over: bool, arriving: &[Package]) -> Vec<Waiting> {
    let look = |mark: Mark| {
        let mut others = others(ctx, &mark.package);
        others.extend(arriving.iter().filter(|other| is_another(other, &mark.package)).cloned());
        let source = ctx.trees.outer(&mark.source).is_dir();
        let signs = Signs { over, successor: !others.is_empty(), source };
        Waiting { state: mark.owner.owner_state(&ctx.world, signs), mark, others }
    };
    list(&ctx.trees).into_iter().filter(|mark| ctx.trees.package_dir(&mark.package).is_dir()).map(look).collect()
}

/// Those that are taken up again before anything is built: their package is there as it was, or has brought them anew.
pub fn revivals<'a>(ctx: &'a Context, waiting: &'a [Waiting]) -> impl Iterator<Item = &'a Waiting> {
    let has_source = |mark: &Mark| ctx.trees.outer(&mark.source).is_dir();
    let comes_back = |state| matches!(state, OwnerState::Unchanged | OwnerState::Reinstalled);
    waiting.iter().filter(move |version| comes_back(version.state) && has_source(&version.mark))
}

/// Takes a version up again.
pub fn revive(ctx: &Context, Waiting { mark, state, .. }: &Waiting) -> Result<(), Error> {
    match state {
        OwnerState::Reinstalled => adopt(ctx, &mark.package, &mark.source).map(|_| ()),
        _ => restore(ctx, mark),
    }
}

/// Adds to `plan` what goes of the versions that wait: all of those whose package is gone, the others from each kernel that
/// has a successor when the plan's steps are done. What nothing is left of is forgotten.
pub fn plan_ends(ctx: &Context, waiting: &[Waiting], plan: &mut Plan) {
    for Waiting { mark, state, others } in waiting {
        let gone = match state {
            OwnerState::Gone => true,
            OwnerState::Replaced => false,
            OwnerState::Undecided | OwnerState::Unchanged | OwnerState::Reinstalled => continue,
        };
        let built = walk::built(&ctx.trees, &mark.package);
        let first = plan.superseded.len();
        for Built { kernel, .. } in &built {
            let comes = |other: &Package| {
                plan.steps.iter().any(|step| step.installs() && step.package == *other && step.kernel == *kernel)
            };
            // What comes replaces what is installed.
            let is_there = |other: &&Package| install::is_installed(ctx, other, kernel);
            let successor = others.iter().find(|other| comes(other)).or_else(|| others.iter().find(is_there)).cloned();
            let reason = match successor {
                _ if gone => Reason::NoOwner,
                Some(other) => Reason::Succeeded(other.version),
                None => continue,
            };
            plan.superseded.push(Step::new(mark.package.clone(), kernel, Action::Remove, reason));
        }
        if plan.superseded.len() - first == built.len() && (gone || !others.is_empty()) {
            plan.registering.push(Registering::Forget(mark.package.clone()));
        }
    }
}

/// Takes out the versions of `plan` whose package is gone: before anything is built, since another package may bring their
/// modules.
pub fn end_gone(session: &Session<'_>, plan: &Plan, reporter: &dyn Reporter) -> Result<(), Error> {
    let gone = |step: &&Step| step.reason == Reason::NoOwner;
    plan.superseded.iter().filter(gone).try_for_each(|step| take_out(session, step, reporter))
}

/// Takes out the versions of `plan` that have a successor now, and forgets those of which nothing is left. The caller holds
/// no lock and runs depmod for the kernels touched.
pub fn end_succeeded(session: &Session<'_>, plan: &Plan, reporter: &dyn Reporter) -> Result<(), Error> {
    let ctx = session.ctx;
    for step in &plan.superseded {
        let Reason::Succeeded(version) = &step.reason else { continue };
        let successor = Package { name: step.package.name.clone(), version: version.clone() };
        // Its step may have failed; then what was to be replaced by it is still there.
        let waits = |package: &Package| plan.superseded.iter().any(|step| step.package == *package);
        let mut others = walk::versions(&ctx.trees, &step.package.name).into_iter().filter(|other| !waits(other));
        let is_there = |other: &Package| install::is_installed(ctx, other, &step.kernel);
        if is_there(&successor) || others.any(|other| is_there(&other)) {
            take_out(session, step, reporter)?;
        }
    }
    for what in &plan.registering {
        let Registering::Forget(package) = what else { continue };
        if walk::built(&ctx.trees, package).is_empty()
            && install::forget(ctx, package, &|holder| log::info!("waiting for {holder}"))?
        {
            forget(ctx, package)?;
        }
    }
    drop_idle_marks(ctx)
}

/// Ends the marks that can end, for those who plan nothing else. Gives true if anything was changed.
pub fn settle(session: &Session<'_>, over: bool, reporter: &dyn Reporter) -> Result<bool, Error> {
    let ctx = session.ctx;
    let waiting = waiting(ctx, over, &[]);
    let mut plan = Plan::default();
    for version in revivals(ctx, &waiting) {
        revive(ctx, version)?;
        plan.registering.push(Registering::Again(version.mark.package.clone(), version.mark.source.clone()));
    }
    plan_ends(ctx, &waiting, &mut plan);
    end_gone(session, &plan, reporter)?;
    end_succeeded(session, &plan, reporter)?;
    Ok(!plan.is_idle())
}

/// Drops the marks that say nothing any more: of versions that arrived anew and were built from what arrived; of what
/// somebody has deleted.
fn drop_idle_marks(ctx: &Context) -> Result<(), Error> {
    for Mark { package, renewed, .. } in all(&ctx.trees) {
        let is_built_anew =
            || !walk::built(&ctx.trees, &package).iter().any(|built| is_outdated(ctx, &package, &built.kernel));
        if !ctx.trees.package_dir(&package).is_dir() || (renewed && is_built_anew()) {
            forget(ctx, &package)?;
        }
    }
    Ok(())
}

fn take_out(session: &Session<'_>, step: &Step, reporter: &dyn Reporter) -> Result<(), Error> {
    let ctx = session.ctx;
    let Step { package, kernel, reason, .. } = step;
    let waiting = |holder: &Holder| log::info!("waiting for {holder}");
    let _locks = (ctx.lock_pair(package, kernel, &waiting)?, ctx.pass_gate(kernel, &waiting)?);
    if install::is_installed(ctx, package, kernel) || ctx.machine.maintainer_script.is_some() {
        pending::note(ctx, package, kernel)?;
    }
    // Nobody asked for these words: the successor's are enough.
    let quiet = crate::report::Buffer::default();
    install::unbuild(session, package, kernel, &quiet)?;
    reporter.line(&format!("Removed {package} from kernel {kernel}: {reason}."));
    Ok(())
}

/// The versions of the same name that are registered and not marked.
fn others(ctx: &Context, package: &Package) -> Vec<Package> {
    let mut others = walk::versions(&ctx.trees, &package.name);
    others.retain(|other| is_another(other, package) && !is_marked(&ctx.trees, other));
    others
}

fn is_another(other: &Package, package: &Package) -> bool {
    other.name == package.name && other.version != package.version
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
    forget(ctx, &mark.package)
}

/// Forgets the mark of `package`, and the source that was kept with it.
pub fn forget(ctx: &Context, package: &Package) -> Result<(), Error> {
    let dir = ctx.trees.superseded(package);
    durable::remove_any(&dir)?;
    durable::prune(&dir, &ctx.trees.own())?;
    ctx.trees.changed(&dir);
    Ok(())
}
