//! The fallback tree: where the tree is while its own place can't be written. In a snapshot of transactional-update (and in image builds
//! that keep `/var` out) modules are to be installed, but what belongs to `/var` has no place: it is not part of the
//! snapshot, and scriptlets must not write there (openSUSE's Packaging_for_transactional-updates). Whatever is installed is
//! noted beside the kernel's modules; all else may go, and is kept where it does not outlive this system's run.

use std::fs::Metadata;
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::fs::{Access, StatVfsMountFlags, access, statvfs};
use rustix::io::Errno;

use super::{Place, Trees};

/// Where such a tree may be: only root can make names there. Every verb reads the tree, and runs what it finds.
const PLACE: &str = "/run/dkms";

/// The place for the tree, if it is read-only and has nothing in it while the modules' directory can be written. Nothing is
/// made yet.
fn choose(trees: &Trees) -> Option<Place> {
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
    let place = Place::new(&trees.root, Path::new(PLACE).join(&name));
    usable(&place.outer).then_some(place)
}

/// Whether the file system that `path` is, or would be, on is mounted read-only.
fn is_read_only(path: &Path) -> bool {
    let there = path.ancestors().find(|path| path.is_dir()).unwrap_or(path);
    access(there, Access::WRITE_OK) == Err(Errno::ROFS)
}

/// Whether a tree can be made there, in which scripts can be run.
fn usable(path: &Path) -> bool {
    let own = [Some(path), path.parent()].into_iter().flatten();
    if !own.map(std::fs::symlink_metadata).all(|found| match found {
        Ok(meta) => is_ours(&meta),
        Err(error) => error.kind() == ErrorKind::NotFound,
    }) {
        return false;
    }
    let Some(there) = path.ancestors().find(|path| path.is_dir()) else { return false };
    std::fs::metadata(there).is_ok_and(|meta| is_ours(&meta) || is_sticky(&meta))
        && access(there, Access::WRITE_OK).is_ok()
        && statvfs(there).is_ok_and(|stat| !stat.f_flag.contains(StatVfsMountFlags::NOEXEC))
}

/// Whether nobody else can have put anything into this directory.
fn is_ours(meta: &Metadata) -> bool {
    meta.is_dir() && meta.uid() == rustix::process::geteuid().as_raw() && meta.mode() & 0o022 == 0
}

/// Whether others can at most make names of their own there, as in a container's `/run` of mode 1777: what they made
/// is not ours, what we made they can't move.
fn is_sticky(meta: &Metadata) -> bool {
    meta.uid() == rustix::process::geteuid().as_raw() && meta.mode() & 0o1000 != 0
}

/// What [`make`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Made {
    /// The tree was made.
    New,
    /// It was there already.
    There,
    /// Somebody else made a directory of that name, or can make names beside it.
    NotOurs,
}

/// Makes the fallback tree in the directory `dir` (an outer path).
pub fn make(dir: &Path) -> io::Result<Made> {
    if let Some(parent) = dir.parent() {
        std::fs::DirBuilder::new().recursive(true).mode(0o755).create(parent)?;
        // Somebody may have been there first, since the place was chosen.
        if !is_ours(&fs_err::symlink_metadata(parent)?) {
            return Ok(Made::NotOurs);
        }
    }
    match std::fs::DirBuilder::new().mode(0o755).create(dir) {
        Ok(()) => Ok(Made::New),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            Ok(if is_ours(&fs_err::symlink_metadata(dir)?) { Made::There } else { Made::NotOurs })
        }
        Err(error) => Err(error),
    }
}

/// Points `trees` to the fallback tree if the tree needs one; gives the tree's own place (inside the root).
pub fn place(trees: &mut Trees) -> Option<PathBuf> {
    let fallback = choose(trees)?;
    Some(std::mem::replace(&mut trees.dkms, fallback).inside)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::root::Root;

    #[test]
    fn what_can_be_written_needs_no_fallback() {
        let tmp = tempfile::tempdir().unwrap();
        let mut trees = Trees::new(Root::at(tmp.path()).unwrap());
        fs_err::create_dir_all(&trees.install.outer).unwrap();
        let before = trees.clone();
        assert_eq!(place(&mut trees), None);
        assert_eq!(trees, before);
        assert!(!is_read_only(&tmp.path().join("not/there")));
    }

    #[test]
    fn what_others_can_have_made_is_no_fallback_tree() {
        use std::os::unix::fs::PermissionsExt;
        let tmp = tempfile::tempdir().unwrap();
        let (dkms, tree) = (tmp.path().join("dkms"), tmp.path().join("dkms/tree"));
        let set = |path: &Path, mode| fs_err::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
        set(tmp.path(), 0o1777);
        assert!(usable(&tree));
        set(tmp.path(), 0o777);
        assert!(!usable(&tree));
        set(tmp.path(), 0o755);
        assert!(usable(&tree));
        fs_err::create_dir_all(&tree).unwrap();
        // Whatever the umask is.
        set(&tree, 0o755);
        for (dir, mode, expected) in [
            (&dkms, 0o755, true),
            (&tree, 0o777, false),
            (&tree, 0o755, true),
            (&dkms, 0o775, false),
            (&dkms, 0o755, true),
        ] {
            set(&dkms, 0o755);
            set(dir, mode);
            assert_eq!(usable(&tree), expected, "{dir:?} {mode:o}");
        }
        fs_err::remove_dir(&tree).unwrap();
        fs_err::create_dir(tmp.path().join("elsewhere")).unwrap();
        std::os::unix::fs::symlink("../elsewhere", &tree).unwrap();
        assert!(!usable(&tree));
    }
}
