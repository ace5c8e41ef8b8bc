//! The initramfs step: once for each kernel whose modules changed, where it may matter.
//! Modules that were taken out while a package manager worked leave a note ([`initramfs_pending`]): the image that lists one of them is
//! renewed, too.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::Initramfs;
use super::initramfs_pending;
use crate::context::Context;
use crate::error::Error;
use crate::execute::Done;
use crate::host::headers_package::pkgbase;
use crate::host::initramfs::{Tool, image};
use crate::names::Release;
use crate::plan::{Action, Plan, Reason, Step};
use crate::process::{self, Output};
use crate::report::{Event, Reporter};
use crate::tree::manifest::KernelManifest;

/// Renews the initramfs of the kernels that `results` changed or that are owed one. A kernel without one gets none:
/// somebody decided so. Gives the kernels for which that failed.
pub(super) fn renew(
    ctx: &Context,
    plan: &Plan,
    results: &[Option<Result<Done, Error>>],
    who: Initramfs,
    reporter: &dyn Reporter,
) -> Vec<(Release, String)> {
    if who != Initramfs::Auto {
        if who == Initramfs::Later {
            plan.steps.iter().for_each(|step| initramfs_pending::forget(&ctx.trees, &step.kernel.release));
        }
        return Vec::new();
    }
    let mut changed: BTreeMap<&Release, Vec<&Step>> = BTreeMap::new();
    for (step, result) in plan.steps.iter().zip(results) {
        if matches!(result, Some(Ok(Done::Installed))) && step.action != Action::Remove {
            changed.entry(&step.kernel.release).or_default().push(step);
        }
    }
    let matters = changed.into_iter().filter(|(release, steps)| matters(ctx, release, steps));
    let mut releases: BTreeSet<Release> = matters.map(|(release, _)| release.clone()).collect();
    releases.extend(owed(ctx));
    make(ctx, &releases, reporter)
}

/// Renews what is owed. Gives the kernels for which that failed.
pub fn settle(ctx: &Context, reporter: &dyn Reporter) -> Vec<(Release, String)> {
    make(ctx, &owed(ctx), reporter)
}

/// The kernels whose image lists what was taken out of them. A note that is out of date is forgotten.
fn owed(ctx: &Context) -> BTreeSet<Release> {
    let mut owed = BTreeSet::new();
    for (release, names) in initramfs_pending::all(&ctx.trees) {
        let tool = Tool::of(&ctx.trees.root);
        let image = image_of(ctx, &release);
        let whatever = names.iter().any(|name| name == initramfs_pending::WHATEVER);
        if tool.zip(image).is_some_and(|(tool, image)| whatever || lists(ctx, tool, &image, &names)) {
            owed.insert(release);
        } else {
            initramfs_pending::forget(&ctx.trees, &release);
        }
    }
    owed
}

fn image_of(ctx: &Context, release: &Release) -> Option<PathBuf> {
    image(&ctx.trees.root, release, pkgbase(&ctx.trees.modules_dir(release)).as_deref())
}

/// Makes the images of `releases` anew.
fn make(ctx: &Context, releases: &BTreeSet<Release>, reporter: &dyn Reporter) -> Vec<(Release, String)> {
    let mut failures = Vec::new();
    let Some(tool) = Tool::of(&ctx.trees.root) else { return failures };
    for release in releases {
        let Some(image) = image_of(ctx, release) else { continue };
        reporter.report(Event::Part(format!("Renewing the initramfs of kernel {release}...")));
        match run(ctx, tool, release, &image) {
            Ok(()) => {
                reporter.line(&" done.");
                initramfs_pending::forget(&ctx.trees, release);
            }
            Err(why) => {
                reporter.line(&" failed.");
                initramfs_pending::note_failure(&ctx.trees, release);
                failures.push((release.clone(), why));
            }
        }
    }
    failures
}

/// Whether the image may hold a module that changed. A package that was not there when the image was made may
/// belong into it; of one that was, the image tells. In doubt: yes.
fn matters(ctx: &Context, release: &Release, steps: &[&Step]) -> bool {
    let (Some(tool), Some(image)) = (Tool::of(&ctx.trees.root), image_of(ctx, release)) else { return false };
    if steps.iter().any(|step| matches!(step.reason, Reason::Missing)) {
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
    lists(ctx, tool, &image, &names)
}

/// Whether the image holds a module of one of these names. In doubt: yes.
fn lists(ctx: &Context, tool: Tool, image: &Path, names: &[String]) -> bool {
    let lister = match tool {
        Tool::InitramfsTools => "lsinitramfs",
        Tool::Dracut => "lsinitrd",
        Tool::Mkinitcpio => "lsinitcpio",
    };
    let called = ctx.world.called(&ctx.trees, image);
    let mut task = ctx.world.task([Path::new(lister), &called], Path::new("/"));
    // The list of a large image is longer than what Capture keeps: what is looked for must not fall out.
    task.argv = [
        "bash",
        "--norc",
        "--noprofile",
        "-c",
        "set -o pipefail; \"$0\" \"$1\" | { grep -oE '[^/ ]+\\.ko(\\.[a-z]+)?' || [ $? = 1 ]; }",
    ]
    .map(Into::into)
    .into_iter()
    .chain([lister.into(), called.into_os_string()])
    .collect();
    task.output = Output::Capture;
    match process::run(task) {
        Ok(end) if end.status.success() => {
            let text = end.text();
            let same = |file: &str, name: &str| {
                file.split(".ko").next().is_some_and(|module| module.replace('-', "_") == name.replace('-', "_"))
            };
            text.lines().any(|file| names.iter().any(|name| same(file, name)))
        }
        Ok(_) | Err(_) => true,
    }
}

fn run(ctx: &Context, tool: Tool, release: &Release, image: &Path) -> Result<(), String> {
    let called = ctx.world.called(&ctx.trees, image).display().to_string();
    let release = release.to_string();
    let argv: Vec<String> = match tool {
        Tool::InitramfsTools => ["update-initramfs", "-u", "-k", &release].map(String::from).to_vec(),
        Tool::Dracut => ["dracut", "--force", "--quiet", &called, &release].map(String::from).to_vec(),
        Tool::Mkinitcpio => ["mkinitcpio", "-k", &release, "-g", &called].map(String::from).to_vec(),
    };
    let end = process::run(ctx.world.task(argv.iter(), Path::new("/"))).map_err(|error| error.to_string())?;
    if end.status.success() {
        return Ok(());
    }
    let text = end.text();
    let last = text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default();
    Err(format!("{} exited with status {}: {last}", argv.join(" "), end.code()))
}
