//! One running bash with evaluate.bash in it: bytes in, words out, all of it bounded.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::process::{Pid, Signal, kill_process_group};

use super::directive;

/// How long one request may take by default.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// How bash is started.
#[derive(Debug, Clone)]
pub struct Launcher {
    /// The program and its first arguments; the last word is bash itself (`["bash"]`,
    /// `["chroot", DIR, "/bin/bash"]`, …). The arguments for bash are put behind it.
    pub argv: Vec<OsString>,
    /// The whole environment of bash and of what the files run.
    pub env: BTreeMap<OsString, OsString>,
    /// The directory it starts in, as an outer path; this process's own if `None`.
    pub dir: Option<PathBuf>,
    /// How long one request may take.
    pub timeout: Duration,
}

impl Launcher {
    /// Plain `bash` with this environment, in this process's directory, with [`PATIENCE`].
    pub fn new(env: BTreeMap<OsString, OsString>) -> Self {
        Self { argv: vec!["bash".into()], env, dir: None, timeout: PATIENCE }
    }
}

const SCRIPT: &str = include_str!("evaluate.bash");
/// How much of one request's standard error is kept.
const KEPT: usize = 64 * 1024;
/// How long an answer may be: the script's own limit for each of the files, and some air.
const LONGEST: usize = 16 * 1024 * 1024;
/// Variables that would make bash run or be something else than asked for (bash(1), "INVOCATION").
const UNWANTED: &[&str] = &["BASH_ENV", "ENV", "SHELLOPTS", "BASHOPTS", "POSIXLY_CORRECT", "BASH_XTRACEFD"];

/// Why no answer came to its end. The session must be killed then.
#[derive(Debug)]
pub(super) enum Stop {
    Deadline,
    Flood,
    Ended,
    Failed(io::Error),
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Self::Failed(error)
    }
}

impl From<rustix::io::Errno> for Stop {
    fn from(error: rustix::io::Errno) -> Self {
        Self::Failed(error.into())
    }
}

#[derive(Debug)]
pub(super) struct Session {
    child: Child,
    // Taken when the session is dropped: its end is bash's signal to end, too.
    stdin: Option<ChildStdin>,
    stdout: ChildStdout,
    stderr: Option<ChildStderr>,
    said: Vec<u8>,
}

impl Session {
    pub(super) fn start(launcher: &Launcher) -> io::Result<Self> {
        let (program, rest) = launcher
            .argv
            .split_first()
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "no program to start"))?;
        let mut command = crate::process::command(program);
        command
            .args(rest)
            .args(["--norc", "--noprofile", "-c", SCRIPT, "dkms"])
            .arg(directive::PACKAGE.join(" "))
            .arg(directive::FRAMEWORK.join(" "))
            .arg(directive::ADMINISTRATORS.join(" "))
            .env_clear()
            .envs(launcher.env.iter().filter(|(name, _)| {
                !UNWANTED.iter().any(|unwanted| name == unwanted) && !name.to_string_lossy().starts_with("BASH_FUNC_")
            }))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // Its own group, so that all of it can be ended and a terminal's ^C reaches only us.
            .process_group(0);
        if let Some(dir) = &launcher.dir {
            command.current_dir(dir);
        }
        let mut child = command.spawn()?;
        let (Some(stdin), Some(stdout), Some(stderr)) = (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            return Err(io::Error::other("the pipes to bash are missing"));
        };
        let session = Self { child, stdin: Some(stdin), stdout, stderr: Some(stderr), said: Vec::new() };
        if let (Some(stdin), Some(stderr)) = (&session.stdin, &session.stderr) {
            unblock(stdin)?;
            unblock(stderr)?;
        }
        unblock(&session.stdout)?;
        Ok(session)
    }

    /// Sends a request and gives each word of the answer to `take` until that says it was the last.
    pub(super) fn ask(
        &mut self,
        request: &[u8],
        deadline: Instant,
        take: &mut dyn FnMut(&[u8]) -> bool,
    ) -> Result<(), Stop> {
        self.said.clear();
        let mut unsent = request;
        let mut word = Vec::new();
        let mut length = 0;
        let mut chunk = [0; 16 * 1024];
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(Stop::Deadline);
            }
            self.wait(!unsent.is_empty(), left)?;
            if let Some(stdin) = self.stdin.as_mut().filter(|_| !unsent.is_empty()) {
                match stdin.write(unsent) {
                    Ok(count) => unsent = &unsent[count..],
                    // It does not read any more; its last words are still to be had.
                    Err(error) if error.kind() == io::ErrorKind::BrokenPipe => unsent = &[],
                    Err(error) if again(&error) => {}
                    Err(error) => return Err(error.into()),
                }
            }
            self.hear();
            match self.stdout.read(&mut chunk) {
                Ok(0) => return Err(Stop::Ended),
                Ok(count) => {
                    length += count;
                    if length > LONGEST {
                        return Err(Stop::Flood);
                    }
                    for byte in &chunk[..count] {
                        if *byte != 0 {
                            word.push(*byte);
                        } else if take(&word) {
                            return Ok(());
                        } else {
                            word.clear();
                        }
                    }
                }
                Err(error) if again(&error) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// What was said on standard error during the last request, at most [`KEPT`] bytes of it.
    /// `alive` says that bash is there; a dying one is given a moment for its last words.
    pub(super) fn stderr(&mut self, alive: bool) -> String {
        if !alive {
            let _ = self.wait_stderr(Duration::from_millis(20));
        }
        self.hear();
        String::from_utf8_lossy(&self.said).into_owned()
    }

    /// Ends bash and everything it started.
    pub(super) fn kill(mut self) {
        if let Some(group) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            let _ = kill_process_group(group, Signal::KILL);
        }
        let _ = self.child.wait();
    }

    /// Takes what is there on standard error now; keeps the beginning.
    fn hear(&mut self) {
        let mut chunk = [0; 16 * 1024];
        // A writer that is faster than we are must not keep us here.
        for _ in 0..64 {
            let Some(stderr) = &mut self.stderr else {
                return;
            };
            match stderr.read(&mut chunk) {
                Ok(0) => self.stderr = None,
                Ok(count) => {
                    let kept = count.min(KEPT.saturating_sub(self.said.len()));
                    self.said.extend_from_slice(&chunk[..kept]);
                }
                Err(_) => return,
            }
        }
    }

    fn wait(&self, sending: bool, left: Duration) -> Result<(), Stop> {
        let mut fds = vec![PollFd::new(&self.stdout, PollFlags::IN)];
        if let Some(stderr) = &self.stderr {
            fds.push(PollFd::new(stderr, PollFlags::IN));
        }
        if let Some(stdin) = self.stdin.as_ref().filter(|_| sending) {
            fds.push(PollFd::new(stdin, PollFlags::OUT));
        }
        wait(&mut fds, left)
    }

    fn wait_stderr(&self, left: Duration) -> Result<(), Stop> {
        match &self.stderr {
            Some(stderr) => wait(&mut [PollFd::new(stderr, PollFlags::IN)], left),
            None => Ok(()),
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // bash reads its end here and leaves by itself.
        self.stdin = None;
        let _ = self.child.wait();
    }
}

fn wait(fds: &mut [PollFd<'_>], left: Duration) -> Result<(), Stop> {
    let left = Timespec::try_from(left).map_err(|_| Stop::Deadline)?;
    match poll(fds, Some(&left)) {
        Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn unblock(pipe: impl AsFd) -> io::Result<()> {
    let flags = fcntl_getfl(&pipe)?;
    Ok(fcntl_setfl(&pipe, flags | OFlags::NONBLOCK)?)
}

fn again(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}
