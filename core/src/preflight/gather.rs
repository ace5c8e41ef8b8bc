//! What is known here of the kernels that come, and of the packages that should have modules for them.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::{ExpectedPackage, Incoming, LowSpace, NewKernel, Packages, Prediction, PreflightInput, Taker, module_of};
use crate::conf::Wish;
use crate::conf::holds::Holds;
use crate::context::Context;
use crate::error::Error;
use crate::facts;
use crate::host::headers_package;
use crate::kernel::version;
use crate::names::{Kernel, Name, Package};
use crate::superseded;
use crate::system_error::SystemError;
use crate::tree::record::{Outcome, Record};
use crate::tree::walk::{self, Filter, PackageEntry, Source, Walk};

/// What a build's work directory takes beside its result: objects with debug information, the source. A guess.
const WORK_FACTOR: u64 = 4;
/// What is never asked for less than, in bytes.
const LEAST: u64 = 16 << 20;

/// A package that a kernel should have modules of.
struct Wanted<'a> {
    label: String,
    name: Name,
    /// The version that is registered; `None` if the transaction brings the first.
    registered: Option<&'a PackageEntry>,
    /// Whether the transaction brings it, or may: then its dkms.conf can't be read yet.
    comes: bool,
}

/// Gathers the facts.
pub(super) fn facts(ctx: &Context, incoming: &Incoming) -> Result<PreflightInput, Error> {
    let walk = walk::walk(&ctx.trees, &Filter::default());
    let wanted = wanted(newest(ctx, &walk), &incoming.packages);
    let learnt = facts::Facts::new(ctx);
    let holds = Holds::read(&ctx.trees).map_err(SystemError::from)?;
    let mut kernels = Vec::new();
    for coming in incoming.kernels.iter().filter(|_| !wanted.is_empty()) {
        let release = coming.release.clone();
        let known = learnt.kernel(&ctx.kernel(&release)?)?;
        let mut packages = Vec::new();
        for wanted in &wanted {
            if holds.holds(&wanted.name, &release) {
                continue;
            }
            let prediction = prediction(ctx, &learnt, &known, wanted, incoming.by_hand);
            packages.extend(prediction.map(|prediction| ExpectedPackage {
                label: wanted.label.clone(),
                name: wanted.name.clone(),
                wish: Wish::of(&ctx.trees, &wanted.name),
                prediction,
            }));
        }
        // Where rpm distributions keep them; the link to them comes with the kernel.
        let elsewhere = ctx.trees.outer(format!("/usr/src/kernels/{release}/include"));
        let advice = || {
            let advice = headers_package::advise(&ctx.distribution, &release, &ctx.trees);
            advice.command.unwrap_or(advice.text)
        };
        kernels.push(NewKernel {
            // Where nothing is built, none are needed.
            has_headers: !ctx.framework.share.build_locally
                || incoming.headers.contains(&release)
                || known.headers.is_ok()
                || elsewhere.is_dir(),
            headers: coming.headers.clone().unwrap_or_else(advice),
            packages,
            release,
        });
    }
    let room = if kernels.is_empty() { Vec::new() } else { room(ctx, &walk, incoming) };
    // Any package that has not been looked into may bring another version.
    let uncertain = incoming.again && !incoming.packages.unread.is_empty();
    Ok(PreflightInput { policy: ctx.framework.policy, kernels, room, uncertain })
}

/// The newest version of each registered package that nothing is about to take the place of.
fn newest<'a>(ctx: &Context, walk: &'a Walk) -> Vec<&'a PackageEntry> {
    let mut newest: Vec<&PackageEntry> = Vec::new();
    for entry in &walk.packages {
        if entry.source != Source::Added || superseded::is_marked(&ctx.trees, &entry.package) {
            continue;
        }
        match newest.iter_mut().find(|known| known.package.name == entry.package.name) {
            Some(known) if version::by_age(known.package.version.as_str(), entry.package.version.as_str()).is_lt() => {
                *known = entry;
            }
            Some(_) => {}
            None => newest.push(entry),
        }
    }
    newest
}

/// Each package once: what the transaction brings takes the place of what is registered, and what it takes out is wanted
/// no more.
fn wanted<'a>(registered: Vec<&'a PackageEntry>, packages: &Packages) -> Vec<Wanted<'a>> {
    let stays = |entry: &&PackageEntry| !packages.takes_out(entry.package.name.as_str());
    let of = |entry: &'a PackageEntry| Wanted {
        label: entry.package.to_string(),
        name: entry.package.name.clone(),
        registered: Some(entry),
        comes: packages.may_bring(entry.package.name.as_str()),
    };
    let mut wanted: Vec<Wanted<'_>> = registered.into_iter().filter(stays).map(of).collect();
    let new = |label: String, name: Name| Wanted { label, name, registered: None, comes: true };
    for package in &packages.sources {
        match wanted.iter_mut().find(|known| known.name == package.name) {
            Some(known) => known.label = package.to_string(),
            None => wanted.push(new(package.to_string(), package.name.clone())),
        }
    }
    // The first module package of a system, by its name alone.
    if wanted.is_empty() {
        let by_name = |name: &String| Some(new(name.clone(), Name::new(module_of(name)?).ok()?));
        wanted.extend(packages.unread.iter().filter_map(by_name));
    }
    wanted
}

/// What is to be expected of a package; `None` if nobody expects anything.
fn prediction(
    ctx: &Context,
    learnt: &facts::Facts<'_>,
    kernel: &facts::KernelFacts,
    wanted: &Wanted<'_>,
    by_hand: bool,
) -> Option<Prediction> {
    let Some(entry) = wanted.registered else { return Some(Prediction::Builds) };
    let package = &entry.package;
    let evaluated = match learnt.evaluate(package, kernel, None, false) {
        Ok(evaluated) => evaluated,
        Err(_) if wanted.comes => return Some(Prediction::Builds),
        Err(error) => return Some(Prediction::Unusable(Error::from(error).lines().join(" "))),
    };
    if !evaluated.conf.autoinstall && !by_hand {
        return None;
    }
    // What comes anew may be meant for the kernel, and build.
    if wanted.comes {
        return Some(Prediction::Builds);
    }
    if let Some(why) = evaluated.recipe.exclusion() {
        // What no kernel was ever meant for is missed by nobody.
        let missed = entry.built.iter().any(|built| built.installed) || !is_skipped_elsewhere(ctx, package);
        let required = Wish::of(&ctx.trees, &package.name) == Wish::Required;
        return (missed || required).then_some(Prediction::Excluded(why));
    }
    match Record::load(&ctx.trees, package, &kernel.kernel) {
        Ok(Some(Record { outcome: Outcome::Failed { diagnostic, step, .. }, .. })) => {
            Some(Prediction::Failed(diagnostic.unwrap_or_else(|| format!("{step} failed"))))
        }
        _ => Some(Prediction::Builds),
    }
}

fn is_skipped_elsewhere(ctx: &Context, package: &Package) -> bool {
    let records = Record::list(&ctx.trees, None).unwrap_or_default();
    records.iter().any(|record| record.package == *package && matches!(record.outcome, Outcome::Skipped { .. }))
}

/// The file systems that lack room for the modules of the kernels that come, by what those of the fullest kernel take;
/// for the packages, which go where the modules are; and for kernels in /boot.
fn room(ctx: &Context, walk: &Walk, incoming: &Incoming) -> Vec<LowSpace> {
    let mut sizes: Vec<(&Kernel, u64)> = Vec::new();
    let stays = |entry: &&PackageEntry| !incoming.packages.takes_out(entry.package.name.as_str());
    for entry in walk.packages.iter().filter(stays) {
        for built in entry.built.iter().filter(|built| built.installed) {
            let size = size_of(&ctx.trees.artefact_modules(&entry.package, &built.kernel));
            match sizes.iter_mut().find(|(kernel, _)| **kernel == built.kernel) {
                Some((_, sum)) => *sum += size,
                None => sizes.push((&built.kernel, size)),
            }
        }
    }
    let kernels = u64::try_from(incoming.kernels.len()).unwrap_or(1);
    let modules = sizes.into_iter().map(|(_, size)| size).max().unwrap_or(0) * kernels;
    let device = |dir: &Path| std::fs::metadata(existing(dir)).map(|meta| meta.dev()).ok();
    let install = &ctx.trees.install.outer;
    let boot = ctx.trees.outer("/boot");
    [
        (&ctx.trees.dkms.outer, modules * WORK_FACTOR + LEAST, Taker::Builds),
        (install, modules + LEAST, Taker::Builds),
        (&boot, images(ctx, &boot, incoming), Taker::Kernel),
    ]
    .into_iter()
    .filter_map(|(dir, needed, by)| {
        let stat = rustix::fs::statvfs(existing(dir)).ok()?;
        let free = stat.f_bavail.saturating_mul(stat.f_frsize);
        let shared = by == Taker::Builds && incoming.bytes > 0 && device(dir) == device(install);
        let (needed, by) =
            if shared { (needed.saturating_add(incoming.bytes), Taker::PackagesAndBuilds) } else { (needed, by) };
        (free < needed).then(|| LowSpace { dir: ctx.trees.shown(dir), free, needed, by })
    })
    .collect()
}

/// What the kernels that come take in `boot`, going by the largest image and initramfs that are there, in bytes. A kernel
/// that is here already takes no more than it has.
fn images(ctx: &Context, boot: &Path, incoming: &Incoming) -> u64 {
    let Some(guess) = incoming.boot else { return 0 };
    let largest = |starts: &[&str]| {
        let entries = fs_err::read_dir(boot).into_iter().flatten().flatten();
        let of = |name: &str| starts.iter().any(|start| name.starts_with(start));
        let named = entries.filter(|entry| of(&entry.file_name().to_string_lossy()));
        named.filter_map(|entry| entry.metadata().ok()).map(|meta| meta.len()).max()
    };
    let new = incoming.kernels.iter().filter(|kernel| !ctx.trees.modules_dir(&kernel.release).is_dir()).count();
    let one = largest(&["vmlinuz-", "vmlinux-"])
        .map_or(guess, |image| image + largest(&["initrd.img-", "initramfs-", "initrd-"]).unwrap_or(0));
    one * u64::try_from(new).unwrap_or(1)
}

fn existing(dir: &Path) -> &Path {
    dir.ancestors().find(|dir| dir.exists()).unwrap_or(dir)
}

/// The size of the files in `dir`, in bytes.
fn size_of(dir: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(dir) else { return 0 };
    entries.flatten().filter_map(|entry| entry.metadata().ok()).map(|meta| meta.len()).sum()
}
