//! depmod's index of a kernel's modules, as modprobe reads it: which file each name stands for, and what is built in.

use std::collections::{HashMap, HashSet};
use std::io;
use std::path::{Path, PathBuf};

/// `modules.dep` and `modules.builtin` (modules.dep(5), Documentation/kbuild/kbuild.rst).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Index {
    files: HashMap<String, PathBuf>,
    built_in: HashSet<String>,
}

impl Index {
    /// Reads those of the kernel whose modules are in `dir` (outer). `None` without a modules.dep.
    pub fn read(dir: &Path) -> io::Result<Option<Self>> {
        let text = |name: &str| match std::fs::read(dir.join(name)) {
            Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        };
        let Some(dep) = text("modules.dep")? else { return Ok(None) };
        Ok(Some(Self::parse(&dep, &text("modules.builtin")?.unwrap_or_default())))
    }

    /// From the texts of the two files. Paths that begin with `/` (depmod of a directory elsewhere) count as they stand.
    pub fn parse(dep: &str, built_in: &str) -> Self {
        let mut index = Self::default();
        for path in dep.lines().filter_map(|line| line.split_once(':')).map(|(path, _)| Path::new(path)) {
            // kmod takes the first line of a name.
            index.files.entry(module_name(path)).or_insert_with(|| path.to_owned());
        }
        index.built_in = built_in.lines().map(|line| module_name(Path::new(line.trim()))).collect();
        index
    }

    /// The file that modprobe takes for the module `name`, below the kernel's directory.
    pub fn path_of(&self, name: &str) -> Option<&Path> {
        self.files.get(name).map(PathBuf::as_path)
    }

    /// All files that modprobe may take, below the kernel's directory.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        self.files.values().map(PathBuf::as_path)
    }

    /// Whether the kernel has `name` built in.
    pub fn is_built_in(&self, name: &str) -> bool {
        self.built_in.contains(name)
    }

    /// How many modules it names.
    pub fn len(&self) -> usize {
        self.files.len()
    }

    /// It names none.
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }
}

/// The name that modprobe knows a module's file by: no directory, nothing from the first dot on, `_` for `-` (libkmod's
/// path_to_modname).
pub fn module_name(path: &Path) -> String {
    let file = path.file_name().unwrap_or_default().to_string_lossy();
    file.split('.').next().unwrap_or_default().replace('-', "_")
}

/// The lines of depmod.d that can move the module `name` or the directory `top` it lies in, as `FILE: LINE`. `files`: path and
/// text, in the order of precedence (depmod.d(5)). All `search` lines count; `override` lines for this module or for `*`.
pub fn asked<'a>(files: impl IntoIterator<Item = (&'a Path, &'a str)>, name: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (file, text) in files {
        let text = text.replace("\\\n", " ");
        for line in text.lines().map(str::trim) {
            let mut words = line.split_whitespace();
            let concerns = match words.next() {
                Some("search" | "exclude") => true,
                Some("override") => {
                    words.next().is_some_and(|module| module == "*" || module.replace('-', "_") == name)
                }
                _ => false,
            };
            if concerns {
                let words: Vec<&str> = line.split_whitespace().collect();
                found.push(format!("{}: {}", file.display(), words.join(" ")));
            }
        }
    }
    found
}
