//! `dkms build` and `dkms install`: one or more kernels, adding the package first where needed.

use super::{add, check_access, check_not_broken, kernels, ldtarball, post_transaction, source_state, tell_trust};
use crate::cli::args::Args;
use crate::context::Context;
use crate::error::Error;
use crate::execute::work::state_of;
use crate::execute::{self, Done, Results, Voice};
use crate::install;
use crate::names::Kernel;
use crate::plan::{Step, Want, rebuilt, requested};
use crate::reconcile::dependants;
use crate::reconcile::superseded;
use crate::report::Reporter;
use crate::run::Session;
use crate::tree::walk::Source;

pub(super) fn run(ctx: &Context, args: &Args, reporter: &dyn Reporter) -> Result<u8, Error> {
    check_access(ctx, args)?;
    let session = Session::new(ctx)?;
    let want = if args.verb_name() == "install" { Want::Installed } else { Want::Built };
    if ctx.options.dry_run {
        return dry_run(ctx, args, &session, want, reporter);
    }
    session.heal(reporter)?;
    let package = match add::archive(args) {
        Some(file) if ldtarball::is_rpm(&file) => return ldtarball::install_rpm(ctx, args, &file, reporter),
        Some(file) => {
            let loaded = ldtarball::load(ctx, args, &session, &file, reporter)?;
            if loaded.code != 0 {
                return Ok(loaded.code);
            }
            reporter.line(&"");
            loaded.package
        }
        None => add::resolve(ctx, args, &session, reporter)?,
    };
    check_not_broken(ctx, &package)?;
    let kernels = kernels(ctx, args)?;
    // Built already, it may have come without its source: nothing to add then.
    let known = source_state(ctx, &package) == Source::Added
        || kernels.iter().all(|kernel| install::is_built(ctx, &package, kernel));
    if !known {
        let code = add::add(ctx, args, &session, &package, reporter)?;
        if code != 0 {
            return Ok(code);
        }
        reporter.line(&"");
    }
    let force = ctx.options.force || (ctx.options.rpm_safe_upgrade && want == Want::Installed);
    let asked = |kernel| requested(&package, kernel, &state_of(ctx, &package, kernel), want, force);
    let mut steps: Vec<Step> = kernels.iter().map(asked).collect();
    let mut results = execute::run::without_depmod(&session, &steps, Voice::Asked, reporter);
    if want == Want::Installed && !ctx.options.force {
        dependants(&session, &mut steps, &mut results, reporter)?;
    }
    if want == Want::Installed {
        superseded::settle(&session, reporter)?;
    }
    execute::run::depmod_once(&session, &steps, &mut results, reporter);
    let installed = steps.iter().zip(&results).filter(|(_, result)| matches!(result, Some(Ok(Done::Installed))));
    install::modprobe::load_matching(ctx, installed.map(|(step, _)| &step.kernel.release));
    if want == Want::Installed && results.iter().flatten().any(|result| matches!(result, Ok(Done::Installed))) {
        post_transaction(&session, steps.last().map(|step| &step.kernel), reporter)?;
        let kernels: Vec<Kernel> = steps.into_iter().map(|step| step.kernel).collect();
        tell_trust(&session, &kernels, reporter)?;
    }
    Ok(code(&results))
}

/// BUILD_DEPENDS_REBUILD (docs/contract.md 8): what was built against another version of what was just installed is
/// built anew. A failure does not undo the installation, and leaves the dependant's old modules in place.
fn dependants(
    session: &Session<'_>,
    steps: &mut Vec<Step>,
    results: &mut Results,
    reporter: &dyn Reporter,
) -> Result<(), Error> {
    let mut again: Vec<Step> = Vec::new();
    for (step, _) in steps.iter().zip(results.iter()).filter(|(_, result)| matches!(result, Some(Ok(Done::Installed))))
    {
        let found = dependants::find(session.ctx, &step.kernel, std::slice::from_ref(&step.package.name))?;
        for cycle in &found.cycles {
            let cycle = cycle.iter().map(ToString::to_string).collect::<Vec<_>>().join(" -> ");
            reporter.warning(&[&"The following modules could not be rebuilt due to dependency cycles:", &cycle]);
        }
        let first = again.len();
        let mut rebuilt = rebuilt(found.packages, &step.kernel, &step.package.name);
        rebuilt.iter_mut().flat_map(|step| &mut step.after).for_each(|before| *before += first);
        again.append(&mut rebuilt);
    }
    let rebuilt = execute::run::without_depmod(session, &again, Voice::Dependants, reporter);
    for (step, result) in again.iter().zip(&rebuilt) {
        if matches!(result, Some(Err(_))) && install::is_installed(session.ctx, &step.package, &step.kernel) {
            reporter.warning(&[&format!(
                "{} could not be built anew for kernel {}: its present modules stay.",
                step.package, step.kernel
            )]);
        }
    }
    steps.extend(again);
    results.extend(rebuilt);
    Ok(())
}

/// One exit code for several kernels: the first failure's; 77 only if every kernel is excluded.
/// (The classic returned the last kernel's, whatever had become of the others.)
pub(super) fn code(results: &Results) -> u8 {
    let codes: Vec<u8> = results.iter().flatten().map(|result| result.as_ref().err().map_or(0, Error::code)).collect();
    if let Some(failure) = codes.iter().find(|code| **code != 0 && **code != 77) {
        return *failure;
    }
    if !codes.is_empty() && codes.iter().all(|code| *code == 77) { 77 } else { 0 }
}

fn dry_run(
    ctx: &Context,
    args: &Args,
    session: &Session<'_>,
    want: Want,
    reporter: &dyn Reporter,
) -> Result<u8, Error> {
    if let Some(file) = add::archive(args) {
        reporter.line(&format!("Would load {}.", file.display()));
        return Ok(0);
    }
    let package = add::resolve_dry(ctx, args, session)?;
    for kernel in kernels(ctx, args)? {
        let built = install::is_built(ctx, &package, &kernel);
        if install::is_installed(ctx, &package, &kernel) && !ctx.options.force {
            reporter.line(&format!("{package} is installed for kernel {kernel} already."));
            continue;
        }
        if source_state(ctx, &package) != Source::Added {
            reporter.line(&format!("Would add {package}: it is not registered."));
        }
        if !built || (want == Want::Built && ctx.options.force) {
            reporter.line(&format!("Would build {package} for kernel {kernel}."));
        }
        if want == Want::Installed {
            reporter.line(&format!("Would install {package} for kernel {kernel}."));
        }
    }
    Ok(0)
}
