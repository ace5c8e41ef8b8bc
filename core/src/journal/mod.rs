//! Changes that are made as a whole or not at all, across an error, a kill and a power loss.
//!
//! A [`Change`] collects what is to be done; [`Change::commit`] does it:
//!
//! 1. The journal is written, saying "roll back", with the names of all temporaries.
//! 2. Everything new is written and fsynced beside its destination (`.dkms-new-*`). All space is
//!    taken here: what follows are renames and deletions.
//! 3. The journal is replaced by one that says "roll forward", with the identities of all objects.
//! 4. New objects are exchanged with what they replace, or renamed into place. Then, if modules are to go, the
//!    kernel's index is made without them ([`BeforeGoing`]). Then what is to go
//!    is moved aside (`.dkms-old-*`), so that nothing working goes before its replacement is there.
//! 5. The directories are fsynced and the manifest beside the modules is sealed.
//! 6. What was moved aside is deleted, the directories that this changes are fsynced, and the journal is deleted last.
//!
//! An error in 2 or 4 undoes everything. A run that finds a journal ([`recover()`]) does what it says.
//! All steps are idempotent and recognise their objects by kind, inode, size and modification time
//! (not by device: its number changes from boot to boot), so doing them again is always right.
//! The caller holds the tree lock throughout.

mod recover;
mod reserve;
mod state;
mod step;
mod swap;
mod waiting;
mod work;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use crate::durable::{self, FileError, NEW, OLD, at};
use crate::names::Release;
use crate::tree::Trees;
use crate::tree::manifest::KernelManifest;

pub use recover::{Recovered, Unfinished, recover, unfinished};
pub use swap::{Swap, swap_in};
pub use work::{WorkDir, dead as dead_work};

use state::{Direction, Journal};
use step::{Executor, Put, Take, object_at};

/// What is to be done for a kernel when everything new is in place, and before these modules of its go; at a recovery, too.
pub type BeforeGoing<'a> = &'a dyn Fn(&Release, &[&Path]);

/// Why a change was not made.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// A file operation failed.
    #[error(transparent)]
    File(#[from] FileError),
    /// Somebody else put something where we were about to.
    #[error("{} was changed by another process; check it and try again", .0.display())]
    Changed(PathBuf),
    /// Something that we had prepared is gone.
    #[error("{} was deleted by another process; try again", .0.display())]
    Lost(PathBuf),
    /// A change failed, and so did undoing it.
    #[error("{why}; undoing it failed too ({undo}): the next dkms command will finish this")]
    Stuck {
        /// What went wrong first.
        why: Box<JournalError>,
        /// What went wrong then.
        undo: Box<JournalError>,
    },
    /// An earlier change of the same files is still to be carried out.
    #[error(
        "an earlier change of the same files ({0}) was interrupted and can't be completed yet: mend what the warning says, and try again"
    )]
    Pending(String),
    /// A test stops here as a kill would.
    #[doc(hidden)]
    #[error("stopped by a test")]
    Stopped,
}

/// A change under construction. Nothing on the disk is touched before [`Change::commit`].
///
/// New things come into place in the order of the calls; only then does what is removed go, again
/// in the order of the calls; empty directories are removed last.
#[derive(Debug)]
pub struct Change<'a> {
    trees: &'a Trees,
    id: String,
    what: String,
    sources: Vec<Source>,
    puts: Vec<Put>,
    takes: Vec<Take>,
    prunes: Vec<(PathBuf, PathBuf)>,
    seal: Option<Release>,
    /// What went wrong while it was put together.
    error: Option<FileError>,
    executor: Executor,
}

/// Where the content of something new comes from; one for each of `Change::puts`.
#[derive(Debug)]
enum Source {
    Bytes(Vec<u8>, u32),
    Copy(PathBuf, u32),
    Link(PathBuf),
    /// The same inode under another name; a copy across file systems.
    Same(PathBuf),
    /// A directory that the caller has made.
    Directory,
}

impl<'a> Change<'a> {
    /// An empty change; `what` completes "the change …" in messages: "install hello/1.0 for 6.1".
    pub fn new(trees: &'a Trees, what: impl Into<String>) -> Self {
        Self {
            trees,
            id: durable::unique(),
            what: what.into(),
            sources: Vec::new(),
            puts: Vec::new(),
            takes: Vec::new(),
            prunes: Vec::new(),
            seal: None,
            error: None,
            executor: Executor::default(),
        }
    }

    /// Puts a file with this content and exactly this mode at `to`, replacing what is there.
    pub fn stage_bytes(&mut self, bytes: Vec<u8>, mode: u32, to: &Path) -> &mut Self {
        self.put(Source::Bytes(bytes, mode), to)
    }

    /// Makes `beside` the manifest beside the modules of `release`. One that names nothing goes.
    pub fn stage_kernel_manifest(&mut self, release: &Release, beside: &KernelManifest) -> &mut Self {
        let path = self.trees.kernel_manifest(release);
        match beside.to_bytes() {
            Ok(_) if beside.installed.is_empty() => return self.remove_file(&path),
            Ok(bytes) => return self.stage_bytes(bytes, 0o644, &path),
            Err(error) => self.error = Some(at("write", &path)(error)),
        }
        self
    }

    /// Puts a copy of the regular file `from` at `to`, replacing what is there.
    pub fn stage_copy(&mut self, from: &Path, mode: u32, to: &Path) -> &mut Self {
        self.put(Source::Copy(from.to_owned(), mode), to)
    }

    /// Puts a symbolic link at `to`, replacing what is there.
    pub fn stage_symlink(&mut self, target: impl Into<PathBuf>, to: &Path) -> &mut Self {
        self.put(Source::Link(target.into()), to)
    }

    /// Moves somebody else's module into the archive, after its `.origin` file: one line,
    /// `origin`, the inside path it came from. Something new may be staged at `from` too.
    pub fn archive(&mut self, from: &Path, to: &Path, origin: &Path) -> &mut Self {
        let text = format!("{}\n", origin.display());
        self.stage_bytes(text.into_bytes(), 0o644, &origin_file(to));
        self.put(Source::Same(from.to_owned()), to);
        self.remove_file(from)
    }

    /// Moves a module back out of the archive, replacing what is at `to`; its `.origin` goes too.
    pub fn restore(&mut self, archived: &Path, to: &Path) -> &mut Self {
        self.put(Source::Same(archived.to_owned()), to);
        self.remove_file(archived);
        self.remove_file(&origin_file(archived))
    }

    /// Removes a file or link: the one that is there now, and no other that comes meanwhile.
    pub fn remove_file(&mut self, path: &Path) -> &mut Self {
        let path = self.trees.settled(path);
        match object_at(&path) {
            Ok(Some(object)) => {
                let aside = self.beside(&path, OLD, self.takes.len());
                self.takes.push(Take { path, aside, object });
            }
            Ok(None) => {}
            Err(error) => self.error = Some(error),
        }
        self
    }

    /// Removes a directory with all that is in it.
    pub fn remove_dir_all(&mut self, path: &Path) -> &mut Self {
        self.remove_file(path)
    }

    /// Puts the directory `staged`, made by the caller on the same file system, at `to`; what was
    /// there is deleted at the end.
    pub fn replace_dir(&mut self, staged: &Path, to: &Path) -> &mut Self {
        self.put(Source::Directory, to);
        if let Some(put) = self.puts.last_mut() {
            staged.clone_into(&mut put.temp);
            put.owned = false;
        }
        self
    }

    /// At the end, removes `path` and the directories above it while they are empty, below `up_to`.
    pub fn prune_empty_dirs(&mut self, path: &Path, up_to: &Path) -> &mut Self {
        self.prunes.push((self.trees.settled(path), self.trees.settled(up_to)));
        self
    }

    /// At the end, fills the missing identities in the manifest beside this kernel's modules, which
    /// is to be staged without them ([`crate::tree::manifest::KernelManifest::seal`]).
    pub fn seal(&mut self, release: &Release) -> &mut Self {
        self.seal = Some(release.clone());
        self
    }

    /// Makes the change. After an error everything is as it was, unless the error is
    /// [`JournalError::Stuck`]. The caller holds the tree lock.
    pub fn commit(self) -> Result<(), JournalError> {
        self.commit_after(&|_, _| {})
    }

    /// The same; `before_going` is called when everything new is in place, and before modules go.
    pub fn commit_after(mut self, before_going: BeforeGoing<'_>) -> Result<(), JournalError> {
        if let Some(error) = self.error {
            return Err(error.into());
        }
        for (n, put) in self.puts.iter_mut().enumerate() {
            put.old = object_at(&put.to)?.map(|object| (object, named(&put.to, OLD, &self.id, &format!("p{n}"))));
        }
        let mut journal = Journal {
            id: self.id,
            what: self.what,
            direction: Direction::Back,
            made: missing_parents(&self.puts),
            puts: self.puts,
            takes: self.takes,
            prunes: self.prunes,
            seal: self.seal,
            place: None,
        };
        let mut executor = self.executor;
        durable::own_dirs(&self.trees.journals())?;
        let paths: Vec<&Path> = journal.touched().collect();
        if let Some(what) = waiting::in_the_way(self.trees, &journal.id, &paths)? {
            return Err(JournalError::Pending(what));
        }
        make_room(self.trees, &self.sources);
        let done = stage(&mut journal, &self.sources, self.trees, &mut executor).and_then(|()| {
            journal.direction = Direction::Forward;
            journal.store(self.trees)?;
            journal.forward(self.trees, &mut executor, false, before_going)
        });
        match done {
            Ok(()) => journal.finish(self.trees, &mut executor, false),
            Err(JournalError::Stopped) => Err(JournalError::Stopped),
            Err(why) => {
                journal.direction = Direction::Back;
                // If this can't be written, a kill while undoing makes the next run do the change.
                let _ = journal.store(self.trees);
                match journal.roll_back(self.trees, &mut executor) {
                    Ok(()) => Err(why),
                    Err(JournalError::Stopped) => Err(JournalError::Stopped),
                    Err(undo) => Err(JournalError::Stuck { why: Box::new(why), undo: Box::new(undo) }),
                }
            }
        }
    }

    /// Gives a removal the space that is kept back, if the disk is full: for what has to be written before the change.
    pub fn make_room(&self) {
        make_room(self.trees, &self.sources);
    }

    fn put(&mut self, source: Source, to: &Path) -> &mut Self {
        let to = self.trees.settled(to);
        let temp = self.beside(&to, NEW, self.puts.len());
        self.sources.push(source);
        self.puts.push(Put { temp, to, owned: true, new: None, old: None });
        self
    }

    fn beside(&self, path: &Path, prefix: &str, n: usize) -> PathBuf {
        named(path, prefix, &self.id, &n.to_string())
    }
}

fn named(path: &Path, prefix: &str, id: &str, n: &str) -> PathBuf {
    path.with_file_name(format!("{prefix}{id}-{n}"))
}

/// `<file>.origin`, beside an archived module.
pub fn origin_file(archived: &Path) -> PathBuf {
    let mut name = archived.as_os_str().to_owned();
    name.push(".origin");
    PathBuf::from(name)
}

fn make_room(trees: &Trees, sources: &[Source]) {
    reserve::keep(trees);
    if takes_away(sources) {
        reserve::spend(trees);
    }
}

/// Whether there is space for more than what a removal needs.
pub fn has_space(trees: &Trees) -> bool {
    reserve::has_space(trees)
}

/// Whether a change needs no space to speak of: only manifests, records and links are new.
fn takes_away(sources: &[Source]) -> bool {
    let needed = sources.iter().map(|source| match source {
        Source::Bytes(bytes, _) => bytes.len() as u64,
        Source::Link(_) | Source::Same(_) | Source::Directory => 0,
        Source::Copy(..) => u64::MAX,
    });
    needed.fold(0, u64::saturating_add) < reserve::SIZE / 2
}

/// The directories that must be made, each before those in it.
fn missing_parents(puts: &[Put]) -> Vec<PathBuf> {
    let mut missing: Vec<PathBuf> = puts
        .iter()
        .filter_map(|put| put.to.parent())
        .flat_map(|dir| dir.ancestors().take_while(|d| !d.exists()))
        .map(Path::to_owned)
        .collect();
    missing.sort();
    missing.dedup();
    missing
}

fn stage(
    journal: &mut Journal,
    sources: &[Source],
    trees: &Trees,
    executor: &mut Executor,
) -> Result<(), JournalError> {
    executor.checkpoint()?;
    journal.store(trees)?;
    for dir in &journal.made {
        executor.checkpoint()?;
        durable::own_dirs(dir)?;
    }
    for (put, source) in journal.puts.iter().zip(sources) {
        executor.checkpoint()?;
        write_source(source, &put.temp)?;
    }
    // Written first, all of them, and fsynced then: the file system does it in one go.
    for put in &mut journal.puts {
        executor.checkpoint()?;
        durable::sync_tree(&put.temp)?;
        put.new = object_at(&put.temp)?;
    }
    journal.sync_dirs()
}

fn write_source(source: &Source, temp: &Path) -> Result<(), FileError> {
    match source {
        Source::Bytes(bytes, mode) => durable::write_new(temp, bytes, *mode).map(drop),
        Source::Copy(from, mode) => durable::copy_new(from, temp, *mode).map(drop),
        Source::Link(target) => symlink(target, temp).map_err(at("create the link", temp)),
        Source::Same(from) => match fs::hard_link(from, temp) {
            Ok(()) => Ok(()),
            Err(error) if durable::missing(&error) => Err(at("look at", from)(error)),
            // Another file system, or one without hard links: whatever else is wrong, copying
            // it finds out.
            Err(_) => durable::copy_as_is(from, temp),
        },
        Source::Directory => open_to_all(temp),
    }
}

/// An artefact's directory is readable for everybody, whatever it was while it was private.
fn open_to_all(dir: &Path) -> Result<(), FileError> {
    let meta = fs::symlink_metadata(dir).map_err(at("look at", dir))?;
    if meta.mode() & 0o777 != 0o755 {
        fs::set_permissions(dir, fs::Permissions::from_mode(0o755)).map_err(at("set the mode of", dir))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
