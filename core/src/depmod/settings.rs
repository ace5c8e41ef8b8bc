//! The files of depmod.d(5): where depmod looks for modules, and which of several of one name it takes.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::{Unusual, read_text};

/// What the files say for one kernel.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// From the highest priority to the lowest.
    pub search: Vec<Place>,
    /// `override`: where the module of that name is to be taken from, as a path below the kernel's directory, without suffix. The
    /// last line comes first: it counts.
    pub overrides: Vec<String>,
    /// `external`: absolute directories.
    pub external: Vec<String>,
    /// `exclude`: names of directories and files that are passed over, at any depth.
    pub exclude: Vec<String>,
}

/// A word of `search`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// All directories that no other word names.
    BuiltIn,
    /// What `external` names.
    External,
    /// A directory below the kernel's.
    Below(String),
}

impl Settings {
    /// Those of the files `*.conf` in `dirs`; the first directory that has a name decides it, all count in the order of their names.
    pub fn read(dirs: &[PathBuf], release: &str) -> Result<Self, Unusual> {
        let mut files: BTreeMap<OsString, PathBuf> = BTreeMap::new();
        for dir in dirs {
            let entries = match fs_err::read_dir(dir) {
                Ok(entries) => entries,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error.into()),
            };
            for entry in entries {
                let name = entry?.file_name();
                if Path::new(&name).extension().is_some_and(|end| end == "conf") {
                    files.entry(name.clone()).or_insert_with(|| dir.join(name));
                }
            }
        }
        let mut settings = Self::default();
        for path in files.values() {
            settings.add(&read_text(path)?, release).map_err(|line| Unusual::Setting { path: path.clone(), line })?;
        }
        if settings.search.is_empty() {
            settings.search = vec![Place::Below("updates".to_owned()), Place::BuiltIn];
        }
        Ok(settings)
    }

    /// Adds what a file says. A line that we have no proof of how depmod takes it is the error.
    fn add(&mut self, text: &str, release: &str) -> Result<(), String> {
        for line in text.replace("\\\n", " ").lines() {
            let mut words = line.split([' ', '\t']).filter(|word| !word.is_empty());
            let odd = || Err(line.trim().to_owned());
            match words.next() {
                // kmod makes no map files and passes over this word.
                None | Some("make_map_files") => {}
                Some(first) if first.starts_with('#') => {}
                Some("search") => {
                    for word in words {
                        self.search.push(match word {
                            "built-in" => Place::BuiltIn,
                            "external" => Place::External,
                            dir if is_plain(dir) => Place::Below(dir.to_owned()),
                            _ => return odd(),
                        });
                    }
                }
                Some("override") => {
                    let (Some(name), Some(kernels), Some(dir), None) =
                        (words.next(), words.next(), words.next(), words.next())
                    else {
                        return odd();
                    };
                    if !is_plain(dir) || name.contains(['/', '.', '*']) {
                        return odd();
                    }
                    match is_for(kernels, release) {
                        Some(true) => self.overrides.insert(0, format!("{dir}/{name}")),
                        Some(false) => {}
                        None => return odd(),
                    }
                }
                Some("external") => {
                    let Some(kernels) = words.next() else { return odd() };
                    let dirs: Vec<String> = words.map(str::to_owned).collect();
                    match is_for(kernels, release) {
                        Some(true) if dirs.iter().all(|dir| dir.strip_prefix('/').is_some_and(is_plain)) => {
                            self.external.extend(dirs);
                        }
                        Some(false) => {}
                        _ => return odd(),
                    }
                }
                Some("exclude") => self.exclude.extend(words.map(str::to_owned)),
                Some(_) => return odd(),
            }
        }
        Ok(())
    }
}

/// Directories by their names, without a slash at either end or twice.
fn is_plain(dir: &str) -> bool {
    !dir.split('/').any(|part| ["", ".", ".."].contains(&part))
}

/// Whether a pattern of kernels is for `release`: `*`, or a POSIX regular expression that fits anywhere in it. `None` if it has
/// more in it than points.
fn is_for(pattern: &str, release: &str) -> Option<bool> {
    if pattern == "*" {
        return Some(true);
    }
    if pattern.is_empty() || !pattern.bytes().all(is_literal) {
        return None;
    }
    let (pattern, release) = (pattern.as_bytes(), release.as_bytes());
    let fits = |part: &[u8]| part.iter().zip(pattern).all(|(letter, wanted)| letter == wanted || *wanted == b'.');
    Some(release.windows(pattern.len()).any(fits))
}

/// A letter that stands for itself, or a point.
fn is_literal(letter: u8) -> bool {
    letter.is_ascii_alphanumeric() || b"._-".contains(&letter)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_files_say() {
        let tmp = tempfile::tempdir().unwrap();
        let dirs = [tmp.path().join("etc"), tmp.path().join("none"), tmp.path().join("lib")];
        for (file, text) in [
            ("etc/b.conf", "search extra \\\n built-in\noverride a-b * up\n  override c 6.1 up/x\n"),
            ("lib/b.conf", "nonsense\n"),
            ("lib/a.conf", "# a\n\nsearch\tupdates\nexclude x y\nmake_map_files no\n"),
            ("lib/c.conf", "external 9.9 /no\nexternal * /opt/a /opt/b\noverride a-b 6.1 other\n"),
            ("lib/d.txt", "nonsense\n"),
        ] {
            let path = tmp.path().join(file);
            fs_err::create_dir_all(path.parent().unwrap()).unwrap();
            fs_err::write(path, text).unwrap();
        }
        let below = |dir: &str| Place::Below(dir.to_owned());
        let settings = Settings::read(&dirs, "6.1").unwrap();
        assert_eq!(settings.search, [below("updates"), below("extra"), Place::BuiltIn]);
        assert_eq!(settings.overrides, ["other/a-b", "up/x/c", "up/a-b"]);
        assert_eq!(settings.external, ["/opt/a", "/opt/b"]);
        assert_eq!(settings.exclude, ["x", "y"]);
        assert_eq!(Settings::read(&[], "6.1").unwrap().search, [below("updates"), Place::BuiltIn]);
    }

    #[test]
    fn lines_that_are_not_understood() {
        for line in
            ["foo", "search a/", "search /a", "override a", "override a 6.+ up", "external * rel", "override a ^6 x"]
        {
            let error = Settings::default().add(line, "6.1.0-5").unwrap_err();
            assert_eq!(error, line);
        }
        for (pattern, answer) in [
            ("*", Some(true)),
            ("6.1+x", None),
            ("6.2", Some(false)),
            ("6.1", Some(true)),
            ("6x1", Some(false)),
            ("6.1.0-5", Some(true)),
            ("", None),
        ] {
            assert_eq!(is_for(pattern, "6.1.0-5"), answer, "{pattern}");
        }
    }
}
