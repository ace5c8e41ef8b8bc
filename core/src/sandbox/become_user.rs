//! How a task becomes the user of its build: the last step before its program.

use std::fs::File;
use std::io::{self, IoSliceMut, Write};
use std::mem::MaybeUninit;
use std::os::unix::net::UnixStream;

use rustix::fs::{Mode, OFlags, open, openat};
use rustix::io::Errno;
use rustix::net::sockopt::set_socket_passcred;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use rustix::process::{Gid, Pid, Resource, Rlimit, Signal, Uid, getppid, set_parent_process_death_signal, setsid};
use rustix::thread::{UnshareFlags, set_no_new_privs, set_thread_groups, set_thread_res_gid, set_thread_res_uid};

use super::system_calls::{leave_session_keyring, unshare};
use super::user::{BuildUser, WIDTH};

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
        // The far end's number as this process sees it comes with what it sends (unix(7), SO_PASSCRED).
        set_socket_passcred(&stream, true)?;
        // Opened before the task mounts its own one over it, in which it has another number.
        let proc = open("/proc", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        Ok((Self { stream, proc, user }, far))
    }

    /// Answers the task. It sees that we are alive as long as this exists.
    pub fn answer(&mut self) -> io::Result<()> {
        if !self.user.mapped {
            return Ok(());
        }
        let mut byte = [0];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmCredentials(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let got = recvmsg(&self.stream, &mut [IoSliceMut::new(&mut byte)], &mut control, RecvFlags::empty())?;
        if got.bytes == 0 {
            // It has ended, and says why itself.
            return Ok(());
        }
        let sender = control.drain().find_map(|message| match message {
            RecvAncillaryMessage::ScmCredentials(sender) => Some(sender.pid),
            _ => None,
        });
        let pid = sender.ok_or(io::ErrorKind::InvalidData)?.as_raw_nonzero();
        let line = format!("0 {} {WIDTH}\n", self.user.base);
        for map in ["uid_map", "gid_map"] {
            let file = openat(&self.proc, format!("{pid}/{map}"), OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
            File::from(file).write_all(line.as_bytes())?;
        }
        self.stream.write_all(&byte)
    }
}

/// What the standard input of a process is that becomes a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stdin {
    /// The far end of an [`IdMapper`]; empty then.
    Mapper,
    /// Nothing that it needs; empty then.
    Spare,
    /// Its own. Its parent sees to its end.
    Own,
}

/// Makes this process, which has one thread, a user that owns nothing, for good: of what strangers send, nothing is read as root. It dies
/// with the process that has started it.
pub fn own_nothing() -> io::Result<()> {
    assume(BuildUser::reader(), Stdin::Own, None, None)
}

/// Makes this process, which has one thread, the user `user`, for good: no program that it starts gives it more.
/// `processes`: how many that user may have.
pub(super) fn assume(user: BuildUser, input: Stdin, parent: Option<Pid>, processes: Option<u64>) -> io::Result<()> {
    // Builds had no limit on processes when they were root (getrlimit(2): root is exempt), and get none now.
    // Without CAP_SYS_RESOURCE the hard limit cannot be raised: use it as the soft limit.
    if rustix::process::setrlimit(Resource::Nproc, Rlimit { current: processes, maximum: processes }).is_err() {
        let hard = rustix::process::getrlimit(Resource::Nproc).maximum;
        let _ = rustix::process::setrlimit(Resource::Nproc, Rlimit { current: hard, maximum: hard });
    }
    leave_session_keyring();
    // Before anything is changed: what is standard input in the end.
    let null = File::open("/dev/null")?;
    let stdin = rustix::stdio::stdin();
    if user.mapped {
        unshare(UnshareFlags::NEWUSER)?;
        rustix::io::write(stdin, &[1])?;
        if rustix::io::read(stdin, &mut [0; 1])? != 1 {
            return Err(io::Error::other("no user namespace could be set up"));
        }
    }
    if input == Stdin::Mapper {
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
    let alive = match input {
        Stdin::Mapper => rustix::net::recv(stdin, &mut [0; 1], RecvFlags::DONTWAIT) == Err(Errno::AGAIN),
        Stdin::Spare => getppid() == parent,
        Stdin::Own => return Ok(()),
    };
    if !alive {
        return Err(io::ErrorKind::BrokenPipe.into());
    }
    Ok(rustix::stdio::dup2_stdin(null)?)
}
