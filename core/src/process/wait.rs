//! Starting a prepared command and waiting for its end, with an optional limit.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::thread::Builder;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, kill_process, kill_process_group, pidfd_open, waitid,
};

use super::{Confine, End, Output, ProcessError, Task, read_bounded, stop};

/// How long nothing may come of a task that has ended before its output counts as ended, too.
const SILENCE: Duration = Duration::from_millis(500);
/// How long it may go on at all.
const LINGERING: Duration = Duration::from_secs(5);
/// How much of a task's output a log takes, in bytes (V=1 of the largest package known: 40 MB).
const LONGEST_LOG: u64 = 256 << 20;

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
            reader = Some(from);
            match task.output {
                Output::Tee(log) => copy = Some((log, true)),
                Output::File(log) => copy = Some((log, false)),
                _ => {}
            }
        }
    }
    // What ends with us may have a group of its own; what does not stays where the terminal's keys reach it.
    if (task.limit.is_some() && whole) || task.undisturbed {
        cmd.process_group(0);
    }
    let mut child = cmd.spawn().map_err(start)?;
    drop(cmd); // closes our copies of the pipe, so that the reader sees the end
    let stdin = child.stdin.take();
    let mut timed_out = false;
    let output = std::thread::scope(|scope| -> io::Result<Vec<u8>> {
        let threads = || -> io::Result<_> {
            if let (Some(mut stdin), Some(input)) = (stdin, task.input) {
                // A program that does not read all of its input is not our failure.
                Builder::new().spawn_scoped(scope, move || stdin.write_all(&input).is_ok())?;
            }
            let Some(from) = reader else { return Ok(None) };
            // Its far end is closed when the task has ended.
            let (ended, running) = pipe_with(PipeFlags::CLOEXEC)?;
            let thread = Builder::new().spawn_scoped(scope, move || collect(Patient::new(from, ended), copy))?;
            Ok(Some((thread, running)))
        };
        // Where the system has no more threads for us, the task can't be heard.
        let reading = threads().inspect_err(|_| {
            kill_all(&mut child);
            let _ = child.wait();
        })?;
        if let Some(limit) = task.limit {
            let ends = ends_within(&child, limit);
            timed_out = matches!(ends, Ok(Until::Limit));
            if !matches!(ends, Ok(Until::Ended)) {
                kill_all(&mut child);
            }
            if let Err(error) = ends {
                let _ = child.wait();
                return Err(error);
            }
        }
        child.wait()?;
        if let Some(confinement) = confinement.filter(|_| !whole) {
            confinement.end_all();
        }
        let Some((thread, running)) = reading else { return Ok(Vec::new()) };
        drop(running);
        thread.join().unwrap_or_else(|_| Ok(Vec::new()))
    })
    .map_err(lost)?;
    let status = child.wait().map_err(lost)?;
    Ok(End { status, output, timed_out })
}

/// The output of a task: what comes until it has ended, and what was on its way then. Somebody who outlives the task may
/// have its output still (a program that it started, or one that it passed the descriptor to): that is not waited for.
struct Patient {
    from: File,
    /// Its far end is closed when the task has ended.
    ended: OwnedFd,
    until: Option<Instant>,
}

impl Patient {
    fn new(from: OwnedFd, ended: OwnedFd) -> Self {
        Self { from: File::from(from), ended, until: None }
    }
}

impl Read for Patient {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let now = Instant::now();
            let timeout = match self.until {
                None => None,
                Some(until) if until <= now => return Ok(0),
                Some(until) => Some(timespec(SILENCE.min(until - now))),
            };
            let mut fds = vec![PollFd::new(&self.from, PollFlags::IN)];
            if self.until.is_none() {
                fds.push(PollFd::new(&self.ended, PollFlags::IN));
            }
            match poll(&mut fds, timeout.as_ref()) {
                Ok(0) => return Ok(0),
                Err(Errno::INTR) => continue,
                other => other?,
            };
            let (ready, over) = (!fds[0].revents().is_empty(), fds.get(1).is_some_and(|fd| !fd.revents().is_empty()));
            if over {
                self.until = Some(now + LINGERING);
            }
            if ready {
                return self.from.read(buffer);
            }
        }
    }
}

fn timespec(time: Duration) -> Timespec {
    Timespec { tv_sec: i64::try_from(time.as_secs()).unwrap_or(i64::MAX), tv_nsec: time.subsec_nanos().into() }
}

/// Reads `from` to its end, and copies it to a file, and to our standard output if that is said.
fn collect(from: impl Read, copy: Option<(File, bool)>) -> io::Result<Vec<u8>> {
    let Some((mut file, shown)) = copy else { return read_bounded(from, |_| {}) };
    let mut warned = false;
    let mut left = LONGEST_LOG;
    let tee = |bytes: &[u8]| {
        let (kept, cut) = bytes.split_at(bytes.len().min(usize::try_from(left).unwrap_or(usize::MAX)));
        left -= kept.len() as u64;
        let written = file.write_all(kept).and_then(|()| {
            if cut.is_empty() || warned {
                Ok(())
            } else {
                Err(io::Error::other(format!("it is longer than {} MiB", LONGEST_LOG >> 20)))
            }
        });
        // A full disk stops the task itself, if anything has to.
        if let (Err(error), false) = (written, warned) {
            warned = true;
            log::warn!("the log is not complete: {error}");
            let _ = writeln!(file, "\n# not complete from here on: {error}");
        }
        if shown {
            // A closed terminal must not stop a build.
            let _ = io::stdout().write_all(bytes);
        }
    };
    read_bounded(from, tee)
}

/// What ends the wait for a task.
#[derive(Debug, PartialEq, Eq)]
enum Until {
    Ended,
    Limit,
    /// A signal asks this run to end ([`stop`]).
    Stop,
}

/// Waits until `child` ends, which is not reaped, but no longer than `limit`.
fn ends_within(child: &Child, limit: Duration) -> io::Result<Until> {
    let deadline = Instant::now().checked_add(limit);
    let Some(pid) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) else { return Ok(Until::Ended) };
    let fd = match pidfd_open(pid, PidfdFlags::empty()) {
        Ok(fd) => fd,
        // Linux before 5.3, or a container's filter: it is looked at from time to time.
        Err(Errno::NOSYS | Errno::PERM) => return ends_while_polled(pid, deadline),
        Err(error) => return Err(error.into()),
    };
    loop {
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        if left.is_some_and(|left| left.is_zero()) {
            return Ok(Until::Limit);
        }
        let came = stop::came();
        let mut fds: Vec<PollFd<'_>> =
            [fd.as_fd()].into_iter().chain(came).map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)).collect();
        match poll(&mut fds, left.map(timespec).as_ref()) {
            Ok(0) | Err(Errno::INTR) => {}
            Ok(_) if fds[0].revents().is_empty() => return Ok(Until::Stop),
            Ok(_) => return Ok(Until::Ended),
            Err(error) => return Err(error.into()),
        }
    }
}

/// The same without pidfd_open(2).
fn ends_while_polled(pid: Pid, deadline: Option<Instant>) -> io::Result<Until> {
    const PAUSE: Duration = Duration::from_millis(50);
    let how = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    loop {
        if waitid(WaitId::Pid(pid), how)?.is_some() {
            return Ok(Until::Ended);
        }
        if stop::requested().is_some() {
            return Ok(Until::Stop);
        }
        if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            return Ok(Until::Limit);
        }
        std::thread::sleep(PAUSE);
    }
}

/// Kills a task with all its children.
fn kill_all(child: &mut Child) {
    let Some(pid) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) else { return };
    // Stopped first, it starts no more of them.
    let _ = kill_process(pid, Signal::STOP);
    let mut found = vec![pid];
    let parents = parents();
    let mut next = 0;
    while let Some(parent) = found.get(next).copied() {
        let children = parents.iter().filter(|(_, of)| *of == parent).map(|(child, _)| *child);
        let new: Vec<Pid> = children.filter(|child| !found.contains(child)).collect();
        found.extend(new);
        next += 1;
    }
    let _ = kill_process_group(pid, Signal::KILL);
    for pid in found.into_iter().skip(1) {
        let _ = kill_process(pid, Signal::KILL);
    }
    let _ = child.kill();
}

/// Every process with its parent (proc_pid_stat(5), field 4).
fn parents() -> Vec<(Pid, Pid)> {
    let pid = |text: &str| text.parse().ok().and_then(Pid::from_raw);
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let processes = entries.filter_map(|entry| {
        let child = pid(entry.file_name().to_str()?)?;
        let text = std::fs::read_to_string(entry.path().join("stat")).ok()?;
        // The name before it may have anything in it.
        let parent = text.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()?;
        Some((child, Pid::from_raw(parent)?))
    });
    processes.collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::process::{Environment, run};

    fn bash(text: &str) -> Task {
        let environment = Environment::from([("PATH".into(), crate::process::DEFAULT_PATH.into())]);
        Task::new(["bash", "--norc", "-c", text], Path::new("/"), &environment)
    }

    /// Somebody who keeps a task's output open, silently or not, is not waited for; what came before the end is there.
    #[test]
    fn who_outlives_a_task_is_not_waited_for() {
        // The second one writes for ever, from when its parent has been waited for.
        for keeper in ["sleep 600", "(while kill -0 $$; do :; done; exec yes) 2>/dev/null"] {
            let began = Instant::now();
            let end = run(bash(&format!("{keeper} & echo $!; printf '%100000s\\n' last"))).unwrap();
            let text = end.text();
            let pid: i32 = text.lines().find_map(|line| line.trim().parse().ok()).unwrap();
            let _ = rustix::process::kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL);
            assert!(end.status.success() && text.contains("last"), "{keeper}");
            assert!(began.elapsed() < Duration::from_secs(60), "{keeper}: {:?}", began.elapsed());
        }
    }

    /// Where pidfd_open(2) can't be had, the end is noticed all the same, and the limit holds.
    #[test]
    #[allow(clippy::disallowed_methods)] // a child of the test's own
    fn the_end_of_a_child_is_noticed_without_a_descriptor_for_it() {
        for (text, limit, ends) in [("exit 3", 60, Until::Ended), ("exec sleep 600", 0, Until::Limit)] {
            let mut child = Command::new("sh").args(["-c", text]).spawn().unwrap();
            let pid = Pid::from_child(&child);
            let deadline = Some(Instant::now() + Duration::from_secs(limit));
            assert_eq!(ends_while_polled(pid, deadline).unwrap(), ends, "{text}");
            let _ = child.kill();
            // It was not reaped by looking.
            assert_eq!(child.wait().unwrap().code(), (ends == Until::Ended).then_some(3), "{text}");
        }
    }

    /// A task that takes too long is ended with everything that it started, whether it has a group of its own or not.
    #[test]
    fn nothing_of_a_task_outlives_its_limit() {
        let mut task = bash("sleep 600 & echo $!; (exec -a $(printf 'x) y') sleep 600 & echo $!; wait) & wait");
        task.limit = Some(Duration::from_secs(5));
        let end = run(task).unwrap();
        assert!(end.timed_out);
        let pids: Vec<i32> = end.text().lines().filter_map(|line| line.trim().parse().ok()).collect();
        assert_eq!(pids.len(), 2);
        let state = |pid: &i32| {
            let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
            text.rsplit_once(')')?.1.trim().chars().next()
        };
        // Reaped by whoever reaps orphans, or about to be; a signal takes its time.
        let began = Instant::now();
        while pids.iter().any(|pid| !matches!(state(pid), None | Some('Z' | 'X'))) {
            assert!(began.elapsed() < Duration::from_secs(60), "{:?}", pids.iter().map(state).collect::<Vec<_>>());
            std::thread::yield_now();
        }
    }

    #[test]
    fn a_log_is_cut_where_it_gets_too_long() {
        struct Endless(u64);
        impl Read for Endless {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                self.0 = self.0.saturating_sub(buffer.len() as u64);
                Ok(if self.0 == 0 { 0 } else { buffer.len() })
            }
        }
        let mut file = tempfile::tempfile().unwrap();
        collect(Endless(LONGEST_LOG + (1 << 20)), Some((file.try_clone().unwrap(), false))).unwrap();
        let length = file.metadata().unwrap().len();
        assert!((LONGEST_LOG..LONGEST_LOG + 200).contains(&length), "{length}");
        use std::io::Seek;
        file.seek(io::SeekFrom::Start(LONGEST_LOG)).unwrap();
        let mut last = String::new();
        file.read_to_string(&mut last).unwrap();
        assert!(last.contains("not complete"), "{last}");
    }
}
