//! The only room that starts programs.
//!
//! A [`Task`] says what to run, where and with which environment; [`run`] runs it to its end.
//! Nothing is inherited by accident: standard input is `/dev/null`, the environment is the task's own,
//! and file descriptors are close-on-exec. A confined task first goes through this same program
//! (`sandbox::confine`), which enters the private namespaces and then becomes the program asked for.

pub mod ancestry;
pub mod stop;
mod wait;

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

/// A bare command; every program this project starts begins here.
#[allow(clippy::disallowed_methods)] // this is the one place
pub fn command(program: impl AsRef<OsStr>) -> Command {
    Command::new(program)
}

/// Where another program of ours is: beside this one in a build directory, in `lib/dkms` of its prefix, else where distributions
/// put it.
pub fn companion(name: &str) -> PathBuf {
    let places = |program: PathBuf| {
        let installed = program.parent().and_then(Path::parent).map(|prefix| prefix.join("lib/dkms").join(name));
        [Some(program.with_file_name(name)), installed].into_iter().flatten().find(|place| place.is_file())
    };
    std::env::current_exe().ok().and_then(places).unwrap_or_else(|| Path::new("/usr/lib/dkms").join(name))
}

/// Where programs are, if nothing else says so.
pub const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// An environment, as handed to programs.
pub type Environment = BTreeMap<OsString, OsString>;

/// Where a task's output goes (standard output and error together, but for [`Output::Inherit`]).
#[derive(Debug)]
pub enum Output {
    /// To ours.
    Inherit,
    /// Nowhere.
    Null,
    /// Into [`End::output`]; of more than 1 MiB the first half MiB and the last are kept.
    Capture,
    /// To a file, appended.
    File(File),
    /// To a file and to our standard output.
    Tee(File),
}

/// The exit code of a confined task that this system does not let be confined like that; its program has not been run then.
pub const REFUSED: u8 = 121;

/// What keeps a task apart from the system: see `sandbox`.
pub trait Confine: std::fmt::Debug + Send + Sync {
    /// The words that, put in front of a program and its arguments and run in `/`, run it confined in the directory `cwd`
    /// as it sees it.
    fn prefix(&self, cwd: &Path) -> Vec<OsString>;
    /// Makes a descriptor's file the task's own, so that it can open it again by way of `/dev/stderr` and the like
    /// (proc_pid_fd(5)).
    fn give(&self, output: BorrowedFd<'_>) -> io::Result<()>;
    /// Whether everything that it started ends with it.
    fn ends_as_a_whole(&self) -> bool;
    /// Ends what it started and left, where that does not end with it.
    fn end_all(&self);
}

/// A program to run.
#[derive(Debug)]
pub struct Task {
    /// The program and its arguments.
    pub argv: Vec<OsString>,
    /// The working directory, as the program sees it (inside its chroot, if it has one).
    pub cwd: PathBuf,
    /// Its whole environment.
    pub env: Environment,
    /// What keeps it apart from the system; `None`: it runs as we do.
    pub confinement: Option<Box<dyn Confine>>,
    /// Where its output goes.
    pub output: Output,
    /// What it finds on standard input; `None`: nothing.
    pub input: Option<Vec<u8>>,
    /// How long it may take; it is killed with all its children after that, and if this run is to end meanwhile.
    pub limit: Option<Duration>,
    /// It goes on when the terminal's keys, or a signal, ask this run to end: what it does is needed all the same.
    pub undisturbed: bool,
    /// The jobserver that makes of this task take part in.
    pub jobs: Option<jobserver::Client>,
}

impl Task {
    /// A task that runs `argv` in `cwd` with `env`; unconfined, its output captured.
    pub fn new<S: AsRef<OsStr>>(argv: impl IntoIterator<Item = S>, cwd: &Path, env: &Environment) -> Self {
        Self {
            argv: argv.into_iter().map(|word| word.as_ref().to_owned()).collect(),
            cwd: cwd.to_owned(),
            env: env.clone(),
            confinement: None,
            output: Output::Capture,
            input: None,
            limit: None,
            undisturbed: false,
            jobs: None,
        }
    }
}

/// How a task ended.
#[derive(Debug)]
pub struct End {
    /// Its exit status.
    pub status: ExitStatus,
    /// What it wrote, if that was captured.
    pub output: Vec<u8>,
    /// Whether it was killed for taking too long.
    pub timed_out: bool,
}

impl End {
    /// The exit code as a shell gives it: 128 + n for death by signal n.
    pub fn code(&self) -> i32 {
        use std::os::unix::process::ExitStatusExt;
        self.status.code().unwrap_or_else(|| 128 + self.status.signal().unwrap_or(0))
    }

    /// The captured output as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.output).into_owned()
    }
}

/// Why a task could not be run at all.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// The program could not be started.
    #[error("cannot run {program}: {source}")]
    Start {
        /// The program.
        program: String,
        /// Why.
        source: io::Error,
    },
    /// Its end could not be awaited, or its output not read.
    #[error("cannot wait for {program}: {source}")]
    Wait {
        /// The program.
        program: String,
        /// Why.
        source: io::Error,
    },
}

/// Runs `task` to its end.
pub fn run(task: Task) -> Result<End, ProcessError> {
    let program = task.argv.first().map(|word| word.to_string_lossy().into_owned()).unwrap_or_default();
    let start = |source| ProcessError::Start { program: program.clone(), source };
    let mut cmd = if let Some(confinement) = &task.confinement {
        let prefix = confinement.prefix(&task.cwd);
        let (first, rest) = prefix.split_first().ok_or_else(|| start(io::ErrorKind::InvalidInput.into()))?;
        let mut cmd = command(first);
        cmd.args(rest).args(&task.argv).current_dir("/");
        cmd
    } else {
        let (first, rest) = task.argv.split_first().ok_or_else(|| start(io::ErrorKind::InvalidInput.into()))?;
        let mut cmd = command(first);
        cmd.args(rest).current_dir(&task.cwd);
        cmd
    };
    cmd.env_clear();
    if let Some(jobs) = &task.jobs {
        // Sets MAKEFLAGS to point at the pipe; the task's own MAKEFLAGS (variables) come after it.
        jobs.configure_make(&mut cmd);
        let ours =
            cmd.get_envs().find(|(key, _)| *key == "MAKEFLAGS").and_then(|(_, value)| value.map(OsStr::to_owned));
        for (key, value) in &task.env {
            cmd.env(key, value);
        }
        if let Some(mut flags) = ours {
            if let Some(more) = task.env.get(OsStr::new("MAKEFLAGS")) {
                flags.push(" -- ");
                flags.push(more);
            }
            cmd.env("MAKEFLAGS", flags);
        }
        cmd.env_remove("MFLAGS").env_remove("CARGO_MAKEFLAGS");
    } else {
        cmd.envs(&task.env);
    }
    cmd.stdin(if task.input.is_some() { Stdio::piped() } else { Stdio::null() });
    wait::to_the_end(cmd, task, &program)
}

/// Reads `from` to its end, keeping at most 1 MiB: the beginning and the end.
fn read_bounded(mut from: impl Read, mut also: impl FnMut(&[u8])) -> io::Result<Vec<u8>> {
    const HALF: usize = 512 * 1024;
    let mut kept = Vec::new();
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let n = match from.read(&mut buffer) {
            Ok(0) => return Ok(kept),
            Ok(n) => n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        also(&buffer[..n]);
        kept.extend_from_slice(&buffer[..n]);
        if kept.len() > 3 * HALF {
            kept.drain(HALF..kept.len() - HALF);
        }
    }
}
