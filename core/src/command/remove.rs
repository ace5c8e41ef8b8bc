//! `dkms uninstall`, `dkms unbuild` and `dkms remove`: three depths of the same.

use super::{check_rights, kernels, package, post_transaction, print, with_follow_ups};
use crate::cli::args::Args;
use crate::cli::verb::Reach;
use crate::context::Context;
use crate::error::{Error, RegistrationError};
use crate::execute::run::depmods;
use crate::host::caller::RpmScriptlet;
use crate::host::dpkg;
use crate::host::owner::Owner;
use crate::host::rpm_upgrade;
use crate::initramfs::pending;
use crate::install;
use crate::lock::Holder;
use crate::names::{Kernel, Package};
use crate::plan::{Depth, Plan, Registering, There, taken_away};
use crate::process::stop;
use crate::report::{Event, Reporter};
use crate::run::Session;
use crate::superseded;
use crate::system_error::SystemError;
use crate::tree::beside;
use crate::tree::walk::{self, Built, Filter, Source};

pub(super) fn run(
    ctx: &Context,
    args: &Args,
    depth: Depth,
    reach: Reach,
    reporter: &dyn Reporter,
) -> Result<u8, Error> {
    let kernels_of = (reach == Reach::Named).then_some(args);
    take(ctx, package(ctx, args)?, depth, kernels_of, reporter)
}

/// Removes `package` from all kernels, for an event; gives the exit code.
pub(crate) fn everywhere(ctx: &Context, package: &Package, reporter: &dyn Reporter) -> Result<u8, Error> {
    take(ctx, package.clone(), Depth::Remove, None, reporter)
}

/// `named`: what names the kernels; `None`: all.
fn take(
    ctx: &Context,
    package: Package,
    depth: Depth,
    named: Option<&Args>,
    reporter: &dyn Reporter,
) -> Result<u8, Error> {
    let removes = depth == Depth::Remove;
    let mut built = built_for(ctx, &package);
    let is_gone = |built: &[Built]| walk::source(&ctx.trees, &package) == Source::None && built.is_empty();
    // It may be that a run that was killed has only to be finished.
    if is_gone(&built) && !ctx.options.dry_run && check_rights(ctx).is_ok() {
        let session = Session::new(ctx)?;
        let finished = session.heal(reporter)?;
        depmods(&session, reporter);
        built = built_for(ctx, &package);
        if is_gone(&built) && removes && finished.contains(&install::removal_of(&package)) {
            return Ok(0);
        }
    }
    // Binaries without source, or whose source has gone, are no less there: the classic could not get rid of them.
    if walk::source(&ctx.trees, &package) == Source::Broken && built.is_empty() && !removes {
        return Err(Error::Registration(RegistrationError::Broken {
            source_dir: ctx.trees.source_place(&package),
            package,
        }));
    }
    if is_gone(&built) {
        return Err(Error::Registration(RegistrationError::NotThere(package)));
    }
    check_rights(ctx)?;
    let mut kernels = match named {
        None => all(&built),
        Some(args) => kernels(ctx, args)?,
    };
    let instead = if removes { instead(ctx, &package)? } else { None };
    if ctx.options.dry_run {
        let plan = match instead {
            Some(Instead::Nothing) => Plan::default(),
            Some(Instead::Wait(_)) => Plan { registering: vec![Registering::Wait(package)], ..Plan::default() },
            None => with_follow_ups(ctx, plan(ctx, &package, depth, &kernels, &built)),
        };
        return Ok(print(&plan, reporter));
    }
    let session = Session::new(ctx)?;
    session.heal(reporter)?;
    if removes && rpm_upgrade::was_just_added(ctx.rpm_process(), &ctx.trees, &package)? {
        reporter.warning(&[&"Remove cancelled because --rpm_safe_upgrade scenario detected."]);
        return Ok(0);
    }
    if removes && ctx.machine.maintainer_script.is_some() && ctx.trees.root.is_host() {
        // How dpkg's run ends decides about versions that wait for their successor.
        dpkg::ask_for_end_of_run(&ctx.world);
    }
    match instead {
        Some(Instead::Nothing) => return Ok(0),
        Some(Instead::Wait(owner)) => {
            superseded::mark(ctx, &package, owner, reporter)?;
            return Ok(0);
        }
        None => {}
    }
    loop {
        for (index, kernel) in kernels.iter().enumerate() {
            if let Some(stop) = stop::requested() {
                return Err(SystemError::Interrupted(stop).into());
            }
            if index > 0 && !removes {
                reporter.line(&"");
            }
            take_away(&session, depth, &package, kernel, reporter)?;
            depmods(&session, reporter);
            if removes {
                reporter.line(&"");
            }
        }
        // Also for what an earlier run left undone.
        depmods(&session, reporter);
        if !removes || !built_for(ctx, &package).is_empty() {
            break;
        }
        if forget_unbuilt(ctx, &package, reporter)? {
            break;
        }
        // Somebody has built it in the meantime: with --all, that goes, too.
        if named.is_some() {
            break;
        }
        kernels = all(&built_for(ctx, &package));
    }
    if let Some(args) = named.filter(|args| args.kernels.is_empty()) {
        tell_kept(ctx, args.verb_name(), &package, depth, reporter);
    }
    post_transaction(&session, kernels.last(), reporter)?;
    Ok(0)
}

/// Who names no kernel means the running one, and perhaps all: says which others keep something.
fn tell_kept(ctx: &Context, verb: &str, package: &Package, depth: Depth, reporter: &dyn Reporter) {
    let left = built_for(ctx, package);
    let kept: Vec<String> = (left.iter().filter(|built| built.installed || depth != Depth::Uninstall))
        .map(|built| built.kernel.release.to_string())
        .collect();
    if !kept.is_empty() {
        reporter.report(Event::Note(format!(
            "{package} stays for kernel {}. For every kernel: dkms {verb} {package} --all",
            kept.join(", ")
        )));
    }
}

/// One kernel's share.
fn take_away(
    session: &Session<'_>,
    depth: Depth,
    package: &Package,
    kernel: &Kernel,
    reporter: &dyn Reporter,
) -> Result<(), Error> {
    take_away_if(session, depth, (package, kernel), &|| Ok(true), reporter)
}

/// The same, if it is `still` to be done when nobody else works on it.
pub(super) fn take_away_if(
    session: &Session<'_>,
    depth: Depth,
    (package, kernel): (&Package, &Kernel),
    still: &dyn Fn() -> Result<bool, Error>,
    reporter: &dyn Reporter,
) -> Result<(), Error> {
    let ctx = session.ctx;
    let waiting = waiting(package, reporter);
    let _locks = (ctx.lock_pair(package, kernel, &waiting)?, ctx.pass_gate(kernel, &waiting)?);
    if !still()? {
        return Ok(());
    }
    // Packages go while their manager works: it has the initramfs looked at once, at the end.
    let managed =
        ctx.trees.root.is_host() && (ctx.machine.maintainer_script.is_some() || ctx.machine.rpm_scriptlet.is_some());
    if depth == Depth::Remove && managed {
        pending::note(ctx, package, kernel)?;
    }
    match depth {
        Depth::Uninstall => install::uninstall(session, package, kernel, reporter).map(drop)?,
        Depth::Unbuild | Depth::Remove => install::unbuild(session, package, kernel, reporter)?,
    }
    Ok(())
}

/// Deletes a package of which nothing is built for any kernel; says whether it has gone, which it has not if somebody has built it
/// in the meantime.
pub(super) fn forget_unbuilt(ctx: &Context, package: &Package, reporter: &dyn Reporter) -> Result<bool, Error> {
    reporter.line(&format!("Deleting module {package} completely from the DKMS tree."));
    let is_gone = install::forget(ctx, package, &waiting(package, reporter))?;
    if is_gone {
        superseded::forget(ctx, package)?;
    }
    Ok(is_gone)
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
        nothing_archived: false,
    });
    walk.packages.into_iter().flat_map(|entry| entry.built).chain(beside).collect()
}

/// As the classic ordered them: all that are only built, then all that are installed.
fn all(built: &[Built]) -> Vec<Kernel> {
    let (installed, only_built): (Vec<&Built>, Vec<&Built>) = built.iter().partition(|built| built.installed);
    only_built.into_iter().chain(installed).map(|built| built.kernel.clone()).collect()
}

/// What happens in place of a removal.
enum Instead {
    Nothing,
    /// It stays until its successor is there.
    Wait(Owner),
}

/// What a package manager's script means that asks for a removal although its package stays.
fn instead(ctx: &Context, package: &Package) -> Result<Option<Instead>, Error> {
    if rpm_upgrade::is_just_added(ctx.rpm_process(), &ctx.trees, package) {
        return Ok(Some(Instead::Nothing));
    }
    if !ctx.trees.root.is_host() {
        return Ok(None);
    }
    // An upgrade's prerm asks for it, too.
    if let Some(script) = ctx.machine.maintainer_script.as_ref().filter(|script| script.keeps_package()) {
        return Ok(Some(Instead::Wait(Owner::of(&ctx.world, script)?)));
    }
    // So does the old %preun of an rpm upgrade, after the new version's %post.
    if !ctx.machine.rpm_scriptlet.is_some_and(RpmScriptlet::keeps_package) {
        return Ok(None);
    }
    Ok(match walk::source(&ctx.trees, package) {
        Source::Added => Some(Instead::Wait(Owner::Rpm)),
        // A tree that knows nothing: what lies beside the modules stays until its successor takes its place.
        Source::None if !ctx.trees.package_dir(package).exists() => Some(Instead::Nothing),
        Source::None | Source::Broken => None,
    })
}

/// What is to be done for `kernels`, of all that is `built`.
fn plan(ctx: &Context, package: &Package, depth: Depth, kernels: &[Kernel], built: &[Built]) -> Plan {
    let step = |kernel: &Kernel| {
        let installed = built.iter().any(|built| built.installed && built.kernel == *kernel);
        let there = There { installed, built: ctx.trees.artefact(package, kernel).exists() };
        taken_away(package, kernel, there, depth)
    };
    let ends = depth == Depth::Remove && built.iter().all(|built| kernels.contains(&built.kernel));
    let registering = if ends { vec![Registering::Forget(package.clone())] } else { Vec::new() };
    Plan { registering, steps: kernels.iter().map(step).collect(), ..Plan::default() }
}
