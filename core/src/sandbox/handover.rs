//! Directories that go to a build and come back.
//!
//! What comes back is root's again, without set-id bits and access control lists.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fd::OwnedFd;
use rustix::fs::{
    AtFlags, CWD, Dir, FileType, Gid, Mode, OFlags, Stat, Uid, chownat, fchmod, fchown, fremovexattr, fstat, openat,
    statat, unlinkat,
};
use rustix::io::Errno;

use crate::sandbox::BuildUser;

/// Directories in directories: more than any source has, and few enough for descriptors and the stack.
pub const DEEPEST: usize = 128;

/// Why a directory could not be given, or taken back.
#[derive(Debug, thiserror::Error)]
pub enum HandoverError {
    /// The system refused something.
    #[error("{}: {source}", path.display())]
    Io {
        /// Where.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
    /// Something is there that must not be.
    #[error("{}: {what}", path.display())]
    Planted {
        /// Where.
        path: PathBuf,
        /// What.
        what: &'static str,
    },
}

/// Makes everything in `dir`, which no build has seen yet, and `dir` itself, the build's.
pub fn give(dir: &Path, to: BuildUser) -> Result<(), HandoverError> {
    walk(dir, &mut |entry| {
        // The first user of the range, which the build itself is.
        entry.own(Uid::from_raw(to.base), Gid::from_raw(to.base))
    })
}

/// Makes everything in `dir`, and `dir` itself, root's again. The build's processes have ended. This is for somebody to
/// look at; what is to be used is copied ([`super::copy_out`]).
pub fn take_back(dir: &Path, from: BuildUser) -> Result<(), HandoverError> {
    walk(dir, &mut |entry| {
        let kind = FileType::from_raw_mode(entry.stat.st_mode);
        // A second name of somebody else's file, whose owner and mode are not to change.
        if !from.has(entry.stat.st_uid) && kind != FileType::Directory && entry.stat.st_nlink > 1 {
            return entry.unlink();
        }
        entry.own(Uid::ROOT, Gid::ROOT)?;
        entry.make_plain(kind)
    })
}

/// One file, by the directory it is in.
struct Entry<'a> {
    dir: &'a OwnedFd,
    name: &'a OsStr,
    /// Its whole path, for messages.
    path: &'a Path,
    stat: Stat,
}

impl Entry<'_> {
    fn failed(&self) -> impl Fn(rustix::io::Errno) -> HandoverError + '_ {
        |error| HandoverError::Io { path: self.path.to_owned(), source: error.into() }
    }

    fn own(&self, user: Uid, group: Gid) -> Result<(), HandoverError> {
        if (self.stat.st_uid, self.stat.st_gid) == (user.as_raw(), group.as_raw()) {
            return Ok(());
        }
        chownat(self.dir, self.name, Some(user), Some(group), AtFlags::SYMLINK_NOFOLLOW).map_err(self.failed())
    }

    fn unlink(&self) -> Result<(), HandoverError> {
        unlinkat(self.dir, self.name, AtFlags::empty()).map_err(self.failed())
    }

    /// Takes set-id bits and access control lists away: a default list decides the mode of what root writes in a directory
    /// (acl(5)). By descriptor: chmod(2) follows links. What is neither file nor directory can't be opened, and is kept.
    fn make_plain(&self, kind: FileType) -> Result<(), HandoverError> {
        if !matches!(kind, FileType::RegularFile | FileType::Directory) {
            return Ok(());
        }
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = openat(self.dir, self.name, flags, Mode::empty()).map_err(self.failed())?;
        for list in ["system.posix_acl_default", "system.posix_acl_access"] {
            match fremovexattr(&file, list) {
                // It has none; its file system knows none.
                Ok(()) | Err(Errno::NODATA | Errno::NOTSUP | Errno::INVAL | Errno::ACCESS) => {}
                Err(error) => return Err(self.failed()(error)),
            }
        }
        // Taking a list away may have changed the mode.
        let before = Mode::from_raw_mode(fstat(&file).map_err(self.failed())?.st_mode);
        let mode = before - (Mode::SUID | Mode::SGID);
        if mode == before { Ok(()) } else { fchmod(file, mode).map_err(self.failed()) }
    }
}

type Each<'a> = dyn FnMut(&Entry<'_>) -> Result<(), HandoverError> + 'a;

/// Shows `each` the directory itself first, then all that is in it, directories before what they hold: once they are
/// root's, nobody else puts anything there. No link is followed.
fn walk(dir: &Path, each: &mut Each<'_>) -> Result<(), HandoverError> {
    let failed = |error: rustix::io::Errno| HandoverError::Io { path: dir.to_owned(), source: error.into() };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let fd = openat(CWD, dir, flags, Mode::empty()).map_err(failed)?;
    let stat = fstat(&fd).map_err(failed)?;
    each(&Entry { dir: &fd, name: OsStr::new("."), path: dir, stat })?;
    below(&fd, dir, each, 0)
}

fn below(dir: &OwnedFd, path: &Path, each: &mut Each<'_>, depth: usize) -> Result<(), HandoverError> {
    let failed = |error: rustix::io::Errno| HandoverError::Io { path: path.to_owned(), source: error.into() };
    if depth > DEEPEST {
        return Err(HandoverError::Planted { path: path.to_owned(), what: "too many directories in each other" });
    }
    let mut names = Vec::new();
    for entry in Dir::read_from(dir).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name().to_bytes().to_vec();
        if name != b"." && name != b".." {
            names.push(name);
        }
    }
    for name in names {
        let name = OsStr::from_bytes(&name);
        let path = path.join(name);
        let failed = |error: rustix::io::Errno| HandoverError::Io { path: path.clone(), source: error.into() };
        let stat = statat(dir, name, AtFlags::SYMLINK_NOFOLLOW).map_err(failed)?;
        let is_dir = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
        each(&Entry { dir, name, path: &path, stat })?;
        if is_dir {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            below(&openat(dir, name, flags, Mode::empty()).map_err(failed)?, &path, each, depth + 1)?;
        }
    }
    Ok(())
}

/// Makes one directory the build's; what is in it stays as it is.
pub fn give_alone(dir: &Path, to: BuildUser) -> io::Result<()> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let fd = openat(CWD, dir, flags, Mode::empty())?;
    Ok(fchown(fd, Some(Uid::from_raw(to.base)), Some(Gid::from_raw(to.base)))?)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

    use super::*;

    const BUILD: BuildUser = BuildUser { base: 0x7f01_0000, mapped: true };

    fn set(path: &Path, mode: u32) {
        fs_err::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    }

    fn tree() -> (tempfile::TempDir, PathBuf) {
        let tmp = tempfile::tempdir().unwrap();
        let dir = tmp.path().join("artefact");
        fs_err::create_dir_all(dir.join("module")).unwrap();
        fs_err::write(dir.join("module/a.ko"), "a").unwrap();
        symlink("module/a.ko", dir.join("a")).unwrap();
        symlink("../module/a.ko", dir.join("module/b")).unwrap();
        (tmp, dir)
    }

    #[test]
    fn what_is_left_to_look_at_keeps_its_links() {
        if !crate::test_support::is_root() {
            return;
        }
        let (tmp, dir) = tree();
        let secret = tmp.path().join("secret");
        fs_err::write(&secret, "s").unwrap();
        set(&secret, 0o4755);
        give(&dir, BUILD).unwrap();
        set(&dir.join("module/a.ko"), 0o4711);
        symlink(&secret, dir.join("x")).unwrap();
        fs_err::hard_link(&secret, dir.join("hard")).unwrap();
        // `u::rwx,g::rwx,o::rwx` for all that comes (linux/posix_acl_xattr.h), where the file system has such lists.
        let entry = |tag: u8| [&[tag, 0, 7, 0][..], &[0xff; 4]].concat();
        let list = [vec![2, 0, 0, 0], entry(1), entry(4), entry(0x20)].concat();
        let flags = rustix::fs::XattrFlags::empty();
        let has_lists = rustix::fs::setxattr(dir.join("module"), "system.posix_acl_default", &list, flags).is_ok();
        take_back(&dir, BUILD).unwrap();
        let found = rustix::fs::getxattr(dir.join("module"), "system.posix_acl_default", &mut [0_u8; 64][..]);
        assert!(found.is_err(), "a list is left ({has_lists})");
        let meta = fs_err::metadata(dir.join("module/a.ko")).unwrap();
        assert_eq!((meta.uid(), meta.mode() & 0o7777), (0, 0o711));
        assert!(dir.join("x").is_symlink() && !dir.join("hard").exists());
        assert_eq!(fs_err::metadata(&secret).unwrap().mode() & 0o7777, 0o4755);
    }
}
