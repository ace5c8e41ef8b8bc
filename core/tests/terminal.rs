//! What a terminal shows while several builds run: a line for each, a bar for all, at any width, also when that changes; and nothing
//! of it when they have ended or were interrupted. A real pseudo-terminal, read by a real parser of its escape codes.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods)]

use std::fs::File;
use std::io::{Read, Write};
use std::num::NonZero;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use portable_pty::{Child, CommandBuilder, MasterPty, PtySize, native_pty_system};

mod bed;

use bed::{Bed, KERNELS};

/// How long something may take until it is on the screen.
const PATIENCE: Duration = Duration::from_secs(120);

/// A dkms on a terminal.
struct Session {
    bed: Bed,
    child: Box<dyn Child + Send + Sync>,
    master: Box<dyn MasterPty + Send>,
    keys: Box<dyn Write + Send>,
    output: Receiver<Vec<u8>>,
    screen: vt100::Parser,
    raw: Vec<u8>,
}

fn cells(count: u16) -> NonZero<u16> {
    NonZero::new(count).unwrap()
}

fn size((cols, rows): (u16, u16)) -> PtySize {
    PtySize { rows, cols, pixel_width: 0, pixel_height: 0 }
}

impl Session {
    /// Begins to build three packages, whose builds wait until they are let go.
    fn begin(columns_and_rows: (u16, u16), environment: &[(&str, &str)]) -> Self {
        Self::begin_on(columns_and_rows, columns_and_rows, environment)
    }

    /// The same on a terminal that says that it is `claimed` large.
    fn begin_on(claimed: (u16, u16), columns_and_rows: (u16, u16), environment: &[(&str, &str)]) -> Self {
        let bed = Bed::new();
        // Who owns nothing could not open the pipe.
        bed.write("etc/dkms/framework.conf.d/root.conf", "build_as=root\n");
        let gate = bed.path("gate");
        assert!(std::process::Command::new("mkfifo").arg(&gate).status().unwrap().success());
        for name in ["first", "second", "third"] {
            let make = format!(
                "MAKE=\"cat {}; sed 's/6.12.117+deb13-amd64/$kernelver/' source >{name}.ko\"\n",
                gate.display()
            );
            bed.source(&format!("usr/src/{name}-1.0"), name, "1.0", &make);
            bed.ok(&format!("add {name}/1.0"));
        }
        let pair = native_pty_system().openpty(size(claimed)).unwrap();
        let mut command = CommandBuilder::new(env!("CARGO_BIN_EXE_dkms"));
        command.args(["reconcile", "-j", "2", "-k", KERNELS[0], "--root"]);
        command.arg(bed.path(""));
        command.env("TERM", "xterm-256color");
        for name in ["CI", "NO_COLOR", "CLICOLOR", "CLICOLOR_FORCE"] {
            command.env_remove(name);
        }
        for (name, value) in environment {
            command.env(name, value);
        }
        let child = pair.slave.spawn_command(command).unwrap();
        drop(pair.slave);
        let mut reader = pair.master.try_clone_reader().unwrap();
        let (sender, output) = channel();
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            // The other end of a terminal that is closed is an error.
            while let Some(length) = reader.read(&mut bytes).ok().filter(|length| *length > 0) {
                if sender.send(bytes[..length].to_vec()).is_err() {
                    break;
                }
            }
        });
        let keys = pair.master.take_writer().unwrap();
        let screen = vt100::Parser::new(cells(columns_and_rows.1), cells(columns_and_rows.0), 1000);
        Self { bed, child, master: pair.master, keys, output, screen, raw: Vec::new() }
    }

    fn rows(&self) -> Vec<String> {
        let (_, width) = self.screen.screen().size();
        self.screen.screen().rows(0, width.get()).collect()
    }

    /// Also those that have left the screen at its top.
    fn all_rows(&mut self) -> Vec<String> {
        let (_, width) = self.screen.screen().size();
        let screen = self.screen.screen_mut();
        screen.set_scrollback(usize::MAX);
        let mut all = Vec::new();
        for above in (1..=screen.scrollback()).rev() {
            screen.set_scrollback(above);
            all.extend(screen.rows(0, width.get()).next());
        }
        screen.set_scrollback(0);
        all.extend(self.rows());
        all
    }

    /// Reads until the screen is as `wanted`.
    fn until(&mut self, what: &str, wanted: impl Fn(&[String]) -> bool) {
        self.read_until(what, |session| wanted(&session.rows()));
    }

    /// Reads until something was said, which may have left the screen again.
    fn until_said(&mut self, words: &str) {
        self.read_until(words, |session| String::from_utf8_lossy(&session.raw).contains(words));
    }

    fn read_until(&mut self, what: &str, wanted: impl Fn(&Self) -> bool) {
        let end = Instant::now() + PATIENCE;
        while !wanted(self) {
            match self.output.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(bytes) => {
                    self.screen.process(&bytes);
                    self.raw.extend(bytes);
                }
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                    panic!("never {what}: {:#?}", self.rows())
                }
            }
        }
    }

    /// Lets the builds go: they wait for somebody who writes to the pipe, and for its end.
    fn let_go(&self) -> File {
        File::options().read(true).write(true).open(self.bed.path("gate")).unwrap()
    }

    /// Reads to the end; the exit code.
    fn end(&mut self) -> u32 {
        let gate = self.let_go();
        let end = Instant::now() + PATIENCE;
        // Builds that begin later find nobody waiting: they are let go as well.
        drop(gate);
        loop {
            match self.output.recv_timeout(Duration::from_millis(100)) {
                Ok(bytes) => {
                    self.screen.process(&bytes);
                    self.raw.extend(bytes);
                }
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => {
                    assert!(Instant::now() < end, "it does not end: {:#?}", self.rows());
                    drop(self.let_go());
                }
            }
        }
        self.child.wait().unwrap().exit_code()
    }
}

fn bars(rows: &[String]) -> Vec<&String> {
    rows.iter().filter(|row| row.starts_with("Building ") && row.contains("/3 [")).collect()
}

/// The rows of builds: what they are about, and seconds.
fn builds(rows: &[String]) -> usize {
    let names = ["  first/1.0", "  second/1.0", "  third/1.0"];
    let has_time = |row: &str| {
        let time = row.trim_end().rsplit(' ').next().and_then(|word| word.strip_suffix('s'));
        time.is_some_and(|time| time.parse::<u32>().is_ok())
    };
    rows.iter().filter(|row| names.iter().any(|name| row.starts_with(name)) && has_time(row)).count()
}

/// One row for each build, and one for all.
fn is_whole(rows: &[String]) -> bool {
    builds(rows) == 3 && bars(rows).len() == 1
}

#[test]
fn each_build_has_a_line_at_any_width() {
    for (columns, rows) in [(40, 24), (80, 24), (200, 50)] {
        let mut session = Session::begin((columns, rows), &[]);
        session.until("a line for each build", is_whole);
        session.until("the step", |rows| rows.iter().any(|row| row.contains("Building module(s)")));
        let shown = session.rows();
        let bar = bars(&shown)[0];
        assert!(bar.starts_with("Building 0/3 ["), "{columns}: {shown:#?}");
        // Longer and shorter: what is drawn anew fits.
        for narrow in [columns + 20, columns - 8] {
            session.master.resize(size((narrow, rows))).unwrap();
            session.screen.screen_mut().set_size(cells(rows), cells(narrow));
            let before = session.raw.len();
            // A tick later, it is drawn for the new width.
            while session.raw.len() < before + usize::from(narrow) {
                let bytes = session.output.recv_timeout(PATIENCE).expect("it is drawn anew");
                session.screen.process(&bytes);
                session.raw.extend(bytes);
            }
            session.until("whole after a resize", is_whole);
        }
        assert_eq!(session.end(), 0, "{:#?}", session.rows());
        let all = session.screen.screen().contents();
        assert!(bars(&session.rows()).is_empty(), "{columns}: {all}");
        assert_eq!(builds(&session.rows()), 0, "{columns}: {all}");
        for name in ["first", "second", "third"] {
            assert!(String::from_utf8_lossy(&session.raw).contains(&format!("Build and install {name}/1.0")), "{all}");
        }
    }
}

#[test]
fn an_interrupt_leaves_words_and_no_bars() {
    for (columns, rows) in [(40, 24), (80, 24), (200, 50)] {
        let mut session = Session::begin((columns, rows), &[]);
        // Then all is drawn: the terminal throws away what nobody has read yet when the key comes (termios(3), NOFLSH).
        let at_work = |rows: &[String]| rows.iter().filter(|row| row.contains("Building module(s)")).count() == 2;
        session.until("a line for each build, and its step", |rows| is_whole(rows) && at_work(rows));
        // It is echoed, as ^C.
        session.keys.write_all(b"\x03").unwrap();
        // Before anything is let go.
        let words = "Interrupted by SIGINT after 0 of 3";
        session.until_said(words);
        assert_eq!(session.end(), 130);
        let shown = session.all_rows();
        assert!(shown.iter().any(|row| row.contains("To go on")), "{columns}: {shown:#?}");
        assert!(bars(&shown).is_empty() && builds(&shown) == 0, "{columns}: {shown:#?}");
        assert!(!shown.iter().any(|row| row.contains("^C")), "{columns}: {shown:#?}");
        let (row, column) = session.screen.screen().cursor_position();
        assert_eq!(column, 0, "the shell's prompt begins a line: {row}");
        assert!(!session.screen.screen().hide_cursor());
    }
}

/// A serial console: it says nothing of its size, and knows nothing but what a VT100 knew.
#[test]
fn a_serial_console_has_lines_too() {
    let mut session = Session::begin_on((0, 0), (80, 24), &[("TERM", "vt100")]);
    session.until("a line for each build", is_whole);
    assert_eq!(session.end(), 0);
    let shown = session.all_rows();
    assert!(bars(&shown).is_empty() && builds(&shown) == 0, "{shown:#?}");
    assert!(session.raw.is_ascii());
    let raw = String::from_utf8_lossy(&session.raw).into_owned();
    for code in raw.split('\x1b').skip(1) {
        let end = code.trim_start_matches(|c: char| c == '[' || c == ';' || c.is_ascii_digit());
        assert!(code.starts_with('[') && end.starts_with(['A', 'B', 'K', 'm']), "{code:?}");
    }
}

/// A terminal that knows no codes, and one whose every byte is kept in a log (apt's term.log): no line is drawn, and there are no colours.
#[test]
fn where_codes_do_harm_there_are_none() {
    for variable in [("TERM", "dumb"), ("TERM", "unknown"), ("TERM", ""), ("DPKG_MAINTSCRIPT_NAME", "postinst")] {
        let mut session = Session::begin((80, 24), &[variable]);
        session.bed.append("usr/src/second-1.0/dkms.conf", "MAKE=false");
        let _ = session.end();
        let raw = String::from_utf8_lossy(&session.raw).into_owned();
        assert!(!raw.contains('\x1b') && !raw.contains("/3 ["), "{variable:?}: {raw}");
        assert!(raw.contains("Build and install first/1.0") && raw.contains("Error!"), "{variable:?}: {raw}");
    }
}

/// Colours obey the usual variables.
#[test]
fn colours_are_asked_for() {
    for (environment, coloured) in [
        (&[][..], true),
        (&[("NO_COLOR", "1")], false),
        (&[("CLICOLOR", "0")], false),
        (&[("CLICOLOR", "0"), ("CLICOLOR_FORCE", "1")], true),
        (&[("TERM", "dumb")], false),
        (&[("TERM", "dumb"), ("CI", "true")], false),
    ] {
        let mut session = Session::begin((80, 24), environment);
        session.bed.append("usr/src/second-1.0/dkms.conf", "MAKE=false");
        let _ = session.end();
        let raw = String::from_utf8_lossy(&session.raw).into_owned();
        assert!(raw.contains("Error!"), "{raw}");
        assert_eq!(raw.contains("\x1b[31;1mError!"), coloured, "{environment:?}: {raw}");
    }
}
