//! Caches that launchers write as the builds that they serve: one directory for each [`Digest`] of everything that the builds in
//! it have in common, below `/var/cache/dkms/launchers`.
//!
//! Only root gets there (0700). A build sees its cache elsewhere, by a mount of its own. While it is in use it has another name,
//! so no other run takes it, and one that was left by a kill is never used again. What a build leaves is not trusted: it comes back as
//! root's, is measured, and serves builds of the same digest alone.

use std::fs::File;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use fs_err as fs;
use rustix::fs::{FlockOperation, flock};

use crate::digest::Digest;
use crate::durable::{self, FileError};
use crate::sandbox::BuildUser;
use crate::sandbox::handover::{self, HandoverError};
use crate::tree::Trees;

/// The directory below `/var/cache/dkms`.
const PLACE: &str = "launchers";
/// What the name of a cache begins with while it is in use.
const IN_USE: &str = "in-use-";
/// In it: held by all that use a cache.
const LOCK: &str = "lock";
/// How much room all caches may take, in bytes, and how many files they may have.
const LARGEST: Size = Size { bytes: 1 << 30, files: 200_000 };

/// Why there is no cache.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Something can't be made.
    #[error(transparent)]
    File(#[from] FileError),
    /// Something can't be made.
    #[error("its cache can't be used: {0}")]
    Io(#[from] io::Error),
    /// It can't be given to the build.
    #[error("its cache can't be used: {0}")]
    Handover(#[from] HandoverError),
    /// The disk is nearly full.
    #[error("there is hardly any room left on the disk for its cache")]
    NoRoom,
}

/// A cache in use. Dropped, it is deleted.
#[derive(Debug)]
pub struct Cache {
    store: PathBuf,
    key: Digest,
    path: PathBuf,
    user: Option<BuildUser>,
    _in_use: File,
}

impl Cache {
    /// Takes the cache of `key`, or an empty one, and makes it the build's.
    ///
    /// # Errors
    /// If there can't be one.
    pub fn take(trees: &Trees, key: Digest, user: Option<BuildUser>) -> Result<Self, Error> {
        let store = trees.own_cache(PLACE)?;
        if durable::space(&store).is_some_and(|space| !space.has_room_for_cache(0)) {
            // It may be these that take it.
            collect(&store, Size::default());
            return Err(Error::NoRoom);
        }
        let lock = open_lock(&store)?;
        flock(&lock, FlockOperation::LockShared).map_err(io::Error::from)?;
        let path = store.join(format!("{IN_USE}{}", durable::unique()));
        match fs::rename(store.join(key.to_string()), &path) {
            Err(error) if durable::missing(&error) => make(&path)?,
            other => other?,
        }
        let cache = Self { store, key, path, user, _in_use: lock };
        if let Some(user) = user {
            if let Err(error) = handover::give(&cache.path, user) {
                log::info!("a launcher's cache begins anew: {error}");
                durable::remove_any(&cache.path)?;
                make(&cache.path)?;
                handover::give(&cache.path, user)?;
            }
        }
        Ok(cache)
    }

    /// Where it is, as an outer path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Keeps it for the next build; all processes of this one have ended. Lets go of those that were not used for the longest
    /// time, as far as there is no room for all. `now`: in seconds since 1970.
    ///
    /// # Errors
    /// If it can't be kept. It is gone then.
    pub fn put_back(self, now: u64) -> Result<(), Error> {
        let (store, kept) = (self.store.clone(), self.keep(now));
        collect(&store, LARGEST);
        kept
    }

    fn keep(self, now: u64) -> Result<(), Error> {
        if let Some(user) = self.user {
            handover::take_back(&self.path, user)?;
        }
        let Some(size) = Size::of(&self.path, 0).filter(|size| size.fits(LARGEST)) else {
            log::info!("a launcher's cache is deleted: it is too large, or holds something else than files");
            return Ok(());
        };
        if size.files > 0 {
            File::open(&self.path)?.set_modified(UNIX_EPOCH + Duration::from_secs(now))?;
            // One of another run that was quicker is as good.
            let _ = std::fs::rename(&self.path, self.store.join(self.key.to_string()));
        }
        Ok(())
    }
}

impl Drop for Cache {
    fn drop(&mut self) {
        if let Err(error) = durable::remove_any(&self.path) {
            log::debug!("{error}");
        }
    }
}

/// What a directory takes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Size {
    bytes: u64,
    files: u64,
}

impl Size {
    /// That of all in `dir`; `None` if something in it is neither file nor directory, or it can't be read.
    fn of(dir: &Path, depth: usize) -> Option<Self> {
        let mut size = Self::default();
        if depth > handover::DEEPEST {
            return None;
        }
        for entry in std::fs::read_dir(dir).ok()? {
            let entry = entry.ok()?;
            let meta = entry.metadata().ok()?;
            let more = match meta.file_type() {
                kind if kind.is_dir() => Self::of(&entry.path(), depth + 1)?,
                kind if kind.is_file() => Self { bytes: meta.blocks() * 512, files: 0 },
                _ => return None,
            };
            size = size.plus(more).plus(Self { bytes: 0, files: 1 });
        }
        Some(size)
    }

    fn plus(self, other: Self) -> Self {
        Self { bytes: self.bytes.saturating_add(other.bytes), files: self.files.saturating_add(other.files) }
    }

    fn fits(self, most: Self) -> bool {
        self.bytes <= most.bytes && self.files <= most.files
    }
}

fn make(path: &Path) -> io::Result<()> {
    fs::create_dir(path)?;
    fs::set_permissions(path, std::fs::Permissions::from_mode(0o700))
}

fn open_lock(store: &Path) -> io::Result<File> {
    let file = fs::OpenOptions::new().create(true).truncate(false).write(true).open(store.join(LOCK))?;
    Ok(file.into_parts().0)
}

/// Deletes what was not used for the longest time until the rest fits into `most`, and what killed runs left. Best effort: the next
/// run tries again.
fn collect(store: &Path, most: Size) {
    // Nobody uses one.
    let alone = open_lock(store).ok().filter(|lock| flock(lock, FlockOperation::NonBlockingLockExclusive).is_ok());
    let mut kept = Vec::new();
    for entry in std::fs::read_dir(store).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let Some(name) = name.to_str() else { continue };
        if name.starts_with(IN_USE) && alone.is_some() {
            remove(&entry.path());
        } else if name.parse::<Digest>().is_ok() {
            let time = entry.metadata().and_then(|meta| meta.modified()).unwrap_or(UNIX_EPOCH);
            kept.push((time, entry.path()));
        }
    }
    kept.sort();
    let mut total = Size::default();
    // The latest first.
    for (_, path) in kept.into_iter().rev() {
        match Size::of(&path, 0).map(|size| total.plus(size)).filter(|size| size.fits(most)) {
            Some(size) => total = size,
            None => remove(&path),
        }
    }
}

fn remove(path: &Path) {
    if let Err(error) = durable::remove_any(path) {
        log::debug!("{error}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::root::Root;

    fn system() -> (tempfile::TempDir, Trees) {
        let tmp = tempfile::tempdir().unwrap();
        let trees = Trees::new(Root::at(tmp.path()).unwrap());
        (tmp, trees)
    }

    fn take(trees: &Trees, key: &str) -> Cache {
        Cache::take(trees, Digest::of(key.as_bytes()), None).unwrap()
    }

    /// What the cache of a key has, which is not used up by that.
    fn has(trees: &Trees, key: &str) -> bool {
        trees.cache(PLACE).join(Digest::of(key.as_bytes()).to_string()).join("file").exists()
    }

    #[test]
    fn a_cache_is_of_one_key_and_in_one_use() {
        let (_tmp, trees) = system();
        let one = take(&trees, "a");
        fs::write(one.path().join("file"), "").unwrap();
        let other = take(&trees, "a");
        assert!(fs::read_dir(other.path()).unwrap().next().is_none(), "two builds use one cache");
        one.put_back(1).unwrap();
        fs::write(other.path().join("file"), "").unwrap();
        other.put_back(2).unwrap();
        assert!(has(&trees, "a") && !take(&trees, "b").path().join("file").exists());
        let again = take(&trees, "a");
        assert!(again.path().join("file").exists() && !has(&trees, "a"));
        drop(again);
        let left: Vec<_> = fs::read_dir(trees.cache(PLACE)).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, [LOCK], "one that was not put back is gone");
    }

    #[test]
    fn what_is_no_file_is_not_kept() {
        let (_tmp, trees) = system();
        let planted = take(&trees, "a");
        fs::create_dir(planted.path().join("dir")).unwrap();
        std::os::unix::fs::symlink("/etc/shadow", planted.path().join("dir/link")).unwrap();
        fs::write(planted.path().join("file"), "").unwrap();
        planted.put_back(1).unwrap();
        assert!(!has(&trees, "a"));
    }

    #[test]
    fn the_oldest_go_first_and_what_is_in_use_stays() {
        let (_tmp, trees) = system();
        let keep = |key: &str, now| {
            let cache = take(&trees, key);
            fs::write(cache.path().join("file"), "").unwrap();
            cache.put_back(now).unwrap();
        };
        for (key, now) in [("a", 3), ("b", 1), ("c", 2)] {
            keep(key, now);
        }
        let used = take(&trees, "d");
        let store = trees.cache(PLACE);
        let left_by_a_kill = store.join(format!("{IN_USE}1-x"));
        fs::create_dir(&left_by_a_kill).unwrap();
        collect(&store, Size { bytes: 1 << 30, files: 2 });
        assert!(has(&trees, "a") && !has(&trees, "b") && has(&trees, "c"));
        assert!(used.path().exists() && left_by_a_kill.exists());
        drop(used);
        collect(&store, Size { bytes: 1 << 30, files: 1 });
        assert!(has(&trees, "a") && !has(&trees, "c") && !left_by_a_kill.exists());
    }
}
