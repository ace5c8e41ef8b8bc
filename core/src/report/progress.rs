//! What several builds are about, and how one ended.

use std::fmt;
use std::time::{Duration, Instant};

use serde::{Serialize, Serializer};

/// How far several builds are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Progress {
    /// How many steps have ended.
    pub done: usize,
    /// How many there are.
    pub total: usize,
    /// Those under way.
    pub running: Vec<Running>,
    /// How long the rest will take, in seconds, by the logs of earlier builds; left out if nothing is known.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "seconds")]
    #[cfg_attr(feature = "schema", schemars(with = "Option<u64>"))]
    pub left: Option<Duration>,
}

/// A build that is under way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Running {
    /// The package, `name/version`.
    pub package: String,
    /// The kernel's release.
    pub kernel: String,
    /// What it is at, in words; empty at the beginning.
    pub step: String,
    /// When it began.
    #[serde(skip)]
    pub since: Instant,
}

/// How a step ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Ended {
    /// The package, `name/version`.
    pub package: String,
    /// The kernel's release.
    pub kernel: String,
    /// The architecture.
    pub arch: String,
    /// How it ended.
    pub outcome: How,
    /// The exit status that it has by itself; 0 unless it failed.
    pub code: u8,
    /// Why it failed or was left out, perhaps in several lines.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// How a step ended, in a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum How {
    /// Its modules are beside the kernel's now.
    Installed,
    /// Its modules are built now.
    Built,
    /// There was nothing to do.
    Unchanged,
    /// It is not meant for the kernel.
    Excluded,
    /// It was interrupted; what was there before is there still.
    Interrupted,
    /// It failed.
    Failed,
}

impl Running {
    /// A build that begins now.
    pub fn new(package: impl Into<String>, kernel: impl Into<String>) -> Self {
        Self { package: package.into(), kernel: kernel.into(), step: String::new(), since: Instant::now() }
    }

    /// Whether it is the same build, at whichever step.
    pub fn is(&self, other: &Self) -> bool {
        self.package == other.package && self.kernel == other.kernel
    }
}

impl fmt::Display for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { package, kernel, step, .. } = self;
        // The step before the kernel: a narrow terminal cuts the end off.
        if step.is_empty() { write!(f, "{package} for {kernel}") } else { write!(f, "{package}: {step}, {kernel}") }
    }
}

#[allow(clippy::ref_option)] // what serde calls
fn seconds<S: Serializer>(left: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(left.map_or(0, |left| left.as_secs()))
}
