//! The notes of a kernel's follow-ups: depmod, a new initramfs. A note in `<tree>/.dkms/owed/<what>/` is made before anything
//! changes, and goes when that is done. The next run does what a killed one left.
//!
//! While its run lives, a flock is on the note: another run does its follow-ups itself. Its process number would not tell:
//! after a boot, and in every container, it is somebody else's.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::fs::{FlockOperation, flock};

use crate::durable::{self, FileError, NEW, at};
use crate::names::Release;
use crate::plan::{Because, FollowUp, Overdue};
use crate::tree::Trees;

/// One note.
#[derive(Debug)]
pub struct Note {
    path: PathBuf,
    /// The kernel.
    pub release: Release,
}

/// The notes of this process, locked as long as it lives.
static OWN: Mutex<Own> = Mutex::new(BTreeMap::new());

/// Their files, and what is in them.
type Own = BTreeMap<PathBuf, (File, String)>;

fn own() -> MutexGuard<'static, Own> {
    OWN.lock().unwrap_or_else(PoisonError::into_inner)
}

impl FollowUp {
    fn dir(self, trees: &Trees) -> PathBuf {
        trees.state("owed").join(self.to_string())
    }

    /// Notes, durably, that it is to be done; an initramfs with the names of the modules whose change calls for it. Says
    /// whether this run had not noted it already.
    pub fn note(self, trees: &Trees, release: &Release, text: &str) -> Result<bool, FileError> {
        let dir = self.dir(trees);
        let mut own = own();
        if own.keys().any(|path| path.parent() == Some(&dir) && release_of(path).as_ref() == Some(release)) {
            return Ok(false);
        }
        durable::own_dirs(&dir)?;
        let word = durable::unique();
        let (temp, path) = (trees.own().join(format!("{NEW}{word}")), dir.join(format!("{release}@{word}")));
        let file = durable::write_new(&temp, text.as_bytes(), 0o600)?;
        // Before it has its name (as it should be already): nobody may take it for a dead run's.
        if let Err(error) = flock(&file, FlockOperation::NonBlockingLockExclusive) {
            durable::remove_any(&temp)?;
            return Err(at("lock", &temp)(error.into()));
        }
        durable::put_in_place(&file, &temp, &path)?;
        if let Err(error) = durable::sync(&dir) {
            // Nothing changes after this error: nothing is to follow.
            durable::remove_any(&path)?;
            return Err(error);
        }
        own.insert(path, (file, text.to_owned()));
        Ok(true)
    }

    /// The notes of runs that are no more.
    pub fn left(self, trees: &Trees) -> Vec<Note> {
        let own = own();
        let entries = fs::read_dir(self.dir(trees)).into_iter().flatten().flatten().map(|entry| entry.path());
        let dead = entries.filter(|path| !own.contains_key(path) && is_dead(path));
        dead.filter_map(|path| Some(Note { release: release_of(&path)?, path })).collect()
    }

    /// The notes for the kernel of this run, and of those that are no more: whoever does the follow-up now deletes them.
    pub fn notes(self, trees: &Trees, release: &Release) -> Vec<Note> {
        let dir = self.dir(trees);
        let of_this_run: Vec<PathBuf> = own().keys().filter(|path| path.parent() == Some(&dir)).cloned().collect();
        let of_this_run = of_this_run.into_iter().filter_map(|path| Some(Note { release: release_of(&path)?, path }));
        of_this_run.chain(self.left(trees)).filter(|note| note.release == *release).collect()
    }
}

/// The follow-ups that runs which are no more left undone, for a plan.
pub fn overdue(trees: &Trees) -> Vec<Overdue> {
    let mut overdue: Vec<Overdue> = Vec::new();
    for what in [FollowUp::Depmod, FollowUp::Initramfs] {
        let notes = what.left(trees).into_iter();
        overdue.extend(notes.map(|note| Overdue { kernel: note.release, what, why: Because::Interrupted }));
    }
    overdue.sort();
    overdue.dedup();
    overdue
}

impl Note {
    /// What was noted; `None` if it can't be read.
    pub fn text(&self) -> Option<String> {
        let of_this_run = own().get(&self.path).map(|(_, text)| text.clone());
        of_this_run.or_else(|| String::from_utf8(durable::read(&self.path).ok()??).ok())
    }

    /// When it was made; `None` if it is gone.
    pub fn made(&self) -> Option<fs::Metadata> {
        fs::metadata(&self.path).ok()
    }

    /// Whether it is of this run.
    pub fn is_own(&self) -> bool {
        own().contains_key(&self.path)
    }

    /// Deletes it: the follow-up is done, or not needed.
    pub fn forget(self) -> Result<(), FileError> {
        durable::remove_any(&self.path)?;
        own().remove(&self.path);
        Ok(())
    }
}

fn release_of(path: &Path) -> Option<Release> {
    let (release, _) = path.file_name()?.to_str()?.rsplit_once('@')?;
    Release::new(release).ok()
}

fn is_dead(path: &Path) -> bool {
    durable::open_regular(path).is_ok_and(|file| flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::root::Root;

    #[test]
    fn a_follow_up_is_overdue_when_nobody_has_its_note_locked() {
        let tmp = tempfile::tempdir().unwrap();
        let trees = Trees::new(Root::at(tmp.path()).unwrap());
        let release = Release::new("6.1").unwrap();
        let dir = FollowUp::Depmod.dir(&trees);
        durable::own_dirs(&dir).unwrap();
        // A run that is no more; its number is that of a process which lives.
        fs::write(dir.join("6.1@1-0123"), "").unwrap();
        // One that lives, in another process: it holds its note by an open file of its own.
        let other = dir.join("6.1@99999999-4567");
        fs::write(&other, "").unwrap();
        let file = File::open(&other).unwrap();
        flock(&file, FlockOperation::LockExclusive).unwrap();
        assert_eq!(
            overdue(&trees),
            [Overdue { kernel: release.clone(), what: FollowUp::Depmod, why: Because::Interrupted }]
        );
        assert!(FollowUp::Depmod.note(&trees, &release, "").unwrap());
        assert!(!FollowUp::Depmod.note(&trees, &release, "").unwrap());
        assert_eq!(FollowUp::Depmod.left(&trees).len(), 1);
        assert_eq!(FollowUp::Initramfs.notes(&trees, &release).len(), 0);
        for note in FollowUp::Depmod.notes(&trees, &release) {
            note.forget().unwrap();
        }
        assert_eq!(fs::read_dir(&dir).unwrap().flatten().map(|entry| entry.path()).collect::<Vec<_>>(), [other]);
        drop(file);
        assert_eq!(FollowUp::Depmod.left(&trees).len(), 1);
    }

    /// What this run has noted it knows; what another one has, and can't be read, is not nothing.
    #[test]
    fn a_note_that_can_not_be_read_is_not_empty() {
        let tmp = tempfile::tempdir().unwrap();
        let trees = Trees::new(Root::at(tmp.path()).unwrap());
        let release = Release::new("6.1").unwrap();
        let dir = FollowUp::Initramfs.dir(&trees);
        FollowUp::Initramfs.note(&trees, &release, "a\n").unwrap();
        fs::write(dir.join("6.1@1-0123"), "b\n").unwrap();
        let texts = || FollowUp::Initramfs.notes(&trees, &release).iter().map(Note::text).collect::<Vec<_>>();
        assert_eq!(texts(), [Some("a\n".to_owned()), Some("b\n".to_owned())]);
        for path in fs::read_dir(&dir).unwrap().flatten().map(|entry| entry.path()) {
            fs::write(path, [0xff]).unwrap();
        }
        assert_eq!(texts(), [Some("a\n".to_owned()), None]);
        FollowUp::Initramfs.notes(&trees, &release).into_iter().for_each(|note| note.forget().unwrap());
    }
}
