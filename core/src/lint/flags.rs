//! Compiler flags in variables that kbuild no longer reads.
//!
//! Linux 6.15 took EXTRA_CFLAGS and its sisters out of kbuild (e966ad0edd00 "kbuild: remove EXTRA_*FLAGS support"), 18 years after
//! ccflags-y came. Makefiles that set them are not told: the flags are lost, and what the compiler then complains of is a header that
//! is there.

use std::cmp::Ordering;
use std::path::{Path, PathBuf};

use crate::durable;
use crate::kernel::version;

/// The variables, and what kbuild reads instead.
const LOST: [(&str, &str); 4] = [
    ("EXTRA_CFLAGS", "ccflags-y"),
    ("EXTRA_AFLAGS", "asflags-y"),
    ("EXTRA_CPPFLAGS", "cppflags-y"),
    ("EXTRA_LDFLAGS", "ldflags-y"),
];

/// The first release without them.
const SINCE: &str = "6.15";

/// How many directories below the source's, and how many files of all, are looked at.
const DEPTH: u32 = 6;
const MOST: usize = 20_000;

/// A variable that is set, and that nothing hands on to kbuild.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lost {
    /// The variable.
    pub name: &'static str,
    /// What kbuild reads instead.
    pub instead: &'static str,
    /// The Makefile, below the source's directory.
    pub file: PathBuf,
    /// The line in it, from 1.
    pub line: usize,
}

/// The first flags that are lost, in the Makefiles below `dir`. Where one of them uses the variable's value, or sets what replaces it
/// in the same file, nothing is: its author knows.
pub fn lost(dir: &Path) -> Option<Lost> {
    let mut files = Vec::new();
    makefiles(dir, Path::new(""), DEPTH, &mut MOST.clone(), &mut files);
    files.sort();
    let texts: Vec<(PathBuf, String)> =
        files.into_iter().filter_map(|file| Some((file.clone(), durable::text(&dir.join(&file)).ok()?))).collect();
    LOST.into_iter().find_map(|(name, instead)| {
        let mut first = None;
        for (file, text) in &texts {
            for (index, line) in lines(text) {
                if sets(line, name) {
                    let knows = lines(text).any(|(_, line)| sets(line, instead));
                    let lost = || Lost { name, instead, file: file.clone(), line: index + 1 };
                    first = first.or_else(|| (!knows).then(lost));
                } else if line.contains(&format!("$({name})")) || line.contains(&format!("${{{name}}}")) {
                    return None;
                }
            }
        }
        first
    })
}

/// Whether a package that is for kernels up to `newest` only ever meets a kbuild that reads them.
pub(super) fn never_lost(newest: Option<&str>) -> bool {
    newest.is_some_and(|newest| version::compare(newest, SINCE) == Ordering::Less)
}

fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines().enumerate().filter(|(_, line)| !line.trim_start().starts_with('#'))
}

/// Whether the line of a Makefile sets the variable: for what follows, or for a make that it starts.
fn sets(line: &str, name: &str) -> bool {
    line.match_indices(name).any(|(at, _)| {
        let begins = !line[..at].ends_with(|c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '(' | '{'));
        let rest = line[at + name.len()..].trim_start();
        begins && rest.trim_start_matches([':', '+', '?']).starts_with('=')
    })
}

/// The Makefiles in `dir/below`, as paths below `dir`.
fn makefiles(dir: &Path, below: &Path, depth: u32, left: &mut usize, found: &mut Vec<PathBuf>) {
    for entry in fs_err::read_dir(dir.join(below)).into_iter().flatten().flatten() {
        let Some(rest) = left.checked_sub(1) else { return };
        *left = rest;
        let Ok(kind) = entry.file_type() else { continue };
        let path = below.join(entry.file_name());
        if kind.is_dir() && depth > 0 {
            makefiles(dir, &path, depth - 1, left, found);
        } else if kind.is_file() && is_makefile(&path) {
            found.push(path);
        }
    }
}

fn is_makefile(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    ["Kbuild", "Makefile", "makefile", "GNUmakefile"].contains(&&*name)
        || path.extension().is_some_and(|end| end == "mk" || end == "mak")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(files: &[(&str, &str)]) -> Option<(&'static str, String, usize)> {
        let tmp = tempfile::tempdir().unwrap();
        for (file, text) in files {
            let path = tmp.path().join(file);
            fs_err::create_dir_all(path.parent().unwrap()).unwrap();
            fs_err::write(path, text).unwrap();
        }
        lost(tmp.path()).map(|lost| (lost.name, lost.file.display().to_string(), lost.line))
    }

    #[test]
    fn flags_are_lost_unless_something_hands_them_on() {
        let lost = |name: &'static str, file: &str, line| Some((name, file.to_owned(), line));
        for text in [
            "EXTRA_CFLAGS += -I$(src)/include\nobj-m := a.o\n",
            "EXTRA_CFLAGS=-DX\n",
            "export EXTRA_CFLAGS := -DX\n",
            "\tEXTRA_CFLAGS ?= -DX # in a condition\n",
            "all:\n\n\tmake -C $(K) M=$(PWD) EXTRA_CFLAGS=\"-I. $(EXTRA_CFLAGS)\" modules\n",
            "# ccflags-y = $(EXTRA_CFLAGS)\nEXTRA_CFLAGS += -DX\n",
        ] {
            let line = text.lines().position(|line| line.contains("EXTRA_CFLAGS") && !line.starts_with('#')).unwrap();
            assert_eq!(found(&[("Makefile", text)]), lost("EXTRA_CFLAGS", "Makefile", line + 1), "{text}");
        }
        let deep =
            [("Makefile", "obj-m := a/\n"), ("a/Kbuild", "EXTRA_AFLAGS := -x\n"), ("b/c.mk", "EXTRA_CFLAGS += -y\n")];
        assert_eq!(found(&deep), lost("EXTRA_CFLAGS", "b/c.mk", 1));
        for text in [
            "# EXTRA_CFLAGS += -DX\n",
            "EXTRA_CFLAGS += -DX\nccflags-y += $(EXTRA_CFLAGS)\n",
            "EXTRA_CFLAGS += -DX\nKBUILD_CFLAGS += ${EXTRA_CFLAGS}\n",
            "ifdef OLD\nEXTRA_CFLAGS += -DX\nelse\nccflags-y += -DX\nendif\n",
            "ccflags-y += $(EXTRA_CFLAGS)\n",
            "USER_EXTRA_CFLAGS += -DX\n",
            "ifeq ($(EXTRA_CFLAGS),)\nEXTRA_CFLAGS = -DX\nendif\n",
        ] {
            assert_eq!(found(&[("Makefile", text)]), None, "{text}");
        }
        // Handed on in another file.
        assert_eq!(found(&[("a.mk", "EXTRA_CFLAGS += -DX\n"), ("Makefile", "ccflags-y += $(EXTRA_CFLAGS)\n")]), None);
        assert_eq!(found(&[("a.c", "EXTRA_CFLAGS = 1;\n")]), None);
    }

    #[test]
    fn who_is_for_older_kernels_loses_nothing() {
        assert!(never_lost(Some("6.14")) && never_lost(Some("5.4.300")) && never_lost(Some("6.14.99")));
        assert!(!never_lost(Some("6.15")) && !never_lost(Some("7.0")) && !never_lost(None));
    }
}
