//! Does every symbolic link below a directory stay inside it?

use std::collections::BTreeMap;
use std::io;
use std::path::{Component, Path, PathBuf};

use fs_err as fs;

/// Links followed one after the other before it counts as a loop (the kernel's limit, path_resolution(7)).
const MAX_FOLLOWED: usize = 40;

/// A link that must not be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stray {
    /// The link, below the directory looked at.
    pub link: PathBuf,
    /// Where it points.
    pub target: PathBuf,
    /// What is wrong with it.
    pub why: &'static str,
}

/// Looks at every symbolic link below `top` and gives the first (in byte order) that is absolute, leaves
/// `top` on its way (also through other links), or never ends. Links to nothing are fine as long as they
/// stay inside. Nothing is followed on the disk: the tree's own links are resolved from their texts.
pub fn first_stray(top: &Path) -> io::Result<Option<Stray>> {
    let mut links = BTreeMap::new();
    collect(top, Path::new(""), &mut links)?;
    for (link, target) in &links {
        if let Err(why) = resolve(&links, link, target) {
            return Ok(Some(Stray { link: link.clone(), target: target.clone(), why }));
        }
    }
    Ok(None)
}

fn collect(dir: &Path, below: &Path, links: &mut BTreeMap<PathBuf, PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let (kind, name) = (entry.file_type()?, below.join(entry.file_name()));
        if kind.is_symlink() {
            links.insert(name, fs::read_link(entry.path())?);
        } else if kind.is_dir() {
            collect(&entry.path(), &name, links)?;
        }
    }
    Ok(())
}

fn resolve(links: &BTreeMap<PathBuf, PathBuf>, link: &Path, target: &Path) -> Result<(), &'static str> {
    let mut here: PathBuf = link.parent().unwrap_or(Path::new("")).to_path_buf();
    // Components still to walk, the next one last.
    let mut rest: Vec<PathBuf> = Vec::new();
    let mut followed = 0;
    push(&mut rest, target)?;
    while let Some(part) = rest.pop() {
        if part == Path::new("..") {
            if !here.pop() {
                return Err("it leads out of the archive");
            }
            continue;
        }
        here.push(part);
        if let Some(next) = links.get(&here) {
            followed += 1;
            if followed > MAX_FOLLOWED {
                return Err("it is part of a loop of links");
            }
            here.pop();
            push(&mut rest, next)?;
        }
    }
    Ok(())
}

fn push(rest: &mut Vec<PathBuf>, target: &Path) -> Result<(), &'static str> {
    if target.as_os_str().is_empty() {
        return Err("it points nowhere");
    }
    for part in target.components().rev() {
        match part {
            Component::Normal(name) => rest.push(name.into()),
            Component::ParentDir => rest.push("..".into()),
            Component::CurDir => {}
            Component::RootDir | Component::Prefix(_) => return Err("it is absolute"),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn stray(links: &[(&str, &str)]) -> Option<(String, &'static str)> {
        let tmp = tempfile::tempdir().unwrap();
        for (name, target) in links {
            let path = tmp.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            symlink(target, path).unwrap();
        }
        first_stray(tmp.path()).unwrap().map(|s| (s.link.display().to_string(), s.why))
    }

    #[test]
    fn links_inside_pass() {
        assert_eq!(stray(&[("a/b/c", "../../x"), ("d", "a"), ("e", "d/b/.."), ("f", "missing"), ("g", ".")]), None);
    }

    #[test]
    fn links_that_leave_are_found() {
        assert_eq!(stray(&[("a/b", "../..")]), Some(("a/b".into(), "it leads out of the archive")));
        assert_eq!(stray(&[("a", "/etc")]), Some(("a".into(), "it is absolute")));
        // `x/up` is the top itself, so the text `x/up/..` that looks like `x` leaves it.
        assert_eq!(stray(&[("x/up", ".."), ("y", "x/up/..")]), Some(("y".into(), "it leads out of the archive")));
        assert_eq!(stray(&[("a", "b"), ("b", "a")]), Some(("a".into(), "it is part of a loop of links")));
    }
}
