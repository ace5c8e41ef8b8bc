//! make.log: its skeleton is interface (behaviour.md 2.2): a first line, the date, and for each command
//! a record with `# command:`, `# exit code:` and `# elapsed time:`.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use fs_err::OpenOptions;

use crate::names::{Kernel, Package};

/// A build log that is being written.
#[derive(Debug)]
pub struct Log {
    path: PathBuf,
    file: fs_err::File,
}

impl Log {
    /// Begins the log at `path`. `date` is the present time as date(1) prints it.
    pub fn begin(path: &Path, package: &Package, kernel: &Kernel, date: &str) -> io::Result<Self> {
        let file = OpenOptions::new().create(true).write(true).truncate(true).open(path)?;
        drop(file);
        let mut file = OpenOptions::new().append(true).open(path)?;
        writeln!(file, "DKMS ({}) make.log for {package} for kernel {kernel}\n{date}", crate::VERSION)?;
        Ok(Self { path: path.to_owned(), file })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A handle that a program can append to.
    pub fn handle(&self) -> io::Result<File> {
        Ok(self.file.try_clone()?.into_parts().0)
    }

    /// Begins the record of one command.
    pub fn command(&mut self, description: &str, command: &str) -> io::Result<()> {
        writeln!(self.file, "\n{description}\n# command: {command}")
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

    /// A line of our own.
    pub fn note(&mut self, text: &str) -> io::Result<()> {
        writeln!(self.file, "\n{text}")
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
