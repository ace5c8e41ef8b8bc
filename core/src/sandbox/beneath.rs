//! Files in a directory that a build has written to: taken for what they are, never for what they point at.
//!
//! A build may plant links to files that only root can read, pipes that nobody writes to, or hard links to other
//! people's files. Everything that root reads from, or writes to, a build's directory goes through [`Beneath`].

use std::ffi::{CString, OsStr};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, open, openat, openat2, readlinkat, renameat, unlinkat};
use rustix::io::Errno;

use crate::durable::{NEW, unique};
use crate::sandbox::BuildUser;

/// How many links by the directory's own name are followed for one file.
const LINKS: u32 = 8;
/// More than any module has (amdgpu.ko with all its debug sections: 500 MB).
const MOST: u64 = 1 << 30;

/// Why a file is not taken.
#[derive(Debug, thiserror::Error)]
pub enum BeneathError {
    /// It can't be opened, or leads out of the directory.
    #[error("{} can't be opened in the build directory: {}", path.display(), refusal(.source))]
    Open {
        /// Its name in the directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It can't be read or written.
    #[error("{}: {source}", path.display())]
    Data {
        /// Its name in the directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It is a directory, a pipe or a device.
    #[error("{} is no regular file", .0.display())]
    Kind(PathBuf),
    /// It is a link to a file that the build did not make.
    #[error("{} is not a file of the build's own", .0.display())]
    Foreign(PathBuf),
    /// Nobody builds such a file.
    #[error("{} is larger than {} MiB", .0.display(), .1 >> 20)]
    Size(PathBuf, u64),
}

/// What a refusal means here.
fn refusal(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::CrossesDevices => "it leads out of that directory".to_owned(),
        _ => error.to_string(),
    }
}

/// A directory, and who writes to it.
#[derive(Debug)]
pub struct Beneath {
    dir: OwnedFd,
    /// What the build calls the directory: its links may have the name in them.
    called: PathBuf,
    owner: Option<BuildUser>,
}

impl Beneath {
    /// The directory `dir`, an absolute path that the build has no hand in, and calls `called`. With an `owner`, only files
    /// of that build's users are taken. Without, the build was who we are: nothing that we can read was hidden from it,
    /// and its links lead where they lead.
    pub fn new(dir: &Path, called: &Path, owner: Option<BuildUser>) -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let dir = openat(CWD, dir, flags, Mode::empty())
            .map_err(|error| io::Error::new(error.kind(), format!("open {}: {error}", dir.display())))?;
        Ok(Self { dir, called: called.to_owned(), owner })
    }

    /// Opens the regular file at `path` for reading. Links count as long as they stay in the directory.
    pub fn file(&self, path: &Path) -> Result<File, BeneathError> {
        // A pipe must not make us wait for a writer (open(2), O_NONBLOCK), nor a terminal become ours.
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let failed = |source: io::Error| BeneathError::Open { path: path.to_owned(), source };
        let file = File::from(self.open(path, flags).map_err(|error| failed(error.into()))?);
        let meta = file.metadata().map_err(failed)?;
        if !meta.is_file() {
            return Err(BeneathError::Kind(path.to_owned()));
        }
        if self.owner.is_some_and(|owner| !owner.has(meta.uid()) && meta.nlink() > 1) {
            return Err(BeneathError::Foreign(path.to_owned()));
        }
        if meta.len() > MOST {
            return Err(BeneathError::Size(path.to_owned(), MOST));
        }
        Ok(file)
    }

    fn open(&self, path: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
        if self.owner.is_none() {
            return openat(&self.dir, path, flags, Mode::empty());
        }
        let mut path = self.within(path);
        // Links by the directory's own name are taken for what they mean; any part of a path may be one.
        for _ in 0..LINKS {
            match resolve(&self.dir, &path, flags) {
                Err(Errno::XDEV) => path = self.by_own_name(&path)?,
                other => return other,
            }
        }
        Err(Errno::LOOP)
    }

    /// `path` with the first link on it replaced by what it means, if that link begins with the directory's own name.
    fn by_own_name(&self, path: &Path) -> Result<PathBuf, Errno> {
        let here = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let mut above = PathBuf::from(".");
        let mut rest = path.components();
        while let Some(name) = rest.next() {
            let dir = resolve(&self.dir, &above, here)?;
            if let Ok(target) = readlinkat(&dir, name.as_os_str(), Vec::new()) {
                let target = PathBuf::from(OsStr::from_bytes(CString::as_bytes(&target)));
                if target.is_absolute() {
                    let inside = target.strip_prefix(&self.called).map_err(|_| Errno::XDEV)?;
                    let rest = rest.as_path();
                    // Joined with nothing, a file's name would end in a slash.
                    let to = if rest == Path::new("") { inside.to_owned() } else { inside.join(rest) };
                    return Ok(Path::new(".").join(to));
                }
            }
            above.push(name);
        }
        Err(Errno::XDEV)
    }

    /// `../build/x` is `x`, in a directory that is called `build`.
    fn within(&self, path: &Path) -> PathBuf {
        let name = self.called.file_name().unwrap_or_default();
        path.strip_prefix(Path::new("..").join(name)).unwrap_or(path).to_owned()
    }

    /// What is in the regular file at `path`; `None` if there is nothing of that name.
    pub fn read(&self, path: &Path) -> Result<Option<Vec<u8>>, BeneathError> {
        self.read_at_most(path, MOST)
    }

    /// As [`Beneath::read`], of no more than `most` bytes.
    pub fn read_at_most(&self, path: &Path, most: u64) -> Result<Option<Vec<u8>>, BeneathError> {
        let file = match self.file(path) {
            Err(BeneathError::Open { source, .. }) if source.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other?,
        };
        let mut bytes = Vec::new();
        match file.take(most + 1).read_to_end(&mut bytes) {
            Ok(_) if bytes.len() as u64 > most => Err(BeneathError::Size(path.to_owned(), most)),
            Ok(_) => Ok(Some(bytes)),
            Err(source) => Err(BeneathError::Data { path: path.to_owned(), source }),
        }
    }

    /// Puts a file of the build's with these bytes at `path`, in the place of what is there; a link is not followed.
    pub fn replace(&self, path: &Path, bytes: &[u8]) -> Result<(), BeneathError> {
        let data = |source: io::Error| BeneathError::Data { path: path.to_owned(), source };
        let name = path.file_name().unwrap_or_default();
        let above = path.parent().filter(|above| *above != Path::new("")).unwrap_or(Path::new("."));
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let dir = self
            .open(above, flags)
            .map_err(|error| BeneathError::Open { path: path.to_owned(), source: error.into() })?;
        let temp = format!("{NEW}{}", unique());
        let write = || -> io::Result<()> {
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let mut file = File::from(openat(&dir, temp.as_str(), flags, Mode::from_raw_mode(0o644))?);
            file.write_all(bytes)?;
            if let Some(owner) = self.owner {
                owner.give(&file)?;
            }
            Ok(renameat(&dir, temp.as_str(), &dir, name)?)
        };
        write().map_err(|error| {
            let _ = unlinkat(&dir, temp.as_str(), rustix::fs::AtFlags::empty());
            data(error)
        })
    }
}

/// Opens `path` in `dir` without ever leaving it (openat2(2), `RESOLVE_BENEATH`). Where the kernel is older than 5.6, or a
/// container's filter does not know the call, no link is followed at all.
fn resolve(dir: &OwnedFd, path: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
    // "Try again" when something was renamed meanwhile; a build that keeps doing that does not get far.
    const TRIES: u32 = 16;
    let how = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    for _ in 0..TRIES {
        match openat2(dir, path, flags, Mode::empty(), how) {
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(Errno::NOSYS | Errno::PERM) => return step_by_step(dir, path, flags),
            other => return other,
        }
    }
    Err(Errno::AGAIN)
}

fn step_by_step(dir: &OwnedFd, path: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
    let mut names: Vec<&OsStr> = Vec::new();
    for part in path.components() {
        match part {
            Component::Normal(name) => names.push(name),
            Component::CurDir => {}
            _ => return Err(Errno::XDEV),
        }
    }
    let last = names.pop().unwrap_or(OsStr::new("."));
    let mut here = dir.as_fd().try_clone_to_owned().map_err(|_| Errno::MFILE)?;
    for name in names {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        here = openat(&here, name, flags, Mode::empty())?;
    }
    openat(&here, last, flags | OFlags::NOFOLLOW, Mode::empty())
}

/// Makes the file `path`, which must not be there yet, for writing, reading and appending: what it becomes later is
/// reached through this descriptor alone.
pub fn create_new(path: &Path) -> io::Result<File> {
    let flags = OFlags::RDWR | OFlags::APPEND | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = open(path, flags, Mode::from_raw_mode(0o644))
        .map_err(|error| io::Error::new(error.kind(), format!("create {}: {error}", path.display())))?;
    Ok(File::from(file))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    const BUILD: BuildUser = BuildUser { base: 0x7f00_0000, mapped: true };

    /// A directory with everything a build might plant, beside a secret.
    fn hostile() -> (tempfile::TempDir, PathBuf) {
        let tmp = tempfile::tempdir().unwrap();
        let dir = tmp.path().join("build");
        fs_err::create_dir_all(dir.join("sub/dir.ko")).unwrap();
        fs_err::write(tmp.path().join("secret"), "the key").unwrap();
        fs_err::write(dir.join("sub/good.ko"), "module").unwrap();
        symlink("sub/good.ko", dir.join("inner.ko")).unwrap();
        symlink("sub", dir.join("way")).unwrap();
        symlink("../secret", dir.join("out.ko")).unwrap();
        symlink(tmp.path().join("secret"), dir.join("absolute.ko")).unwrap();
        symlink("..", dir.join("up")).unwrap();
        symlink("/tree/build/sub/good.ko", dir.join("named.ko")).unwrap();
        symlink("/tree/build/out.ko", dir.join("named-out.ko")).unwrap();
        symlink("/tree/build/sub", dir.join("named-dir")).unwrap();
        symlink("/tree/build", dir.join("named-self")).unwrap();
        symlink("/tree/build/..", dir.join("named-up")).unwrap();
        symlink("/tree", dir.join("named-above")).unwrap();
        symlink("/tree/build/named-loop.ko", dir.join("named-loop.ko")).unwrap();
        symlink("/proc/self/root/etc/passwd", dir.join("magic.ko")).unwrap();
        symlink("loop.ko", dir.join("loop.ko")).unwrap();
        rustix::fs::mknodat(CWD, dir.join("pipe.ko"), rustix::fs::FileType::Fifo, Mode::RUSR, 0).unwrap();
        fs_err::hard_link(tmp.path().join("secret"), dir.join("hard.ko")).unwrap();
        (tmp, dir)
    }

    #[test]
    fn only_own_regular_files_are_read() {
        let (_tmp, dir) = hostile();
        // Nobody here is of this range: a file with more names than one may be anybody's.
        let beneath = Beneath::new(&dir, Path::new("/tree/build"), Some(BUILD)).unwrap();
        for good in [
            "sub/good.ko",
            "./inner.ko",
            "way/good.ko",
            "named.ko",
            "../build/sub/good.ko",
            "named-dir/good.ko",
            "named-self/named-dir/good.ko",
        ] {
            assert_eq!(beneath.read(Path::new(good)).unwrap().unwrap(), b"module", "{good}");
        }
        for bad in [
            "out.ko",
            "named-out.ko",
            "named-up/secret",
            "named-above/secret",
            "named-self/out.ko",
            "named-loop.ko",
            "absolute.ko",
            "up/secret",
            "../secret",
            "magic.ko",
            "loop.ko",
            "pipe.ko",
            "sub/dir.ko",
            "hard.ko",
            "/etc/passwd",
        ] {
            assert!(beneath.read(Path::new(bad)).is_err(), "{bad}");
        }
        assert_eq!(beneath.read(Path::new("none.ko")).unwrap(), None);
        assert_eq!(beneath.read(Path::new("none/none.ko")).unwrap(), None);
        let huge = File::create(dir.join("huge.ko")).unwrap();
        huge.set_len(MOST + 1).unwrap();
        assert!(matches!(beneath.read(Path::new("huge.ko")), Err(BeneathError::Size(..))));
        assert!(matches!(beneath.read_at_most(Path::new("sub/good.ko"), 5), Err(BeneathError::Size(_, 5))));
        assert!(beneath.read_at_most(Path::new("sub/good.ko"), 6).unwrap().is_some());
    }

    #[test]
    fn old_kernels_follow_no_link() {
        let (_tmp, dir) = hostile();
        let beneath = Beneath::new(&dir, Path::new("/tree/build"), Some(BUILD)).unwrap();
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        assert!(step_by_step(&beneath.dir, Path::new("./sub/good.ko"), flags).is_ok());
        for bad in ["inner.ko", "way/good.ko", "out.ko", "absolute.ko", "up/secret", "../secret", "/etc/passwd"] {
            assert!(step_by_step(&beneath.dir, Path::new(bad), flags).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_is_put_replaces_a_link_and_not_its_target() {
        if !crate::test_support::is_root() {
            return;
        }
        let (tmp, dir) = hostile();
        let beneath = Beneath::new(&dir, Path::new("/tree/build"), Some(BUILD)).unwrap();
        for name in ["out.ko", "hard.ko", "pipe.ko", "sub/good.ko", "way/new.ko"] {
            beneath.replace(Path::new(name), b"signed").unwrap();
            assert_eq!(beneath.read(Path::new(name)).unwrap().unwrap(), b"signed", "{name}");
        }
        assert!(beneath.replace(Path::new("up/new.ko"), b"x").is_err());
        assert!(beneath.replace(Path::new("sub/dir.ko"), b"x").is_err());
        assert_eq!(fs_err::read(tmp.path().join("secret")).unwrap(), b"the key");
        assert!(!tmp.path().join("new.ko").exists());
        let left = fs_err::read_dir(dir.join("sub")).unwrap().count();
        assert_eq!(left, 3, "no temporary file is left");
    }
}
