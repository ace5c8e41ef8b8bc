//! What is taken from the share where nothing is built (`build_locally="never"`), and where perhaps nothing can be: there is no
//! compiler, or there are no headers, so that nobody knows what a build here would follow from.
//!
//! Instead of its key, a result is known by its outline: of this source, for this very build of the kernel. Who has signed it is trusted
//! to have built it rightly; that it is for this kernel is looked at once more, in the module itself.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use super::command::for_one_job;
use super::environment::{environment, network, path_is_ours};
use super::error::Error;
use super::reuse::unseen_by_all;
use super::taken::{self, Taken};
use crate::context::Context;
use crate::elf::symbols::Symbols;
use crate::finish::Enter;
use crate::loadable::index::module_name;
use crate::loadable::stranger;
use crate::report::Reporter;
use crate::results::{Entry, Outline, Results};
use crate::run::target::Target;
use crate::share::Share;
use crate::sign::signing::Signing;
use crate::tree::manifest::Manifest;
use crate::workdir::privilege;

/// The artefact's manifest; or why there is none, in a line, if it is more than that the share has none.
type Outcome = Result<Manifest, Option<String>>;

/// Takes what a trusted builder has made of `target`, and puts it in place.
pub(super) fn take(
    ctx: &Context,
    target: &Target,
    is_demoted: bool,
    signing: &Signing,
    enter: Enter<'_>,
    reporter: &dyn Reporter,
) -> Result<Outcome, Error> {
    let (Some(results), Some(share)) = (Results::of(ctx), Share::of(ctx)) else { return Ok(Err(None)) };
    let entry = match fetch(ctx, target, is_demoted, &results, &share, reporter) {
        Ok(entry) => entry,
        Err(why) => return Ok(Err(why)),
    };
    let whence = format!("share {}, for this build of the kernel", share.address());
    let taken = Taken { entry, whence, reused: None };
    let manifest = taken::put(ctx, target, &results, taken, signing, enter, reporter)?;
    Ok(manifest.ok_or_else(|| Some("What it has is no module.".to_owned())))
}

fn fetch(
    ctx: &Context,
    target: &Target,
    is_demoted: bool,
    results: &Results<'_>,
    share: &Share<'_>,
    reporter: &dyn Reporter,
) -> Result<Entry, Option<String>> {
    let unknown = |why: String| Some(format!("What is to be looked for can't be known: {why}."));
    if let Some(why) = unseen_by_all(ctx, target, network(ctx, target).as_deref()) {
        return Err(unknown(why.to_string()));
    }
    let place = ctx.world.called(&ctx.trees, &ctx.trees.build_dir(&target.package));
    let environment = environment(target, privilege::environment(ctx, is_demoted));
    if !path_is_ours(ctx, &environment) {
        return Err(Some("Its build has a PATH of its own.".to_owned()));
    }
    let make = for_one_job(&target.evaluated.recipe.make, &target.kernel.release, false);
    let outline = Outline::of(ctx, target, &make, &environment, &place).map_err(unknown)?;
    let digest = outline.digest().map_err(|error| unknown(error.to_string()))?;
    let what = format!("{} for kernel {}", target.package, target.kernel);
    let key = share.pull_like(&digest, &what, reporter)?.ok_or(None)?;
    let entry = results.find(&key).ok_or(None)?;
    fits(ctx, target, &entry, &outline, &place).map_err(|why| {
        results.drop(&key);
        reporter.warning(&[&format!("what the share has of {what} is not used: {why}.")]);
        Some(format!("What it has is not used: {why}."))
    })?;
    Ok(entry)
}

/// Whether the kernel here is the one that `entry` was built for, as far as that can be seen.
fn fits(ctx: &Context, target: &Target, entry: &Entry, outline: &Outline, place: &Path) -> Result<(), String> {
    if Outline::of_key(&entry.key).as_ref() != Some(outline) {
        return Err("it was built from something else".to_owned());
    }
    entry.fits_place(place)?;
    // They may need each other.
    let mut own = BTreeMap::new();
    for (module, bytes) in entry.key.modules.iter().zip(&entry.modules) {
        let symbols = Symbols::parse(bytes).map_err(|error| format!("{}: {error}", module.file))?;
        own.insert(module_name(Path::new(&module.file)), Arc::new(symbols));
    }
    let kernel = stranger::Kernel::of(&ctx.trees, &target.kernel);
    for (module, bytes) in entry.key.modules.iter().zip(&entry.modules) {
        kernel.takes(Path::new(&module.file), bytes, &own).map_err(|why| format!("{}: {why}", module.file))?;
    }
    Ok(())
}
