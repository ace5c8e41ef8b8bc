//! The marks of versions that wait for their successor: `<tree>/.dkms/superseded/<m>/<v>/mark.json`.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::context::Context;
use crate::digest::Digest;
use crate::durable;
use crate::host::owner::Owner;
use crate::names::{Kernel, Package};
use crate::tree::Trees;
use crate::tree::manifest::{KernelManifest, Manifest};

/// A version that waits for its successor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// The version.
    pub package: Package,
    /// The package that it came with.
    pub owner: Owner,
    /// Where `source` led before, as an inside path.
    pub source: PathBuf,
    /// The same version has arrived anew: it is valid again, but what was built of it may be of its old source.
    #[serde(default)]
    pub renewed: bool,
}

/// The marks that count: of versions that nobody wants any more once there is something better. The planner takes these
/// versions for not registered, except that nothing takes them out.
pub fn list(trees: &Trees) -> Vec<Mark> {
    all(trees).into_iter().filter(|mark| !mark.renewed).collect()
}

/// Whether `package` waits for its successor.
pub fn is_marked(trees: &Trees, package: &Package) -> bool {
    load(trees, package).is_some_and(|mark| !mark.renewed)
}

/// Whether `package` arrived anew and what is built or installed of it for `kernel` is of another source.
pub fn is_outdated(ctx: &Context, package: &Package, kernel: &Kernel) -> bool {
    let is_renewed = load(&ctx.trees, package).is_some_and(|mark| mark.renewed);
    is_renewed && is_of_other_at(ctx, package, kernel, &ctx.trees.source_of(package))
}

/// Whether what is built or installed of `package` for `kernel` is of another source than that at `source` (an outer path).
pub fn is_of_other_at(ctx: &Context, package: &Package, kernel: &Kernel, source: &Path) -> bool {
    Digest::of_tree(source).is_ok_and(|source| is_of_other(ctx, package, kernel, &source))
}

/// The same for a source of which only the digest is known.
pub fn is_of_other(ctx: &Context, package: &Package, kernel: &Kernel, source: &Digest) -> bool {
    let trees = &ctx.trees;
    let built = Manifest::of(trees, package, kernel)
        .ok()
        .flatten()
        .and_then(|manifest| manifest.provenance.source_digest.clone());
    let beside = KernelManifest::known(trees, &kernel.release);
    let installed = beside.find(package, &kernel.arch).and_then(|entry| entry.provenance.source_digest.clone());
    let same = |digest: &Option<Digest>| digest.as_ref() == Some(source);
    let is_installed = super::is_installed(ctx, package, kernel);
    super::is_built(ctx, package, kernel) && (!same(&built) || (is_installed && !same(&installed)))
}

/// The mark of `package`, if it has one.
pub fn load(trees: &Trees, package: &Package) -> Option<Mark> {
    let bytes = durable::read(&trees.superseded(package).join("mark.json")).ok().flatten()?;
    serde_json::from_slice(&bytes).ok()
}

/// Every mark.
pub fn all(trees: &Trees) -> Vec<Mark> {
    let names = |dir: &Path| -> Vec<String> {
        let Ok(entries) = std::fs::read_dir(dir) else { return Vec::new() };
        let mut names: Vec<String> =
            entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect();
        names.sort();
        names
    };
    let top = trees.state("superseded");
    let mut marks = Vec::new();
    for name in names(&top) {
        for version in names(&top.join(&name)) {
            if let Ok(package) = Package::new(&name, &version) {
                marks.extend(load(trees, &package));
            }
        }
    }
    marks
}

/// A mark as it is written.
pub fn to_bytes(mark: &Mark) -> std::io::Result<Vec<u8>> {
    serde_json::to_vec(mark).map_err(std::io::Error::other)
}
