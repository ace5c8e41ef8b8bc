//! Runs a program under ptrace(2), and interferes at one of its system calls: an error instead of the call, a kill before
//! it, or something else that happens first.
//!
//! strace(1) can inject errors, too, but counts calls for each thread and process, and for names: a point here is a number
//! among all calls of the program that concern files of ours.

use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::libc;
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use crate::calls::{self, Kind, Operand};

/// Whose calls count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// The program's own, of all its threads.
    Program,
    /// Also those of what it starts: the classic has others change its files. Compilers are left alone.
    Children,
}

/// A system call of the program that concerns files.
#[derive(Debug, Clone)]
pub struct Call {
    /// Its name.
    pub name: &'static str,
    /// What it does.
    pub kind: Kind,
    /// The files, as paths of the traced system.
    pub paths: Vec<String>,
    /// The program that calls, where others than the one under test count.
    pub program: String,
    /// What it gave: below zero an error; zero if it never ended.
    pub result: i64,
}

impl std::fmt::Display for Call {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}{}({})", self.program, self.name, self.paths.join(", "))
    }
}

/// What is to happen at a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// It goes on.
    Go,
    /// It ends with this error and does nothing.
    Fail(i32),
    /// The program is killed before it; where children count, all of them are.
    Kill,
}

/// How a run ended.
#[derive(Debug)]
pub struct Traced {
    /// The exit code of the command that was started.
    pub code: i32,
    /// All calls that count, in order.
    pub calls: Vec<Call>,
}

/// A command that stops itself before it executes `words`, so that it can be seized.
pub const STOPPED: [&str; 3] = ["bash", "-c", "kill -STOP $$; exec \"$@\""];

struct Thread {
    /// Between the entry of a call and its end.
    inside: bool,
    /// The call under way, if it counts.
    call: Option<usize>,
    /// The error that it is to end with.
    fails: Option<i32>,
}

struct Tracer<'a> {
    scope: Scope,
    program: &'a str,
    prefix: &'a str,
    threads: HashMap<Pid, Thread>,
    root: Option<Pid>,
    calls: Vec<Call>,
    then: &'a mut dyn FnMut(usize, &Call) -> Then,
}

/// Runs `command`, which begins with [`STOPPED`], and asks `then` at each call that counts of what is executed as
/// `program`. `prefix` begins the paths of the traced system as this one sees them.
pub fn trace(
    command: &mut Command,
    (program, prefix): (&str, &str),
    scope: Scope,
    then: &mut dyn FnMut(usize, &Call) -> Then,
) -> Result<Traced> {
    let child = command.stdin(Stdio::null()).spawn().context("start the traced command")?;
    let top = Pid::from_raw(i32::try_from(child.id())?);
    waitpid(top, Some(WaitPidFlag::WUNTRACED))?;
    ptrace::seize(top, followed() | Options::PTRACE_O_EXITKILL).context("ptrace is not allowed here")?;
    kill(top, Signal::SIGCONT)?;
    let mut tracer = Tracer { scope, program, prefix, threads: HashMap::new(), root: None, calls: Vec::new(), then };
    let flags = WaitPidFlag::__WALL | WaitPidFlag::__WNOTHREAD;
    let mut code = None;
    loop {
        let status = match waitpid(None, Some(flags)) {
            Err(Errno::EINTR) => continue,
            Err(Errno::ECHILD) => break,
            other => other?,
        };
        match status {
            WaitStatus::Exited(pid, with) => {
                tracer.threads.remove(&pid);
                if pid == top {
                    code = Some(with);
                }
            }
            WaitStatus::Signaled(pid, signal, _) => {
                tracer.threads.remove(&pid);
                if pid == top {
                    code = Some(128 + signal as i32);
                }
            }
            WaitStatus::PtraceSyscall(pid) => tracer.at_call(pid)?,
            WaitStatus::PtraceEvent(pid, _, event) => tracer.at_event(pid, event)?,
            WaitStatus::Stopped(pid, signal) => tracer.go_on(pid, Some(signal))?,
            _ => {}
        }
        if code.is_some() && (scope == Scope::Program || tracer.threads.is_empty()) {
            break;
        }
    }
    match code {
        Some(code) => Ok(Traced { code, calls: tracer.calls }),
        None => bail!("the traced command was lost"),
    }
}

fn followed() -> Options {
    Options::PTRACE_O_TRACESYSGOOD
        | Options::PTRACE_O_TRACECLONE
        | Options::PTRACE_O_TRACEFORK
        | Options::PTRACE_O_TRACEVFORK
        | Options::PTRACE_O_TRACEEXEC
}

/// A thread that was killed meanwhile is no error.
fn alive<T>(result: nix::Result<T>) -> Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(Errno::ESRCH) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Programs whose files nobody looks at.
const COMPILERS: [&str; 8] = ["make", "gcc", "cc1", "as", "ld", "collect2", "objdump", "cpp"];

impl Tracer<'_> {
    fn go_on(&self, pid: Pid, signal: Option<Signal>) -> Result<()> {
        let traced = self.threads.contains_key(&pid);
        let going = if traced { ptrace::syscall(pid, signal) } else { ptrace::cont(pid, signal) };
        alive(going).map(drop)
    }

    fn at_event(&mut self, pid: Pid, event: i32) -> Result<()> {
        match event {
            libc::PTRACE_EVENT_EXEC if self.root.is_none() => {
                let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
                let mut words = line.split(|byte| *byte == 0);
                // A script's interpreter comes first.
                let first = words.next().unwrap_or_default();
                let is_program = first == self.program.as_bytes()
                    || (first.ends_with(b"bash") && words.next().unwrap_or_default() == self.program.as_bytes());
                if is_program {
                    self.root = Some(pid);
                    // Its threads only: what it starts runs as if nobody looked.
                    let options = match self.scope {
                        Scope::Program => Options::PTRACE_O_TRACESYSGOOD | Options::PTRACE_O_TRACECLONE,
                        Scope::Children => followed(),
                    };
                    alive(ptrace::setoptions(pid, options | Options::PTRACE_O_EXITKILL))?;
                    self.threads.insert(pid, Thread { inside: true, call: None, fails: None });
                }
            }
            libc::PTRACE_EVENT_EXEC if self.threads.contains_key(&pid) => {
                let name = program_name(pid);
                if COMPILERS
                    .iter()
                    .any(|compiler| name.rsplit('-').find(|part| part.parse::<u8>().is_err()) == Some(*compiler))
                {
                    self.threads.remove(&pid);
                    return alive(ptrace::detach(pid, None)).map(drop);
                }
            }
            libc::PTRACE_EVENT_CLONE | libc::PTRACE_EVENT_FORK | libc::PTRACE_EVENT_VFORK
                if self.threads.contains_key(&pid) =>
            {
                if let Some(new) = alive(ptrace::getevent(pid))? {
                    let new = Pid::from_raw(i32::try_from(new)?);
                    self.threads.insert(new, Thread { inside: false, call: None, fails: None });
                }
            }
            _ => {}
        }
        self.go_on(pid, None)
    }

    fn at_call(&mut self, pid: Pid) -> Result<()> {
        let Some(mut regs) = alive(ptrace::getregs(pid))? else { return Ok(()) };
        let result = signed(regs.rax);
        let is_entry = result == -i64::from(libc::ENOSYS);
        // A new thread may be seen at its first call before its parent's event.
        let thread = self.threads.entry(pid).or_insert(Thread { inside: false, call: None, fails: None });
        if thread.inside {
            thread.inside = false;
            let given = thread.fails.take().map(|errno| -i64::from(errno));
            if let Some(given) = given {
                regs.rax = unsigned(given);
                alive(ptrace::setregs(pid, regs))?;
            }
            if let Some(call) = thread.call.take() {
                self.calls[call].result = given.unwrap_or(result);
            }
        } else if is_entry {
            thread.inside = true;
            let arguments = [regs.rdi, regs.rsi, regs.rdx, regs.r10, regs.r8, regs.r9];
            if let Some(call) = self.read_call(pid, regs.orig_rax, arguments) {
                let then = (self.then)(self.calls.len(), &call);
                self.calls.push(call);
                let thread = self.threads.entry(pid).or_insert(Thread { inside: true, call: None, fails: None });
                thread.call = Some(self.calls.len() - 1);
                match then {
                    Then::Go => {}
                    Then::Fail(errno) => {
                        thread.fails = Some(errno);
                        regs.orig_rax = u64::MAX;
                        alive(ptrace::setregs(pid, regs))?;
                    }
                    Then::Kill => {
                        let victims: Vec<Pid> = match self.scope {
                            Scope::Program => self.root.into_iter().collect(),
                            Scope::Children => self.threads.keys().copied().collect(),
                        };
                        for victim in victims {
                            alive(kill(victim, Signal::SIGKILL))?;
                        }
                    }
                }
            }
        }
        self.go_on(pid, None)
    }

    /// The call that a thread is about to make, if it counts.
    fn read_call(&self, pid: Pid, number: u64, arguments: [u64; 6]) -> Option<Call> {
        let (_, name, kind, operands) = calls::row(number, |name| match name {
            "open" => low(arguments[1]),
            // struct open_how begins with the flags.
            "openat2" => bytes_at(pid, arguments[2]).map_or(0, i32::from_le_bytes),
            _ => low(arguments[2]),
        })?;
        let paths: Option<Vec<String>> = operands.iter().map(|operand| self.path(pid, *operand, arguments)).collect();
        let paths = paths?;
        let counts = match kind {
            Kind::Spawn => true,
            Kind::Open | Kind::Read => paths.iter().all(|path| OURS.iter().any(|area| path.starts_with(area))),
            _ => paths.iter().all(|path| path.starts_with('/') && !OTHERS.iter().any(|area| path.starts_with(area))),
        };
        let program = if self.scope == Scope::Program { String::new() } else { format!("{}: ", program_name(pid)) };
        counts.then_some(Call { name, kind, paths, program, result: 0 })
    }

    fn path(&self, pid: Pid, operand: Operand, arguments: [u64; 6]) -> Option<String> {
        let descriptor = |argument: usize| {
            let link = match low(arguments[argument]) {
                libc::AT_FDCWD => format!("/proc/{pid}/cwd"),
                number => format!("/proc/{pid}/fd/{number}"),
            };
            let path = std::fs::read_link(link).ok()?.to_string_lossy().into_owned();
            Some(
                path.strip_prefix(self.prefix)
                    .map_or(path.clone(), |inside| format!("/{}", inside.trim_start_matches('/'))),
            )
        };
        match operand {
            Operand::Descriptor(argument) => descriptor(argument),
            Operand::Path(argument) => {
                let path = text_at(pid, arguments[argument])?;
                if path.starts_with('/') { Some(path) } else { None }
            }
            Operand::At(directory, argument) => {
                let path = if arguments[argument] == 0 { String::new() } else { text_at(pid, arguments[argument])? };
                match path {
                    path if path.starts_with('/') => Some(path),
                    path if path.is_empty() => descriptor(directory),
                    path => Some(format!("{}/{path}", descriptor(directory)?)),
                }
            }
        }
    }
}

/// Where reading is a point.
const OURS: [&str; 7] =
    ["/var/lib/dkms", "/usr/src", "/lib/modules", "/usr/lib/modules", "/etc/dkms", "/run/dkms", "/boot"];
/// Where changing is none.
const OTHERS: [&str; 3] = ["/proc", "/dev", "/sys"];

/// The low half of a register, as an int argument.
#[allow(clippy::cast_possible_truncation, clippy::cast_possible_wrap)] // that is what the kernel does
fn low(register: u64) -> i32 {
    register as i32
}

#[allow(clippy::cast_possible_wrap)] // registers have no sign
fn signed(register: u64) -> i64 {
    register as i64
}

#[allow(clippy::cast_sign_loss)] // registers have no sign
fn unsigned(value: i64) -> u64 {
    value as u64
}

fn program_name(pid: Pid) -> String {
    let link = std::fs::read_link(format!("/proc/{pid}/exe")).unwrap_or_default();
    link.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn bytes_at(pid: Pid, address: u64) -> Option<[u8; 4]> {
    let mut bytes = [0; 4];
    File::open(format!("/proc/{pid}/mem")).ok()?.read_exact_at(&mut bytes, address).ok()?;
    Some(bytes)
}

fn text_at(pid: Pid, address: u64) -> Option<String> {
    const PAGE: u64 = 4096;
    let memory = File::open(format!("/proc/{pid}/mem")).ok()?;
    let mut text = Vec::new();
    let mut at = address;
    while text.len() < 4096 {
        // Never beyond a page: the next one may not be there.
        let mut chunk = vec![0; usize::try_from(256.min(PAGE - at % PAGE)).ok()?];
        let count = memory.read_at(&mut chunk, at).ok()?;
        if let Some(end) = chunk[..count].iter().position(|byte| *byte == 0) {
            text.extend(&chunk[..end]);
            break;
        }
        text.extend(&chunk[..count]);
        at += count as u64;
        if count == 0 {
            return None;
        }
    }
    Some(String::from_utf8_lossy(&text).into_owned())
}
