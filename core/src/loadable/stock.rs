//! What a kernel's own modules tell of it: a few small ones are looked at.

use std::path::{Path, PathBuf};

use super::index::Index;
use crate::elf::Module;
use crate::tree::manifest::{Installed, KernelManifest};

/// Files of modules of the kernel in `dir`, the smallest of the first: the same ones each time.
pub fn few(dir: &Path, index: &Index, beside: &KernelManifest) -> Vec<PathBuf> {
    let ours: Vec<PathBuf> = beside.installed.iter().flat_map(Installed::paths).collect();
    let is_stock = |path: &&Path| path.starts_with("kernel") && !ours.iter().any(|ours| ours == path);
    let size = |path: &Path| std::fs::metadata(dir.join(path)).map(|meta| meta.len()).ok();
    let mut stock: Vec<&Path> = index.paths().filter(is_stock).collect();
    // The index has no order of its own.
    stock.sort_unstable_by_key(|path| path.as_os_str());
    let mut stock: Vec<(u64, &Path)> =
        stock.into_iter().filter_map(|path| Some((size(path)?, path))).take(16).collect();
    stock.sort_unstable();
    stock.into_iter().map(|(_, path)| dir.join(path)).collect()
}

/// The `vermagic` of the kernel's own modules; `None` if they do not agree, since somebody else may have put one among them.
pub fn magic(dir: &Path, index: &Index, beside: &KernelManifest) -> Option<String> {
    let few = few(dir, index, beside);
    let magic = |path: &PathBuf| Module::read(path).ok()?.field("vermagic").map(str::to_owned);
    let mut found = few.iter().filter_map(magic).take(3);
    let first = found.next()?;
    found.all(|other| other == first).then_some(first)
}
