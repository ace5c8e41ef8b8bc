//! `dkms uninstall`, `dkms unbuild` and `dkms remove`: three depths of the same.

use super::{check_access, kernels, package, post_transaction, source_state};
use crate::cli::args::Args;
use crate::context::Context;
use crate::error::Error;
use crate::execute::run::depmods;
use crate::host::caller::RpmScriptlet;
use crate::host::dpkg;
use crate::host::owner::Owner;
use crate::host::rpm_upgrade;
use crate::install;
use crate::journal::JournalError;
use crate::lock::Holder;
use crate::names::{Kernel, Package};
use crate::reconcile::{initramfs_pending, superseded};
use crate::report::{Event, Reporter};
use crate::run::Session;
use crate::tree::beside;
use crate::tree::walk::{self, Built, Filter, Source};

pub(super) fn run(ctx: &Context, args: &Args, reporter: &dyn Reporter) -> Result<u8, Error> {
    let verb = args.verb_name();
    let package = package(args)?;
    let built = built_for(ctx, &package);
    // Binaries without source, or whose source has gone, are no less there: the classic could not get rid of them.
    if source_state(ctx, &package) == Source::Broken && built.is_empty() && verb != "remove" {
        return Err(Error::Broken { source_dir: super::source_dir(ctx, &package), package });
    }
    if source_state(ctx, &package) == Source::None && built.is_empty() {
        return Err(Error::NotThere(package));
    }
    check_access(ctx, args)?;
    let mut kernels = if args.flag("all") { all(&built) } else { kernels(ctx, args)? };
    if ctx.options.dry_run {
        dry_run(ctx, verb, &package, &kernels, &built, reporter);
        return Ok(0);
    }
    let session = Session::new(ctx)?;
    session.heal(reporter)?;
    if verb == "remove"
        && rpm_upgrade::was_just_added(ctx.rpm_process(), &ctx.trees, &package).map_err(JournalError::File)?
    {
        reporter.warning(&[&"Remove cancelled because --rpm_safe_upgrade scenario detected."]);
        return Ok(0);
    }
    let script = ctx.machine.maintainer_script.as_ref().filter(|_| verb == "remove" && ctx.trees.root.is_host());
    if script.is_some() {
        // How dpkg's run ends decides about versions that wait for their successor.
        dpkg::ask_for_drain(&ctx.world);
    }
    // An upgrade's prerm asks for it, too; the version stays until its successor is there.
    if let Some(script) = script.filter(|script| script.keeps_package()) {
        superseded::mark(ctx, &package, Owner::of(&ctx.world, script)?, reporter)?;
        return Ok(0);
    }
    // So does the old %preun of an rpm upgrade, after the new version's %post.
    let upgraded = ctx.machine.rpm_scriptlet.is_some_and(RpmScriptlet::keeps_package);
    if verb == "remove" && upgraded && ctx.trees.root.is_host() {
        match source_state(ctx, &package) {
            Source::Added => {
                superseded::mark(ctx, &package, Owner::Rpm, reporter)?;
                return Ok(0);
            }
            // A tree that knows nothing: what lies beside the modules stays until its successor takes its place.
            Source::None if !ctx.trees.package_dir(&package).exists() => return Ok(0),
            Source::None | Source::Broken => {}
        }
    }
    loop {
        for (index, kernel) in kernels.iter().enumerate() {
            if index > 0 && verb != "remove" {
                reporter.line(&"");
            }
            if take_away(&session, verb, &package, kernel, reporter)? {
                session.touched(&kernel.release);
            }
            depmods(&session, reporter);
            if verb == "remove" {
                reporter.line(&"");
            }
        }
        // Also for what an earlier run left undone.
        depmods(&session, reporter);
        if verb != "remove" || !built_for(ctx, &package).is_empty() {
            break;
        }
        reporter.line(&format!("Deleting module {package} completely from the DKMS tree."));
        if install::forget(ctx, &package, &waiting(&package, reporter))? {
            superseded::forget(ctx, &package)?;
            break;
        }
        // Somebody has built it in the meantime: with --all, that goes, too.
        if !args.flag("all") {
            break;
        }
        kernels = all(&built_for(ctx, &package));
    }
    post_transaction(&session, kernels.last(), reporter)?;
    Ok(0)
}

/// One kernel's share; says whether its modules changed.
fn take_away(
    session: &Session<'_>,
    verb: &str,
    package: &Package,
    kernel: &Kernel,
    reporter: &dyn Reporter,
) -> Result<bool, Error> {
    let ctx = session.ctx;
    let _lock = ctx.lock_pair(package, kernel, &waiting(package, reporter))?;
    let evaluate = || {
        let facts = session.facts.kernel(kernel)?;
        session.facts.evaluate(package, &facts, None, false)
    };
    // Packages go while their manager works: it has the initramfs looked at once, at the end.
    let managed =
        ctx.trees.root.is_host() && (ctx.machine.maintainer_script.is_some() || ctx.machine.rpm_scriptlet.is_some());
    if verb == "remove" && managed {
        initramfs_pending::note(ctx, package, kernel)?;
    }
    match verb {
        "uninstall" => install::uninstall(ctx, package, kernel, &evaluate, reporter),
        _ => install::unbuild(ctx, package, kernel, &evaluate, reporter),
    }
}

/// What is said when another run works on the package.
fn waiting<'a>(package: &'a Package, reporter: &'a dyn Reporter) -> impl Fn(&Holder) + 'a {
    move |holder| reporter.report(Event::Note(format!("Waiting for {holder}, which works on {package}.")))
}

/// What there is of a package, by kernel: in the tree, or, where that is empty, beside the kernels' modules.
fn built_for(ctx: &Context, package: &Package) -> Vec<Built> {
    let filter = Filter::package(package);
    let walk = walk::walk(&ctx.trees, &filter);
    let beside = beside::unknown_to(&ctx.trees, &filter, &walk).into_iter().map(|beside| Built {
        kernel: beside.kernel,
        installed: true,
        original_modules: false,
    });
    walk.packages.into_iter().flat_map(|entry| entry.built).chain(beside).collect()
}

/// As the classic ordered them: all that are only built, then all that are installed.
fn all(built: &[Built]) -> Vec<Kernel> {
    let (installed, only_built): (Vec<&Built>, Vec<&Built>) = built.iter().partition(|built| built.installed);
    only_built.into_iter().chain(installed).map(|built| built.kernel.clone()).collect()
}

fn dry_run(ctx: &Context, verb: &str, package: &Package, kernels: &[Kernel], built: &[Built], reporter: &dyn Reporter) {
    for kernel in kernels {
        if built.iter().any(|built| built.installed && built.kernel == *kernel) {
            reporter.line(&format!("Would uninstall {package} from kernel {kernel}."));
        }
        if verb != "uninstall" && install::is_built(ctx, package, kernel) {
            reporter.line(&format!("Would delete what was built of {package} for kernel {kernel}."));
        }
    }
    if verb == "remove" && built.iter().all(|built| kernels.contains(&built.kernel)) {
        reporter.line(&format!("Would delete {package} from the DKMS tree."));
    }
}
