//! The directories of headers by all their names, and files in them by one.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use crate::context::Context;
use crate::facts::headers_read::HeadersRead;
use crate::kernel::kbuild::PLACES;
use crate::reuse::header::Header;
use crate::run::target::Target;
use crate::sandbox::beneath::Beneath;

/// Where a file is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// In the build's directory, relative to it.
    Module(PathBuf),
    /// In the headers: its name there (`{source}/include/linux/fs.h`).
    Headers(String),
}

/// One kernel's.
#[derive(Debug)]
pub struct Places {
    /// What the build calls its directory.
    module: PathBuf,
    /// What builds call the directories of headers, and what they are here.
    names: Vec<(PathBuf, &'static str)>,
    /// The directories, as outer paths.
    outer: Vec<(&'static str, PathBuf)>,
    read: Arc<HeadersRead>,
}

impl Places {
    /// Those of a target that calls its build directory `module`.
    ///
    /// # Errors
    /// In words, if the kernel has no headers.
    pub fn of(ctx: &Context, target: &Target, module: &Path) -> Result<Self, String> {
        let headers = target.facts.headers.as_ref().map_err(|_| "there are no headers".to_owned())?;
        let mut outer = vec![(PLACES[0], headers.dir.clone())];
        outer.extend(headers.common(&ctx.trees.root).map(|dir| (PLACES[1], dir)));
        let called = outer.iter().map(|(place, dir)| (ctx.world.called(&ctx.trees, dir), *place));
        let mut names: Vec<_> = called.collect();
        names.push((target.facts.source_dir.clone(), PLACES[0]));
        names.push((headers.real_inside(&ctx.trees.root), PLACES[0]));
        // The longest first: one may be in another.
        names.sort_by_key(|(name, _)| std::cmp::Reverse(name.as_os_str().len()));
        names.dedup();
        Ok(Self { module: module.to_owned(), names, outer, read: Arc::clone(&target.facts.headers_read) })
    }

    /// Where a compiler may have found the file `path`, for an object in `dir` of the build's directory, which has these
    /// `contents`. A relative path means a file in the kernel's directory before Linux 6.13, and in one of the module's from
    /// then on: where both are there, both count.
    pub fn find(&self, path: &Path, dir: &Path, contents: &Beneath) -> Vec<Place> {
        if path.is_absolute() {
            let path = straight(path);
            return match path.strip_prefix(&self.module) {
                Ok(below) => vec![Place::Module(below.to_owned())],
                Err(_) => self.name(&path).map(Place::Headers).into_iter().collect(),
            };
        }
        let below = |base: &Path| {
            let here = straight(&self.module.join(base).join(path));
            here.strip_prefix(&self.module).ok().filter(|below| contents.file(below).is_ok()).map(Path::to_owned)
        };
        let own = dir.ancestors().filter_map(below).map(Place::Module);
        let name = |place: &str| normal(&format!("{place}/{}", path.display()));
        let headers = self.outer.iter().map(|(place, _)| name(place)).filter(|name| self.has(name)).map(Place::Headers);
        own.chain(headers).collect()
    }

    /// The name that a directory has in which headers are looked for; `None`: it is not the kernel's. Relative ones begin in
    /// the kernel's directory before Linux 6.13, and in a module's from then on, where no kernel puts anything.
    pub fn directory(&self, path: &Path) -> Option<String> {
        if path.is_absolute() {
            return self.name(&straight(path));
        }
        Some(normal(&format!("{}/{}", PLACES[0], path.display())))
    }

    fn name(&self, path: &Path) -> Option<String> {
        self.names.iter().find_map(|(dir, place)| {
            let below = path.strip_prefix(dir).ok()?;
            Some(normal(&format!("{place}/{}", below.display())))
        })
    }

    /// The outer path of a file of the headers.
    pub fn outer(&self, name: &str) -> PathBuf {
        let found = self.outer.iter().find_map(|(place, dir)| {
            let below = name.strip_prefix(place)?.strip_prefix('/')?;
            Some(dir.join(below))
        });
        found.unwrap_or_default()
    }

    /// Whether the headers have a file of this name.
    pub fn has(&self, name: &str) -> bool {
        self.read.has(name, &self.outer(name))
    }

    /// The header of this name.
    ///
    /// # Errors
    /// In words, if it can't be read.
    pub fn header(&self, name: &str) -> Result<Arc<Header>, String> {
        self.read.get(name, &self.outer(name))
    }

    /// The names of the directories.
    pub fn called(&self) -> impl Iterator<Item = &str> {
        self.names.iter().filter_map(|(dir, _)| dir.to_str())
    }

    /// `text` without the names of the directories.
    pub fn without_names(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (dir, place) in &self.names {
            if let Some(dir) = dir.to_str() {
                text = text.replace(dir, place);
            }
        }
        text
    }
}

/// Headers that exist in directories that are searched before those in which `headers` were found, and those of `quoted` that
/// exist.
pub fn earlier<'a>(
    places: &Places,
    searches: &BTreeSet<Vec<String>>,
    headers: &(impl Iterator<Item = &'a String> + Clone),
    quoted: &BTreeSet<String>,
) -> BTreeSet<String> {
    let mut found: BTreeSet<String> = quoted.iter().filter(|name| places.has(name)).cloned().collect();
    let mut asked = BTreeSet::new();
    for search in searches {
        for header in headers.clone() {
            for (at, dir) in search.iter().enumerate() {
                let Some(name) = header.strip_prefix(dir.as_str()).and_then(|rest| rest.strip_prefix('/')) else {
                    continue;
                };
                for earlier in &search[..at] {
                    let name = format!("{earlier}/{name}");
                    if name != *header && asked.insert(name.clone()) && places.has(&name) {
                        found.insert(name);
                    }
                }
            }
        }
    }
    found
}

/// The length of the text that names the kernel in its modules.
pub fn salt(target: &Target) -> Option<usize> {
    target.facts.config.as_ref()?.value("CONFIG_BUILD_SALT").map(str::len)
}

/// The values of the symbols that are set in the kernel's configuration.
pub fn configuration(target: &Target, names: &BTreeSet<String>) -> BTreeMap<String, String> {
    let config = target.facts.config.as_ref();
    let value = |name: &String| Some((name.clone(), config?.value(name)?.to_owned()));
    names.iter().filter_map(value).collect()
}

/// A name without `.` and `..`.
pub fn normal(name: &str) -> String {
    straight(Path::new(name)).display().to_string()
}

/// A path without `.` and `..`, by its words alone.
fn straight(path: &Path) -> PathBuf {
    let mut straight = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => {
                straight.pop();
            }
            Component::CurDir => {}
            other => straight.push(other),
        }
    }
    straight
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Headers in two directories, and a build's directory that is called `/b`.
    fn world(files: &[&str]) -> (tempfile::TempDir, Places, Beneath) {
        let tmp = tempfile::tempdir().unwrap();
        for dir in ["build", "source", "work"] {
            fs_err::create_dir(tmp.path().join(dir)).unwrap();
        }
        for file in files {
            let path = tmp.path().join(file);
            fs_err::create_dir_all(path.parent().unwrap()).unwrap();
            fs_err::write(path, "").unwrap();
        }
        let module = PathBuf::from("/b");
        let contents = Beneath::new(&tmp.path().join("work"), &module, None).unwrap();
        let names = vec![(PathBuf::from("/h/build"), PLACES[0]), (PathBuf::from("/h"), PLACES[1])];
        let outer = vec![(PLACES[0], tmp.path().join("build")), (PLACES[1], tmp.path().join("source"))];
        (tmp, Places { module, names, outer, read: Arc::default() }, contents)
    }

    fn set(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn files_are_found_by_each_name_that_compilers_have_for_them() {
        let (_tmp, places, contents) = world(&["work/src/a.c", "work/x.h", "source/include/x.h", "build/x.h"]);
        let find = |path: &str| places.find(Path::new(path), Path::new("src"), &contents);
        let headers = |name: &str| Place::Headers(name.to_owned());
        assert_eq!(find("/b/src/a.c"), [Place::Module("src/a.c".into())]);
        assert_eq!(find("/h/build/./x.h"), [headers("{build}/x.h")]);
        assert_eq!(find("/h/build/../include/x.h"), [headers("{source}/include/x.h")]);
        assert_eq!(find("/usr/include/x.h"), []);
        // Both may be meant.
        assert_eq!(find("./x.h"), [Place::Module("x.h".into()), headers("{build}/x.h")]);
        assert_eq!(find("a.c"), [Place::Module("src/a.c".into())]);
        assert_eq!(find("../../x.h"), []);
        assert_eq!(places.directory(Path::new("./include")).as_deref(), Some("{build}/include"));
        assert_eq!(places.directory(Path::new("/b/src")), None);
    }

    #[test]
    fn what_would_be_found_earlier_is_told() {
        let (_tmp, places, _) =
            world(&["build/one/a.h", "source/two/a.h", "source/three/a.h", "source/two/b.h", "source/two/q.h"]);
        let search = ["{build}/one", "{source}/two", "{source}/three"].map(str::to_owned).to_vec();
        let searches = BTreeSet::from([search]);
        let earlier =
            |headers: &[&str], quoted: &[&str]| earlier(&places, &searches, &set(headers).iter(), &set(quoted));
        assert_eq!(earlier(&["{source}/two/a.h"], &[]), set(&["{build}/one/a.h"]));
        assert_eq!(earlier(&["{source}/three/a.h"], &[]), set(&["{build}/one/a.h", "{source}/two/a.h"]));
        assert_eq!(earlier(&["{build}/one/a.h", "{source}/two/b.h"], &[]), set(&[]));
        assert_eq!(earlier(&[], &["{source}/two/q.h", "{source}/one/q.h"]), set(&["{source}/two/q.h"]));
    }
}
