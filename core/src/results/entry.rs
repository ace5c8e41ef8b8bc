//! The format of a result: one file, so that it appears as a whole.
//!
//! The SHA-256 digest of all that follows, and an end of line; then one line of JSON ([`Header`]); then, one after the
//! other, the modules, Module.symvers and make's log, of the lengths that the header says.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::durable;

use super::key::{FORMAT, Key};

/// Of a log, no more is kept: it is for people.
const LONGEST_LOG: usize = 1 << 20;

/// What was built, and what has to be known to use it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// What it was built from.
    pub key: Key,
    /// When, in seconds since 1970.
    pub built_at: i64,
    /// What the build called its directory.
    pub place: PathBuf,
    /// What was read besides what the key names.
    pub read: Vec<Read>,
    /// The modules, stripped, in the order of the key's.
    pub modules: Vec<Vec<u8>>,
    /// The exported symbols, if modpost has listed any.
    pub symvers: Option<Vec<u8>>,
    /// make.log.
    pub log: Vec<u8>,
}

/// A file that belongs to the compiler (`stddef.h`).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Read {
    /// Its path, as programs call it.
    pub path: PathBuf,
    /// The digest of its content.
    pub digest: Digest,
}

/// What a result must fit to besides its key.
pub struct Wanted<'a> {
    /// What a build would call its directory.
    pub place: &'a Path,
    /// Where what programs call so is for this process.
    pub outer: &'a dyn Fn(&Path) -> PathBuf,
}

impl std::fmt::Debug for Wanted<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Wanted({})", self.place.display())
    }
}

/// The line of JSON.
#[derive(Debug, Serialize, Deserialize)]
struct Header {
    format: u32,
    key: Key,
    built_at: i64,
    dkms_version: String,
    place: PathBuf,
    /// The modules have the name of their directory in them (`__FILE__`).
    names_place: bool,
    #[serde(default)]
    read: Vec<Read>,
    /// Lengths in bytes.
    modules: Vec<usize>,
    symvers: Option<usize>,
    log: usize,
}

impl Entry {
    /// The digest of its key, under which it is kept, and its file's content.
    pub fn to_bytes(&self) -> Result<(Digest, Vec<u8>), serde_json::Error> {
        let log = &self.log[..self.log.len().min(LONGEST_LOG)];
        let header = Header {
            format: FORMAT,
            key: self.key.clone(),
            built_at: self.built_at,
            dkms_version: crate::VERSION.to_owned(),
            place: self.place.clone(),
            names_place: self.names_place(),
            read: self.read.clone(),
            modules: self.modules.iter().map(Vec::len).collect(),
            symvers: self.symvers.as_ref().map(Vec::len),
            log: log.len(),
        };
        let mut body = serde_json::to_vec(&header)?;
        body.push(b'\n');
        let parts = self.modules.iter().chain(&self.symvers).map(Vec::as_slice).chain([log]);
        parts.for_each(|part| body.extend_from_slice(part));
        let mut bytes = format!("{}\n", Digest::of(&body)).into_bytes();
        bytes.append(&mut body);
        Ok((self.key.digest()?, bytes))
    }

    /// The entry in the file called `key`; the error says what is wrong with it.
    pub fn parse(bytes: &[u8], key: &Digest) -> Result<Self, String> {
        let line = |bytes: &[u8]| bytes.iter().position(|byte| *byte == b'\n').ok_or("it has no lines");
        let at = line(bytes)?;
        let (sum, body) = (&bytes[..at], &bytes[at + 1..]);
        if sum != Digest::of(body).to_string().as_bytes() {
            return Err("it is damaged".to_owned());
        }
        let at = line(body)?;
        let header: Header = serde_json::from_slice(&body[..at]).map_err(|error| error.to_string())?;
        if header.format != FORMAT {
            return Err(format!("it has format {}, this program knows format {FORMAT}", header.format));
        }
        if header.key.digest().map_err(|error| error.to_string())? != *key {
            return Err("it is another's".to_owned());
        }
        let mut rest = &body[at + 1..];
        let mut part = |length: usize| {
            let (part, left) = rest.split_at_checked(length).ok_or("it is too short")?;
            rest = left;
            Ok::<_, &str>(part.to_vec())
        };
        let modules = header.modules.iter().map(|length| part(*length)).collect::<Result<Vec<_>, _>>()?;
        let symvers = header.symvers.map(&mut part).transpose()?;
        let log = part(header.log)?;
        if !rest.is_empty() || modules.len() != header.key.modules.len() {
            return Err("its parts are not those of its key".to_owned());
        }
        let Header { key, built_at, place, read, .. } = header;
        Ok(Self { key, built_at, place, read, modules, symvers, log })
    }

    /// Whether the modules have the name of the directory in them that they were built in.
    fn names_place(&self) -> bool {
        let place = self.place.as_os_str().as_encoded_bytes();
        !place.is_empty() && self.modules.iter().any(|module| contains(module, place))
    }

    /// Whether a build would make the same of the same key here; the error says why not.
    pub fn serves(&self, wanted: &Wanted<'_>) -> Result<(), String> {
        self.fits_place(wanted.place)?;
        let differs = |read: &&Read| durable_digest(&(wanted.outer)(&read.path)).as_ref() != Some(&read.digest);
        let other = self.read.iter().find(differs);
        other.map_or(Ok(()), |read| Err(format!("{} is another one now", read.path.display())))
    }

    /// Whether a build at `place` would make the same, as far as that decides.
    pub fn fits_place(&self, place: &Path) -> Result<(), String> {
        if self.place != place && self.names_place() {
            return Err(format!("it has the name of its directory in it, {}", self.place.display()));
        }
        Ok(())
    }
}

fn durable_digest(path: &Path) -> Option<Digest> {
    durable::read(path).ok().flatten().map(|bytes| Digest::of(&bytes))
}

pub(crate) fn contains(text: &[u8], part: &[u8]) -> bool {
    let (first, length) = (part[0], part.len());
    let mut from = 0;
    while let Some(at) = text[from..].iter().position(|byte| *byte == first) {
        if text[from + at..].get(..length) == Some(part) {
            return true;
        }
        from += at + 1;
    }
    false
}
