//! A gate: many pass it at once, until somebody closes it for good. Who planned before that, and comes later, is turned away.
//!
//! Who opens a gate keeps its file open. Who closes it puts another file in its place first, which is locked: so nobody
//! new gets in, and those who opened the old one see that it is another. Then it waits for those who are inside. An inode
//! that somebody has open is not used again, so that the comparison never errs.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use super::{Lock, LockError, Patience, failure, holder, is_at, is_within_another, lock, open, same, share, wait};
use crate::durable;

/// An open gate. It keeps nobody from closing it.
#[derive(Debug)]
pub struct Gate {
    path: PathBuf,
    file: File,
}

impl Gate {
    /// Opens the gate whose file is at `path`, or makes it. Waits, as `patience` says, while somebody closes it; within
    /// another run of ours, which may be one that has to get out first, not at all.
    pub fn open(path: &Path, patience: Patience<'_>) -> Result<Self, LockError> {
        let limit = if is_within_another() { Some(std::time::Duration::ZERO) } else { patience.limit };
        let inside = share(path, Patience { limit, ..patience })?;
        let file = inside.file.try_clone().map_err(|error| failure(path, error))?;
        Ok(Self { path: path.to_owned(), file })
    }

    /// Passes it: until the lock is dropped, nobody gets it closed. [`LockError::Closed`] if somebody has, or is about to.
    pub fn pass(&self) -> Result<Lock, LockError> {
        let fail = |error| failure(&self.path, error);
        let closed = |holder| LockError::Closed { path: self.path.clone(), holder };
        loop {
            // Of its own: descriptors that share an open file share its lock.
            let file = match fs::OpenOptions::new().read(true).write(true).open(&self.path) {
                Ok(file) => file,
                Err(error) if durable::missing(&error) => return Err(closed(None)),
                Err(error) => return Err(fail(error)),
            };
            if !same(&file.metadata().map_err(fail)?, &self.file.metadata().map_err(fail)?) {
                return Err(closed(holder(file)));
            }
            match flock(&file, FlockOperation::NonBlockingLockShared) {
                Ok(()) if is_at(&file, &self.path).map_err(fail)? => return Lock::claim(file).map_err(fail),
                Ok(()) => return Err(closed(None)),
                Err(Errno::WOULDBLOCK) => return Err(closed(holder(file))),
                Err(Errno::INTR) => {}
                Err(error) => return Err(fail(error.into())),
            }
        }
    }
}

/// A gate that is closed; dropping it lets others make a new one.
#[derive(Debug)]
pub struct Closed {
    path: PathBuf,
    /// Of the file that is there now, and of the one that others had opened.
    locks: [Lock; 2],
}

/// Closes the gate whose file is at `path`: from now on nobody passes it, and when this returns nobody is inside.
/// `patience` is for those who are.
pub fn close(path: &Path, patience: Patience<'_>) -> Result<Closed, LockError> {
    let fail = |error| failure(path, error);
    let beside = path.with_file_name(format!("{}@closed", path.file_name().unwrap_or_default().to_string_lossy()));
    let new = lock(&beside, patience)?;
    let old = open(path).map_err(fail)?;
    fs::rename(&beside, path).map_err(fail)?;
    let old = wait(path, patience, FlockOperation::NonBlockingLockExclusive, &|| old.try_clone(), &|_| Ok(true))?;
    Ok(Closed { path: path.to_owned(), locks: [new, old] })
}

impl Drop for Closed {
    fn drop(&mut self) {
        // While it is locked: who waits for it sees that it is gone, and makes a new one.
        if is_at(&self.locks[0].file, &self.path).unwrap_or(false) {
            if let Err(error) = fs::remove_file(&self.path) {
                log::info!("{} stays: {error}", self.path.display());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;
    use std::time::Duration;

    const AT_ONCE: Patience<'static> = Patience { limit: Some(Duration::ZERO), on_wait: &|_| {} };
    const FOREVER: Patience<'static> = Patience { limit: None, on_wait: &|_| {} };

    fn place() -> (tempfile::TempDir, PathBuf) {
        let tmp = tempfile::tempdir().unwrap();
        let path = tmp.path().join(".dkms/locks/@6.1@x86_64");
        (tmp, path)
    }

    fn is_closed(gate: &Gate) -> bool {
        match gate.pass() {
            Ok(_) => false,
            Err(LockError::Closed { .. }) => true,
            Err(error) => unreachable!("{error}"),
        }
    }

    #[test]
    fn many_pass_at_once_and_none_after_it_was_closed() {
        let (_tmp, path) = place();
        let (one, two) = (Gate::open(&path, AT_ONCE).unwrap(), Gate::open(&path, AT_ONCE).unwrap());
        let inside = (one.pass().unwrap(), one.pass().unwrap(), two.pass().unwrap());
        drop(inside);
        drop(close(&path, AT_ONCE).unwrap());
        assert!(is_closed(&one) && is_closed(&two));
        assert!(!path.exists());
        // A new one says nothing of the old.
        let new = Gate::open(&path, AT_ONCE).unwrap();
        assert!(is_closed(&one) && !is_closed(&new));
    }

    #[test]
    fn who_closes_it_waits_for_those_inside_and_lets_nobody_in() {
        let (_tmp, path) = place();
        let gate = Gate::open(&path, AT_ONCE).unwrap();
        let inside = gate.pass().unwrap();
        let (waiting, is_waiting) = mpsc::channel();
        std::thread::scope(|scope| {
            let closing = scope
                .spawn(|| close(&path, Patience { limit: None, on_wait: &|_| waiting.send(()).unwrap() }).unwrap());
            is_waiting.recv().unwrap();
            assert!(is_closed(&gate));
            let LockError::Timeout { .. } = Gate::open(&path, AT_ONCE).unwrap_err() else { unreachable!() };
            drop(inside);
            let closed = closing.join().unwrap();
            assert!(Gate::open(&path, AT_ONCE).is_err());
            drop(closed);
        });
        Gate::open(&path, AT_ONCE).unwrap().pass().unwrap();
    }

    #[test]
    fn two_who_close_it_take_turns() {
        let (_tmp, path) = place();
        let first = close(&path, AT_ONCE).unwrap();
        assert!(close(&path, AT_ONCE).is_err());
        std::thread::scope(|scope| {
            let second = scope.spawn(|| drop(close(&path, FOREVER).unwrap()));
            let opening = scope.spawn(|| Gate::open(&path, FOREVER).unwrap());
            drop(first);
            second.join().unwrap();
            opening.join().unwrap();
        });
    }

    #[test]
    fn one_who_was_killed_while_closing_keeps_nobody_away() {
        let (_tmp, path) = place();
        let old = Gate::open(&path, AT_ONCE).unwrap();
        let killed = close(&path, AT_ONCE).unwrap();
        for lock in &killed.locks {
            flock(&lock.file, FlockOperation::Unlock).unwrap();
        }
        std::mem::forget(killed);
        assert!(is_closed(&old));
        assert!(!is_closed(&Gate::open(&path, AT_ONCE).unwrap()));
        drop(close(&path, AT_ONCE).unwrap());
    }
}
