//! An artefact as it is shared: the record of a build, which is signed, and what the build has made.
//!
//! The manifest is one of the OCI image specification ("Guidelines for Artifact Usage"). Its config is the record; its layers
//! are the modules, Module.symvers and the log; an annotation holds the signature of the record. (A signature of its own that refers to
//! the manifest would be taken away by registries that know nothing of referrers.) The record names everything by its digest, and has the
//! key in it: what is signed for one build serves no other.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::PathBuf;

use dkms_core::clock;
use dkms_core::digest::Digest;
use dkms_core::results::Outline;
use dkms_core::results::entry::{Entry, Read};
use dkms_core::results::key::{FORMAT, Key};
use serde::{Deserialize, Serialize};

use crate::carried::Carried;
use crate::error::Error;
use crate::share::{LONGEST_MANIFEST, Road};
use crate::trust::{Signer, Trust};

/// Media types: of a manifest, and our own.
pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const ARTEFACT: &str = "application/vnd.dkms.artefact.v1";
const RECORD: &str = "application/vnd.dkms.record.v1+json";
const MODULE: &str = "application/vnd.dkms.module.v1+zstd";
const SYMVERS: &str = "application/vnd.dkms.symvers.v1+zstd";
const LOG: &str = "application/vnd.dkms.log.v1+zstd";

/// Annotations.
const SIGNATURE: &str = "org.dkms.signature";
const PACKAGE: &str = "org.dkms.package";
const VERSION: &str = "org.dkms.version";
const KERNEL: &str = "org.dkms.kernel";
const ARCH: &str = "org.dkms.arch";
const KERNEL_BUILD: &str = "org.dkms.kernel-build";
const KEY: &str = "org.dkms.key";
const CREATED: &str = "org.opencontainers.image.created";
const TITLE: &str = "org.opencontainers.image.title";

/// Modules are pushed once and pulled often.
const LEVEL: i32 = 12;
/// The window that a decoder makes room for (zstd(1), `--long`); the encoder's is smaller.
const WINDOW: u32 = 27;

/// What is signed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The format of keys and results.
    pub format: u32,
    /// What it was built from.
    pub key: Key,
    /// When, in seconds since 1970.
    pub built_at: i64,
    /// What the build called its directory.
    place: PathBuf,
    /// What was read besides what the key names.
    read: Vec<Read>,
    /// The version of dkms that has packed it.
    dkms_version: String,
    modules: Vec<Part>,
    #[serde(skip_serializing_if = "Option::is_none")]
    symvers: Option<Part>,
    log: Part,
}

/// Something that was built.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Part {
    name: String,
    /// The blob that it is in, compressed by zstd, and how long that is.
    blob: Digest,
    blob_size: u64,
    /// What it is.
    digest: Digest,
    size: u64,
}

/// A manifest, as far as it is ours.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    schema_version: u32,
    media_type: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    artifact_type: Option<String>,
    config: Descriptor,
    layers: Vec<Descriptor>,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Descriptor {
    media_type: String,
    digest: String,
    size: u64,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    annotations: BTreeMap<String, String>,
}

/// What the share lacks of an artefact whose manifest it has.
pub fn incomplete(digest: &Digest) -> Error {
    Error::Refused(format!("the share lacks the blob sha256:{digest} of an artefact that it has"))
}

impl Record {
    /// The blobs of what was built.
    pub fn blobs(&self) -> impl Iterator<Item = &Digest> {
        self.parts().map(|part| &part.blob)
    }

    /// All that was built: modules, then Module.symvers, then the log.
    fn parts(&self) -> impl Iterator<Item = &Part> {
        self.modules.iter().chain(&self.symvers).chain([&self.log])
    }
}

impl Descriptor {
    fn new(media: &str, digest: &Digest, size: u64) -> Self {
        Self { media_type: media.to_owned(), digest: format!("sha256:{digest}"), size, annotations: BTreeMap::new() }
    }

    fn of(media: &str, part: &Part) -> Self {
        let annotations = [(TITLE.to_owned(), part.name.clone())].into();
        Self { annotations, ..Self::new(media, &part.blob, part.blob_size) }
    }

    fn blob(&self) -> Option<Digest> {
        self.digest.strip_prefix("sha256:")?.parse().ok()
    }
}

/// An artefact, ready to be pushed.
pub struct Packed {
    /// Everything that the manifest names.
    pub blobs: Vec<(Digest, Vec<u8>)>,
    /// The manifest.
    pub manifest: Vec<u8>,
    /// The tags that it gets: that by which it is found, one for people, and that by which machines without a compiler find it.
    pub tags: Vec<String>,
}

impl Packed {
    /// Packs what was built, and has it signed.
    pub fn new(entry: &Entry, signer: &Signer) -> Result<Self, Error> {
        let failed = |error: &dyn std::fmt::Display| Error::Refused(format!("it can't be packed: {error}"));
        let mut blobs = Vec::new();
        let mut part = |name: &str, bytes: &[u8]| {
            let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), LEVEL)?;
            encoder.set_pledged_src_size(Some(bytes.len() as u64))?;
            std::io::Write::write_all(&mut encoder, bytes)?;
            let packed = encoder.finish()?;
            let (blob, blob_size) = (Digest::of(&packed), packed.len() as u64);
            blobs.push((blob.clone(), packed));
            let (digest, size) = (Digest::of(bytes), bytes.len() as u64);
            Ok::<_, std::io::Error>(Part { name: name.to_owned(), blob, blob_size, digest, size })
        };
        let named = entry.key.modules.iter().zip(&entry.modules);
        let modules: Result<Vec<Part>, _> = named.map(|(module, bytes)| part(&module.file, bytes)).collect();
        let record = Record {
            format: FORMAT,
            key: entry.key.clone(),
            built_at: entry.built_at,
            place: entry.place.clone(),
            read: entry.read.clone(),
            dkms_version: dkms_core::VERSION.to_owned(),
            modules: modules.map_err(|error| failed(&error))?,
            symvers: entry
                .symvers
                .as_deref()
                .map(|bytes| part("Module.symvers", bytes))
                .transpose()
                .map_err(|error| failed(&error))?,
            log: part("make.log", &entry.log).map_err(|error| failed(&error))?,
        };
        let key = record.key.digest().map_err(|error| failed(&error))?;
        let bytes = serde_json::to_vec_pretty(&record).map_err(|error| failed(&error))?;
        let title = format!("{} for kernel {}", record.key.package, record.key.kernel);
        let signature = signer.sign(&bytes, &format!("{title}, key {key}"))?;
        let mut layers: Vec<Descriptor> = record.modules.iter().map(|part| Descriptor::of(MODULE, part)).collect();
        layers.extend(record.symvers.iter().map(|part| Descriptor::of(SYMVERS, part)));
        layers.push(Descriptor::of(LOG, &record.log));
        let mut annotations: BTreeMap<String, String> = [
            (SIGNATURE, signature),
            (PACKAGE, record.key.package.name.to_string()),
            (VERSION, record.key.package.version.to_string()),
            (KERNEL, record.key.kernel.release.to_string()),
            (ARCH, record.key.kernel.arch.to_string()),
            (KEY, key.to_string()),
            (CREATED, clock::utc(record.built_at).to_string() + "Z"),
            (TITLE, title),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into();
        annotations.extend(record.key.kernel_build.iter().map(|build| (KERNEL_BUILD.to_owned(), build.clone())));
        let manifest = Manifest {
            schema_version: 2,
            media_type: MANIFEST.to_owned(),
            artifact_type: Some(ARTEFACT.to_owned()),
            config: Descriptor::new(RECORD, &Digest::of(&bytes), bytes.len() as u64),
            layers,
            annotations,
        };
        let mut tags = vec![key.to_string()];
        tags.extend(other_tags(&record.key, &key)?);
        blobs.push((Digest::of(&bytes), bytes));
        let manifest = serde_json::to_vec_pretty(&manifest).map_err(|error| failed(&error))?;
        Ok(Self { blobs, manifest, tags })
    }

    /// How many bytes it has.
    pub fn size(&self) -> u64 {
        self.blobs.iter().map(|(_, bytes)| bytes.len() as u64).sum::<u64>() + self.manifest.len() as u64
    }
}

/// The tags of an artefact beside that of its `key`, which `digest` is of.
pub fn other_tags(key: &Key, digest: &Digest) -> Result<Vec<String>, Error> {
    let outline = Outline::of_key(key).map(|outline| outline.digest()).transpose();
    let outline = outline.map_err(|error| Error::Refused(format!("its key has no outline: {error}")))?;
    Ok([name_tag(key, digest)].into_iter().chain(outline.map(|outline| outline_tag(&outline))).collect())
}

/// The tag that a person finds an artefact by: package, kernel, and the beginning of the key. Of what tags can't have, it
/// has an underscore.
fn name_tag(key: &Key, digest: &Digest) -> String {
    let mut tag = name_beginning(&key.package.name.to_string());
    tag += &tag_word(&format!("{}_{}_{}", key.package.version, key.kernel.release, key.kernel.arch));
    // "Pulling manifests" of the OCI distribution specification: 128.
    tag.truncate(128 - 13);
    let digest = digest.to_string();
    format!("{tag}.{}", digest.get(..12).unwrap_or(&digest))
}

/// What such tags of a package begin with.
pub fn name_beginning(name: &str) -> String {
    // Tags begin with a letter, a digit or an underscore.
    let word = tag_word(name);
    if word.starts_with(|c: char| c.is_ascii_alphanumeric()) { format!("{word}_") } else { format!("_{word}_") }
}

fn tag_word(text: &str) -> String {
    text.chars().map(|c| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '_' }).collect()
}

/// The tag of the latest artefact that machines without a compiler know by this outline. Tags for people have an underscore.
fn outline_tag(outline: &Digest) -> String {
    format!("outline.{outline}")
}

/// Whether `tag` is one that artefacts are found by.
pub fn is_key(tag: &str) -> bool {
    tag.parse::<Digest>().is_ok()
}

/// A record whose signature has been checked.
pub struct Found {
    /// What is signed.
    pub record: Record,
    /// The digest of its key.
    pub key: Digest,
    /// Who has signed it: the name of a file of a trusted key.
    pub signed_by: String,
    /// The record as it was signed, and the signature.
    signed: (Vec<u8>, String),
}

/// Which artefact is looked for.
#[derive(Debug, Clone, Copy)]
pub enum Sought<'a> {
    /// That of this key.
    Key(&'a Digest),
    /// Any with this outline.
    Outline(&'a Digest),
}

impl Sought<'_> {
    fn tag(self) -> String {
        match self {
            Self::Key(key) => key.to_string(),
            Self::Outline(outline) => outline_tag(outline),
        }
    }

    /// Refuses what was found if it is another.
    pub fn check(self, found: &Key) -> Result<(), Error> {
        let refused = |error: serde_json::Error| Error::Refused(error.to_string());
        let key = found.digest().map_err(refused)?;
        let is_it = match self {
            Self::Key(wanted) => key == *wanted,
            Self::Outline(wanted) => match Outline::of_key(found) {
                Some(outline) => outline.digest().map_err(refused)? == *wanted,
                None => false,
            },
        };
        if is_it {
            return Ok(());
        }
        let what = format!("{} for kernel {}", found.package, found.kernel);
        Err(Error::Refused(format!("the share has another artefact under this key: {what}, key {key}")))
    }
}

impl Manifest {
    /// Reads a manifest; of another kind of artefact it is an error.
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        let found: Self = serde_json::from_slice(bytes)
            .map_err(|error| Error::Refused(format!("the share has no manifest of an artefact there: {error}")))?;
        if found.config.media_type != RECORD {
            return Err(Error::Refused(format!(
                "the share has something else there, of type {}",
                found.config.media_type
            )));
        }
        Ok(found)
    }

    /// The blobs that it names.
    pub fn blobs(&self) -> impl Iterator<Item = Digest> + '_ {
        std::iter::once(&self.config).chain(&self.layers).filter_map(Descriptor::blob)
    }

    /// What it says of itself, which is not checked: package, version and kernel.
    pub fn claims(&self) -> [&str; 4] {
        [PACKAGE, VERSION, KERNEL, ARCH].map(|name| self.annotations.get(name).map_or("", String::as_str))
    }

    /// Refuses it if it says to be something else than what was signed: people and `prune` go by what it says.
    pub fn check_claims(&self, key: &Key) -> Result<(), Error> {
        let Key { package, kernel, .. } = key;
        let signed = [package.name.as_str(), package.version.as_str(), kernel.release.as_str(), kernel.arch.as_str()];
        let digest = key.digest().map_err(|error| Error::Refused(error.to_string()))?;
        if self.claims() == signed && self.claimed_key() == Some(digest) {
            return Ok(());
        }
        Err(Error::Refused(format!(
            "it says that it is another artefact than what was signed: {package} for kernel {kernel}"
        )))
    }

    /// The bytes that its layers have.
    pub fn size(&self) -> u64 {
        self.layers.iter().chain([&self.config]).map(|layer| layer.size).fold(0, u64::saturating_add)
    }

    /// The digest of the key that it claims to be of.
    pub fn claimed_key(&self) -> Option<Digest> {
        self.annotations.get(KEY)?.parse().ok()
    }

    /// Whether it says that it was built before `time`, written as [`clock::utc`] does; of one that does not say, nobody knows.
    pub fn is_older(&self, time: &str) -> bool {
        self.annotations.get(CREATED).is_some_and(|created| created.as_str() < time)
    }

    /// Fetches the record and checks its signature.
    pub fn open(&self, road: &dyn Road, trust: &Trust) -> Result<Found, Error> {
        let refused = |why: &dyn std::fmt::Display| Error::Refused(why.to_string());
        let signature = self.annotations.get(SIGNATURE).ok_or_else(|| refused(&"the artefact is not signed"))?;
        let digest = self.config.blob().ok_or_else(|| refused(&"the record of the artefact has no digest of ours"))?;
        if self.config.size > LONGEST_MANIFEST {
            return Err(refused(&"the record of the artefact is too long"));
        }
        let bytes = road.blob(&digest, self.config.size)?;
        let found = Found::check(bytes, signature.clone(), trust)?;
        self.check_claims(&found.record.key)?;
        Ok(found)
    }
}

impl Found {
    /// Checks the signature of a record, and whether it may be used.
    pub fn check(bytes: Vec<u8>, signature: String, trust: &Trust) -> Result<Self, Error> {
        let refused = |why: &dyn std::fmt::Display| Error::Refused(why.to_string());
        let signed_by = trust.check(&bytes, &signature)?;
        let record: Record = serde_json::from_slice(&bytes)
            .map_err(|error| refused(&format!("the record of the artefact can't be read: {error}")))?;
        if record.format != FORMAT {
            let text = format!("the artefact has format {}, this program knows format {FORMAT}", record.format);
            return Err(refused(&text));
        }
        let key = record.key.digest().map_err(|error| refused(&error))?;
        trust.check_key(&key)?;
        Ok(Self { record, key, signed_by, signed: (bytes, signature) })
    }

    /// Fetches what was built, no more than `most` bytes.
    pub fn fetch(self, road: &dyn Road, most: u64) -> Result<Carried, Error> {
        let parts = || self.record.parts();
        let size = parts().map(|part| part.size.max(part.blob_size)).fold(0, u64::saturating_add);
        if size > most {
            return Err(Error::Refused(format!("the artefact has {size} bytes, more than result_cache_size ({most})")));
        }
        let parts = parts().map(|part| part.fetch(road)).collect::<Result<_, _>>()?;
        let (record, signature) = self.signed;
        Ok(Carried { signature, record, parts })
    }

    /// The result, made of the parts that were fetched.
    pub fn entry(self, parts: Vec<Vec<u8>>) -> Result<Entry, Error> {
        let all: Vec<&Part> = self.record.parts().collect();
        if parts.len() != all.len() || self.record.modules.len() != self.record.key.modules.len() {
            return Err(Error::Refused("the artefact has other modules than its key".to_owned()));
        }
        all.iter().zip(&parts).try_for_each(|(part, bytes)| part.check(bytes))?;
        let Record { key, built_at, place, read, symvers, .. } = self.record;
        let mut modules = parts;
        // The log is the last.
        let log = modules.pop().unwrap_or_default();
        let symvers = symvers.and_then(|_| modules.pop());
        Ok(Entry { key, built_at, place, read, modules, symvers, log })
    }
}

impl Carried {
    /// The result, verified.
    pub fn entry(self, trust: &Trust) -> Result<Entry, Error> {
        Found::check(self.record, self.signature, trust)?.entry(self.parts)
    }
}

impl Part {
    fn fetch(&self, road: &dyn Road) -> Result<Vec<u8>, Error> {
        let packed = road.blob(&self.blob, self.blob_size)?;
        let refused = |why: &dyn std::fmt::Display| Error::Refused(format!("{} of the artefact: {why}", self.name));
        let unpack = || {
            let mut decoder = zstd::stream::read::Decoder::new(packed.as_slice())?;
            decoder.window_log_max(WINDOW)?;
            let mut bytes = Vec::new();
            decoder.take(self.size.saturating_add(1)).read_to_end(&mut bytes)?;
            Ok::<_, std::io::Error>(bytes)
        };
        let bytes = unpack().map_err(|error| refused(&error))?;
        self.check(&bytes)?;
        Ok(bytes)
    }

    fn check(&self, bytes: &[u8]) -> Result<(), Error> {
        if bytes.len() as u64 == self.size && Digest::of(bytes) == self.digest {
            return Ok(());
        }
        Err(Error::Refused(format!("{} of the artefact: it is not what was signed", self.name)))
    }
}

/// The artefact in the share that is looked for, verified; `None` if there is none.
pub fn fetch(road: &dyn Road, sought: Sought<'_>, trust: &Trust, most: u64) -> Result<Option<Carried>, Error> {
    let Some(bytes) = road.manifest(&sought.tag())? else { return Ok(None) };
    let found = Manifest::parse(&bytes)?.open(road, trust)?;
    sought.check(&found.record.key)?;
    found.fetch(road, most).map(Some)
}

#[cfg(test)]
#[path = "artefact_tests.rs"]
mod tests;
