//! The directories of `/usr/src` and the packages registered from them.

use std::collections::BTreeSet;
use std::path::PathBuf;

use dkms_core::names::Package;
use dkms_core::tree::Trees;
use dkms_core::tree::walk::{self, Filter};

/// The directories of the source tree that hold a dkms.conf, by name.
pub fn on_disk(trees: &Trees) -> BTreeSet<String> {
    std::fs::read_dir(&trees.source.outer)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| is_there(trees, name))
        .collect()
}

/// Whether the directory `name` of the source tree holds a dkms.conf.
pub fn is_there(trees: &Trees, name: &str) -> bool {
    trees.source.outer.join(name).join("dkms.conf").is_file()
}

/// The packages that are registered from a directory of the source tree, with its name.
pub fn registered(trees: &Trees) -> Vec<(String, Package)> {
    let packages = walk::walk(trees, &Filter::default()).packages.into_iter().map(|entry| entry.package);
    packages.filter_map(|package| Some((directory(trees, &package)?, package))).collect()
}

/// The directory of the source tree that a package is registered from; `None` if it is elsewhere.
fn directory(trees: &Trees, package: &Package) -> Option<String> {
    let target: PathBuf = std::fs::read_link(trees.source_link(package)).ok()?;
    let name = target.strip_prefix(&trees.source.inside).ok()?;
    name.to_str().filter(|name| !name.is_empty() && !name.contains('/')).map(str::to_owned)
}

/// Whether one of the directories `incoming` may hold another version of `package`.
pub fn replaces(incoming: &BTreeSet<String>, package: &Package) -> bool {
    let start = format!("{}-", package.name);
    incoming.iter().any(|name| name.starts_with(&start))
}
