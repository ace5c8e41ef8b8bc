//! make.log: its skeleton is interface (docs/contract.md 2.2): a first line, the date, and for each command
//! a record with `# command:`, `# exit code:` and `# elapsed time:`.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::names::{Kernel, Package};
use crate::sandbox::beneath;

/// How much of a log is looked at for what went wrong.
const MOST: usize = 64 << 20;

/// A build log that is being written: by way of its descriptor alone, since a build may put anything in its place.
#[derive(Debug)]
pub struct Log {
    path: PathBuf,
    file: File,
    /// Where the record of the latest command begins.
    latest: u64,
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
        Ok(Self { path: path.to_owned(), file, latest: 0 })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What it says so far.
    pub fn text(&self) -> io::Result<String> {
        self.text_from(0)
    }

    /// What it says of the latest command.
    pub fn last(&self) -> io::Result<String> {
        self.text_from(self.latest)
    }

    fn text_from(&self, at: u64) -> io::Result<String> {
        let mut bytes = Vec::new();
        self.pieces(at, &mut |piece| {
            bytes.extend_from_slice(piece);
            Ok(bytes.len() < MOST)
        })?;
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

    /// A handle that a program can append to.
    pub fn handle(&self) -> io::Result<File> {
        self.file.try_clone()
    }

    /// Begins the record of one command.
    pub fn command(&mut self, description: &str, command: &str) -> io::Result<()> {
        self.latest = self.file.metadata()?.len();
        writeln!(self.file, "\n{description}\n# command: {command}")
    }

    /// Says how many jobs the latest command may run at once: the first thing to look at where a Makefile is not safe
    /// to run in parallel. `shared`: out of one budget with the other builds of this run.
    pub fn jobs(&mut self, most: usize, shared: bool) -> io::Result<()> {
        let shared = if shared { ", shared with the other builds of this run" } else { "" };
        writeln!(self.file, "# jobs: at most {most}{shared}")
    }

    /// Says that the latest command has this machine's network, and what allows it.
    pub fn network(&mut self, allowed_by: &str) -> io::Result<()> {
        writeln!(self.file, "# network: this machine's, since {allowed_by} says so")
    }

    /// Ends the record.
    pub fn end(&mut self, code: i32, elapsed: Duration) -> io::Result<()> {
        let seconds = elapsed.as_secs();
        let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
        writeln!(
            self.file,
            "\n# exit code: {code}\n# elapsed time: {hours:02}:{minutes:02}:{seconds:02}\n{}",
            "-".repeat(64)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        assert_eq!(log.text().unwrap(), text);
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
}
