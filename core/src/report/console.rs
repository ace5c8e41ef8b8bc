//! The renderer for people and scripts: the classic's plain text; on a terminal with colour, and with one
//! line at the bottom that says what is going on.

use std::io::{self, Write};
use std::sync::Mutex;

use super::{Event, Reporter};

/// Writes events to standard output and standard error. A closed or full one is not an error: what a
/// transaction does must not depend on who listens.
#[derive(Debug)]
pub struct Console {
    terminal: bool,
    colour: bool,
    quiet: bool,
    line: Mutex<Line>,
}

/// What the cursor's line holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Line {
    Empty,
    /// The beginning of a line of standard output.
    Begun,
    /// A word on progress, to be wiped.
    Progress,
}

impl Console {
    /// `terminal`: standard error is one, so that progress can be shown and wiped; `colour`: mark warnings
    /// and errors; `quiet`: say nothing at all, as the classic's `-q`.
    pub fn new(terminal: bool, colour: bool, quiet: bool) -> Self {
        Self { terminal, colour, quiet, line: Mutex::new(Line::Empty) }
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
        let mut line = self.line.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let (mut out, mut err) = (io::stdout().lock(), io::stderr().lock());
        if *line == Line::Progress {
            let _ = write!(err, "\r\x1b[K");
            *line = Line::Empty;
        }
        let _ = match event {
            Event::Progress(text) => {
                if !self.terminal || *line == Line::Begun {
                    return;
                }
                *line = Line::Progress;
                write!(err, "{text}").and_then(|()| err.flush())
            }
            Event::Line(text) => {
                *line = Line::Empty;
                writeln!(out, "{text}")
            }
            Event::Part(text) => {
                *line = if text.ends_with('\n') { Line::Empty } else { Line::Begun };
                write!(out, "{text}").and_then(|()| out.flush())
            }
            other => {
                // A terminal shows both streams: an error must not begin in the middle of a line.
                if *line == Line::Begun {
                    let _ = writeln!(out);
                    *line = Line::Empty;
                }
                let _ = out.flush();
                match other {
                    Event::Warning(lines) => writeln!(err, "{} {}", self.marked("Warning:", "33"), lines.join("\n")),
                    Event::Deprecated(text) => writeln!(err, "{} {text}", self.marked("Deprecated feature:", "33")),
                    Event::Error(lines) => writeln!(err, "\n{} {}", self.marked("Error!", "31;1"), lines.join("\n")),
                    Event::Note(text) => writeln!(err, "{text}"),
                    Event::Line(_) | Event::Part(_) | Event::Progress(_) => Ok(()),
                }
            }
        };
    }
}

impl Drop for Console {
    fn drop(&mut self) {
        if *self.line.get_mut().unwrap_or_else(std::sync::PoisonError::into_inner) == Line::Progress {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}
