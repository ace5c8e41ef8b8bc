//! The journal file, and doing or undoing what it says.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::durable::{self, FileError, NEW, OLD, at};
use crate::names::Release;
use crate::tree::Trees;
use crate::tree::below;
use crate::tree::manifest::{self, KernelManifest};

use super::step::{Executor, Put, Take, Unsynced, object_at};
use super::{BeforeGoing, JournalError};

/// What whoever finds the journal is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Direction {
    Forward,
    Back,
}

/// A change under way. Its paths are those of this process; the file holds inside paths, so that
/// a system that was worked on from outside recovers when it is booted.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Journal {
    pub id: String,
    pub what: String,
    pub direction: Direction,
    /// Directories made for it, each before those in it.
    pub made: Vec<PathBuf>,
    pub puts: Vec<Put>,
    pub takes: Vec<Take>,
    /// Directories to remove while empty, each with the one above it that stays.
    pub prunes: Vec<(PathBuf, PathBuf)>,
    /// The kernel whose manifest is to be sealed.
    pub seal: Option<Release>,
    /// The inode number of the directory of journals: another one tells that all of this is a copy.
    #[serde(default)]
    pub place: Option<u64>,
}

/// The inode number of the directory of journals.
fn place(trees: &Trees) -> Option<u64> {
    use std::os::unix::fs::MetadataExt;
    fs::metadata(trees.journals()).ok().map(|meta| meta.ino())
}

/// However far a change gets: what it touches is read again.
struct Forgets<'a> {
    journal: &'a Journal,
    trees: &'a Trees,
}

impl Drop for Forgets<'_> {
    fn drop(&mut self) {
        self.journal.forget_read(self.trees);
    }
}

impl Journal {
    pub fn path(&self, trees: &Trees) -> PathBuf {
        trees.journals().join(format!("{}.json", self.id))
    }

    /// Writes the journal, durably, in place of its earlier state.
    pub fn store(&self, trees: &Trees) -> Result<(), FileError> {
        let path = self.path(trees);
        let bytes = self.bytes(trees).map_err(|e| at("write", &path)(e.into()))?;
        durable::write_atomic(&path, &bytes, 0o600)
    }

    pub fn bytes(&self, trees: &Trees) -> Result<Vec<u8>, serde_json::Error> {
        manifest::to_bytes(&Self { place: place(trees), ..self.clone().with_paths(|path| trees.shown(path)) })
    }

    /// Parses a journal file; the error says what is wrong with it.
    pub fn parse(bytes: &[u8], trees: &Trees) -> Result<Self, String> {
        let journal: Self = manifest::from_bytes(bytes)?;
        journal.check(trees)?;
        Ok(journal.with_paths(|inside| outer(trees, inside)))
    }

    /// What a journal names is moved and deleted: no path of it may lead out of where it seems to be, and what is deleted
    /// without a look must have a name of ours.
    fn check(&self, trees: &Trees) -> Result<(), String> {
        let named =
            |path: &Path, prefix: &str| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(prefix));
        let temps = self.puts.iter().filter(|put| put.owned).map(|put| (&put.temp, NEW));
        let asides = self.puts.iter().filter_map(|put| put.old.as_ref()).map(|(_, aside)| (aside, OLD));
        let taken = self.takes.iter().map(|take| (&take.aside, OLD));
        if let Some((path, _)) = temps.chain(asides).chain(taken).find(|(path, prefix)| !named(path, prefix)) {
            return Err(format!("{} is no name of a temporary file", path.display()));
        }
        let mut crooked = None;
        self.clone().with_paths(|path| {
            if !is_usable(trees, path) {
                crooked = Some(path.to_owned());
            }
            PathBuf::new()
        });
        crooked.map_or(Ok(()), |path| Err(format!("the path {} leads out of its directory", path.display())))
    }

    fn with_paths(mut self, mut f: impl FnMut(&Path) -> PathBuf) -> Self {
        let puts = self.puts.iter_mut().flat_map(|put| {
            let aside = put.old.as_mut().map(|(_, aside)| aside);
            [&mut put.temp, &mut put.to].into_iter().chain(aside)
        });
        let takes = self.takes.iter_mut();
        let prunes = self.prunes.iter_mut();
        for path in puts
            .chain(self.made.iter_mut())
            .chain(takes.flat_map(|take| [&mut take.path, &mut take.aside]))
            .chain(prunes.flat_map(|(dir, up_to)| [dir, up_to]))
        {
            *path = f(path);
        }
        self
    }

    /// Where the journal was copied with everything that it speaks of (a backup, a restored snapshot): recognises the copies
    /// by kind, size and time. The path of what can't be recognised, if something can't.
    pub fn adopt(&mut self, trees: &Trees) -> Result<Option<PathBuf>, FileError> {
        if self.place.is_none() || self.place == place(trees) {
            return Ok(None);
        }
        // Sealing has written it again.
        let sealed = self.seal.as_ref().map(|release| trees.kernel_manifest(release));
        for put in &mut self.puts {
            if let Some(path) = put.adopt()?.filter(|path| sealed.as_ref() != Some(path)) {
                return Ok(Some(path));
            }
        }
        for take in &mut self.takes {
            // What has been put in its place has taken it away.
            if let Some(path) = take.adopt()?.filter(|path| !self.puts.iter().any(|put| put.to == *path)) {
                return Ok(Some(path));
            }
        }
        Ok(None)
    }

    /// Does every step that has not been done. `again`: this is a recovery; what is neither
    /// prepared nor in place any more was put in place and replaced since: that is accepted.
    pub fn forward(
        &self,
        trees: &Trees,
        executor: &mut Executor,
        again: bool,
        before_going: BeforeGoing<'_>,
    ) -> Result<(), JournalError> {
        let _forgets = Forgets { journal: self, trees };
        for put in &self.puts {
            executor.checkpoint()?;
            match put.forward(executor) {
                Err(JournalError::Lost(_)) if again => {
                    log::info!("{} was replaced since", put.to.display());
                }
                other => other?,
            }
        }
        let going = self.going(trees)?;
        if !going.is_empty() {
            self.sync_dirs()?;
            self.forget_read(trees);
        }
        for (release, modules) in going {
            executor.checkpoint()?;
            before_going(&release, &modules);
        }
        for take in &self.takes {
            executor.checkpoint()?;
            take.forward()?;
        }
        executor.checkpoint()?;
        self.sync_dirs()
    }

    /// The modules that are still there, and are to go without another in their place.
    fn going(&self, trees: &Trees) -> Result<BTreeMap<Release, Vec<&Path>>, JournalError> {
        let mut going: BTreeMap<Release, Vec<&Path>> = BTreeMap::new();
        for take in &self.takes {
            let release = take
                .path
                .strip_prefix(&trees.install.outer)
                .ok()
                .and_then(|rest| rest.iter().next()?.to_str()?.parse().ok());
            let is_module = take.path.file_name().is_some_and(|name| name.to_string_lossy().contains(".ko"));
            if let (Some(release), true) = (release, is_module && object_at(&take.path)? == Some(take.object)) {
                going.entry(release).or_default().push(&take.path);
            }
        }
        Ok(going)
    }

    /// After [`Journal::forward`]: seals, deletes what is left over, and the journal.
    /// What can't be deleted is left, with the journal, for the next run: the change is made.
    pub fn finish(&self, trees: &Trees, executor: &mut Executor, again: bool) -> Result<(), JournalError> {
        let _forgets = Forgets { journal: self, trees };
        executor.stops_only();
        executor.checkpoint()?;
        let mut unsynced = Unsynced::default();
        if let Some(release) = &self.seal {
            if let Err(error) = seal(trees, release, &self.id, again, &mut unsynced) {
                // Only makes later comparisons slower.
                log::warn!("{error}");
            }
        }
        // What an interrupted change kept until now may have been the last thing that kept a directory of the tree.
        let emptied = || if again { self.prune_tree(trees) } else { Ok(()) };
        let clean = self.clean(executor, unsynced, again);
        match clean.and_then(|()| emptied()).and_then(|()| self.delete(trees)) {
            Err(JournalError::File(error)) => {
                log::warn!("left over from {}: {error}", self.what);
                Ok(())
            }
            other => other,
        }
    }

    /// Deletes what is left over, and syncs the directories that are `unsynced` then; all if a killed run may have begun it
    /// (`again`).
    fn clean(&self, executor: &mut Executor, mut unsynced: Unsynced, again: bool) -> Result<(), JournalError> {
        for put in &self.puts {
            executor.checkpoint()?;
            put.clean(true, &mut unsynced)?;
        }
        for take in &self.takes {
            executor.checkpoint()?;
            take.clean(&mut unsynced)?;
        }
        if again {
            self.sync_dirs()?;
        } else {
            unsynced.sync()?;
        }
        for (dir, up_to) in &self.prunes {
            executor.checkpoint()?;
            let was_there = dir.is_dir();
            durable::prune(dir, up_to)?;
            let stays = dir.ancestors().find(|d| d.is_dir()).filter(|stays| again || (was_there && *stays != *dir));
            if let Some(stays) = stays {
                durable::sync(stays)?;
            }
        }
        executor.checkpoint()
    }

    fn prune_tree(&self, trees: &Trees) -> Result<(), JournalError> {
        let (top, own) = (&trees.dkms.outer, trees.own());
        for dir in self.touched().filter_map(Path::parent).filter(|dir| dir.starts_with(top) && !dir.starts_with(&own))
        {
            durable::prune(dir, top)?;
        }
        Ok(())
    }

    /// Undoes everything that has been done, deletes the temporaries and the journal.
    pub fn roll_back(&self, trees: &Trees, executor: &mut Executor) -> Result<(), JournalError> {
        let _forgets = Forgets { journal: self, trees };
        for take in self.takes.iter().rev() {
            executor.checkpoint()?;
            match take.back() {
                Err(JournalError::Changed(path)) => {
                    log::warn!(
                        "{} has come meanwhile; what was there is kept as {}",
                        path.display(),
                        take.aside.display()
                    );
                }
                other => other?,
            }
        }
        for put in self.puts.iter().rev() {
            executor.checkpoint()?;
            put.back(executor)?;
        }
        self.sync_dirs()?;
        let mut unsynced = Unsynced::default();
        for put in self.puts.iter().rev() {
            executor.checkpoint()?;
            put.clean(false, &mut unsynced)?;
        }
        // All: a killed run may have deleted some of it.
        self.sync_dirs()?;
        for dir in self.made.iter().rev() {
            executor.checkpoint()?;
            // One that is not empty has found another use.
            let _ = fs::remove_dir(dir);
        }
        executor.checkpoint()?;
        self.delete(trees)
    }

    pub fn delete(&self, trees: &Trees) -> Result<(), JournalError> {
        durable::remove_any(&self.path(trees))?;
        Ok(durable::sync(&trees.journals())?)
    }

    /// Makes all names in the directories involved, as they are now, survive a power loss.
    pub fn sync_dirs(&self) -> Result<(), JournalError> {
        let paths = self.puts.iter().flat_map(Put::paths);
        let dirs: BTreeSet<&Path> = paths
            .chain(self.takes.iter().map(|take| take.path.as_path()))
            .chain(self.made.iter().map(PathBuf::as_path))
            .filter_map(Path::parent)
            .collect();
        for dir in dirs {
            if dir.is_dir() {
                durable::sync(dir)?;
            }
        }
        Ok(())
    }

    /// What it puts in place and takes away.
    pub fn touched(&self) -> impl Iterator<Item = &Path> {
        self.puts.iter().map(|put| put.to.as_path()).chain(self.takes.iter().map(|take| take.path.as_path()))
    }

    /// Has what was read of the paths that it changes forgotten.
    pub fn forget_read(&self, trees: &Trees) {
        self.touched().chain(self.prunes.iter().map(|(dir, _)| dir.as_path())).for_each(|path| trees.changed(path));
    }

    /// The kernels beside whose modules something changes.
    pub fn kernels(&self, trees: &Trees) -> BTreeSet<Release> {
        let paths = self.puts.iter().map(|put| &put.to);
        paths
            .chain(self.takes.iter().map(|take| &take.path))
            .filter_map(|path| path.strip_prefix(&trees.install.outer).ok())
            .filter_map(|rest| rest.iter().next()?.to_str()?.parse().ok())
            .collect()
    }
}

/// The path of this process for an inside path that [`Trees::shown`] gave. In another root no link leads out of it.
fn outer(trees: &Trees, inside: &Path) -> PathBuf {
    for place in [&trees.dkms, &trees.source, &trees.install] {
        if let Ok(rest) = inside.strip_prefix(&place.inside) {
            return trees.settled(&place.outer.join(rest));
        }
    }
    trees.root.outer_nofollow(inside)
}

/// Whether an inside path leads straight to what it names.
fn is_usable(trees: &Trees, inside: &Path) -> bool {
    // The places are the administrator's to name.
    let rest = [&trees.dkms, &trees.source, &trees.install].map(|place| inside.strip_prefix(&place.inside).ok());
    rest.into_iter().flatten().next().map_or_else(|| below::is_straight(inside), below::leads_down)
}

/// Its directory is left to be synced with the others.
fn seal(trees: &Trees, release: &Release, id: &str, verify: bool, unsynced: &mut Unsynced) -> Result<(), FileError> {
    let path = trees.kernel_manifest(release);
    let temp = path.with_file_name(format!("{}{id}-seal", durable::NEW));
    if verify {
        // Of the run that was killed here.
        durable::remove_any(&temp)?;
    }
    let Some(mut manifest) = KernelManifest::load(&path)? else {
        return Ok(());
    };
    if manifest.seal(trees, release, verify) {
        let bytes = manifest.to_bytes().map_err(at("write", &path))?;
        let file = durable::write_new(&temp, &bytes, 0o644)?;
        unsynced.note(&path);
        durable::put_in_place(&file, &temp, &path)?;
    }
    Ok(())
}
