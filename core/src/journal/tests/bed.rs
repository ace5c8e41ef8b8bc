//! A small system to change, and what it looks like.

use std::collections::BTreeMap;

use super::*;

/// A small system: a built package and a stock module of the same name.
pub(super) struct Bed {
    pub(super) top: PathBuf,
    pub(super) trees: Trees,
    pub(super) kept: Option<tempfile::TempDir>,
}

pub(super) fn bed() -> Bed {
    // In memory where possible: thousands of fsyncs.
    let memory = Path::new("/dev/shm");
    let tmp = if memory.is_dir() { tempfile::tempdir_in(memory).unwrap() } else { tempfile::tempdir().unwrap() };
    let mut bed = on(tmp.path());
    bed.kept = Some(tmp);
    bed.file("lib/modules/6.1/kernel/net/a.ko.xz", "stock");
    bed.file("lib/modules/6.1/modules.dep", "");
    bed.file("var/lib/dkms/a/1/6.1/x/module/a.ko.xz", "ours");
    bed
}

pub(super) fn on(top: &Path) -> Bed {
    Bed { top: top.to_owned(), trees: Trees::new(Root::at(top).unwrap()), kept: None }
}

pub(super) fn package() -> Package {
    Package::new("a", "1").unwrap()
}

pub(super) fn kernel() -> Kernel {
    Kernel::new("6.1", "x").unwrap()
}

/// A file that is readable for all, whatever the umask is.
pub(super) fn plain(path: &Path, content: &str) {
    fs::write(path, content).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o644)).unwrap();
}

pub(super) type Snapshot = BTreeMap<String, String>;

impl Bed {
    pub(super) fn path(&self, path: &str) -> PathBuf {
        self.top.join(path)
    }

    pub(super) fn file(&self, path: &str, content: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        plain(&path, content);
    }

    /// Everything but our own state, times and inode numbers.
    pub(super) fn snapshot(&self) -> Snapshot {
        let mut found = BTreeMap::new();
        look(&self.top, &self.top, &mut found);
        found
    }

    pub(super) fn journals(&self) -> usize {
        fs::read_dir(self.trees.journals()).map_or(0, Iterator::count)
    }

    pub(super) fn manifest(&self, dir: &str, content: &str) -> Vec<u8> {
        let mut manifest =
            KernelManifest::load(&self.trees.kernel_manifest(&kernel().release)).unwrap().unwrap_or_default();
        manifest.put(Installed {
            package: package(),
            arch: kernel().arch,
            files: vec![InstalledFile {
                srcversion: None,
                path: dir.into(),
                name: "a".into(),
                file: "a.ko.xz".into(),
                digest: Digest::of(content.as_bytes()),
                identity: None,
                tree_identity: None,
                symlink: false,
            }],
            artefact_digest: None,
            provenance: crate::tree::manifest::Provenance::default(),
            installed_at: 0,
        });
        manifest.to_bytes().unwrap()
    }

    /// Installs to `updates/dkms`, or in the stock module's own place.
    pub(super) fn install(&self, dir: &str) -> Change<'_> {
        let t = &self.trees;
        let (package, kernel) = (package(), kernel());
        let stock = self.path("lib/modules/6.1/kernel/net/a.ko.xz");
        let to = self.path(&format!("lib/modules/6.1/{dir}/a.ko.xz"));
        let built = t.artefact_modules(&package, &kernel).join("a.ko.xz");
        let mut change = Change::new(t, "install a/1 for 6.1");
        change
            .archive(&stock, &t.originals(&package.name, &kernel).join("a.ko.xz"), &t.shown(&stock))
            .stage_copy(&built, 0o644, &to)
            .stage_bytes(self.manifest(dir, "ours"), 0o644, &t.kernel_manifest(&kernel.release))
            .stage_symlink("1/6.1/x", &t.active_link(&package.name, &kernel))
            .seal(&kernel.release);
        change
    }

    pub(super) fn uninstall(&self, dir: &str) -> Change<'_> {
        let t = &self.trees;
        let (package, kernel) = (package(), kernel());
        let originals = t.originals(&package.name, &kernel);
        let modules = t.modules_dir(&kernel.release);
        let mut change = Change::new(t, "uninstall a/1 from 6.1");
        change
            .restore(&originals.join("a.ko.xz"), &modules.join("kernel/net/a.ko.xz"))
            .remove_file(&modules.join(dir).join("a.ko.xz"))
            .remove_file(&t.kernel_manifest(&kernel.release))
            .remove_file(&t.active_link(&package.name, &kernel))
            .prune_empty_dirs(&modules.join(dir), &modules)
            .prune_empty_dirs(&originals, &t.name_dir(&package.name));
        change
    }

    pub(super) fn replace(&self) -> Change<'_> {
        let t = &self.trees;
        let (package, kernel) = (package(), kernel());
        let staged = t.work().join("1-x");
        fs::create_dir_all(staged.join("module")).unwrap();
        plain(&staged.join("module/a.ko.xz"), "newer");
        let mut change = Change::new(t, "replace a/1 for 6.1");
        change
            .replace_dir(&staged, &t.artefact(&package, &kernel))
            .stage_copy(&staged.join("module/a.ko.xz"), 0o644, &self.path("lib/modules/6.1/updates/dkms/a.ko.xz"))
            .stage_bytes(self.manifest("updates/dkms", "newer"), 0o644, &t.kernel_manifest(&kernel.release))
            .stage_symlink("1/6.1/x", &t.active_link(&package.name, &kernel))
            .seal(&kernel.release);
        change
    }

    pub(super) fn differences(&self) -> Differences {
        let found = walk(&self.trees, &Filter::default());
        let entry = &found.packages[0];
        differences(&self.trees, &entry.package, &entry.built[0])
    }
}

pub(super) fn look(top: &Path, dir: &Path, found: &mut Snapshot) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.file_name().unwrap() == ".dkms" {
            continue;
        }
        let name = path.strip_prefix(top).unwrap().display().to_string();
        let meta = fs::symlink_metadata(&path).unwrap();
        if meta.is_dir() {
            found.insert(name, "directory".into());
            look(top, &path, found);
        } else if meta.is_symlink() {
            found.insert(name, format!("-> {}", fs::read_link(&path).unwrap().display()));
        } else if name.ends_with(".dkms-manifest.json") {
            let mut manifest = KernelManifest::load(&path).unwrap().unwrap();
            for file in manifest.installed.iter_mut().flat_map(|i| &mut i.files) {
                file.identity = None;
                file.tree_identity = None;
            }
            found.insert(name, format!("{manifest:?}"));
        } else {
            let mode = meta.permissions().mode() & 0o777;
            let text = fs::read_to_string(&path).unwrap();
            found.insert(name, format!("{mode:o} {text}"));
        }
    }
}
