//! The marks of versions that wait for their successor: `<tree>/.dkms/superseded/<m>/<v>/mark.json`.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::durable;
use crate::host::owner::Owner;
use crate::names::Package;
use crate::tree::Trees;

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
    let top = trees.own().join("superseded");
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
