//! What the first changing command after a crash does before anything else.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use crate::durable::{self, at};
use crate::names::Release;
use crate::tree::Trees;

use super::state::{Direction, Journal};
use super::step::Executor;
use super::waiting::journals;
use super::{BeforeGoing, JournalError, work};

/// What was found and put right.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Recovered {
    /// Changes that were carried out to the end, in words.
    pub finished: Vec<String>,
    /// Changes that were undone, in words.
    pub undone: Vec<String>,
    /// Kernels beside whose modules something changed: they need a depmod.
    pub kernels: BTreeSet<Release>,
    /// Changes that can't be carried out for now, in words, with the reason. Their journals stay for the next run.
    pub stuck: Vec<(String, String)>,
    /// Build directories of dead processes that were removed.
    pub work: Vec<PathBuf>,
}

/// Finishes or undoes the changes that killed processes left, and removes their build directories.
/// The caller holds the tree lock. A change that can't be carried out, on a file system that is read-only for example,
/// stops no other: its journal is left for the next time, and nothing that it touches is changed until then.
pub fn recover(trees: &Trees, before_going: BeforeGoing<'_>) -> Result<Recovered, JournalError> {
    recover_with(trees, &mut Executor::default(), before_going)
}

pub(super) fn recover_with(
    trees: &Trees,
    executor: &mut Executor,
    before_going: BeforeGoing<'_>,
) -> Result<Recovered, JournalError> {
    let mut recovered = Recovered::default();
    for path in journals(trees)? {
        let mut what = None;
        match one(trees, &path, executor, before_going, &mut recovered, &mut what) {
            Ok(()) => {}
            Err(JournalError::Stopped) => return Err(JournalError::Stopped),
            Err(error) => {
                let what = what.unwrap_or_else(|| path.display().to_string());
                recovered.stuck.push((what, error.to_string()));
            }
        }
    }
    recovered.work = work::remove_dead(trees);
    if recovered.stuck.is_empty() {
        remove_unfinished(trees);
    }
    durable::sweep(&trees.own());
    Ok(recovered)
}

/// Whether somebody alive holds the lock on a journal. A program that is being started shares its parent's
/// descriptors, and so its locks, until it is executed: what is let go within a moment was not held.
fn is_held(file: &File) -> bool {
    const TRIES: u32 = 25;
    const PAUSE: std::time::Duration = std::time::Duration::from_millis(4);
    for _ in 0..TRIES {
        if flock(file, FlockOperation::NonBlockingLockExclusive).is_ok() {
            return false;
        }
        std::thread::sleep(PAUSE);
    }
    true
}

fn one(
    trees: &Trees,
    path: &Path,
    executor: &mut Executor,
    before_going: BeforeGoing<'_>,
    recovered: &mut Recovered,
    what: &mut Option<String>,
) -> Result<(), JournalError> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    if name.starts_with(durable::NEW) {
        // A journal that was never finished: nothing has been done yet.
        return Ok(durable::remove_any(path)?);
    }
    if !name.ends_with(".json") {
        return Ok(());
    }
    let file = match durable::open_regular(path) {
        Err(error) if durable::missing(&error) => return Ok(()),
        other => other.map_err(at("open", path))?,
    };
    // The process that swaps an artefact in while a script runs holds no tree lock, but this.
    if is_held(&file) {
        return Ok(());
    }
    let bytes = durable::read(path)?.unwrap_or_default();
    let mut journal = match Journal::parse(&bytes, trees) {
        Ok(journal) => journal,
        Err(why) => return put_aside(path, &why),
    };
    if let Some(unknown) = journal.adopt(trees)? {
        let why = format!(
            "the system was copied during the change ({}), and what has become of {} can't be told; see whether it is right, and run dkms reconcile",
            journal.what,
            unknown.display()
        );
        return put_aside(path, &why);
    }
    *what = Some(journal.what.clone());
    recovered.kernels.extend(journal.kernels(trees));
    if journal.direction == Direction::Forward {
        match journal.forward(trees, executor, true, before_going) {
            Ok(()) => {
                journal.finish(trees, executor, true)?;
                recovered.finished.push(journal.what);
                return Ok(());
            }
            // Somebody else's file is where one of ours should be: it has won.
            Err(error @ JournalError::Changed(_)) => {
                log::error!("{} can't be finished: {error}", journal.what);
                journal.direction = Direction::Back;
                journal.store(trees)?;
            }
            Err(error) => return Err(error),
        }
    }
    journal.roll_back(trees, executor)?;
    recovered.undone.push(journal.what);
    Ok(())
}

/// Removes the sources that killed runs were about to put in place: they are named as those runs' work directories.
fn remove_unfinished(trees: &Trees) {
    for entry in fs::read_dir(&trees.source.outer).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let id = name.to_str().and_then(|name| name.strip_prefix(durable::NEW));
        if id.is_some_and(|id| !id.is_empty() && !trees.work().join(id).exists()) {
            if let Err(error) = durable::remove_any(&entry.path()) {
                log::warn!("{error}");
            }
        }
    }
}

/// Nothing can be done with this journal.
fn put_aside(path: &Path, why: &str) -> Result<(), JournalError> {
    let bad = path.with_extension("bad");
    log::error!("{} is put aside as {}: {why}", path.display(), bad.display());
    Ok(fs::rename(path, &bad).map_err(at("put aside", path))?)
}

/// What the directory of journals holds beside changes that somebody is making now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unfinished {
    /// A change that was interrupted, in words.
    Change(String),
    /// A journal that could not be understood, and was set aside.
    SetAside,
}

/// The journals that killed runs have left. The caller holds the tree lock, or takes the answer for what it is worth.
pub fn unfinished(trees: &Trees) -> Vec<(PathBuf, Unfinished)> {
    let is_left = |path: &Path| !durable::open_regular(path).is_ok_and(|file| is_held(&file));
    let read = |path: PathBuf| {
        let what = match path.extension().and_then(std::ffi::OsStr::to_str) {
            Some("bad") => Unfinished::SetAside,
            Some("json") if is_left(&path) => {
                let bytes = durable::read(&path).ok().flatten().unwrap_or_default();
                let journal = Journal::parse(&bytes, trees);
                Unfinished::Change(journal.map_or_else(|why| format!("it can't be understood: {why}"), |it| it.what))
            }
            _ => return None,
        };
        Some((path, what))
    };
    journals(trees).unwrap_or_default().into_iter().filter_map(read).collect()
}
