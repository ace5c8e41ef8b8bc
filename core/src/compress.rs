//! Compressed modules: gzip, xz and zstd, in this process whenever the options allow it.

use std::fmt;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use liblzma::stream::{Check, Filters, LzmaOptions, Stream};

use crate::durable;

/// No module grows beyond this when decompressed; more is an attack or an accident.
pub const MAX_SIZE: u64 = 1 << 30;

/// How a module file is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Compression {
    /// `.ko`
    None,
    /// `.ko.gz`
    Gzip,
    /// `.ko.xz`
    Xz,
    /// `.ko.zst`
    Zstd,
}

impl Compression {
    /// What follows `.ko`: "", ".gz", ".xz" or ".zst".
    pub fn suffix(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Gzip => ".gz",
            Self::Xz => ".xz",
            Self::Zstd => ".zst",
        }
    }

    /// The compression of a module by its file name; `None` if it is not a module's name.
    pub fn of_file(name: &Path) -> Option<Self> {
        let name = name.file_name()?.to_str()?;
        [Self::None, Self::Gzip, Self::Xz, Self::Zstd]
            .into_iter()
            .find(|kind| name.strip_suffix(kind.suffix()).is_some_and(|stem| stem.ends_with(".ko")))
    }

    /// The program that does the same.
    pub fn program(self) -> Option<&'static str> {
        match self {
            Self::None => None,
            Self::Gzip => Some("gzip"),
            Self::Xz => Some("xz"),
            Self::Zstd => Some("zstd"),
        }
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.program().unwrap_or("none"))
    }
}

/// The words of framework.conf's `compress_*_opts`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// `compress_gzip_opts`.
    pub gzip: Vec<String>,
    /// `compress_xz_opts`.
    pub xz: Vec<String>,
    /// `compress_zstd_opts`.
    pub zstd: Vec<String>,
}

const XZ_DEFAULT: [&str; 2] = ["--check=crc32", "--lzma2=dict=1MiB"];

impl Default for Options {
    /// The classic's defaults.
    fn default() -> Self {
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        Self { gzip: Vec::new(), xz: words(&XZ_DEFAULT), zstd: words(&["-q", "--rm", "-T0"]) }
    }
}

/// A compressed module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compressed {
    /// The file's bytes.
    pub bytes: Vec<u8>,
    /// Set if the configured program failed and the default was used instead: why, to be reported.
    pub fell_back: Option<String>,
}

/// What can go wrong.
#[derive(Debug, thiserror::Error)]
pub enum CompressError {
    /// The library failed.
    #[error("can't {doing} ({kind}): {source}")]
    Library {
        /// "compress" or "decompress".
        doing: &'static str,
        /// The format.
        kind: Compression,
        /// What it said.
        source: io::Error,
    },
    /// A file expands beyond [`MAX_SIZE`].
    #[error("the {kind} data expands to more than {MAX_SIZE} bytes; it is not a kernel module")]
    TooLarge {
        /// The format.
        kind: Compression,
    },
    /// A file can't be read; the message names it.
    #[error("can't read a module: {0}")]
    Read(
        /// What the system said, with the path.
        #[source]
        io::Error,
    ),
}

/// Compresses `bytes`. Default options and plain levels are done in this process: xz exactly as
/// `xz -T1` does it, gzip without name and time (so that builds can be reproduced), zstd with
/// checksum and known size. Other options go to the program of the format, which works on a file
/// in a directory made inside `scratch`; if it fails, the defaults are used and the answer says so.
pub fn compress(
    bytes: &[u8],
    kind: Compression,
    options: &Options,
    scratch: &Path,
) -> Result<Compressed, CompressError> {
    let (words, how) = match kind {
        Compression::None => (&[][..], Some(Builtin::None)),
        Compression::Gzip => (&options.gzip[..], gzip_builtin(&options.gzip)),
        Compression::Xz => (&options.xz[..], xz_builtin(&options.xz)),
        Compression::Zstd => (&options.zstd[..], zstd_builtin(&options.zstd)),
    };
    let mut fell_back = None;
    if how.is_none() {
        match with_program(bytes, kind, words, scratch) {
            Ok(bytes) => {
                return Ok(Compressed { bytes, fell_back: None });
            }
            Err(why) => {
                fell_back =
                    Some(format!("{kind} {} failed, the default options were used instead: {why}", words.join(" ")));
            }
        }
    }
    let bytes = how
        .unwrap_or_else(|| Builtin::default_of(kind))
        .run(bytes)
        .map_err(|source| CompressError::Library { doing: "compress", kind, source })?;
    Ok(Compressed { bytes, fell_back })
}

/// What this process does itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Builtin {
    None,
    Gzip(u32),
    Xz { preset: u32, small: bool, crc32: bool },
    Zstd(i32),
}

impl Builtin {
    fn default_of(kind: Compression) -> Self {
        match kind {
            Compression::None => Self::None,
            Compression::Gzip => Self::Gzip(6),
            Compression::Xz => Self::Xz { preset: 6, small: true, crc32: true },
            Compression::Zstd => Self::Zstd(zstd::DEFAULT_COMPRESSION_LEVEL),
        }
    }

    fn run(self, bytes: &[u8]) -> io::Result<Vec<u8>> {
        match self {
            Self::None => Ok(bytes.to_vec()),
            Self::Gzip(level) => {
                let level = flate2::Compression::new(level);
                let mut out = flate2::write::GzEncoder::new(Vec::new(), level);
                out.write_all(bytes)?;
                out.finish()
            }
            Self::Xz { preset, small, crc32 } => {
                let mut lzma = LzmaOptions::new_preset(preset)?;
                if small {
                    lzma.dict_size(1 << 20);
                }
                let mut filters = Filters::new();
                filters.lzma2(&lzma);
                let check = if crc32 { Check::Crc32 } else { Check::Crc64 };
                let stream = Stream::new_stream_encoder(&filters, check)?;
                let mut out = liblzma::write::XzEncoder::new_stream(Vec::new(), stream);
                out.write_all(bytes)?;
                out.finish()
            }
            Self::Zstd(level) => {
                let mut out = zstd::stream::write::Encoder::new(Vec::new(), level)?;
                // Without it the reader must provide an 8 MiB window.
                out.set_pledged_src_size(Some(bytes.len() as u64))?;
                out.include_checksum(true)?;
                out.write_all(bytes)?;
                out.finish()
            }
        }
    }
}

/// The digits of `-N`.
fn level(word: &str) -> Option<u32> {
    let digits = word.strip_prefix('-').filter(|rest| is_number(rest))?;
    digits.parse().ok()
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

fn gzip_builtin(words: &[String]) -> Option<Builtin> {
    let mut chosen = 6;
    for word in words {
        match (word.as_str(), level(word)) {
            ("--fast", _) => chosen = 1,
            ("--best", _) => chosen = 9,
            ("-q" | "-n" | "-f", _) => {}
            (_, Some(level @ 1..=9)) => chosen = level,
            _ => return None,
        }
    }
    Some(Builtin::Gzip(chosen))
}

fn xz_builtin(words: &[String]) -> Option<Builtin> {
    if words == XZ_DEFAULT {
        return Some(Builtin::default_of(Compression::Xz));
    }
    let mut preset = 6;
    let mut crc32 = false;
    for word in words {
        match (word.as_str(), level(word)) {
            ("--check=crc32", _) => crc32 = true,
            ("-q" | "-f", _) => {}
            (_, Some(level @ 0..=9)) => preset = level,
            _ => return None,
        }
    }
    Some(Builtin::Xz { preset, small: false, crc32 })
}

fn zstd_builtin(words: &[String]) -> Option<Builtin> {
    let mut chosen = zstd::DEFAULT_COMPRESSION_LEVEL;
    for word in words {
        match (word.as_str(), level(word)) {
            // Threads only change how fast the same format is written.
            ("-q" | "-f" | "--rm", _) => {}
            (threads, _) if threads.strip_prefix("-T").is_some_and(is_number) => {}
            (_, Some(level @ 1..=19)) => chosen = i32::try_from(level).ok()?,
            _ => return None,
        }
    }
    Some(Builtin::Zstd(chosen))
}

/// Runs `<program> <words> -f FILE`, as the classic does.
fn with_program(bytes: &[u8], kind: Compression, words: &[String], scratch: &Path) -> Result<Vec<u8>, String> {
    let program = kind.program().ok_or("no program")?;
    let dir =
        tempfile::Builder::new().prefix(".dkms-compress-").tempdir_in(scratch).map_err(|error| error.to_string())?;
    let file = dir.path().join("module.ko");
    fs_err::write(&file, bytes).map_err(|error| error.to_string())?;
    let ended = crate::process::command(program)
        .args(words)
        .arg("-f")
        .arg(&file)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("can't run {program}: {error}"))?;
    if !ended.status.success() {
        let said = String::from_utf8_lossy(&ended.stderr);
        return Err(format!("{}, {}", ended.status, said.trim()));
    }
    let made = PathBuf::from(format!("{}{}", file.display(), kind.suffix()));
    let compressed = fs_err::read(made).map_err(|error| error.to_string())?;
    // Odd options (`--decompress`, another format) must not reach /lib/modules.
    match decompress(&compressed, kind) {
        Ok(same) if same == bytes => Ok(compressed),
        _ => Err("its output is not the module compressed".to_owned()),
    }
}

/// Undoes [`compress`]; at most [`MAX_SIZE`] bytes.
pub fn decompress(bytes: &[u8], kind: Compression) -> Result<Vec<u8>, CompressError> {
    let failed = |source| CompressError::Library { doing: "decompress", kind, source };
    let mut reader: Box<dyn Read + '_> = match kind {
        Compression::None => Box::new(bytes),
        Compression::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(bytes)),
        Compression::Xz => Box::new(liblzma::bufread::XzDecoder::new_multi_decoder(bytes)),
        Compression::Zstd => Box::new(zstd::stream::read::Decoder::with_buffer(bytes).map_err(failed)?),
    };
    bounded(&mut reader, kind, MAX_SIZE)
}

fn bounded(reader: &mut dyn Read, kind: Compression, limit: u64) -> Result<Vec<u8>, CompressError> {
    let mut out = Vec::new();
    reader.take(limit + 1).read_to_end(&mut out).map_err(|source| CompressError::Library {
        doing: "decompress",
        kind,
        source,
    })?;
    if out.len() as u64 > limit {
        return Err(CompressError::TooLarge { kind });
    }
    Ok(out)
}

/// Reads a module file and decompresses it by its name's suffix.
pub fn read_module(path: &Path) -> Result<Vec<u8>, CompressError> {
    let kind = Compression::of_file(path).unwrap_or(Compression::None);
    let named = durable::named(path);
    let file = durable::open_regular(path).map_err(&named).map_err(CompressError::Read)?;
    let mut bytes = Vec::new();
    file.take(MAX_SIZE + 1).read_to_end(&mut bytes).map_err(named).map_err(CompressError::Read)?;
    if bytes.len() as u64 > MAX_SIZE {
        return Err(CompressError::TooLarge { kind });
    }
    if kind == Compression::None {
        return Ok(bytes);
    }
    decompress(&bytes, kind)
}

#[cfg(test)]
mod tests;
