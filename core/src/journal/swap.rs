//! Putting an artefact in place on probation, while `POST_BUILD` runs and expects it there.

use std::fs::File;
use std::path::Path;

use rustix::fs::{FlockOperation, flock};

use crate::durable::{self, NEW, OLD, at};
use crate::tree::Trees;

use super::state::{Direction, Journal};
use super::step::{Executor, Put, object_at};
use super::{Change, JournalError, missing_parents, named, open_to_all};

/// A directory on probation: kept with [`Swap::keep`]; dropped, or found after a crash, the one
/// before is put back.
#[derive(Debug)]
#[must_use]
pub struct Swap<'a> {
    trees: &'a Trees,
    journal: Journal,
    /// Holds the flock on the journal, which keeps other processes' recovery off.
    _alive: File,
    over: bool,
}

/// Puts the directory `staged` at `to`, keeping what was there aside. The caller holds the tree
/// lock for this call and for [`Swap::keep`], not in between.
pub fn swap_in<'a>(
    trees: &'a Trees,
    what: impl Into<String>,
    staged: &Path,
    to: &Path,
) -> Result<Swap<'a>, JournalError> {
    let id = durable::unique();
    open_to_all(staged)?;
    durable::sync_tree(staged)?;
    let puts = vec![Put {
        temp: staged.to_owned(),
        to: to.to_owned(),
        owned: false,
        new: object_at(staged)?,
        old: object_at(to)?.map(|object| (object, named(to, OLD, &id, "s"))),
    }];
    let journal = Journal {
        made: missing_parents(&puts),
        id,
        what: what.into(),
        direction: Direction::Back,
        puts,
        takes: Vec::new(),
        prunes: Vec::new(),
        seal: None,
        place: None,
    };
    durable::own_dirs(&trees.journals())?;
    let alive = store_locked(&journal, trees)?;
    let swap = Swap { trees, journal, _alive: alive, over: false };
    if let Some(dir) = to.parent() {
        durable::own_dirs(dir)?;
    }
    // An error drops `swap`, which puts everything back.
    swap.journal.forward(trees, &mut Executor::default(), false, &|_, _| {})?;
    Ok(swap)
}

/// Writes the journal so that it is locked from the moment it appears.
fn store_locked(journal: &Journal, trees: &Trees) -> Result<File, JournalError> {
    let path = journal.path(trees);
    let temp = named(&path, NEW, &journal.id, "j");
    let bytes = journal.bytes(trees).map_err(|e| at("write", &path)(e.into()))?;
    let file = durable::write_new(&temp, &bytes, 0o600)?;
    if let Err(error) = flock(&file, FlockOperation::NonBlockingLockExclusive) {
        durable::remove_any(&temp)?;
        return Err(at("lock", &temp)(error.into()).into());
    }
    durable::put_in_place(&file, &temp, &path)?;
    durable::sync(&trees.journals())?;
    Ok(file)
}

impl Swap<'_> {
    /// The new directory stays; the one before is deleted. `written`: what was written or added in it since, as paths below it.
    pub fn keep(mut self, written: &[&Path]) -> Result<(), JournalError> {
        for (put, written) in self.journal.puts.iter().flat_map(|put| written.iter().map(move |path| (put, path))) {
            durable::sync_tree(&put.to.join(written))?;
        }
        self.journal.direction = Direction::Forward;
        self.journal.store(self.trees)?;
        self.over = true;
        self.journal.finish(self.trees, &mut Executor::default(), false)
    }

    /// The directory `fresh`, made by the caller on the same file system, comes in its place; the one on probation goes
    /// back to where it was staged. The caller holds the tree lock. After an error the directory before is in place.
    pub fn keep_instead(self, fresh: &Path) -> Result<(), JournalError> {
        let mut change = Change::new(self.trees, self.journal.what.clone());
        let to = self.journal.puts.iter().map(|put| put.to.clone()).next();
        self.put_back()?;
        if let Some(to) = to {
            change.replace_dir(fresh, &to);
        }
        change.commit()
    }

    /// The directory before is put back; the new one is where it was staged.
    pub fn put_back(mut self) -> Result<(), JournalError> {
        self.over = true;
        self.journal.roll_back(self.trees, &mut Executor::default())
    }

    /// Ends as a kill would.
    #[cfg(test)]
    pub(super) fn stop(mut self) {
        self.over = true;
    }
}

impl Drop for Swap<'_> {
    fn drop(&mut self) {
        if self.over {
            return;
        }
        if let Err(error) = self.journal.roll_back(self.trees, &mut Executor::default()) {
            log::error!("{error}; the next dkms command will put this right");
        }
    }
}
