//! The lines at the bottom of a terminal while several builds run: one for each of them, and a bar for all.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle, TermLike};

use super::size::size;
use super::{Progress, Running};

/// At most so many drawings a second: a serial console takes its time for each.
const DRAWINGS: u8 = 20;
/// How often the time is shown anew.
const TICK: Duration = Duration::from_secs(1);
/// So many builds have a line; the others are counted.
const LINES: usize = 8;

/// What is shown now.
#[derive(Debug)]
pub(super) struct Bars {
    all: MultiProgress,
    whole: ProgressBar,
    lines: Vec<(Running, ProgressBar)>,
}

impl Bars {
    /// Nothing yet, on standard error.
    pub(super) fn new() -> Self {
        let all = MultiProgress::with_draw_target(ProgressDrawTarget::term_like_with_hz(
            Box::new(Below::default()),
            DRAWINGS,
        ));
        let whole = all.add(ProgressBar::new(0));
        // Plain characters: a serial console has no others.
        if let Ok(style) = ProgressStyle::with_template("{prefix} {pos}/{len} [{wide_bar}] {msg}") {
            whole.set_style(style.progress_chars("=> "));
        }
        whole.set_prefix("Building");
        Self { all, whole, lines: Vec::new() }
    }

    /// Shows how far things are.
    pub(super) fn show(&mut self, now: &Progress) {
        let is_shown = |known: &Running| now.running.iter().take(LINES).any(|running| running.is(known));
        self.lines.retain(|(known, bar)| {
            let stays = is_shown(known);
            if !stays {
                bar.finish_and_clear();
                self.all.remove(bar);
            }
            stays
        });
        for running in now.running.iter().take(LINES) {
            if let Some((_, bar)) = self.lines.iter().find(|(known, _)| running.is(known)) {
                bar.set_message(running.to_string());
                continue;
            }
            let bar = self.all.insert_before(&self.whole, ProgressBar::new_spinner());
            if let Ok(style) = ProgressStyle::with_template("  {wide_msg} {elapsed:>4}") {
                bar.set_style(style);
            }
            bar.set_elapsed(running.since.elapsed());
            bar.set_message(running.to_string());
            bar.enable_steady_tick(TICK);
            self.lines.push((running.clone(), bar));
        }
        self.whole.set_length(u64::try_from(now.total).unwrap_or(u64::MAX));
        self.whole.set_position(u64::try_from(now.done).unwrap_or(0));
        self.whole.set_message(rest(now));
        self.whole.tick();
    }

    /// Has something written while nothing of this is on the screen.
    pub(super) fn aside<T>(&self, write: impl FnOnce() -> T) -> T {
        self.all.suspend(write)
    }
}

impl Drop for Bars {
    fn drop(&mut self) {
        for (_, bar) in &self.lines {
            bar.finish_and_clear();
        }
        self.whole.finish_and_clear();
    }
}

/// Standard error, as it is drawn on, and what is to be written next. Each drawing ends at the beginning of its last line: indicatif leaves
/// the cursor behind the last column, where the terminal's echo of a key (`^C`) begins a new line, and all that is drawn and wiped after that
/// would be a line too low.
#[derive(Debug, Default)]
struct Below(Mutex<String>);

impl Below {
    fn text(&self) -> MutexGuard<'_, String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A cursor movement of ECMA-48, which every terminal knows.
    fn go(&self, count: usize, way: char) -> io::Result<()> {
        if count > 0 {
            write!(self.text(), "\x1b[{count}{way}").map_err(io::Error::other)?;
        }
        Ok(())
    }
}

impl TermLike for Below {
    fn width(&self) -> u16 {
        size().0
    }

    fn height(&self) -> u16 {
        size().1
    }

    fn move_cursor_up(&self, count: usize) -> io::Result<()> {
        self.go(count, 'A')
    }

    fn move_cursor_down(&self, count: usize) -> io::Result<()> {
        self.go(count, 'B')
    }

    fn move_cursor_right(&self, count: usize) -> io::Result<()> {
        self.go(count, 'C')
    }

    fn move_cursor_left(&self, count: usize) -> io::Result<()> {
        self.go(count, 'D')
    }

    fn write_line(&self, text: &str) -> io::Result<()> {
        self.write_str(text)?;
        self.write_str("\n")
    }

    fn write_str(&self, text: &str) -> io::Result<()> {
        self.text().push_str(text);
        Ok(())
    }

    fn clear_line(&self) -> io::Result<()> {
        self.write_str("\r\x1b[2K")
    }

    fn flush(&self) -> io::Result<()> {
        let text = std::mem::take(&mut *self.text());
        if text.is_empty() {
            return Ok(());
        }
        let mut err = io::stderr().lock();
        err.write_all((text + "\r").as_bytes()).and_then(|()| err.flush())
    }
}

/// How many builds have no line, and what time is left.
fn rest(now: &Progress) -> String {
    let more = now.running.len().saturating_sub(LINES);
    let more = if more > 0 { format!("+{more} ") } else { String::new() };
    let left = match now.left.map(|left| left.as_secs()) {
        None => String::new(),
        Some(seconds) if seconds < 60 => format!("{seconds} s left"),
        Some(seconds) => format!("{} min left", seconds.div_ceil(60)),
    };
    format!("{more}{left}").trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_in_words() {
        let said = |running: usize, left: Option<u64>| {
            let one = Running::new("a/1", "6.1");
            rest(&Progress { done: 0, total: 30, running: vec![one; running], left: left.map(Duration::from_secs) })
        };
        for (running, left, expected) in
            [(1, None, ""), (8, Some(59), "59 s left"), (10, Some(61), "+2 2 min left"), (10, None, "+2")]
        {
            assert_eq!(said(running, left), expected);
        }
    }
}
