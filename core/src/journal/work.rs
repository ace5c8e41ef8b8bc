//! Private build directories, and how the dead ones are distinguished from the living.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use crate::durable::{self, FileError, at};
use crate::tree::Trees;

/// A private build directory, `<tree>/.dkms/work/<pid>-<random>`. While this lives, a flock on
/// the directory keeps [`super::recover()`] off; then it goes, unless a change that could be neither made nor undone needs
/// what is in it.
#[derive(Debug)]
pub struct WorkDir {
    trees: Trees,
    path: PathBuf,
    _alive: File,
}

impl WorkDir {
    /// Makes a new, empty one.
    pub fn new(trees: &Trees) -> Result<Self, FileError> {
        durable::own_dirs(&trees.work())?;
        loop {
            let path = trees.work().join(durable::unique());
            durable::own_dirs(&path)?;
            let Ok(dir) = File::open(&path) else { continue };
            flock(&dir, FlockOperation::LockExclusive).map_err(|e| at("lock", &path)(e.into()))?;
            // Taken for dead and removed in the moment before it was locked?
            let there = fs::metadata(&path).map(|meta| meta.ino()).ok();
            if there == dir.metadata().map(|meta| meta.ino()).ok() && there.is_some() {
                return Ok(Self { trees: trees.clone(), path, _alive: dir });
            }
        }
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Deletes it with all that is in it. What it was for is done: if it can't be deleted, it stays for [`super::recover()`].
    pub fn remove(self) {}
}

impl Drop for WorkDir {
    fn drop(&mut self) {
        if is_needed(&self.trees, &self.path) {
            return;
        }
        if let Err(error) = durable::remove_any(&self.path) {
            log::warn!("{error}");
        }
    }
}

/// Whether a change that is still to be carried out needs what is in `dir`: what it replaced may be there.
fn is_needed(trees: &Trees, dir: &Path) -> bool {
    super::waiting::needs(trees, dir).unwrap_or(true)
}

/// Removes the build directories that nobody locks and whose process is gone. (Either alone could
/// err: a process id means nothing in another pid namespace, a lock nothing to a foreign program.)
pub(super) fn remove_dead(trees: &Trees) -> Vec<PathBuf> {
    let mut removed = Vec::new();
    for path in dead(trees).into_iter().filter(|path| !is_needed(trees, path)) {
        match durable::remove_any(&path) {
            Ok(()) => removed.push(path),
            Err(error) => log::warn!("{error}"),
        }
    }
    removed
}

/// Those directories, in order of their names.
pub fn dead(trees: &Trees) -> Vec<PathBuf> {
    let entries = fs::read_dir(trees.work()).into_iter().flatten().flatten();
    let mut dead: Vec<PathBuf> = entries.map(|entry| entry.path()).filter(|path| is_dead(path)).collect();
    dead.sort();
    dead
}

fn is_dead(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let pid: String = name.chars().take_while(char::is_ascii_digit).collect();
    if !pid.is_empty() && Path::new("/proc").join(&pid).exists() {
        return false;
    }
    File::open(path).is_ok_and(|dir| flock(&dir, FlockOperation::NonBlockingLockExclusive).is_ok())
}
