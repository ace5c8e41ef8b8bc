//! The artefact of what was built before, or elsewhere, or for another kernel: signed, compressed and put in place as of a build.

use crate::context::Context;
use crate::finish::{self, Enter, Harvest};
use crate::report::Reporter;
use crate::results::{Entry, Results};
use crate::reuse::Policy;
use crate::run::target::Target;
use crate::sign::signing::Signing;
use crate::tree::manifest::{CachedResult, Manifest, Reused};
use crate::workdir;
use crate::workdir::build_log::Log;

use super::error::Error;

/// What is taken.
pub(super) struct Taken {
    pub entry: Entry,
    /// Where from, in words.
    pub whence: String,
    /// It was built for another kernel.
    pub reused: Option<Reused>,
}

/// Makes the artefact and puts it in place; `None` if there is a module that is none, which is dropped then.
pub(super) fn put(
    ctx: &Context,
    target: &Target,
    results: &Results<'_>,
    taken: Taken,
    signing: &Signing,
    enter: Enter<'_>,
    reporter: &dyn Reporter,
) -> Result<Option<Manifest>, Error> {
    let Taken { entry, whence, reused } = taken;
    let Entry { key, built_at, modules, symvers, log: old, .. } = entry;
    let key = key.digest().map_err(std::io::Error::other)?;
    let date = crate::clock::date(u64::try_from(built_at).unwrap_or_default());
    match &reused {
        None => reporter.line(&format!("Taken from the {whence}, built on {date}.")),
        Some(Reused { from, .. }) => {
            let same = enough(policy(ctx, target));
            reporter.line(&format!("Reused from kernel {from}, built on {date}: {same} for this kernel."));
        }
    }
    let from = reused.as_ref().map(|reused| reused.from.clone());
    let harvest = Harvest { modules, exports: symvers };
    let result = CachedResult { key: key.clone(), taken: Some(built_at), reused, differs: None };
    let finished = match finish::finish(ctx, target, &harvest, None, signing, Some(result), reporter) {
        Err(error @ finish::Error::NotAModule { .. }) => {
            log::warn!("the result cache is passed over: {error}");
            results.drop(&key);
            return Ok(None);
        }
        other => other?,
    };
    let path = finished.scratch().join("make.log");
    let mut log = Log::begin(&path, &target.package, &target.kernel, &crate::clock::date(ctx.now))?;
    match &from {
        None => log.taken(&date, &old)?,
        Some(from) => log.reused(from, &date, enough(policy(ctx, target)), &old)?,
    }
    let manifest = finished.put(ctx, target, enter)?.keep(ctx, target, &log, reporter)?;
    // That of an earlier failure is as outdated as after a build.
    workdir::forget(ctx, &target.package);
    Ok(Some(manifest))
}

/// What is enough for modules to be used again.
pub(super) fn policy(ctx: &Context, target: &Target) -> Policy {
    target.evaluated.conf.reuse.unwrap_or(ctx.framework.reuse)
}

/// What is the same if modules are used again.
fn enough(policy: Policy) -> &'static str {
    match policy {
        Policy::Symbols => "the checksums of all symbols that it imports are the same",
        Policy::Never | Policy::Proven => "all that the build has read is the same",
    }
}
