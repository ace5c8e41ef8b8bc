//! The directories of `/usr/src` and the packages registered from them.

use std::cell::OnceCell;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use dkms_core::names::Package;
use dkms_core::tree::Trees;
use dkms_core::tree::walk::{self, Filter};

/// The directories of the source tree that hold a dkms.conf, by name.
pub fn on_disk(trees: &Trees) -> BTreeSet<String> {
    std::fs::read_dir(&trees.source.outer)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| is_there(trees, name))
        .collect()
}

/// Whether the directory `name` of the source tree holds a dkms.conf.
pub fn is_there(trees: &Trees, name: &str) -> bool {
    trees.source.outer.join(name).join("dkms.conf").is_file()
}

/// The packages that are registered from a directory of the source tree, with its name.
pub fn registered(trees: &Trees) -> Vec<(String, Package)> {
    let packages = walk::walk(trees, &Filter::default()).packages.into_iter().map(|entry| entry.package);
    packages.filter_map(|package| Some((directory(trees, &package)?, package))).collect()
}

/// The directory of the source tree that a package is registered from; `None` if it is elsewhere.
fn directory(trees: &Trees, package: &Package) -> Option<String> {
    let target: PathBuf = std::fs::read_link(trees.source_link(package)).ok()?;
    let name = target.strip_prefix(&trees.source.inside).ok()?;
    name.to_str().filter(|name| !name.is_empty() && !name.contains('/')).map(str::to_owned)
}

/// The directories with a dkms.conf that pacman's packages own, inside the root: read when they are first asked for.
#[derive(Debug)]
pub struct Owned {
    db: PathBuf,
    directories: OnceCell<BTreeSet<PathBuf>>,
}

impl Owned {
    /// By the database of installed packages in `db` (outer), `DBPath`.
    pub fn by(db: PathBuf) -> Self {
        Self { db, directories: OnceCell::new() }
    }

    /// Whether a package owns `directory`.
    pub fn holds(&self, directory: &Path) -> bool {
        self.directories.get_or_init(|| read_owned(&self.db)).contains(directory)
    }
}

/// Reads `local/<package>/files` of a database: under `%FILES%` a path a line, without a leading slash (alpm-files(5)).
fn read_owned(db: &Path) -> BTreeSet<PathBuf> {
    let packages = std::fs::read_dir(db.join("local")).into_iter().flatten().flatten();
    let lists = packages.filter_map(|package| std::fs::read(package.path().join("files")).ok());
    let mut owned = BTreeSet::new();
    for list in lists {
        let text = String::from_utf8_lossy(&list);
        let directories = text.lines().filter_map(|path| path.strip_suffix("/dkms.conf"));
        owned.extend(directories.map(|directory| Path::new("/").join(directory)));
    }
    owned
}

/// Whether one of the directories `incoming` holds another version of `package`.
pub fn replaces(incoming: &BTreeSet<String>, package: &Package) -> bool {
    let of = |directory: &String| Package::of_directory(directory, [package.name.as_str()]);
    incoming.iter().filter_map(of).any(|other| other.name == package.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_compared_whole() {
        let nv = Package::new("nv", "1.0").unwrap();
        for (incoming, replaced) in [("nv-2.0", true), ("nv-git", true), ("nv-ng-1.0", false), ("nvx-2.0", false)] {
            assert_eq!(replaces(&[incoming.to_owned()].into(), &nv), replaced, "{incoming}");
        }
    }

    #[test]
    fn what_packages_own() {
        let tmp = tempfile::tempdir().unwrap();
        for (package, files) in [
            ("odd-dkms-1.0-1", "%FILES%\nusr/\nusr/src/\nusr/src/odd-1.0/\nusr/src/odd-1.0/dkms.conf\n\n%BACKUP%\n"),
            ("other-1-1", "%FILES%\nusr/bin/other\n"),
        ] {
            fs_err::create_dir_all(tmp.path().join("local").join(package)).unwrap();
            fs_err::write(tmp.path().join("local").join(package).join("files"), files).unwrap();
        }
        let owned = Owned::by(tmp.path().to_owned());
        assert!(owned.holds(Path::new("/usr/src/odd-1.0")) && !owned.holds(Path::new("/usr/src/odd-9")));
        assert!(!Owned::by("/no/such".into()).holds(Path::new("/usr/src/odd-1.0")));
    }
}
