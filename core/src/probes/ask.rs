//! Puts a question to a compiler.
//!
//! Root starts this program again as a user that owns nothing, where nothing can be written but one empty directory
//! ([`crate::sandbox::Looks`]). Each question has such a place for itself: what a hostile one may do to the compiler there
//! spoils no other's answer. The names of the working directory and of the output file are made up for the occasion: where
//! one turns up in what the compiler says, that does not follow from the question.

use std::ffi::OsString;
use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{ExitCode, Stdio};
use std::time::Duration;

use rustix::process::{Resource, Rlimit, setrlimit};

use super::answer::{self, Answer, Said};
use super::question::{OUTPUT, Question};
use crate::durable;
use crate::process::{Environment, Output, Task, command, run};

/// The hidden verb.
const VERB: &str = "__ask-compiler";
/// How long a compiler may take, in seconds.
const TIME: u64 = 20;
/// How large the files may be that it makes, in bytes.
const FILES: u64 = 8 << 20;
/// How much memory it may have, in bytes.
const MEMORY: u64 = 2 << 30;

/// The task that asks; the directory `scratch` is to be empty, and the only one that can be written to. `program`: this
/// program, as it is called there.
pub fn task(question: &Question, compiler: &Path, program: &Path, scratch: &Path, path: OsString) -> Task {
    let env: Environment = [("PATH".into(), path)].into();
    let words = [program.into(), VERB.into(), compiler.into(), question.text().into()];
    let mut task = Task::new::<OsString>(words, scratch, &env);
    task.output = Output::Capture;
    task.limit = Some(Duration::from_secs(TIME + 10));
    task
}

/// What the task said.
pub fn understand(task: Task) -> Option<Answer> {
    let end = run(task).inspect_err(|error| log::debug!("a compiler can't be asked: {error}")).ok()?;
    if !end.status.success() {
        log::debug!("a compiler can't be asked: {}", end.text());
        return None;
    }
    serde_json::from_slice(&end.output).ok()
}

/// Asks, if this program was started to do that; `args`: without the program's name.
pub fn called(args: &[OsString]) -> Option<ExitCode> {
    let [verb, compiler, question] = args else { return None };
    if verb != VERB {
        return None;
    }
    let done = Question::parse(question.as_encoded_bytes())
        .ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))
        .and_then(|question| ask(&question, Path::new(compiler)))
        .and_then(|answer| io::stdout().write_all(&serde_json::to_vec(&answer)?));
    Some(match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "{error}");
            ExitCode::FAILURE
        }
    })
}

fn ask(question: &Question, compiler: &Path) -> io::Result<Answer> {
    let limit = |most| Rlimit { current: Some(most), maximum: Some(most) };
    for (resource, most) in
        [(Resource::Cpu, TIME), (Resource::As, MEMORY), (Resource::Fsize, FILES), (Resource::Core, 0)]
    {
        setrlimit(resource, limit(most))?;
    }
    let here = std::env::current_dir()?;
    let token = durable::unique();
    let dir = here.join(format!("q{token}"));
    std::fs::create_dir(&dir)?;
    let output = dir.join(format!("o{token}"));
    let input = here.join("input");
    // Its environment is what `task` says, PATH.
    let mut compile = command(compiler);
    compile.arg0(&question.name).current_dir(&dir).envs(question.env.iter().map(|(key, value)| (key, value)));
    compile.env("TMPDIR", &dir);
    compile.args(
        question.args.iter().map(|word| if word == OUTPUT { output.clone().into_os_string() } else { word.into() }),
    );
    compile.stdin(match &question.input {
        Some(text) => {
            std::fs::write(&input, text)?;
            Stdio::from(std::fs::File::open(&input)?)
        }
        None => Stdio::null(),
    });
    let end = compile.output()?;
    // A signal's end is no answer, nor is that of a part of the compiler: it was killed for what it needed, or is broken.
    let code = end.status.code().and_then(|code| u8::try_from(code).ok());
    let Some(code) = code.filter(|code| *code == 0 || refuses(&end.stderr)) else {
        return Err(io::Error::other(format!("the compiler failed: {}", String::from_utf8_lossy(&end.stderr))));
    };
    let left: Vec<PathBuf> = std::fs::read_dir(&dir)?.flatten().map(|entry| entry.path()).collect();
    let made = match crate::durable::bytes(&output) {
        Ok(bytes) => Some(bytes),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(error),
    };
    let others = left.iter().any(|file| *file != output);
    let follows = |text: &[u8]| !text.windows(token.len()).any(|part| part == token.as_bytes());
    let large = [&end.stdout, &end.stderr].into_iter().chain(&made).map(Vec::len).sum::<usize>() > answer::LONGEST;
    if others || large || made.as_deref().is_some_and(|bytes| !follows(bytes)) {
        return Ok(Answer::Unfit);
    }
    let said = |text: Vec<u8>| follows(&text).then_some(text);
    Ok(Answer::Said(Said { code, stdout: said(end.stdout), stderr: said(end.stderr), output: made }))
}

/// Whether a compiler that ended with an error says that it does not take what it was asked. Anything else may be otherwise the
/// next time: memory, processes or room that it lacked.
fn refuses(said: &[u8]) -> bool {
    /// What compilers, assemblers and linkers say of a fault in what they are given.
    const REFUSALS: [&str; 4] = ["error:", "Error:", "unrecognized", "unknown"];
    /// What they say of a fault of their own or of the machine (gcc's and clang's drivers, libiberty, binutils).
    const BREAKDOWNS: [&str; 13] = [
        "fatal error",
        "internal compiler error",
        "terminated program",
        "cannot execute",
        "unable to execute",
        "frontend command failed",
        "No space left",
        "annot allocate",
        "out of memory",
        "memory exhausted",
        "temporarily unavailable",
        "Too many open files",
        "Input/output error",
    ];
    let text = String::from_utf8_lossy(said);
    let has = |words: &[&str]| words.iter().any(|word| text.contains(word));
    has(&REFUSALS) && !has(&BREAKDOWNS)
}

#[cfg(test)]
mod tests {
    use super::refuses;

    #[test]
    fn only_a_refusal_is_an_answer() {
        for said in [
            "cc1: error: unrecognized command-line option '-mfoo'",
            "<stdin>:1:1: error: 'x' undeclared",
            "/tmp/x.s:1: Error: no such instruction: `foo'",
            "clang: error: unknown argument: '-mfoo'",
            "cc1: error: -Wfoo [-Werror=foo]\ncc1: all warnings being treated as errors",
        ] {
            assert!(refuses(said.as_bytes()), "{said}");
        }
        for said in [
            "",
            "gcc: fatal error: Killed signal terminated program cc1\ncompilation terminated.",
            "gcc: error: cannot execute 'cc1': posix_spawn: Resource temporarily unavailable",
            "cc1: out of memory allocating 65536 bytes",
            "x.c:1:1: internal compiler error: Segmentation fault",
            "clang: error: clang frontend command failed due to signal",
            "as: error: No space left on device",
        ] {
            assert!(!refuses(said.as_bytes()), "{said}");
        }
    }
}
