//! Which modules an initramfs holds: cpio archives (newc) one behind the other, the last ones compressed together
//! (Documentation/driver-api/early-userspace/buffer-format.rst).
//!
//! A library that reads one archive would save the numbers of a header, not the walk over the parts.
//! Read as a stream, and only the modules that are asked for are kept: images have hundreds of megabytes.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::io::{self, BufRead, BufReader, ErrorKind, Read};
use std::path::{Path, PathBuf};

use super::index::module_name;
use crate::compress::{self, Compression, MAX_SIZE};
use crate::digest::Digest;
use crate::elf::{Module, symbols};

/// One module in an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// Its place in the image.
    pub path: PathBuf,
    /// What it is; `None` if it is not known.
    pub what: Option<What>,
}

/// What tells a module from another of its name. Generators strip modules and compress them otherwise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct What {
    machine: &'static str,
    content: Digest,
    modinfo: Vec<(String, String)>,
}

impl What {
    /// That of a module's bytes (not compressed); `None` if it is no module.
    pub fn of(bytes: &[u8]) -> Option<Self> {
        let content = symbols::content(bytes).ok()?;
        let module = Module::parse(bytes).ok()?;
        Some(Self { machine: module.machine, content, modinfo: module.modinfo })
    }

    /// That of the module's file at `path`.
    pub fn read(path: &Path) -> Option<Self> {
        Self::of(&compress::read_module(path).ok()?)
    }
}

/// The modules in the image at `path` for whose names (`_` for `-`) `is_wanted` holds. An error if it can't be read to its end,
/// also for a compression that we don't know.
pub fn modules(path: &Path, is_wanted: &dyn Fn(&str) -> bool) -> io::Result<Vec<Held>> {
    let mut found = Vec::new();
    segments(&mut BufReader::with_capacity(1 << 16, crate::durable::open_regular(path)?), is_wanted, &mut found, true)?;
    Ok(found)
}

/// Adds the names of all modules in the image at `path` (`_` for `-`); an error as for [`modules`].
pub fn names(path: &Path, names: &mut BTreeSet<String>) -> io::Result<()> {
    let found = RefCell::new(names);
    let note = |name: &str| {
        found.borrow_mut().insert(name.to_owned());
        false
    };
    modules(path, &note).map(drop)
}

/// Reads archive after archive, to the end.
fn segments(
    input: &mut dyn BufRead,
    is_wanted: &dyn Fn(&str) -> bool,
    found: &mut Vec<Held>,
    is_outermost: bool,
) -> io::Result<()> {
    loop {
        let ahead = input.fill_buf()?;
        let Some(first) = ahead.first() else { return Ok(()) };
        if *first == 0 {
            // What fills the space up to the next block.
            let zeros = ahead.iter().take_while(|byte| **byte == 0).count();
            input.consume(zeros);
            continue;
        }
        let mut magic = [0; 6];
        input.read_exact(&mut magic)?;
        if magic == *b"070701" || magic == *b"070702" {
            archive(input, magic, is_wanted, found)?;
            continue;
        }
        if !is_outermost {
            return Err(invalid("what follows an archive in it is none"));
        }
        let mut whole = io::Cursor::new(magic).chain(input);
        let mut inner: Box<dyn BufRead + '_> = match magic {
            [0x1f, 0x8b, ..] => buffered(flate2::bufread::MultiGzDecoder::new(&mut whole)),
            [0xfd, b'7', b'z', b'X', b'Z', 0] => buffered(liblzma::bufread::XzDecoder::new_multi_decoder(&mut whole)),
            [0x28, 0xb5, 0x2f, 0xfd, ..] => buffered(zstd::stream::read::Decoder::with_buffer(&mut whole)?),
            [b'B', b'Z', b'h', ..] => buffered(bzip2::bufread::MultiBzDecoder::new(&mut whole)),
            _ => return Err(invalid("it is compressed in a way that dkms does not know")),
        };
        return segments(&mut *inner, is_wanted, found, false);
    }
}

fn buffered<'a>(reader: impl Read + 'a) -> Box<dyn BufRead + 'a> {
    Box::new(BufReader::with_capacity(1 << 16, reader))
}

/// Reads one archive, whose first six bytes were read.
fn archive(
    input: &mut dyn BufRead,
    mut magic: [u8; 6],
    is_wanted: &dyn Fn(&str) -> bool,
    found: &mut Vec<Held>,
) -> io::Result<()> {
    loop {
        if magic[..5] != *b"07070" {
            return Err(invalid("an archive in it is damaged"));
        }
        // Thirteen numbers of eight hexadecimal digits; the seventh is the size of the content, the twelfth that of the name.
        let mut header = [0; 104];
        input.read_exact(&mut header)?;
        let number = |index: usize| {
            let digits = std::str::from_utf8(&header[index * 8..index * 8 + 8]).ok();
            digits.and_then(|digits| u64::from_str_radix(digits, 16).ok()).ok_or_else(|| invalid("a number is none"))
        };
        let (size, name_size) = (number(6)?, number(11)?);
        if name_size > 4096 {
            return Err(invalid("a name in it is too long"));
        }
        let mut name = Vec::new();
        input.take(name_size).read_to_end(&mut name)?;
        skip(input, padding(110 + name_size))?;
        while name.last() == Some(&0) {
            name.pop();
        }
        if name == b"TRAILER!!!" {
            return Ok(());
        }
        let path = PathBuf::from(String::from_utf8_lossy(&name).into_owned());
        let is_module = Compression::of_file(&path).filter(|_| is_wanted(&module_name(&path)) && size <= MAX_SIZE);
        if let Some(kind) = is_module.filter(|_| size > 0) {
            let mut bytes = Vec::new();
            input.take(size).read_to_end(&mut bytes)?;
            let what = compress::decompress(&bytes, kind).ok().and_then(|bytes| What::of(&bytes));
            found.push(Held { path, what });
        } else {
            skip(input, size)?;
        }
        skip(input, padding(size))?;
        input.read_exact(&mut magic)?;
    }
}

/// Names and contents are filled up to four bytes.
fn padding(size: u64) -> u64 {
    size.next_multiple_of(4) - size
}

fn skip(input: &mut dyn BufRead, count: u64) -> io::Result<()> {
    match io::copy(&mut input.take(count), &mut io::sink())? {
        skipped if skipped == count => Ok(()),
        _ => Err(ErrorKind::UnexpectedEof.into()),
    }
}

fn invalid(why: &'static str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, why)
}

#[cfg(test)]
pub(crate) mod tests {
    use std::io::Write as _;

    use super::*;

    fn module() -> Vec<u8> {
        fs_err::read(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/sign/module.ko")).unwrap()
    }

    /// A cpio archive of these files, filled up to a block.
    pub fn cpio(files: &[(&str, &[u8])]) -> Vec<u8> {
        let mut out = Vec::new();
        for (name, bytes) in files.iter().chain([&("TRAILER!!!", &[][..])]) {
            let numbers = [1, 0o100_644, 0, 0, 1, 0, bytes.len(), 0, 0, 0, 0, name.len() + 1, 0];
            write!(out, "070701").unwrap();
            for number in numbers {
                write!(out, "{number:08x}").unwrap();
            }
            out.extend([name.as_bytes(), &[0]].concat());
            out.resize(out.len().next_multiple_of(4), 0);
            out.extend(*bytes);
            out.resize(out.len().next_multiple_of(4), 0);
        }
        out.resize(out.len().next_multiple_of(512), 0);
        out
    }

    fn packed(bytes: &[u8], kind: Compression) -> Vec<u8> {
        let tmp = tempfile::tempdir().unwrap();
        compress::compress(bytes, kind, &compress::Options::default(), tmp.path()).unwrap().bytes
    }

    fn held(image: &[u8]) -> io::Result<Vec<Held>> {
        let tmp = tempfile::tempdir().unwrap();
        let path = tmp.path().join("initrd");
        fs_err::write(&path, image).unwrap();
        modules(&path, &|name| name == "my_mod")
    }

    /// The forms that generators give images: microcode first, modules that are compressed themselves apart, one compression
    /// over the rest.
    #[test]
    fn every_form_of_image() {
        let module = module();
        let what = What::of(&module);
        assert!(what.is_some());
        let microcode = cpio(&[("kernel/x86/microcode/GenuineIntel.bin", b"code")]);
        let path = "usr/lib/modules/6.1/updates/dkms/my-mod.ko";
        for kind in [Compression::None, Compression::Gzip, Compression::Xz, Compression::Zstd] {
            let own = packed(&module, kind);
            let file = format!("{path}{}", kind.suffix());
            let main =
                cpio(&[("init", b"#!/bin/sh\n"), (&file, &own), ("lib/my-mod.ko.txt", b"1"), ("x/other.ko", b"2")]);
            let expected = vec![Held { path: file.into(), what: what.clone() }];
            for image in [
                main.clone(),
                [microcode.clone(), main.clone()].concat(),
                [microcode.clone(), packed(&main, kind)].concat(),
                [microcode.clone(), main.clone(), packed(&cpio(&[("bin/sh", b"sh")]), kind)].concat(),
            ] {
                assert_eq!(held(&image).unwrap(), expected, "{kind}");
            }
        }
        let mut bzip2 = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
        bzip2.write_all(&cpio(&[(path, b"no module")])).unwrap();
        assert_eq!(held(&bzip2.finish().unwrap()).unwrap(), [Held { path: path.into(), what: None }]);
        assert_eq!(held(&microcode).unwrap(), []);
    }

    #[test]
    fn what_can_not_be_read_is_no_answer() {
        let main = cpio(&[("m/my_mod.ko", b"12345")]);
        for image in [
            &b"\x02\x21\x4c\x18 lz4"[..],
            &main[..150],
            &packed(&main, Compression::Zstd)[..60],
            &[&packed(b"no archive", Compression::Gzip)[..], b""].concat(),
            &[&main[..], b"garbage"].concat(),
        ] {
            assert!(held(image).is_err(), "{} bytes", image.len());
        }
    }
}
