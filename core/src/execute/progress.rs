//! What several jobs at once are about: who is at which step, how many are done, and how long the rest takes.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::plan::Step;
use crate::report::{self, Buffer, Event, Reporter, Running};

/// The jobs of one run.
pub(super) struct Progress<'a> {
    total: usize,
    workers: usize,
    reporter: &'a dyn Reporter,
    state: Mutex<Jobs>,
}

#[derive(Debug, Default)]
struct Jobs {
    done: usize,
    /// The jobs under way, each with its latest step.
    running: Vec<Running>,
    /// How long each job takes that has not ended, as far as that is known.
    expected: Vec<(Running, Option<Duration>)>,
    /// How long those that have ended took, together.
    took: Duration,
}

/// Keeps what one job says until its turn, and shows which step it is at.
struct JobReporter<'a> {
    progress: &'a Progress<'a>,
    buffer: &'a Buffer,
    job: Running,
}

impl<'a> Progress<'a> {
    /// None of `steps` is done yet, each with how long it is expected to take; `workers` do them, and `reporter` is who speaks to
    /// the user.
    pub(super) fn new(steps: &[(&Step, Option<Duration>)], workers: usize, reporter: &'a dyn Reporter) -> Self {
        let expected = steps.iter().map(|(step, expected)| (job(step), *expected)).collect();
        let jobs = Jobs { expected, ..Jobs::default() };
        Self { total: steps.len(), workers: workers.max(1), reporter, state: Mutex::new(jobs) }
    }

    /// Who speaks to the user.
    pub(super) fn reporter(&self) -> &dyn Reporter {
        self.reporter
    }

    /// What `job` reports to: it goes to `buffer`, and its steps are shown.
    pub(super) fn of(&'a self, step: &Step, buffer: &'a Buffer) -> impl Reporter + 'a {
        let job = job(step);
        self.step(&job, "");
        JobReporter { progress: self, buffer, job }
    }

    /// A job has ended.
    pub(super) fn done(&self, step: &Step) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let job = job(step);
        if let Some(at) = state.running.iter().position(|known| known.is(&job)) {
            let since = state.running.remove(at).since;
            state.took += since.elapsed();
        }
        state.expected.retain(|(known, _)| !known.is(&job));
        state.done += 1;
    }

    /// Shows how far things are, if there is anything under way.
    pub(super) fn show(&self) {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if !state.running.is_empty() {
            self.reporter.report(Event::Progress(Some(report::Progress {
                done: state.done,
                total: self.total,
                running: state.running.clone(),
                left: state.left(self.workers, Instant::now()),
            })));
        }
    }

    /// Nothing is under way any more.
    pub(super) fn end(&self) {
        self.reporter.report(Event::Progress(None));
    }

    fn step(&self, job: &Running, step: &str) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match state.running.iter_mut().find(|known| known.is(job)) {
            Some(known) => step.clone_into(&mut known.step),
            None => state.running.push(Running { step: step.to_owned(), ..job.clone() }),
        }
        drop(state);
        self.show();
    }
}

impl Jobs {
    /// How long the rest takes at `now`; `None` if nothing is known of it. What is not known takes as long as the others do.
    fn left(&self, workers: usize, now: Instant) -> Option<Duration> {
        let known: Vec<Duration> = self.expected.iter().filter_map(|(_, expected)| *expected).collect();
        let count = u32::try_from(known.len() + self.done).ok().filter(|count| *count > 0)?;
        let usual = (known.iter().sum::<Duration>() + self.took) / count;
        let rest = self.expected.iter().map(|(job, expected)| {
            let since = self.running.iter().find(|running| running.is(job)).map(|running| running.since);
            let elapsed = since.map(|since| now.saturating_duration_since(since)).unwrap_or_default();
            expected.unwrap_or(usual).saturating_sub(elapsed)
        });
        let longest = rest.clone().max().unwrap_or_default();
        Some((rest.sum::<Duration>() / u32::try_from(workers).unwrap_or(1)).max(longest))
    }
}

impl Reporter for JobReporter<'_> {
    fn report(&self, event: Event) {
        if let Event::Part(text) = &event {
            self.progress.step(&self.job, text.trim().trim_end_matches('.'));
        }
        self.buffer.report(event);
    }
}

fn job(step: &Step) -> Running {
    Running::new(step.package.to_string(), step.kernel.release.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::{Kernel, Package};
    use crate::plan::{PackageState, Want, requested};

    fn job(name: &str) -> Step {
        let (package, kernel) = (Package::new(name, "1").unwrap(), Kernel::new("6.1", "x86_64").unwrap());
        requested(&package, &kernel, &PackageState::Absent, Want::Installed, false)
    }

    #[test]
    fn who_is_at_which_step() {
        let (user, kept) = (Buffer::default(), Buffer::default());
        let progress = Progress { total: 3, workers: 2, reporter: &user, state: Mutex::default() };
        let (one, other) = (job("one"), job("other"));
        progress.of(&one, &kept).report(Event::Part("Building module(s)...".into()));
        let _other = progress.of(&other, &kept);
        progress.done(&one);
        progress.show();
        progress.end();
        let shown: Vec<String> = user
            .take()
            .into_iter()
            .map(|event| match event {
                Event::Progress(Some(now)) => {
                    let running: Vec<_> = now.running.iter().map(ToString::to_string).collect();
                    format!("{}/{} {}", now.done, now.total, running.join("; "))
                }
                Event::Progress(None) => "end".to_owned(),
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(
            shown,
            [
                "0/3 one/1 for 6.1",
                "0/3 one/1: Building module(s), 6.1",
                "0/3 one/1: Building module(s), 6.1; other/1 for 6.1",
                "1/3 other/1 for 6.1",
                "end",
            ]
        );
        assert_eq!(kept.take(), [Event::Part("Building module(s)...".into())]);
    }

    #[test]
    fn what_is_left() {
        let seconds = Duration::from_secs;
        let now = Instant::now() + seconds(100);
        let job = |name: &str, began: u64| Running {
            since: now.checked_sub(seconds(began)).unwrap(),
            ..Running::new(name, "6.1")
        };
        let expected = |name: &str, known: Option<u64>| (job(name, 0), known.map(seconds));
        let mut jobs = Jobs { expected: vec![expected("a", None), expected("b", None)], ..Jobs::default() };
        assert_eq!(jobs.left(1, now), None, "nothing was ever built");
        jobs.expected[0].1 = Some(seconds(30));
        assert_eq!(jobs.left(1, now), Some(seconds(60)));
        jobs.running.push(job("a", 10));
        assert_eq!(jobs.left(1, now), Some(seconds(50)));
        assert_eq!(jobs.left(4, now), Some(seconds(30)), "no less than the longest");
        jobs.running[0].since = now.checked_sub(seconds(99)).unwrap();
        assert_eq!(jobs.left(1, now), Some(seconds(30)), "it takes longer than it did");
    }
}
