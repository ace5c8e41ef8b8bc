//! Who a build is: the user that a confined task becomes, which owns nothing on this system.
//!
//! With a user namespace the task still sees itself as root (`id -u`, chown(1), `install -o root` and tar(1) work on its
//! own files), and is an unused user for everybody else (user_namespaces(7)). Without one it becomes that user plainly.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Stdio;
use std::sync::OnceLock;

use rustix::fs::{Mode, OFlags, open, openat};
use rustix::io::Errno;
use rustix::net::RecvFlags;
use rustix::process::{Gid, Pid, Resource, Rlimit, Signal, Uid, getppid, set_parent_process_death_signal, setsid};
use rustix::thread::{UnshareFlags, set_no_new_privs, set_thread_groups, set_thread_res_gid, set_thread_res_uid};
use serde::{Deserialize, Serialize};

use super::confine::{self, Confinement, Namespaces, VERB};
use crate::process::{self, DEFAULT_PATH, Environment, Output, Task};

/// The first user and group of builds. 2130706432 to 2139095039 is nobody's: systemd calls all between its containers'
/// (up to 1879048191) and 2147483647 unused but for 65536 from 2147352576 (systemd.io/UIDS-GIDS), SSSD gives the users
/// of a directory numbers up to 2000200000 (sssd-ldap(5), `ldap_idmap_range_max`), useradd subordinate ones up to
/// 600100000 (login.defs(5), `SUB_UID_MAX`); from 2147483648 on some programs see negative numbers.
const FIRST: u32 = 0x7f00_0000;
/// How many users one build has: as many as a container, so that files of `nobody` (65534) can be made, too.
const WIDTH: u32 = 0x1_0000;
/// How many builds can run side by side with a range each.
pub const SLOTS: u32 = 0x80;

/// The user that a task becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct BuildUser {
    /// Its number, as user and group, outside of any user namespace.
    pub base: u32,
    /// Whether it sees itself as root, in a user namespace of its own.
    pub mapped: bool,
}

/// How a build can be kept from being root.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Demotion {
    /// Not at all.
    #[default]
    None,
    /// It becomes another user.
    Plain,
    /// It becomes another user, and root in a user namespace.
    Mapped,
}

impl Demotion {
    /// What this process can do, having these namespaces; found out once by trying in a child.
    pub fn available(namespaces: Namespaces) -> Self {
        static FOUND: OnceLock<Demotion> = OnceLock::new();
        *FOUND.get_or_init(|| {
            let works = |mapped| {
                let user = Some(BuildUser { base: FIRST, mapped });
                let mut task =
                    Task::new(["/proc/self/exe", VERB, confine::NOTHING], Path::new("/"), &Environment::new());
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

    /// The user of a build that has this slot, a number below [`SLOTS`].
    pub fn user(self, slot: u32) -> Option<BuildUser> {
        let base = FIRST + (slot % SLOTS) * WIDTH;
        (self != Self::None).then_some(BuildUser { base, mapped: self == Self::Mapped })
    }
}

impl BuildUser {
    /// Whether a file of the user `owner` is one that this build may have made.
    pub fn has(self, owner: u32) -> bool {
        (self.base..self.base + WIDTH).contains(&owner)
    }

    /// Makes a descriptor's file its own, so that it can open it again by way of `/dev/stderr` and the like.
    pub fn give(self, file: impl std::os::fd::AsFd) -> io::Result<()> {
        Ok(rustix::fs::fchown(file, Some(Uid::from_raw(self.base)), Some(Gid::from_raw(self.base)))?)
    }
}

/// Ends every process of `user`, which no other build is: without a process-id namespace, what a build has started may
/// outlive it, and could still write to what it has opened.
pub(super) fn end_all(user: BuildUser) {
    let confinement = Confinement { user: Some(BuildUser { mapped: false, ..user }), ..Confinement::default() };
    let ended = process::command("/proc/self/exe")
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

/// Writes the user and group maps of a task's user namespace when the task asks for them over a socket, whose far end is
/// the task's standard input until then.
#[derive(Debug)]
pub(super) struct IdMapper {
    stream: UnixStream,
    proc: rustix::fd::OwnedFd,
    user: BuildUser,
}

impl IdMapper {
    /// The near and the far end.
    pub fn new(user: BuildUser) -> io::Result<(Self, UnixStream)> {
        let (stream, far) = UnixStream::pair()?;
        // Opened before the task mounts its own one over it, in which it has another number.
        let proc = open("/proc", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        Ok((Self { stream, proc, user }, far))
    }

    /// Answers the task with the process number `pid`. It sees that we are alive as long as this exists.
    pub fn answer(&mut self, pid: u32) -> io::Result<()> {
        let mut byte = [0];
        if !self.user.mapped || self.stream.read(&mut byte)? == 0 {
            // Nothing to do; or it has ended, and says why itself.
            return Ok(());
        }
        let line = format!("0 {} {WIDTH}\n", self.user.base);
        for map in ["uid_map", "gid_map"] {
            let file = openat(&self.proc, format!("{pid}/{map}"), OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
            File::from(file).write_all(line.as_bytes())?;
        }
        self.stream.write_all(&byte)
    }
}

/// Makes this process, which has one thread, the user `user`, for good: no program that it starts gives it more.
/// `talks`: its standard input is the far end of a [`IdMapper`].
pub(super) fn assume(user: BuildUser, talks: bool, parent: Option<Pid>) -> io::Result<()> {
    // Builds had no limit on processes when they were root (getrlimit(2): root is exempt), and get none now.
    // Without CAP_SYS_RESOURCE the hard limit cannot be raised: use it as the soft limit.
    if rustix::process::setrlimit(Resource::Nproc, Rlimit { current: None, maximum: None }).is_err() {
        let hard = rustix::process::getrlimit(Resource::Nproc).maximum;
        let _ = rustix::process::setrlimit(Resource::Nproc, Rlimit { current: hard, maximum: hard });
    }
    confine::leave_session_keyring();
    // Before anything is changed: what is standard input in the end.
    let null = File::open("/dev/null")?;
    let stdin = rustix::stdio::stdin();
    if user.mapped {
        confine::unshare(UnshareFlags::NEWUSER)?;
        rustix::io::write(stdin, &[1])?;
        if rustix::io::read(stdin, &mut [0; 1])? != 1 {
            return Err(io::Error::other("no user namespace could be set up"));
        }
    }
    if talks {
        // Away from root's terminal, into which it could type (ioctl_tty(2), TIOCSTI). What a key would have stopped
        // ends with us, in its process-id namespace; where it has none, it stays where the keys reach it.
        setsid()?;
    }
    let number = if user.mapped { 0 } else { user.base };
    let (me, group) = (Uid::from_raw(number), Gid::from_raw(number));
    set_thread_groups(&[])?;
    set_thread_res_gid(group, group, group)?;
    set_thread_res_uid(me, me, me)?;
    set_no_new_privs(true)?;
    // A change of user clears it (PR_SET_PDEATHSIG(2const)): is the parent still there?
    set_parent_process_death_signal(Some(Signal::KILL))?;
    let alive = if talks {
        rustix::net::recv(stdin, &mut [0; 1], RecvFlags::DONTWAIT) == Err(Errno::AGAIN)
    } else {
        getppid() == parent
    };
    if !alive {
        return Err(io::ErrorKind::BrokenPipe.into());
    }
    Ok(rustix::stdio::dup2_stdin(null)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_slot_is_a_range_of_its_own_that_nobody_uses() {
        let users: Vec<BuildUser> = (0..SLOTS).filter_map(|slot| Demotion::Mapped.user(slot)).collect();
        assert_eq!(users.len(), 128);
        for pair in users.windows(2) {
            assert_eq!(pair[0].base + WIDTH, pair[1].base);
            assert!(pair[0].has(pair[1].base - 1) && !pair[0].has(pair[1].base) && !pair[1].has(pair[0].base));
        }
        assert!(users[0].base > 2_000_200_000 && users[127].has(2_139_095_039) && 2_139_095_039 < 2_147_352_576);
        assert_eq!(Demotion::Mapped.user(SLOTS + 3), Demotion::Mapped.user(3));
        assert!(Demotion::Plain.user(0).is_some_and(|user| !user.mapped) && Demotion::None.user(0).is_none());
    }
}
