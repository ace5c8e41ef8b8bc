//! One end-to-end program: its cases, and an honest list of those that this machine could not run.

use std::process::ExitCode;

use anyhow::Result;
use libtest_mimic::{Arguments, Failed, Trial};

use crate::needs::Need;

/// The cases of one program.
#[derive(Debug, Default)]
pub struct Suite {
    trials: Vec<Trial>,
    left_out: Vec<(String, String)>,
    needs: Vec<Need>,
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
        let name = name.into();
        match self.needs.iter().chain(needs).find_map(|need| need.unmet()) {
            Some(reason) => self.left_out.push((name, reason)),
            None => self.trials.push(Trial::test(name, move || {
                // The whole chain of causes, as anyhow's alternate form prints it.
                body().map_err(|error| Failed::from(format!("{error:#}")))
            })),
        }
        self
    }

    /// Runs the cases that the command line selects, then lists what was left out.
    #[allow(clippy::print_stdout)] // this is a test runner
    pub fn main(self) -> ExitCode {
        let arguments = Arguments::from_args();
        let listing = arguments.list;
        let conclusion = libtest_mimic::run(&arguments, self.trials);
        if !listing {
            // cargo calls this program `<area>-<digest>`.
            let program = std::env::current_exe().unwrap_or_default();
            let area = program.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            let area = area.rsplit_once('-').map_or(area.as_str(), |(area, _)| area);
            for (name, reason) in &self.left_out {
                println!("left out: {area} {name}: because {reason}");
            }
        }
        conclusion.exit_code()
    }
}
