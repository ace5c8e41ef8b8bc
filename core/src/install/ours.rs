//! Which files beside a kernel's modules are ours.

use std::path::{Path, PathBuf};

use super::{digest_of, sanity};
use crate::elf::Module;
use crate::names::{Name, Package};
use crate::tree::identity::Identity;
use crate::tree::manifest::{InstalledFile, KernelManifest};

/// Whether the file at `path` is the one that `file` says we put there: by stat identity, by content, or,
/// when somebody signed or stripped it anew, by what tells its source (version and srcversion together).
pub fn is_ours(file: &InstalledFile, path: &Path) -> bool {
    let Ok(found) = Identity::of_path(path) else { return false };
    if file.identity == Some(found)
        || digest_of(path).as_ref() == Some(&file.digest)
        || (file.symlink && path.is_symlink())
    {
        return true;
    }
    let facts = sanity::ModuleVersion::read(path);
    !facts.srcversion.is_empty() && file.srcversion.as_deref() == Some(&facts.srcversion)
}

/// Whether the kernel's own module has taken the place at `path` where we had put `file`: its package was installed again,
/// where both have the same place. modpost marks what is built in the kernel's tree (scripts/mod/modpost.c: `intree`); a
/// module of ours that somebody has changed is none.
pub fn is_replaced_by_the_kernels(file: &InstalledFile, path: &Path) -> bool {
    Identity::of_path(path).is_ok_and(|found| file.identity != Some(found))
        && Module::read(path).is_ok_and(|module| module.field("intree") == Some("Y"))
}

/// The files that packages other than `name` have put beside the modules in `dir`, relative to it.
pub fn of_other_packages(beside: &KernelManifest, name: &Name, dir: &Path) -> Vec<PathBuf> {
    let others = beside.installed.iter().filter(|entry| entry.package.name != *name);
    let files = others.flat_map(|entry| &entry.files).filter(|file| is_ours(file, &file.outer(dir)));
    files.map(|file| file.path.join(&file.file)).collect()
}

/// The package, of another name than `name`, that has put the file at `path`, relative to the kernel's directory, there.
pub fn owner<'a>(beside: &'a KernelManifest, name: &Name, path: &Path) -> Option<&'a Package> {
    let mut others = beside.installed.iter().filter(|entry| entry.package.name != *name);
    let has = |file: &InstalledFile| file.path.join(&file.file) == path;
    others.find(|entry| entry.files.iter().any(has)).map(|entry| &entry.package)
}
