//! Jobs side by side: each begins when those before it are done, as many at once as the budget allows.

use std::collections::BTreeSet;
use std::sync::{Condvar, Mutex, PoisonError};

use super::session::Session;
use super::work::{Done, Want, record, work};
use crate::error::Error;
use crate::install::depmod::{self, Depmod};
use crate::install::weak;
use crate::names::{Kernel, Package, Release};
use crate::report::{Buffer, Event, Reporter};

use super::progress::Progress;

/// One package on one kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// The package.
    pub package: Package,
    /// The kernel.
    pub kernel: Kernel,
    /// What is wanted.
    pub want: Want,
    /// Build although there is an artefact: it is stale.
    pub rebuild: bool,
    /// A plan asks for it, which knows better than links and lists: what counts as installed is put in place again,
    /// and what an older version of the package put there is no reason against this one.
    pub planned: bool,
    /// What is said before it begins.
    pub announce: Option<String>,
    /// The jobs (indices of earlier ones in the list) whose modules it needs.
    pub after: Vec<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Waiting,
    Running,
    Done,
    Failed,
}

struct Board {
    states: Vec<State>,
    results: Vec<Option<Result<Done, Error>>>,
    /// How many jobs' words were passed on: they are said in the order of the list.
    said: usize,
}

/// Runs `jobs`, then depmod once for each kernel that changed. Gives one result a job, in their order.
pub fn run(session: &Session<'_>, jobs: &[Job], reporter: &dyn Reporter) -> Vec<Result<Done, Error>> {
    let mut results = without_depmod(session, jobs, reporter);
    depmod_once(session, jobs, &mut results, reporter);
    results
}

/// Runs `jobs`; depmod is left to the caller. Gives one result a job, in their order. A job whose
/// predecessor failed is not tried: it misses a dependency.
pub fn without_depmod(session: &Session<'_>, jobs: &[Job], reporter: &dyn Reporter) -> Vec<Result<Done, Error>> {
    let board = Mutex::new(Board {
        states: vec![State::Waiting; jobs.len()],
        results: jobs.iter().map(|_| None).collect(),
        said: 0,
    });
    let moved = Condvar::new();
    // Twice as many as may compile: who is past its make copies, signs and waits for the disk while another compiles.
    let workers = (session.budget.total() * 2).min(jobs.len());
    // Alone, a job speaks for itself at once; side by side, they take turns.
    let buffers: Vec<Buffer> = jobs.iter().map(|_| Buffer::default()).collect();
    let progress = Progress::new(jobs.len(), reporter);
    if workers <= 1 {
        one_by_one(session, jobs, &board, reporter);
    } else {
        std::thread::scope(|scope| {
            for _ in 0..workers {
                scope.spawn(|| worker(session, jobs, &board, &moved, &buffers, &progress));
            }
        });
    }
    let board = board.into_inner().unwrap_or_else(PoisonError::into_inner);
    for buffer in &buffers[board.said..] {
        buffer.replay(reporter);
    }
    board
        .results
        .into_iter()
        .enumerate()
        .map(|(index, result)| result.unwrap_or_else(|| untried(session, jobs, &board.states, index)))
        .collect()
}

/// Runs depmod once for each kernel that changed. When it fails after modules were installed, their jobs
/// have failed.
pub fn depmod_once(session: &Session<'_>, jobs: &[Job], results: &mut [Result<Done, Error>], reporter: &dyn Reporter) {
    for (release, error) in depmods(session, reporter) {
        for (result, job) in results.iter_mut().zip(jobs) {
            if job.kernel.release == release && matches!(result, Ok(Done::Installed)) {
                *result = Err(error());
            }
        }
    }
}

fn one_by_one(session: &Session<'_>, jobs: &[Job], board: &Mutex<Board>, reporter: &dyn Reporter) {
    while let Some(index) = take(jobs, board) {
        let result = one(session, &jobs[index], reporter);
        finish(board, index, result);
    }
}

fn worker(
    session: &Session<'_>,
    jobs: &[Job],
    board: &Mutex<Board>,
    moved: &Condvar,
    buffers: &[Buffer],
    progress: &Progress<'_>,
) {
    loop {
        let index = {
            let mut state = board.lock().unwrap_or_else(PoisonError::into_inner);
            loop {
                if let Some(index) = ready(jobs, &mut state) {
                    break index;
                }
                if !state.states.contains(&State::Running) {
                    moved.notify_all();
                    return;
                }
                state = moved.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
        };
        let job = &jobs[index];
        let result = one(session, job, &progress.of(job, &buffers[index]));
        progress.done(job);
        finish(board, index, result);
        let mut state = board.lock().unwrap_or_else(PoisonError::into_inner);
        while state.said < jobs.len() && matches!(state.states[state.said], State::Done | State::Failed) {
            buffers[state.said].replay(progress.reporter());
            state.said += 1;
        }
        drop(state);
        progress.show();
        moved.notify_all();
    }
}

fn take(jobs: &[Job], board: &Mutex<Board>) -> Option<usize> {
    ready(jobs, &mut board.lock().unwrap_or_else(PoisonError::into_inner))
}

/// The first job that can begin, which is then running. Jobs that never can are marked failed.
fn ready(jobs: &[Job], board: &mut Board) -> Option<usize> {
    for (index, job) in jobs.iter().enumerate() {
        if board.states[index] != State::Waiting {
            continue;
        }
        if job.after.iter().any(|before| board.states[*before] == State::Failed) {
            board.states[index] = State::Failed;
            continue;
        }
        if job.after.iter().all(|before| board.states[*before] == State::Done) {
            board.states[index] = State::Running;
            return Some(index);
        }
    }
    None
}

fn finish(board: &Mutex<Board>, index: usize, result: Result<Done, Error>) {
    let mut board = board.lock().unwrap_or_else(PoisonError::into_inner);
    // Excluded counts as satisfied: dependants were told so by their author (docs/contract.md 8).
    let satisfied = matches!(&result, Ok(_) | Err(Error::Excluded { .. }));
    board.states[index] = if satisfied { State::Done } else { State::Failed };
    board.results[index] = Some(result);
}

fn one(session: &Session<'_>, job: &Job, reporter: &dyn Reporter) -> Result<Done, Error> {
    if let Some(text) = &job.announce {
        reporter.line(text);
    }
    let result = work(session, job, reporter);
    if let Err(error) = &result {
        let lines = error.lines();
        reporter.report(match error {
            Error::Excluded { .. } => Event::Warning(lines),
            _ => Event::Error(lines),
        });
    }
    if job.announce.is_some() {
        reporter.line(&"");
    }
    result
}

/// What became of a job whose predecessors failed; recorded.
fn untried(session: &Session<'_>, jobs: &[Job], states: &[State], index: usize) -> Result<Done, Error> {
    let job = &jobs[index];
    let failed = job.after.iter().filter(|before| states[**before] == State::Failed);
    let missing: BTreeSet<String> = failed.map(|before| jobs[*before].package.name.to_string()).collect();
    let (package, kernel) = (job.package.clone(), job.kernel.clone());
    let result = Err(Error::MissingDependencies { package, kernel, missing: missing.into_iter().collect() });
    record(session, &job.package, &job.kernel, &result);
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

fn lists(session: &Session<'_>, reporter: &dyn Reporter) -> Vec<DepmodFailure> {
    let mut failures: Vec<DepmodFailure> = Vec::new();
    if session.ctx.options.no_depmod {
        session.take_touched();
        return failures;
    }
    let releases: Vec<Release> =
        session.take_touched().into_iter().filter(|release| session.ctx.trees.modules_dir(release).is_dir()).collect();
    for some in releases.chunks(session.budget.total()) {
        reporter.report(Event::Part("Running depmod...".to_owned()));
        let results: Vec<Result<Depmod, String>> = std::thread::scope(|scope| {
            let runs: Vec<_> = some
                .iter()
                .map(|release| scope.spawn(|| depmod::run(session.ctx, release).map_err(|error| error.to_string())))
                .collect();
            let ended = runs.into_iter().map(|run| run.join().unwrap_or_else(|_| Err("it was cut short".to_owned())));
            ended.collect()
        });
        for (index, (release, result)) in some.iter().zip(results).enumerate() {
            if index > 0 {
                reporter.report(Event::Part("Running depmod...".to_owned()));
            }
            match result {
                Ok(Depmod::Done | Depmod::Skipped) => reporter.line(&" done."),
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
    move || Error::Depmod {
        release: release.clone(),
        why: why.clone(),
        after: "The lists of modules that modprobe goes by are out of date. Mend what depmod complains of, then run: depmod -a, with the kernel's release",
    }
}
