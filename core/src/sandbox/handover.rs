//! Directories that go to a build and come back.
//!
//! What comes back is root's again, without anything that would do to root, or to others, what the build could not: no
//! set-id bits, and in an artefact no links that lead out of it, no pipes and no devices.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fd::OwnedFd;
use rustix::fs::{
    AtFlags, CWD, Dir, FileType, Gid, Mode, OFlags, Stat, Uid, chownat, fchmod, fchown, fstat, openat, statat, unlinkat,
};

use crate::archive::links;
use crate::sandbox::BuildUser;

/// Directories in directories: more than any source has, and few enough for descriptors and the stack.
const DEEPEST: usize = 128;

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

/// What may be in a directory that comes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Contents {
    /// Whatever a build leaves: for somebody to look at.
    Any,
    /// An artefact: files and directories, and links among them.
    Artefact,
}

/// Makes everything in `dir`, which no build has seen yet, and `dir` itself, the build's.
pub fn give(dir: &Path, to: BuildUser) -> Result<(), HandoverError> {
    walk(dir, &mut |entry| {
        // The first user of the range, which the build itself is.
        entry.own(Uid::from_raw(to.base), Gid::from_raw(to.base))
    })
}

/// Makes everything in `dir`, and `dir` itself, root's again. The build's processes have ended.
pub fn take_back(dir: &Path, from: BuildUser, contents: Contents) -> Result<(), HandoverError> {
    walk(dir, &mut |entry| {
        let strict = contents == Contents::Artefact;
        let refuse = |what| Err(HandoverError::Planted { path: entry.path.to_owned(), what });
        let kind = FileType::from_raw_mode(entry.stat.st_mode);
        if !from.has(entry.stat.st_uid) && kind != FileType::Directory {
            // Ours, or a second name of somebody else's file, whose owner and mode are not to change.
            if entry.stat.st_nlink > 1 {
                return if strict { refuse("not a file of the build's own") } else { entry.unlink() };
            }
        }
        if strict {
            match kind {
                // Links are looked at below, when nobody else can change them.
                FileType::Directory | FileType::RegularFile | FileType::Symlink => {}
                _ => return refuse("no file, directory or link"),
            }
        }
        entry.own(Uid::ROOT, Gid::ROOT)?;
        let before = Mode::from_raw_mode(entry.stat.st_mode);
        let mode = match (kind, strict) {
            (FileType::Symlink, _) => return Ok(()),
            (FileType::Directory, true) => Mode::from_raw_mode(0o755),
            // Others build against what is in it.
            (_, true) => (before & Mode::from_raw_mode(0o755)) | Mode::from_raw_mode(0o444),
            (_, false) => before - (Mode::SUID | Mode::SGID),
        };
        if mode == before { Ok(()) } else { entry.change_mode(kind, mode) }
    })?;
    if contents == Contents::Artefact {
        let stray = links::first_stray(dir).map_err(|source| HandoverError::Io { path: dir.to_owned(), source })?;
        if let Some(stray) = stray {
            return Err(HandoverError::Planted {
                path: dir.join(stray.link),
                what: "a link that leads out of the artefact",
            });
        }
    }
    Ok(())
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

    /// By descriptor: chmod(2) follows links. What is neither file nor directory can't be opened, and keeps its mode.
    fn change_mode(&self, kind: FileType, mode: Mode) -> Result<(), HandoverError> {
        if !matches!(kind, FileType::RegularFile | FileType::Directory) {
            return Ok(());
        }
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = openat(self.dir, self.name, flags, Mode::empty()).map_err(self.failed())?;
        fchmod(file, mode).map_err(self.failed())
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
    fn an_artefact_comes_back_as_root_s() {
        if !rustix::process::geteuid().is_root() {
            return;
        }
        let (_tmp, dir) = tree();
        give(&dir, BUILD).unwrap();
        assert_eq!(fs_err::symlink_metadata(dir.join("a")).unwrap().uid(), BUILD.base);
        set(&dir.join("module/a.ko"), 0o6777);
        set(&dir.join("module"), 0o2770);
        take_back(&dir, BUILD, Contents::Artefact).unwrap();
        for (path, mode) in [("module/a.ko", 0o755), ("module", 0o755), (".", 0o755), ("a", 0o777)] {
            let meta = fs_err::symlink_metadata(dir.join(path)).unwrap();
            assert_eq!((meta.uid(), meta.gid(), meta.mode() & 0o7777), (0, 0, mode), "{path}");
        }
    }

    #[test]
    fn what_does_not_belong_in_an_artefact() {
        if !rustix::process::geteuid().is_root() {
            return;
        }
        type Plant = fn(&Path);
        let plants: [Plant; 6] = [
            // By way of another link, which stays inside by itself.
            |dir| {
                fs_err::create_dir_all(dir.join("d/e")).unwrap();
                symlink("../..", dir.join("d/e/up")).unwrap();
                symlink("../d/e/up/d/e/up/../secret", dir.join("module/x")).unwrap();
            },
            |dir| symlink("/etc/shadow", dir.join("x")).unwrap(),
            |dir| symlink("../../x", dir.join("module/x")).unwrap(),
            |dir| rustix::fs::mknodat(CWD, dir.join("x"), FileType::Fifo, Mode::RUSR, 0).unwrap(),
            |dir| fs_err::hard_link(dir.join("../secret"), dir.join("x")).unwrap(),
            |dir| fs_err::create_dir_all(dir.join("d/".repeat(DEEPEST + 2))).unwrap(),
        ];
        for (index, plant) in plants.iter().enumerate() {
            let (tmp, dir) = tree();
            let secret = tmp.path().join("secret");
            fs_err::write(&secret, "s").unwrap();
            std::os::unix::fs::chown(&secret, Some(7), Some(7)).unwrap();
            set(&secret, 0o4755);
            give(&dir, BUILD).unwrap();
            plant(&dir);
            let error = take_back(&dir, BUILD, Contents::Artefact).unwrap_err();
            assert!(matches!(error, HandoverError::Planted { .. }), "{index}: {error}");
            let meta = fs_err::metadata(&secret).unwrap();
            assert_eq!((meta.uid(), meta.mode() & 0o7777), (7, 0o4755), "{index}");
        }
    }

    #[test]
    fn what_is_left_to_look_at_keeps_its_links() {
        if !rustix::process::geteuid().is_root() {
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
        take_back(&dir, BUILD, Contents::Any).unwrap();
        let meta = fs_err::metadata(dir.join("module/a.ko")).unwrap();
        assert_eq!((meta.uid(), meta.mode() & 0o7777), (0, 0o711));
        assert!(dir.join("x").is_symlink() && !dir.join("hard").exists());
        assert_eq!(fs_err::metadata(&secret).unwrap().mode() & 0o7777, 0o4755);
    }
}
