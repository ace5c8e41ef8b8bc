//! What is said, for programs: a document on standard output, or one line of JSON for each thing said.

use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use serde::Serialize;

use super::{Ended, Event, Progress, Reporter};

/// A line of JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Message {
    /// A line for people, which may change.
    Line {
        /// What it says.
        text: String,
    },
    /// Something that a person should know.
    Note {
        /// What it says, perhaps in several lines.
        text: String,
    },
    /// Something that may be wrong.
    Warning {
        /// What it says, perhaps in several lines.
        text: String,
    },
    /// Something that went wrong.
    Error {
        /// What it says, perhaps in several lines.
        text: String,
    },
    /// What several builds are about; after each change.
    Progress(Progress),
    /// How a step for one package and kernel ended.
    Step(Ended),
    /// A package, disk or archive that was written, or with `--dry-run` would be.
    File {
        /// Where it is.
        path: PathBuf,
    },
    /// The last line.
    End {
        /// The exit status, as dkms(8) lists them.
        code: u8,
        /// Whether anything on this system was changed: modules, what is built or registered, an index, an initramfs, a key, a file.
        changed: bool,
    },
}

/// Writes JSON. A closed or full output is not an error, as for [`super::Console`].
#[derive(Debug)]
pub struct Json {
    /// A document is printed: other things said go to standard error.
    is_document: bool,
    quiet: bool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The beginning of a line.
    begun: String,
    /// Why standard output did not take something.
    lost: Option<io::Error>,
}

impl Json {
    /// `is_document`: one document is to be on standard output, and everything else on standard error; else all lines go to standard
    /// output. `quiet`: say nothing at all.
    pub fn new(is_document: bool, quiet: bool) -> Self {
        Self { is_document, quiet, state: Mutex::default() }
    }

    /// Why standard output did not take all of what was said, if so.
    pub fn lost(&self) -> Option<io::Error> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).lost.take()
    }

    /// Says the last line.
    pub fn end(&self, code: u8, changed: bool) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        self.print(&mut state, &Message::End { code, changed });
    }

    fn print(&self, state: &mut State, message: &Message) {
        // Strings and numbers: there is nothing that JSON has no words for.
        let Ok(line) = serde_json::to_string(message) else { return };
        self.write(state, &line, self.is_document);
    }

    fn write(&self, state: &mut State, text: &str, aside: bool) {
        if self.quiet {
            return;
        }
        if aside {
            let _ = writeln!(io::stderr().lock(), "{text}");
            return;
        }
        let mut out = io::stdout().lock();
        if let Err(error) = writeln!(out, "{text}").and_then(|()| out.flush()) {
            if error.kind() != io::ErrorKind::BrokenPipe {
                state.lost.get_or_insert(error);
            }
        }
    }
}

impl Reporter for Json {
    fn report(&self, event: Event) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let message = match event {
            Event::Document(text) => return self.write(&mut state, &text, false),
            Event::Part(text) => {
                state.begun.push_str(&text);
                return;
            }
            Event::Progress(None) => return,
            Event::Line(text) => Message::Line { text: std::mem::take(&mut state.begun) + &text },
            Event::Styled(parts) => Message::Line { text: parts.into_iter().map(|(_, text)| text).collect() },
            Event::Note(text) => Message::Note { text },
            Event::Warning(lines) => Message::Warning { text: lines.join("\n") },
            Event::Deprecated(text) => Message::Warning { text: format!("Deprecated feature: {text}") },
            Event::Error(lines) => Message::Error { text: lines.join("\n") },
            Event::Progress(Some(progress)) => Message::Progress(progress),
            Event::Ended(ended) => Message::Step(ended),
            Event::File(path) => Message::File { path },
        };
        let is_line = matches!(message, Message::Line { .. } | Message::Progress(_));
        if !is_line && !state.begun.is_empty() {
            let text = std::mem::take(&mut state.begun);
            self.print(&mut state, &Message::Line { text });
        }
        if !matches!(&message, Message::Line { text } if text.is_empty()) {
            self.print(&mut state, &message);
        }
    }

    fn shows_progress(&self) -> bool {
        true
    }

    fn wants_json(&self) -> bool {
        true
    }
}
