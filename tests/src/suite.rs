//! One end-to-end program: its cases, and an honest list of those that this machine could not run.

use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Result;
use libtest_mimic::{Arguments, Failed, Trial};

use crate::left_out::{LEFT_OUT, left_out};
use crate::needs::Need;
use crate::programs;

/// A case's work.
type Body = Box<dyn FnOnce() -> Result<()> + Send>;

struct Case {
    name: String,
    needs: Vec<Need>,
    body: Body,
}

/// The cases of one program.
#[derive(Default)]
pub struct Suite {
    cases: Vec<Case>,
    needs: Vec<Need>,
}

impl std::fmt::Debug for Suite {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.cases.iter().map(|case| (&case.name, &case.needs))).finish()
    }
}

impl Suite {
    /// No cases yet; each will have these needs.
    pub fn new(needs: &[Need]) -> Self {
        Self { needs: needs.to_vec(), ..Self::default() }
    }

    /// Adds a case.
    #[must_use]
    pub fn case(self, name: impl Into<String>, body: impl FnOnce() -> Result<()> + Send + 'static) -> Self {
        self.case_needing(&[], name, body)
    }

    /// Adds a case that needs more than the others.
    #[must_use]
    pub fn case_needing(
        mut self,
        needs: &[Need],
        name: impl Into<String>,
        body: impl FnOnce() -> Result<()> + Send + 'static,
    ) -> Self {
        let needs = self.needs.iter().chain(needs).copied().collect();
        self.cases.push(Case { name: name.into(), needs, body: Box::new(body) });
        self
    }

    /// Leaves these cases to `make test-long`, where a suite's cases are a table: what takes longest, and has a neighbour that
    /// tries what is near.
    #[must_use]
    pub fn long(mut self, names: &[&str]) -> Self {
        for name in names {
            match self.cases.iter_mut().find(|case| case.name == *name) {
                Some(case) => case.needs.push(Need::Long),
                // A slip of the pen: it fails, where all would look well.
                None => self = self.case(*name, || anyhow::bail!("the suite has no such case")),
            }
        }
        self
    }

    /// Builds what is tried, runs the cases that the command line selects, and lists how long each took and which were
    /// left out, and why.
    #[allow(clippy::print_stdout, clippy::print_stderr)] // this is a test runner
    pub fn main(self) -> ExitCode {
        let arguments = Arguments::from_args();
        let times = Times::default();
        if arguments.list {
            let trials = self.cases.into_iter().map(|case| trial(case, &times)).collect();
            return libtest_mimic::run(&arguments, trials).exit_code();
        }
        let selected: Vec<Case> = self.cases.into_iter().filter(|case| selects(&arguments, &case.name)).collect();
        // What the machine lacks is known before anything is built, and what could not be built afterwards.
        let possible = selected.iter().filter(|case| case.needs.iter().all(|need| need.lacking().is_none()));
        let needs: Vec<Need> = possible.flat_map(|case| case.needs.iter().copied()).collect();
        if let Err(error) = programs::build(&needs) {
            eprintln!("{error:#}");
            return ExitCode::FAILURE;
        }
        let mut missing = Vec::new();
        let mut trials = Vec::new();
        for case in selected {
            match case.needs.iter().find_map(|need| need.unmet()) {
                Some(reason) => missing.push((case.name, reason)),
                None => trials.push(trial(case, &times)),
            }
        }
        let conclusion = libtest_mimic::run(&arguments, trials);
        // cargo calls this program `<area>-<digest>`.
        let program = std::env::current_exe().unwrap_or_default();
        let area = program.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let area = area.rsplit_once('-').map_or(area.as_str(), |(area, _)| area);
        for (name, time) in times.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            println!("took: {:.1} s: {area} {name}", time.as_secs_f64());
        }
        for (name, reason) in &missing {
            left_out(&format!("{area} {name}"), reason);
        }
        for line in LEFT_OUT.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            println!("left out: {line}");
        }
        conclusion.exit_code()
    }
}

/// How long each case took.
type Times = Arc<Mutex<Vec<(String, Duration)>>>;

fn trial(case: Case, times: &Times) -> Trial {
    let (times, name) = (Arc::clone(times), case.name.clone());
    Trial::test(case.name, move || {
        let start = Instant::now();
        let result = (case.body)();
        times.lock().unwrap_or_else(PoisonError::into_inner).push((name, start.elapsed()));
        // The whole chain of causes, as anyhow's alternate form prints it.
        result.map_err(|error| Failed::from(format!("{error:#}")))
    })
}

/// Whether the command line asks for the case, by libtest's rules.
fn selects(arguments: &Arguments, name: &str) -> bool {
    let matches = |filter: &String| if arguments.exact { name == filter } else { name.contains(filter.as_str()) };
    arguments.filter.as_ref().is_none_or(matches) && !arguments.skip.iter().any(matches)
}
