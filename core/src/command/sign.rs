//! `dkms sign`: sign what is built and installed with the present key, without building it again.

use super::{check_access, kernels, package, post_transaction, print, with_follow_ups};
use crate::cli::args::Args;
use crate::cli::verb::Reach;
use crate::context::Context;
use crate::error::Error;
use crate::names::{Kernel, Package};
use crate::plan::{Action, Plan, Reason, Stale, Step};
use crate::process::stop;
use crate::report::Reporter;
use crate::resign::{Resigned, resign};
use crate::run::Session;
use crate::sign::state::{Verdict, judge};
use crate::sign::will_load;
use crate::system_error::SystemError;
use crate::tree::walk::{self, Filter};

pub(super) fn run(ctx: &Context, args: &Args, reach: Reach, reporter: &dyn Reporter) -> Result<u8, Error> {
    check_access(ctx, args)?;
    let filter = match (&args.module, &args.version) {
        (None, None) => Filter::default(),
        _ => Filter::package(&package(ctx, args)?),
    };
    let wanted = match reach {
        Reach::All => None,
        Reach::Named => Some(kernels(ctx, args)?),
    };
    let pairs: Vec<(Package, Kernel)> = walk::walk(&ctx.trees, &filter)
        .packages
        .into_iter()
        .flat_map(|entry| entry.built.into_iter().map(move |built| (entry.package.clone(), built.kernel)))
        .filter(|(_, kernel)| wanted.as_ref().is_none_or(|wanted| wanted.contains(kernel)))
        .collect();
    if pairs.is_empty() {
        reporter.line(&"There are no built modules to sign.");
        return Ok(0);
    }
    let session = Session::new(ctx)?;
    if ctx.options.dry_run {
        let steps = pairs.iter().map(|(package, kernel)| step(&session, package, kernel)).collect::<Result<_, _>>()?;
        return Ok(print(&with_follow_ups(ctx, Plan { steps, ..Plan::default() }), reporter));
    }
    session.heal(reporter)?;
    let (mut code, mut changed) = (0, false);
    for (package, kernel) in &pairs {
        if let Some(stop) = stop::requested() {
            reporter.report(super::event(&SystemError::Interrupted(stop).into()));
            break;
        }
        let what = format!("{package}, {}, {}", kernel.release, kernel.arch);
        let result = resign(&session, package, kernel, reporter);
        changed |= matches!(result, Ok(Resigned::Done(_) | Resigned::Incomplete));
        match result {
            Ok(Resigned::Already) => reporter.line(&format!("{what}: signed with this key already")),
            Ok(Resigned::Done(1)) => reporter.line(&format!("{what}: signed")),
            Ok(Resigned::Done(count)) => reporter.line(&format!("{what}: {count} modules signed")),
            Ok(Resigned::NotHere) => {
                reporter.line(&format!("{what}: not signed, since modules are not signed here"));
                code = 1;
            }
            Ok(Resigned::Incomplete) => {
                reporter.line(&format!("{what}: not all of its modules could be signed"));
                code = 1;
            }
            Err(error) => {
                let error = Error::from(error);
                // One package's trouble does not keep the others unsigned.
                reporter.report(super::event(&error));
                code = if code == 0 { error.code() } else { code };
            }
        }
    }
    if changed {
        post_transaction(&session, pairs.last().map(|(_, kernel)| kernel), reporter)?;
    }
    super::tell_trust(&session, &pairs, reporter)?;
    Ok(code)
}

/// What is to be done with one pair, as far as its manifest tells; [`resign`] looks at the files.
fn step(session: &Session<'_>, package: &Package, kernel: &Kernel) -> Result<Step, Error> {
    let manifest = crate::install::artefact::manifest(session.ctx, package, kernel)?;
    let signer = manifest.and_then(|manifest| manifest.provenance.signer.clone());
    let (action, reason) = match judge(signer.as_ref(), &will_load::of_kernel(&session.facts, kernel)?) {
        Verdict::Resign(why) => (Action::Sign, Reason::Stale(Stale::Signature(why))),
        Verdict::Fine => (Action::Keep, Reason::Requested),
    };
    Ok(Step::new(package.clone(), kernel, action, reason))
}
