//! Finding a kernel's modules by name: one walk of its directory, then look-ups.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use crate::compress::Compression;
use crate::kernel::Error;

/// Every module file below `<install tree>/<K>`, as paths relative to it.
#[derive(Debug, Clone, Default)]
pub struct ModuleIndex {
    by_name: HashMap<String, Vec<PathBuf>>,
}

impl ModuleIndex {
    /// Walks `modules_dir` (outer). Links to directories are not entered, nor are `build` and
    /// `source`, as by depmod(8), which may be directories with whole headers in them; files named `.dkms-new-…` are changes
    /// under way and do not count. A missing directory is empty.
    pub fn load(modules_dir: &Path) -> Result<Self, Error> {
        let mut index = Self::default();
        let mut todo = vec![PathBuf::new()];
        while let Some(below) = todo.pop() {
            let dir = modules_dir.join(&below);
            let entries = match fs_err::read_dir(&dir) {
                Ok(entries) => entries,
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => continue,
                Err(e) => return Err(Error::read("the modules directory", &dir)(e)),
            };
            for entry in entries {
                let entry = entry.map_err(Error::read("the modules directory", &dir))?;
                let name = entry.file_name();
                let headers = below.as_os_str().is_empty() && (name == "build" || name == "source");
                if headers {
                    continue;
                }
                if entry.file_type().is_ok_and(|t| t.is_dir()) {
                    todo.push(below.join(name));
                } else if let Some(module) = name.to_str().and_then(module_name) {
                    let paths = index.by_name.entry(module.to_owned()).or_default();
                    paths.push(below.join(&name));
                }
            }
        }
        for paths in index.by_name.values_mut() {
            paths.sort();
        }
        Ok(index)
    }

    /// How many module files there are.
    pub fn len(&self) -> usize {
        self.by_name.values().map(Vec::len).sum()
    }

    /// There are none.
    pub fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }

    /// The files named `<name>.ko`, with any suffix, in the order of their paths.
    pub fn named(&self, name: &str) -> &[PathBuf] {
        self.by_name.get(name).map_or(&[], Vec::as_slice)
    }

    /// The file that installing `name` at `location` (as `/updates/dkms`) would take the place of,
    /// in the classic's order: directly in `extra/`, in `updates/`, at the location, elsewhere.
    pub fn original(&self, name: &str, location: &str) -> Option<&Path> {
        let paths = self.named(name);
        let location = location.trim_matches('/');
        ["extra", "updates", location]
            .into_iter()
            .find_map(|dir| paths.iter().find(|p| p.parent() == Some(Path::new(dir))))
            .or_else(|| paths.first())
            .map(PathBuf::as_path)
    }
}

/// The module that a file name stands for.
fn module_name(file: &str) -> Option<&str> {
    if file.starts_with(".dkms-new-") {
        return None;
    }
    let kind = Compression::of_file(Path::new(file))?;
    file.strip_suffix(kind.suffix())?.strip_suffix(".ko")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_up_in_the_classics_order() {
        let tmp = tempfile::tempdir().unwrap();
        for file in [
            "kernel/net/my-mod.ko.xz",
            "kernel/net/other.ko",
            "kernel/a/two.ko.zst",
            "updates/dkms/two.ko",
            "updates/deep/three.ko",
            "updates/three.ko.gz",
            "kernel/four.ko",
            "extra/four.ko.xz",
            "updates/.dkms-new-five.ko",
            "kernel/my_mod.ko",
            "build/lib/six.ko",
            "kernel/build/seven.ko",
        ] {
            let file = tmp.path().join(file);
            fs_err::create_dir_all(file.parent().unwrap()).unwrap();
            fs_err::write(file, "").unwrap();
        }
        std::os::unix::fs::symlink("/", tmp.path().join("source")).unwrap();
        let index = ModuleIndex::load(tmp.path()).unwrap();
        for (name, found) in [
            ("my-mod", Some("kernel/net/my-mod.ko.xz")),
            ("two", Some("updates/dkms/two.ko")),
            ("three", Some("updates/three.ko.gz")),
            ("four", Some("extra/four.ko.xz")),
            ("five", None),
            ("dkms-new-five", None),
            ("oth", None),
            ("six", None),
            ("seven", Some("kernel/build/seven.ko")),
        ] {
            let got = index.original(name, "/updates/dkms");
            assert_eq!(got, found.map(Path::new), "{name}");
        }
        assert_eq!(index.named("my_mod").len(), 1);
        let none = ModuleIndex::load(&tmp.path().join("none")).unwrap();
        assert!(none.named("two").is_empty());
    }
}
