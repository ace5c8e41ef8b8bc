//! What only the manifests beside kernels' modules know. Where `/var` is not part of the system (snapshots of
//! transactional-update, freshly deployed images), the tree is empty, and this is all there is.
//!
//! A manifest is believed as far as the files bear it out: an entry of which no file is left, or whose files are others
//! while the tree's active link names another version, is what a spell of the classic left behind.

use std::collections::HashSet;
use std::fs;
use std::path::Path;

use crate::digest::Digest;
use crate::names::{Kernel, Package, Release};

use super::identity::Identity;
use super::manifest::{Installed, InstalledFile, KernelManifest};
use super::paths::Trees;
use super::walk::{self, Filter, Walk};

/// What became of the files of an installation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Files {
    /// They are what was installed.
    Whole,
    /// One of them has another content.
    Differ,
    /// One of them is not there.
    Missing,
}

/// An installation that the tree knows nothing of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Beside {
    /// The package.
    pub package: Package,
    /// The kernel.
    pub kernel: Kernel,
    /// The manifest's entry.
    pub entry: Installed,
    /// What there is of it.
    pub files: Files,
}

/// The installations that `filter` wants and `walk` (made with the same filter) has not found, by package and kernel.
pub fn unknown_to(trees: &Trees, filter: &Filter, walk: &Walk) -> Vec<Beside> {
    let mut found = Vec::new();
    if trees.is_another {
        return found;
    }
    let in_tree: HashSet<(&Package, &Kernel)> = walk
        .packages
        .iter()
        .flat_map(|known| known.built.iter().map(|built| (&known.package, &built.kernel)))
        .collect();
    for entry in fs::read_dir(&trees.install.outer).into_iter().flatten().flatten() {
        // Another name of a kernel is no other kernel.
        if entry.file_type().is_ok_and(|kind| kind.is_symlink()) {
            continue;
        }
        let Some(release) = entry.file_name().to_str().and_then(|name| Release::new(name).ok()) else { continue };
        for entry in &KernelManifest::known(trees, &release).installed {
            let kernel = Kernel { release: release.clone(), arch: entry.arch.clone() };
            if filter.wants_package(&entry.package)
                && filter.wants_kernel(kernel.release.as_str(), kernel.arch.as_str())
                && !in_tree.contains(&(&entry.package, &kernel))
            {
                found.extend(judged(trees, kernel, entry));
            }
        }
    }
    found.sort_by(|a, b| (&a.package, &a.kernel).cmp(&(&b.package, &b.kernel)));
    found
}

/// What the manifest beside the modules of `kernel` knows of `package`, if it is to be believed. Does not ask whether the
/// tree knows as much.
pub fn known(trees: &Trees, package: &Package, kernel: &Kernel) -> Option<Beside> {
    if trees.is_another {
        return None;
    }
    let manifest = KernelManifest::known(trees, &kernel.release);
    let entry = manifest.find(package, &kernel.arch)?;
    judged(trees, kernel.clone(), entry)
}

/// The version that has the place of `package` beside the modules of `kernel`: another one, whose files are whole.
pub fn successor(trees: &Trees, package: &Package, kernel: &Kernel) -> Option<Package> {
    let manifest = KernelManifest::known(trees, &kernel.release);
    let entry = manifest.find_name(&package.name, &kernel.arch).filter(|entry| entry.package != *package)?;
    known(trees, &entry.package, kernel).filter(|known| known.files == Files::Whole).map(|known| known.package)
}

fn judged(trees: &Trees, kernel: Kernel, entry: &Installed) -> Option<Beside> {
    let dir = trees.modules_dir(&kernel.release);
    if !entry.files.iter().any(|file| fs::symlink_metadata(file.outer(&dir)).is_ok()) {
        return None;
    }
    let states = entry.files.iter().map(|file| state(trees, &dir, file));
    let files = states.max_by_key(|state| *state as u8).unwrap_or(Files::Whole);
    let link = trees.active_link(&entry.package.name, &kernel);
    let elsewhere = fs::symlink_metadata(&link).is_ok() && !walk::is_active(trees, &entry.package, &kernel);
    // Files that are what the manifest says prove more than a link in a tree that may be another system's.
    if elsewhere && files != Files::Whole {
        return None;
    }
    Some(Beside { package: entry.package.clone(), kernel, entry: entry.clone(), files })
}

fn state(trees: &Trees, dir: &Path, file: &InstalledFile) -> Files {
    let path = file.outer(dir);
    // A link into the tree leads where the root says, and nowhere if the tree is gone.
    let content = if file.symlink { trees.root.outer(&trees.shown(&path)) } else { path.clone() };
    match fs::metadata(&content) {
        Ok(meta) if meta.is_file() => {}
        _ => return Files::Missing,
    }
    let untouched = file.identity.is_some_and(|known| Identity::of_path(&path).is_ok_and(|found| found == known));
    if untouched || Digest::of_file(&content).is_ok_and(|digest| digest == file.digest) {
        Files::Whole
    } else {
        Files::Differ
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::root::Root;

    fn bed() -> (tempfile::TempDir, Trees, Kernel, Package) {
        let tmp = tempfile::tempdir().unwrap();
        let trees = Trees::new(Root::at(tmp.path()).unwrap());
        let kernel = Kernel::new("6.1", "x").unwrap();
        let dir = trees.modules_dir(&kernel.release).join("updates");
        fs::create_dir_all(&dir).unwrap();
        for name in ["a.ko", "b.ko"] {
            fs::write(dir.join(name), name).unwrap();
        }
        let file = |name: &str| {
            format!(
                r#"{{"path":"updates","name":"{name}","file":"{name}.ko","digest":"{}"}}"#,
                Digest::of(format!("{name}.ko").as_bytes())
            )
        };
        let text = format!(
            r#"{{"format":1,"installed":[{{"package":{{"name":"m","version":"1"}},"arch":"x","installed_at":1,
            "files":[{},{}]}}]}}"#,
            file("a"),
            file("b")
        );
        fs::write(trees.kernel_manifest(&kernel.release), text).unwrap();
        (tmp, trees, kernel, Package::new("m", "1").unwrap())
    }

    fn found(trees: &Trees, filter: &Filter) -> Vec<String> {
        trees.snapshot().forget_all();
        let walk = walk::walk(trees, filter);
        unknown_to(trees, filter, &walk)
            .into_iter()
            .map(|beside| format!("{} {} {:?}", beside.package, beside.kernel, beside.files))
            .collect()
    }

    #[test]
    fn an_empty_tree_leaves_the_manifest() {
        let (_tmp, trees, kernel, package) = bed();
        assert_eq!(found(&trees, &Filter::default()), ["m/1 6.1 (x) Whole"]);
        assert!(known(&trees, &package, &kernel).is_some());
        let older = Package::new("m", "0").unwrap();
        assert_eq!(successor(&trees, &older, &kernel), Some(package.clone()));
        assert_eq!(successor(&trees, &package, &kernel), None);
        let other = Filter { name: Some("n*".into()), ..Filter::default() };
        assert_eq!(found(&trees, &other), [""; 0]);
        let other = Filter { kernels: vec![("6.2".into(), None)], ..Filter::default() };
        assert_eq!(found(&trees, &other), [""; 0]);
    }

    #[test]
    fn the_files_decide() {
        let (_tmp, trees, kernel, _) = bed();
        let dir = trees.modules_dir(&kernel.release).join("updates");
        fs::write(dir.join("a.ko"), "other").unwrap();
        assert_eq!(found(&trees, &Filter::default()), ["m/1 6.1 (x) Differ"]);
        assert_eq!(successor(&trees, &Package::new("m", "0").unwrap(), &kernel), None);
        fs::remove_file(dir.join("b.ko")).unwrap();
        assert_eq!(found(&trees, &Filter::default()), ["m/1 6.1 (x) Missing"]);
        fs::remove_file(dir.join("a.ko")).unwrap();
        assert_eq!(found(&trees, &Filter::default()), [""; 0]);
    }

    #[test]
    fn copies_and_other_names_are_no_kernels() {
        let (_tmp, trees, kernel, package) = bed();
        let dir = trees.modules_dir(&kernel.release);
        std::os::unix::fs::symlink("6.1", dir.with_file_name("alias")).unwrap();
        assert_eq!(found(&trees, &Filter::default()), ["m/1 6.1 (x) Whole"]);
        let mut manifest = KernelManifest::clone(&KernelManifest::known(&trees, &kernel.release));
        let copy = Kernel::new("6.1.bak", "x").unwrap();
        fs::rename(&dir, trees.modules_dir(&copy.release)).unwrap();
        // An older one does not say whose it is.
        assert!(known(&trees, &package, &copy).is_some());
        manifest.release = Some(kernel.release);
        fs::write(trees.kernel_manifest(&copy.release), manifest.to_bytes().unwrap()).unwrap();
        assert_eq!(found(&trees, &Filter::default()), [""; 0]);
        assert!(known(&trees, &package, &copy).is_none());
    }

    #[test]
    fn the_tree_is_believed_first() {
        let (_tmp, trees, kernel, package) = bed();
        let link = trees.active_link(&package.name, &kernel);
        fs::create_dir_all(link.parent().unwrap()).unwrap();
        std::os::unix::fs::symlink("2/6.1/x", &link).unwrap();
        assert_eq!(found(&trees, &Filter::default()), ["m/1 6.1 (x) Whole"]);
        fs::write(trees.modules_dir(&kernel.release).join("updates/a.ko"), "other").unwrap();
        assert_eq!(found(&trees, &Filter::default()), [""; 0]);
        fs::remove_file(&link).unwrap();
        fs::create_dir_all(trees.artefact_modules(&package, &kernel)).unwrap();
        assert_eq!(found(&trees, &Filter::default()), [""; 0]);
    }
}
