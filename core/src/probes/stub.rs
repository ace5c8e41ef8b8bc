//! What a build finds as its compiler.
//!
//! It is a script for this program in a directory that is in front of the build's PATH. Everything that can go wrong here
//! ends with the compiler being run as if the stub were not there.

// It is not dkms here, but a compiler, whose environment and name are part of what it is asked.
#![allow(clippy::disallowed_methods)]

use std::ffi::{OsStr, OsString};
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{ExitCode, Stdio};
use std::time::Duration;

use rustix::fs::{FileType, MemfdFlags, fstat, memfd_create};

use super::answer::{self, Answer, Said};
use super::question::{self, Command, Heard, Question};
use super::settings::{DIRECTORY, PROGRAM, SOCKET, Settings};
use super::store;
use crate::durable::read_at_most;
use crate::launchers;
use crate::process::{Environment, command};

/// How long root's answer is waited for.
const PATIENCE: Duration = Duration::from_secs(60);

/// Does a compiler's work if this program was started as one; `args`: without the program's name.
pub fn called(args: &[OsString]) -> Option<ExitCode> {
    // The path given to execve(2), also where PATH was searched (getauxval(3), AT_EXECFN): the script's.
    let path = Path::new(OsStr::from_bytes(rustix::param::linux_execfn().to_bytes()));
    let (dir, name) = (path.parent()?, path.file_name()?);
    if dir.file_name() != Some(OsStr::new(DIRECTORY)) || name == PROGRAM {
        return None;
    }
    // The kernel puts the script's path before the arguments (execve(2), "Interpreter scripts").
    let args = args.get(1..).unwrap_or_default();
    let settings = Settings::read(dir);
    let answered = settings.as_ref().and_then(|settings| answer(settings, dir, name, args));
    Some(match answered {
        Some(code) => code,
        None if settings.as_ref().is_some_and(|settings| launch(settings, dir, name, args)) => ExitCode::SUCCESS,
        None => become_compiler(settings.as_ref(), dir, name, args),
    })
}

/// Has the launcher compile; false: that is left to the compiler, and nothing has been said. Whatever a launcher fails by, the compiler
/// has the last word.
fn launch(settings: &Settings, dir: &Path, name: &OsStr, args: &[OsString]) -> bool {
    let compiles = || {
        let launched = settings.launched.as_ref().filter(|_| launchers::compiles(args))?;
        let compiler = settings.compilers.get(name.to_str()?).filter(|_| settings.hold())?;
        let mut environment: Environment = std::env::vars_os().collect();
        launched.enter(&mut environment);
        if let Some(path) = environment.get_mut(OsStr::new("PATH")) {
            *path = std::env::join_paths(without(path, dir)).ok()?;
        }
        let said = || Some(File::from(memfd_create("said", MemfdFlags::CLOEXEC).ok()?));
        let (mut out, mut err) = (said()?, said()?);
        let mut task = command(&launched.program);
        task.arg(compiler).args(args).env_clear().envs(environment).stdin(Stdio::null());
        task.stdout(out.try_clone().ok()?).stderr(err.try_clone().ok()?);
        if !task.status().ok()?.success() {
            return None;
        }
        out.rewind().ok()?;
        err.rewind().ok()?;
        // Whoever listens may have gone: the compiler would not care either.
        let _ = io::copy(&mut out, &mut io::stdout()).and_then(|_| io::stdout().flush());
        let _ = io::copy(&mut err, &mut io::stderr());
        Some(())
    };
    compiles().is_some()
}

/// The directories of a PATH but for that of the stubs.
fn without(path: &OsStr, dir: &Path) -> Vec<PathBuf> {
    std::env::split_paths(path).filter(|part| part != dir).collect()
}

/// Answers in the compiler's place. `None`: that is the compiler's to do; nothing has been done, and standard input is as it
/// was.
fn answer(settings: &Settings, dir: &Path, name: &OsStr, args: &[OsString]) -> Option<ExitCode> {
    let answers = settings.answers.as_deref()?;
    let name = name.to_str()?;
    let asked = Command::read(args)?;
    settings.compilers.get(name)?;
    if !settings.hold() {
        return None;
    }
    let output = asked.output.clone();
    // What is there already would be replaced, kept, or deleted: the compiler knows.
    if output.as_deref().is_some_and(|output| std::fs::symlink_metadata(output).is_ok()) {
        return None;
    }
    let (out, err) = (sink(rustix::stdio::stdout())?, sink(rustix::stdio::stderr())?);
    let input = if asked.reads { Some(keep_input()?) } else { None };
    let question = asked.question(
        name,
        input.as_deref(),
        std::env::vars_os(),
        Heard { any: out == Sink::Heard || err == Sink::Heard },
    )?;
    let file = store::place(answers, &question.key());
    let look = || Answer::read(&read_at_most(&file, answer::LONGEST as u64 * 8).ok()?, &question);
    let answer = match look() {
        Some(answer) => answer,
        None if ask_root(dir, &question).unwrap_or(false) => look()?,
        None => return None,
    };
    let Answer::Said(said) = answer else { return None };
    say(&said, output.as_deref(), out, err)
}

/// What a descriptor leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sink {
    Nowhere,
    Heard,
}

/// `None`: a terminal, or nothing at all.
fn sink(fd: rustix::fd::BorrowedFd<'_>) -> Option<Sink> {
    let stat = fstat(fd).ok()?;
    let null = FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice
        && std::fs::metadata("/dev/null")
            .is_ok_and(|meta| meta.file_type().is_char_device() && meta.rdev() == stat.st_rdev);
    if rustix::termios::isatty(fd) {
        return None;
    }
    Some(if null { Sink::Nowhere } else { Sink::Heard })
}

/// Reads standard input to its end, and makes it a file that has the same for whoever reads it next. `None`: it could be
/// anything.
fn keep_input() -> Option<Vec<u8>> {
    let stdin = rustix::stdio::stdin();
    let kind = FileType::from_raw_mode(fstat(stdin).ok()?.st_mode);
    if !matches!(kind, FileType::Fifo | FileType::RegularFile) {
        return None;
    }
    let mut kept = File::from(memfd_create("input", MemfdFlags::empty()).ok()?);
    let copied = io::copy(&mut io::stdin().lock(), &mut kept);
    // From here on the file is all there is of it.
    let usable = kept.rewind().is_ok() && rustix::stdio::dup2_stdin(&kept).is_ok() && copied.is_ok();
    let mut text = Vec::new();
    let whole = Read::by_ref(&mut kept)
        .take(question::LONGEST as u64)
        .read_to_end(&mut text)
        .is_ok_and(|n| n < question::LONGEST);
    let rewound = kept.rewind().is_ok();
    (usable && whole && rewound).then_some(text)
}

/// Asks root's side to have the question answered; true: it is.
fn ask_root(dir: &Path, question: &Question) -> io::Result<bool> {
    let mut socket = UnixStream::connect(dir.join(SOCKET))?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.set_write_timeout(Some(PATIENCE))?;
    socket.write_all(question.text().as_bytes())?;
    socket.shutdown(std::net::Shutdown::Write)?;
    let mut answer = [0];
    socket.read_exact(&mut answer)?;
    Ok(answer == [1])
}

/// Does what the compiler would do. `None`: nothing has been done.
fn say(said: &Said, output: Option<&Path>, out: Sink, err: Sink) -> Option<ExitCode> {
    let heard = |sink: Sink, text: &Option<Vec<u8>>| match sink {
        Sink::Nowhere => Some(Vec::new()),
        Sink::Heard => text.clone(),
    };
    let (stdout, stderr) = (heard(out, &said.stdout)?, heard(err, &said.stderr)?);
    // Which came first nobody knows.
    if !stdout.is_empty() && !stderr.is_empty() {
        return None;
    }
    if let (Some(path), Some(bytes)) = (output, &said.output) {
        let mut file = OpenOptions::new().write(true).create_new(true).open(path).ok()?;
        if file.write_all(bytes).is_err() {
            drop(file);
            let _ = std::fs::remove_file(path);
            return None;
        }
    } else if said.output.is_some() {
        return None;
    }
    // Whoever listens may have gone: the compiler would not care either.
    let _ = io::stdout().write_all(&stdout).and_then(|()| io::stdout().flush());
    let _ = io::stderr().write_all(&stderr);
    Some(ExitCode::from(said.code))
}

/// Becomes the compiler `name`, with a PATH without the stubs.
fn become_compiler(settings: Option<&Settings>, dir: &Path, name: &OsStr, args: &[OsString]) -> ExitCode {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let others = without(&path, dir);
    let known = settings.and_then(|settings| settings.compilers.get(name.to_str()?).cloned());
    let found = known.or_else(|| others.iter().map(|part| part.join(name)).find(|file| file.is_file()));
    let Some(program) = found else {
        let _ = writeln!(io::stderr(), "{}: command not found", name.to_string_lossy());
        return ExitCode::from(127);
    };
    let mut compiler = command(&program);
    compiler.args(args);
    // Called by its name, as kbuild does, it looks for itself in PATH (gcc does, to find its parts).
    compiler.arg0(name);
    if let (true, Ok(others)) = (std::env::var_os("PATH").is_some(), std::env::join_paths(&others)) {
        compiler.env("PATH", others);
    }
    let error = compiler.exec();
    let _ = writeln!(io::stderr(), "{}: {error}", program.display());
    ExitCode::from(126)
}
