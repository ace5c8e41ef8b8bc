//! Compression formats of archives: recognised by magic when reading, by file name when writing.

use std::io::{self, BufRead, Read, Write};
use std::path::Path;

/// A decoder of xz may use this much memory; `xz -9` files need 65 MiB.
const XZ_MEMORY: u64 = 256 << 20;

/// How a file is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Not at all.
    Plain,
    /// gzip (RFC 1952).
    Gzip,
    /// xz.
    Xz,
    /// Zstandard (RFC 8878).
    Zstd,
    /// bzip2.
    Bzip2,
}

impl Format {
    /// The format that a file beginning with `head` has, by its magic number.
    pub fn of_magic(head: &[u8]) -> Self {
        if head.starts_with(&[0x1f, 0x8b]) {
            Self::Gzip
        } else if head.starts_with(b"\xfd7zXZ\0") {
            Self::Xz
        } else if head.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
            Self::Zstd
        } else if head.starts_with(b"BZh") {
            Self::Bzip2
        } else {
            Self::Plain
        }
    }

    /// The format that a file called `path` should have, as `tar --auto-compress` decides it.
    pub fn of_name(path: &Path) -> Self {
        match path.extension().and_then(|e| e.to_str()) {
            Some("gz" | "tgz" | "taz") => Self::Gzip,
            Some("xz" | "txz") => Self::Xz,
            Some("zst" | "tzst") => Self::Zstd,
            Some("bz2" | "tbz" | "tbz2" | "tz2") => Self::Bzip2,
            _ => Self::Plain,
        }
    }
}

/// A reader of what `input` holds uncompressed. Several compressed members in a row are read as one.
/// A truncated or damaged stream is an error from `read`, also when only its checksum is missing.
pub fn decoder<'a>(format: Format, input: impl BufRead + 'a) -> io::Result<Box<dyn Read + 'a>> {
    Ok(match format {
        Format::Plain => Box::new(input),
        Format::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(input)),
        Format::Bzip2 => Box::new(bzip2::bufread::MultiBzDecoder::new(input)),
        Format::Zstd => Box::new(zstd::Decoder::with_buffer(input)?),
        Format::Xz => {
            let stream = liblzma::stream::Stream::new_stream_decoder(XZ_MEMORY, liblzma::stream::CONCATENATED)?;
            Box::new(liblzma::bufread::XzDecoder::new_stream(input, stream))
        }
    })
}

/// Runs `fill` with a writer whose bytes reach `output` compressed. The same bytes in give the same bytes out.
pub fn encode<W: Write, E: From<io::Error>>(
    format: Format,
    output: W,
    fill: impl FnOnce(&mut dyn Write) -> Result<(), E>,
) -> Result<W, E> {
    Ok(match format {
        Format::Plain => {
            let mut plain = output;
            fill(&mut plain)?;
            plain
        }
        Format::Gzip => {
            // No name and no time in the header.
            let mut gz = flate2::GzBuilder::new().mtime(0).write(output, flate2::Compression::new(9));
            fill(&mut gz)?;
            gz.finish()?
        }
        Format::Xz => {
            let mut xz = liblzma::write::XzEncoder::new(output, 6);
            fill(&mut xz)?;
            xz.finish()?
        }
        Format::Zstd => {
            let mut zst = zstd::Encoder::new(output, 15)?;
            zst.include_checksum(true)?;
            fill(&mut zst)?;
            zst.finish()?
        }
        Format::Bzip2 => {
            let mut bz = bzip2::write::BzEncoder::new(output, bzip2::Compression::best());
            fill(&mut bz)?;
            bz.finish()?
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_format_comes_back_and_is_known_by_its_magic() {
        for (name, format) in [
            ("a.tar", Format::Plain),
            ("a.tar.gz", Format::Gzip),
            ("a.tgz", Format::Gzip),
            ("a.tar.xz", Format::Xz),
            ("a.tar.zst", Format::Zstd),
            ("a.tar.bz2", Format::Bzip2),
        ] {
            assert_eq!(Format::of_name(Path::new(name)), format);
            let text = "hello ".repeat(1000);
            let packed = encode(format, Vec::new(), |w| w.write_all(text.as_bytes())).unwrap();
            assert_eq!(Format::of_magic(&packed), format);
            let mut back = String::new();
            decoder(format, &packed[..]).unwrap().read_to_string(&mut back).unwrap();
            assert_eq!(back, text);
            for length in 0..packed.len() {
                let mut back = Vec::new();
                let read = decoder(format, &packed[..length]).and_then(|mut d| d.read_to_end(&mut back));
                assert!(format == Format::Plain || length == 0 || read.is_err(), "{format:?} cut to {length}");
            }
        }
    }
}
