//! The changes of earlier runs that are still to be carried out.

use std::fs;
use std::path::{Path, PathBuf};

use super::JournalError;
use super::state::Journal;
use crate::durable::{self, at};
use crate::tree::Trees;

/// The files in the journal's directory, by name.
pub(super) fn journals(trees: &Trees) -> Result<Vec<PathBuf>, JournalError> {
    let dir = trees.journals();
    let entries = match fs::read_dir(&dir) {
        Err(error) if durable::missing(&error) => return Ok(Vec::new()),
        other => other.map_err(at("read", &dir))?,
    };
    let mut paths =
        entries.map(|entry| entry.map(|e| e.path())).collect::<Result<Vec<_>, _>>().map_err(at("read", &dir))?;
    paths.sort();
    Ok(paths)
}

/// The change of an earlier run that is still to be carried out, and touches what one with these `paths` would.
pub(super) fn in_the_way(trees: &Trees, own: &str, paths: &[&Path]) -> Result<Option<String>, JournalError> {
    let others = waiting(trees, Some(own))?;
    let touching = others.into_iter().find(|journal| journal.touched().any(|touched| paths.contains(&touched)));
    Ok(touching.map(|journal| journal.what))
}

/// Whether a change that is still to be carried out needs something in `dir`.
pub(super) fn needs(trees: &Trees, dir: &Path) -> Result<bool, JournalError> {
    Ok(waiting(trees, None)?.iter().any(|journal| journal.puts.iter().any(|put| put.temp.starts_with(dir))))
}

/// The changes that are still to be carried out, but for the one with this name.
fn waiting(trees: &Trees, except: Option<&str>) -> Result<Vec<Journal>, JournalError> {
    let mut waiting = Vec::new();
    for path in journals(trees)? {
        let id = path.file_stem().and_then(std::ffi::OsStr::to_str);
        if path.extension().is_none_or(|end| end != "json") || (except.is_some() && id == except) {
            continue;
        }
        let Some(bytes) = durable::read(&path)? else { continue };
        waiting.extend(Journal::parse(&bytes, trees));
    }
    Ok(waiting)
}
