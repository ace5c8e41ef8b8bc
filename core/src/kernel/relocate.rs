//! Headers of a kernel in another root, made usable from outside it.
//!
//! When the root has no shell or compiler, make runs here. Headers name other places by paths that
//! mean something only inside the root (Debian: `include /usr/src/…-common/Makefile`,
//! `KBUILD_OUTPUT=…`; links to `/usr/lib/linux-kbuild-…`). The relocated tree is a directory of
//! links to the real one in which every such path leads below the root, so that nothing of this
//! system's `/usr/src` or `/lib/modules` is read.

use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use crate::durable;
use crate::kernel::headers::Headers;
use crate::kernel::{Error, wrapper};
use crate::root::Root;

/// Make files at the top of headers in which paths are rewritten.
const MAKE_FILES: [&str; 2] = ["Makefile", ".kernelvariables"];

/// Where relocated trees stand: the headers', and the trees that theirs refer to.
const HEADERS: &str = "headers";
const SOURCES: &str = "sources";

/// Makes the relocated tree of `headers`, a kernel's in `root`, below `work`, an existing private
/// directory (without white space in its path, which kbuild refuses). Gives the directory for
/// `make -C`.
pub fn relocate(root: &Root, headers: &Headers, work: &Path) -> Result<PathBuf, Error> {
    let target = work.join(HEADERS);
    let mut farm = Farm { root, moved: vec![(headers.real_inside(root), target.clone())] };
    if let Some(common) = headers.common(root) {
        let inside = root.inside(&common).unwrap_or_else(|| common.clone());
        // Only sources with links that lead astray must be rebuilt; else they are used in place.
        if farm.strays(&common, &inside) {
            let target = work.join(SOURCES);
            farm.moved.push((inside.clone(), target.clone()));
            farm.grow(&common, &inside, &target)?;
        }
    }
    farm.grow(&headers.dir, &headers.real_inside(root), &target)?;
    farm.rewrite(&headers.dir, &target)?;
    Ok(target)
}

struct Farm<'a> {
    root: &'a Root,
    /// Trees that stand elsewhere now: inside path, outer path.
    moved: Vec<(PathBuf, PathBuf)>,
}

impl Farm<'_> {
    /// Fills `target` with links to what is in `dir` (known inside as `inside`), going down only
    /// where a link has to be changed.
    fn grow(&self, dir: &Path, inside: &Path, target: &Path) -> Result<(), Error> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| Error::Relocate { path, source }
        };
        fs_err::create_dir(target).map_err(failed(target))?;
        let entries = fs_err::read_dir(dir).map_err(Error::read("the kernel headers", dir))?;
        for entry in entries {
            let entry = entry.map_err(Error::read("the kernel headers", dir))?;
            let name = entry.file_name();
            let (from, here) = (dir.join(&name), inside.join(&name));
            let to = target.join(&name);
            let kind = entry.file_type().map_err(failed(&from))?;
            if kind.is_dir() && self.strays(&from, &here) {
                self.grow(&from, &here, &to)?;
                continue;
            }
            let leads_to = if kind.is_symlink() { self.outer(&here) } else { from };
            symlink(leads_to, &to).map_err(failed(&to))?;
        }
        Ok(())
    }

    /// Where an inside path is for this process, after all moves.
    fn outer(&self, inside: &Path) -> PathBuf {
        let real = self.root.outer(inside);
        let inside = self.root.inside(&real).unwrap_or_else(|| real.clone());
        self.moved_path(&inside).unwrap_or(real)
    }

    fn moved_path(&self, inside: &Path) -> Option<PathBuf> {
        self.moved.iter().find_map(|(from, to)| {
            let rest = inside.strip_prefix(from).ok()?;
            // `join` of nothing would end in a slash.
            Some(if rest.as_os_str().is_empty() { to.clone() } else { to.join(rest) })
        })
    }

    /// Whether a link below `dir` leads this process elsewhere than it leads inside the root.
    fn strays(&self, dir: &Path, inside: &Path) -> bool {
        let Ok(entries) = std::fs::read_dir(dir) else {
            return false;
        };
        entries.flatten().any(|entry| {
            let (from, here) = (entry.path(), inside.join(entry.file_name()));
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => self.strays(&from, &here),
                Ok(kind) if kind.is_symlink() => {
                    let meant = self.root.outer(&here);
                    std::fs::canonicalize(&from).ok() != std::fs::canonicalize(meant).ok()
                }
                _ => false,
            }
        })
    }

    /// Puts rewritten make files in place of the links to them.
    fn rewrite(&self, dir: &Path, target: &Path) -> Result<(), Error> {
        let real = self.moved.first().map(|(from, _)| from.clone());
        let here = real.unwrap_or_default();
        for name in MAKE_FILES {
            let text = if name == "Makefile" { wrapper::load(dir) } else { durable::text(&dir.join(name)).ok() };
            let Some(text) = text else { continue };
            let new = wrapper::rewrite(&text, &here, &|path| self.there(path));
            let file = target.join(name);
            replace(&file, &new).map_err(|source| Error::Relocate { path: file, source })?;
        }
        Ok(())
    }

    /// The outer path of an inside one that stands in a make file; `None` leaves the word alone.
    /// Commands keep their names: they are this system's.
    fn there(&self, inside: &Path) -> Option<PathBuf> {
        let trees = ["/usr/src", "/usr/lib", "/lib", "/boot"];
        let is_program = inside.iter().any(|part| part == "bin" || part == "sbin");
        let known = trees.iter().any(|t| inside.starts_with(t));
        let own = self.moved.iter().any(|(from, _)| inside.starts_with(from));
        ((known && !is_program) || own).then(|| self.outer(inside))
    }
}

fn replace(file: &Path, text: &str) -> io::Result<()> {
    fs_err::remove_file(file)?;
    fs_err::write(file, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A root with the given files (`path`, text) and links (`path`, `-> target`).
    fn root_with(entries: &[(&str, &str)]) -> (tempfile::TempDir, Root, PathBuf) {
        let tmp = tempfile::tempdir().unwrap();
        let dir = tmp.path().join("root");
        for (path, text) in entries {
            let file = dir.join(path);
            fs_err::create_dir_all(file.parent().unwrap()).unwrap();
            match text.strip_prefix("-> ") {
                Some(target) => symlink(target, file).unwrap(),
                None => fs_err::write(file, text).unwrap(),
            }
        }
        let work = tmp.path().join("work");
        fs_err::create_dir(&work).unwrap();
        let root = Root::at(&dir).unwrap();
        (tmp, root, work)
    }

    fn headers(root: &Root, inside: &str) -> Headers {
        Headers { dir: root.dir().join(inside), inside: PathBuf::from("/lib/modules/K/build") }
    }

    fn text(path: PathBuf) -> String {
        fs_err::read_to_string(path).unwrap()
    }

    #[test]
    fn debians_wrapper_leads_below_the_root() {
        let (_tmp, root, work) = root_with(&[
            ("usr/src/h/Makefile", "KBUILD_OUTPUT=/usr/src/h\ninclude /usr/src/c/Makefile\n"),
            ("usr/src/h/.kernelvariables", "CC = gcc\nX = /usr/bin/gcc /usr/src/c\n"),
            ("usr/src/h/.config", "config"),
            ("usr/src/h/scripts", "-> ../../lib/linux-kbuild/scripts"),
            ("usr/src/h/include/generated/autoconf.h", "1"),
            ("usr/src/c/Makefile", "all:"),
            ("usr/src/c/include/linux/a.h", "1"),
            ("usr/src/c/scripts", "-> ../../lib/linux-kbuild/scripts"),
            ("usr/lib/linux-kbuild/scripts/x", "kbuild"),
        ]);
        let made = relocate(&root, &headers(&root, "usr/src/h"), &work).unwrap();
        let at = root.dir().display();
        assert_eq!(
            text(made.join("Makefile")),
            format!("KBUILD_OUTPUT={}\ninclude {at}/usr/src/c/Makefile\n", made.display())
        );
        assert_eq!(text(made.join(".kernelvariables")), format!("CC = gcc\nX = /usr/bin/gcc {at}/usr/src/c\n"));
        assert_eq!(text(made.join("scripts/x")), "kbuild");
        assert_eq!(text(made.join(".config")), "config");
        // The root's own files were not touched.
        assert!(text(root.dir().join("usr/src/h/Makefile")).contains("/usr/src/h\n"));
        assert!(!work.join(SOURCES).exists());
    }

    #[test]
    fn absolute_links_are_mended_wherever_they_are() {
        let (_tmp, root, work) = root_with(&[
            ("usr/src/h/Makefile", "include /usr/src/c/Makefile\n"),
            ("usr/src/h/scripts", "-> /usr/lib/kbuild/scripts"),
            ("usr/src/h/include/deep/down/link.h", "-> /usr/src/c/include/linux/a.h"),
            ("usr/src/h/include/deep/near/a.h", "near"),
            ("usr/src/c/Makefile", "all:"),
            ("usr/src/c/include/linux/a.h", "right"),
            ("usr/src/c/scripts", "-> /usr/lib/kbuild/scripts"),
            ("usr/lib/kbuild", "-> /usr/lib/kbuild-6.1"),
            ("usr/lib/kbuild-6.1/scripts/x", "kbuild"),
        ]);
        let made = relocate(&root, &headers(&root, "usr/src/h"), &work).unwrap();
        assert_eq!(text(made.join("include/deep/down/link.h")), "right");
        assert_eq!(text(made.join("include/deep/near/a.h")), "near");
        assert_eq!(text(made.join("scripts/x")), "kbuild");
        assert_eq!(text(made.join("Makefile")), format!("include {}/{SOURCES}/Makefile\n", work.display()));
        assert_eq!(text(work.join(SOURCES).join("scripts/x")), "kbuild");
    }

    #[test]
    fn self_contained_headers_keep_their_makefile() {
        let long = format!("VERSION = 6\n{}", "# a kernel's Makefile\n".repeat(1000));
        let (_tmp, root, work) = root_with(&[
            ("usr/lib/modules/K/build/Makefile", &long),
            ("usr/lib/modules/K/build/include/linux/a.h", "1"),
        ]);
        let made = relocate(&root, &headers(&root, "usr/lib/modules/K/build"), &work).unwrap();
        assert_eq!(text(made.join("Makefile")), long);
        let include = fs_err::read_link(made.join("include")).unwrap();
        assert_eq!(include, root.dir().join("usr/lib/modules/K/build/include"));
    }
}
