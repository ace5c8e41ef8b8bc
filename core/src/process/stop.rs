//! Being asked to end: SIGINT, SIGTERM, SIGHUP.
//!
//! A run that changes something does not end where it stands. It ends its builds, which changes nothing, finishes the change that
//! is under way, does what follows from it ([`requested`] tells it not to begin anything else), and says how far it got. Asked a second
//! time it ends at once; then the next run does the rest, as after SIGKILL.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use rustix::pipe::{PipeFlags, pipe_with};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::{flag, low_level};

/// The signal that asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stop(usize);

impl Stop {
    /// The exit code of a program that ends for it, as a shell gives it.
    pub fn code(self) -> u8 {
        128 + u8::try_from(self.0).unwrap_or_default()
    }
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match i32::try_from(self.0) {
            Ok(SIGHUP) => f.write_str("SIGHUP"),
            Ok(SIGINT) => f.write_str("SIGINT"),
            Ok(SIGTERM) => f.write_str("SIGTERM"),
            _ => write!(f, "signal {}", self.0),
        }
    }
}

struct Listening {
    signal: Arc<AtomicUsize>,
    /// Readable once a signal has come.
    came: OwnedFd,
}

static LISTENING: OnceLock<Option<Listening>> = OnceLock::new();

/// From now on these signals ask. One that is ignored (nohup(1) does that to SIGHUP) stays so.
pub fn listen() {
    LISTENING.get_or_init(|| match try_listen() {
        Ok(listening) => Some(listening),
        Err(error) => {
            log::warn!("signals end this run where it stands: {error}");
            None
        }
    });
}

fn try_listen() -> io::Result<Listening> {
    let ignored = ignored();
    let (came, tell) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
    let signal = Arc::new(AtomicUsize::new(0));
    let again = Arc::new(AtomicBool::new(false));
    for number in [SIGHUP, SIGINT, SIGTERM] {
        if ignored >> (number - 1) & 1 == 1 {
            continue;
        }
        // They are called in this order: only the second signal ends us at once.
        flag::register_conditional_shutdown(number, 128 + number, Arc::clone(&again))?;
        flag::register(number, Arc::clone(&again))?;
        flag::register_usize(number, Arc::clone(&signal), usize::try_from(number).unwrap_or_default())?;
        low_level::pipe::register(number, tell.try_clone()?)?;
    }
    Ok(Listening { signal, came })
}

/// The signals that this process ignores, a bit each (proc_pid_status(5), `SigIgn`).
fn ignored() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}

/// The signal that has asked this run to end.
pub fn requested() -> Option<Stop> {
    let signal = LISTENING.get()?.as_ref()?.signal.load(Ordering::Relaxed);
    (signal != 0).then_some(Stop(signal))
}

/// What becomes readable when a signal asks.
pub(super) fn came() -> Option<BorrowedFd<'static>> {
    Some(LISTENING.get()?.as_ref()?.came.as_fd())
}
