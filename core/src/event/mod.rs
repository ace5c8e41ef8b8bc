//! The one door for what happens to a system: package managers' hooks, the boot unit and `dkms reconcile --event` report
//! an [`Event`], and [`handle`] does what it calls for. Events may come in any order, twice, or not at all: what is done
//! is always what a look at the system calls for.

pub mod copies;
mod gone;
pub mod own;
mod register;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::path::PathBuf;

use crate::cli::args::Args;
use crate::cli::surroundings;
use crate::cli::verb::Verb;
use crate::command;
use crate::command::reconcile::perform;
use crate::context::Context;
use crate::diagnosis::summary::{self, Summary};
use crate::error::{Error, RequestError, UsageError};
use crate::execute::run::depmods;
use crate::kernel::installed;
use crate::names::{Kernel, Name, Package, Release};
use crate::policy::Ending;
use crate::process::stop;
use crate::reconcile::{How, Initramfs, Outcome, Scope, initramfs};
use crate::report::Reporter;
use crate::run::Session;
use crate::superseded;
use crate::tree::walk;

/// What has happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A kernel is about to be unpacked, perhaps over an older build of the same release.
    KernelComing(Release),
    /// A kernel's files are in place.
    KernelInstalled(Release),
    /// A kernel is about to be removed.
    KernelGoing(Release),
    /// A kernel's files are gone, or will be seen not to be.
    KernelGone(Release),
    /// A kernel's headers are in place.
    HeadersInstalled(Release),
    /// A kernel's headers are gone: its modules stay.
    HeadersGone(Release),
    /// A package's source is in place, for the first time or anew.
    SourceArrived(Arrival),
    /// A package is about to go for good, while its source is still there.
    SourceGoing(Package),
    /// A source that was in this directory of the source tree is gone, or was replaced by another version's.
    SourceUpgraded(PathBuf),
    /// The package manager's run is over: what waited for its end is settled.
    RunOver,
    /// The machine has started.
    Boot,
    /// Files of kernels, headers or packages have changed: any of them may have come or gone.
    FilesChanged,
    /// A transaction is over, whatever it was.
    TransactionEnd,
    /// Something may have changed on any kernel.
    Look,
}

impl Event {
    /// What `--event` calls it: one of `cli::options::EVENTS`.
    pub fn word(&self) -> &'static str {
        match self {
            Self::KernelComing(_) => "kernel-coming",
            Self::KernelInstalled(_) => "kernel-installed",
            Self::KernelGoing(_) => "kernel-going",
            Self::KernelGone(_) => "kernel-gone",
            Self::HeadersInstalled(_) => "headers-installed",
            Self::HeadersGone(_) => "headers-gone",
            Self::SourceArrived(_) => "source-arrived",
            Self::SourceGoing(_) => "source-going",
            Self::SourceUpgraded(_) => "source-upgraded",
            Self::RunOver | Self::TransactionEnd => "transaction-end",
            Self::Boot => "boot",
            Self::FilesChanged => "files-changed",
            Self::Look => "look",
        }
    }

    /// The kernel that it concerns, if it is one.
    pub fn kernel(&self) -> Option<&Release> {
        match self {
            Self::KernelComing(release)
            | Self::KernelInstalled(release)
            | Self::KernelGoing(release)
            | Self::KernelGone(release)
            | Self::HeadersInstalled(release)
            | Self::HeadersGone(release) => Some(release),
            _ => None,
        }
    }

    /// The words with which another process reports it to `dkms`.
    pub fn words(&self, options: &EventOptions) -> Vec<String> {
        let mut words = vec!["reconcile".to_owned(), "--event".to_owned(), self.word().to_owned()];
        match self.kernel() {
            Some(release) => words.extend(["-k".to_owned(), release.to_string()]),
            None => words.push("--all-kernels".to_owned()),
        }
        match options.initramfs {
            Initramfs::Auto | Initramfs::AtEnd => {}
            Initramfs::Later => words.push("--initramfs=later".to_owned()),
            Initramfs::Never => words.push("--initramfs=never".to_owned()),
        }
        if options.verbose {
            words.push("--verbose".to_owned());
        }
        words
    }

    /// Whether it announces what has not happened yet.
    fn is_ahead(&self) -> bool {
        matches!(self, Self::KernelComing(_) | Self::KernelGoing(_) | Self::SourceGoing(_))
    }
}

/// Runs what the command line asks for: what is to be done about an event of one kernel is done here, all else by the
/// verbs.
pub fn run(ctx: &Context, args: &Args, reporter: &dyn Reporter) -> u8 {
    let event: fn(Release) -> Event = match (args.verb_name(), args.value("event")) {
        ("reconcile", Some("kernel-coming")) => Event::KernelComing,
        ("reconcile", Some("kernel-going")) => Event::KernelGoing,
        ("reconcile", Some("kernel-gone")) => Event::KernelGone,
        _ => return command::run(ctx, args, reporter),
    };
    let releases = || {
        Verb::of(args)?;
        if !args.arches.is_empty() || args.kernels.iter().any(|kernel| kernel.contains('/')) {
            let event = args.value("event").unwrap_or_default();
            return Err(Error::from(UsageError::BadValue(format!("--event {event} takes no architecture."))));
        }
        args.kernels.iter().map(|release| Ok(event(Release::new(release.as_str())?))).collect::<Result<Vec<_>, Error>>()
    };
    let handled = releases().and_then(|events| {
        if events.is_empty() {
            return Err(Error::Request(RequestError::OneKernel("reconcile")));
        }
        handle(ctx, &events, &EventOptions::default(), reporter)
    });
    match handled {
        Ok(handled) => handled.code,
        Err(error) => {
            reporter.report(command::event(&error));
            error.code()
        }
    }
}

/// A source that has arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Arrival {
    /// In the usual place for this package, `<source tree>/<name>-<version>`.
    Package(Package),
    /// As a tarball for this package (inside the root).
    Tarball(Package, PathBuf),
    /// In this directory (inside the root), which says itself what it holds.
    Directory(PathBuf),
}

/// What only a front knows about how its package manager goes on.
#[derive(Debug, Clone, Default)]
pub struct EventOptions {
    /// Who renews the initramfs of a kernel whose modules change.
    pub initramfs: Initramfs,
    /// More is said.
    pub verbose: bool,
    /// The kernels had their turn in this run already: what failed then with the same inputs is not tried again.
    pub again: bool,
    /// All files of the transaction are in their places, so that what is not there now will not come.
    pub over: bool,
    /// The kernels that sources which arrive are for; `None`: all.
    pub kernels: Option<Vec<Release>>,
    /// The source tree decides, as it always did on Arch: all that is in it is registered and installed, whatever
    /// AUTOINSTALL says, and a version whose source has gone gives way to another.
    pub everything: bool,
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Handled {
    /// The exit code by policy, or of what could not be registered or removed.
    pub code: u8,
    /// What is to be said at the end of the run.
    pub summary: Summary,
    /// How the packages ended on the kernels that were looked at; `None` if none was.
    pub outcome: Option<Outcome>,
    /// The exit code of a source that could not be registered: nothing else was done.
    pub refused: Option<u8>,
    /// Nothing could be built in this root now: all of it is still to be done.
    pub postponed: bool,
}

impl Handled {
    /// Whether nothing waits or failed for `release`.
    pub fn is_settled(&self, release: &Release) -> bool {
        let Some(outcome) = &self.outcome else { return !self.postponed };
        let mut steps = outcome.plan.steps.iter().enumerate().filter(|(_, step)| step.kernel.release == *release);
        !steps.any(|(index, _)| matches!(outcome.ending(index), Ending::Waiting | Ending::Failed(_)))
    }
}

/// The surroundings of a front. `changes`: it is going to change something, so that builds get a world of their own.
pub fn surroundings(changes: bool) -> Result<Context, Error> {
    surroundings::without_words(changes)
}

/// Does what `events`, which belong together, call for: first what comes is registered, then the kernels get what they
/// should have, then what goes is taken away.
pub fn handle(
    ctx: &Context,
    events: &[Event],
    options: &EventOptions,
    reporter: &dyn Reporter,
) -> Result<Handled, Error> {
    stop::listen();
    let mut handled = Handled::default();
    for event in events {
        match event {
            Event::KernelComing(release) if ctx.trees.modules_dir(release).is_dir() => {
                let work = || command::kernel::coming(ctx, &ctx.kernel(release)?, reporter);
                handled.code = handled.code.max(command::carry_out(ctx, reporter, work));
            }
            Event::SourceGoing(package) => {
                let work = || command::remove::everywhere(ctx, package, reporter);
                handled.code = handled.code.max(command::carry_out(ctx, reporter, work));
            }
            _ => {}
        }
    }
    if !events.iter().all(Event::is_ahead) {
        build(ctx, events, options, &mut handled, reporter)?;
    }
    if handled.refused.is_none() {
        gone::take_away(ctx, events, options, &mut handled, reporter)?;
    }
    command::tell_of_next_boot(ctx);
    Ok(handled)
}

/// Registers what arrived, and gives the kernels what they should have.
fn build(
    ctx: &Context,
    events: &[Event],
    options: &EventOptions,
    handled: &mut Handled,
    reporter: &dyn Reporter,
) -> Result<(), Error> {
    let arrivals: Vec<&Arrival> = events
        .iter()
        .filter_map(|event| match event {
            Event::SourceArrived(arrival) => Some(arrival),
            _ => None,
        })
        .collect();
    // bash, which reads dkms.conf, and the private worlds of builds can't do without.
    if !ctx.trees.outer("/proc/self").exists() {
        let adding = register::sources(ctx);
        let adding: String = adding.iter().map(|dir| format!("dkms add {}; ", dir.display())).collect();
        handled.summary.note(format!(
            "No modules are built, since nothing is mounted on /proc of this root. Mount it (arch-chroot does) and run \
             there: {adding}dkms reconcile --all-kernels"
        ));
        handled.postponed = true;
        // A later run, or the next boot, finds what is registered.
        for arrival in arrivals {
            if let Arrival::Package(package) = arrival {
                register::link_in_place(ctx, package)?;
            }
        }
        return Ok(());
    }
    let mut arrived = Vec::new();
    for arrival in &arrivals {
        match register::register(ctx, arrival, reporter)? {
            Ok(package) => arrived.push(package),
            Err(code) if options.everything => handled.summary.note(register::failed(arrival, code)),
            Err(code) => {
                handled.refused = Some(code);
                handled.code = code;
                return Ok(());
            }
        }
    }
    // What came is for all kernels; kernels that came are for all there is.
    let kernels = events.iter().any(|event| event.kernel().is_some());
    if options.everything && kernels && !ctx.autoinstall_is_off() {
        register::rest(ctx, handled, reporter)?;
    }
    let scope = scope(ctx, events, options, &arrived)?;
    match scope.filter(|_| !ctx.autoinstall_is_off()) {
        Some(scope) => {
            let names: BTreeSet<Name> = arrived.iter().flatten().map(|package| package.name.clone()).collect();
            reconcile(ctx, &scope, options, (!kernels).then_some(&names), handled, reporter)?;
        }
        None if events.contains(&Event::RunOver) => {
            let session = Session::new(ctx)?;
            session.heal(reporter)?;
            if superseded::settle(&session, options.over, reporter)? {
                depmods(&session, reporter);
            }
            // Packages that went may have left their modules in an initramfs.
            for (release, why) in initramfs::settle(ctx, reporter) {
                handled.summary.note(summary::not_renewed(&release, &why));
            }
        }
        None => {}
    }
    Ok(())
}

/// `arrived`: the packages that came, if nothing but packages did.
fn reconcile(
    ctx: &Context,
    scope: &Scope,
    options: &EventOptions,
    arrived: Option<&BTreeSet<Name>>,
    handled: &mut Handled,
    reporter: &dyn Reporter,
) -> Result<(), Error> {
    let how = How {
        initramfs: options.initramfs,
        spare_known_failures: options.again,
        everything: options.everything,
        arrived,
        ..How::default()
    };
    let done = perform(ctx, scope, how, options.over, reporter)?;
    handled.code = handled.code.max(done.code);
    handled.summary.merge(done.summary);
    handled.outcome = Some(done.outcome);
    Ok(())
}

/// The kernels to look at; `None`: none.
fn scope(
    ctx: &Context,
    events: &[Event],
    options: &EventOptions,
    arrived: &[Option<Package>],
) -> Result<Option<Scope>, Error> {
    let everywhere = !arrived.is_empty() && options.kernels.is_none();
    let looks =
        |event: &Event| matches!(event, Event::Look | Event::Boot | Event::FilesChanged | Event::TransactionEnd);
    if everywhere || events.iter().any(looks) {
        return Ok(Some(Scope::All));
    }
    let mut releases: Vec<Release> = Vec::new();
    let mut concerned = events.contains(&Event::RunOver);
    for event in events {
        if let Event::KernelInstalled(release) | Event::HeadersInstalled(release) = event {
            releases.push(release.clone());
        }
    }
    if !arrived.is_empty() {
        releases.extend(options.kernels.iter().flatten().cloned());
    }
    releases.sort();
    releases.dedup();
    let mut kernels = releases.iter().map(|release| ctx.kernel(release)).collect::<Result<Vec<_>, _>>()?;
    // What a package brings built needs no headers: it is for every kernel here that it was built for.
    let is_here = |kernel: &Kernel| installed::is_there(&ctx.trees, &kernel.release);
    for package in arrived.iter().flatten() {
        let built = walk::built(&ctx.trees, package).into_iter().map(|built| built.kernel);
        kernels.extend(
            built.filter(|kernel| is_here(kernel)).filter(|kernel| !kernels.contains(kernel)).collect::<Vec<_>>(),
        );
    }
    concerned |= !kernels.is_empty();
    Ok(concerned.then_some(Scope::Kernels(kernels)))
}
