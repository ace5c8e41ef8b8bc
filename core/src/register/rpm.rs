//! Package files that rpm installs.

use std::path::{Path, PathBuf};

use super::archive::missing;
use crate::context::Context;
use crate::error::{ArchiveError, Error};
use crate::process::{self, Output};
use crate::report::Reporter;

/// A file for rpm.
#[derive(Debug)]
pub struct RpmFile {
    file: PathBuf,
    /// What the root's rpm calls it.
    inside: PathBuf,
}

impl RpmFile {
    /// The file at `file` (an outer path), which has to be where the root's rpm can read it.
    pub(super) fn look(ctx: &Context, file: &Path) -> Result<Self, Error> {
        let there = fs_err::canonicalize(file).map_err(|_| missing(file))?;
        match ctx.trees.root.inside(&there) {
            Some(inside) => Ok(Self { file: file.to_owned(), inside }),
            None => Err(Error::Archive(ArchiveError::NotByRpm(there))),
        }
    }

    /// What the root's rpm calls it.
    pub(super) fn inside(&self) -> &Path {
        &self.inside
    }

    /// Has rpm install it. No lock of ours is held meanwhile: the package's scriptlets call dkms.
    pub(super) fn install(&self, ctx: &Context, reporter: &dyn Reporter) -> Result<(), Error> {
        let argv = ["rpm".as_ref(), "-Uvh".as_ref(), self.inside.as_os_str()];
        let mut task = ctx.world.task(argv, Path::new("/"));
        task.output = if reporter.wants_json() { Output::Capture } else { Output::Inherit };
        let end = process::run(task);
        if let Ok(end) = &end {
            end.text().lines().for_each(|line| reporter.line(&line));
        }
        match end {
            Ok(end) if end.status.success() => Ok(()),
            _ => Err(Error::Archive(ArchiveError::NotByRpm(self.file.clone()))),
        }
    }
}
