//! Files read as what they may be: by somebody else put in the place of ours.

use std::fs;
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::OFlags;

use super::{FileError, LONGEST, at, missing};

/// Reads a file; `None` if it is not there. What is no regular file, or is longer than any file of ours, is an error.
pub fn read(path: &Path) -> Result<Option<Vec<u8>>, FileError> {
    match read_at_most(path, LONGEST) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if missing(&error) || error.kind() == ErrorKind::NotADirectory => Ok(None),
        Err(error) => Err(at("read", path)(error)),
    }
}

/// What is in a regular file that is no longer than any of ours. For whatever somebody else may have put in its place.
pub fn bytes(path: &Path) -> io::Result<Vec<u8>> {
    read_at_most(path, LONGEST)
}

/// The same of a text, in UTF-8.
pub fn text(path: &Path) -> io::Result<String> {
    String::from_utf8(bytes(path)?).map_err(|error| io::Error::new(ErrorKind::InvalidData, error))
}

/// Gives an error of a file the file's path.
pub fn named(path: &Path) -> impl Fn(io::Error) -> io::Error {
    let path = path.to_owned();
    move |error| io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

/// What is in a regular file of no more than `most` bytes.
pub fn read_at_most(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let file = open_regular(path)?;
    // Room for all of it at once, and for the byte that would be too much: otherwise a short file takes five reads.
    let length = usize::try_from(file.metadata()?.len().min(most)).unwrap_or(0);
    let mut bytes = Vec::with_capacity(length.saturating_add(1));
    file.take(most.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most {
        return Err(io::Error::new(ErrorKind::FileTooLarge, format!("it is longer than {most} bytes")));
    }
    Ok(bytes)
}

/// Opens a regular file for reading. A pipe does not make us wait for somebody to write to it (open(2), `O_NONBLOCK`),
/// nor does a device give bytes without end, nor a terminal become ours.
pub fn open_regular(path: &Path) -> io::Result<fs::File> {
    let flags = (OFlags::NONBLOCK | OFlags::NOCTTY).bits();
    let file = fs::OpenOptions::new().read(true).custom_flags(i32::try_from(flags).unwrap_or(0)).open(path)?;
    let kind = file.metadata()?.file_type();
    if kind.is_file() {
        return Ok(file);
    }
    let error = if kind.is_dir() { ErrorKind::IsADirectory } else { ErrorKind::InvalidInput };
    Err(io::Error::new(error, "it is no regular file"))
}
