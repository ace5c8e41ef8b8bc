//! Starting a prepared command and waiting for its end, with an optional limit.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};

use super::{Confine, End, Output, ProcessError, Task, read_bounded};

pub(super) fn to_the_end(mut cmd: Command, task: Task, program: &str) -> Result<End, ProcessError> {
    let start = |source| ProcessError::Start { program: program.to_owned(), source };
    let lost = |source| ProcessError::Wait { program: program.to_owned(), source };
    let mut copy = None;
    let mut reader = None;
    let confinement = task.confinement.as_deref();
    let whole = confinement.is_some_and(Confine::ends_as_a_whole);
    let give = |output: &dyn AsFd| confinement.map_or(Ok(()), |it| it.give(output.as_fd())).map_err(start);
    match task.output {
        Output::Inherit => {}
        Output::Null => {
            cmd.stdout(Stdio::null()).stderr(Stdio::null());
        }
        Output::File(log) if !whole => {
            give(&log)?;
            cmd.stdout(log.try_clone().map_err(start)?).stderr(log);
        }
        // A pipe also to a file: `>/dev/stderr` would truncate that. Not where somebody may outlive the task and keep it.
        Output::Capture | Output::Tee(_) | Output::File(_) => {
            let (from, to) = pipe_with(PipeFlags::CLOEXEC).map_err(|error| start(error.into()))?;
            give(&to)?;
            cmd.stdout(to.try_clone().map_err(start)?).stderr(to);
            reader = Some(File::from(from));
            match task.output {
                Output::Tee(log) => copy = Some((log, true)),
                Output::File(log) => copy = Some((log, false)),
                _ => {}
            }
        }
    }
    if task.limit.is_some() {
        cmd.process_group(0);
    }
    let mut child = cmd.spawn().map_err(start)?;
    drop(cmd); // closes our copies of the pipe, so that the reader sees the end
    let stdin = child.stdin.take();
    let mut timed_out = false;
    let output = std::thread::scope(|scope| -> io::Result<Vec<u8>> {
        if let (Some(mut stdin), Some(input)) = (stdin, task.input) {
            // A program that does not read all of its input is not our failure.
            scope.spawn(move || stdin.write_all(&input).is_ok());
        }
        let reading = reader.map(|from| scope.spawn(move || collect(from, copy)));
        if let Some(limit) = task.limit {
            timed_out = !ends_within(&child, limit)?;
            if timed_out {
                kill_all(&mut child);
            }
        }
        child.wait()?;
        if let Some(confinement) = confinement.filter(|_| !whole) {
            confinement.end_all();
        }
        match reading.map(std::thread::ScopedJoinHandle::join) {
            Some(Ok(output)) => output,
            _ => Ok(Vec::new()),
        }
    })
    .map_err(lost)?;
    let status = child.wait().map_err(lost)?;
    Ok(End { status, output, timed_out })
}

/// Reads `from` to its end, and copies it to a file, and to our standard output if that is said.
fn collect(from: impl Read, copy: Option<(File, bool)>) -> io::Result<Vec<u8>> {
    let Some((mut file, shown)) = copy else { return read_bounded(from, |_| {}) };
    let mut told = false;
    let tee = |bytes: &[u8]| {
        // A full disk stops the task itself, if anything has to.
        if let (Err(error), false) = (file.write_all(bytes), told) {
            told = true;
            log::warn!("the log is not complete: {error}");
        }
        if shown {
            // A closed terminal must not stop a build.
            let _ = io::stdout().write_all(bytes);
        }
    };
    read_bounded(from, tee)
}

/// Whether `child` ends within `limit`; it is not reaped.
fn ends_within(child: &Child, limit: Duration) -> io::Result<bool> {
    let deadline = Instant::now() + limit;
    let Some(pid) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) else { return Ok(true) };
    let fd = pidfd_open(pid, PidfdFlags::empty())?;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(false);
        }
        let timeout =
            Timespec { tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX), tv_nsec: left.subsec_nanos().into() };
        match poll(&mut [PollFd::new(&fd, PollFlags::IN)], Some(&timeout)) {
            Ok(0) | Err(rustix::io::Errno::INTR) => {}
            Ok(_) => return Ok(true),
            Err(error) => return Err(error.into()),
        }
    }
}

fn kill_all(child: &mut Child) {
    if let Some(pid) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
        let _ = kill_process_group(pid, Signal::KILL);
    }
    let _ = child.kill();
}
