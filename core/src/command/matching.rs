//! `dkms match`: install for one kernel what another has (docs/contract.md 2.11).

use super::{check_access, kernels, print, with_follow_ups};
use crate::cli::args::Args;
use crate::context::Context;
use crate::error::{Error, RequestError};
use crate::execute::work::state_of;
use crate::execute::{self, Voice};
use crate::names::{Name, Release};
use crate::plan::{Plan, Step, Want, requested};
use crate::report::Reporter;
use crate::run::Session;
use crate::tree::walk::{self, Filter};

pub(super) fn run(ctx: &Context, args: &Args, template: Option<Release>, reporter: &dyn Reporter) -> Result<u8, Error> {
    if args.kernels.len() > 1 {
        return Err(Error::Request(RequestError::OneKernel("match")));
    }
    let Some(template) = template else {
        return Err(Error::Request(RequestError::NoTemplate));
    };
    let kernel = kernels(ctx, args)?.remove(0);
    if template == kernel.release {
        return Err(Error::Request(RequestError::OwnTemplate));
    }
    let wanted = args.module.as_deref().map(Name::new).transpose()?;
    if let Some(name) = &wanted {
        if !ctx.trees.name_dir(name).is_dir() {
            return Err(Error::Request(RequestError::NotInTree(name.clone())));
        }
    }
    check_access(ctx, args)?;
    let template = ctx.kernel(&template)?;
    reporter.line(&"");
    reporter.line(&format!("Matching modules in kernel: {kernel}"));
    reporter.line(&format!("to the configuration of kernel: {template}"));
    let filter = Filter { name: wanted.map(|name| name.to_string()), ..Filter::default() };
    let installed =
        |entry: &walk::PackageEntry| entry.built.iter().any(|built| built.installed && built.kernel == template);
    let packages: Vec<_> =
        walk::walk(&ctx.trees, &filter).packages.into_iter().filter(installed).map(|entry| entry.package).collect();
    if packages.is_empty() {
        reporter.line(&"");
        reporter.line(&"There is nothing to be done for this match.");
        return Ok(0);
    }
    let session = Session::new(ctx)?;
    if let Some(error) = session.facts.kernel(&kernel)?.no_headers(ctx).filter(|_| ctx.framework.share.build_locally) {
        return Err(error.into());
    }
    if !ctx.options.dry_run {
        session.heal(reporter)?;
        session.begin(std::slice::from_ref(&kernel), &|holder| log::info!("waiting for {holder}"))?;
    }
    let steps = packages.iter().map(|package| {
        let state = state_of(ctx, package, &kernel);
        requested(package, &kernel, &state, Want::Installed, ctx.options.force)
    });
    let steps = after_dependencies(&session, steps.collect());
    if ctx.options.dry_run {
        return Ok(print(&with_follow_ups(ctx, Plan { steps, ..Plan::default() }), reporter));
    }
    Ok(super::build::code(&execute::run(&session, &steps, Voice::Match, reporter)))
}

/// Puts what is needed by others of the list before them. A package whose dkms.conf can't be read says so when its turn
/// comes; of a cycle, the later one goes without.
fn after_dependencies(session: &Session<'_>, steps: Vec<Step>) -> Vec<Step> {
    let mut waiting: Vec<(Step, Vec<String>)> = Vec::new();
    for step in steps {
        let evaluated = session.facts.evaluate_as_is(&step.package, &step.kernel);
        waiting.push((step, evaluated.map(|evaluated| evaluated.conf.build_depends).unwrap_or_default()));
    }
    let mut steps: Vec<Step> = Vec::new();
    while !waiting.is_empty() {
        let names: Vec<String> = waiting.iter().map(|(step, _)| step.package.name.to_string()).collect();
        let is_free = |needs: &[String]| !needs.iter().any(|need| names.contains(need));
        let next = waiting.iter().position(|(_, needs)| is_free(needs)).unwrap_or(0);
        let (mut step, needs) = waiting.remove(next);
        let needed = |other: &Step| needs.iter().any(|need| *need == other.package.name.as_str());
        step.after = steps.iter().enumerate().filter(|(_, other)| needed(other)).map(|(index, _)| index).collect();
        steps.push(step);
    }
    steps
}
