//! Space that is kept back, so that what takes things away works on a full disk.
//!
//! A journal and a manifest want a few kilobytes even when a package is removed. Without them whoever
//! has filled the disk could not get rid of what fills it.

use std::fs;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::{FallocateFlags, fallocate, statvfs};

use crate::tree::Trees;

/// What the journals and manifests of one change need, generously, in bytes.
pub(super) const SIZE: u64 = 256 * 1024;

/// Keeps space back where there is plenty. Where this can't be done we are no worse off.
pub(super) fn keep(trees: &Trees) {
    let path = trees.reserve();
    let plenty = free(&trees.own()).is_some_and(|free| free >= 64 * SIZE);
    if !plenty || path.exists() {
        return;
    }
    let new = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
    let kept = new.and_then(|file| Ok(fallocate(file, FallocateFlags::empty(), 0, SIZE)?));
    if kept.is_err() {
        let _ = fs::remove_file(path);
    }
}

/// Whether there is plenty, many times what is kept back.
pub(super) fn has_space(trees: &Trees) -> bool {
    free(&trees.own()).is_none_or(|free| free >= 64 * SIZE)
}

/// Gives the space back if nothing else is left.
pub(super) fn spend(trees: &Trees) {
    if free(&trees.own()).is_some_and(|free| free < SIZE) && fs::remove_file(trees.reserve()).is_ok() {
        log::info!("the disk is full: {} made room for this change", trees.reserve().display());
    }
}

/// Bytes that we may still write in the file system of `dir`.
fn free(dir: &Path) -> Option<u64> {
    let stat = statvfs(dir).ok()?;
    let blocks = if rustix::process::geteuid().is_root() { stat.f_bfree } else { stat.f_bavail };
    Some(blocks.saturating_mul(stat.f_frsize))
}
