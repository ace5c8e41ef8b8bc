//! Where the tree is while its own place can't be written. In a snapshot of transactional-update (and in image builds
//! that keep `/var` out) modules are to be installed, but what belongs to `/var` has no place: it is not part of the
//! snapshot, and scriptlets must not write there (openSUSE's Packaging_for_transactional-updates). Whatever is installed is
//! noted beside the kernel's modules; all else may go, and is kept where it does not outlive this system's run.

use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::fs::{Access, StatVfsMountFlags, access, statvfs};
use rustix::io::Errno;

use crate::context::Context;
use crate::error::Error;
use crate::report::{Event, Reporter};
use crate::tree::{Place, Trees};

/// Where such a tree may be, by preference: only root can make names in the first.
const PLACES: [&str; 2] = ["/run/dkms", "/tmp"];

/// The place for the tree, if it is read-only and has nothing in it while the modules' directory can be written. Nothing is
/// made yet.
pub(super) fn choose(trees: &Trees) -> Option<Place> {
    if !is_read_only(&trees.dkms.outer) || access(&trees.install.outer, Access::WRITE_OK).is_err() {
        return None;
    }
    let has_packages = std::fs::read_dir(&trees.dkms.outer)
        .into_iter()
        .flatten()
        .flatten()
        .any(|entry| !entry.file_name().to_string_lossy().starts_with('.'));
    if has_packages {
        return None;
    }
    // Another snapshot may see the same /run: each root has its own.
    let root = std::fs::metadata(trees.root.dir()).ok()?;
    let name = format!("dkms-tree-{:x}-{:x}", root.dev(), root.ino());
    PLACES.iter().map(|place| Place::new(&trees.root, Path::new(place).join(&name))).find(|place| usable(&place.outer))
}

/// Whether the file system that `path` is, or would be, on is mounted read-only.
fn is_read_only(path: &Path) -> bool {
    let there = path.ancestors().find(|path| path.is_dir()).unwrap_or(path);
    access(there, Access::WRITE_OK) == Err(Errno::ROFS)
}

/// Whether a tree can be made there, in which scripts can be run.
fn usable(path: &Path) -> bool {
    let Some(there) = path.ancestors().find(|path| path.is_dir()) else { return false };
    access(there, Access::WRITE_OK).is_ok()
        && statvfs(there).is_ok_and(|stat| !stat.f_flag.contains(StatVfsMountFlags::NOEXEC))
}

/// Makes the refuge, if there is one, and says so: once.
pub(crate) fn prepare(ctx: &Context, reporter: &dyn Reporter) -> Result<(), Error> {
    let Some(own) = &ctx.refuge_from else { return Ok(()) };
    let dir = &ctx.trees.dkms.outer;
    if let Some(parent) = dir.parent() {
        fs_err::create_dir_all(parent)?;
    }
    match std::fs::DirBuilder::new().mode(0o755).create(dir) {
        Ok(()) => reporter.report(Event::Note(format!(
            "dkms: {} is read-only here: what is installed is noted beside the modules, all else is kept in {}",
            own.display(),
            ctx.trees.dkms.inside.display()
        ))),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            let meta = fs_err::symlink_metadata(dir)?;
            let ours = meta.is_dir() && meta.uid() == rustix::process::geteuid().as_raw() && meta.mode() & 0o022 == 0;
            if !ours {
                return Err(Error::ReadOnlyTree { tree: own.clone(), advice: None });
            }
        }
        Err(error) => return Err(error.into()),
    }
    Ok(())
}

/// The tree's own place, and the refuge's instead, if it needs one.
pub(super) fn place(trees: &mut Trees) -> Option<PathBuf> {
    let refuge = choose(trees)?;
    Some(std::mem::replace(&mut trees.dkms, refuge).inside)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::root::Root;

    #[test]
    fn what_can_be_written_needs_no_refuge() {
        let tmp = tempfile::tempdir().unwrap();
        let mut trees = Trees::new(Root::at(tmp.path()).unwrap());
        fs_err::create_dir_all(&trees.install.outer).unwrap();
        let before = trees.clone();
        assert_eq!(place(&mut trees), None);
        assert_eq!(trees, before);
        assert!(!is_read_only(&tmp.path().join("not/there")));
    }
}
