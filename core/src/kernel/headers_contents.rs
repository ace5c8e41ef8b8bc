//! What the headers of a kernel hold, byte for byte: two that are equal build the same modules.
//!
//! Stronger than [`HeadersDigest`](super::headers_digest::HeadersDigest), which takes a header for unchanged if its size and
//! time are, and passes over kbuild's own scripts and programs. Packages are built reproducibly: those of one version give all files
//! the same times, whatever is in them. To read all of it takes half a second for Debian's; it is remembered
//! ([`contents`]), and then costs a look at each file.

use std::collections::HashSet;
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::digest::Digest;
use crate::kernel::contents::{self, Member};
use crate::kernel::{Error, Headers};
use crate::parallel;
use crate::root::Root;
use crate::tree::Trees;
use crate::tree::identity::Identity;

/// More files than any distribution's headers have (openSUSE's have 30,000), and fewer than a whole kernel source.
const MOST_FILES: usize = 60_000;
/// More bytes than any distribution's headers have (an unstripped vmlinux beside them has some 400 MB).
const MOST_BYTES: u64 = 1 << 30;
/// The ends of names of what make leaves behind, and no module is built with.
const PRODUCTS: [&str; 5] = ["a", "cmd", "d", "ko", "mod"];
/// Where objects are parts of kbuild's own programs. Others are linked into modules (`arch/powerpc/lib/crtsavres.o`).
const PROGRAMS: [&str; 2] = ["scripts", "tools"];
/// Of the thousands of stamps in `include/config`, these are files with something in them.
const CONFIGURED: [&str; 3] = ["auto.conf", "kernel.release", "tristate.conf"];

/// The digest of everything in the `headers` and their common part; `None` if that is a whole kernel source, of which modules may
/// read anything, and nobody wants to read all. `now`: the time when the run began, in seconds since 1970.
///
/// # Errors
/// If something can't be read, or is written to at this moment.
pub fn take(trees: &Trees, headers: &Headers, now: u64) -> Result<Option<Digest>, Error> {
    let failed = || Error::read("the kernel headers", &headers.dir);
    let Some(members) = members(&trees.root, headers).map_err(failed())? else { return Ok(None) };
    contents::digest(trees, &members, now).map(Some).map_err(failed())
}

/// The directories that headers consist of, as outer paths: what is included from there is part of the digest.
pub fn places(root: &Root, headers: &Headers) -> Vec<PathBuf> {
    std::iter::once(headers.dir.clone()).chain(headers.common(root)).collect()
}

fn members(root: &Root, headers: &Headers) -> io::Result<Option<Vec<Member>>> {
    let mut found = Vec::new();
    let mut bytes = 0_u64;
    // Directories by device and inode: links may lead around in circles.
    let mut seen = HashSet::new();
    let mut level: Vec<Directory> = places(root, headers)
        .into_iter()
        .zip(["headers", "common"])
        .map(|(path, label)| Directory { label: PathBuf::from(label), path })
        .collect();
    while !level.is_empty() {
        let lists = parallel::map(&level, |directory| directory.list(root));
        level.clear();
        for list in lists {
            let list = list?;
            if seen.insert(list.id) {
                bytes = list.files.iter().map(|file| file.identity.size).fold(bytes, u64::saturating_add);
                found.extend(list.files);
                level.extend(list.directories);
            }
            if found.len() > MOST_FILES || bytes > MOST_BYTES {
                return Ok(None);
            }
        }
        // What two links lead to counts as what the first of them is called.
        level.sort_by(|one, other| one.label.as_os_str().cmp(other.label.as_os_str()));
    }
    // By their bytes: that of paths compares them part by part.
    found.sort_by(|one, other| one.label.as_os_str().cmp(other.label.as_os_str()));
    Ok(Some(found))
}

/// A directory that counts as `label`.
struct Directory {
    label: PathBuf,
    path: PathBuf,
}

/// What is in a [`Directory`].
struct List {
    /// Its device and inode.
    id: (u64, u64),
    files: Vec<Member>,
    directories: Vec<Directory>,
}

impl Directory {
    fn list(&self, root: &Root) -> io::Result<List> {
        let Self { label, path: dir } = self;
        let meta = fs_err::metadata(dir)?;
        let mut list = List { id: (meta.dev(), meta.ino()), files: Vec::new(), directories: Vec::new() };
        let configured = dir.ends_with("include/config");
        for entry in fs_err::read_dir(dir)? {
            let entry = entry?;
            let name = entry.file_name();
            if configured && !CONFIGURED.iter().any(|known| name == *known) {
                continue;
            }
            let label = label.join(&name);
            let kind = entry.file_type()?;
            let (path, kind, meta) = if kind.is_symlink() {
                let path = target(root, &entry.path());
                match fs_err::metadata(&path) {
                    Ok(meta) => (path, meta.file_type(), Some(meta)),
                    Err(error) if [ErrorKind::NotFound, ErrorKind::NotADirectory].contains(&error.kind()) => continue,
                    Err(error) => return Err(error),
                }
            } else {
                (entry.path(), kind, None)
            };
            if kind.is_dir() {
                if name != ".git" {
                    list.directories.push(Directory { label, path });
                }
            } else if kind.is_file() && !is_product(&label) {
                let identity = Identity::of(&meta.map_or_else(|| entry.metadata(), Ok)?);
                list.files.push(Member { label, path, identity });
            }
        }
        Ok(list)
    }
}

/// Where a link leads, as an outer path.
fn target(root: &Root, link: &Path) -> PathBuf {
    root.inside(link).map_or_else(|| link.to_owned(), |inside| root.outer(&inside))
}

/// Whether the file that counts as `label` only is what make has left.
pub(crate) fn is_product(label: &Path) -> bool {
    let of_program = || label.iter().nth(1).is_some_and(|top| PROGRAMS.iter().any(|known| top == *known));
    label.extension().is_some_and(|end| PRODUCTS.iter().any(|known| end == *known) || (end == "o" && of_program()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    /// As if the run had begun then: everything has settled.
    const LATE: u64 = 1 << 40;

    fn world() -> (tempfile::TempDir, Trees, Headers) {
        let tmp = tempfile::tempdir().unwrap();
        let trees = Trees::new(Root::at(tmp.path()).unwrap());
        let put = |path: &str| {
            let path = trees.outer(path);
            fs_err::create_dir_all(path.parent().unwrap()).unwrap();
            fs_err::write(path, "1").unwrap();
        };
        for path in [
            "/usr/src/arch/include/config/auto.conf",
            "/usr/src/arch/include/config/STAMP",
            "/usr/src/arch/include/generated/autoconf.h",
            "/usr/src/arch/kernel/built.o",
            "/usr/src/common/include/linux/module.h",
            "/usr/lib/kbuild/scripts/mod/modpost",
            "/usr/lib/kbuild/scripts/mod/built.o",
        ] {
            put(path);
        }
        symlink("/usr/lib/kbuild/scripts", trees.outer("/usr/src/arch/scripts")).unwrap();
        symlink("../common", trees.outer("/usr/src/arch/source")).unwrap();
        symlink("/usr/src/arch", trees.outer("/usr/src/arch/circle")).unwrap();
        symlink("/nowhere", trees.outer("/usr/src/arch/broken")).unwrap();
        let headers = Headers { dir: trees.outer("/usr/src/arch"), inside: PathBuf::from("/usr/src/arch") };
        (tmp, trees, headers)
    }

    #[test]
    fn every_file_that_builds_may_read_counts_by_its_content() {
        let (_tmp, trees, headers) = world();
        let take = || take(&trees, &headers, LATE).unwrap().unwrap();
        let mut known = vec![take()];
        for path in [
            "/usr/src/arch/include/config/auto.conf",
            "/usr/src/arch/include/generated/autoconf.h",
            "/usr/src/common/include/linux/module.h",
            "/usr/lib/kbuild/scripts/mod/modpost",
            "/usr/src/arch/kernel/built.o",
        ] {
            // Same size, same time.
            let path = trees.outer(path);
            let time = fs_err::metadata(&path).unwrap().modified().unwrap();
            fs_err::remove_file(&path).unwrap();
            fs_err::write(&path, "2").unwrap();
            std::fs::File::options().write(true).open(&path).unwrap().set_modified(time).unwrap();
            let digest = take();
            assert!(!known.contains(&digest), "{}", path.display());
            known.push(digest);
        }
        let last = known.last().unwrap().clone();
        for path in ["/usr/src/arch/include/config/STAMP", "/usr/lib/kbuild/scripts/mod/built.o"] {
            fs_err::write(trees.outer(path), "22").unwrap();
            assert_eq!(take(), last, "{path}");
        }
        fs_err::write(trees.outer("/usr/src/common/include/linux/new.h"), "").unwrap();
        assert_ne!(take(), last);
        assert_eq!(places(&trees.root, &headers), ["/usr/src/arch", "/usr/src/common"].map(|place| trees.outer(place)));
    }

    #[test]
    fn a_whole_source_is_not_read() {
        let (_tmp, trees, headers) = world();
        let huge = std::fs::File::create(trees.outer("/usr/src/arch/vmlinux")).unwrap();
        huge.set_len(MOST_BYTES + 1).unwrap();
        assert_eq!(take(&trees, &headers, LATE).unwrap(), None);
    }
}
