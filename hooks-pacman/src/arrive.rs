//! After a transaction: what came is registered and built, what was replaced or has lost its kernel is dropped. In this
//! order, so that no kernel is without its modules in between, and a failure leaves what worked (docs/laws.md 1).

use std::collections::BTreeSet;

use dkms_core::context::{Context, NO_AUTOINSTALL};
use dkms_core::digest::Digest;
use dkms_core::error::Error;
use dkms_core::install;
use dkms_core::kernel::installed::{self, Presence};
use dkms_core::kernel::version;
use dkms_core::names::{Arch, Kernel, Package, Release};
use dkms_core::plan::Reason;
use dkms_core::policy::FAILED;
use dkms_core::reconcile::{self, How, Initramfs, Outcome, Scope};
use dkms_core::report::{Event, Reporter};
use dkms_core::run::Session;
use dkms_core::tree::manifest::Manifest;
use dkms_core::tree::walk::{PackageEntry, Source};

use crate::targets::Targets;
use crate::{core, sources, summary};

/// Does what `targets` call for; gives the exit code by policy. The summary is kept for the last hook.
pub fn arrive(ctx: &Context, targets: &Targets, reporter: &dyn Reporter) -> Result<u8, Error> {
    let mut code = 0;
    let mut lines = Vec::new();
    if ctx.autoinstall_is_off() {
        lines.push(format!("{NO_AUTOINSTALL} exists: no modules are built."));
    } else if !has_proc(ctx) {
        let sources = ctx.trees.source.inside.display();
        let adding: String =
            sources::on_disk(&ctx.trees).iter().map(|name| format!("dkms add {sources}/{name}; ")).collect();
        lines.push(format!(
            "No modules are built, since nothing is mounted on /proc of this root. Mount it (arch-chroot does) and run \
             there: {adding}dkms reconcile --all-kernels"
        ));
    } else {
        code = build(ctx, targets, &mut lines, reporter)?;
    }
    for release in targets.all_kernels() {
        if presence(ctx, &release) != Some(Presence::Installed) {
            code = code.max(gone(ctx, &release, &mut lines, reporter)?);
        }
    }
    code = code.max(drop_superseded(ctx, targets, &mut lines, reporter)?);
    summary::keep(&ctx.trees, &lines)?;
    Ok(code)
}

fn build(ctx: &Context, targets: &Targets, lines: &mut Vec<String>, reporter: &dyn Reporter) -> Result<u8, Error> {
    let there = sources::on_disk(&ctx.trees);
    let came: BTreeSet<String> = targets.sources.intersection(&there).cloned().collect();
    let kernels = targets.all_kernels();
    // A kernel gets every module there is, as it always did on Arch; a module goes to every kernel.
    let wanted = if kernels.is_empty() { came.clone() } else { there };
    let renewed = renewed(ctx, &came);
    register(ctx, &wanted, lines, reporter);
    let scope = if came.is_empty() { of_kernels(ctx, &kernels)? } else { all_kernels(ctx)? };
    if scope.is_empty() {
        return Ok(0);
    }
    let how = How {
        // The hooks that make it look for kernels and for module packages, not for headers.
        initramfs: if targets.kernels.is_empty() && targets.sources.is_empty() {
            Initramfs::Auto
        } else {
            Initramfs::Later
        },
        // A new module is no reason to repeat what has failed on a kernel where nothing has changed.
        spare_known_failures: kernels.is_empty(),
        ..How::default()
    };
    let session = Session::new(ctx)?;
    let mut outcome = reconcile::reconcile(&session, &Scope::Kernels(scope.clone()), how, reporter)?;
    // These are dropped in a moment, or told of as what goes on serving.
    let superseded = superseded(ctx, targets);
    outcome
        .broken
        .retain(|line| !superseded.iter().any(|gone| line.starts_with(&format!("{} is broken", gone.entry.package))));
    let mut code = outcome.code(ctx, how.strict);
    lines.extend(reconcile::summary::lines(ctx, &outcome));
    for (package, kernel) in outdated(ctx, &renewed, &scope) {
        rebuild(&package, &kernel, lines, reporter);
    }
    for (package, kernel, force) in unplanned(&session, &outcome, &wanted, &scope) {
        code = code.max(install_one(&package, &kernel, force, lines, reporter));
    }
    Ok(code)
}

/// Registers the directories `wanted` of the source tree that are not.
fn register(ctx: &Context, wanted: &BTreeSet<String>, lines: &mut Vec<String>, reporter: &dyn Reporter) {
    let known: BTreeSet<String> = sources::registered(&ctx.trees).into_iter().map(|(directory, _)| directory).collect();
    for directory in wanted.difference(&known) {
        let path = ctx.trees.source.inside.join(directory);
        // What is wrong with one is said, and hinders no other.
        let code = core::dkms(&["add", &path.to_string_lossy()], reporter);
        if code != 0 {
            lines.push(format!("{} could not be registered (dkms add exited with status {code})", path.display()));
        }
    }
}

/// Whether procfs is there: bash, which reads dkms.conf, and the private worlds of builds can't do without.
fn has_proc(ctx: &Context) -> bool {
    ctx.trees.outer("/proc/self").exists()
}

fn presence(ctx: &Context, release: &Release) -> Option<Presence> {
    installed::look(&ctx.trees, release.clone(), &|_, _| false).map(|found| found.presence)
}

fn kernel(ctx: &Context, release: &Release) -> Result<Kernel, Error> {
    let arch = Arch::new(ctx.distribution.arch_label(release, &ctx.machine.name))?;
    Ok(Kernel { release: release.clone(), arch })
}

/// Those of `releases` that are there.
fn of_kernels(ctx: &Context, releases: &BTreeSet<Release>) -> Result<Vec<Kernel>, Error> {
    let there = releases.iter().filter(|release| presence(ctx, release) == Some(Presence::Installed));
    there.map(|release| kernel(ctx, release)).collect()
}

fn all_kernels(ctx: &Context) -> Result<Vec<Kernel>, Error> {
    let found = installed::scan(&ctx.trees, &|_, _| false)?;
    let there = found.iter().filter(|found| found.presence == Presence::Installed);
    there.map(|found| kernel(ctx, &found.release)).collect()
}

/// What the plan passes over, but Arch's hooks always installed: packages that do not ask for AUTOINSTALL, and an
/// older version that takes the place of one whose source has gone. The third word: it has to be forced.
fn unplanned(
    session: &Session<'_>,
    outcome: &Outcome,
    wanted: &BTreeSet<String>,
    kernels: &[Kernel],
) -> Vec<(Package, Kernel, bool)> {
    let trees = &session.ctx.trees;
    let registered = sources::registered(trees);
    let there = |entry: &PackageEntry| entry.source == Source::Added;
    let mut found = Vec::new();
    for (directory, entry) in &registered {
        let package = &entry.package;
        let newer = |other: &PackageEntry| {
            there(other)
                && other.package.name == package.name
                && version::by_age(other.package.version.as_str(), package.version.as_str()).is_gt()
        };
        if !there(entry) || !wanted.contains(directory) || registered.iter().any(|(_, other)| newer(other)) {
            continue;
        }
        for kernel in kernels {
            let planned = outcome
                .plan
                .steps
                .iter()
                .any(|step| step.package == *package && step.kernel == *kernel && step.reason != Reason::Manual);
            if planned || install::is_installed(session.ctx, package, kernel) {
                continue;
            }
            let Ok(facts) = session.facts.kernel(kernel) else { continue };
            let fits = session.facts.evaluate(package, &facts, None, false).is_ok_and(|e| !e.recipe.is_excluded());
            if facts.headers.is_ok() && fits {
                let active = |other: &PackageEntry| {
                    other.package.name == package.name && other.built.iter().any(|b| b.installed && b.kernel == *kernel)
                };
                found.push((package.clone(), kernel.clone(), registered.iter().any(|(_, other)| active(other))));
            }
        }
    }
    found
}

/// Packages that were registered before from a directory that came with the transaction: the same version, repackaged.
fn renewed(ctx: &Context, came: &BTreeSet<String>) -> Vec<PackageEntry> {
    let registered = sources::registered(&ctx.trees);
    registered.into_iter().filter(|(directory, _)| came.contains(directory)).map(|(_, entry)| entry).collect()
}

/// Where `renewed` packages are installed from another source than there is now.
fn outdated(ctx: &Context, renewed: &[PackageEntry], kernels: &[Kernel]) -> Vec<(Package, Kernel)> {
    let mut found = Vec::new();
    for entry in renewed {
        let Ok(source) = Digest::of_tree(&ctx.trees.source_of(&entry.package)) else { continue };
        for built in entry.built.iter().filter(|built| kernels.contains(&built.kernel)) {
            let manifest = Manifest::load(&ctx.trees.manifest(&entry.package, &built.kernel)).ok().flatten();
            // The classic left no word of its source: it may be any.
            if manifest.is_none_or(|manifest| manifest.provenance.source_digest.as_ref() != Some(&source)) {
                found.push((entry.package.clone(), built.kernel.clone()));
            }
        }
    }
    found
}

/// Builds again; what is installed stays until the new modules take its place.
fn rebuild(package: &Package, kernel: &Kernel, lines: &mut Vec<String>, reporter: &dyn Reporter) {
    let (id, release) = (package.to_string(), kernel.release.to_string());
    let code = match core::dkms(&["build", &id, "-k", &release, "--force"], reporter) {
        0 => core::dkms(&["install", &id, "-k", &release, "--force"], reporter),
        code => code,
    };
    lines.push(match code {
        0 => format!("{kernel}: rebuilt {package}, whose source has changed"),
        77 => format!("{kernel}: {package} is not meant for it any more; what was built before stays"),
        code => format!(
            "{kernel}: {package} could not be rebuilt from its new source (status {code}); what was built before stays"
        ),
    });
}

fn install_one(
    package: &Package,
    kernel: &Kernel,
    force: bool,
    lines: &mut Vec<String>,
    reporter: &dyn Reporter,
) -> u8 {
    let (id, release) = (package.to_string(), kernel.release.to_string());
    let mut words = vec!["install", &id, "-k", &release];
    if force {
        words.push("--force");
    }
    let code = core::dkms(&words, reporter);
    lines.push(match code {
        0 => format!("{kernel}: installed {package}"),
        code => format!(
            "{kernel} LACKS {package}: dkms install exited with status {code}; fix: dkms install {package} -k {release}"
        ),
    });
    // What failed is told; whether that is a failure of the transaction, the policy has said for what it knows.
    0
}

/// A kernel that was removed leaves nothing of ours.
fn gone(ctx: &Context, release: &Release, lines: &mut Vec<String>, reporter: &dyn Reporter) -> Result<u8, Error> {
    let kernel = kernel(ctx, release)?;
    let built = |entry: &PackageEntry| entry.built.iter().any(|built| built.kernel.release == *release);
    let any = sources::registered(&ctx.trees).iter().any(|(_, entry)| built(entry))
        || ctx.trees.kernel_manifest(release).exists();
    let mut code = 0;
    if any {
        code = core::dkms(&["kernel_prerm", "-k", release.as_str()], reporter);
        lines.push(format!("{kernel}: removed, and its modules with it"));
    }
    // Empty directories that pacman could not remove, and depmod's files.
    let left = installed::look(&ctx.trees, release.clone(), &|_, _| false);
    if left.is_some_and(|left| left.is_orphan(&|_, _| false)) {
        let _lock = ctx.lock_tree()?;
        fs_err::remove_dir_all(ctx.trees.modules_dir(release))?;
    }
    // `pacman --root` mounts nothing: where there is no /proc, somebody works on this root from outside.
    let at_home = !ctx.machine.in_chroot && has_proc(ctx);
    if at_home && ctx.machine.running.as_ref() == Some(release) {
        lines.push(format!(
            "The running kernel {release} has been removed: modules can't be loaded any more. Reboot to start the new one."
        ));
    }
    Ok(code)
}

/// A registered version whose source went with this or an earlier transaction.
struct Superseded {
    entry: PackageEntry,
    /// Whether another version of it is there.
    has_successor: bool,
}

/// What is to be dropped: versions whose place another one takes, and those that `targets` took away for good.
/// Any other package without its source is somebody else's doing; `dkms status` tells of it.
fn superseded(ctx: &Context, targets: &Targets) -> Vec<Superseded> {
    let registered = sources::registered(&ctx.trees);
    let (gone, there): (Vec<_>, Vec<_>) =
        registered.into_iter().partition(|(directory, entry)| sources::has_gone(&ctx.trees, directory, entry));
    gone.into_iter()
        .filter_map(|(directory, entry)| {
            let has_successor = there.iter().any(|(_, other)| other.package.name == entry.package.name);
            (has_successor || targets.sources.contains(&directory)).then_some(Superseded { entry, has_successor })
        })
        .collect()
}

/// Forgets what is superseded, on the kernels where its successor is installed.
fn drop_superseded(
    ctx: &Context,
    targets: &Targets,
    lines: &mut Vec<String>,
    reporter: &dyn Reporter,
) -> Result<u8, Error> {
    let session = Session::new(ctx)?;
    for Superseded { entry, has_successor } in superseded(ctx, targets) {
        let package = &entry.package;
        let mut kept = false;
        for built in &entry.built {
            let kernel = &built.kernel;
            // Where the successor could not be installed, the predecessor goes on serving.
            if built.installed && has_successor && presence(ctx, &kernel.release) == Some(Presence::Installed) {
                lines.push(format!("{kernel}: {package} stays installed, although its source has gone"));
                kept = true;
                continue;
            }
            let _lock = ctx.lock_pair(package, kernel, &|holder| log::info!("waiting for {holder}"))?;
            let evaluate = || {
                let facts = session.facts.kernel(kernel)?;
                session.facts.evaluate(package, &facts, None, false)
            };
            if install::unbuild(ctx, package, kernel, &evaluate, reporter)? {
                session.touched(&kernel.release);
            }
        }
        if !kept {
            reporter.report(Event::Line(format!("Deleting module {package} completely from the DKMS tree.")));
            install::forget(ctx, package, &|holder| log::info!("waiting for {holder}"))?;
        }
    }
    let failed = dkms_core::execute::run::depmods(&session, reporter);
    Ok(if failed.is_empty() { 0 } else { FAILED })
}
