//! The strict reader of tar archives: everything inside a fresh private directory, or nothing at all.
//!
//! Accepted are regular files, directories, symbolic links and hard links that stay inside. Whatever else
//! an archive holds is a reason to refuse it as a whole; nothing is skipped, renamed or repaired.
//! The format is that of tar(5) as ustar, GNU tar and pax write it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use fs_err as fs;
use rustix::fs::{AtFlags, Mode, OFlags, Timespec, Timestamps};
use rustix::io::Errno;

use super::codec::{self, Format};
use super::extended::{self, Pending};
use super::links;

const BLOCK: usize = 512;

/// How much an archive may hold. The defaults leave room for the largest known packages
/// (nvidia-open: 100 MB, 5,000 files) many times over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Bytes after decompression, headers included. Default: 4 GiB.
    pub total_bytes: u64,
    /// Bytes of one file. Default: 1 GiB.
    pub file_bytes: u64,
    /// Entries, headers of long names included. Default: 200,000.
    pub entries: u64,
    /// Components of a name. Default: 64.
    pub depth: usize,
    /// Bytes out for one byte in. Default: 200.
    pub ratio: u64,
    /// Bytes out before the ratio counts. Default: 16 MiB.
    pub ratio_after: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            total_bytes: 4 << 30,
            file_bytes: 1 << 30,
            entries: 200_000,
            depth: 64,
            ratio: 200,
            ratio_after: 16 << 20,
        }
    }
}

/// Why an archive was refused.
#[derive(Debug, thiserror::Error)]
#[error(
    "The archive {} is refused{}: {fault}.\nNothing was unpacked.",
    .archive.display(),
    .entry.as_ref().map(|e| format!(" because of its entry {e:?}")).unwrap_or_default()
)]
pub struct ReadError {
    /// The archive.
    pub archive: PathBuf,
    /// The entry at fault, with unprintable bytes replaced; `None` if it is the archive as a whole.
    pub entry: Option<String>,
    /// What is wrong.
    pub fault: Fault,
}

/// What can be wrong with an archive or one of its entries.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// Reading or decompressing failed, or writing to the private directory did.
    #[error("{what}: {error}")]
    Io {
        /// What was being done.
        what: &'static str,
        /// The system's or the decoder's word for it.
        error: io::Error,
    },
    /// The file ends before its content does.
    #[error("it is cut short")]
    Truncated,
    /// Not a tar archive, or a damaged one.
    #[error("it is not a tar archive, or it is damaged ({0})")]
    NotTar(&'static str),
    /// Nothing in it.
    #[error("it is empty")]
    Empty,
    /// Bytes behind the end of the archive.
    #[error("something follows the end of the archive")]
    Trailing,
    /// The name is not one.
    #[error("its name {0}")]
    Name(&'static str),
    /// A GNU long name or a pax path.
    #[error("its long name is not acceptable: {0}")]
    LongName(&'static str),
    /// A pax record that would change what an entry is.
    #[error("its pax header is not acceptable: {0}")]
    Pax(String),
    /// The same name twice.
    #[error("the name occurs twice")]
    Duplicate,
    /// A part of the path is no directory.
    #[error("a directory on its path is a link or a file")]
    Prefix,
    /// Not a file, directory or link.
    #[error("it is {0}; only files, directories and links are accepted")]
    Kind(&'static str),
    /// Setuid, setgid or sticky.
    #[error("it has the special permission bits {0:04o} (setuid, setgid or sticky)")]
    SpecialBits(u32),
    /// A directory or link with a body.
    #[error("it has content, which its kind can't have")]
    Body,
    /// A symbolic link that leads outside.
    #[error("it is a link to {target:?} and {why}")]
    Link {
        /// Where it points.
        target: String,
        /// What is wrong with that.
        why: &'static str,
    },
    /// A hard link to something that is not an earlier regular file of the archive.
    #[error("it is a hard link to {0:?}, which is no earlier file of the archive")]
    HardLink(String),
    /// A limit is exceeded.
    #[error("it has more than {limit} {what}")]
    Limit {
        /// What is counted.
        what: &'static str,
        /// How much is allowed.
        limit: u64,
    },
}

/// An unpacked archive. Its directory (mode 0700, not yet synced to disk) is removed when this is dropped.
#[derive(Debug)]
pub struct Unpacked {
    path: Option<PathBuf>,
}

impl Unpacked {
    /// The private directory.
    pub fn path(&self) -> &Path {
        self.path.as_deref().unwrap_or(Path::new(""))
    }

    /// Gives the directory to the caller, who removes or renames it.
    pub fn keep(mut self) -> PathBuf {
        self.path.take().unwrap_or_default()
    }
}

impl Drop for Unpacked {
    fn drop(&mut self) {
        if let Some(path) = self.path.take() {
            if let Err(error) = std::fs::remove_dir_all(&path) {
                log::warn!("cannot remove {}: {error}", path.display());
            }
        }
    }
}

/// Unpacks `archive` (tar; plain, gzip, xz, zstd or bzip2, told by its magic) into a new directory
/// `.dkms-new-*` of mode 0700 in `beside`, so that what is in it can be renamed to where it belongs.
/// On any error that directory is gone again.
pub fn unpack(archive: &Path, beside: &Path, limits: &Limits) -> Result<Unpacked, ReadError> {
    let mut current = None;
    unpack_into(archive, beside, limits, &mut current).map_err(|fault| ReadError {
        archive: archive.to_owned(),
        entry: current,
        fault,
    })
}

fn unpack_into(
    archive: &Path,
    beside: &Path,
    limits: &Limits,
    current: &mut Option<String>,
) -> Result<Unpacked, Fault> {
    let file: File = fs::File::open(archive).map_err(io_fault("it cannot be opened"))?.into();
    let is_file = file.metadata().map_err(io_fault("it cannot be read"))?.is_file();
    if !is_file {
        return Err(Fault::NotTar("no regular file"));
    }
    let unpacked = private_dir(beside).map_err(io_fault("no directory to unpack into"))?;
    let counter = std::rc::Rc::new(std::cell::Cell::new(0));
    let mut input = BufReader::new(Counted { inner: file, count: counter.clone() });
    let head = io::BufRead::fill_buf(&mut input).map_err(io_fault("it cannot be read"))?;
    if head.is_empty() {
        return Err(Fault::Empty);
    }
    let decoder = codec::decoder(Format::of_magic(head), input).map_err(io_fault("it cannot be decompressed"))?;
    let mut source = Source { inner: decoder, limits, consumed: counter, produced: 0 };
    let top = rustix::fs::open(unpacked.path(), OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())
        .map_err(sys_fault("the directory to unpack into cannot be opened"))?;
    let mut tree = Tree { top, known: BTreeMap::new() };
    read_entries(&mut source, limits, &mut tree, current)?;
    *current = None;
    tree.finish()?;
    match links::first_stray(unpacked.path()).map_err(io_fault("what was unpacked cannot be read"))? {
        None => Ok(unpacked),
        Some(stray) => {
            *current = Some(stray.link.display().to_string());
            Err(Fault::Link { target: stray.target.display().to_string(), why: stray.why })
        }
    }
}

fn private_dir(beside: &Path) -> io::Result<Unpacked> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    loop {
        let serial = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = beside.join(format!(".dkms-new-{}-{serial}", std::process::id()));
        match rustix::fs::mkdir(&path, Mode::from_raw_mode(0o700)) {
            Ok(()) => return Ok(Unpacked { path: Some(path) }),
            Err(Errno::EXIST) => {}
            Err(error) => {
                return Err(io::Error::new(io::Error::from(error).kind(), format!("{}: {error}", path.display())));
            }
        }
    }
}

fn io_fault(what: &'static str) -> impl Fn(io::Error) -> Fault {
    move |error| {
        if error.kind() == io::ErrorKind::UnexpectedEof {
            return Fault::Truncated;
        }
        Fault::Io { what, error }
    }
}

fn sys_fault(what: &'static str) -> impl Fn(Errno) -> Fault {
    move |error| Fault::Io { what, error: error.into() }
}

/// Counts the compressed bytes.
struct Counted {
    inner: File,
    count: std::rc::Rc<std::cell::Cell<u64>>,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        self.count.set(self.count.get() + n as u64);
        Ok(n)
    }
}

/// The uncompressed archive, with the limits on all of it.
struct Source<'a> {
    inner: Box<dyn Read + 'a>,
    limits: &'a Limits,
    consumed: std::rc::Rc<std::cell::Cell<u64>>,
    produced: u64,
}

impl Source<'_> {
    fn some(&mut self, buffer: &mut [u8]) -> Result<usize, Fault> {
        let n = loop {
            match self.inner.read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => break other.map_err(io_fault("it cannot be read or decompressed"))?,
            }
        };
        self.produced += n as u64;
        if self.produced > self.limits.total_bytes {
            return Err(Fault::Limit { what: "bytes", limit: self.limits.total_bytes });
        }
        let allowed = self.consumed.get().saturating_mul(self.limits.ratio);
        if self.produced > self.limits.ratio_after && self.produced > allowed {
            return Err(Fault::Limit { what: "bytes for each compressed byte", limit: self.limits.ratio });
        }
        Ok(n)
    }

    /// Fills `buffer`; an end before that is a truncated archive.
    fn exactly(&mut self, mut buffer: &mut [u8]) -> Result<(), Fault> {
        while !buffer.is_empty() {
            match self.some(buffer)? {
                0 => return Err(Fault::Truncated),
                n => buffer = &mut buffer[n..],
            }
        }
        Ok(())
    }

    fn small(&mut self, size: u64) -> Result<Vec<u8>, Fault> {
        let mut content = vec![0; usize::try_from(size).unwrap_or_default()];
        self.exactly(&mut content)?;
        self.padding(size)?;
        Ok(content)
    }

    fn padding(&mut self, size: u64) -> Result<(), Fault> {
        let left = (BLOCK as u64 - size % BLOCK as u64) % BLOCK as u64;
        let mut block = [0; BLOCK];
        self.exactly(&mut block[..usize::try_from(left).unwrap_or_default()])
    }
}

fn read_entries(
    source: &mut Source<'_>,
    limits: &Limits,
    tree: &mut Tree,
    current: &mut Option<String>,
) -> Result<(), Fault> {
    let mut pending = Pending::default();
    let (mut entries, mut block) = (0, [0; BLOCK]);
    loop {
        *current = None;
        source.exactly(&mut block)?;
        if block == [0; BLOCK] {
            break;
        }
        entries += 1;
        if entries > limits.entries {
            return Err(Fault::Limit { what: "entries", limit: limits.entries });
        }
        let header = tar::Header::from_byte_slice(&block);
        check_header(&block)?;
        *current = Some(readable(pending.name.as_deref().unwrap_or(&header.path_bytes())));
        let size = octal(&block[124..136])?;
        match block[156] {
            kind @ (b'L' | b'K') => {
                bound(size, extended::MAX_NAME, Fault::LongName("it is longer than any path"))?;
                let content = source.small(size)?;
                pending.gnu_long(kind == b'K', &content)?;
            }
            kind @ (b'x' | b'g') => {
                bound(size, extended::MAX_PAX, Fault::Pax("it is too long".into()))?;
                let content = source.small(size)?;
                if kind == b'x' {
                    pending.pax(&content)?;
                } else {
                    extended::check_global(&content)?;
                }
            }
            kind => {
                let said = std::mem::take(&mut pending);
                let entry = Entry::new(kind, &block, header, said, size, limits)?;
                *current = Some(entry.name.clone());
                tree.add(&entry, source)?;
            }
        }
    }
    source.exactly(&mut block)?;
    if block != [0; BLOCK] {
        return Err(Fault::NotTar("an empty header inside"));
    }
    if !pending.is_empty() {
        return Err(Fault::LongName("no entry follows it"));
    }
    if entries == 0 {
        return Err(Fault::Empty);
    }
    // tar pads with zeros; reading to the end also makes the decoder verify its checksum.
    let mut rest = [0; 8192];
    loop {
        match source.some(&mut rest)? {
            0 => return Ok(()),
            n if rest[..n].iter().any(|b| *b != 0) => return Err(Fault::Trailing),
            _ => {}
        }
    }
}

fn bound(size: u64, limit: u64, fault: Fault) -> Result<(), Fault> {
    if size > limit { Err(fault) } else { Ok(()) }
}

fn check_header(block: &[u8; BLOCK]) -> Result<(), Fault> {
    if &block[257..265] != b"ustar\x0000" && &block[257..265] != b"ustar  \0" {
        return Err(Fault::NotTar("no magic number in a header"));
    }
    // The checksum counts its own field as blanks.
    let sum: u64 = block.iter().enumerate().map(|(i, b)| if (148..156).contains(&i) { 32 } else { u64::from(*b) }).sum();
    if octal(&block[148..156])? != sum {
        return Err(Fault::NotTar("a header's checksum is wrong"));
    }
    Ok(())
}

/// A number of a header: octal digits between optional blanks and a blank or zero byte. The binary form
/// of GNU tar is for numbers larger than any limit here.
fn octal(field: &[u8]) -> Result<u64, Fault> {
    let text = field.split(|b| *b == 0).next().unwrap_or_default();
    let digits = text.trim_ascii();
    if digits.iter().any(|b| !(b'0'..=b'7').contains(b)) {
        return Err(Fault::NotTar("a number in a header is not octal"));
    }
    Ok(digits.iter().fold(0, |n, b| n * 8 + u64::from(b - b'0')))
}

fn readable(name: &[u8]) -> String {
    String::from_utf8_lossy(name).into_owned()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    File,
    Directory,
    Symlink,
    HardLink,
}

/// One checked entry: `name` is relative, without `.` and `..`, and empty for the top directory.
struct Entry {
    kind: Kind,
    name: String,
    link: String,
    size: u64,
    mode: u32,
    mtime: i64,
}

impl Entry {
    fn new(
        kind: u8,
        block: &[u8; BLOCK],
        header: &tar::Header,
        said: Pending,
        size: u64,
        limits: &Limits,
    ) -> Result<Self, Fault> {
        let kind = match kind {
            b'0' | 0 => Kind::File,
            b'1' => Kind::HardLink,
            b'2' => Kind::Symlink,
            b'5' => Kind::Directory,
            b'3' | b'4' => return Err(Fault::Kind("a device")),
            b'6' => return Err(Fault::Kind("a named pipe")),
            b'7' => return Err(Fault::Kind("a contiguous file")),
            b'S' => return Err(Fault::Kind("a sparse file")),
            b'D' => return Err(Fault::Kind("a directory listing of GNU tar")),
            b'M' | b'V' => return Err(Fault::Kind("a part or label of a multi-volume archive")),
            _ => return Err(Fault::Kind("of an unknown kind")),
        };
        let raw = said.name.unwrap_or_else(|| header.path_bytes().into_owned());
        let name = checked_name(&raw, kind, limits)?;
        let mode = u32::try_from(octal(&block[100..108])?).unwrap_or(u32::MAX);
        if mode & 0o7000 != 0 {
            return Err(Fault::SpecialBits(mode & 0o7000));
        }
        if size != 0 && kind != Kind::File {
            return Err(Fault::Body);
        }
        bound(size, limits.file_bytes, Fault::Limit { what: "bytes in one file", limit: limits.file_bytes })?;
        let link = said.link.or_else(|| header.link_name_bytes().map(|l| l.into_owned())).unwrap_or_default();
        let link = match kind {
            Kind::File | Kind::Directory if link.is_empty() => String::new(),
            Kind::File | Kind::Directory => return Err(Fault::Body),
            Kind::Symlink => text(&link)?.to_owned(),
            Kind::HardLink => checked_name(&link, Kind::File, limits)?,
        };
        // Times before 1970 and the far future are not worth failing for; every file system takes 32 bits.
        let mtime = match said.mtime {
            Some(seconds) => seconds,
            None if block[136] & 0x80 != 0 => 0,
            None => i64::try_from(octal(&block[136..148])?).unwrap_or(i64::MAX),
        };
        Ok(Self { kind, name, link, size, mode, mtime: mtime.clamp(0, i64::from(u32::MAX)) })
    }
}

fn text(bytes: &[u8]) -> Result<&str, Fault> {
    let text = std::str::from_utf8(bytes).map_err(|_| Fault::Name("is not UTF-8"))?;
    if text.chars().any(char::is_control) {
        return Err(Fault::Name("contains a control character"));
    }
    Ok(text)
}

fn checked_name(bytes: &[u8], kind: Kind, limits: &Limits) -> Result<String, Fault> {
    let mut name = text(bytes)?;
    if name.is_empty() {
        return Err(Fault::Name("is empty"));
    }
    if name.starts_with('/') {
        return Err(Fault::Name("is an absolute path"));
    }
    if kind == Kind::Directory {
        name = name.strip_suffix('/').unwrap_or(name);
        if name == "." {
            return Ok(String::new());
        }
    }
    // What `tar -c .` puts before every name.
    name = name.strip_prefix("./").unwrap_or(name);
    let mut depth = 0;
    for part in name.split('/') {
        depth += 1;
        match part {
            "" => return Err(Fault::Name("has an empty part")),
            "." => return Err(Fault::Name("has a part \".\"")),
            ".." => return Err(Fault::Name("climbs with \"..\"")),
            _ if part.len() > 255 => return Err(Fault::Name("has a part of more than 255 bytes")),
            _ => {}
        }
    }
    if depth > limits.depth {
        return Err(Fault::Limit { what: "directories in its path", limit: limits.depth as u64 });
    }
    Ok(name.to_owned())
}

/// What a name is, and for directories what to set at the end: mode and time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Known {
    File,
    Link,
    /// Made because something below it came first.
    Implied,
    Directory(u32, i64),
}

/// The private directory. Every name is walked from its top without following links.
struct Tree {
    top: OwnedFd,
    known: BTreeMap<String, Known>,
}

impl Tree {
    fn add(&mut self, entry: &Entry, source: &mut Source<'_>) -> Result<(), Fault> {
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
                rustix::fs::mkdirat(&dir, leaf, Mode::from_raw_mode(0o700)).map_err(occupied("cannot make the directory"))?;
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
    fn parent_of<'n>(&mut self, name: &'n str) -> Result<(OwnedFd, &'n str), Fault> {
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
    fn finish(&mut self) -> Result<(), Fault> {
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
fn occupied(what: &'static str) -> impl Fn(Errno) -> Fault {
    move |error| match error {
        Errno::EXIST => Fault::Duplicate,
        error => sys_fault(what)(error),
    }
}

fn write_file(dir: &OwnedFd, leaf: &str, entry: &Entry, source: &mut Source<'_>) -> Result<(), Fault> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let fd = rustix::fs::openat(dir, leaf, flags, Mode::from_raw_mode(0o600)).map_err(occupied("cannot make the file"))?;
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

fn set_time(dir: &OwnedFd, leaf: &str, seconds: i64) -> Result<(), Fault> {
    let time = Timespec { tv_sec: seconds, tv_nsec: 0 };
    let times = Timestamps { last_access: time, last_modification: time };
    rustix::fs::utimensat(dir, leaf, &times, AtFlags::SYMLINK_NOFOLLOW).map_err(sys_fault("cannot set its time"))
}
