//! Asking the program that is linked with libalpm, without trusting it to be there or to work.
//!
//! alpm gives a transaction up when an `AbortOnFail` program can't even be started (alpm-hooks(5)): a library that is
//! missing must not stop anybody's upgrade. So the hook runs us, and we run it; only its deliberate refusal counts.

use std::path::Path;
use std::time::Duration;

use dkms_core::process::{self, Environment, Output, Task};
use dkms_core::report::{Event, Reporter};

/// Where the program is.
pub const PROGRAM: &str = "/usr/lib/dkms/dkms-alpm-preflight";
/// How long it may take.
pub const LIMIT: Duration = Duration::from_secs(30);
/// The exit code with which it refuses: one that neither a shell, nor the dynamic linker, nor a crash makes.
pub const REFUSES: u8 = 40;

/// Runs `program` with `input`; gives the exit code for alpm: 1 if it refuses the transaction, otherwise 0.
pub fn ask(program: &Path, input: Vec<u8>, env: &Environment, limit: Duration, reporter: &dyn Reporter) -> u8 {
    let why = match run(program, input, env, limit) {
        Ok(end) if end.timed_out => format!("it took more than {} seconds", limit.as_secs()),
        Ok(end) if end.status.code() == Some(i32::from(REFUSES)) => return 1,
        Ok(end) if end.status.success() => return 0,
        Ok(end) => format!("it ended with status {}", end.code()),
        Err(error) => error.to_string(),
    };
    let text =
        format!("DKMS did not check this transaction beforehand, since {} did not work: {why}", program.display());
    reporter.report(Event::Note(text));
    0
}

fn run(
    program: &Path,
    input: Vec<u8>,
    env: &Environment,
    limit: Duration,
) -> Result<process::End, process::ProcessError> {
    let mut task = Task::new([program], Path::new("/"), env);
    task.output = Output::Inherit;
    task.input = Some(input);
    task.limit = Some(limit);
    process::run(task)
}

#[cfg(test)]
mod tests {
    use super::*;
    use dkms_core::report::Buffer;
    use std::os::unix::fs::PermissionsExt;

    fn said(script: &str, mode: u32, limit: Duration) -> (u8, usize) {
        let tmp = tempfile::tempdir().unwrap();
        let program = tmp.path().join("preflight");
        fs_err::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs_err::set_permissions(&program, std::fs::Permissions::from_mode(mode)).unwrap();
        let buffer = Buffer::default();
        let env = Environment::from([("PATH".into(), "/usr/bin:/bin".into())]);
        let code = ask(&program, b"usr/src/x-1/dkms.conf\n".to_vec(), &env, limit, &buffer);
        (code, buffer.take().len())
    }

    #[test]
    fn only_a_deliberate_refusal_counts() {
        let limit = Duration::from_secs(20);
        for (script, wanted) in [
            ("exit 0", (0, 0)),
            ("exit 40", (1, 0)),
            ("grep -q usr/src && exit 40", (1, 0)),
            ("exit 1", (0, 1)),
            ("exit 126", (0, 1)),
            ("exit 127", (0, 1)),
            ("kill -ABRT $$", (0, 1)),
        ] {
            assert_eq!(said(script, 0o755, limit), wanted, "{script}");
        }
        assert_eq!(said("exit 40", 0o644, limit), (0, 1), "not executable");
        assert_eq!(said("sleep 60; exit 40", 0o755, Duration::from_millis(100)), (0, 1), "too slow");
    }

    #[test]
    fn it_may_be_missing() {
        let buffer = Buffer::default();
        let code = ask(Path::new("/no/such/program"), Vec::new(), &Environment::new(), LIMIT, &buffer);
        assert_eq!((code, buffer.take().len()), (0, 1));
    }
}
