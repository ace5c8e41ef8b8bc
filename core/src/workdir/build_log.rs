//! make.log: its skeleton is interface (docs/contract.md 2.2): a first line, the date, and for each command
//! a record with `# command:`, `# exit code:` and `# elapsed time:`.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::names::{Kernel, Package, Release};
use crate::sandbox::beneath;

/// How much of a log is looked at for what went wrong.
const MOST: usize = 64 << 20;

/// A build log that is being written: by way of its descriptor alone, since a build may put anything in its place.
#[derive(Debug)]
pub struct Log {
    path: PathBuf,
    file: File,
    /// Where what each command wrote begins and ends; the latest may have no end yet.
    outputs: Vec<(u64, Option<u64>)>,
}

impl Log {
    /// Begins the log at `path`, where no build has been yet. `date` is the present time as date(1) prints it.
    pub fn begin(path: &Path, package: &Package, kernel: &Kernel, date: &str) -> io::Result<Self> {
        // The source may have one.
        if let Err(error) = fs_err::remove_file(path) {
            if error.kind() != io::ErrorKind::NotFound {
                return Err(error);
            }
        }
        let mut file = beneath::create_new(path)?;
        writeln!(file, "DKMS ({}) make.log for {package} for kernel {kernel}\n{date}", crate::VERSION)?;
        Ok(Self { path: path.to_owned(), file, outputs: Vec::new() })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What the commands wrote so far, without the records' own lines: a command's text is not what came of it.
    pub fn said(&self) -> io::Result<String> {
        self.outputs_from(0)
    }

    /// What the latest command wrote.
    pub fn said_last(&self) -> io::Result<String> {
        self.outputs_from(self.outputs.len().saturating_sub(1))
    }

    fn outputs_from(&self, first: usize) -> io::Result<String> {
        let mut bytes = Vec::new();
        for (begin, end) in self.outputs.iter().skip(first) {
            let length = end.map_or(MOST, |end| usize::try_from(end.saturating_sub(*begin)).unwrap_or(MOST));
            let most = bytes.len().saturating_add(length).min(MOST);
            self.pieces(*begin, &mut |piece| {
                bytes.extend_from_slice(&piece[..piece.len().min(most.saturating_sub(bytes.len()))]);
                Ok(bytes.len() < most)
            })?;
            if !bytes.ends_with(b"\n") {
                bytes.push(b'\n');
            }
        }
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Copies it to `path`, where nothing is yet.
    pub fn copy_to(&self, path: &Path) -> io::Result<()> {
        let mut copy = beneath::create_new(path)?;
        self.pieces(0, &mut |piece| copy.write_all(piece).map(|()| true))
    }

    /// Shows it piece by piece, as long as that is wanted. (The position of the descriptor is the build's, too.)
    fn pieces(&self, mut at: u64, each: &mut dyn FnMut(&[u8]) -> io::Result<bool>) -> io::Result<()> {
        let mut buffer = vec![0; 64 * 1024];
        loop {
            let length = match self.file.read_at(&mut buffer, at) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                other => other?,
            };
            if length == 0 || !each(&buffer[..length])? {
                return Ok(());
            }
            at += length as u64;
        }
    }

    /// All of it, as far as anybody reads it.
    pub fn bytes(&self) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.pieces(0, &mut |piece| {
            bytes.extend_from_slice(piece);
            Ok(bytes.len() < MOST)
        })?;
        Ok(bytes)
    }

    /// Says that nothing was run: what there is was built on `date`, with the log `old`.
    pub fn taken(&mut self, date: &str, old: &[u8]) -> io::Result<()> {
        let dashes = "-".repeat(64);
        writeln!(self.file, "\n# taken from the result cache, built on {date}; the log of that build:\n{dashes}")?;
        self.file.write_all(old)
    }

    /// Says that nothing was run: it was built for the kernel `from` on `date`, with the log `old`. `same`: why that is enough.
    pub fn reused(&mut self, from: &Release, date: &str, same: &str, old: &[u8]) -> io::Result<()> {
        let dashes = "-".repeat(64);
        writeln!(
            self.file,
            "\n# reused from kernel {from}, built on {date}: {same}; the log of that build:\n{dashes}"
        )?;
        self.file.write_all(old)
    }

    /// Says why what was built for the kernel `from` is not used.
    pub fn differs(&mut self, from: &Release, why: &str) -> io::Result<()> {
        writeln!(self.file, "\n# not reused from kernel {from}: {why}")
    }

    /// A handle that a program can append to.
    pub fn handle(&self) -> io::Result<File> {
        self.file.try_clone()
    }

    /// Begins the record of one command.
    pub fn command(&mut self, description: &str, command: &str) -> io::Result<()> {
        writeln!(self.file, "\n{description}\n# command: {command}")?;
        let begin = self.length()?;
        self.outputs.push((begin, None));
        Ok(())
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    /// Adds a line of the record's own before the latest command has begun.
    fn note(&mut self, line: &str) -> io::Result<()> {
        writeln!(self.file, "{line}")?;
        let begin = self.length()?;
        if let Some(latest) = self.outputs.last_mut() {
            latest.0 = begin;
        }
        Ok(())
    }

    /// Says how many jobs the latest command may run at once: the first thing to look at where a Makefile is not safe
    /// to run in parallel. `shared`: out of one budget with the other builds of this run.
    pub fn jobs(&mut self, most: usize, shared: bool) -> io::Result<()> {
        let shared = if shared { ", shared with the other builds of this run" } else { "" };
        self.note(&format!("# jobs: at most {most}{shared}"))
    }

    /// Says that the latest command has this machine's network, and what allows it.
    pub fn network(&mut self, allowed_by: &str) -> io::Result<()> {
        self.note(&format!("# network: this machine's, since {allowed_by} says so"))
    }

    /// Says what compiles in the compilers' place.
    pub fn launcher(&mut self, name: &str) -> io::Result<()> {
        writeln!(self.file, "\n# compiler launcher: {name}")
    }

    /// Ends the record.
    pub fn end(&mut self, code: i32, elapsed: Duration) -> io::Result<()> {
        let seconds = elapsed.as_secs();
        let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
        let output_ends = self.length()?;
        if let Some(latest) = self.outputs.last_mut() {
            latest.1 = Some(output_ends);
        }
        writeln!(
            self.file,
            "\n# exit code: {code}\n# elapsed time: {hours:02}:{minutes:02}:{seconds:02}\n{}",
            "-".repeat(64)
        )
    }
}

/// No build is expected to take longer, in seconds: a week. What makes a log may write such lines, too.
const LONGEST: u64 = 7 * 24 * 3600;

/// How long the commands of a log took, together, by what [`Log::end`] wrote; a week at most.
pub fn elapsed(log: &str) -> Duration {
    let lines = log.lines().filter_map(|line| line.strip_prefix("# elapsed time: "));
    let seconds = |line: &str| {
        let mut parts = line.split(':').map(|part| part.parse::<u64>().ok());
        parts.try_fold(0_u64, |sum, part| sum.checked_mul(60)?.checked_add(part?))
    };
    Duration::from_secs(lines.filter_map(seconds).fold(0, u64::saturating_add).min(LONGEST))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_make_writes_into_a_log_is_no_endless_time() {
        let week = Duration::from_secs(LONGEST);
        for time in ["18446744073709551000", "9999999999999:0:0", "200:00:00\n# elapsed time: 18446744073709551615"] {
            assert!(elapsed(&format!("x\n# elapsed time: {time}\n")) <= week, "{time}");
        }
        assert_eq!(elapsed("# elapsed time: 01:02:03\n# elapsed time: 00:00:01\n"), Duration::from_secs(3724));
    }

    #[test]
    fn the_skeleton() {
        let tmp = tempfile::tempdir().unwrap();
        let path = tmp.path().join("make.log");
        let mut log =
            Log::begin(&path, &Package::new("m", "1").unwrap(), &Kernel::new("6.1", "x86_64").unwrap(), "today")
                .unwrap();
        log.command("Building module(s)", "make x").unwrap();
        writeln!(log.handle().unwrap(), "output").unwrap();
        log.end(2, Duration::from_secs(3723)).unwrap();
        let text = fs_err::read_to_string(&path).unwrap();
        let dashes = "-".repeat(64);
        assert_eq!(log.said().unwrap(), "output\n");
        assert_eq!(elapsed(&text), Duration::from_secs(3723));
        let copy = tmp.path().join("copy");
        log.copy_to(&copy).unwrap();
        assert_eq!(fs_err::read_to_string(&copy).unwrap(), text);
        assert!(log.copy_to(&copy).is_err(), "what is there stays");
        assert_eq!(
            text,
            format!(
                "DKMS ({}) make.log for m/1 for kernel 6.1 (x86_64)\ntoday\n\nBuilding module(s)\n# command: make x\noutput\n\n\
                 # exit code: 2\n# elapsed time: 01:02:03\n{dashes}\n",
                crate::VERSION
            )
        );
    }

    #[test]
    fn what_the_commands_wrote_is_told_from_the_records_own_lines() {
        let tmp = tempfile::tempdir().unwrap();
        let path = tmp.path().join("make.log");
        let (package, kernel) = (Package::new("m", "1").unwrap(), Kernel::new("6.1", "x86_64").unwrap());
        let mut log = Log::begin(&path, &package, &kernel, "today").unwrap();
        assert_eq!((log.said().unwrap(), log.said_last().unwrap()), (String::new(), String::new()));
        log.command("Applying patch x.c:1: error: x", "echo 'x.c:1:\nx.c:2: error: no'").unwrap();
        writeln!(log.handle().unwrap(), "# command: the output's own").unwrap();
        log.end(0, Duration::ZERO).unwrap();
        log.command("Building module(s)", "make").unwrap();
        log.jobs(2, true).unwrap();
        log.network("x.c:1: error: x").unwrap();
        write!(log.handle().unwrap(), "no line's end").unwrap();
        for ended in [false, true] {
            assert_eq!(log.said().unwrap(), "# command: the output's own\nno line's end\n");
            assert_eq!(log.said_last().unwrap(), "no line's end\n");
            if !ended {
                log.end(2, Duration::ZERO).unwrap();
            }
        }
    }
}
