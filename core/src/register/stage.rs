//! A source tree on its way to the source directory: copied beside its destination first, so that one change
//! puts it there. Directories and archives use it.

use std::path::{Path, PathBuf};

use fs_err as fs;

use crate::context::Context;
use crate::durable::NEW;
use crate::error::Error;
use crate::files::copy_tree;
use crate::journal::{Change, JournalError};

/// The copy; gone when dropped before [`Staged::commit`].
pub(super) struct Staged {
    path: PathBuf,
    to: PathBuf,
}

impl Staged {
    /// Copies the source `from` to a hidden directory beside `to`, since that may be another file system than the
    /// DKMS tree's. Without `--force` it is what is at `to` with `from` laid over it. `work`, the run's work
    /// directory, names the run.
    pub fn new(ctx: &Context, from: &Path, to: &Path, work: &Path) -> Result<Self, Error> {
        let parent = to.parent().unwrap_or(Path::new("/"));
        fs::create_dir_all(parent)?;
        let id = work.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let staged = Self { path: parent.join(format!("{NEW}{id}")), to: to.to_owned() };
        if to.is_dir() && !ctx.options.force {
            copy_tree(to, &staged.path)?;
        }
        copy_tree(from, &staged.path)?;
        Ok(staged)
    }

    /// Puts it in place, together with all else that `change` does. The caller holds the tree lock.
    pub fn commit(self, mut change: Change<'_>) -> Result<(), JournalError> {
        change.replace_dir(&self.path, &self.to);
        let done = change.commit();
        if matches!(done, Err(JournalError::Stuck { .. })) {
            // The next run does what the journal says, and needs it.
            std::mem::forget(self);
        }
        done
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.path);
    }
}
