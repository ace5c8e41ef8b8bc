//! Everything said to a person or a program goes through here, as one stream of events.

mod bars;
mod console;
pub mod journal;
pub mod json;
pub mod progress;
mod size;
pub mod syslog;

use std::fmt::Display;
use std::path::PathBuf;
use std::sync::Mutex;

pub use console::Console;
pub use json::Json;
pub use progress::{Ended, Progress, Running};

/// What a part of a line means to its reader: its colour, where there are colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    /// Nothing special.
    Plain,
    /// All is well.
    Good,
    /// Something should be looked at.
    Doubtful,
    /// Something is wrong.
    Bad,
    /// What need not be read.
    Minor,
    /// A heading.
    Strong,
}

/// One thing said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A line of standard output, part of the interface where the contract says so (docs/contract.md 2.9).
    Line(String),
    /// A line of standard output whose parts differ in what they mean to a reader.
    Styled(Vec<(Tone, String)>),
    /// A piece of standard output without a line end (`Running depmod...`).
    Part(String),
    /// `Warning: …` on standard error; further lines on their own.
    Warning(Vec<String>),
    /// `Deprecated feature: …` on standard error.
    Deprecated(String),
    /// An empty line and `Error! …` on standard error; further lines on their own.
    Error(Vec<String>),
    /// A bare line on standard error.
    Note(String),
    /// What several builds are about: shown on a terminal, and told to programs; `None`: they have ended.
    Progress(Option<Progress>),
    /// How a step ended: for programs.
    Ended(Ended),
    /// A file for the user was written, or with `--dry-run` would be: for programs.
    File(PathBuf),
    /// A document for programs: a line of standard output, whatever else is said.
    Document(String),
}

/// Takes events. Shared between threads; what one `report` call says is never torn apart.
pub trait Reporter: Send + Sync {
    /// Says one thing.
    fn report(&self, event: Event);

    /// Whether anybody sees progress.
    fn shows_progress(&self) -> bool {
        false
    }

    /// Whether documents are to be JSON.
    fn wants_json(&self) -> bool {
        false
    }

    /// A line of standard output.
    fn line(&self, text: &dyn Display) {
        self.report(Event::Line(text.to_string()));
    }

    /// A warning of one or more lines.
    fn warning(&self, lines: &[&dyn Display]) {
        self.report(Event::Warning(lines.iter().map(ToString::to_string).collect()));
    }
}

/// Keeps events, for tests and for builds that run side by side.
#[derive(Debug, Default)]
pub struct Buffer(Mutex<Vec<Event>>);

impl Buffer {
    /// The events so far, which are then forgotten.
    pub fn take(&self) -> Vec<Event> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
    }

    /// Says all that was kept to `other`, in order.
    pub fn replay(&self, other: &dyn Reporter) {
        for event in self.take() {
            other.report(event);
        }
    }
}

impl Reporter for Buffer {
    fn report(&self, event: Event) {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(event);
    }
}
