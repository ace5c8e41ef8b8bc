//! The small Makefile of headers that are apart from their sources.
//!
//! Debian's is `include /usr/src/…-common/Makefile` (since Linux 7 with `KBUILD_OUTPUT=…` before
//! it); kbuild's own for `O=` builds is `include <source>/Makefile` (`outputmakefile` in the
//! kernel's top Makefile).

use std::path::{Component, Path, PathBuf};

use crate::durable;

/// A wrapper is shorter than this; a kernel's own Makefile is far longer.
const LONGEST: u64 = 8 * 1024;

/// The text of `dir/Makefile` if it is a wrapper.
pub fn load(dir: &Path) -> Option<String> {
    let file = dir.join("Makefile");
    if std::fs::metadata(&file).ok()?.len() > LONGEST {
        return None;
    }
    let text = durable::text(&file).ok()?;
    text.lines().any(|l| included(l).is_some()).then_some(text)
}

/// The source tree that a wrapper in the directory `here` includes; `here` and the answer are
/// inside paths.
pub fn source_tree(text: &str, here: &Path) -> Option<PathBuf> {
    let file = text.lines().find_map(included)?;
    let file = normal(&here.join(file));
    Some(file.parent()?.to_owned())
}

/// The one kernel Makefile that a line includes.
fn included(line: &str) -> Option<&str> {
    let rest = line.strip_prefix("include ").or_else(|| line.strip_prefix("-include "))?;
    let file = rest.trim();
    (file.ends_with("/Makefile") && !file.contains([' ', '$'])).then_some(file)
}

/// Rewrites the paths of a make file that belongs to the headers at `here` (an inside path):
/// each absolute word, or word beginning with `../`, for which `map` knows another path.
/// A word ends at white space, or at one of `= : , ) ( " '`.
pub fn rewrite(text: &str, here: &Path, map: &dyn Fn(&Path) -> Option<PathBuf>) -> String {
    let mut out = String::with_capacity(text.len() + 256);
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest.find(is_break).unwrap_or(rest.len());
        let word = &rest[..end];
        let absolute = if word.starts_with('/') {
            Some(normal(Path::new(word)))
        } else if word.starts_with("../") {
            Some(normal(&here.join(word)))
        } else {
            None
        };
        match absolute.and_then(|path| map(&path)) {
            Some(path) => out.push_str(&path.to_string_lossy()),
            None => out.push_str(word),
        }
        let next = rest[end..].chars().next().map_or(0, char::len_utf8);
        out.push_str(&rest[end..end + next]);
        rest = &rest[end + next..];
    }
    out
}

fn is_break(c: char) -> bool {
    c.is_whitespace() || "=:,()\"'".contains(c)
}

/// Without `.` and `..`, by text alone.
fn normal(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => {
                out.pop();
            }
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn source_trees() {
        let here = Path::new("/usr/src/obj/x86_64/default");
        for (text, tree) in [
            ("include /usr/src/c/Makefile\n", Some("/usr/src/c")),
            ("KBUILD_OUTPUT=/usr/src/a\ninclude /usr/src/c/Makefile", Some("/usr/src/c")),
            ("# made\ninclude ../../../linux-6.4/Makefile\n", Some("/usr/src/linux-6.4")),
            ("include $(srctree)/scripts/Makefile\n", None),
            ("all:\n", None),
        ] {
            assert_eq!(source_tree(text, here), tree.map(PathBuf::from), "{text}");
        }
    }

    #[test]
    fn rewriting() {
        let map = |path: &Path| path.strip_prefix("/usr/src").ok().map(|rest| Path::new("/root/usr/src").join(rest));
        assert_eq!(
            rewrite(
                "KBUILD_OUTPUT=/usr/src/a\ninclude ../c/Makefile\nX = $(shell /bin/true,/usr/src/b) a/usr/src\n",
                Path::new("/usr/src/a"),
                &map
            ),
            "KBUILD_OUTPUT=/root/usr/src/a\ninclude /root/usr/src/c/Makefile\nX = $(shell /bin/true,/root/usr/src/b) a/usr/src\n"
        );
    }
}
