//! `dkms autoinstall` and `dkms kernel_postinst`: every package that wants it, on one kernel, in the
//! classic's words and with its exit codes (docs/contract.md 8).

use super::reconcile::print;
use super::{check_rights, event, kernels, post_transaction};
use crate::cli::args::Args;
use crate::cli::verb::Show;
use crate::compile;
use crate::context::Context;
use crate::error::{Error, RequestError, StepError};
use crate::execute::Done;
use crate::install;
use crate::names::Kernel;
use crate::plan::{Action, Reason, Step};
use crate::policy::{Ending, FAILED};
use crate::reconcile::{How, Initramfs, Outcome, Scope, foresee, reconcile};
use crate::report::{Event, Reporter};
use crate::run::Session;
use crate::system_error::SystemError;

pub(super) fn run(
    ctx: &Context,
    args: &Args,
    initramfs: Initramfs,
    show: Show,
    reporter: &dyn Reporter,
) -> Result<u8, Error> {
    let session = Session::new(ctx)?;
    let (code, installed) = install(&session, &|| one_kernel(ctx, args), initramfs, show, reporter)?;
    if let Some(kernel) = installed {
        post_transaction(&session, Some(&kernel), reporter)?;
    }
    Ok(code)
}

/// The same for `kernel`, and for a program that has no words.
pub(crate) fn for_kernel(ctx: &Context, kernel: &Kernel, reporter: &dyn Reporter) -> Result<u8, Error> {
    let session = Session::new(ctx)?;
    let named = || Ok(kernel.clone());
    let (code, installed) = install(&session, &named, Initramfs::Auto, Show::default(), reporter)?;
    if installed.is_some() {
        post_transaction(&session, Some(kernel), reporter)?;
    }
    Ok(code)
}

fn one_kernel(ctx: &Context, args: &Args) -> Result<Kernel, Error> {
    if args.kernels.len() > 1 {
        return Err(Error::Request(RequestError::OneKernel(args.verb_name())));
    }
    Ok(kernels(ctx, args)?.remove(0))
}

/// `kernel_postinst`: the kernel's own package goes on after us, and no transaction ends here.
pub(super) fn postinst(
    ctx: &Context,
    args: &Args,
    initramfs: Initramfs,
    show: Show,
    reporter: &dyn Reporter,
) -> Result<u8, Error> {
    Ok(install(&Session::new(ctx)?, &|| one_kernel(ctx, args), initramfs, show, reporter)?.0)
}

/// Gives the exit code, and the kernel if something was installed for it.
fn install(
    session: &Session<'_>,
    kernel: &dyn Fn() -> Result<Kernel, Error>,
    initramfs: Initramfs,
    show: Show,
    reporter: &dyn Reporter,
) -> Result<(u8, Option<Kernel>), Error> {
    let ctx = session.ctx;
    if ctx.autoinstall_is_off() {
        super::tell_disabled(reporter);
        return Ok((0, None));
    }
    let kernel = kernel()?;
    let scope = Scope::Kernels(vec![kernel.clone()]);
    let how = How { announce: true, initramfs, ..How::default() };
    if ctx.options.dry_run {
        return Ok((print(show, &foresee(session, &scope, how)?, reporter)?, None));
    }
    check_rights(ctx)?;
    let outcome = reconcile(session, &scope, how, reporter)?;
    for broken in &outcome.broken {
        reporter.report(Event::Error(vec![broken.to_string()]));
    }
    for note in &outcome.notes {
        reporter.warning(&[note]);
    }
    let code = conclude(session, &kernel, &outcome, reporter)?;
    let installed = outcome.results.iter().any(|result| matches!(result, Some(Ok(Done::Installed))));
    Ok((code, installed.then_some(kernel)))
}

/// The summary lines, and the exit code.
fn conclude(session: &Session<'_>, kernel: &Kernel, outcome: &Outcome, reporter: &dyn Reporter) -> Result<u8, Error> {
    let steps = &outcome.plan.steps;
    let idle =
        steps.iter().all(|step| step.action == Action::Keep || matches!(step.reason, Reason::Manual | Reason::Held));
    if idle {
        return Ok(0);
    }
    let (mut present, mut succeeded, mut skipped, mut failed) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let (mut deferred, mut unresolved, mut waits) = (Vec::new(), false, false);
    let mut not_shared = Vec::new();
    for (index, step) in steps.iter().enumerate() {
        let name = step.package.name.to_string();
        match (outcome.ending(index), &step.reason) {
            (_, Reason::Manual | Reason::Held) => {}
            _ if matches!(outcome.results[index], Some(Ok(Done::Gone))) => {}
            (Ending::Present, _) if step.action == Action::Keep => present.push(name),
            (Ending::Present, _) => succeeded.push(name),
            // The classic's verb, and its code.
            (Ending::Excluded, _)
                if matches!(
                    &outcome.results[index],
                    Some(Err(Error::Install(install::Error::NothingInstalled(_))))
                ) =>
            {
                failed.push(format!("{name}(6)"));
            }
            (Ending::Excluded, _) => skipped.push(name),
            (Ending::Waiting, Reason::Unregistered(missing)) => {
                let missing: Vec<String> = missing.iter().map(ToString::to_string).collect();
                reporter.line(&format!(
                    "{} autoinstall deferred: BUILD_DEPENDS not registered with DKMS: {}.",
                    step.package,
                    missing.join(" ")
                ));
                deferred.push(step.package.to_string());
            }
            (Ending::Waiting, _) => match &outcome.results[index] {
                Some(Err(Error::System(SystemError::Lock(_)))) => failed.push(format!("{name}(17)")),
                Some(Err(Error::Compile(compile::Error::NotShared { .. }))) => not_shared.push(name),
                Some(Err(Error::Step(StepError::MissingDependencies { missing, .. }))) => {
                    if missing.iter().all(|name| not_shared.contains(name)) {
                        not_shared.push(name);
                    } else {
                        unresolved = true;
                        reporter.report(Event::Note(missing_dependencies(step, missing)));
                    }
                }
                _ => waits = true,
            },
            (Ending::Failed(_), Reason::Dependencies(missing)) => {
                let missing: Vec<String> = missing.iter().map(ToString::to_string).collect();
                unresolved = true;
                reporter.report(Event::Note(missing_dependencies(step, &missing)));
            }
            (Ending::Failed(13), Reason::Cycle(_)) => {
                unresolved = true;
                reporter.report(Event::Note(format!("{} autoinstall failed: {}.", step.package, step.reason)));
            }
            (Ending::Failed(code), Reason::Unusable(why)) => {
                reporter.report(Event::Error(why.lines().map(str::to_owned).collect()));
                failed.push(format!("{name}({code})"));
            }
            (Ending::Failed(code), _) => match &outcome.results[index] {
                // Its dependency failed just now.
                Some(Err(Error::Step(StepError::MissingDependencies { missing, .. }))) => {
                    unresolved = true;
                    reporter.report(Event::Note(missing_dependencies(step, missing)));
                }
                _ => failed.push(format!("{name}({code})")),
            },
        }
    }
    present.append(&mut succeeded);
    let release = &kernel.release;
    if !present.is_empty() {
        reporter.line(&format!("Autoinstall on {release} succeeded for module(s) {}.", present.join(" ")));
    }
    if !skipped.is_empty() {
        reporter.line(&format!("Autoinstall on {release} was skipped for module(s) {}.", skipped.join(" ")));
    }
    if !failed.is_empty() {
        reporter.line(&format!("Autoinstall on {release} failed for module(s) {}.", failed.join(" ")));
    }
    if !deferred.is_empty() {
        reporter.line(&format!(
            "Autoinstall on {release} deferred module(s) {} due to BUILD_DEPENDS not yet registered with DKMS.",
            deferred.join(" ")
        ));
        reporter.line(&"They are tried again when something is registered or installed.");
    }
    if waits {
        let facts = session.facts.kernel(kernel)?;
        if let Some(error) = facts.no_headers(session.ctx).map(Error::from) {
            reporter.report(event(&error));
            return Ok(error.code());
        }
        let mismatch = steps.iter().find_map(|step| match &step.reason {
            Reason::Headers(what) => Some(what.clone()),
            _ => None,
        });
        reporter.report(Event::Error(vec![format!("Headers for kernel {release}: {}.", mismatch.unwrap_or_default())]));
        return Ok(21);
    }
    if failed.is_empty() && !unresolved && !not_shared.is_empty() {
        let names = not_shared.join(" ");
        reporter.report(Event::Error(vec![format!(
            "Autoinstall on {release} waits for a build in the share of module(s) {names}."
        )]));
        return Ok(22);
    }
    if failed.is_empty() && !unresolved {
        return Ok(0);
    }
    reporter.report(Event::Error(vec![
        "One or more modules failed to install during autoinstall.".to_owned(),
        format!("See above, and: dkms status -k {release} --long"),
    ]));
    Ok(FAILED)
}

fn missing_dependencies(step: &Step, missing: &[String]) -> String {
    format!("{} autoinstall failed due to missing dependencies: {}.", step.package, missing.join(" "))
}
