//! Mending what was found: by the same changes, steps and runs that every other command uses.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use super::{Finding, Repair, check};
use crate::context::Context;
use crate::durable;
use crate::error::Error;
use crate::execute::{self, Voice};
use crate::journal::Change;
use crate::names::{Kernel, Package, Release};
use crate::plan::Step;
use crate::reconcile::{self, How, Scope, initramfs};
use crate::report::Reporter;
use crate::run::Session;
use crate::tree::manifest::KernelManifest;

/// How often it is looked again: what is mended may show what was behind it.
const ROUNDS: usize = 3;

/// Mends what can be mended, and looks again. Gives what is left.
pub fn repair(session: &Session<'_>, mut found: Vec<Finding>, reporter: &dyn Reporter) -> Result<Vec<Finding>, Error> {
    let mut done: Vec<Finding> = Vec::new();
    session.heal(reporter)?;
    for _ in 0..ROUNDS {
        // What was tried in vain is not tried again.
        let now: Vec<Finding> =
            found.iter().filter(|finding| finding.can_be_mended() && !done.contains(finding)).cloned().collect();
        if now.is_empty() {
            break;
        }
        round(session, &now, reporter)?;
        done.extend(now);
        found = check(session)?;
    }
    Ok(found)
}

fn round(session: &Session<'_>, found: &[Finding], reporter: &dyn Reporter) -> Result<(), Error> {
    let ctx = session.ctx;
    let mut steps: Vec<Step> = Vec::new();
    let mut kernels: BTreeSet<Kernel> = BTreeSet::new();
    let (mut all, mut images) = (false, false);
    for finding in found {
        match &finding.repair {
            // Healing has done it, or says why it can't.
            Repair::Finish | Repair::ByHand(_) => {}
            Repair::Delete => delete(ctx, finding)?,
            Repair::Link(source) => link(ctx, finding.package.as_ref(), source)?,
            Repair::Step(step) => {
                if !steps.contains(step) {
                    steps.push(step.clone());
                }
            }
            Repair::Reconcile(Some(kernel)) => drop(kernels.insert(kernel.clone())),
            Repair::Reconcile(None) => all = true,
            Repair::Forget(release) => forget(ctx, release)?,
            Repair::Depmod(release) => session.touched(release),
            Repair::Initramfs => images = true,
        }
    }
    let mut results = execute::run::without_depmod(session, &steps, Voice::Plan, reporter);
    execute::run::depmod_once(session, &steps, &mut results, reporter);
    execute::run::depmods(session, reporter);
    if all || !kernels.is_empty() {
        let scope = if all { Scope::All } else { Scope::Kernels(kernels.into_iter().collect()) };
        reconcile::reconcile(session, &scope, How::default(), reporter)?;
    } else if images {
        for (release, why) in initramfs::settle(ctx, reporter) {
            reporter.warning(&[&format!("The initramfs of kernel {release} could not be made anew: {why}")]);
        }
    }
    Ok(())
}

/// Deletes what is ours and of no use any more.
fn delete(ctx: &Context, finding: &Finding) -> Result<(), Error> {
    let Some(path) = finding.path.as_ref().map(|path| ctx.trees.root.outer_nofollow(path)) else { return Ok(()) };
    let _lock = ctx.lock_tree()?;
    durable::remove_any(&path)?;
    if let Some(parent) = path.parent() {
        // An empty directory of a name or of a kernel says nothing, either.
        let own = ctx.trees.own();
        let area = parent.strip_prefix(&own).ok().and_then(|below| below.iter().next());
        durable::prune(parent, &area.map_or(ctx.trees.dkms.outer.clone(), |area| own.join(area)))?;
        durable::sync(parent.ancestors().find(|dir| dir.exists()).unwrap_or(Path::new("/")))?;
    }
    ctx.trees.changed(&path);
    Ok(())
}

fn link(ctx: &Context, package: Option<&Package>, source: &Path) -> Result<(), Error> {
    let Some(package) = package else { return Ok(()) };
    let _lock = ctx.lock_tree()?;
    let mut change = Change::new(&ctx.trees, format!("link {package} to its source"));
    change.stage_symlink(source, &ctx.trees.source_link(package));
    Ok(change.commit()?)
}

/// Takes out of a kernel's manifest what is not there any more.
fn forget(ctx: &Context, release: &Release) -> Result<(), Error> {
    let _lock = ctx.lock_tree()?;
    let Some(beside) = KernelManifest::beside(&ctx.trees, release)? else { return Ok(()) };
    let mut beside = Arc::unwrap_or_clone(beside);
    beside.drop_stale(&ctx.trees, release);
    let mut change = Change::new(&ctx.trees, format!("take out of the manifest of {release} what is not there"));
    change.stage_kernel_manifest(release, &beside);
    Ok(change.commit()?)
}
