//! Which files are a kernel's modules: found and chosen between as depmod does it.

use std::cmp::Ordering;
use std::collections::{BTreeSet, HashMap};
use std::fs::{FileType, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::settings::{Place, Settings};
use super::{Time, Unusual, hash, read_text};

/// depmod's table of modules by name has so many rows.
const ROWS: u32 = 512;

/// A link that leads to a directory above it would be followed until the kernel refuses; no kernel's modules are so deep.
const DEEPEST: usize = 40;

/// A module file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// As in modules.dep: below the kernel's directory, or absolute.
    pub path: String,
    /// The module's name.
    pub name: String,
    /// Its place in modules.order.
    pub order: Option<usize>,
    /// When it was last changed or given its name; of a link and of what it leads to, the later.
    pub changed: Time,
}

/// How the files of a kernel are found.
#[derive(Debug)]
pub struct Search<'a> {
    /// The kernel's directory (outer).
    pub dir: &'a Path,
    /// depmod.d.
    pub settings: &'a Settings,
    /// Suffixes of module files.
    pub suffixes: &'a [&'static str],
    /// Files (outer) that count as gone.
    pub going: &'a BTreeSet<PathBuf>,
}

impl Search<'_> {
    /// The modules in depmod's order: those of modules.order, then the others by the rows of its table.
    pub fn modules(&self) -> Result<Vec<Found>, Unusual> {
        let mut winners: HashMap<String, String> = HashMap::new();
        self.walk(&mut winners, self.dir, "", 0)?;
        for external in &self.settings.external {
            self.walk(&mut winners, Path::new(external), external, 0)?;
        }
        let text = read_text(&self.dir.join("modules.order"))?;
        let mut order: HashMap<&str, usize> = HashMap::new();
        for (place, line) in text.lines().enumerate() {
            // kmod 30 takes the last line of a file, kmod 34 the first.
            if order.insert(line, place).is_some() {
                return Err(Unusual::Malformed { file: "modules.order", what: format!("{line:?} is in it twice") });
            }
        }
        let mut found = Vec::with_capacity(winners.len());
        for (name, path) in winners {
            let changed = changed(&self.dir.join(&path))?;
            let order = order.get(self.stem(&path)).copied();
            found.push(Found { path, name, order, changed });
        }
        found.sort_by_cached_key(|module| match module.order {
            Some(place) => (false, place, 0, String::new()),
            None => (true, 0, hash::superfast(module.name.as_bytes()) % ROWS, module.name.clone()),
        });
        Ok(found)
    }

    /// The path without the suffix of its compression.
    fn stem<'p>(&self, path: &'p str) -> &'p str {
        let end = self.suffixes.iter().find(|end| path.ends_with(**end)).map_or(0, |end| end.len() - ".ko".len());
        &path[..path.len() - end]
    }

    fn walk(
        &self,
        winners: &mut HashMap<String, String>,
        dir: &Path,
        shown: &str,
        depth: usize,
    ) -> Result<(), Unusual> {
        if depth > DEEPEST {
            return Err(Unusual::Deep(dir.to_owned()));
        }
        // In the order of the directory: it decides between two of one priority.
        for entry in fs_err::read_dir(dir)? {
            let entry = entry?;
            let name = entry.file_name();
            if name == "build" || name == "source" {
                continue;
            }
            let path = entry.path();
            let Some(name) = name.to_str() else {
                // Neither a directory nor a module may be called so.
                if is_dir(entry.file_type()?, &path)? || name.to_string_lossy().contains(".ko") {
                    return Err(Unusual::Name(path));
                }
                continue;
            };
            let is_module = self.suffixes.iter().any(|end| name.ends_with(end));
            let kind = entry.file_type()?;
            if !is_module && kind.is_file() {
                continue;
            }
            if self.settings.exclude.iter().any(|excluded| excluded == name) {
                continue;
            }
            let below = if shown.is_empty() { name.to_owned() } else { format!("{shown}/{name}") };
            if is_dir(kind, &path)? {
                self.walk(winners, &path, &below, depth + 1)?;
            } else if is_module && !self.going.contains(&path) {
                self.put(winners, below, name)?;
            }
        }
        Ok(())
    }

    /// Puts the file `path` among the winners, if it is the first of its name or is to be preferred.
    fn put(&self, winners: &mut HashMap<String, String>, path: String, file: &str) -> Result<(), Unusual> {
        let stem = file.split('.').next().unwrap_or_default();
        if stem.is_empty() || !path.is_ascii() || path.contains([' ', ':', '\n', '\t']) {
            return Err(Unusual::Name(path.into()));
        }
        let name = stem.replace('-', "_");
        // Which of the two spellings an override is for is not said.
        let other = |chosen: &String| {
            let chosen = chosen.rsplit('/').next().unwrap_or_default();
            chosen != stem && chosen.replace('-', "_") == name
        };
        if self.settings.overrides.iter().any(other) {
            return Err(Unusual::Name(path.into()));
        }
        let Some(rival) = winners.get(&name) else {
            winners.insert(name, path);
            return Ok(());
        };
        if path.starts_with('/') && rival.starts_with('/') {
            return Err(Unusual::Name(path.into()));
        }
        if self.is_preferred(&path, rival) {
            winners.insert(name, path);
        }
        Ok(())
    }

    /// Whether depmod takes `new` instead of `old`, which it has met before.
    fn is_preferred(&self, new: &str, old: &str) -> bool {
        let name = |path: &str| {
            let file = path.rfind('/').map_or(0, |slash| slash + 1);
            path[file..].find('.').map_or(path.len(), |point| file + point)
        };
        for chosen in &self.settings.overrides {
            if new[..name(new)] == **chosen {
                return true;
            }
            if old[..name(old)] == **chosen {
                return false;
            }
        }
        let is_in = |place: &Place, path: &str| match place {
            Place::BuiltIn => false,
            Place::External => path.starts_with('/'),
            Place::Below(dir) => path.strip_prefix(dir.as_str()).is_some_and(|rest| rest.starts_with('/')),
        };
        let (mut built_in, mut of_new, mut of_old) = (None, None, None);
        for (priority, place) in self.settings.search.iter().rev().enumerate() {
            if *place == Place::BuiltIn {
                built_in = Some(priority);
            } else if is_in(place, new) {
                of_new = Some(priority);
            } else if is_in(place, old) {
                // Not asked if the place has both: then the later one wins. Seen in kmod 30 and 34.
                of_old = Some(priority);
            }
        }
        of_new.or(built_in).cmp(&of_old.or(built_in)) == Ordering::Greater
    }
}

/// Whether it is a directory, also by way of a link. A link that leads nowhere is reported by depmod.
fn is_dir(kind: FileType, path: &Path) -> Result<bool, Unusual> {
    if kind.is_symlink() {
        return Ok(fs_err::metadata(path)?.is_dir());
    }
    Ok(kind.is_dir())
}

/// When the file at `path` was last changed, moved or put there.
fn changed(path: &Path) -> Result<Time, Unusual> {
    let of = |meta: &Metadata| Time { seconds: meta.ctime(), nanoseconds: meta.ctime_nsec() };
    let here = fs_err::symlink_metadata(path)?;
    let there = if here.is_symlink() { Some(fs_err::metadata(path)?) } else { None };
    let file = there.as_ref().unwrap_or(&here);
    // depmod says what it can't read.
    if !file.is_file() || file.len() == 0 {
        return Err(Unusual::Module { path: path.to_owned(), why: "it is empty".to_owned() });
    }
    Ok(there.as_ref().map_or_else(|| of(&here), |there| of(there).max(of(&here))))
}
