//! What several jobs at once are about, in one line for a terminal: who is at which step, and how many are done.

use std::sync::{Mutex, PoisonError};

use crate::plan::Step;
use crate::report::{Buffer, Event, Reporter};

/// The jobs of one run.
pub(super) struct Progress<'a> {
    total: usize,
    reporter: &'a dyn Reporter,
    state: Mutex<Jobs>,
}

#[derive(Debug, Default)]
struct Jobs {
    done: usize,
    /// The jobs under way, each with its latest step.
    steps: Vec<(String, String)>,
}

/// Keeps what one job says until its turn, and shows which step it is at.
struct JobReporter<'a> {
    progress: &'a Progress<'a>,
    buffer: &'a Buffer,
    label: String,
}

impl<'a> Progress<'a> {
    /// Nothing of `total` jobs is done yet; `reporter` is who speaks to the user.
    pub(super) fn new(total: usize, reporter: &'a dyn Reporter) -> Self {
        Self { total, reporter, state: Mutex::default() }
    }

    /// Who speaks to the user.
    pub(super) fn reporter(&self) -> &dyn Reporter {
        self.reporter
    }

    /// What `job` reports to: it goes to `buffer`, and its steps are shown.
    pub(super) fn of(&'a self, step: &Step, buffer: &'a Buffer) -> impl Reporter + 'a {
        let label = label(step);
        self.step(&label, "");
        JobReporter { progress: self, buffer, label }
    }

    /// A job has ended.
    pub(super) fn done(&self, step: &Step) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let label = label(step);
        state.steps.retain(|(known, _)| *known != label);
        state.done += 1;
    }

    /// Shows the line, if there is anything under way.
    pub(super) fn show(&self) {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if !state.steps.is_empty() {
            self.reporter.report(Event::Progress(state.line(self.total)));
        }
    }

    fn step(&self, label: &str, step: &str) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match state.steps.iter_mut().find(|(known, _)| known == label) {
            Some((_, now)) => step.clone_into(now),
            None => state.steps.push((label.to_owned(), step.to_owned())),
        }
        drop(state);
        self.show();
    }
}

impl Jobs {
    fn line(&self, total: usize) -> String {
        let steps: Vec<String> = self
            .steps
            .iter()
            .map(|(label, step)| if step.is_empty() { label.clone() } else { format!("{label}: {step}") })
            .collect();
        format!("[{} of {total} done] {}", self.done, steps.join("; "))
    }
}

impl Reporter for JobReporter<'_> {
    fn report(&self, event: Event) {
        if let Event::Part(text) = &event {
            self.progress.step(&self.label, text.trim().trim_end_matches('.'));
        }
        self.buffer.report(event);
    }
}

fn label(step: &Step) -> String {
    format!("{} for {}", step.package, step.kernel.release)
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
        let progress = Progress::new(3, &user);
        let (one, other) = (job("one"), job("other"));
        progress.of(&one, &kept).report(Event::Part("Building module(s)...".into()));
        let _other = progress.of(&other, &kept);
        progress.done(&one);
        progress.show();
        let shown: Vec<String> = user
            .take()
            .into_iter()
            .map(|event| match event {
                Event::Progress(text) => text,
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(
            shown,
            [
                "[0 of 3 done] one/1 for 6.1",
                "[0 of 3 done] one/1 for 6.1: Building module(s)",
                "[0 of 3 done] one/1 for 6.1: Building module(s); other/1 for 6.1",
                "[1 of 3 done] other/1 for 6.1",
            ]
        );
        assert_eq!(kept.take(), [Event::Part("Building module(s)...".into())]);
    }
}
