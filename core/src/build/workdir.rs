//! The private directory a build happens in, and what becomes of it.

use std::path::{Path, PathBuf};

use fs_err as fs;

use crate::error::Error;
use crate::files::copy_tree;
use crate::journal;
use crate::names::Package;
use crate::tree::Trees;
use crate::world::World;

/// A directory that holds a copy of the source while it is built. Scripts and make see it as
/// `<tree>/<m>/<v>/build`, which dkms.conf files hard-code.
#[derive(Debug)]
pub struct WorkDir {
    dir: PathBuf,
    build: PathBuf,
    /// Keeps other runs from clearing it away; `None` when it is the build directory itself.
    _private: Option<journal::WorkDir>,
    kept: bool,
}

impl WorkDir {
    /// Makes the directory: private when this system allows it, else the build directory itself (the
    /// caller then holds the package's lock, so that no other build of it runs).
    pub fn make(trees: &Trees, world: &World, package: &Package) -> Result<Self, Error> {
        let build = trees.build_dir(package);
        if world.has_private_mounts() {
            fs::create_dir_all(&build)?;
            let private = journal::WorkDir::new(trees).map_err(journal::JournalError::File)?;
            return Ok(Self { dir: private.path().to_owned(), build, _private: Some(private), kept: false });
        }
        if build.exists() {
            fs::remove_dir_all(&build)?;
        }
        fs::create_dir_all(&build)?;
        Ok(Self { dir: build.clone(), build, _private: None, kept: false })
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
    pub fn keep(mut self) {
        self.kept = true;
        if self.dir != self.build {
            // Best effort: the build has failed already, and says so whatever becomes of its remains.
            let _ = fs::remove_dir_all(&self.build);
            if let Err(error) = fs::rename(&self.dir, &self.build) {
                log::warn!("{error}");
            }
        }
    }
}

impl Drop for WorkDir {
    fn drop(&mut self) {
        if self.kept {
            return;
        }
        for dir in [&self.dir, &self.build] {
            if let Err(error) = std::fs::remove_dir_all(dir) {
                if error.kind() != std::io::ErrorKind::NotFound {
                    log::warn!("cannot remove {}: {error}", dir.display());
                }
            }
        }
    }
}
