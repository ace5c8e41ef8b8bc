//! Red Hat driver update disks, version 3: an image labelled OEMDRV that Anaconda finds by itself
//! (Anaconda's documentation of `inst.dd`; `dd_list` takes packages that provide `kernel-modules`).

use std::collections::BTreeMap;

use crate::plan::PackageError;
use crate::{iso, repodata};

/// The label that Anaconda looks for.
pub const LABEL: &str = "OEMDRV";

/// The image with `packages` (architecture, file name and bytes of each rpm, planned with
/// [`crate::binary::Prebuilt::in_place`]); everything has the time `mtime`.
pub fn redhat(packages: &[(String, String, Vec<u8>)], mtime: i64) -> Result<Vec<u8>, PackageError> {
    let mut files = BTreeMap::from([("rhdd3".to_owned(), b"Driver Update Disk version 3\n".to_vec())]);
    let mut by_arch: BTreeMap<&str, BTreeMap<String, Vec<u8>>> = BTreeMap::new();
    for (arch, name, bytes) in packages {
        by_arch.entry(arch).or_default().insert(name.clone(), bytes.clone());
    }
    for (arch, packages) in by_arch {
        for (path, content) in repodata::files(&packages, mtime)?.into_iter().chain(packages) {
            files.insert(format!("rpms/{arch}/{path}"), content);
        }
    }
    iso::image(LABEL, &files, mtime)
}
