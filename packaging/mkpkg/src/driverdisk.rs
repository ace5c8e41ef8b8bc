//! Driver disks for installers.
//!
//! Red Hat's, version 3: an image labelled OEMDRV that Anaconda finds by itself (Anaconda's documentation of `inst.dd`;
//! its `dd_list` takes packages that provide `kernel-modules`). SUSE's: a tree `linux/suse/ARCH-RELEASE/`, as a cpio
//! archive for the boot options `dud=` (YaST) and `inst.dud=` (Agama), or as an image labelled OEMDRV, which YaST's
//! linuxrc finds by itself (the HOWTO of mkdud; "SDB:Linuxrc" of openSUSE's wiki).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use dkms_core::digest::Hasher;

use crate::plan::PackageError;
use crate::{cpio, iso, payload, repodata};

/// The label that Anaconda and linuxrc look for.
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

/// What a driver update of SUSE's brings to one architecture's installer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Update {
    /// The architecture, as `uname -m` says it.
    pub arch: String,
    /// The modules for the installer's kernel (file name and bytes), those that others need first.
    pub modules: Vec<(String, Vec<u8>)>,
    /// The packages for the system that is installed.
    pub packages: Vec<(String, Vec<u8>)>,
}

/// The files of a driver update called `title` for the release `release` (`leap15.6`, `sle15`, `tw`). Its identity
/// follows from what is in it.
pub fn suse(title: &str, release: &str, updates: &[Update]) -> Result<BTreeMap<String, Vec<u8>>, PackageError> {
    let good = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    if release.is_empty() || !release.chars().all(good) {
        let why = "it is no release of SUSE's installers such as leap15.6, sle15, sle16 or tw";
        return Err(PackageError::Word { what: "release", text: release.to_owned(), why });
    }
    let mut files = BTreeMap::new();
    let mut arches = BTreeSet::new();
    for update in updates {
        if !arches.insert(&update.arch) {
            let why = "an installer has one kernel: name one of this architecture";
            return Err(PackageError::Word { what: "second kernel for", text: update.arch.clone(), why });
        }
        let base = format!("linux/suse/{}-{release}", update.arch);
        let mut order = String::new();
        for (leaf, bytes) in &update.modules {
            let _ = writeln!(order, "{}", leaf.split(".ko").next().unwrap_or_default());
            files.insert(format!("{base}/modules/{leaf}"), bytes.clone());
        }
        files.insert(format!("{base}/modules/module.order"), order.into_bytes());
        for (name, bytes) in &update.packages {
            files.insert(format!("{base}/install/{name}"), bytes.clone());
        }
    }
    let mut hasher = Hasher::default();
    for (path, bytes) in &files {
        hasher.field(path.as_bytes());
        hasher.field(bytes);
    }
    let digest = hasher.finish().to_string();
    let id = [&digest[..8], &digest[8..12], &digest[12..16], &digest[16..20], &digest[20..32]].join("-");
    for arch in arches {
        let conf = format!("UpdateID:\t{id}\nUpdateName:\t{title}\n");
        files.insert(format!("linux/suse/{arch}-{release}/dud.config"), conf.into_bytes());
    }
    Ok(files)
}

/// The driver update as a compressed cpio archive.
pub fn dud(files: &BTreeMap<String, Vec<u8>>, mtime: i64) -> Result<Vec<u8>, PackageError> {
    Ok(payload::gzip(&cpio::archive(files, mtime)?)?)
}

/// The driver update as an image.
pub fn dud_image(files: &BTreeMap<String, Vec<u8>>, mtime: i64) -> Result<Vec<u8>, PackageError> {
    iso::image(LABEL, files, mtime)
}
