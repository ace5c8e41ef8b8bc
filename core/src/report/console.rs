//! The renderer for people and scripts: the classic's plain text; on a terminal with colour, and with what is going on
//! now, and for how long, at the bottom.

use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anstyle::{AnsiColor, Style};

use super::bars::Bars;
use super::size::size;
use super::syslog::Severity;
use super::{Event, Progress, Reporter, Tone};

/// How often the time is shown anew.
const TICK: Duration = Duration::from_secs(1);
/// What takes less long is not worth a clock.
const SOON: Duration = Duration::from_secs(3);

/// Writes events to standard output and standard error. A closed or full one is not an error: what a
/// transaction does must not depend on who listens.
#[derive(Debug)]
pub struct Console {
    terminal: bool,
    colour: bool,
    /// The same, for standard output.
    coloured_lists: bool,
    quiet: bool,
    /// Standard error is the journal, which reads a line's severity from its beginning (sd-daemon(3)).
    journal: bool,
    screen: Arc<Screen>,
    /// Why standard output did not take something; not that nobody reads it any more.
    lost: Mutex<Option<io::Error>>,
}

/// What the thread that shows the time shares.
#[derive(Debug, Default)]
struct Screen {
    now: Mutex<Now>,
    closed: Condvar,
}

/// What the cursor's line holds.
#[derive(Debug)]
struct Now {
    line: Line,
    /// Since when.
    since: Instant,
    /// Whether the thread that shows the time runs.
    ticks: bool,
    /// Whether the time stands at the end of the line.
    timed: bool,
    /// What is shown below all that is said.
    bars: Option<Bars>,
    /// The beginning of a line that waits for its end, while something is shown below.
    held: String,
    closed: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Line {
    Empty,
    /// The beginning of a line of standard output.
    Begun(String),
}

impl Default for Now {
    fn default() -> Self {
        Self {
            line: Line::Empty,
            since: Instant::now(),
            ticks: false,
            timed: false,
            bars: None,
            held: String::new(),
            closed: false,
        }
    }
}

impl Now {
    fn turn(&mut self, line: Line) {
        self.line = line;
        self.timed = false;
        self.since = Instant::now();
    }
}

impl Console {
    /// `terminal`: standard output and error are one, so that progress can be shown and wiped; `colour`: mark warnings
    /// and errors; `quiet`: say nothing at all, as the classic's `-q`.
    pub fn new(terminal: bool, colour: bool, quiet: bool) -> Self {
        Self {
            terminal,
            colour,
            coloured_lists: false,
            quiet,
            journal: false,
            screen: Arc::default(),
            lost: Mutex::default(),
        }
    }

    /// The same; with `journal`, errors and warnings tell the journal what they are.
    #[must_use]
    pub fn in_journal(mut self, journal: bool) -> Self {
        self.journal = journal;
        self
    }

    /// The same; `coloured`: lists on standard output have colours.
    #[must_use]
    pub fn with_coloured_lists(mut self, coloured: bool) -> Self {
        self.coloured_lists = coloured;
        self
    }

    /// A line as it is written.
    fn styled(&self, parts: &[(Tone, String)]) -> String {
        let part = |(tone, text): &(Tone, String)| {
            let style = style(*tone);
            if self.coloured_lists { format!("{style}{text}{style:#}") } else { text.clone() }
        };
        parts.iter().map(part).collect()
    }

    /// Why standard output did not take all of what was said, if so.
    pub fn lost(&self) -> Option<io::Error> {
        self.lost.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// A warning or an error as it is written.
    fn severe(&self, word: &str, (code, severity): (&str, Severity), lines: &[String]) -> String {
        let text = format!("{} {}", self.marked(word, code), lines.join("\n"));
        if !self.journal {
            return text;
        }
        text.lines().map(|line| format!("<{}>{line}", severity as u8)).collect::<Vec<_>>().join("\n")
    }

    fn marked(&self, word: &str, code: &str) -> String {
        if self.colour { format!("\x1b[{code}m{word}\x1b[0m") } else { word.to_owned() }
    }

    /// Sees to it that somebody shows how long this takes. Without a thread there is no clock, and no harm.
    fn watch(&self, now: &mut Now) {
        if self.terminal && !now.ticks {
            let screen = Arc::clone(&self.screen);
            now.ticks = std::thread::Builder::new().spawn(move || screen.tick()).is_ok();
        }
    }
}

fn style(tone: Tone) -> Style {
    match tone {
        Tone::Plain => Style::new(),
        Tone::Good => AnsiColor::Green.on_default(),
        Tone::Doubtful => AnsiColor::Yellow.on_default(),
        Tone::Bad => AnsiColor::Red.on_default().bold(),
        Tone::Minor => Style::new().dimmed(),
        Tone::Strong => Style::new().bold(),
    }
}

impl Screen {
    fn lock(&self) -> MutexGuard<'_, Now> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Shows the time until the console is closed.
    fn tick(&self) {
        let mut now = self.lock();
        while !now.closed {
            now = self.closed.wait_timeout(now, TICK).unwrap_or_else(PoisonError::into_inner).0;
            let elapsed = now.since.elapsed();
            let Line::Begun(text) = &now.line else { continue };
            if now.closed || elapsed < SOON {
                continue;
            }
            let shown = with_time(text, elapsed, width());
            let mut err = io::stderr().lock();
            let _ = write!(err, "\r\x1b[K{shown}").and_then(|()| err.flush());
            now.timed = true;
        }
    }
}

/// The event without characters that do something to a terminal: part of what we say is what a build said.
fn plain(event: Event) -> Event {
    let text = |text: String| {
        let active = |c: char| c.is_control() && c != '\n' && c != '\t';
        if text.contains(active) { text.replace(active, "?") } else { text }
    };
    let texts = |lines: Vec<String>| lines.into_iter().map(text).collect();
    match event {
        Event::Line(line) => Event::Line(text(line)),
        Event::Styled(parts) => Event::Styled(parts.into_iter().map(|(tone, part)| (tone, text(part))).collect()),
        Event::Part(part) => Event::Part(text(part)),
        Event::Warning(lines) => Event::Warning(texts(lines)),
        Event::Deprecated(line) => Event::Deprecated(text(line)),
        Event::Error(lines) => Event::Error(texts(lines)),
        Event::Note(line) => Event::Note(text(line)),
        Event::Document(line) => Event::Document(text(line)),
        Event::Progress(Some(mut progress)) => {
            for running in &mut progress.running {
                running.step = text(std::mem::take(&mut running.step));
            }
            Event::Progress(Some(progress))
        }
        other @ (Event::Progress(None) | Event::Ended(_) | Event::File(_)) => other,
    }
}

/// The columns of the terminal.
fn width() -> usize {
    usize::from(size().0)
}

/// `text`, cut so that it and the time fit into a line of `width` columns.
fn with_time(text: &str, elapsed: Duration, width: usize) -> String {
    let seconds = elapsed.as_secs();
    let time =
        if seconds < 60 { format!(" {seconds} s") } else { format!(" {}:{:02} min", seconds / 60, seconds % 60) };
    format!("{}{time}", cut(text, width.saturating_sub(time.len() + 1)))
}

fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    text.chars().take(width.saturating_sub(1)).chain(['…']).collect()
}

impl Console {
    /// Writes what was said, and keeps what is on the cursor's line.
    fn write(&self, now: &mut Now, event: Event) -> io::Result<()> {
        let (mut out, mut err) = (io::stdout().lock(), io::stderr().lock());
        if let Line::Begun(text) = &now.line {
            // The line goes on where it was.
            if now.timed {
                let _ = write!(err, "\r\x1b[K{text}");
                now.timed = false;
            }
        }
        match event {
            Event::Line(text) | Event::Document(text) => {
                now.turn(Line::Empty);
                writeln!(out, "{text}").and_then(|()| out.flush())
            }
            Event::Styled(parts) => {
                now.turn(Line::Empty);
                writeln!(out, "{}", self.styled(&parts)).and_then(|()| out.flush())
            }
            Event::Part(text) => {
                let begun = match &now.line {
                    Line::Begun(before) => format!("{before}{text}"),
                    Line::Empty => text.clone(),
                };
                let last = begun.rsplit('\n').next().unwrap_or_default().to_owned();
                now.turn(if last.is_empty() { Line::Empty } else { Line::Begun(last) });
                self.watch(now);
                write!(out, "{text}").and_then(|()| out.flush())
            }
            other => {
                // A terminal shows both streams: an error must not begin in the middle of a line.
                if matches!(now.line, Line::Begun(_)) {
                    let _ = writeln!(out);
                    now.turn(Line::Empty);
                }
                let _ = out.flush();
                let _ = match other {
                    Event::Warning(lines) => {
                        writeln!(err, "{}", self.severe("Warning:", ("33", Severity::Warning), &lines))
                    }
                    Event::Deprecated(text) => writeln!(err, "{} {text}", self.marked("Deprecated feature:", "33")),
                    Event::Error(lines) => {
                        writeln!(err, "\n{}", self.severe("Error!", ("31;1", Severity::Error), &lines))
                    }
                    Event::Note(text) => writeln!(err, "{text}"),
                    _ => Ok(()),
                };
                Ok(())
            }
        }
    }

    /// Shows what is going on, below all that is said.
    fn progress(&self, now: &mut Now, progress: Option<&Progress>) {
        match progress {
            Some(progress) if self.terminal && !matches!(now.line, Line::Begun(_)) => {
                now.bars.get_or_insert_with(Bars::new).show(progress);
            }
            Some(_) => {}
            None => now.bars = None,
        }
    }
}

impl Reporter for Console {
    fn report(&self, event: Event) {
        if self.quiet {
            return;
        }
        let mut now = self.screen.lock();
        let event = match plain(event) {
            Event::Progress(progress) => return self.progress(&mut now, progress.as_ref()),
            Event::Ended(_) | Event::File(_) => return,
            // No line is left unfinished above the bars.
            Event::Part(text) if now.bars.is_some() => return now.held.push_str(&text),
            Event::Line(text) => Event::Line(std::mem::take(&mut now.held) + &text),
            other => other,
        };
        let held = std::mem::take(&mut now.held);
        let write = |now: &mut Now| {
            let before = if held.is_empty() { Ok(()) } else { self.write(now, Event::Line(held)) };
            before.and(self.write(now, event))
        };
        let written = match now.bars.take() {
            None => write(&mut now),
            Some(bars) => {
                let written = bars.aside(|| write(&mut now));
                now.bars = Some(bars);
                written
            }
        };
        if let Err(error) = written {
            if error.kind() != io::ErrorKind::BrokenPipe {
                self.lost.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
            }
        }
    }

    fn shows_progress(&self) -> bool {
        self.terminal && !self.quiet
    }
}

impl Drop for Console {
    fn drop(&mut self) {
        let mut now = self.screen.lock();
        now.closed = true;
        now.bars = None;
        self.screen.closed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_is_told_nothing_but_text() {
        let said = plain(Event::Error(vec!["a\tb\nc".into(), "error: \u{1b}]0;owned\u{7} \u{9b}1m\r ü".into()]));
        assert_eq!(said, Event::Error(vec!["a\tb\nc".into(), "error: ?]0;owned? ?1m? ü".into()]));
    }

    #[test]
    fn the_journal_learns_what_a_line_is() {
        let lines = ["a".to_owned(), "b".to_owned()];
        let console = Console::new(false, false, false);
        assert_eq!(console.severe("Error!", ("31;1", Severity::Error), &lines), "Error! a\nb");
        let console = console.in_journal(true);
        assert_eq!(console.severe("Error!", ("31;1", Severity::Error), &lines), "<3>Error! a\n<3>b");
        assert_eq!(console.severe("Warning:", ("33", Severity::Warning), &lines[..1]), "<4>Warning: a");
    }

    #[test]
    fn a_line_and_its_time_fit() {
        assert_eq!(with_time("Building...", Duration::from_secs(12), 80), "Building... 12 s");
        assert_eq!(with_time("Building...", Duration::from_secs(125), 80), "Building... 2:05 min");
        let shown = with_time("[1 of 9] a-very-long-name/1.0 for 6.12", Duration::from_secs(5), 20);
        assert_eq!((shown.as_str(), shown.chars().count()), ("[1 of 9] a-ver… 5 s", 19));
    }
}
