//! Versions that went where this tree could not hear of it: a snapshot of transactional-update upgraded or removed the
//! package, and `/var`, which is not part of it, still has the version registered, built and linked. Its source is gone,
//! and so are its modules, or another version has their place.

use super::orphan;
use crate::context::Context;
use crate::error::Error;
use crate::install::{self, artefact};
use crate::names::{Kernel, Package};
use crate::report::{Buffer, Event, Reporter};
use crate::run::Session;
use crate::superseded;
use crate::tree::beside;
use crate::tree::manifest::KernelManifest;
use crate::tree::walk::{PackageEntry, Source};

/// Whether the kernels bear out that this is no accident of its source: some kernel had it and has it no more, and none has
/// it still.
pub(crate) fn has_vanished(ctx: &Context, entry: &PackageEntry) -> Result<bool, Error> {
    let package = &entry.package;
    if ctx.trees.is_another || entry.source != Source::Broken || superseded::is_marked(&ctx.trees, package) {
        return Ok(false);
    }
    let mut proven = false;
    for built in &entry.built {
        if beside::successor(&ctx.trees, package, &built.kernel).is_some() {
            proven = true;
        } else if built.installed {
            if is_there(ctx, package, &built.kernel)? {
                return Ok(false);
            }
            proven = true;
        }
    }
    Ok(proven)
}

/// Whether any module of it is beside the kernel's. Of what the classic installed, which left no manifest, nothing can be
/// told without dkms.conf: then it is.
fn is_there(ctx: &Context, package: &Package, kernel: &Kernel) -> Result<bool, Error> {
    let dir = ctx.trees.modules_dir(&kernel.release);
    let beside = KernelManifest::beside(&ctx.trees, &kernel.release)?.unwrap_or_default();
    if let Some(entry) = beside.find(package, &kernel.arch) {
        return Ok(entry.files.iter().any(|file| std::fs::symlink_metadata(file.outer(&dir)).is_ok()));
    }
    let Some(manifest) = artefact::manifest(ctx, package, kernel)? else { return Ok(true) };
    let files = install::files_of(ctx, kernel, manifest.modules.clone());
    Ok(files.iter().any(|file| install::is_ours(file, &file.outer(&dir))))
}

/// Forgets one of them. If that fails it says so, and the next run looks at it again.
pub(super) fn forget(session: &Session<'_>, entry: &PackageEntry, reporter: &dyn Reporter) {
    match forget_one(session, entry) {
        Ok(true) => reporter.report(Event::Note(format!(
            "dkms: {} is forgotten: its source is gone, and so are its modules",
            entry.package
        ))),
        Ok(false) => {}
        Err(error) => reporter.report(Event::Error(error.lines())),
    }
}

fn forget_one(session: &Session<'_>, entry: &PackageEntry) -> Result<bool, Error> {
    // Its modules are not there: what would be said of each would only mislead.
    let quiet = Buffer::default();
    for built in &entry.built {
        orphan::unbuild(session, &entry.package, &built.kernel, &quiet)?;
    }
    Ok(install::forget(session.ctx, &entry.package, &|holder| log::info!("waiting for {holder}"))?)
}
