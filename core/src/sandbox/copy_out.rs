//! A copy of what a build may keep of a directory that it had, in a fresh directory that no build ever had.
//!
//! Changing a directory's owner back does not make it safe: default ACLs decide the mode of what root writes there,
//! extended attributes and flags stay, and whoever has a descriptor of a file goes on writing to it. A copy has none of
//! that. The directory may change while it is copied: what is opened is looked at by its descriptor.

use std::ffi::OsStr;
use std::fs::{DirBuilder, File};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use rustix::fd::OwnedFd;
use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, openat, readlinkat, statat};

use crate::archive::links;
use crate::durable;
use crate::sandbox::BuildUser;
use crate::sandbox::handover::{DEEPEST, HandoverError};

/// How much one artefact may be.
#[derive(Debug, Clone, Copy)]
struct Quota {
    /// Files, directories and links.
    entries: u32,
    /// Bytes of all files.
    bytes: u64,
}

/// More than any package has: zfs, the largest one known, has 60 MB in 30 files.
const QUOTA: Quota = Quota { entries: 20_000, bytes: 2 << 30 };

/// Copies the directory `from`, which the build `owner` had, to `to`, which must not exist: regular files of the build's
/// own, directories, and links that stay inside. Files are for everybody to read, and keep no more than their `x` bits.
/// Anything else is refused; what has been copied then stays for the caller to delete.
pub fn copy_out(from: &Path, owner: BuildUser, to: &Path) -> Result<(), HandoverError> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let dir = openat(CWD, from, flags, Mode::empty()).map_err(|error| refused(from, error.into()))?;
    Copy { owner, quota: QUOTA }.directory(&dir, from, to, 0)?;
    let stray = links::first_stray(to).map_err(|error| refused(to, error))?;
    stray.map_or(Ok(()), |stray| planted(&from.join(stray.link), "a link that leads out of the artefact"))
}

struct Copy {
    owner: BuildUser,
    quota: Quota,
}

impl Copy {
    fn directory(&mut self, dir: &OwnedFd, path: &Path, to: &Path, depth: usize) -> Result<(), HandoverError> {
        let failed = |error: rustix::io::Errno| refused(path, error.into());
        if depth > DEEPEST {
            return planted(path, "too many directories in each other");
        }
        DirBuilder::new().mode(0o700).create(to).map_err(|error| refused(to, error))?;
        for entry in Dir::read_from(dir).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let name = OsStr::from_bytes(entry.file_name().to_bytes());
            if name != "." && name != ".." {
                self.entry(dir, name, &path.join(name), &to.join(name), depth)?;
            }
        }
        // Not left to the umask.
        std::fs::set_permissions(to, std::fs::Permissions::from_mode(0o755)).map_err(|error| refused(to, error))
    }

    fn entry(
        &mut self,
        dir: &OwnedFd,
        name: &OsStr,
        path: &Path,
        to: &Path,
        depth: usize,
    ) -> Result<(), HandoverError> {
        let failed = |error: rustix::io::Errno| refused(path, error.into());
        self.quota.entries = match self.quota.entries.checked_sub(1) {
            Some(left) => left,
            None => return planted(path, "more files than an artefact may have"),
        };
        let stat = statat(dir, name, AtFlags::SYMLINK_NOFOLLOW).map_err(failed)?;
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => {
                let below = openat(dir, name, flags | OFlags::DIRECTORY, Mode::empty()).map_err(failed)?;
                self.directory(&below, path, to, depth + 1)
            }
            FileType::RegularFile => {
                let file = File::from(openat(dir, name, flags, Mode::empty()).map_err(failed)?);
                self.file(file, path, to)
            }
            FileType::Symlink => {
                let target = readlinkat(dir, name, Vec::new()).map_err(failed)?;
                symlink(OsStr::from_bytes(target.as_bytes()), to).map_err(|error| refused(to, error))
            }
            _ => planted(path, "no file, directory or link"),
        }
    }

    fn file(&mut self, file: File, path: &Path, to: &Path) -> Result<(), HandoverError> {
        let meta = file.metadata().map_err(|error| refused(path, error))?;
        if !meta.is_file() {
            return planted(path, "no file, directory or link");
        }
        // A second name of somebody else's file, which the build could not read.
        if !self.owner.has(meta.uid()) && meta.nlink() > 1 {
            return planted(path, "not a file of the build's own");
        }
        let mut copy =
            durable::write_new(to, b"", (meta.mode() & 0o755) | 0o644).map_err(|error| refused(to, error.source))?;
        // A file that grows meanwhile is not read for ever.
        let most = self.quota.bytes;
        let length =
            io::copy(&mut file.take(most.saturating_add(1)), &mut copy).map_err(|error| refused(path, error))?;
        match most.checked_sub(length) {
            Some(left) => self.quota.bytes = left,
            None => return planted(path, "more bytes than an artefact may have"),
        }
        let time = meta.modified().and_then(|time| copy.set_modified(time));
        time.map_err(|error| refused(to, error))
    }
}

fn refused(path: &Path, source: io::Error) -> HandoverError {
    HandoverError::Io { path: path.to_owned(), source }
}

fn planted<T>(path: &Path, what: &'static str) -> Result<T, HandoverError> {
    Err(HandoverError::Planted { path: PathBuf::from(path), what })
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    const BUILD: BuildUser = BuildUser { base: 0x7f01_0000, mapped: true };
    type Plant = dyn Fn(&Path);

    fn artefact() -> (tempfile::TempDir, PathBuf, PathBuf) {
        let tmp = tempfile::tempdir().unwrap();
        let dir = tmp.path().join("artefact");
        fs_err::create_dir_all(dir.join("module/sub")).unwrap();
        fs_err::write(dir.join("module/a.ko"), "module").unwrap();
        let to = tmp.path().join("copy");
        (tmp, dir, to)
    }

    fn set(path: &Path, mode: u32) {
        fs_err::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    }

    fn mode(path: &Path) -> u32 {
        fs_err::symlink_metadata(path).unwrap().mode() & 0o7777
    }

    /// `u::rwx,g::rwx,o::rwx` in the form of linux/posix_acl_xattr.h: what makes every new file 0666.
    fn open_acl() -> Vec<u8> {
        let mut acl = 2_u32.to_le_bytes().to_vec();
        for tag in [0x01_u16, 0x04, 0x20] {
            acl.extend(tag.to_le_bytes());
            acl.extend(7_u16.to_le_bytes());
            acl.extend(u32::MAX.to_le_bytes());
        }
        acl
    }

    #[test]
    fn nothing_but_files_directories_and_links_is_kept() {
        let (_tmp, dir, to) = artefact();
        for place in [dir.clone(), dir.join("module")] {
            let flags = rustix::fs::XattrFlags::empty();
            // File systems without ACLs or attributes have nothing to lose.
            let _ = rustix::fs::setxattr(&place, "system.posix_acl_default", &open_acl(), flags);
            let _ = rustix::fs::setxattr(&place, "user.x", b"1", flags);
        }
        fs_err::write(dir.join("module/sub/data"), "d").unwrap();
        set(&dir.join("module/sub/data"), 0o6777);
        set(&dir.join("module/a.ko"), 0o600);
        set(&dir.join("module/sub"), 0o7777);
        symlink("module/a.ko", dir.join("link")).unwrap();
        let mut kept = fs_err::OpenOptions::new().append(true).open(dir.join("module/a.ko")).unwrap();
        copy_out(&dir, BUILD, &to).unwrap();
        kept.write_all(b"TAMPERED").unwrap();
        assert_eq!(fs_err::read(to.join("module/a.ko")).unwrap(), b"module");
        assert_eq!(fs_err::read_link(to.join("link")).unwrap(), Path::new("module/a.ko"));
        for (path, expected) in [("", 0o755), ("module/sub", 0o755), ("module/sub/data", 0o755), ("module/a.ko", 0o644)]
        {
            assert_eq!(mode(&to.join(path)), expected, "{path}");
        }
        // What root writes there has the mode that root gives it.
        drop(durable::write_new(&to.join(".dkms-manifest.json"), b"{}", 0o644).unwrap());
        assert_eq!(mode(&to.join(".dkms-manifest.json")), 0o644);
        for path in ["", "module", "module/a.ko", ".dkms-manifest.json"] {
            let mut names = vec![0_u8; 4096];
            let length = rustix::fs::llistxattr(to.join(path), &mut names[..]).unwrap_or(0);
            let names = String::from_utf8_lossy(&names[..length]).into_owned();
            assert!(!names.contains("posix_acl") && !names.contains("user."), "{path}: {names}");
        }
    }

    #[test]
    fn whatever_else_is_planted_is_refused() {
        let plants: [(&str, &Plant); 8] = [
            ("pipe", &|dir| {
                rustix::fs::mknodat(CWD, dir.join("x"), FileType::Fifo, Mode::RUSR, 0).unwrap();
            }),
            ("socket", &|dir| drop(std::os::unix::net::UnixListener::bind(dir.join("x")).unwrap())),
            ("absolute link", &|dir| symlink("/etc/shadow", dir.join("module/x")).unwrap()),
            ("link up", &|dir| symlink("../../secret", dir.join("module/x")).unwrap()),
            ("link by a link", &|dir| {
                symlink("..", dir.join("module/up")).unwrap();
                symlink("module/up/../secret", dir.join("x")).unwrap();
            }),
            ("hard link", &|dir| {
                fs_err::write(dir.with_file_name("secret"), "s").unwrap();
                fs_err::hard_link(dir.with_file_name("secret"), dir.join("x")).unwrap();
            }),
            ("large", &|dir| File::create(dir.join("x")).unwrap().set_len(QUOTA.bytes + 1).unwrap()),
            ("deep", &|dir| {
                let deep: PathBuf = std::iter::repeat_n("d", DEEPEST + 2).collect();
                fs_err::create_dir_all(dir.join(deep)).unwrap();
            }),
        ];
        for (what, plant) in plants {
            let (_tmp, dir, to) = artefact();
            plant(&dir);
            if what == "large" {
                // Refused by its length alone: nothing of that size is written here.
                let mut copy = Copy { owner: BUILD, quota: Quota { entries: 9, bytes: 4096 } };
                let error = copy.file(File::open(dir.join("x")).unwrap(), &dir.join("x"), &to).unwrap_err();
                assert!(matches!(error, HandoverError::Planted { .. }), "{what}: {error}");
                continue;
            }
            let error = copy_out(&dir, BUILD, &to).unwrap_err();
            assert!(matches!(error, HandoverError::Planted { .. }), "{what}: {error}");
        }
        let (_tmp, dir, to) = artefact();
        let fd = openat(CWD, &dir, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty()).unwrap();
        let mut copy = Copy { owner: BUILD, quota: Quota { entries: 2, bytes: 9 } };
        assert!(copy.directory(&fd, &dir, &to, 0).is_err(), "three entries where two may be");
    }
}
