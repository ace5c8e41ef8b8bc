//! The one entry for everything that happens to a system: what should each kernel have, what has it got,
//! and what is the difference? Fronts, the boot unit and image builds report that something happened; this
//! looks, plans, and does. Looking again finds nothing to do: order, repetition and omission of events are
//! harmless.

mod adopt;
pub mod dependants;
mod gather;
mod gather_package;
pub mod initramfs;
pub(crate) mod orphan;
mod stale;
mod twice;
pub(crate) mod vanished;

use std::collections::BTreeSet;

use crate::compile;
use crate::conf::Wish;
use crate::conf::framework::Policy;
use crate::context::Context;
use crate::error::{Error, StepError};
use crate::execute::{self, Done, Results, Voice};
use crate::facts;
use crate::install;
use crate::journal::JournalError;
use crate::lock::{Holder, LockError};
use crate::modprobe;
use crate::names::{Kernel, Name, Release};
use crate::plan::{Action, FollowUp, Overdue, Plan, Reason, Step, Unlink, Unlinked, plan};
use crate::policy::{self, Ending};
use crate::process::stop;
use crate::report::{Event, Reporter};
use crate::resign::{Resigned, resign};
use crate::run::Session;
use crate::sign::will_load;
use crate::superseded;
use crate::system_error::SystemError;
use crate::tree::beside;
use crate::tree::record::{Outcome as Recorded, Record};
use crate::tree::walk::{self, Filter};
use crate::weak;

pub use gather::Broken;

/// Which kernels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// These, whether installed or not.
    Kernels(Vec<Kernel>),
    /// All that are installed in the root, and the remains of those that were.
    All,
}

/// Who renews the initramfs of a kernel whose modules changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Initramfs {
    /// We do, where it may matter.
    #[default]
    Auto,
    /// We do, at the end of the package manager's run ([`initramfs::settle`]): what may matter is noted.
    AtEnd,
    /// A later hook of the same transaction does.
    Later,
    /// Nobody.
    Never,
}

/// How to go about it.
#[derive(Debug, Clone, Copy, Default)]
pub struct How<'a> {
    /// Who renews the initramfs.
    pub initramfs: Initramfs,
    /// Failures that the same inputs would only repeat are not tried again: the boot unit, and repeated
    /// events of one transaction.
    pub spare_known_failures: bool,
    /// Any wanted module that is missing is a failure: image builds, CI.
    pub strict: bool,
    /// The source tree decides: packages that do not ask for AUTOINSTALL are installed as well, and a version whose
    /// source has gone gives way to another one.
    pub everything: bool,
    /// The packages that have just come, if nothing but packages did. Those that ask for AUTOINSTALL are installed where they
    /// came built, without their source, too; with `everything`, they and no others are installed although they do not ask for it.
    pub arrived: Option<&'a BTreeSet<Name>>,
    /// All files of the transaction that we are part of are in their places, so that what is not there now will not come.
    /// `None`: they are, unless a scriptlet of rpm calls.
    pub over: Option<bool>,
    /// Each package is announced in the classic's words, as `autoinstall` does; else in those of the plan.
    pub announce: bool,
    /// What is installed for the running kernel is loaded for the devices that are there: their events have passed.
    pub load: bool,
}

/// How it ended.
#[derive(Debug)]
pub struct Outcome {
    /// The plan.
    pub plan: Plan,
    /// How each of its steps ended; `None` for those that do nothing.
    pub results: Results,
    /// What could not be looked at.
    pub broken: Vec<Broken>,
    /// What a person should know of, and is no failure.
    pub notes: Vec<String>,
    /// The kernels beside whose modules something changed.
    pub changed: BTreeSet<Release>,
    /// Kernels whose initramfs could not be renewed, and why.
    pub initramfs_failures: Vec<(Release, String)>,
    /// What to tell a user whose machine would refuse to load what was installed.
    pub trust: Option<Vec<String>>,
}

impl Outcome {
    /// How a step ended, for the policy.
    pub fn ending(&self, index: usize) -> Ending {
        let step = &self.plan.steps[index];
        match (&self.results[index], step.action) {
            (Some(Ok(_)), _) | (None, Action::Keep | Action::Remove) => Ending::Present,
            // What the kernel has itself, at this version or a newer one, is not lacking.
            (
                Some(Err(
                    Error::Step(StepError::Excluded { .. }) | Error::Install(install::Error::NothingInstalled(_)),
                )),
                _,
            )
            | (None, Action::Skip) => Ending::Excluded,
            (
                Some(Err(
                    Error::Facts(facts::Error::NoHeaders { .. })
                    | Error::Compile(compile::Error::NotShared { .. })
                    | Error::System(SystemError::Lock(_)),
                )),
                _,
            )
            | (None, Action::Wait) => Ending::Waiting,
            (Some(Err(Error::Step(StepError::MissingDependencies { missing, .. }))), _)
                if missing.iter().all(|name| self.waits(index, name)) =>
            {
                Ending::Waiting
            }
            (Some(Err(error)), _) => Ending::Failed(error.code()),
            (None, _) => Ending::Failed(match &step.reason {
                Reason::KnownFailure(code, _) => *code,
                Reason::Unusable(_) => 8,
                _ => 13,
            }),
        }
    }

    /// Whether the package of that name, which a step depends on, waits: then nothing of the step has failed either. Its own
    /// step is an earlier one.
    fn waits(&self, step: usize, name: &str) -> bool {
        let kernel = &self.plan.steps[step].kernel;
        (0..step).any(|earlier| {
            let before = &self.plan.steps[earlier];
            before.kernel == *kernel && before.package.name.as_str() == name && self.ending(earlier) == Ending::Waiting
        })
    }

    /// The exit code by policy.
    pub fn code(&self, ctx: &Context, strict: bool) -> u8 {
        let endings = (0..self.plan.steps.len()).map(|index| {
            let ending = self.ending(index);
            // Of what is there, nobody's wish matters: its file need not be read.
            let wish = match ending {
                Ending::Present | Ending::Excluded => Wish::Wanted,
                Ending::Waiting | Ending::Failed(_) => Wish::of(&ctx.trees, &self.plan.steps[index].package.name),
            };
            (wish, ending)
        });
        // Nobody knows what is lacking of what can't be looked at, nor what the old initramfs holds.
        let others = self.broken.iter().map(|_| 4).chain(self.initramfs_failures.iter().map(|_| 6));
        let endings = endings.chain(others.map(|code| (Wish::Wanted, Ending::Failed(code))));
        policy::exit_code(endings, ctx.framework.policy, strict)
    }
}

/// What would be done.
#[derive(Debug)]
pub struct Preview {
    /// The plan.
    pub plan: Plan,
    /// What could not be looked at.
    pub broken: Vec<Broken>,
    /// What a person should know of, and is no failure.
    pub notes: Vec<String>,
}

/// The plan for `scope`, without carrying it out.
pub fn preview(session: &Session<'_>, scope: &Scope, how: How<'_>) -> Result<Preview, Error> {
    let (plan, gathered) = look(session, scope, how, false)?;
    Ok(Preview { plan, broken: gathered.broken, notes: gathered.notes })
}

/// The same with what is known beforehand of its builds.
pub fn foresee(session: &Session<'_>, scope: &Scope, how: How<'_>) -> Result<Preview, Error> {
    let mut preview = preview(session, scope, how)?;
    execute::work::foresee(session, &mut preview.plan);
    Ok(preview)
}

/// Begins with the kernels in `scope`: before the look at them that the plan is made of.
fn begin(session: &Session<'_>, scope: &Scope, how: How<'_>, reporter: &dyn Reporter) -> Result<(), Error> {
    // Nobody has anything to take away yet, and maybe nothing will be done.
    if !session.ctx.trees.own().is_dir() {
        return Ok(());
    }
    let on_wait = |holder: &Holder| {
        reporter.report(Event::Note(format!("Waiting for {holder}, which takes all modules away from a kernel.")));
    };
    Ok(session.begin(&gather::present(session, scope, is_over(session, how))?, &on_wait)?)
}

fn is_over(session: &Session<'_>, how: How<'_>) -> bool {
    how.over.unwrap_or(session.ctx.machine.rpm_scriptlet.is_none())
}

/// `builds`: the plan is carried out at once.
fn look(session: &Session<'_>, scope: &Scope, how: How<'_>, builds: bool) -> Result<(Plan, gather::Gathered), Error> {
    let over = is_over(session, how);
    let gathered = gather::gather(session, scope, how, over, builds)?;
    let is_ours = |overdue: &Overdue| match overdue.what {
        FollowUp::Depmod => true,
        FollowUp::Initramfs => how.initramfs == Initramfs::Auto,
    };
    let mut plan = Plan { registering: gathered.before.registering(), ..plan(&gathered.facts) };
    plan.overdue =
        execute::run::overdue(session.ctx).into_iter().chain(initramfs::outdated(session.ctx, &plan, how)).collect();
    plan.overdue.retain(is_ours);
    superseded::plan_ends(session.ctx, &gathered.before.waiting, &mut plan);
    let mut links = weak::links::unwanted(&session.ctx.trees);
    let lost = lost_links(session.ctx, &plan).into_iter();
    links.extend(lost.filter(|lost| !links.iter().any(|link| link.link == lost.link)).collect::<Vec<_>>());
    plan.links = links;
    Ok((plan, gathered))
}

/// The links between kernels that go with the steps of `plan`.
pub fn lost_links(ctx: &Context, plan: &Plan) -> Vec<Unlink> {
    // The successor of what is taken out puts a module in the same place.
    let gone = plan.superseded.iter().filter(|step| step.reason == Reason::NoOwner);
    weak::links::going(&ctx.trees, plan.steps.iter().chain(gone))
}

/// Looks, plans and does. Failures of packages are in the outcome; an error means that nothing could be found out.
pub fn reconcile(
    session: &Session<'_>,
    scope: &Scope,
    how: How<'_>,
    reporter: &dyn Reporter,
) -> Result<Outcome, Error> {
    if how.strict || session.ctx.framework.policy == Policy::Fail {
        session.require_signatures();
    }
    session.heal(reporter)?;
    begin(session, scope, how, reporter)?;
    let (plan, gathered) = look(session, scope, how, true)?;
    if matches!(how.initramfs, Initramfs::Auto | Initramfs::AtEnd) {
        initramfs::note(session.ctx, &plan)?;
    }
    // What the vendor's program did when a kernel came; the steps are planned as if these were gone.
    let unwanted = plan.links.iter().filter(|link| matches!(link.why, Unlinked::Unwanted(_)));
    weak::links::take_away(session.ctx, &unwanted.cloned().collect::<Vec<_>>(), reporter);
    superseded::end_gone(session, &plan, reporter)?;
    register(session, &gathered.before, reporter)?;
    let mut results: Results = plan.steps.iter().map(|_| None).collect();
    for (index, step) in plan.steps.iter().enumerate() {
        match step.action {
            Action::Remove => results[index] = Some(orphan::remove(session, step, reporter).map(|()| Done::Already)),
            Action::Sign => results[index] = Some(sign(session, step, reporter)),
            _ => {}
        }
    }
    for release in &gathered.leftovers {
        // Of packages that failed to go, all stays.
        let failed = plan.steps.iter().zip(&results).any(|(step, result)| {
            step.kernel.release == *release && step.action == Action::Remove && matches!(result, Some(Err(_)))
        });
        if !failed {
            orphan::forget(session, release, reporter)?;
        }
        orphan::clear(session.ctx, release)?;
    }
    let before = session.touched_so_far();
    let voice = if how.announce { Voice::Autoinstall } else { Voice::Plan };
    let mut done = execute::run::without_depmod(session, &plan.steps, voice, reporter);
    // Versions that only waited for what is installed now go.
    if stop::requested().is_none() {
        superseded::end_succeeded(session, &plan, reporter)?;
    }
    let touched = session.touched_so_far();
    execute::run::depmod_once(session, &plan.steps, &mut done, reporter);
    let ours = |result: &Option<Result<Done, Error>>| matches!(result, Some(Ok(Done::Installed)));
    let loadable = plan.steps.iter().zip(&done).filter(|(_, result)| ours(result));
    let loadable: BTreeSet<&Release> = loadable.map(|(step, _)| &step.kernel.release).collect();
    modprobe::devices::load_matching(session.ctx, how.load, loadable.iter().copied());
    let mut changed = before;
    changed.extend(loadable.into_iter().cloned());
    changed.extend(touched);
    for (result, done) in results.iter_mut().zip(done) {
        *result = result.take().or(done);
    }
    note(session, &plan, &results)?;
    for (package, seen) in &gathered.seen {
        if let Err(error) = seen.remember(session.ctx, package) {
            log::warn!("{error}");
        }
    }
    if *scope == Scope::All {
        if let Err(error) = Record::forget_gone(&session.ctx.trees) {
            log::warn!("{error}");
        }
    }
    let failures = initramfs::renew(session.ctx, &plan, &results, how.initramfs, reporter);
    initramfs::remember(session.ctx, &plan, how.initramfs);
    let kernels: BTreeSet<Kernel> = (plan.steps.iter().zip(&results))
        .filter(|(_, result)| matches!(result, Some(Ok(Done::Installed))))
        .map(|(step, _)| step.kernel.clone())
        .collect();
    let trust = will_load::advice(&session.facts, &kernels.into_iter().collect::<Vec<_>>())?;
    Ok(Outcome {
        plan,
        results,
        broken: gathered.broken,
        notes: gathered.notes,
        changed,
        initramfs_failures: failures,
        trust,
    })
}

/// Sets packages' registrations right, as the plan says.
fn register(session: &Session<'_>, before: &gather::Before, reporter: &dyn Reporter) -> Result<(), Error> {
    before.vanished.iter().for_each(|entry| vanished::forget(session, entry, reporter));
    for (package, source) in &before.forgotten {
        adopt::adopt(session.ctx, package, source, reporter)?;
    }
    superseded::revivals(session.ctx, &before.waiting).try_for_each(|version| superseded::revive(session.ctx, version))
}

/// Carries out a `Sign` step. What can't be signed stays as it is, and says so itself.
fn sign(session: &Session<'_>, step: &Step, reporter: &dyn Reporter) -> Result<Done, Error> {
    let result = resign(session, &step.package, &step.kernel, reporter).map_err(Error::from);
    if let Err(error) = &result {
        reporter.report(Event::Error(error.lines()));
    }
    Ok(match result? {
        Resigned::Done(_) => Done::Installed,
        Resigned::Already | Resigned::NotHere | Resigned::Incomplete => Done::Already,
    })
}

/// Records what was not tried, and takes marks away from what is right again.
fn note(session: &Session<'_>, plan: &Plan, results: &Results) -> Result<(), Error> {
    let ctx = session.ctx;
    for (step, result) in plan.steps.iter().zip(results) {
        let outcome = match (&step.reason, step.action, result) {
            (Reason::Excluded(why), ..) => Recorded::Skipped { why: why.clone() },
            (Reason::Headers(what), ..) => Recorded::Waiting { what: format!("headers: {what}") },
            (Reason::Dependencies(missing) | Reason::Unregistered(missing), ..) => {
                Recorded::Waiting { what: missing.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ") }
            }
            (Reason::Cycle(_) | Reason::Unusable(_), Action::Fail, _) => Recorded::Failed {
                step: "conf".to_owned(),
                code: if matches!(step.reason, Reason::Cycle(_)) { 13 } else { 8 },
                diagnostic: Some(step.reason.to_string()),
                log: None,
                remembered_key: None,
            },
            _ => continue,
        };
        // What another run has taken away, this one knows nothing of.
        let still = session.still(&step.kernel);
        if matches!(still, Err(LockError::Closed { .. })) {
            continue;
        }
        let (package, kernel) = (step.package.clone(), step.kernel.clone());
        let record = Record { package, kernel, outcome, at: ctx.timestamp() };
        if let Err(error) = record.store_if_here(&ctx.trees) {
            log::warn!("{error}");
        }
    }
    let kernels: BTreeSet<&Kernel> = plan.steps.iter().map(|step| &step.kernel).collect();
    for kernel in kernels {
        let right = plan.steps.iter().zip(results).filter(|(step, result)| {
            step.kernel == *kernel && (step.action == Action::Keep || matches!(result, Some(Ok(_))))
        });
        if stale::marked(ctx, kernel).is_empty() {
            continue;
        }
        let _lock = ctx.lock_tree()?;
        stale::clear(ctx, kernel, right.map(|(step, _)| &step.package))?;
    }
    Ok(())
}

/// The steps that count everything built for `kernel` as stale; what does already is kept.
pub fn outdated(ctx: &Context, kernel: &Kernel) -> Vec<Step> {
    let marked = stale::marked(ctx, kernel);
    let step = |package| {
        let action = if marked.contains(&package) { Action::Keep } else { Action::Outdate };
        Step::new(package, kernel, action, Reason::Upgrade)
    };
    let walk = walk::walk(&ctx.trees, &Filter::kernel(kernel)).packages.into_iter();
    walk.filter(|entry| entry.is_built_for(kernel)).map(|entry| step(entry.package)).collect()
}

/// The steps that take everything of ours away from `kernel`.
pub fn orphaned(ctx: &Context, kernel: &Kernel) -> Vec<Step> {
    let filter = Filter::kernel(kernel);
    let walk = walk::walk(&ctx.trees, &filter);
    let beside = beside::unknown_to(&ctx.trees, &filter, &walk).into_iter().filter(|beside| beside.kernel == *kernel);
    let built = walk.packages.into_iter().filter(|entry| entry.is_built_for(kernel)).map(|entry| entry.package);
    built
        .chain(beside.map(|beside| beside.package))
        .map(|package| Step::new(package, kernel, Action::Remove, Reason::Orphaned))
        .collect()
}

/// Marks everything installed for `kernel` as stale: its package is being upgraded under the same release.
/// Nothing is deleted. Gives the packages that were marked.
pub fn kernel_is_coming(session: &Session<'_>, kernel: &Kernel) -> Result<Vec<crate::names::Package>, Error> {
    let ctx = session.ctx;
    let packages: Vec<_> = outdated(ctx, kernel).into_iter().map(|step| step.package).collect();
    if !packages.is_empty() {
        let _lock = ctx.lock_tree()?;
        stale::mark(ctx, kernel, packages.clone())?;
    }
    Ok(packages)
}

/// Takes everything of ours away from a kernel that is being removed. What other runs are building for it meanwhile is not
/// put in its place any more. Gives the packages that could not be unbuilt.
pub fn kernel_is_going(
    session: &Session<'_>,
    kernel: &Kernel,
    reporter: &dyn Reporter,
) -> Result<Vec<(crate::names::Package, Error)>, Error> {
    session.heal(reporter)?;
    let on_wait = |holder: &Holder| {
        reporter.report(Event::Note(format!(
            "Waiting for {holder}, which puts modules of kernel {kernel} in their places."
        )));
    };
    let _closed = session.ctx.close_gate(kernel, &on_wait)?;
    let failures = orphan::remove_all(session, kernel, reporter)?;
    Record::list(&session.ctx.trees, Some(&kernel.release))?
        .iter()
        .filter(|record| !install::is_built(session.ctx, &record.package, &record.kernel))
        .try_for_each(|record| {
            Record::remove(&session.ctx.trees, &record.package, &record.kernel).map_err(JournalError::File)
        })?;
    Ok(failures)
}
