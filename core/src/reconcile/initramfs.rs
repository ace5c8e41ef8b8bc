//! The initramfs step: once for each kernel whose modules changed, where it may matter.

use std::collections::BTreeMap;
use std::path::Path;

use super::Initramfs;
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

/// Renews the initramfs of the kernels that `results` changed. A kernel without one gets none: somebody
/// decided so. Gives the kernels for which that failed.
pub(super) fn renew(
    ctx: &Context,
    plan: &Plan,
    results: &[Option<Result<Done, Error>>],
    who: Initramfs,
    reporter: &dyn Reporter,
) -> Vec<(Release, String)> {
    if who != Initramfs::Auto {
        return Vec::new();
    }
    let mut changed: BTreeMap<&Release, Vec<&Step>> = BTreeMap::new();
    for (step, result) in plan.steps.iter().zip(results) {
        if matches!(result, Some(Ok(Done::Installed))) && step.action != Action::Remove {
            changed.entry(&step.kernel.release).or_default().push(step);
        }
    }
    let mut failures = Vec::new();
    let Some(tool) = Tool::of(&ctx.trees.root) else { return failures };
    for (release, steps) in changed {
        let dir = ctx.trees.modules_dir(release);
        let Some(image) = image(&ctx.trees.root, release, pkgbase(&dir).as_deref()) else { continue };
        if !matters(ctx, tool, release, &image, &steps) {
            continue;
        }
        reporter.report(Event::Part(format!("Renewing the initramfs of kernel {release}...")));
        match run(ctx, tool, release, &image) {
            Ok(()) => reporter.line(&" done."),
            Err(why) => {
                reporter.line(&" failed.");
                failures.push((release.clone(), why));
            }
        }
    }
    failures
}

/// Whether the image may hold a module that changed. A package that was not there when the image was made may
/// belong into it; of one that was, the image tells. In doubt: yes.
fn matters(ctx: &Context, tool: Tool, release: &Release, image: &Path, steps: &[&Step]) -> bool {
    if steps.iter().any(|step| matches!(step.reason, Reason::Missing)) {
        return true;
    }
    let Ok(Some(beside)) = KernelManifest::load(&ctx.trees.kernel_manifest(release)) else { return true };
    let mut names = Vec::new();
    for step in steps {
        match beside.find(&step.package, &step.kernel.arch) {
            Some(entry) => names.extend(entry.files.iter().map(|file| file.name.clone())),
            None => return true,
        }
    }
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
