//! Copying trees as `cp -a` does: modes, owners and times kept, links kept as links.

use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, lchown, symlink};
use std::path::Path;

use fs_err as fs;
use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, utimensat};

use crate::sandbox::BuildUser;

/// Copies the directory `from` over `to`, which is created when missing; files in the way are replaced,
/// other files stay. Sockets, devices and pipes are refused. Data is shared where the file system can
/// (copy_file_range(2)); the kernel's Makefiles depend on the times being kept.
pub fn copy_tree(from: &Path, to: &Path) -> io::Result<()> {
    copy_tree_for(from, to, None)
}

/// As [`copy_tree`], but the copy belongs to the build `owner`, if there is one.
pub fn copy_tree_for(from: &Path, to: &Path, owner: Option<BuildUser>) -> io::Result<()> {
    let meta = fs::metadata(from)?;
    if !to.is_dir() {
        fs::create_dir_all(to)?;
    }
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        let kind = entry.file_type()?;
        if kind.is_dir() {
            copy_tree_for(&source, &target, owner)?;
        } else {
            copy_file_for(&source, &target, owner)?;
        }
    }
    fs::set_permissions(to, std::fs::Permissions::from_mode(meta.permissions().mode() & 0o7777 | 0o700))?;
    keep(&meta, to, owner)
}

fn copy_file_for(from: &Path, to: &Path, owner: Option<BuildUser>) -> io::Result<()> {
    let meta = fs::symlink_metadata(from)?;
    if let Err(error) = std::fs::remove_file(to) {
        if error.kind() != io::ErrorKind::NotFound {
            return Err(io::Error::new(error.kind(), format!("cannot replace {}: {error}", to.display())));
        }
    }
    if meta.is_symlink() {
        symlink(fs::read_link(from)?, to)?;
    } else if meta.is_file() {
        fs::copy(from, to)?;
        let mode = meta.permissions().mode();
        if owner.is_some_and(|owner| !owner.mapped) && mode & 0o600 != 0o600 {
            // An unmapped build user needs owner read and write: as root, builds never depended on file modes.
            fs::set_permissions(to, std::fs::Permissions::from_mode((mode | 0o600) & 0o7777))?;
        }
    } else {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("{} is no file, directory or link", from.display()),
        ));
    }
    keep(&meta, to, owner)
}

fn keep(meta: &std::fs::Metadata, to: &Path, owner: Option<BuildUser>) -> io::Result<()> {
    let time = |sec, nsec| Timespec { tv_sec: sec, tv_nsec: nsec };
    let times = Timestamps {
        last_access: time(meta.atime(), meta.atime_nsec()),
        last_modification: time(meta.mtime(), meta.mtime_nsec()),
    };
    utimensat(CWD, to, &times, AtFlags::SYMLINK_NOFOLLOW)?;
    if let Some(BuildUser { base, .. }) = owner {
        lchown(to, Some(base), Some(base))?;
    } else if rustix::process::geteuid().is_root() {
        // Not everywhere allowed (user namespaces, some network file systems), and not worth failing for.
        let _ = lchown(to, Some(meta.uid()), Some(meta.gid()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_keeps_times_modes_and_links() {
        let tmp = tempfile::tempdir().unwrap();
        let (from, to) = (tmp.path().join("a"), tmp.path().join("b"));
        fs::create_dir_all(from.join("sub")).unwrap();
        fs::write(from.join("sub/x"), "1").unwrap();
        fs::set_permissions(from.join("sub/x"), std::fs::Permissions::from_mode(0o755)).unwrap();
        symlink("sub/x", from.join("link")).unwrap();
        symlink("/nowhere", from.join("dangling")).unwrap();
        let old = Timestamps {
            last_access: Timespec { tv_sec: 5, tv_nsec: 0 },
            last_modification: Timespec { tv_sec: 7, tv_nsec: 9 },
        };
        utimensat(CWD, from.join("sub/x"), &old, AtFlags::empty()).unwrap();
        copy_tree(&from, &to).unwrap();
        copy_tree(&from, &to).unwrap();
        let meta = fs::metadata(to.join("sub/x")).unwrap();
        assert_eq!((meta.mtime(), meta.mtime_nsec(), meta.mode() & 0o777), (7, 9, 0o755));
        assert_eq!(fs::read_link(to.join("link")).unwrap(), Path::new("sub/x"));
        assert_eq!(fs::read_link(to.join("dangling")).unwrap(), Path::new("/nowhere"));
    }
}
