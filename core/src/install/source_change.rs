//! Sources that were changed in their place after they were built.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::superseded_mark::is_of_other;
use crate::context::Context;
use crate::names::{Kernel, Package};

/// Whether the source of `package` is another one than what is built of it for `kernel` was made from. Its files are read
/// only if one of them was changed after that: a look at a source that was left alone costs a walk.
pub fn has_changed(ctx: &Context, package: &Package, kernel: &Kernel) -> bool {
    let source = ctx.trees.source_of(package);
    let built = std::fs::metadata(ctx.trees.manifest(package, kernel)).map(|meta| changed_at(&meta));
    built.is_ok_and(|built| newest(&source).is_some_and(|newest| newest > built))
        && is_of_other(ctx, package, kernel, &source)
}

/// When something was last written, renamed or given other permissions below `dir`: nothing sets this time back.
fn newest(dir: &Path) -> Option<(i64, i64)> {
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

fn changed_at(meta: &std::fs::Metadata) -> (i64, i64) {
    (meta.ctime(), meta.ctime_nsec())
}
