//! The initramfs step: once for each kernel whose modules changed, where it may matter.
//! Modules that were taken out, or put in, while a package manager worked leave a note ([`pending`]): the image that lists one of them is
//! renewed, too.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::{How, Initramfs};
use crate::context::Context;
use crate::error::{Error, StepError};
use crate::execute::Done;
use crate::host::initramfs::Tool;
use crate::initramfs::image::{self, Failure};
use crate::initramfs::{list, pending};
use crate::install;
use crate::loadable::gather::Loadable;
use crate::loadable::image_names::{self, ImageNames};
use crate::names::Release;
use crate::plan::{Action, Because, FollowUp, Overdue, Plan, Reason, Step};
use crate::process::stop;
use crate::report::{Event, Reporter};
use crate::run::follow_up::Note;
use crate::tree::manifest::{Installed, KernelManifest};

/// Renews the initramfs of the kernels that `results` changed, and those that are overdue. A kernel without one gets none:
/// somebody decided so. Gives the kernels for which that failed.
pub(super) fn renew(
    ctx: &Context,
    plan: &Plan,
    results: &[Option<Result<Done, Error>>],
    who: Initramfs,
    reporter: &dyn Reporter,
) -> Vec<(Release, String)> {
    let listed = refresh(ctx, plan);
    match who {
        Initramfs::Auto | Initramfs::AtEnd => {}
        Initramfs::Later => {
            for release in plan.steps.iter().map(|step| &step.kernel.release) {
                pending::forget(&ctx.trees, release);
                close(ctx, release, &|_| true);
            }
            return Vec::new();
        }
        Initramfs::Never => return Vec::new(),
    }
    let mut changed: BTreeMap<&Release, Vec<&Step>> = BTreeMap::new();
    for (step, result) in plan.steps.iter().zip(results) {
        if matches!(result, Some(Ok(Done::Installed))) && step.action != Action::Remove {
            changed.entry(&step.kernel.release).or_default().push(step);
        }
    }
    let matters = changed.into_iter().filter(|(release, steps)| matters(ctx, release, steps));
    let mut releases: BTreeSet<Release> = matters.map(|(release, _)| release.clone()).collect();
    // What was installed and would not be loaded, or is not in the index, stays out of the image for now; the next run looks at it
    // again.
    let is_doubtful = |error: &Error| {
        matches!(error, Error::Step(StepError::NotLoadable { .. }) | Error::Install(install::Error::Depmod { .. }))
    };
    let doubtful: BTreeSet<&Release> = (plan.steps.iter().zip(results))
        .filter(|(_, result)| matches!(result, Some(Err(error)) if is_doubtful(error)))
        .map(|(step, _)| &step.kernel.release)
        .collect();
    // Now we know which kernels that this run has noted need a new one.
    for release in plan.steps.iter().map(|step| &step.kernel.release).filter(|release| !doubtful.contains(release)) {
        close(ctx, release, &|note| note.is_own() && !releases.contains(&note.release));
    }
    let outdated =
        plan.overdue.iter().filter(|overdue| overdue.what == FollowUp::Initramfs && overdue.why == Because::Outdated);
    releases.extend(outdated.map(|overdue| overdue.kernel.clone()));
    releases.extend(listed);
    if who == Initramfs::AtEnd {
        for release in &releases {
            pending::note_whatever(&ctx.trees, release);
            close(ctx, release, &Note::is_own);
        }
        return Vec::new();
    }
    releases.extend(overdue(ctx));
    make(ctx, &releases, reporter)
}

/// Notes, before modules change, which kernels' images may have to be renewed when they have: whoever is killed meanwhile
/// leaves it to the next run.
pub(super) fn note(ctx: &Context, plan: &Plan) -> Result<(), Error> {
    let mut names: BTreeMap<&Release, BTreeSet<String>> = BTreeMap::new();
    for step in plan.steps.iter().filter(|step| step.installs() || step.action == Action::Sign) {
        let release = &step.kernel.release;
        let beside = KernelManifest::beside(&ctx.trees, release)?;
        let entry = beside.as_ref().and_then(|beside| beside.find_name(&step.package.name, &step.kernel.arch));
        let names = names.entry(release).or_default();
        // What was not there when the image was made may belong into it.
        let is_there = |entry: &&Installed| {
            let dir = ctx.trees.modules_dir(release);
            entry.files.iter().all(|file| std::fs::symlink_metadata(file.outer(&dir)).is_ok())
        };
        match entry.filter(|_| !matches!(step.reason, Reason::Missing)).filter(is_there) {
            Some(entry) => names.extend(entry.files.iter().map(|file| file.name.clone())),
            None => names.extend([pending::WHATEVER.to_owned()]),
        }
    }
    names.retain(|release, _| image::of(ctx, release).is_some());
    for (release, names) in names {
        FollowUp::Initramfs.note(&ctx.trees, release, &names.into_iter().collect::<Vec<_>>().join("\n"))?;
    }
    Ok(())
}

/// The kernels of `plan` whose image is older than the installed modules, and holds others or lacks some. The boot unit does not
/// try what may have failed before.
pub(super) fn outdated(ctx: &Context, plan: &Plan, how: How<'_>) -> Vec<Overdue> {
    if how.initramfs != Initramfs::Auto || how.spare_known_failures || Tool::of(&ctx.trees.root).is_none() {
        return Vec::new();
    }
    let loadable = Loadable::new(&ctx.trees);
    let kernels: BTreeSet<&Release> = plan.steps.iter().map(|step| &step.kernel.release).collect();
    let old = kernels.into_iter().filter(|release| loadable.has_old_image(release));
    old.map(|release| Overdue { kernel: release.clone(), what: FollowUp::Initramfs, why: Because::Outdated }).collect()
}

/// Remembers which modules are in those images of `plan`'s kernels that stay older than the installed modules: `status` would
/// have to read them each time.
pub(super) fn remember(ctx: &Context, plan: &Plan, who: Initramfs) {
    image_names::forget_gone(&ctx.trees);
    if who != Initramfs::Auto || Tool::of(&ctx.trees.root).is_none() {
        return;
    }
    let changed = |path: &Path| std::fs::metadata(path).and_then(|meta| meta.modified()).ok();
    let releases: BTreeSet<&Release> = plan.steps.iter().map(|step| &step.kernel.release).collect();
    for release in releases {
        let Some(path) = image::of(ctx, release) else { continue };
        if changed(&path) < changed(&ctx.trees.kernel_manifest(release)) {
            ImageNames::remember(&ctx.trees, release, &path);
        }
    }
}

/// Makes the lists of what belongs into the images right. Gives the kernels whose list was not.
fn refresh(ctx: &Context, plan: &Plan) -> BTreeSet<Release> {
    let mut releases: BTreeSet<Release> = plan.steps.iter().map(|step| step.kernel.release.clone()).collect();
    releases.retain(|release| {
        list::refresh(ctx, release).unwrap_or_else(|error| {
            log::warn!("{error}");
            false
        })
    });
    releases
}

/// Renews the images that are overdue. Gives the kernels for which that failed.
pub fn settle(ctx: &Context, reporter: &dyn Reporter) -> Vec<(Release, String)> {
    make(ctx, &overdue(ctx), reporter)
}

/// Deletes the notes of a kernel for which `which` holds.
fn close(ctx: &Context, release: &Release, which: &dyn Fn(&Note) -> bool) {
    for note in FollowUp::Initramfs.notes(&ctx.trees, release).into_iter().filter(which) {
        if let Err(error) = note.forget() {
            log::warn!("{error}");
        }
    }
}

/// The kernels whose image lists what was taken out of them, or was changed by a run that did not come to renew it. A note that
/// is out of date is forgotten.
fn overdue(ctx: &Context) -> BTreeSet<Release> {
    let mut overdue = BTreeSet::new();
    let mut noted: BTreeMap<Release, Vec<String>> = pending::all(&ctx.trees).into_iter().collect();
    for note in FollowUp::Initramfs.left(&ctx.trees) {
        let names = names_of(&note);
        noted.entry(note.release).or_default().extend(names);
    }
    for (release, names) in noted {
        let tool = Tool::of(&ctx.trees.root);
        let image = image::of(ctx, &release);
        let whatever = names.iter().any(|name| name == pending::WHATEVER);
        if tool.zip(image).is_some_and(|(tool, image)| whatever || image::lists(ctx, tool, &image, &names)) {
            overdue.insert(release);
        } else {
            pending::forget(&ctx.trees, &release);
            close(ctx, &release, &|note| !note.is_own());
        }
    }
    overdue
}

/// The names of modules in a note; one that can't be read may have all.
fn names_of(note: &Note) -> Vec<String> {
    let text = note.text().unwrap_or_else(|| pending::WHATEVER.to_owned());
    text.lines().map(str::to_owned).collect()
}

/// Makes the images of `releases` anew.
fn make(ctx: &Context, releases: &BTreeSet<Release>, reporter: &dyn Reporter) -> Vec<(Release, String)> {
    let mut failures = Vec::new();
    let Some(tool) = Tool::of(&ctx.trees.root) else { return failures };
    for release in releases {
        let Some(image) = image::of(ctx, release) else { continue };
        if stop::requested().is_some() {
            // Its note stays.
            reporter.warning(&[&format!(
                "The initramfs of kernel {release} is still to be renewed. To do it: dkms reconcile"
            )]);
            continue;
        }
        reporter.report(Event::Part(format!("Renewing the initramfs of kernel {release}...")));
        match image::renew(ctx, tool, release, &image) {
            Ok(()) => {
                reporter.line(&" done.");
                pending::forget(&ctx.trees, release);
                close(ctx, release, &|_| true);
            }
            Err(failure) => {
                reporter.line(&" failed.");
                // Another try would leave out again what the administrator's configuration leaves out.
                if let Failure::Generator(_) = failure {
                    pending::note_whatever(&ctx.trees, release);
                }
                close(ctx, release, &|_| true);
                let (Failure::Generator(why) | Failure::Content(why)) = failure;
                failures.push((release.clone(), why));
            }
        }
    }
    failures
}

/// Whether the image may hold a module that changed. A package that was not there when the image was made may
/// belong into it; of one that was, the image tells. In doubt: yes.
fn matters(ctx: &Context, release: &Release, steps: &[&Step]) -> bool {
    let (Some(tool), Some(image)) = (Tool::of(&ctx.trees.root), image::of(ctx, release)) else { return false };
    let mut own = FollowUp::Initramfs.notes(&ctx.trees, release).into_iter().filter(Note::is_own);
    if own.any(|note| names_of(&note).iter().any(|name| name == pending::WHATEVER)) {
        return true;
    }
    let Ok(Some(beside)) = KernelManifest::beside(&ctx.trees, release) else { return true };
    let mut names = Vec::new();
    for step in steps {
        match beside.find(&step.package, &step.kernel.arch) {
            Some(entry) => names.extend(entry.files.iter().map(|file| file.name.clone())),
            None => return true,
        }
    }
    image::lists(ctx, tool, &image, &names)
}
