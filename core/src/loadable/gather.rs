//! The facts for [`judge`]: a kernel's index, read once, and the files beside its modules.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use crate::digest::Digest;
use crate::elf::Module;
use crate::names::{Arch, Kernel, Package, Release};
use crate::tree::Trees;
use crate::tree::identity::Identity;
use crate::tree::manifest::{InstalledFile, KernelManifest};

use super::index::{self, Index};
use super::{Candidate, File, Why, is_skipped, judge};

/// Where depmod looks for its configuration (depmod.d(5)), the first of one name counts.
const DEPMOD_D: [&str; 5] =
    ["/etc/depmod.d", "/run/depmod.d", "/usr/local/lib/depmod.d", "/usr/lib/depmod.d", "/lib/depmod.d"];

/// Answers for many modules; reads each kernel's index once.
#[derive(Debug)]
pub struct Loadable<'a> {
    trees: &'a Trees,
    indexes: Mutex<HashMap<Release, Option<Arc<Index>>>>,
}

/// What the answer is for one module of a package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The module's name.
    pub module: String,
    /// Whether it will be loaded; if not, why.
    pub answer: Result<(), Why>,
}

impl<'a> Loadable<'a> {
    /// Answers about what is installed in `trees` now.
    pub fn new(trees: &'a Trees) -> Self {
        Self { trees, indexes: Mutex::default() }
    }

    /// What is to be said of each module of `package` beside those of `kernel`; nothing of one that no manifest knows.
    pub fn package(&self, package: &Package, kernel: &Kernel) -> Vec<Answer> {
        let beside = KernelManifest::beside(self.trees, &kernel.release).ok().flatten().unwrap_or_default();
        let entry = beside.find(package, &kernel.arch);
        let files = entry.into_iter().flat_map(|entry| &entry.files);
        files.map(|file| Answer { module: file.name.clone(), answer: self.file(file, kernel) }).collect()
    }

    /// Whether the module that `file` says we put beside those of `kernel` will be loaded.
    pub fn file(&self, file: &InstalledFile, kernel: &Kernel) -> Result<(), Why> {
        let dir = self.trees.modules_dir(&kernel.release);
        let path = file.path.join(&file.file);
        let index = self.index(&kernel.release);
        let facts = Candidate {
            release: &kernel.release,
            path: &path,
            file: look(self.trees, &dir.join(&path), file, &kernel.arch),
            index: index.as_deref(),
            asked: &[],
        };
        judge(&facts).map_err(|why| match why {
            // Looked up only where there is something to explain.
            Why::Another { path, .. } => Why::Another { path, asked: self.asked(&file.name) },
            other => other,
        })
    }

    fn index(&self, release: &Release) -> Option<Arc<Index>> {
        let mut known = self.indexes.lock().unwrap_or_else(PoisonError::into_inner);
        let read = || {
            let dir = self.trees.modules_dir(release);
            let index = Index::read(&dir).unwrap_or_else(|error| {
                log::warn!("{}: {error}", dir.display());
                None
            });
            index.map(Arc::new)
        };
        known.entry(release.clone()).or_insert_with(read).clone()
    }

    /// What depmod's configuration says about the module `name`.
    fn asked(&self, name: &str) -> Vec<String> {
        let mut files: Vec<PathBuf> = Vec::new();
        for dir in DEPMOD_D.map(|dir| self.trees.outer(dir)) {
            for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
                let path = entry.path();
                let is_new = !files.iter().any(|file| file.file_name() == path.file_name());
                if is_new && path.extension().is_some_and(|end| end == "conf") {
                    files.push(path);
                }
            }
        }
        files.sort_by(|a, b| a.file_name().cmp(&b.file_name()));
        let texts: Vec<(PathBuf, String)> = files
            .into_iter()
            .filter_map(|file| Some((self.trees.shown(&file), std::fs::read_to_string(&file).ok()?)))
            .collect();
        index::asked(texts.iter().map(|(file, text)| (file.as_path(), text.as_str())), &name.replace('-', "_"))
    }
}

/// The kernels whose index is not of what lies there: it leaves out a module of ours that depmod would list, or names one that
/// is gone, which ends dracut without an image. A run that ended between a change and its depmod is one cause, an index that
/// somebody put back another. No file of a right index is opened.
pub fn stale(trees: &Trees) -> Vec<Release> {
    let mut found = Vec::new();
    if trees.is_another {
        return found;
    }
    let loadable = Loadable::new(trees);
    for entry in std::fs::read_dir(&trees.install.outer).into_iter().flatten().flatten() {
        // Another name of a kernel is no other kernel.
        if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            continue;
        }
        let Some(release) = entry.file_name().to_str().and_then(|name| Release::new(name).ok()) else { continue };
        let Ok(Some(beside)) = KernelManifest::beside(trees, &release) else { continue };
        let Some(index) = loadable.index(&release) else { continue };
        let dir = trees.modules_dir(&release);
        let unlisted = |file: &InstalledFile| {
            let path = file.path.join(&file.file);
            index.path_of(&index::module_name(&path)).is_none()
                && !is_skipped(&path)
                && !loadable.asked(&file.name).iter().any(|line| line.contains(": exclude "))
                && Module::read(&dir.join(path)).is_ok()
        };
        let gone = || index.paths().any(|path| !path.starts_with("kernel") && !dir.join(path).exists());
        if gone() || beside.installed.iter().flat_map(|entry| &entry.files).any(unlisted) {
            found.push(release);
        }
    }
    found
}

/// What the file at `path` is, which should be `file`. One that has not been touched since it was put there is read too: what
/// it says about its kernel nobody has looked at.
fn look(trees: &Trees, path: &Path, file: &InstalledFile, arch: &Arch) -> File {
    // A link into the tree leads where the root says.
    let content = if file.symlink { trees.root.outer(&trees.shown(path)) } else { path.to_owned() };
    if !content.is_file() {
        return File::Missing;
    }
    let module = match Module::read(&content) {
        Ok(module) => module,
        Err(error) => return File::Damaged(error.to_string()),
    };
    let untouched = file.identity.is_some_and(|known| Identity::of_path(path).is_ok_and(|found| found == known));
    let as_built = untouched
        || Digest::of_file(&content).is_ok_and(|found| found == file.digest)
        // Signed anew, or stripped, by somebody else.
        || (file.srcversion.is_some() && file.srcversion.as_deref() == module.field("srcversion"));
    File::Module {
        as_built: Some(as_built),
        vermagic: module.field("vermagic").unwrap_or_default().to_owned(),
        // Of what was built here, the build has looked at the machine, with the kernel's configuration.
        for_machine: as_built || module.runs_on(arch.as_str()),
    }
}
