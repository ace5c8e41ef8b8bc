//! depmod's index of a kernel's modules, as modprobe reads it: which file each name stands for, and what is built in.

use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::depmod::trie::Trie;

use crate::durable;

/// The files that [`Index::read`] reads.
pub const FILES: [&str; 4] = ["modules.dep.bin", "modules.builtin.bin", "modules.dep", "modules.builtin"];

/// `modules.dep` and `modules.builtin` (modules.dep(5), Documentation/kbuild/kbuild.rst).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Index(Files);

/// Few of thousands of modules are asked for: the binary files stay as they are.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Files {
    Binary {
        dep: Trie,
        built_in: Option<Trie>,
    },
    /// The lines by the names of their modules.
    Texts {
        dep: HashMap<String, Vec<u8>>,
        built_in: HashSet<String>,
    },
}

impl Index {
    /// Reads those of the kernel whose modules are in `dir` (outer). `None` without any. kmod's modprobe knows the binary files
    /// alone; others (busybox's) know the texts. `is_kmod`: there is a kmod, so that texts alone count for nothing.
    pub fn read(dir: &Path, is_kmod: bool) -> io::Result<Option<Self>> {
        let bytes = |name: &str| match durable::bytes(&dir.join(name)) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        };
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        if let Some(dep) = bytes("modules.dep.bin")?.and_then(Trie::new) {
            let built_in = bytes("modules.builtin.bin")?.and_then(Trie::new);
            return Ok(Some(Self(Files::Binary { dep, built_in })));
        }
        let Some(dep) = bytes("modules.dep")?.filter(|_| !is_kmod) else { return Ok(None) };
        Ok(Some(Self::parse(&text(dep), &text(bytes("modules.builtin")?.unwrap_or_default()))))
    }

    /// From the texts of the two files. Paths that begin with `/` (depmod of a directory elsewhere) count as they stand.
    pub fn parse(dep: &str, built_in: &str) -> Self {
        let mut lines = HashMap::new();
        for line in dep.lines() {
            if let Some((path, _)) = halves(line.as_bytes()) {
                // kmod takes the first line of a name.
                lines.entry(module_name(path)).or_insert_with(|| line.as_bytes().to_vec());
            }
        }
        let built_in = built_in.lines().map(|line| module_name(Path::new(line.trim()))).collect();
        Self(Files::Texts { dep: lines, built_in })
    }

    /// The file that modprobe takes for the module `name`, below the kernel's directory.
    pub fn path_of(&self, name: &str) -> Option<&Path> {
        Some(self.line(name)?.0)
    }

    /// The files that modprobe loads before the module `name`.
    pub fn needs_of(&self, name: &str) -> impl Iterator<Item = &Path> + use<'_> {
        let needs = self.line(name).map(|(_, needs)| needs).unwrap_or_default();
        needs.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty()).map(path)
    }

    /// All files that modprobe may take, below the kernel's directory, in any order.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        let lines = match &self.0 {
            Files::Binary { dep, .. } => dep.first_values(),
            Files::Texts { dep, .. } => dep.values().map(Vec::as_slice).collect(),
        };
        lines.into_iter().filter_map(|line| Some(halves(line)?.0))
    }

    /// Whether the kernel has `name` built in.
    pub fn is_built_in(&self, name: &str) -> bool {
        match &self.0 {
            Files::Binary { built_in, .. } => built_in.as_ref().is_some_and(|trie| trie.first(name).is_some()),
            Files::Texts { built_in, .. } => built_in.contains(name),
        }
    }

    fn line(&self, name: &str) -> Option<(&Path, &[u8])> {
        halves(match &self.0 {
            Files::Binary { dep, .. } => dep.first(name)?,
            Files::Texts { dep, .. } => dep.get(name)?,
        })
    }
}

/// The module's file, and those that are loaded first, of a line of modules.dep.
fn halves(line: &[u8]) -> Option<(&Path, &[u8])> {
    let colon = line.iter().position(|byte| *byte == b':')?;
    Some((path(&line[..colon]), &line[colon + 1..]))
}

fn path(bytes: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(bytes))
}

/// The name that modprobe knows a module's file by: no directory, nothing from the first dot on, `_` for `-` (libkmod's
/// path_to_modname).
pub fn module_name(path: &Path) -> String {
    let file = path.file_name().unwrap_or_default().to_string_lossy();
    file.split('.').next().unwrap_or_default().replace('-', "_")
}

/// An alias as depmod writes it down and modprobe looks it up: `_` for `-`, but within brackets; `None` if depmod passes over it
/// (libkmod's alias_normalize).
pub fn alias(text: &str) -> Option<String> {
    let mut in_brackets = false;
    let mut normal = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '[' => in_brackets = true,
            ']' if !in_brackets => return None,
            ']' => in_brackets = false,
            _ => {}
        }
        normal.push(if letter == '-' && !in_brackets { '_' } else { letter });
    }
    (!in_brackets).then_some(normal)
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
