//! What a share is, whatever the road to it: manifests under tags, and blobs under their digests.

use std::time::{Duration, Instant};

use dkms_core::digest::Digest;

use crate::error::Error;

/// The most that a manifest may be (what registries take: "Pushing manifests" of the OCI distribution specification).
pub const LONGEST_MANIFEST: u64 = 4 << 20;
/// The most that a list of tags may be: some 100,000 of them.
pub const LONGEST_LIST: u64 = 16 << 20;

/// How long things may take.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// An answer, and each pause in one.
    pub answer: Duration,
    /// When everything has to be over.
    pub ends: Instant,
}

/// How long everything may take that a person waits for.
pub const PATIENT: Duration = Duration::from_secs(3600);

/// A share that can be reached.
pub trait Road {
    /// The manifest of this tag; `None` if there is none.
    fn manifest(&self, tag: &str) -> Result<Option<Vec<u8>>, Error>;
    /// The blob of this digest, which is as long as `size` says. The digest has been compared.
    fn blob(&self, digest: &Digest, size: u64) -> Result<Vec<u8>, Error>;
    /// Stores a blob, if it is not there.
    fn put_blob(&self, digest: &Digest, bytes: &[u8]) -> Result<(), Error>;
    /// Whether there is a blob of this digest.
    fn has_blob(&self, digest: &Digest) -> Result<bool, Error>;
    /// Stores a manifest under a tag: after all of its blobs.
    fn put_manifest(&self, tag: &str, bytes: &[u8]) -> Result<(), Error>;
    /// All tags, sorted.
    fn tags(&self) -> Result<Vec<String>, Error>;
    /// Deletes a manifest, which has these tags.
    fn delete(&self, manifest: &[u8], tags: &[String]) -> Result<(), Error>;
    /// Deletes the blobs that no manifest needs; gives how many. A registry has its own program for that.
    fn sweep(&self) -> Result<usize, Error> {
        Ok(0)
    }
}

/// Compares what came with what was asked for.
pub fn checked(bytes: Vec<u8>, digest: &Digest) -> Result<Vec<u8>, Error> {
    if Digest::of(&bytes) == *digest {
        return Ok(bytes);
    }
    Err(Error::Refused(format!("the share has something else under the digest sha256:{digest}")))
}

/// The answer to a question for tags: `null` is none (registries say so).
#[derive(serde::Serialize, serde::Deserialize)]
pub struct Tags {
    /// The repository.
    pub name: String,
    /// Its tags.
    pub tags: Option<Vec<String>>,
}

impl Tags {
    /// Reads it; what is no tag is left out.
    pub fn parse(bytes: &[u8]) -> Result<Vec<String>, Error> {
        let tags: Self = serde_json::from_slice(bytes)
            .map_err(|error| Error::Refused(format!("the share's list of tags can't be read: {error}")))?;
        let mut tags = tags.tags.unwrap_or_default();
        tags.retain(|tag| is_tag(tag));
        Ok(tags)
    }
}

/// Whether it is a tag ("Pulling manifests" of the OCI distribution specification): it becomes a part of addresses and paths.
pub fn is_tag(text: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    (1..=128).contains(&text.len()) && !text.starts_with(['.', '-']) && text.chars().all(fits)
}
