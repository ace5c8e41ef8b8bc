//! The private directory that an archive is unpacked into.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{AtFlags, Mode, OFlags, Timespec, Timestamps};
use rustix::io::Errno;

use super::entry::{Entry, Kind};
use super::fault::{Fault, io_fault, sys_fault};
use super::source::Source;

/// What a name is, and for directories what to set at the end: mode and time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Known {
    File,
    Link,
    /// Made because something below it came first.
    Implied,
    Directory(u32, i64),
}

/// The private directory. Every name is walked from its top without following links.
pub(super) struct Tree {
    pub(super) top: OwnedFd,
    pub(super) known: BTreeMap<String, Known>,
    /// How many directories were made.
    pub(super) directories: usize,
}

impl Tree {
    pub(super) fn add(&mut self, entry: &Entry, source: &mut Source<'_>) -> Result<(), Fault> {
        let mode = entry.mode & 0o755;
        if entry.name.is_empty() {
            let first = self.known.insert(String::new(), Known::Directory(mode, entry.mtime)).is_none();
            return if first { Ok(()) } else { Err(Fault::Duplicate) };
        }
        match self.known.get(&entry.name) {
            None => {}
            Some(Known::Implied) if entry.kind == Kind::Directory => {
                self.known.insert(entry.name.clone(), Known::Directory(mode, entry.mtime));
                return Ok(());
            }
            Some(_) => return Err(Fault::Duplicate),
        }
        let (dir, leaf) = self.parent_of(&entry.name)?;
        let known = match entry.kind {
            Kind::Directory => {
                rustix::fs::mkdirat(&dir, leaf, Mode::from_raw_mode(0o700))
                    .map_err(occupied("cannot make the directory"))?;
                self.directories += 1;
                Known::Directory(mode, entry.mtime)
            }
            Kind::File => {
                write_file(&dir, leaf, entry, source)?;
                Known::File
            }
            Kind::Symlink => {
                if entry.link.is_empty() || entry.link.starts_with('/') {
                    let why = if entry.link.is_empty() { "it points nowhere" } else { "it is absolute" };
                    return Err(Fault::Link { target: entry.link.clone(), why });
                }
                rustix::fs::symlinkat(entry.link.as_str(), &dir, leaf).map_err(occupied("cannot make the link"))?;
                set_time(&dir, leaf, entry.mtime)?;
                Known::Link
            }
            Kind::HardLink => {
                if self.known.get(&entry.link) != Some(&Known::File) {
                    return Err(Fault::HardLink(entry.link.clone()));
                }
                let (old_dir, old_leaf) = self.parent_of(&entry.link)?;
                rustix::fs::linkat(&old_dir, old_leaf, &dir, leaf, AtFlags::empty())
                    .map_err(occupied("cannot make the hard link"))?;
                Known::File
            }
        };
        self.known.insert(entry.name.clone(), known);
        Ok(())
    }

    /// Opens the directory that `name` belongs in, making what is missing, and gives its last part.
    pub(super) fn parent_of<'n>(&mut self, name: &'n str) -> Result<(OwnedFd, &'n str), Fault> {
        let mut here = self.top.try_clone().map_err(io_fault("cannot open the directory"))?;
        let (parents, leaf) = name.rsplit_once('/').unwrap_or(("", name));
        let mut end = 0;
        for part in parents.split('/').filter(|p| !p.is_empty()) {
            end += part.len() + usize::from(end > 0);
            let path = &name[..end];
            match self.known.get(path) {
                Some(Known::Implied | Known::Directory(..)) => {}
                Some(_) => return Err(Fault::Prefix),
                None => {
                    rustix::fs::mkdirat(&here, part, Mode::from_raw_mode(0o700))
                        .map_err(occupied("cannot make the directory"))?;
                    self.directories += 1;
                    self.known.insert(path.to_owned(), Known::Implied);
                }
            }
            let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            here = rustix::fs::openat(&here, part, flags, Mode::empty()).map_err(|error| match error {
                Errno::LOOP | Errno::NOTDIR => Fault::Prefix,
                error => sys_fault("cannot open the directory")(error),
            })?;
        }
        Ok((here, leaf))
    }

    /// Gives the directories their modes and times, which making files in them has changed.
    pub(super) fn finish(&mut self) -> Result<(), Fault> {
        let known: Vec<_> = self.known.iter().rev().map(|(name, known)| (name.clone(), *known)).collect();
        for (name, known) in known {
            let (mode, mtime) = match known {
                Known::Directory(mode, mtime) => (mode | 0o700, Some(mtime)),
                Known::Implied => (0o755, None),
                Known::File | Known::Link => continue,
            };
            if name.is_empty() {
                continue;
            }
            let (dir, leaf) = self.parent_of(&name)?;
            rustix::fs::chmodat(&dir, leaf, Mode::from_raw_mode(mode), AtFlags::empty())
                .map_err(sys_fault("cannot set its permissions"))?;
            if let Some(mtime) = mtime {
                set_time(&dir, leaf, mtime)?;
            }
        }
        Ok(())
    }
}

/// Two names that a file system holds for one (upper and lower case) end here too.
pub(super) fn occupied(what: &'static str) -> impl Fn(Errno) -> Fault {
    move |error| match error {
        Errno::EXIST => Fault::Duplicate,
        error => sys_fault(what)(error),
    }
}

pub(super) fn write_file(dir: &OwnedFd, leaf: &str, entry: &Entry, source: &mut Source<'_>) -> Result<(), Fault> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let fd =
        rustix::fs::openat(dir, leaf, flags, Mode::from_raw_mode(0o600)).map_err(occupied("cannot make the file"))?;
    let mut file = File::from(fd);
    let (mut left, mut buffer) = (entry.size, vec![0; 64 * 1024]);
    while left > 0 {
        let want = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        source.exactly(&mut buffer[..want])?;
        file.write_all(&buffer[..want]).map_err(|error| Fault::Io { what: "it cannot be written", error })?;
        left -= want as u64;
    }
    source.padding(entry.size)?;
    rustix::fs::fchmod(file.as_fd(), Mode::from_raw_mode(entry.mode & 0o755 | 0o600))
        .map_err(sys_fault("cannot set its permissions"))?;
    set_time(dir, leaf, entry.mtime)
}

pub(super) fn set_time(dir: &OwnedFd, leaf: &str, seconds: i64) -> Result<(), Fault> {
    let time = Timespec { tv_sec: seconds, tv_nsec: 0 };
    let times = Timestamps { last_access: time, last_modification: time };
    rustix::fs::utimensat(dir, leaf, &times, AtFlags::SYMLINK_NOFOLLOW).map_err(sys_fault("cannot set its time"))
}
