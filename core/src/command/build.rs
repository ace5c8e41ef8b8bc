//! `dkms build` and `dkms install`: one or more kernels, adding the package first where needed.

use super::{add, check_access, check_not_broken, kernels, ldtarball, post_transaction, source_state, tell_trust};
use crate::cli::args::Args;
use crate::context::Context;
use crate::error::Error;
use crate::execute::{self, Done, Job, Session, Want};
use crate::install;
use crate::names::Kernel;
use crate::reconcile::dependants;
use crate::report::Reporter;
use crate::superseded;
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
    let jobs: Vec<Job> = kernels
        .into_iter()
        .map(|kernel| Job {
            rebuild: superseded::is_outdated(ctx, &package, &kernel),
            planned: false,
            package: package.clone(),
            kernel,
            want,
            announce: None,
            after: Vec::new(),
        })
        .collect();
    let mut jobs = jobs;
    let mut results = execute::run::without_depmod(&session, &jobs, reporter);
    if want == Want::Installed && !ctx.options.force {
        dependants(&session, &mut jobs, &mut results, reporter)?;
    }
    if want == Want::Installed {
        superseded::settle(&session, reporter)?;
    }
    execute::run::depmod_once(&session, &jobs, &mut results, reporter);
    let installed = jobs.iter().zip(&results).filter(|(_, result)| matches!(result, Ok(Done::Installed)));
    install::modprobe::load_matching(ctx, installed.map(|(job, _)| &job.kernel.release));
    if want == Want::Installed && results.iter().any(|result| matches!(result, Ok(Done::Installed))) {
        post_transaction(&session, jobs.last().map(|job| &job.kernel), reporter)?;
        let kernels: Vec<Kernel> = jobs.into_iter().map(|job| job.kernel).collect();
        tell_trust(&session, &kernels, reporter)?;
    }
    Ok(code(&results))
}

/// BUILD_DEPENDS_REBUILD (docs/contract.md 8): what was built against another version of what was just installed is
/// built anew. A failure does not undo the installation, and leaves the dependant's old modules in place.
fn dependants(
    session: &Session<'_>,
    jobs: &mut Vec<Job>,
    results: &mut Vec<Result<Done, Error>>,
    reporter: &dyn Reporter,
) -> Result<(), Error> {
    let mut again: Vec<Job> = Vec::new();
    for (job, _) in jobs.iter().zip(results.iter()).filter(|(_, result)| matches!(result, Ok(Done::Installed))) {
        let found = dependants::find(session.ctx, &job.kernel, std::slice::from_ref(&job.package.name))?;
        for cycle in &found.cycles {
            let cycle = cycle.iter().map(ToString::to_string).collect::<Vec<_>>().join(" -> ");
            reporter.warning(&[&"The following modules could not be rebuilt due to dependency cycles:", &cycle]);
        }
        let first = again.len();
        again.extend(found.packages.into_iter().map(|(package, before)| Job {
            announce: Some(format!("\nRebuilding module {package} due to updated dependencies\n")),
            package,
            kernel: job.kernel.clone(),
            want: Want::Installed,
            rebuild: true,
            planned: false,
            after: before.into_iter().map(|before| first + before).collect(),
        }));
    }
    let rebuilt = execute::run::without_depmod(session, &again, reporter);
    for (job, result) in again.iter().zip(&rebuilt) {
        if result.is_err() && install::is_installed(session.ctx, &job.package, &job.kernel) {
            reporter.warning(&[&format!(
                "{} could not be built anew for kernel {}: its present modules stay.",
                job.package, job.kernel
            )]);
        }
    }
    jobs.extend(again);
    results.extend(rebuilt);
    Ok(())
}

/// One exit code for several kernels: the first failure's; 77 only if every kernel is excluded.
/// (The classic returned the last kernel's, whatever had become of the others.)
pub(super) fn code(results: &[Result<Done, Error>]) -> u8 {
    let codes: Vec<u8> = results.iter().map(|result| result.as_ref().err().map_or(0, Error::code)).collect();
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
