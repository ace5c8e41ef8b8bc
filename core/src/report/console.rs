//! The renderer for people and scripts: the classic's plain text, with colour on a terminal that has it.

use std::io::{self, Write};
use std::sync::Mutex;

use super::{Event, Reporter};

/// Writes events to standard output and standard error. A closed or full one is not an error: what a
/// transaction does must not depend on who listens.
#[derive(Debug)]
pub struct Console {
    colour: bool,
    quiet: bool,
    /// Whether standard output stands in the middle of a line.
    open: Mutex<bool>,
}

impl Console {
    /// `colour`: mark warnings and errors; `quiet`: say nothing at all, as the classic's `-q`.
    pub fn new(colour: bool, quiet: bool) -> Self {
        Self { colour, quiet, open: Mutex::new(false) }
    }

    fn marked(&self, word: &str, code: &str) -> String {
        if self.colour { format!("\x1b[{code}m{word}\x1b[0m") } else { word.to_owned() }
    }
}

impl Reporter for Console {
    fn report(&self, event: Event) {
        if self.quiet {
            return;
        }
        let mut open = self.open.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let (mut out, mut err) = (io::stdout().lock(), io::stderr().lock());
        let _ = match event {
            Event::Line(text) => {
                *open = false;
                writeln!(out, "{text}")
            }
            Event::Part(text) => {
                *open = !text.ends_with('\n');
                write!(out, "{text}").and_then(|()| out.flush())
            }
            other => {
                // A terminal shows both streams: an error must not begin in the middle of a line.
                if *open {
                    let _ = writeln!(out);
                    *open = false;
                }
                let _ = out.flush();
                match other {
                    Event::Warning(lines) => writeln!(err, "{} {}", self.marked("Warning:", "33"), lines.join("\n")),
                    Event::Deprecated(text) => writeln!(err, "{} {text}", self.marked("Deprecated feature:", "33")),
                    Event::Error(lines) => writeln!(err, "\n{} {}", self.marked("Error!", "31;1"), lines.join("\n")),
                    Event::Note(text) => writeln!(err, "{text}"),
                    Event::Line(_) | Event::Part(_) => Ok(()),
                }
            }
        };
    }
}
