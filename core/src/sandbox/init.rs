//! The first process of a task's process-id namespace.
//!
//! It stays root, so the task can neither signal it nor make it forget that it is to die with its parent (as the task itself
//! could: `PR_SET_PDEATHSIG(2const)`). The kernel then kills all others in the namespace, whatever they ignore
//! (pid_namespaces(7)). Meanwhile it reaps whoever loses its parent.

use std::ffi::{OsStr, OsString};
use std::io;
use std::process::ExitCode;

use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitOptions, set_parent_process_death_signal, wait};

use super::confinement::FAILED;
use crate::process::command;

/// The hidden verb of the process that becomes the task.
pub(super) const TASK: &str = "__confine-task";

/// Starts the task that `args` describe, whose first is the number of the parent, and waits for its end.
pub(super) fn first(args: &[OsString]) -> io::Result<ExitCode> {
    let (parent, rest) = args.split_first().ok_or(io::ErrorKind::InvalidInput)?;
    set_parent_process_death_signal(Some(Signal::KILL))?;
    // In its own namespace a process has no parent outside of it (getppid(2)); `/proc` is still the parent's.
    if parent_in_proc().is_some_and(|now| OsStr::new(&now) != parent) {
        return Err(io::ErrorKind::BrokenPipe.into());
    }
    let child = command("/proc/self/exe").arg(TASK).args(rest).spawn()?;
    let task = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    loop {
        match wait(WaitOptions::empty()) {
            Ok(Some((pid, status))) if Some(pid) == task => {
                let code = status.exit_status().or_else(|| status.terminating_signal().map(|signal| 128 + signal));
                return Ok(ExitCode::from(code.and_then(|code| u8::try_from(code).ok()).unwrap_or(FAILED)));
            }
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// The number of this process in the `/proc` that it sees.
pub(super) fn number_in_proc() -> OsString {
    std::fs::read_link("/proc/self").unwrap_or_default().into()
}

/// The parent's (proc_pid_stat(5), field 4); `None` where there is no `/proc`.
fn parent_in_proc() -> Option<String> {
    let text = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The name before it may have anything in it.
    Some(text.rsplit_once(')')?.1.split_whitespace().nth(1)?.to_owned())
}
