//! Steps side by side: each begins when those before it are done, as many at once as the budget allows.

use std::collections::BTreeSet;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::Builder;
use std::time::Duration;

use super::work::{Done, record, work};
use crate::context::Context;
use crate::error::{Error, StepError};
use crate::install;
use crate::loadable::gather;
use crate::names::Release;
use crate::plan::{Action, Because, FollowUp, Overdue, Step};
use crate::process::stop::{self, Stop};
use crate::report::progress::{Ended, How};
use crate::report::{Buffer, Event, Reporter};
use crate::run::Session;
use crate::run::depmod::{self, Depmod};
use crate::run::follow_up;
use crate::system_error::SystemError;
use crate::tree::Trees;
use crate::weak;

use super::confirm::confirm;
use super::order;
use super::progress::Progress;

/// How each step of a plan ended; `None` of those that do nothing.
pub type Results = Vec<Option<Result<Done, Error>>>;

/// In which words steps are announced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Voice {
    /// `build` and `install`: not at all; what is there already is worth a line.
    Asked,
    /// `match`.
    Match,
    /// `autoinstall`.
    Autoinstall,
    /// What is rebuilt because what it needs has changed.
    Dependants,
    /// The plan's own: several packages' lines follow each other, whose these are, and why.
    Plan,
}

impl Voice {
    fn announcement(self, step: &Step) -> Option<String> {
        let Step { package, kernel, .. } = step;
        match self {
            Self::Asked => None,
            Self::Match => Some(format!("Module:  {}\nVersion: {}", package.name, package.version)),
            Self::Autoinstall => Some(format!("Autoinstall of module {package} for kernel {kernel}")),
            Self::Dependants => Some(format!("\nRebuilding module {package} due to updated dependencies\n")),
            Self::Plan => {
                let text = step.to_string();
                Some(
                    text.chars()
                        .next()
                        .map(char::to_uppercase)
                        .into_iter()
                        .flatten()
                        .chain(text.chars().skip(1))
                        .collect(),
                )
            }
        }
    }

    /// Whether a step is done, or at least spoken of.
    fn concerns(self, step: &Step) -> bool {
        let speaks = matches!(self, Self::Asked | Self::Match) && step.action == Action::Keep;
        speaks || step.installs() || step.action == Action::BuildOnly
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum StepState {
    Waiting,
    Running,
    Done,
    Failed,
}

struct Board {
    states: Vec<StepState>,
    results: Results,
    /// How many steps' words were passed on: they are said in the order of the list.
    said: usize,
}

/// Carries out `steps`, then runs depmod once for each kernel that changed. Gives one result a step, in their order.
pub fn run(session: &Session<'_>, steps: &[Step], voice: Voice, reporter: &dyn Reporter) -> Results {
    let mut results = without_depmod(session, steps, voice, reporter);
    depmod_once(session, steps, &mut results, reporter);
    results
}

/// Carries out those of `steps` that build or install; depmod is left to the caller. Gives one result a step, in their
/// order. A step whose predecessor failed is not tried: it misses a dependency.
pub fn without_depmod(session: &Session<'_>, steps: &[Step], voice: Voice, reporter: &dyn Reporter) -> Results {
    let state = |step| if voice.concerns(step) { StepState::Waiting } else { StepState::Done };
    let states: Vec<StepState> = steps.iter().map(state).collect();
    let total = states.iter().filter(|state| **state == StepState::Waiting).count();
    let board = Mutex::new(Board { states, results: steps.iter().map(|_| None).collect(), said: 0 });
    let moved = Condvar::new();
    // Twice as many as may compile: who is past its make copies, signs and waits for the disk while another compiles.
    let workers = (session.budget.total() * 2).min(total);
    // Alone, a step speaks for itself at once; side by side, they take turns.
    let buffers: Vec<Buffer> = steps.iter().map(|_| Buffer::default()).collect();
    // Where all begin at once, their order is of no interest.
    let has_order = workers > 1 && workers < total;
    let is_asked = |step: &Step| (has_order || (workers > 0 && reporter.shows_progress())) && voice.concerns(step);
    let expected = order::earlier(session.ctx, steps, &is_asked);
    let ways = if has_order { order::ways(steps, &expected) } else { vec![Duration::ZERO; steps.len()] };
    let all = All { session, steps, ways, voice };
    // Whoever sees progress sees that of several builds, also of one after the other.
    if workers <= 1 && (total <= 1 || !reporter.shows_progress()) {
        one_by_one(&all, &board, reporter);
    } else {
        let concerned = steps.iter().zip(expected).filter(|(step, _)| voice.concerns(step));
        let progress = Progress::new(&concerned.collect::<Vec<_>>(), workers, reporter);
        std::thread::scope(|scope| {
            for _ in 0..workers {
                let work = || worker(&all, &board, &moved, &buffers, &progress);
                // Where the system has no more threads for us, those that there are do it.
                if let Err(error) = Builder::new().spawn_scoped(scope, work) {
                    log::warn!("fewer builds run side by side: {error}");
                    work();
                    break;
                }
            }
        });
        progress.end();
    }
    let board = board.into_inner().unwrap_or_else(PoisonError::into_inner);
    for buffer in &buffers[board.said..] {
        buffer.replay(reporter);
    }
    let mut results = board.results;
    if let Some(stop) = stop::requested() {
        interrupted(stop, steps, &mut results, voice, reporter);
    }
    for (index, step) in steps.iter().enumerate() {
        if results[index].is_none() && voice.concerns(step) {
            results[index] = Some(untried(session, steps, &board.states, index));
        }
    }
    results
}

/// What is not done, since a signal came, is not recorded as a failure: nobody has tried. Says how far things got.
fn interrupted(stop: Stop, steps: &[Step], results: &mut Results, voice: Voice, reporter: &dyn Reporter) {
    let mut left = Vec::new();
    let mut done = 0;
    for (step, result) in steps.iter().zip(results).filter(|(step, _)| voice.concerns(step)) {
        if result.is_some() && !matches!(result, Some(Err(Error::System(SystemError::Interrupted(_))))) {
            done += 1;
            continue;
        }
        left.push(format!("Not done: {} for kernel {}", step.package, step.kernel));
        *result = Some(Err(SystemError::Interrupted(stop).into()));
    }
    if left.is_empty() {
        return;
    }
    let mut lines = vec![format!("Interrupted by {stop} after {done} of {}; what was done stays.", done + left.len())];
    lines.extend(left);
    lines.push("To go on, give the same command again, or: dkms reconcile".to_owned());
    reporter.report(Event::Warning(lines));
}

/// Runs depmod once for each kernel that changed. When it fails after modules were installed, their steps
/// have failed.
pub fn depmod_once(session: &Session<'_>, steps: &[Step], results: &mut Results, reporter: &dyn Reporter) {
    for (release, error) in depmods(session, reporter) {
        for (result, step) in results.iter_mut().zip(steps) {
            if step.kernel.release == release && matches!(result, Some(Ok(Done::Installed))) {
                *result = Some(Err(error()));
            }
        }
    }
    if !session.ctx.options.no_depmod {
        confirm(session, steps, results, reporter);
    }
}

/// What the workers share, and none changes.
struct All<'a> {
    session: &'a Session<'a>,
    steps: &'a [Step],
    /// How far it is from the beginning of each to the end.
    ways: Vec<Duration>,
    voice: Voice,
}

fn one_by_one(all: &All<'_>, board: &Mutex<Board>, reporter: &dyn Reporter) {
    while let Some(index) = take(all, board) {
        let result = all.one(&all.steps[index], reporter);
        finish(board, index, result);
    }
}

fn worker(all: &All<'_>, board: &Mutex<Board>, moved: &Condvar, buffers: &[Buffer], progress: &Progress<'_>) {
    loop {
        let index = {
            let mut state = board.lock().unwrap_or_else(PoisonError::into_inner);
            loop {
                if let Some(index) = ready(all, &mut state) {
                    break index;
                }
                if !state.states.contains(&StepState::Running) {
                    moved.notify_all();
                    return;
                }
                state = moved.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
        };
        let step = &all.steps[index];
        let result = all.one(step, &progress.of(step, &buffers[index]));
        progress.done(step);
        finish(board, index, result);
        let mut state = board.lock().unwrap_or_else(PoisonError::into_inner);
        while state.said < all.steps.len() && matches!(state.states[state.said], StepState::Done | StepState::Failed) {
            buffers[state.said].replay(progress.reporter());
            state.said += 1;
        }
        drop(state);
        progress.show();
        moved.notify_all();
    }
}

fn take(all: &All<'_>, board: &Mutex<Board>) -> Option<usize> {
    ready(all, &mut board.lock().unwrap_or_else(PoisonError::into_inner))
}

/// Of the steps that can begin the first of those with the longest way to the end; it is then running. Steps that never can are
/// marked failed.
fn ready(all: &All<'_>, board: &mut Board) -> Option<usize> {
    if stop::requested().is_some() {
        return None;
    }
    let mut found: Option<usize> = None;
    for (index, step) in all.steps.iter().enumerate() {
        if board.states[index] != StepState::Waiting {
            continue;
        }
        if step.after.iter().any(|before| board.states[*before] == StepState::Failed) {
            board.states[index] = StepState::Failed;
            continue;
        }
        if step.after.iter().all(|before| board.states[*before] == StepState::Done) {
            found = Some(found.filter(|other| all.ways[*other] >= all.ways[index]).unwrap_or(index));
        }
    }
    if let Some(index) = found {
        board.states[index] = StepState::Running;
    }
    found
}

fn finish(board: &Mutex<Board>, index: usize, result: Result<Done, Error>) {
    let mut board = board.lock().unwrap_or_else(PoisonError::into_inner);
    // Excluded counts as satisfied: the author of dependants knows (docs/contract.md 8).
    let satisfied = matches!(&result, Ok(_) | Err(Error::Step(StepError::Excluded { .. })));
    board.states[index] = if satisfied { StepState::Done } else { StepState::Failed };
    board.results[index] = Some(result);
}

impl All<'_> {
    fn one(&self, step: &Step, reporter: &dyn Reporter) -> Result<Done, Error> {
        let announcement = self.voice.announcement(step);
        if let Some(text) = &announcement {
            reporter.line(text);
        }
        let mut result = work(self.session, step, reporter);
        // Of what was interrupted, one word is said at the end.
        match &result {
            Ok(_) | Err(Error::System(SystemError::Interrupted(_))) => {}
            Err(error @ Error::Step(StepError::Removed(_) | StepError::KernelGone { .. })) => {
                reporter.report(Event::Note(error.to_string()));
                // Of what nobody has asked for by name, nothing is lacking then.
                if self.voice != Voice::Asked {
                    result = Ok(Done::Gone);
                }
            }
            Err(error @ Error::Step(StepError::Excluded { .. })) => reporter.report(Event::Warning(error.lines())),
            Err(error) => reporter.report(Event::Error(error.lines())),
        }
        if announcement.is_some() {
            reporter.line(&"");
        }
        reporter.report(Event::Ended(ended(step, &result)));
        result
    }
}

/// How a step ended, for programs.
fn ended(step: &Step, result: &Result<Done, Error>) -> Ended {
    let (outcome, code, why) = match result {
        Ok(Done::Installed) => (How::Installed, 0, None),
        Ok(Done::Built) => (How::Built, 0, None),
        Ok(Done::Already | Done::Gone) => (How::Unchanged, 0, None),
        Err(error @ Error::Step(StepError::Excluded { .. })) => (How::Excluded, 0, Some(error.lines().join("\n"))),
        Err(Error::System(SystemError::Interrupted(_))) => (How::Interrupted, 0, None),
        Err(error) => (How::Failed, error.code(), Some(error.lines().join("\n"))),
    };
    Ended {
        package: step.package.to_string(),
        kernel: step.kernel.release.to_string(),
        arch: step.kernel.arch.to_string(),
        outcome,
        code,
        why,
    }
}

/// What became of a step whose predecessors failed; recorded.
fn untried(session: &Session<'_>, steps: &[Step], states: &[StepState], index: usize) -> Result<Done, Error> {
    let step = &steps[index];
    let failed = step.after.iter().filter(|before| states[**before] == StepState::Failed);
    let missing: BTreeSet<String> = failed.map(|before| steps[*before].package.name.to_string()).collect();
    let (package, kernel) = (step.package.clone(), step.kernel.clone());
    let result =
        Err(Error::Step(StepError::MissingDependencies { package, kernel, missing: missing.into_iter().collect() }));
    record(session, &step.package, &step.kernel, &result);
    result
}

/// A kernel whose depmod failed, and how to say so.
type DepmodFailure = (Release, Box<dyn Fn() -> Error>);

/// Runs depmod for every kernel that changed since the last time, unless `--no-depmod`. What was installed
/// stays installed when it fails: the files are right, only the lists are old, and the next run makes them.
pub fn depmods(session: &Session<'_>, reporter: &dyn Reporter) -> Vec<DepmodFailure> {
    let failures = lists(session, reporter);
    // Their program reads the lists, and makes those of the kernels that it gives links.
    weak::added(session.ctx, session.take_weak(), reporter);
    failures
}

/// The follow-ups that are overdue whatever else is done: those that an interrupted run left, and a depmod where the index is
/// not of what lies there.
pub fn overdue(ctx: &Context) -> Vec<Overdue> {
    let mut overdue = follow_up::overdue(&ctx.trees);
    let indexes = stale(&ctx.trees);
    overdue.extend(indexes.iter().cloned().map(|kernel| Overdue {
        kernel,
        what: FollowUp::Depmod,
        why: Because::Outdated,
    }));
    overdue.retain(|overdue| overdue.what != FollowUp::Depmod || !ctx.options.no_depmod);
    overdue.dedup_by(|later, first| later.kernel == first.kernel && later.what == first.what);
    overdue
}

fn stale(trees: &Trees) -> Arc<Vec<Release>> {
    trees.snapshot().stale(|| gather::stale(trees))
}

fn lists(session: &Session<'_>, reporter: &dyn Reporter) -> Vec<DepmodFailure> {
    let mut failures: Vec<DepmodFailure> = Vec::new();
    if session.ctx.options.no_depmod {
        session.take_touched();
        return failures;
    }
    let mut changed = session.take_touched();
    changed.extend(stale(&session.ctx.trees).iter().cloned());
    let releases: Vec<Release> =
        changed.into_iter().filter(|release| session.ctx.trees.modules_dir(release).is_dir()).collect();
    for some in releases.chunks(session.budget.total()) {
        reporter.report(Event::Part("Running depmod...".to_owned()));
        let results: Vec<Result<Depmod, String>> = std::thread::scope(|scope| {
            let run = |release| depmod::run(session.ctx, release).map_err(|error| error.to_string());
            let runs: Vec<_> = some
                .iter()
                .map(|release| Builder::new().spawn_scoped(scope, move || run(release)).map_err(|_| run(release)))
                .collect();
            let ended_early = |_| Err("it ended unexpectedly".to_owned());
            let ended = runs.into_iter().map(|run| match run {
                Ok(thread) => thread.join().unwrap_or_else(ended_early),
                // There was no thread to be had: it was run here.
                Err(done) => done,
            });
            ended.collect()
        });
        for (index, (release, result)) in some.iter().zip(results).enumerate() {
            if index > 0 {
                reporter.report(Event::Part("Running depmod...".to_owned()));
            }
            match result {
                Ok(Depmod::Done(errors)) => {
                    reporter.line(&" done.");
                    if !errors.is_empty() {
                        reporter.report(Event::Warning(errors));
                    }
                }
                Ok(Depmod::Skipped) => reporter.line(&" done."),
                Ok(Depmod::Failed(why)) | Err(why) => {
                    reporter.line(&" failed.");
                    let error = depmod_failure(release, why);
                    reporter.report(Event::Error(error().lines()));
                    failures.push((release.clone(), Box::new(error)));
                }
            }
        }
    }
    failures
}

fn depmod_failure(release: &Release, why: String) -> impl Fn() -> Error + 'static {
    let release = release.to_string();
    move || {
        let release = release.clone();
        let why = why.clone();
        let after = "The lists of modules that modprobe goes by are out of date. Mend what depmod complains of, then run: depmod -a, with the kernel's release";
        Error::Install(install::Error::Depmod { release, why, after })
    }
}
