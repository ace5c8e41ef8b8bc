//! A lock on a directory that is there anyhow: between runs that share nothing else, as those for two DKMS trees with one
//! kernel do. Nothing is written.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, OFlags, flock};
use rustix::io::Errno;

use super::PAUSES;
use crate::process::stop;

/// A directory that is held; dropping it lets go.
#[derive(Debug)]
pub struct Held(File);

impl Drop for Held {
    fn drop(&mut self) {
        // Explicitly: a child between fork and exec may still have it open.
        let _ = flock(&self.0, FlockOperation::Unlock);
    }
}

/// Holds `dir`, waiting for others who do. `None`: they still do after `limit`, or this run is to end.
///
/// # Errors
/// If it can't be opened, or its file system has no locks.
pub fn hold(dir: &Path, limit: Duration) -> io::Result<Option<Held>> {
    let flags = i32::try_from(OFlags::DIRECTORY.bits()).unwrap_or(0);
    let file = OpenOptions::new().read(true).custom_flags(flags).open(dir)?;
    let start = Instant::now();
    let mut pause = PAUSES.0;
    loop {
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(Some(Held(file))),
            Err(Errno::INTR) => continue,
            Err(Errno::WOULDBLOCK) => {}
            Err(error) => return Err(error.into()),
        }
        let left = limit.saturating_sub(start.elapsed());
        if left.is_zero() || stop::requested().is_some() {
            return Ok(None);
        }
        std::thread::sleep(pause.min(left));
        pause = (pause * 2).min(PAUSES.1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_at_a_time() {
        let tmp = tempfile::tempdir().unwrap();
        let held = hold(tmp.path(), Duration::ZERO).unwrap();
        assert!(held.is_some());
        assert!(hold(tmp.path(), Duration::ZERO).unwrap().is_none());
        drop(held);
        assert!(hold(tmp.path(), Duration::ZERO).unwrap().is_some());
        assert!(hold(&tmp.path().join("nothing"), Duration::ZERO).is_err());
    }
}
