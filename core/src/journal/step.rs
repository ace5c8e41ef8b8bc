//! The two steps that every change consists of: putting something in place, taking something away.

use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use serde::{Deserialize, Serialize};

use crate::durable::{self, FileError, at};
use crate::files::copy_tree;
use crate::tree::identity::nanoseconds;

use super::JournalError;

/// What tells an object from any other that has had, or will have, its path.
///
/// Of a directory, only its inode number counts, since size and time change with what is in it. The
/// device does not count: after a boot the same file system may have another number (btrfs always).
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct Object {
    kind: Kind,
    ino: u64,
    size: u64,
    mtime_ns: i64,
}

impl PartialEq for Object {
    fn eq(&self, other: &Self) -> bool {
        let same = (self.kind, self.ino) == (other.kind, other.ino);
        same && (self.is_dir() || (self.size, self.mtime_ns) == (other.size, other.mtime_ns))
    }
}

impl Eq for Object {}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Directory,
    Link,
    Other,
}

impl Object {
    fn is_dir(&self) -> bool {
        self.kind == Kind::Directory
    }

    /// Whether `copy` may be a copy of it, as backups and `cp -a` make them: some keep no parts of a second.
    fn is_copied_as(&self, copy: &Self) -> bool {
        const SECOND: i64 = 1_000_000_000;
        let exact = self.mtime_ns == copy.mtime_ns;
        let whole = copy.mtime_ns % SECOND == 0 && copy.mtime_ns == self.mtime_ns - self.mtime_ns.rem_euclid(SECOND);
        self.kind == copy.kind && self.size == copy.size && (exact || whole)
    }
}

/// The first of `paths` with what may be a copy of `object`.
fn copy_at<'a>(object: &Object, paths: &[&'a Path]) -> Result<Option<(&'a Path, Object)>, FileError> {
    for path in paths {
        if let Some(found) = object_at(path)?.filter(|found| object.is_copied_as(found)) {
            return Ok(Some((path, found)));
        }
    }
    Ok(None)
}

/// What is at `path`, links not followed.
pub(super) fn object_at(path: &Path) -> Result<Option<Object>, FileError> {
    let meta = match fs::symlink_metadata(path) {
        Err(error) if durable::missing(&error) || error.kind() == ErrorKind::NotADirectory => {
            return Ok(None);
        }
        other => other.map_err(at("look at", path))?,
    };
    let mtime_ns = nanoseconds(meta.mtime(), meta.mtime_nsec());
    let mut object = Object { kind: Kind::Directory, ino: meta.ino(), size: 0, mtime_ns };
    if !meta.is_dir() {
        object.kind = if meta.is_symlink() { Kind::Link } else { Kind::Other };
        object.size = meta.len();
    }
    Ok(Some(object))
}

/// The directories whose lists of names have changed since they were synced: to be synced before the journal goes. To sync one that
/// has not changed takes as long.
#[derive(Debug, Default)]
pub(super) struct Unsynced(BTreeSet<PathBuf>);

impl Unsynced {
    /// Deletes what is at `path`, if something is.
    fn remove(&mut self, path: &Path) -> Result<(), FileError> {
        if object_at(path)?.is_none() {
            return Ok(());
        }
        self.note(path);
        durable::remove_any(path)
    }

    /// Another name of `path`'s directory has changed.
    pub fn note(&mut self, path: &Path) {
        self.0.extend(path.parent().map(Path::to_owned));
    }

    /// Makes their lists survive a power loss.
    pub fn sync(&self) -> Result<(), FileError> {
        self.0.iter().filter(|dir| dir.is_dir()).try_for_each(|dir| durable::sync(dir))
    }
}

/// How steps are done; tests make it fail or stop.
#[derive(Debug)]
pub(super) struct Executor {
    /// Whether to try renameat2's RENAME_EXCHANGE, which some file systems do not have.
    pub exchange: bool,
    /// Stop at this checkpoint as a kill would.
    pub stop_after: Option<usize>,
    /// Fail at this checkpoint as a full disk would.
    pub fail_after: Option<usize>,
}

impl Default for Executor {
    fn default() -> Self {
        Self { exchange: true, stop_after: None, fail_after: None }
    }
}

impl Executor {
    /// From here on the change counts as made: nothing may fail it any more.
    pub fn stops_only(&mut self) {
        self.fail_after = None;
    }

    /// Called before each thing done.
    pub fn checkpoint(&mut self) -> Result<(), JournalError> {
        if count_down(&mut self.stop_after) {
            return Err(JournalError::Stopped);
        }
        if count_down(&mut self.fail_after) {
            self.fail_after = None;
            let full = at("write", Path::new("(test)"))(ErrorKind::StorageFull.into());
            return Err(full.into());
        }
        Ok(())
    }
}

fn count_down(left: &mut Option<usize>) -> bool {
    match left {
        Some(0) => true,
        Some(n) => {
            *n -= 1;
            false
        }
        None => false,
    }
}

/// Puts what is prepared at `temp` in place at `to`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Put {
    pub temp: PathBuf,
    pub to: PathBuf,
    /// `temp` is a temporary of the journal's; otherwise the caller's directory.
    pub owned: bool,
    /// What is at `temp`; `None` until it is staged.
    pub new: Option<Object>,
    /// What it replaces, and where that is kept if it can't be exchanged.
    pub old: Option<(Object, PathBuf)>,
}

impl Put {
    /// Does it, if it has not been done.
    pub fn forward(&self, executor: &mut Executor) -> Result<(), JournalError> {
        let there = object_at(&self.to)?;
        if there.is_some() && there == self.new {
            return Ok(());
        }
        if self.new.is_none() || object_at(&self.temp)? != self.new {
            return Err(JournalError::Lost(self.temp.clone()));
        }
        match (&there, &self.old) {
            (None, _) => Ok(rename(&self.temp, &self.to)?),
            (Some(there), Some((old, aside))) if there == old => self.replace(old, aside, executor),
            _ => Err(JournalError::Changed(self.to.clone())),
        }
    }

    fn replace(&self, old: &Object, aside: &Path, executor: &mut Executor) -> Result<(), JournalError> {
        if executor.exchange && renameat_with(CWD, &self.temp, CWD, &self.to, RenameFlags::EXCHANGE).is_ok() {
            return Ok(());
        }
        if old.is_dir() || self.new.is_some_and(|new| new.is_dir()) {
            move_aside(&self.to, aside)?;
        } else {
            // A second name, so that the old one stays where it is until it is replaced.
            durable::remove_any(aside)?;
            if fs::hard_link(&self.to, aside).is_err() {
                rename(&self.to, aside)?;
            }
        }
        executor.checkpoint()?;
        Ok(rename(&self.temp, &self.to)?)
    }

    /// Recognises its objects in a copy of what it was written for, where all inode numbers are others. The path of
    /// what can't be recognised, if something can't.
    pub fn adopt(&mut self) -> Result<Option<PathBuf>, FileError> {
        let Self { temp, to, new, old, .. } = self;
        let mut taken = None;
        if let Some(new) = new {
            let Some((path, found)) = copy_at(new, &[temp, to])? else { return Ok(Some(to.clone())) };
            (*new, taken) = (found, Some(path.to_owned()));
        }
        if let Some((old, aside)) = old {
            let paths: Vec<&Path> = [&*to, &*aside, &*temp].into_iter().map(PathBuf::as_path).collect();
            let free: Vec<&Path> = paths.into_iter().filter(|path| taken.as_deref() != Some(*path)).collect();
            match copy_at(old, &free)? {
                Some((_, found)) => *old = found,
                // It has been put in place, and what it replaced was deleted already.
                None if taken.as_deref() == Some(to) => {}
                None => return Ok(Some(to.clone())),
            }
        }
        Ok(None)
    }

    /// Undoes it, as far as it has been done.
    pub fn back(&self, executor: &Executor) -> Result<(), JournalError> {
        let Some(new) = self.new else { return Ok(()) };
        let there = object_at(&self.to)?;
        let Some((old, aside)) = &self.old else {
            if there == Some(new) {
                rename(&self.to, &self.temp)?;
            }
            return Ok(());
        };
        if new == *old {
            return Ok(());
        }
        let kept = object_at(aside)?.is_some();
        if there.is_none() && kept {
            rename(aside, &self.to)?;
        } else if there == Some(new) {
            if object_at(&self.temp)? == Some(*old) {
                if executor.exchange && renameat_with(CWD, &self.temp, CWD, &self.to, RenameFlags::EXCHANGE).is_ok() {
                    return Ok(());
                }
                rename(&self.temp, aside)?;
            } else if !kept {
                log::warn!("what {} replaced is gone; it stays as it is", self.to.display());
                return Ok(());
            }
            if new.is_dir() || old.is_dir() {
                rename(&self.to, &self.temp)?;
            }
            rename(aside, &self.to)?;
        }
        Ok(())
    }

    /// Deletes what is left over when the change is done (`forward`) or undone.
    pub fn clean(&self, forward: bool, unsynced: &mut Unsynced) -> Result<(), FileError> {
        if self.owned {
            unsynced.remove(&self.temp)?;
        }
        let Some((old, aside)) = &self.old else {
            return Ok(());
        };
        if forward {
            if !self.owned && object_at(&self.temp)? == Some(*old) {
                unsynced.remove(&self.temp)?;
            }
            unsynced.remove(aside)?;
        } else if object_at(&self.to)? == Some(*old) {
            // A second name or a copy of what is in place.
            unsynced.remove(aside)?;
        }
        Ok(())
    }

    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        [self.temp.as_path(), self.to.as_path()].into_iter()
    }
}

/// Takes what is at `path` away, by way of `aside`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Take {
    pub path: PathBuf,
    pub aside: PathBuf,
    /// What is to be taken; anything else stays.
    pub object: Object,
}

impl Take {
    /// Moves it aside, if it is there.
    pub fn forward(&self) -> Result<(), JournalError> {
        if object_at(&self.path)? != Some(self.object) || object_at(&self.aside)?.is_some() {
            return Ok(());
        }
        match fs::rename(&self.path, &self.aside) {
            // A directory of a lower layer of an overlay: `clean` deletes it where it is.
            Err(error) if error.kind() == ErrorKind::CrossesDevices => Ok(()),
            other => Ok(other.map_err(at("move aside", &self.path))?),
        }
    }

    /// As [`Put::adopt`].
    pub fn adopt(&mut self) -> Result<Option<PathBuf>, FileError> {
        if let Some((_, found)) = copy_at(&self.object, &[&self.path, &self.aside])? {
            self.object = found;
            return Ok(None);
        }
        Ok(object_at(&self.path)?.map(|_| self.path.clone()))
    }

    /// Moves it back.
    pub fn back(&self) -> Result<(), JournalError> {
        if object_at(&self.aside)?.is_none() {
            return Ok(());
        }
        if object_at(&self.path)?.is_some() {
            return Err(JournalError::Changed(self.path.clone()));
        }
        Ok(rename(&self.aside, &self.path)?)
    }

    /// Deletes it for good.
    pub fn clean(&self, unsynced: &mut Unsynced) -> Result<(), FileError> {
        unsynced.remove(&self.aside)?;
        if self.object.is_dir() && object_at(&self.path)? == Some(self.object) {
            unsynced.remove(&self.path)?;
        }
        Ok(())
    }
}

fn rename(from: &Path, to: &Path) -> Result<(), FileError> {
    fs::rename(from, to).map_err(at("rename something to", to))
}

/// Renames; a directory of a lower layer of an overlay, which can't be renamed (overlayfs.rst of
/// the kernel, "redirect_dir"), is copied and then deleted.
fn move_aside(path: &Path, aside: &Path) -> Result<(), FileError> {
    match fs::rename(path, aside) {
        Err(error) if error.kind() == ErrorKind::CrossesDevices => {
            durable::remove_any(aside)?;
            copy_tree(path, aside).map_err(at("copy", path))?;
            durable::sync_tree(aside)?;
            durable::remove_any(path)
        }
        other => other.map_err(at("move aside", path)),
    }
}
