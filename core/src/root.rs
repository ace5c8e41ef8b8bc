//! The root: the system being worked on, `/` or a directory that holds one.
//!
//! Nothing below the command line names `/` (docs/laws.md 9). Paths come in two kinds:
//! *inside* paths are what a process chrooted into the root would use (and what symbolic links
//! in the root mean); *outer* paths are where this process finds the same file.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::io;
use std::path::{Component, Path, PathBuf};

/// A system root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Root {
    dir: PathBuf,
}

/// How many symbolic links one path may go through, as in the kernel (path_resolution(7)).
const MAX_LINKS: usize = 40;

impl Root {
    /// The running system.
    pub fn host() -> Self {
        Self { dir: PathBuf::from("/") }
    }

    /// The system below `dir`; `dir` must be an existing directory. `/` gives [`Root::host`].
    pub fn at(dir: &Path) -> io::Result<Self> {
        let dir = fs_err::canonicalize(dir)?;
        if !dir.is_dir() {
            return Err(io::Error::new(io::ErrorKind::NotADirectory, format!("{} is not a directory", dir.display())));
        }
        Ok(Self { dir })
    }

    /// Whether this is the running system's own root.
    pub fn is_host(&self) -> bool {
        self.dir == Path::new("/")
    }

    /// The root directory itself, as an outer path.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The outer path of `inside`, with every symbolic link on the way followed as a process
    /// chrooted here would; a missing rest is appended as it is. Never leaves the root.
    /// The last component is followed too.
    pub fn outer(&self, inside: &Path) -> PathBuf {
        if self.is_host() {
            return self.dir.join(inside);
        }
        self.walk(inside, true)
    }

    /// As [`Root::outer`], but a last component that is a symbolic link is not followed.
    pub fn outer_nofollow(&self, inside: &Path) -> PathBuf {
        if self.is_host() {
            return self.dir.join(inside);
        }
        self.walk(inside, false)
    }

    /// The inside path of an outer one; `None` if `outer` is not below this root.
    pub fn inside(&self, outer: &Path) -> Option<PathBuf> {
        outer.strip_prefix(&self.dir).ok().map(|rest| Path::new("/").join(rest))
    }

    /// Follows every link of an inside path, also on the host, and gives the inside path reached;
    /// an error if it does not exist.
    pub fn canonical(&self, inside: &Path) -> io::Result<PathBuf> {
        if self.is_host() {
            return fs_err::canonicalize(inside);
        }
        let outer = self.walk(inside, true);
        fs_err::symlink_metadata(&outer)?;
        Ok(Path::new("/").join(outer.strip_prefix(&self.dir).unwrap_or(&outer)))
    }

    fn walk(&self, inside: &Path, follow_last: bool) -> PathBuf {
        let mut todo: VecDeque<OsString> = parts(inside);
        let mut reached: Vec<OsString> = Vec::new();
        let mut links = 0;
        while let Some(part) = todo.pop_front() {
            if part == ".." {
                reached.pop();
                continue;
            }
            reached.push(part);
            if todo.is_empty() && !follow_last {
                break;
            }
            let here = self.dir.join(reached.iter().collect::<PathBuf>());
            let Ok(target) = std::fs::read_link(&here) else {
                continue;
            };
            links += 1;
            if links > MAX_LINKS {
                // As the kernel's ELOOP: a path that leads nowhere.
                return self.dir.join("dev/null/too-many-links");
            }
            reached.pop();
            if target.is_absolute() {
                reached.clear();
            }
            for part in parts(&target).into_iter().rev() {
                todo.push_front(part);
            }
        }
        self.dir.join(reached.iter().collect::<PathBuf>())
    }
}

fn parts(path: &Path) -> VecDeque<OsString> {
    path.components()
        .filter_map(|part| match part {
            Component::Normal(name) => Some(name.to_owned()),
            Component::ParentDir => Some(OsString::from("..")),
            _ => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn absolute_links_stay_inside() {
        let tmp = tempfile::tempdir().unwrap();
        let root = Root::at(tmp.path()).unwrap();
        fs_err::create_dir_all(root.dir().join("usr/lib/modules/6.1/x")).unwrap();
        symlink("/usr/lib", root.dir().join("lib")).unwrap();
        symlink("/usr/src/headers", root.dir().join("usr/lib/modules/6.1/build")).unwrap();
        assert_eq!(root.outer(Path::new("/lib/modules/6.1/x")), root.dir().join("usr/lib/modules/6.1/x"));
        assert_eq!(root.outer(Path::new("/lib/modules/6.1/build")), root.dir().join("usr/src/headers"));
        assert_eq!(
            root.outer_nofollow(Path::new("/lib/modules/6.1/build")),
            root.dir().join("usr/lib/modules/6.1/build")
        );
        assert_eq!(root.outer(Path::new("/../../etc/passwd")), root.dir().join("etc/passwd"));
    }

    #[test]
    fn link_loops_end() {
        let tmp = tempfile::tempdir().unwrap();
        let root = Root::at(tmp.path()).unwrap();
        symlink("/a", root.dir().join("b")).unwrap();
        symlink("/b", root.dir().join("a")).unwrap();
        let _ = root.outer(Path::new("/a/x"));
        assert!(root.canonical(Path::new("/a/x")).is_err());
    }
}
