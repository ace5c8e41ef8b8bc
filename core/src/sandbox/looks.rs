//! A task that only looks at this system, as the evaluation of a dkms.conf does.

use std::io;
use std::path::PathBuf;
use std::process::Child;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::mount::{MountFlags, mount};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::system_calls::read_only;

/// How many processes such a task may have.
pub(super) const PROCESSES: u64 = 256;

/// Makes all that is mounted here read-only, and each of `emptied` an empty directory for small files. This process has mounts of
/// its own.
pub(super) fn nothing_can_be_written(emptied: &[PathBuf]) -> io::Result<()> {
    // Before Linux 5.12 there is no way to do that to all mounts at once. Who owns nothing writes little anyway.
    match read_only() {
        Err(error) if error.raw_os_error() != Some(libc::ENOSYS) => return Err(error),
        _ => {}
    }
    let flags = MountFlags::NOSUID | MountFlags::NODEV;
    for dir in emptied {
        mount("none", dir, "tmpfs", flags, Some(c"mode=1777,size=16m")).map_err(|error| {
            io::Error::new(io::Error::from(error).kind(), format!("empty {}: {error}", dir.display()))
        })?;
    }
    Ok(())
}

/// Waits until `child`, the first process of its process-id namespace, has ended, and ends it with all of that as soon as nobody
/// writes to standard input any more: the task can't be counted on to see that itself. All of it is gone then.
pub(super) fn end_with_input(child: &mut Child) {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let Some(Ok(ended)) = pid.map(|pid| pidfd_open(pid, PidfdFlags::empty())) else { return };
    let stdin = rustix::stdio::stdin();
    loop {
        // The end of the writers is seen whatever is asked for (poll(2), POLLHUP).
        let mut fds = [PollFd::new(&ended, PollFlags::IN), PollFd::from_borrowed_fd(stdin, PollFlags::empty())];
        match poll(&mut fds, None) {
            Ok(_) if !fds[0].revents().is_empty() => return,
            Err(Errno::INTR) | Ok(0) => {}
            _ => break,
        }
    }
    let _ = child.kill();
}
