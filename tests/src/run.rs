//! Starting programs and keeping what they said.

use std::ffi::OsStr;
use std::io::Write;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// How a program ended and what it printed.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// The exit code; 128 + signal when killed; 124 when its time was up (as timeout(1) says).
    pub code: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Outcome {
    /// The standard output of a program that had to succeed.
    pub fn ok(self) -> Result<String> {
        if self.code != 0 {
            bail!("exit code {}\n{}", self.code, self.tail());
        }
        Ok(self.stdout)
    }

    /// Nothing, if the exit code is `code`.
    pub fn exits(self, code: i32) -> Result<Self> {
        if self.code != code {
            bail!("exit code {} instead of {code}\n{}", self.code, self.tail());
        }
        Ok(self)
    }

    /// The last lines of both streams, for messages.
    pub fn tail(&self) -> String {
        let last = |text: &str| {
            let lines: Vec<&str> = text.lines().collect();
            lines[lines.len().saturating_sub(15)..].join("\n")
        };
        format!("stdout: {}\nstderr: {}", last(&self.stdout), last(&self.stderr))
    }
}

/// A bare command. The tests' one way of starting a program.
#[allow(clippy::disallowed_methods)] // this is the one place
pub fn command(program: impl AsRef<OsStr>) -> Command {
    Command::new(program)
}

/// Runs `command` with `input` on its standard input, to its end.
pub fn run(command: &mut Command, input: &[u8]) -> Result<Outcome> {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("start {command:?}"))?;
    if let Some(mut stdin) = child.stdin.take() {
        // A program may end without having read all of it.
        let _ = stdin.write_all(input);
    }
    let output = child.wait_with_output()?;
    use std::os::unix::process::ExitStatusExt;
    let code = output.status.code().or_else(|| output.status.signal().map(|s| 128 + s)).unwrap_or(-1);
    Ok(Outcome {
        code,
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}
