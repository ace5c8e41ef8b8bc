//! Whether what is installed is what was built: by stat identity, by bytes where that differs.

use std::fs;
use std::io::{self, Read};
use std::path::Path;

use crate::durable;
use crate::names::{Kernel, Package};

use super::identity::Identity;
use super::manifest::{Installed, InstalledFile, KernelManifest, Manifest};
use super::paths::Trees;
use super::walk::Built;

/// How an artefact and what is installed of it differ (the suffixes of docs/contract.md 2.9).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Differences {
    /// They don't.
    None,
    /// A module is missing in the artefact.
    MissingInTree,
    /// An installed module is not the built one, or is not there.
    Differ,
    /// There is no manifest (the classic wrote this): dkms.conf must say which files to compare.
    NeedConf,
}

/// How the artefact of `package` that `built` describes differs from what is installed.
pub fn differences(trees: &Trees, package: &Package, built: &Built) -> Differences {
    let kernel = &built.kernel;
    let beside = KernelManifest::known(trees, &kernel.release);
    let entry = beside.find(package, &kernel.arch).filter(|_| built.installed);
    if entry.is_some_and(|entry| untouched(trees, package, kernel, entry)) {
        return Differences::None;
    }
    match Manifest::of(trees, package, kernel) {
        Ok(Some(manifest)) => by_bytes(trees, &manifest, entry, built.installed),
        Ok(None) => Differences::NeedConf,
        Err(error) => {
            log::warn!("{error}");
            Differences::NeedConf
        }
    }
}

fn untouched(trees: &Trees, package: &Package, kernel: &Kernel, entry: &Installed) -> bool {
    let modules = trees.modules_dir(&kernel.release);
    let artefact = trees.artefact_modules(package, kernel);
    let same = |path: &Path, known: Option<Identity>| {
        known.is_some_and(|known| fs::symlink_metadata(path).is_ok_and(|meta| Identity::of(&meta) == known))
    };
    !entry.files.is_empty()
        && entry.files.iter().all(|file| {
            same(&file.outer(&modules), file.identity) && same(&artefact.join(&file.file), file.tree_identity)
        })
}

fn by_bytes(trees: &Trees, manifest: &Manifest, entry: Option<&Installed>, installed: bool) -> Differences {
    let artefact = trees.artefact_modules(&manifest.package, &manifest.kernel);
    let modules = trees.modules_dir(&manifest.kernel.release);
    let mut found = Differences::None;
    for module in &manifest.modules {
        let built = artefact.join(&module.file);
        if !built.is_file() {
            return Differences::MissingInTree;
        }
        if !installed || found == Differences::Differ {
            continue;
        }
        // Where it was put may differ from where it would be put today.
        let put = entry
            .and_then(|e| e.files.iter().find(|f| f.name == module.name))
            .map_or_else(|| modules.join(&module.location).join(&module.file), |f: &InstalledFile| f.outer(&modules));
        // Links to the artefact are followed as inside the root.
        let put = trees.root.outer(&trees.shown(&put));
        if !same_bytes(&built, &put).unwrap_or(false) {
            found = Differences::Differ;
        }
    }
    found
}

/// Whether two files have the same content.
pub fn same_bytes(one: &Path, other: &Path) -> io::Result<bool> {
    let open = |path: &Path| durable::open_regular(path).map_err(durable::named(path));
    let (mut one, mut other) = (open(one)?, open(other)?);
    if one.metadata()?.len() != other.metadata()?.len() {
        return Ok(false);
    }
    let (mut a, mut b) = (vec![0; 64 * 1024], vec![0; 64 * 1024]);
    loop {
        let n = one.read(&mut a)?;
        if n == 0 {
            return Ok(true);
        }
        other.read_exact(&mut b[..n])?;
        if a[..n] != b[..n] {
            return Ok(false);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Digest;
    use crate::root::Root;
    use crate::tree::manifest::BuiltModule;

    fn package() -> Package {
        Package::new("a", "1").unwrap()
    }

    fn built(installed: bool) -> Built {
        Built { kernel: Kernel::new("6.1", "x").unwrap(), installed, original_modules: false, nothing_archived: false }
    }

    /// A package with one module, installed, with both manifests sealed.
    fn bed() -> (tempfile::TempDir, Trees) {
        let tmp = tempfile::tempdir().unwrap();
        let trees = Trees::new(Root::at(tmp.path()).unwrap());
        let kernel = built(true).kernel;
        let modules = trees.modules_dir(&kernel.release);
        let artefact = trees.artefact_modules(&package(), &kernel);
        for dir in [&artefact, &modules.join("updates/dkms")] {
            fs::create_dir_all(dir).unwrap();
            fs::write(dir.join("a.ko"), "1").unwrap();
        }
        let link = trees.active_link(&package().name, &kernel);
        std::os::unix::fs::symlink("1/6.1/x", link).unwrap();
        let text = r#"{"format":1,"news":[],"package":{"name":"a","version":"1"},"built_at":1,
            "kernel":{"release":"6.1","arch":"x"},"modules":[],"source_digest":"0"}"#;
        let mut manifest = Manifest::parse(text.as_bytes()).unwrap();
        manifest.modules.push(BuiltModule {
            name: "a".into(),
            file: "a.ko".into(),
            location: "updates/dkms".into(),
            own_location: "extra".into(),
            digest: Digest::of(b"1"),
            identity: None,
            version: String::new(),
            srcversion: None,
        });
        let path = trees.manifest(&package(), &kernel);
        fs::write(&path, manifest.to_bytes().unwrap()).unwrap();
        assert_eq!(Manifest::load(&path).unwrap(), Some(manifest));
        let text = format!(
            r#"{{"format":1,"installed":[{{"package":{{"name":"a","version":"1"}},"arch":"x",
            "installed_at":1,"files":[{{"path":"updates/dkms","name":"a","file":"a.ko",
            "digest":"{}"}}]}}]}}"#,
            Digest::of(b"1")
        );
        let mut manifest = KernelManifest::parse(text.as_bytes()).unwrap();
        assert!(manifest.seal(&trees, &kernel.release, true));
        assert!(!manifest.seal(&trees, &kernel.release, true));
        let path = trees.kernel_manifest(&kernel.release);
        fs::write(path, manifest.to_bytes().unwrap()).unwrap();
        (tmp, trees)
    }

    fn differences(trees: &Trees, installed: bool) -> Differences {
        super::differences(trees, &package(), &built(installed))
    }

    #[test]
    fn untouched_files_are_not_read() {
        let (_tmp, trees) = bed();
        // Without the artefact's manifest nothing but the identities can tell.
        fs::remove_file(trees.manifest(&package(), &built(true).kernel)).unwrap();
        assert_eq!(differences(&trees, true), Differences::None);
        assert_eq!(differences(&trees, false), Differences::NeedConf);
    }

    #[test]
    fn the_same_bytes_in_another_file_are_no_difference() {
        let (_tmp, trees) = bed();
        let file = trees.install.outer.join("6.1/updates/dkms/a.ko");
        fs::remove_file(&file).unwrap();
        fs::write(&file, "1").unwrap();
        assert_eq!(differences(&trees, true), Differences::None);
        fs::write(&file, "2").unwrap();
        assert_eq!(differences(&trees, true), Differences::Differ);
        fs::remove_file(&file).unwrap();
        assert_eq!(differences(&trees, true), Differences::Differ);
        assert_eq!(differences(&trees, false), Differences::None);
    }

    #[test]
    fn a_link_to_the_artefact_is_no_difference() {
        let (_tmp, trees) = bed();
        let file = trees.install.outer.join("6.1/updates/dkms/a.ko");
        fs::remove_file(&file).unwrap();
        std::os::unix::fs::symlink("/var/lib/dkms/a/1/6.1/x/module/a.ko", &file).unwrap();
        assert_eq!(differences(&trees, true), Differences::None);
    }

    #[test]
    fn a_module_missing_in_the_artefact_is_told() {
        let (_tmp, trees) = bed();
        let module = trees.artefact_modules(&package(), &built(true).kernel);
        fs::remove_file(module.join("a.ko")).unwrap();
        assert_eq!(differences(&trees, true), Differences::MissingInTree);
        assert_eq!(differences(&trees, false), Differences::MissingInTree);
    }

    #[test]
    fn a_rebuild_by_the_classic_leaves_the_question_to_the_conf() {
        let (_tmp, trees) = bed();
        let kernel = built(true).kernel;
        fs::remove_file(trees.manifest(&package(), &kernel)).unwrap();
        fs::write(trees.artefact_modules(&package(), &kernel).join("a.ko"), "3").unwrap();
        assert_eq!(differences(&trees, true), Differences::NeedConf);
    }

    #[test]
    fn stale_entries_of_a_kernel_manifest_go_when_it_is_written() {
        let (_tmp, trees) = bed();
        let kernel = built(true).kernel;
        let mut manifest = KernelManifest::clone(&KernelManifest::known(&trees, &kernel.release));
        let link = trees.active_link(&package().name, &kernel);
        let kept = |manifest: &mut KernelManifest| {
            manifest.drop_stale(&trees, &kernel.release);
            manifest.find(&package(), &kernel.arch).is_some()
        };
        assert!(kept(&mut manifest));
        fs::remove_file(&link).unwrap();
        assert!(kept(&mut manifest), "an empty /var proves nothing");
        std::os::unix::fs::symlink("2/6.1/x", &link).unwrap();
        assert!(!kept(&mut manifest.clone()));
        fs::remove_file(&link).unwrap();
        fs::remove_file(trees.install.outer.join("6.1/updates/dkms/a.ko")).unwrap();
        assert!(!kept(&mut manifest));
    }

    #[test]
    fn one_version_of_a_package_is_installed_at_a_time() {
        let (_tmp, trees) = bed();
        let kernel = built(true).kernel;
        let mut manifest = KernelManifest::clone(&KernelManifest::known(&trees, &kernel.release));
        let mut entry = manifest.installed[0].clone();
        entry.package = Package::new("a", "2").unwrap();
        manifest.put(entry);
        assert!(manifest.find(&package(), &kernel.arch).is_none());
        let found = manifest.find_name(&package().name, &kernel.arch).unwrap();
        assert_eq!(found.package.version.as_str(), "2");
        assert!(manifest.drop(&package().name, &kernel.arch).is_some());
        assert!(manifest.installed.is_empty());
    }
}
