//! What is added, built and installed: a walk over the DKMS tree, without locks or processes. What this run has read of it
//! already comes from its snapshot ([`super::snapshot`]).
//!
//! The predicates are docs/contract.md 1.3, but paths are compared after following links, so that a
//! tree reached through a link works. Anything that can't be read is reported beside the rest.

use std::fs::{self, DirEntry};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use crate::names::{Arch, Kernel, Name, NameError, Package, Release, Version};

use super::entry::{NameEntry, Names, Within};
use super::glob;
use super::paths::Trees;

pub use super::entry::{Built, PackageEntry, Source, Unreadable, Why};

/// What the walk found.
#[derive(Debug, Default)]
pub struct Walk {
    /// The packages, by name and version in byte order.
    pub packages: Vec<PackageEntry>,
    /// What could not be looked at.
    pub unreadable: Vec<Unreadable>,
}

/// Which entries are wanted. Words are shell patterns; nothing given means everything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// The package's name.
    pub name: Option<String>,
    /// The package's version.
    pub version: Option<String>,
    /// Kernels: release and, if given, architecture. One match suffices; empty: every kernel.
    pub kernels: Vec<(String, Option<String>)>,
}

impl Filter {
    /// Exactly one package, on every kernel.
    pub fn package(package: &Package) -> Self {
        // Names can't hold characters that are special in patterns.
        Self { name: Some(package.name.to_string()), version: Some(package.version.to_string()), kernels: Vec::new() }
    }

    /// Every package, on one kernel.
    pub fn kernel(kernel: &Kernel) -> Self {
        Self { kernels: vec![(kernel.release.to_string(), Some(kernel.arch.to_string()))], ..Self::default() }
    }

    /// Whether results for a package are wanted.
    pub fn wants_package(&self, package: &Package) -> bool {
        wants(self.name.as_ref(), package.name.as_str()) && wants(self.version.as_ref(), package.version.as_str())
    }

    /// Whether something that could not be looked at is among what is wanted.
    fn wants_within(&self, within: &Within) -> bool {
        within.version.as_ref().is_none_or(|version| wants(self.version.as_ref(), version))
            && match (&within.release, &within.arch) {
                (Some(release), Some(arch)) => self.wants_kernel(release, arch),
                (Some(release), None) => self.wants_release(release),
                _ => true,
            }
    }

    /// What is wanted of `entry`.
    fn of(&self, entry: &PackageEntry) -> PackageEntry {
        let wanted = |built: &&Built| self.wants_kernel(built.kernel.release.as_str(), built.kernel.arch.as_str());
        PackageEntry {
            package: entry.package.clone(),
            source: entry.source,
            built: entry.built.iter().filter(wanted).cloned().collect(),
        }
    }

    fn wants_release(&self, release: &str) -> bool {
        self.kernels.is_empty() || self.kernels.iter().any(|(r, _)| glob::matches(r, release))
    }

    /// Whether results for a kernel are wanted.
    pub fn wants_kernel(&self, release: &str, arch: &str) -> bool {
        self.kernels.is_empty()
            || self
                .kernels
                .iter()
                .any(|(r, a)| glob::matches(r, release) && a.as_ref().is_none_or(|a| glob::matches(a, arch)))
    }
}

fn wants(pattern: Option<&String>, word: &str) -> bool {
    pattern.is_none_or(|p| glob::matches(p, word))
}

/// Directories of a version directory that are not kernels.
const NOT_KERNELS: [&str; 6] = ["build", "source", "tarball", "driver_disk", "rpm", "deb"];
/// Directories of a package's directory that are not versions.
const ORIGINALS: &str = "original_module";

/// What a package's directory has of that name.
#[derive(Debug, Clone, Copy)]
struct Originals {
    nothing: bool,
    is_dir: bool,
}

/// Walks the tree. A tree that is not there is empty.
pub fn walk(trees: &Trees, filter: &Filter) -> Walk {
    let snapshot = trees.snapshot();
    let tree = &trees.dkms.outer;
    snapshot.look_at_lock(&trees.lock());
    let names = snapshot.names(tree, || {
        let mut reader = Reader::default();
        let names = reader.directories(tree);
        Names { names, unreadable: reader.unreadable.into_iter().map(|within| within.what).collect() }
    });
    let mut walk = Walk { packages: Vec::new(), unreadable: names.unreadable.clone() };
    let wanted = names.names.iter().filter(|name| wants(filter.name.as_ref(), name));
    let dirs: Vec<PathBuf> = wanted.map(|name| tree.join(name)).collect();
    for found in snapshot.packages(&dirs, |dir| read(trees, dir)) {
        walk.unreadable.extend(
            found.unreadable.iter().filter(|within| filter.wants_within(within)).map(|within| within.what.clone()),
        );
        let versions =
            found.packages.iter().filter(|entry| wants(filter.version.as_ref(), entry.package.version.as_str()));
        walk.packages.extend(versions.map(|entry| filter.of(entry)));
    }
    walk
}

/// Reads what the tree has of the name whose directory is `dir`.
fn read(trees: &Trees, dir: &Path) -> NameEntry {
    let mut reader = Reader::default();
    let mut packages = Vec::new();
    let name = dir.file_name().unwrap_or_default().to_string_lossy();
    if let Some(name) = reader.checked(dir, Name::new(name)) {
        let entries = reader.entries(dir);
        let nothing = !entries.iter().any(|entry| entry.file_name() == ORIGINALS);
        let versions = reader.names_of_directories(entries);
        let originals = Originals { nothing, is_dir: versions.iter().any(|v| v == ORIGINALS) };
        for version in versions.into_iter().filter(|version| version != ORIGINALS) {
            reader.version = Some(version.clone());
            if let Some(version) = reader.checked(&dir.join(&version), Version::new(version)) {
                packages.push(reader.package(trees, Package { name: name.clone(), version }, originals));
            }
        }
    }
    NameEntry { packages, unreadable: reader.unreadable }
}

/// Whether the active link of `package` on `kernel` leads to this package's artefact.
pub fn is_active(trees: &Trees, package: &Package, kernel: &Kernel) -> bool {
    let Ok(target) = fs::read_link(trees.active_link(&package.name, kernel)) else {
        return false;
    };
    let usual = Path::new(package.version.as_str()).join(&kernel.release).join(&kernel.arch);
    if target == usual {
        return true;
    }
    let inside = |outer: PathBuf| trees.root.canonical(&trees.shown(&outer));
    match (inside(trees.active_link(&package.name, kernel)), inside(trees.artefact(package, kernel))) {
        (Ok(active), Ok(artefact)) => active == artefact,
        _ => false,
    }
}

/// The version of `name` that the tree has for the installed one on `kernel`.
pub fn active_version(trees: &Trees, name: &Name, kernel: &Kernel) -> Option<String> {
    let target = fs::read_link(trees.active_link(name, kernel)).ok()?;
    Some(target.components().next()?.as_os_str().to_string_lossy().into_owned())
}

/// What the tree says of the source of `package`.
pub fn source(trees: &Trees, package: &Package) -> Source {
    let filter = Filter { kernels: vec![(String::new(), None)], ..Filter::package(package) };
    walk(trees, &filter).packages.first().map_or(Source::None, |entry| entry.source)
}

/// What is built of `package`, by kernel.
pub fn built(trees: &Trees, package: &Package) -> Vec<Built> {
    walk(trees, &Filter::package(package)).packages.into_iter().flat_map(|entry| entry.built).collect()
}

/// The registered packages of one name, whatever their version.
pub fn versions(trees: &Trees, name: &Name) -> Vec<Package> {
    let filter = Filter { name: Some(name.to_string()), ..Filter::default() };
    walk(trees, &filter).packages.into_iter().map(|entry| entry.package).collect()
}

/// Reads the directories of one name.
#[derive(Default)]
struct Reader {
    unreadable: Vec<Within>,
    /// Where it is now.
    version: Option<String>,
    release: Option<String>,
    arch: Option<String>,
}

impl Reader {
    fn package(&mut self, trees: &Trees, package: Package, originals: Originals) -> PackageEntry {
        let dir = trees.package_dir(&package);
        let mut link = false;
        let mut releases = Vec::new();
        for entry in self.entries(&dir) {
            let name = entry.file_name();
            let Some(text) = name.to_str() else {
                self.not_text(&entry);
                continue;
            };
            if text == "source" {
                link = entry.file_type().is_ok_and(|t| t.is_symlink());
            } else if !text.starts_with('.') && !NOT_KERNELS.contains(&text) && is_dir(&entry) {
                releases.push(text.to_owned());
            }
        }
        releases.sort();
        let mut built = Vec::new();
        for release in releases {
            self.release = Some(release.clone());
            self.kernels(trees, &package, &release, originals, &mut built);
            (self.release, self.arch) = (None, None);
        }
        PackageEntry { source: self.source(trees, &package, link), package, built }
    }

    fn kernels(
        &mut self,
        trees: &Trees,
        package: &Package,
        release: &str,
        originals: Originals,
        built: &mut Vec<Built>,
    ) {
        let dir = trees.package_dir(package).join(release);
        for arch in self.directories(&dir) {
            self.arch = Some(arch.clone());
            let artefact = dir.join(&arch);
            if !self.is_dir(&artefact.join("module")) {
                continue;
            }
            let kernel = Release::new(release).and_then(|release| Ok(Kernel { release, arch: Arch::new(arch)? }));
            let Some(kernel) = self.checked(&artefact, kernel) else {
                continue;
            };
            built.push(Built {
                installed: is_active(trees, package, &kernel),
                nothing_archived: originals.nothing,
                original_modules: originals.is_dir && self.is_dir(&trees.originals(&package.name, &kernel)),
                kernel,
            });
        }
    }

    fn source(&mut self, trees: &Trees, package: &Package, link: bool) -> Source {
        if link {
            return if self.is_dir(&trees.source_of(package)) { Source::Added } else { Source::Broken };
        }
        let unpacked = format!("{}-{}", package.name, package.version);
        if self.is_dir(&trees.source.outer.join(unpacked)) { Source::Broken } else { Source::None }
    }

    /// The names of the directories in `dir`, sorted; those with a dot are nobody's business.
    fn directories(&mut self, dir: &Path) -> Vec<String> {
        let entries = self.entries(dir);
        self.names_of_directories(entries)
    }

    fn names_of_directories(&mut self, entries: Vec<DirEntry>) -> Vec<String> {
        let mut names = Vec::new();
        for entry in entries {
            match entry.file_name().into_string() {
                // The active links beside the versions: a stat less for each.
                Ok(name) if name.starts_with('.') || name.starts_with("kernel-") && is_link(&entry) => {}
                Ok(name) if is_dir(&entry) => names.push(name),
                Ok(_) => {}
                Err(_) => self.not_text(&entry),
            }
        }
        names.sort();
        names
    }

    fn entries(&mut self, dir: &Path) -> Vec<DirEntry> {
        let read = fs::read_dir(dir).and_then(Iterator::collect::<io::Result<Vec<_>>>);
        match read {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
            Err(error) => {
                self.cannot(dir, error);
                Vec::new()
            }
        }
    }

    fn is_dir(&mut self, path: &Path) -> bool {
        match fs::metadata(path) {
            Ok(meta) => meta.is_dir(),
            Err(error) => {
                if !matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) {
                    self.cannot(path, error);
                }
                false
            }
        }
    }

    fn checked<T>(&mut self, path: &Path, name: Result<T, NameError>) -> Option<T> {
        name.map_err(|error| self.cannot(path, error)).ok()
    }

    fn not_text(&mut self, entry: &DirEntry) {
        self.cannot(&entry.path(), io::Error::new(ErrorKind::InvalidData, "its name is not UTF-8"));
    }

    fn cannot(&mut self, path: &Path, why: impl Into<Why>) {
        self.unreadable.push(Within {
            version: self.version.clone(),
            release: self.release.clone(),
            arch: self.arch.clone(),
            what: Unreadable { path: path.to_owned(), why: why.into() },
        });
    }
}

fn is_link(entry: &DirEntry) -> bool {
    entry.file_type().is_ok_and(|t| t.is_symlink())
}

/// Whether an entry is a directory or leads to one; asks the system only about links.
fn is_dir(entry: &DirEntry) -> bool {
    entry
        .file_type()
        .is_ok_and(|kind| kind.is_dir() || kind.is_symlink() && fs::metadata(entry.path()).is_ok_and(|m| m.is_dir()))
}

#[cfg(test)]
#[path = "walk_tests.rs"]
mod tests;
