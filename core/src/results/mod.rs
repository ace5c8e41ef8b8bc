//! The result cache: what was built once is not built again from the same inputs.
//!
//! A result is what make has made of a package for a kernel, before it is signed and compressed: another key or
//! another compression needs no compiler. It is kept under the digest of its [`Key`], which names every input, in
//! `/var/cache/dkms/results`, for all DKMS trees of the root. [`unseen`] says which builds are not kept: those
//! that may have read what no key names.
//!
//! Only root gets there (0700), and writes what it has read through `sandbox::beneath`. An entry is verified when it is used; one that
//! is damaged is deleted. Nothing that goes wrong here is an error of a build. Entries appear and go as
//! a whole, so runs side by side need no lock.

pub mod entry;
pub mod key;
pub mod outline;
pub mod unseen;

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::context::Context;
use crate::digest::Digest;
use crate::durable::{self, FileError};
use crate::tree::Trees;

pub use entry::Entry;
pub use key::Key;
pub use outline::Outline;

/// The store's directory below `/var/cache/dkms`.
const PLACE: &str = "results";

/// The results that are kept.
#[derive(Debug)]
pub struct Results<'a> {
    trees: &'a Trees,
    /// How much they may be, in bytes.
    limit: u64,
    now: u64,
}

impl<'a> Results<'a> {
    /// Those of this root; `None` if none are to be kept (`result_cache="no"`).
    pub fn of(ctx: &'a Context) -> Option<Self> {
        Some(Self { trees: &ctx.trees, limit: ctx.framework.result_cache?, now: ctx.now })
    }

    /// Those of `trees`, up to `limit` bytes; `now` is in seconds since 1970.
    pub fn new(trees: &'a Trees, limit: u64, now: u64) -> Self {
        Self { trees, limit, now }
    }

    /// The keys of all that is kept.
    pub fn keys(&self) -> Vec<Digest> {
        let dir = self.trees.cache(PLACE);
        let all = if durable::is_own_dir(&dir) { entries(&dir) } else { Vec::new() };
        let mut keys: Vec<Digest> =
            all.iter().filter_map(|(_, path, _)| path.file_name()?.to_str()?.parse().ok()).collect();
        keys.sort();
        keys
    }

    /// What was built from exactly these inputs, verified; `None` if there is nothing, or nothing that can be used here.
    pub fn take(&self, key: &Digest, wanted: &entry::Wanted<'_>) -> Option<Entry> {
        let entry = self.find(key)?;
        let path = self.trees.cache(PLACE).join(key.to_string());
        if let Err(why) = entry.serves(wanted) {
            log::info!("{} in the result cache is not used: {why}", path.display());
            return None;
        }
        // Who was used last stays longest.
        let touched = std::fs::File::options().append(true).open(&path).and_then(|file| file.set_modified(self.time()));
        if let Err(error) = touched {
            log::debug!("{}: {error}", path.display());
        }
        Some(entry)
    }

    /// The same, whether or not it can be used here.
    pub fn find(&self, key: &Digest) -> Option<Entry> {
        let dir = self.trees.cache(PLACE);
        if !durable::is_own_dir(&dir) {
            return None;
        }
        let path = dir.join(key.to_string());
        let bytes = match durable::read_at_most(&path, self.limit) {
            Ok(bytes) => bytes,
            Err(error) if durable::missing(&error) => return None,
            Err(error) => {
                log::warn!("the result cache is passed over: {}: {error}", path.display());
                return None;
            }
        };
        match Entry::parse(&bytes, key) {
            Ok(entry) => Some(entry),
            Err(why) => {
                log::warn!("{} in the result cache is deleted: {why}", path.display());
                self.drop(key);
                None
            }
        }
    }

    /// Whether there is something of this key, unverified.
    pub fn has(&self, key: &Digest) -> bool {
        let dir = self.trees.cache(PLACE);
        durable::is_own_dir(&dir) && dir.join(key.to_string()).is_file()
    }

    /// Keeps a result, and lets go of those that were not used for the longest time, as far as there is no room for all.
    ///
    /// # Errors
    /// If it can't be written. That of the same key that was there before is there still.
    pub fn keep(&self, entry: &Entry) -> Result<Kept, FileError> {
        let (key, bytes) = entry.to_bytes().map_err(|error| durable::at("write", Path::new(PLACE))(error.into()))?;
        let size = bytes.len() as u64;
        if size > self.limit {
            return Ok(Kept::No("it is larger than result_cache_size"));
        }
        let dir = self.trees.own_cache(PLACE)?;
        durable::sweep(&dir);
        self.make_room(&dir, size, &key);
        if durable::space(&dir).is_some_and(|space| !space.has_room_for_cache(size.saturating_mul(2))) {
            return Ok(Kept::No("there is hardly any room left on the disk"));
        }
        let path = dir.join(key.to_string());
        durable::write_atomic(&path, &bytes, 0o600)?;
        // The age of all counts by one clock.
        let _ = std::fs::File::options().append(true).open(&path).and_then(|file| file.set_modified(self.time()));
        Ok(Kept::Yes)
    }

    /// Deletes a result that is of no use.
    pub fn drop(&self, key: &Digest) {
        if let Err(error) = durable::remove_any(&self.trees.cache(PLACE).join(key.to_string())) {
            log::debug!("{error}");
        }
    }

    fn time(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(self.now)
    }

    /// Deletes what was not used for the longest time, until `size` more bytes fit; that of `key` is going to be replaced.
    fn make_room(&self, dir: &Path, size: u64, key: &Digest) {
        let mut all = entries(dir);
        all.retain(|(_, path, _)| !path.ends_with(key.to_string()));
        all.sort();
        let mut total: u64 = all.iter().map(|(_, _, size)| size).sum();
        for (_, path, length) in all {
            if total.saturating_add(size) <= self.limit {
                break;
            }
            match durable::remove_any(&path) {
                Ok(()) => total = total.saturating_sub(length),
                Err(error) => log::debug!("{error}"),
            }
        }
    }
}

/// What became of a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// It is kept.
    Yes,
    /// It is not, and why.
    No(&'static str),
}

/// When each entry was last used, its path and its size.
fn entries(dir: &Path) -> Vec<(SystemTime, PathBuf, u64)> {
    let found = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let entry = |entry: std::fs::DirEntry| {
        let meta = entry.metadata().ok()?;
        // What is being written goes on its own, or is swept away.
        let is_ours = entry.file_name().to_str().is_some_and(|name| name.parse::<Digest>().is_ok());
        is_ours.then(|| (meta.modified().unwrap_or(UNIX_EPOCH), entry.path(), meta.len()))
    };
    found.filter_map(entry).collect()
}

#[cfg(test)]
mod tests;
