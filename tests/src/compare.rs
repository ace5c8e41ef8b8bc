//! The same steps taken by the classic and by the program under test, side by side.

use anyhow::{Result, bail};

use crate::bed::{Base, Bed};
use crate::observe::{Observation, difference};
use crate::run::Outcome;

/// One shell command, and what has to be alike afterwards besides the [`Observation`].
#[derive(Debug, Clone)]
pub struct Step {
    command: String,
    stdout: bool,
    code: Code,
}

#[derive(Debug, Clone, Copy)]
enum Code {
    Alike,
    Both(i32),
    Ours { ours: i32, classic: i32 },
}

/// A step whose exit code has to be the classic's.
pub fn step(command: impl Into<String>) -> Step {
    Step { command: command.into(), stdout: false, code: Code::Alike }
}

impl Step {
    /// Both have to end with this code.
    #[must_use]
    pub fn exits(mut self, code: i32) -> Self {
        self.code = Code::Both(code);
        self
    }

    /// A difference made on purpose (COMPATIBILITY.md says why): our code is this one, the classic's that.
    #[must_use]
    pub fn exits_ours(mut self, ours: i32, classic: i32) -> Self {
        self.code = Code::Ours { ours, classic };
        self
    }

    /// The standard output is part of the contract (as of `status`).
    #[must_use]
    pub fn same_stdout(mut self) -> Self {
        self.stdout = true;
        self
    }

    fn difference(&self, classic: &Outcome, ours: &Outcome) -> String {
        let mut text = String::new();
        let (want_ours, want_classic) = match self.code {
            Code::Alike => (classic.code, classic.code),
            Code::Both(code) => (code, code),
            Code::Ours { ours, classic } => (ours, classic),
        };
        if classic.code != want_classic {
            text += &format!("the classic exits {} instead of {want_classic}\n{}\n", classic.code, classic.tail());
        }
        if ours.code != want_ours {
            text += &format!("ours exits {} instead of {want_ours}\n{}\n", ours.code, ours.tail());
        }
        if self.stdout {
            let lines = |o: &Outcome| o.stdout.lines().map(str::to_owned).collect::<Vec<_>>();
            let lines = difference(&lines(classic), &lines(ours));
            if !lines.is_empty() {
                text += &format!("in its standard output:\n{lines}");
            }
        }
        text
    }
}

/// Prepares two beds alike, takes the steps in both, and tells every difference: `-` is the classic's, `+` ours.
/// `{k}` in a command is the newest kernel, `{k2}` the second newest, `{a}` the architecture.
pub fn compare(base: &Base, prepare: impl Fn(&Bed) -> Result<()>, steps: &[Step]) -> Result<()> {
    let classic = Bed::classic(base)?;
    let ours = Bed::subject(base)?;
    for bed in [&classic, &ours] {
        prepare(bed)?;
    }
    let mut told = Observation::of(&classic)?.difference(&Observation::of(&ours)?);
    if !told.is_empty() {
        bail!("before the first step:\n{told}");
    }
    for step in steps {
        let command = fill(base, &step.command);
        let (by_classic, by_ours) = (classic.sh(&command)?, ours.sh(&command)?);
        let mut text = step.difference(&by_classic, &by_ours);
        let by_classic = Observation::of(&classic)?;
        text += &by_classic.difference(&Observation::of(&ours)?.without_own_exports(&by_classic));
        if !text.is_empty() {
            told += &format!("after `{command}`:\n{text}");
            // What follows would only repeat it.
            bail!("{told}ours printed:\n{}", by_ours.tail());
        }
    }
    Ok(())
}

/// Puts the kernels and the architecture of a bed into a text: `{k}`, `{k2}`, `{k3}`, `{a}`.
pub fn fill(base: &Base, text: &str) -> String {
    let kernel = |i: usize| base.kernels.get(i).map_or("", String::as_str);
    text.replace("{k}", kernel(0))
        .replace("{k2}", kernel(1))
        .replace("{k3}", kernel(2))
        .replace("{a}", std::env::consts::ARCH)
}
