//! What this run has read of the DKMS tree, of manifests and of kernels' directories: each is read once, and again after
//! something has changed it.
//!
//! This run's own changes say what they touch ([`Snapshot::changed`]): every journalled one by itself, the few others where they
//! are made. A script that runs as root may change anything ([`Snapshot::forget_all`]). Against what **other processes** change:
//!
//! - Versions and artefacts of a name: every change of the tree is made under the tree lock, and each holder leaves other words in that
//!   lock's file. They are looked at before the memory is used, and when the lock is taken: if they are others, everything is
//!   forgotten. Two things are covered by the lock of their package alone (an artefact on probation that goes back, and build
//!   directories): taking that lock forgets its name.
//! - Manifests: a stat(2) tells whether the file is still the one that was read, so they are never old. That a file is absent is not
//!   remembered.
//! - depmod's indexes: likewise, by all their files.
//! - Kernels: the same stat of the kernel's directory, whose entries (`modules.order`, `kernel`) tell what it is. What lies deeper
//!   counts for what a removed kernel has left only; before that is deleted, it is looked at anew.
//!
//! No other thread sees what a change has made untrue: the lock of the memory is held while something is read, and a change
//! reports itself when it is made.

use std::any::Any;
use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::durable;
use crate::lock;
use crate::names::Release;
use crate::parallel;

use super::entry::{NameEntry, Names};
use super::identity::Identity;

/// What somebody has made of a file.
type Shared = Arc<dyn Any + Send + Sync>;

/// What this run has read; shared by all copies of its [`super::Trees`].
#[derive(Debug, Default)]
pub struct Snapshot {
    /// What was in the file of the tree lock when it was last looked at.
    lock: Mutex<Option<Vec<u8>>>,
    names: Mutex<Memory<Arc<Names>>>,
    packages: Mutex<Memory<Arc<NameEntry>>>,
    kernels: Mutex<Memory<(Identity, Arc<KernelDir>)>>,
    files: Mutex<Memory<(Identity, Shared)>>,
    indexes: Mutex<Memory<(Vec<Option<Identity>>, Shared)>>,
    /// The kernels whose index is stale, as they were before this run has changed anything.
    stale: Mutex<Option<Arc<Vec<Release>>>>,
    /// Whether this run has changed anything.
    acted: AtomicBool,
}

/// What is in `<install tree>/<K>`, as far as it tells what that is.
#[derive(Debug, Clone, Default)]
pub struct KernelDir {
    /// A kernel's own file is there: `modules.order`, `modules.builtin` or `vmlinuz`.
    pub has_kernels_file: bool,
    /// `kernel/` is there. Looked for without such a file only.
    pub has_kernel_dir: bool,
    /// Every file, relative to it. Looked for without such a file only.
    pub files: Vec<PathBuf>,
    /// It holds or names headers. Looked for without such a file only.
    pub has_headers: bool,
}

/// How often something was read: for the first time in this run, and after it was forgotten or had changed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Count {
    /// For the first time: how many there are.
    pub first: usize,
    /// Again.
    pub again: usize,
}

/// What was read in this run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Packages' names in the tree, with all their versions and artefacts.
    pub names: Count,
    /// Kernels' directories.
    pub kernels: Count,
    /// Manifests, of artefacts and beside kernels' modules.
    pub manifests: Count,
    /// depmod's indexes of kernels' modules.
    pub indexes: Count,
}

/// What was read at which path.
#[derive(Debug)]
struct Memory<T> {
    known: HashMap<PathBuf, T>,
    ever: HashSet<PathBuf>,
    count: Count,
}

impl<T> Default for Memory<T> {
    fn default() -> Self {
        Self { known: HashMap::new(), ever: HashSet::new(), count: Count::default() }
    }
}

impl<T: Clone> Memory<T> {
    fn get(&mut self, path: &Path, read: impl FnOnce() -> T) -> T {
        if let Some(known) = self.known.get(path) {
            return known.clone();
        }
        let value = read();
        self.put(path, value.clone());
        value
    }

    fn put(&mut self, path: &Path, value: T) {
        if self.ever.insert(path.to_owned()) {
            self.count.first += 1;
        } else {
            self.count.again += 1;
        }
        self.known.insert(path.to_owned(), value);
    }

    fn changed(&mut self, path: &Path) {
        self.known.retain(|known, _| !path.starts_with(known) && !known.starts_with(path));
    }
}

fn locked<T>(memory: &Mutex<T>) -> MutexGuard<'_, T> {
    memory.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What was read makes no other trees.
impl PartialEq for Snapshot {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Snapshot {}

impl Snapshot {
    /// This run has taken the tree lock, in whose file was `before`; it will leave `mark` there. Unless what was there is what it has seen before,
    /// another run has changed something.
    pub fn locked(&self, before: &[u8], mark: Vec<u8>) {
        let mut known = locked(&self.lock);
        if known.as_deref() != Some(before) {
            self.forget_all();
        }
        *known = Some(mark);
    }

    /// Forgets everything if another run has changed something, or is about to: the tree lock, whose file is at `path`, has had another holder,
    /// or has one now. Whoever may not read it goes by what is known.
    pub fn look_at_lock(&self, path: &Path) {
        let Ok(words) = durable::bytes(path) else { return };
        let mut known = locked(&self.lock);
        if lock::is_own(&words) || known.as_ref() == Some(&words) {
            return;
        }
        self.forget_all();
        *known = words.starts_with(lock::MARK.as_bytes()).then_some(words);
    }

    /// The names in the tree at `dir`, which `read` reads.
    pub fn names(&self, dir: &Path, read: impl FnOnce() -> Names) -> Arc<Names> {
        locked(&self.names).get(dir, || Arc::new(read()))
    }

    /// What the tree has of the names whose directories are `dirs`, which `read` reads side by side.
    pub fn packages(&self, dirs: &[PathBuf], read: impl Fn(&Path) -> NameEntry + Sync) -> Vec<Arc<NameEntry>> {
        let mut memory = locked(&self.packages);
        let unknown: Vec<&PathBuf> = dirs.iter().filter(|dir| !memory.known.contains_key(*dir)).collect();
        for (dir, found) in unknown.iter().zip(parallel::map(&unknown, |dir| Arc::new(read(dir)))) {
            memory.put(dir, found);
        }
        dirs.iter().filter_map(|dir| memory.known.get(dir).cloned()).collect()
    }

    /// What is in the kernel's directory `dir`, which `read` reads; `None` if it is no directory.
    pub fn kernel(&self, dir: &Path, read: impl FnOnce() -> KernelDir) -> Option<Arc<KernelDir>> {
        let mut memory = locked(&self.kernels);
        // Before it is read: what changes meanwhile shows the next time.
        let identity = std::fs::metadata(dir).ok().filter(std::fs::Metadata::is_dir).map(|meta| Identity::of(&meta))?;
        if let Some((_, known)) = memory.known.get(dir).filter(|(before, _)| *before == identity) {
            return Some(Arc::clone(known));
        }
        let found = Arc::new(read());
        memory.put(dir, (identity, Arc::clone(&found)));
        Some(found)
    }

    /// What `read` makes of the file at `path`, or has made of it, if it is still the same file.
    pub fn file<T: Any + Send + Sync, E>(
        &self,
        path: &Path,
        read: impl FnOnce() -> Result<Option<T>, E>,
    ) -> Result<Option<Arc<T>>, E> {
        let identity = match std::fs::metadata(path) {
            Ok(meta) if meta.is_file() => Identity::of(&meta),
            Err(error) if durable::missing(&error) => return Ok(None),
            // The error is found out, and said, by whoever reads.
            _ => return Ok(read()?.map(Arc::new)),
        };
        let mut memory = locked(&self.files);
        if let Some((_, known)) = memory.known.get(path).filter(|(before, _)| *before == identity) {
            if let Ok(known) = Arc::clone(known).downcast::<Option<Arc<T>>>() {
                return Ok(known.as_ref().clone());
            }
        }
        let found = read()?.map(Arc::new);
        memory.put(path, (identity, Arc::new(found.clone())));
        Ok(found)
    }

    /// What `read` makes of the `files` of depmod's index in the kernel's directory `dir`, or has made of them, if they are still the
    /// same.
    pub fn index<T: Any + Send + Sync>(&self, dir: &Path, files: &[&str], read: impl FnOnce() -> T) -> Arc<T> {
        let identity = |name: &&str| std::fs::metadata(dir.join(name)).ok().map(|meta| Identity::of(&meta));
        let identities: Vec<_> = files.iter().map(identity).collect();
        let mut memory = locked(&self.indexes);
        if let Some((_, known)) = memory.known.get(dir).filter(|(before, _)| *before == identities) {
            if let Ok(known) = Arc::clone(known).downcast::<T>() {
                return known;
            }
        }
        let found = Arc::new(read());
        memory.put(dir, (identities, found.clone()));
        found
    }

    /// The kernels whose index is stale, which `look` finds out; once, as long as this run has changed nothing.
    pub fn stale(&self, look: impl FnOnce() -> Vec<Release>) -> Arc<Vec<Release>> {
        if self.has_acted() {
            return Arc::new(look());
        }
        Arc::clone(locked(&self.stale).get_or_insert_with(|| Arc::new(look())))
    }

    /// This run has changed something.
    pub fn act(&self) {
        self.acted.store(true, Ordering::Relaxed);
    }

    /// Whether this run has changed anything.
    pub fn has_acted(&self) -> bool {
        self.acted.load(Ordering::Relaxed)
    }

    /// Something at, above or below `path` has changed.
    pub fn changed(&self, path: &Path) {
        locked(&self.names).changed(path);
        locked(&self.packages).changed(path);
        locked(&self.kernels).changed(path);
        locked(&self.files).changed(path);
    }

    /// Anything may have changed.
    pub fn forget_all(&self) {
        *locked(&self.stale) = None;
        self.changed(Path::new("/"));
    }

    /// What was read so far.
    pub fn counts(&self) -> Counts {
        Counts {
            names: locked(&self.packages).count,
            kernels: locked(&self.kernels).count,
            manifests: locked(&self.files).count,
            indexes: locked(&self.indexes).count,
        }
    }
}

#[cfg(test)]
#[path = "snapshot_tests.rs"]
mod tests;
