//! Sources that were changed in their place after they were built.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::superseded_mark::is_of_other;
use crate::context::Context;
use crate::digest::Digest;
use crate::durable::{self, FileError};
use crate::names::{Kernel, Package};

/// A time of the last change of a file, in seconds and nanoseconds since 1970. Nothing sets it back.
pub type Changed = (i64, i64);

/// Files change again within the same tick of the kernel's clock without a new time. What is older than this, in seconds, does
/// not.
const SETTLED: i64 = 2;

/// What a source was made of when it was last read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    newest: Changed,
    digest: Digest,
}

/// What a look at a source showed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Look {
    /// Whether it is another one than what is built of it was made from.
    pub has_changed: bool,
    /// What is worth to be remembered: its files were read.
    pub seen: Option<Seen>,
}

/// When sources were last changed, by their directories: one that several kernels have modules of is walked once.
pub type Newest = BTreeMap<PathBuf, Option<Changed>>;

/// Whether the source of `package` is another one than what is built of it for `kernel` was made from. Its files are read
/// only if one of them was changed after that, and since they were last read ([`Seen::remember`]): a look at a source that was
/// left alone costs a walk, or none if `known_newest` has it.
pub fn look(ctx: &Context, package: &Package, kernel: &Kernel, known_newest: &mut Newest) -> Look {
    let source = ctx.trees.source_of(package);
    let built = std::fs::metadata(ctx.trees.manifest(package, kernel)).map(|meta| changed_at(&meta));
    let last = known_newest.entry(source.clone()).or_insert_with(|| newest(&source));
    let touched = last.filter(|newest| built.is_ok_and(|built| *newest > built));
    let Some(newest) = touched else { return Look { has_changed: false, seen: None } };
    if let Some(known) = remembered(ctx, package).filter(|known| known.newest == newest) {
        return Look { has_changed: is_of_other(ctx, package, kernel, &known.digest), seen: None };
    }
    let Ok(digest) = Digest::of_tree(&source) else { return Look { has_changed: false, seen: None } };
    let has_changed = is_of_other(ctx, package, kernel, &digest);
    let now = ctx.timestamp();
    Look { has_changed, seen: (newest.0.saturating_add(SETTLED) <= now).then_some(Seen { newest, digest }) }
}

impl Seen {
    /// Remembers it, so that the files need not be read again until one of them changes.
    pub fn remember(&self, ctx: &Context, package: &Package) -> Result<(), FileError> {
        let path = memory(ctx, package);
        let bytes = serde_json::to_vec(self).map_err(|error| durable::at("write", &path)(error.into()))?;
        ctx.trees.write(&path, &bytes, 0o644)
    }
}

fn remembered(ctx: &Context, package: &Package) -> Option<Seen> {
    serde_json::from_slice(&durable::read(&memory(ctx, package)).ok().flatten()?).ok()
}

/// Where it is remembered: it goes with the package.
fn memory(ctx: &Context, package: &Package) -> PathBuf {
    ctx.trees.package_dir(package).join(".dkms-source.json")
}

/// When something was last written, renamed or given other permissions below `dir`.
fn newest(dir: &Path) -> Option<Changed> {
    let mut newest = changed_at(&std::fs::metadata(dir).ok()?);
    for entry in std::fs::read_dir(dir).ok()?.flatten() {
        let Ok(meta) = entry.metadata() else { continue };
        newest = newest.max(changed_at(&meta));
        if meta.is_dir() {
            newest = newest.max(self::newest(&entry.path()).unwrap_or_default());
        }
    }
    Some(newest)
}

fn changed_at(meta: &std::fs::Metadata) -> Changed {
    (meta.ctime(), meta.ctime_nsec())
}
