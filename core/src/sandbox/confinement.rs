//! What keeps a task apart: its root, what it sees where, its namespaces and its user.

use std::ffi::OsString;
use std::io;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::OnceLock;

use serde::{Deserialize, Serialize};

use super::user::{BuildUser, Demotion, FIRST};
use crate::process::{self, Confine, DEFAULT_PATH, Environment, Output, Task, command};

/// The hidden verb that enters the namespaces.
pub const VERB: &str = "__confine";
/// What the stage answers when it can't do what it was told, so that it is not taken for a compiler's answer.
pub const FAILED: u8 = 120;
/// What [`VERB`] takes instead of SPEC to do nothing, successfully: a program for those who try what works.
pub(super) const NOTHING: &str = "nothing";

/// One directory shown at another place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bind {
    /// The directory, as an outer path.
    pub from: PathBuf,
    /// Where it appears, as an outer path; must exist.
    pub to: PathBuf,
}

/// A private world for one task.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Confinement {
    /// The directory to make the root; `None`: the present one.
    pub chroot: Option<PathBuf>,
    /// What is shown where.
    pub binds: Vec<Bind>,
    /// Which namespaces to enter.
    pub namespaces: Namespaces,
    /// The user to run as; `None` keeps the current one. With a user set, standard input is empty.
    pub user: Option<BuildUser>,
    /// Set for a task that only looks at this system.
    pub looks: Option<Looks>,
}

/// How a task looks at this system: with private mounts, nothing can be written. It has a limit on its processes.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Looks {
    /// Directories that are empty for it, and in which it may write, as outer paths.
    pub emptied: Vec<PathBuf>,
    /// It has standard input, and is ended as soon as whoever writes to that is gone. Its user is not mapped then.
    pub hears: bool,
}

/// The namespaces of this system that we may use (namespaces(7)).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Namespaces {
    /// Private mounts.
    pub mounts: bool,
    /// Private process ids.
    pub pids: bool,
    /// No network.
    pub network: bool,
}

impl Namespaces {
    /// What this process may use; found out once by trying in a child.
    pub fn available() -> Self {
        static FOUND: OnceLock<Namespaces> = OnceLock::new();
        *FOUND.get_or_init(|| {
            let may = |flag: &str| {
                command("/proc/self/exe")
                    .args([VERB, flag])
                    .env_clear()
                    .stdin(Stdio::null())
                    .stdout(Stdio::null())
                    .stderr(Stdio::null())
                    .status()
                    .is_ok_and(|status| status.success())
            };
            let mounts = rustix::process::geteuid().is_root() && may("probe");
            Self { mounts, pids: mounts, network: mounts }
        })
    }
}

impl Confinement {
    pub(super) fn to_argument(&self, cwd: &Path) -> OsString {
        // Paths that are not UTF-8 can't be passed to the stage; it then answers FAILED.
        serde_json::to_string(&(self, cwd, std::process::id())).unwrap_or_default().into()
    }
}

impl Confine for Confinement {
    fn prefix(&self, cwd: &Path) -> Vec<OsString> {
        vec!["/proc/self/exe".into(), VERB.into(), self.to_argument(cwd)]
    }

    fn give(&self, output: BorrowedFd<'_>) -> io::Result<()> {
        self.user.map_or(Ok(()), |user| user.give(output))
    }

    fn ends_as_a_whole(&self) -> bool {
        self.namespaces.pids
    }

    fn end_all(&self) {
        if let Some(user) = self.user {
            end_all(user);
        }
    }
}

impl Demotion {
    /// What this process can do, having these namespaces; found out once by trying in a child.
    pub fn available(namespaces: Namespaces) -> Self {
        static FOUND: OnceLock<Demotion> = OnceLock::new();
        *FOUND.get_or_init(|| {
            let works = |mapped| {
                let user = Some(BuildUser { base: FIRST, mapped });
                let mut task = Task::new(["/proc/self/exe", VERB, NOTHING], Path::new("/"), &Environment::new());
                task.confinement = Some(Box::new(Confinement { namespaces, user, ..Confinement::default() }));
                task.output = Output::Null;
                process::run(task).is_ok_and(|end| end.status.success())
            };
            if !rustix::process::geteuid().is_root() {
                Self::None
            } else if namespaces.pids && works(true) {
                Self::Mapped
            } else if works(false) {
                Self::Plain
            } else {
                Self::None
            }
        })
    }
}

/// Ends every process of `user`, which no other build is: without a process-id namespace, what a build has started may
/// outlive it, and could still write to what it has opened.
fn end_all(user: BuildUser) {
    let confinement = Confinement { user: Some(BuildUser { mapped: false, ..user }), ..Confinement::default() };
    let ended = command("/proc/self/exe")
        .args([VERB.as_ref(), confinement.to_argument(Path::new("/")).as_os_str()])
        // kill(2): every process that it may signal, but itself.
        .args(["bash", "--norc", "--noprofile", "-c", "kill -KILL -- -1"])
        .env_clear()
        .env("PATH", DEFAULT_PATH)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    if let Err(error) = ended {
        log::warn!("processes of a build may have been left: {error}");
    }
}
