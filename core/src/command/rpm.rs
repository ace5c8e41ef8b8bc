//! `--rpm_safe_upgrade`: an rpm upgrade to the same version runs the old package's removal after the new one's
//! installation; what `add` has just registered must then stay (docs/contract.md 3).
//!
//! `add` leaves a note named after the package and the rpm process that called it, in our own directory, where
//! nobody else can put one; `remove`, called by that same process, finds it and does nothing.

use std::path::PathBuf;

use crate::context::Context;
use crate::durable;
use crate::error::Error;
use crate::journal::JournalError;
use crate::names::Package;

/// Leaves the note, and clears those of processes that are no more.
pub(super) fn leave(ctx: &Context, package: &Package) -> Result<(), Error> {
    let Some(path) = note(ctx, package) else { return Ok(()) };
    let dir = path.parent().map(PathBuf::from).unwrap_or_default();
    durable::own_dirs(&dir).map_err(JournalError::File)?;
    for entry in fs_err::read_dir(&dir)? {
        let name = entry?.file_name();
        let text = name.to_string_lossy();
        let pid = text.rsplit('@').next().and_then(|process| process.split('-').next()).unwrap_or_default();
        if !std::path::Path::new("/proc").join(pid).exists() {
            durable::remove_any(&dir.join(&name)).map_err(JournalError::File)?;
        }
    }
    Ok(durable::write_atomic(&path, b"", 0o600).map_err(JournalError::File)?)
}

/// Whether the process that calls for the removal of `package` has just added it. The note is then taken away.
pub(super) fn was_just_added(ctx: &Context, package: &Package) -> Result<bool, Error> {
    let Some(path) = note(ctx, package).filter(|path| path.exists()) else { return Ok(false) };
    durable::remove_any(&path).map_err(JournalError::File)?;
    Ok(true)
}

fn note(ctx: &Context, package: &Package) -> Option<PathBuf> {
    if !ctx.options.rpm_safe_upgrade {
        return None;
    }
    let process = ctx.machine.grandparent.as_ref()?;
    Some(ctx.trees.own().join("rpm").join(format!("{}@{}@{process}", package.name, package.version)))
}
