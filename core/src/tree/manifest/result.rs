//! What a manifest says of where modules came from, if they were not simply built.

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::names::Release;

/// What the result cache knows of an artefact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CachedResult {
    /// The digest of all that it follows from (`results::Key`).
    pub key: Digest,
    /// It was not built but taken from the cache, for which it was built at this time, in seconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub taken: Option<i64>,
    /// It was built for another kernel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reused: Option<Reused>,
    /// What was built for another kernel differs from it, and in what.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub differs: Option<Differs>,
}

/// Where modules are from that were built for another kernel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reused {
    /// The release of that kernel.
    pub from: Release,
    /// How they are used.
    pub how: How,
}

/// How modules are used that were built for another kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum How {
    /// As they are. Their vermagic names the kernel that they were built for, which a kernel with checksums of symbols does not
    /// look at.
    AsTheyAre,
    /// With the kernel's release in their vermagic, as modpost would have written it.
    WithItsRelease,
}

/// Why modules that were built for another kernel are not used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Differs {
    /// The release of that kernel.
    pub from: Release,
    /// What differs.
    pub why: String,
}
