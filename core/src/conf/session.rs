//! One running bash with evaluate.bash in it: bytes in, words out, all of it bounded.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};

use super::directive;
use crate::process::{Confine, Environment, REFUSED};

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
    /// Where packages' files are evaluated; `None`: as we are.
    pub shelter: Option<Arc<dyn Shelter>>,
    /// Whether packages are trusted where the administrator says nothing about one: they need no shelter.
    pub trusting: bool,
}

/// Gives packages' files a place where they reach nothing.
pub trait Shelter: std::fmt::Debug + Send + Sync {
    /// The best kind of confinement after `refused` better ones that this system refused, for files that are where `files` say;
    /// never the same twice; a task so confined hears, and has a session of its own. `None`: there is none, bash is who we are.
    fn confinement(&self, refused: usize, files: &[PathBuf]) -> Option<Box<dyn Confine>>;
    /// The environment there.
    fn environment(&self) -> &Environment;
    /// Tells that the confinement after `refused` others was refused, too.
    fn refused(&self, refused: usize, why: &str);
    /// A copy of a file that can't be read there, as bash finds it; `None` if there can't be one.
    fn copy(&self, file: &Path) -> Option<PathBuf>;
}

impl Launcher {
    /// Plain `bash` with this environment, in this process's directory, with [`PATIENCE`].
    pub fn new(env: BTreeMap<OsString, OsString>) -> Self {
        Self { argv: vec!["bash".into()], env, dir: None, timeout: PATIENCE, shelter: None, trusting: false }
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
    /// It can't be confined like this here.
    Refused,
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
    confinement: Option<Box<dyn Confine>>,
    ended: bool,
    /// It has answered before, and nobody knows what became of it since.
    pub(super) was_kept: bool,
}

impl Session {
    /// Starts bash: as the launcher says, or confined, in the directory `/` then and with the shelter's environment.
    pub(super) fn start(launcher: &Launcher, confinement: Option<Box<dyn Confine>>) -> io::Result<Self> {
        let argv = match &confinement {
            Some(confinement) => {
                confinement.prefix(Path::new("/")).into_iter().chain(launcher.argv.last().cloned()).collect()
            }
            None => launcher.argv.clone(),
        };
        let (program, rest) =
            argv.split_first().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "no program to start"))?;
        let env = match &launcher.shelter {
            Some(shelter) if confinement.is_some() => shelter.environment(),
            _ => &launcher.env,
        };
        let mut command = crate::process::command(program);
        command
            .args(rest)
            .args(["--norc", "--noprofile", "-c", SCRIPT, "dkms"])
            .arg(directive::PACKAGE.join(" "))
            .arg(directive::FRAMEWORK.join(" "))
            .env_clear()
            .envs(env.iter().filter(|(name, _)| {
                !UNWANTED.iter().any(|unwanted| name == unwanted) && !name.to_string_lossy().starts_with("BASH_FUNC_")
            }))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        if confinement.is_none() {
            // Its own group, so that all of it can be ended and a terminal's ^C reaches only us.
            command.process_group(0);
        }
        if let Some(dir) = confinement.as_ref().map(|_| Path::new("/")).or(launcher.dir.as_deref()) {
            command.current_dir(dir);
        }
        let mut child = command.spawn()?;
        let (Some(stdin), Some(stdout), Some(stderr)) = (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            return Err(io::Error::other("the pipes to bash are missing"));
        };
        unblock(&stdin)?;
        unblock(&stdout)?;
        unblock(&stderr)?;
        if let Some(confinement) = &confinement {
            confinement.give(stderr.as_fd())?;
        }
        Ok(Self {
            child,
            stdin: Some(stdin),
            stdout,
            stderr: Some(stderr),
            said: Vec::new(),
            confinement,
            ended: false,
            was_kept: false,
        })
    }

    /// Waits until bash is there. Nothing of any file has run until then.
    pub(super) fn greet(&mut self, deadline: Instant) -> Result<(), Stop> {
        match self.ask(&[], deadline, &mut |word| word == b"h") {
            Err(Stop::Ended) if self.confinement.is_some() => {
                let refused = self.child.wait().is_ok_and(|status| status.code() == Some(REFUSED.into()));
                Err(if refused { Stop::Refused } else { Stop::Ended })
            }
            other => other,
        }
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
        self.end(true);
    }

    fn end(&mut self, now: bool) {
        if std::mem::replace(&mut self.ended, true) {
            return;
        }
        // bash reads its end here and leaves by itself; what confines it sees this, too, and leaves it no choice.
        self.stdin = None;
        let whole = self.confinement.as_ref().map(|confinement| confinement.ends_as_a_whole());
        let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) else { return };
        let sees = || pidfd_open(pid, PidfdFlags::empty()).is_ok();
        if match whole {
            Some(true) => !sees(),
            Some(false) => true,
            None => now,
        } {
            let _ = kill_process_group(pid, Signal::KILL);
        }
        let _ = self.child.wait();
        if let (Some(false), Some(confinement)) = (whole, self.confinement.take()) {
            confinement.end_all();
        }
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
        self.end(false);
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
