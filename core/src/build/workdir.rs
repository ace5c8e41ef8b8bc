//! The private directory a build happens in, and what becomes of it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use fs_err as fs;

use crate::context::Context;
use crate::error::Error;
use crate::files::copy_tree;
use crate::journal;
use crate::lock::{self, Lock, Patience};
use crate::names::Package;
use crate::tree::Trees;

/// A directory that holds a copy of the source while it is built. Scripts and make see it as
/// `<tree>/<m>/<v>/build`, which dkms.conf files hard-code.
#[derive(Debug)]
pub struct WorkDir {
    dir: PathBuf,
    build: PathBuf,
    private: Option<Private>,
    kept: bool,
}

/// What keeps a private directory, and the place where it is seen, from being cleared away.
#[derive(Debug)]
struct Private {
    _dir: journal::WorkDir,
    /// Shared by the builds of a package that see their directories at `build`: removing a directory
    /// takes away what is mounted on it, in other mount namespaces too (rename(2), rmdir(2) since Linux 3.18).
    place: Lock,
}

impl WorkDir {
    /// Makes the directory: private when this system allows it, else the build directory itself (the
    /// caller then holds the package's lock, so that no other build of it runs).
    pub fn make(ctx: &Context, package: &Package) -> Result<Self, Error> {
        let trees = &ctx.trees;
        let build = trees.build_dir(package);
        if ctx.world.has_private_mounts() {
            clear_place(trees, package, &build)?;
            let place = ctx.share_build(package)?;
            fs::create_dir_all(&build)?;
            let private = journal::WorkDir::new(trees).map_err(journal::JournalError::File)?;
            let dir = private.path().to_owned();
            return Ok(Self { dir, build, private: Some(Private { _dir: private, place }), kept: false });
        }
        if build.exists() {
            fs::remove_dir_all(&build)?;
        }
        fs::create_dir_all(&build)?;
        Ok(Self { dir: build.clone(), build, private: None, kept: false })
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.dir
    }

    /// Where the build sees it.
    pub fn seen_at(&self) -> &Path {
        &self.build
    }

    /// Copies the package's source into it, and over its patches those of `/etc/dkms/<m>/patches`.
    pub fn fill(&self, trees: &Trees, package: &Package) -> Result<(), Error> {
        copy_tree(&trees.source_of(package), &self.dir)?;
        let patches = trees.outer(Path::new("/etc/dkms").join(&package.name).join("patches"));
        if patches.is_dir() {
            copy_tree(&patches, &self.dir.join("patches"))?;
        }
        Ok(())
    }

    /// Leaves it at `<tree>/<m>/<v>/build` for somebody to look at: what a failed build does.
    pub fn keep(mut self, ctx: &Context) {
        self.kept = true;
        if self.dir == self.build {
            return;
        }
        // Best effort: the build has failed already, and says so whatever becomes of its remains. The
        // directory itself stays: other builds may have theirs mounted on it.
        let moved = ctx.lock_tree().and_then(|_lock| {
            empty(&self.build)?;
            for entry in fs::read_dir(&self.dir)? {
                let entry = entry?;
                fs::rename(entry.path(), self.build.join(entry.file_name()))?;
            }
            Ok(fs::remove_dir(&self.dir)?)
        });
        if let Err(error) = moved {
            log::warn!("{error}");
        }
    }
}

/// Deletes what an earlier failure left, unless another build uses the place (then it may be its neighbour's).
fn clear_place(trees: &Trees, package: &Package, build: &Path) -> Result<(), Error> {
    let at_once = Patience { limit: Some(Duration::ZERO), on_wait: &|_| {} };
    match lock::lock(&trees.build_lock(package), at_once) {
        Ok(_alone) if build.is_dir() => Ok(empty(build)?),
        Ok(_) | Err(lock::LockError::Timeout { .. } | lock::LockError::Nested { .. }) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn empty(dir: &Path) -> std::io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            fs::remove_dir_all(entry.path())?;
        } else {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

impl Drop for WorkDir {
    fn drop(&mut self) {
        if self.kept {
            return;
        }
        if let Err(error) = std::fs::remove_dir_all(&self.dir) {
            if error.kind() != std::io::ErrorKind::NotFound {
                log::warn!("cannot remove {}: {error}", self.dir.display());
            }
        }
        if self.private.as_ref().is_some_and(|private| private.place.is_last()) {
            // Not empty: a build beside this one failed.
            let _ = std::fs::remove_dir(&self.build);
        }
    }
}
