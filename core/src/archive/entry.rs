//! One entry of a tar archive, checked: its header, its name, and what it may be.

use tar::EntryType;

use super::extended::Pending;
use super::fault::Fault;
use super::limits::{BLOCK, Limits};

pub(super) fn bound(size: u64, limit: u64, fault: Fault) -> Result<(), Fault> {
    if size > limit { Err(fault) } else { Ok(()) }
}

pub(super) fn check_header(block: &[u8; BLOCK]) -> Result<(), Fault> {
    let header = tar::Header::from_byte_slice(block);
    if header.as_ustar().is_none() && header.as_gnu().is_none() {
        return Err(Fault::NotTar("no magic number in a header"));
    }
    // The checksum counts its own field as blanks.
    let sum: u64 =
        block.iter().enumerate().map(|(i, b)| if (148..156).contains(&i) { 32 } else { u64::from(*b) }).sum();
    if octal(&block[148..156])? != sum {
        return Err(Fault::NotTar("a header's checksum is wrong"));
    }
    Ok(())
}

/// A number of a header: octal digits between optional blanks and a blank or zero byte. The binary form
/// of GNU tar is for numbers larger than any limit here. Not by the crate: it takes that form and signs, too.
pub(super) fn octal(field: &[u8]) -> Result<u64, Fault> {
    let text = field.split(|b| *b == 0).next().unwrap_or_default();
    let digits = text.trim_ascii();
    if digits.iter().any(|b| !(b'0'..=b'7').contains(b)) {
        return Err(Fault::NotTar("a number in a header is not octal"));
    }
    Ok(digits.iter().fold(0, |n, b| n * 8 + u64::from(b - b'0')))
}

pub(super) fn readable(name: &[u8]) -> String {
    String::from_utf8_lossy(name).into_owned()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    File,
    Directory,
    Symlink,
    HardLink,
}

/// One checked entry: `name` is relative, without `.` and `..`, and empty for the top directory.
pub(super) struct Entry {
    pub(super) kind: Kind,
    pub(super) name: String,
    pub(super) link: String,
    pub(super) size: u64,
    pub(super) mode: u32,
    pub(super) mtime: i64,
}

impl Entry {
    pub(super) fn new(
        block: &[u8; BLOCK],
        header: &tar::Header,
        said: Pending,
        size: u64,
        limits: &Limits,
    ) -> Result<Self, Fault> {
        let kind = match header.entry_type() {
            EntryType::Regular => Kind::File,
            EntryType::Link => Kind::HardLink,
            EntryType::Symlink => Kind::Symlink,
            EntryType::Directory => Kind::Directory,
            EntryType::Char | EntryType::Block => return Err(Fault::Kind("a device")),
            EntryType::Fifo => return Err(Fault::Kind("a named pipe")),
            EntryType::Continuous => return Err(Fault::Kind("a contiguous file")),
            EntryType::GNUSparse => return Err(Fault::Kind("a sparse file")),
            other => {
                return Err(Fault::Kind(match other.as_byte() {
                    b'D' => "a directory listing of GNU tar",
                    b'M' | b'V' => "a part or label of a multi-volume archive",
                    _ => "of an unknown kind",
                }));
            }
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
        let link = said.link.or_else(|| header.link_name_bytes().map(std::borrow::Cow::into_owned)).unwrap_or_default();
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

pub(super) fn text(bytes: &[u8]) -> Result<&str, Fault> {
    let text = std::str::from_utf8(bytes).map_err(|_| Fault::Name("is not UTF-8"))?;
    if text.chars().any(char::is_control) {
        return Err(Fault::Name("contains a control character"));
    }
    Ok(text)
}

pub(super) fn checked_name(bytes: &[u8], kind: Kind, limits: &Limits) -> Result<String, Fault> {
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
