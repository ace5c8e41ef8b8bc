//! The strict reader of tar archives: everything inside a fresh private directory, or nothing at all.
//!
//! Accepted are regular files, directories, symbolic links and hard links that stay inside. Whatever else
//! an archive holds is a reason to refuse it as a whole; nothing is skipped, renamed or repaired.
//! The format is that of tar(5) as ustar, GNU tar and pax write it.

use std::fs::File;
use std::io::{self, BufReader};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use fs_err as fs;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use tar::EntryType;

use super::codec::{self, Format};
use super::entry::{Entry, bound, check_header, octal, readable};
use super::extended::{self, Pending};
pub use super::fault::{Fault, ReadError};
use super::fault::{io_fault, sys_fault};
use super::limits::BLOCK;
use super::links;
use super::place::Tree;
use super::source::{Counted, Source};

pub use super::limits::Limits;

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

/// Unpacks `archive` (tar; plain, gzip, xz, zstd or bzip2, recognised by its magic) into a new directory
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
    let mut tree = Tree { top, known: std::collections::BTreeMap::new(), directories: 0 };
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
        match header.entry_type() {
            kind @ (EntryType::GNULongName | EntryType::GNULongLink) => {
                bound(size, extended::MAX_NAME, Fault::LongName("it is longer than any path"))?;
                let content = source.small(size)?;
                pending.gnu_long(kind.is_gnu_longlink(), &content)?;
            }
            EntryType::XHeader => {
                bound(size, extended::MAX_PAX, Fault::Pax("it is too long".into()))?;
                pending.pax(&source.small(size)?)?;
            }
            EntryType::XGlobalHeader => {
                bound(size, extended::MAX_PAX, Fault::Pax("it is too long".into()))?;
                extended::check_global(&source.small(size)?)?;
            }
            _ => {
                let said = std::mem::take(&mut pending);
                let entry = Entry::new(&block, header, said, size, limits)?;
                *current = Some(entry.name.clone());
                tree.add(&entry, source)?;
                if tree.directories > limits.directories {
                    return Err(Fault::Limit { what: "directories", limit: limits.directories as u64 });
                }
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
