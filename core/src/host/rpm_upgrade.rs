//! `--rpm_safe_upgrade`: an rpm upgrade to the same version runs the old package's removal after the new one's
//! installation; what `add` has just registered must then stay (docs/contract.md 3).
//!
//! `add` leaves a note named after the package and the rpm process that called it, in our own directory, where
//! nobody else can put one; `remove`, called by that same process, finds it and does nothing.

use std::path::PathBuf;

use crate::durable::{self, FileError, at};
use crate::names::Package;
use crate::tree::Trees;

/// Leaves the note, and clears those of processes that have ended. `process`: the rpm process that called us
/// (`Machine::grandparent`); `None`: `--rpm_safe_upgrade` was not given, and nothing is done.
pub fn leave(process: Option<&str>, trees: &Trees, package: &Package) -> Result<(), FileError> {
    let Some(path) = note(process, trees, package) else { return Ok(()) };
    let dir = path.parent().map(PathBuf::from).unwrap_or_default();
    durable::own_dirs(&dir)?;
    for entry in std::fs::read_dir(&dir).map_err(at("read the directory", &dir))? {
        let name = entry.map_err(at("read the directory", &dir))?.file_name();
        let text = name.to_string_lossy();
        let pid = text.rsplit('@').next().and_then(|process| process.split('-').next()).unwrap_or_default();
        if !std::path::Path::new("/proc").join(pid).exists() {
            durable::remove_any(&dir.join(&name))?;
        }
    }
    durable::write_atomic(&path, b"", 0o600)
}

/// Whether the process that calls for the removal of `package` has just added it.
pub fn is_just_added(process: Option<&str>, trees: &Trees, package: &Package) -> bool {
    note(process, trees, package).is_some_and(|path| path.exists())
}

/// The same; the note is then taken away.
pub fn was_just_added(process: Option<&str>, trees: &Trees, package: &Package) -> Result<bool, FileError> {
    let Some(path) = note(process, trees, package).filter(|path| path.exists()) else { return Ok(false) };
    durable::remove_any(&path)?;
    Ok(true)
}

fn note(process: Option<&str>, trees: &Trees, package: &Package) -> Option<PathBuf> {
    Some(trees.state("rpm").join(format!("{}@{}@{}", package.name, package.version, process?)))
}
