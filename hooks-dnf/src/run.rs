//! Reporting events to `dkms`: a process of its own, since what calls us may be in the middle of replacing our files, and
//! our standard output may be its protocol.

use dkms_core::cli::surroundings;
use dkms_core::event::{Event, EventOptions};
use dkms_core::process::{self, Output, Task};

use crate::say;

/// Where the program is, should the caller's PATH not have it: a package manager's may be any.
const PLACES: [&str; 3] = ["/usr/sbin/dkms", "/usr/bin/dkms", "/usr/local/sbin/dkms"];

/// Reports `event`; gives the exit code, which the core's policy has decided.
pub fn report(event: &Event, options: &EventOptions) -> u8 {
    let words = event.words(options);
    dkms(&words.iter().map(String::as_str).collect::<Vec<_>>())
}

/// Runs `dkms` with `words`, its output on our standard error; gives its exit code. Programs that can't be started
/// count as failed, with a line that says so.
pub fn dkms(words: &[&str]) -> u8 {
    let program = PLACES.into_iter().find(|place| std::path::Path::new(place).is_file()).unwrap_or("dkms");
    let mut argv = vec![program];
    argv.extend(words);
    let mut task = Task::new(argv, std::path::Path::new("/"), &surroundings::environment());
    // Our standard output may be a protocol: what dkms says goes to standard error, all of it.
    match rustix::io::dup(std::io::stderr()) {
        Ok(fd) => task.output = Output::File(std::fs::File::from(fd)),
        Err(_) => task.output = Output::Null,
    }
    match process::run(task) {
        Ok(end) => u8::try_from(end.code()).unwrap_or(1),
        Err(error) => {
            say(&format!("dkms: {error}"));
            1
        }
    }
}
