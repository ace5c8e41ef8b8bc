//! Whether the headers are still those that an artefact was built with.
//!
//! Two strengths. A [`HeadersStamp`] looks at some sixty file identities (0.2 ms) and is taken
//! every time; it changes whenever a package manager writes the headers. A [`HeadersDigest`] looks
//! at every header (50 ms for Debian's on a busy machine) and is taken when building and when the stamp has changed. Reading
//! all of Debian's 60 MB instead takes 0.4-0.7 s, so the sources' own headers count by name, size
//! and time, and what was generated or configured for this kernel by content.
//!
//! A stamp can't see one header deep in `include/` overwritten in place; the digest does.

use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use fs_err::DirEntry;
use serde::{Deserialize, Serialize};

use crate::digest::{Digest, Hasher};
use crate::durable;
use crate::kernel::{Error, Headers};
use crate::root::Root;

/// Identities of the telling files. Equal means: nobody installed other headers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct HeadersStamp(Digest);

/// What the headers are, independent of when and where they were unpacked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct HeadersDigest(Digest);

/// Files whose content says what kernel was configured, by whom and with which compiler.
const TELLING: [&str; 11] = [
    ".config",
    ".kernelvariables",
    "Makefile",
    "Module.symvers",
    "include/config/auto.conf",
    "include/config/kernel.release",
    "include/generated/autoconf.h",
    "include/generated/compile.h",
    "include/generated/utsrelease.h",
    "include/generated/utsversion.h",
    "vmlinux",
];

impl std::fmt::Display for HeadersStamp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl HeadersDigest {
    /// The digest itself, for manifests.
    pub fn digest(&self) -> &Digest {
        &self.0
    }
}

impl HeadersStamp {
    /// Looks at the telling files, and at the directories of `include/`, in the headers and their
    /// common part.
    pub fn take(root: &Root, headers: &Headers) -> Self {
        let mut hasher = Hasher::default();
        for dir in std::iter::once(headers.dir.clone()).chain(headers.common(root)) {
            hasher.field(dir.as_os_str().as_bytes());
            for name in TELLING {
                identity(&mut hasher, &dir.join(name));
            }
            for name in sorted(&dir.join("include")).unwrap_or_default() {
                hasher.field(name.as_os_str().as_bytes());
                identity(&mut hasher, &dir.join("include").join(name));
            }
        }
        Self(hasher.finish())
    }
}

impl HeadersDigest {
    /// Reads what is generated, and looks at every other header.
    pub fn take(root: &Root, headers: &Headers) -> Result<Self, Error> {
        let dir = &headers.dir;
        let failed = Error::read("the kernel headers", dir);
        Self::compute(root, headers).map_err(failed)
    }

    fn compute(root: &Root, headers: &Headers) -> io::Result<Self> {
        let dir = &headers.dir;
        let mut hasher = Hasher::default();
        // Not vmlinux: it is there for its type information only, may be huge, and goes with the
        // version in utsversion.h.
        for name in TELLING.iter().filter(|name| **name != "vmlinux") {
            content(&mut hasher, &dir.join(name))?;
        }
        tree(&mut hasher, &dir.join("include/generated"), read)?;
        let arches = sorted(&dir.join("arch"))?;
        for arch in &arches {
            let generated = dir.join("arch").join(arch).join("include/generated");
            tree(&mut hasher, &generated, read)?;
        }
        for part in std::iter::once(dir.clone()).chain(headers.common(root)) {
            hasher.field(b"part");
            tree(&mut hasher, &part.join("include"), look)?;
            for arch in &arches {
                tree(&mut hasher, &part.join("arch").join(arch).join("include"), look)?;
            }
        }
        Ok(Self(hasher.finish()))
    }
}

/// Adds who a file is: inode, size and times to the nanosecond.
fn identity(hasher: &mut Hasher, path: &Path) {
    let Ok(meta) = std::fs::metadata(path) else {
        hasher.field(b"missing");
        return;
    };
    let facts = [
        i64::try_from(meta.ino()).unwrap_or(-1),
        i64::try_from(meta.size()).unwrap_or(-1),
        meta.mtime(),
        meta.mtime_nsec(),
        meta.ctime(),
        meta.ctime_nsec(),
    ];
    for fact in facts {
        hasher.update(&fact.to_le_bytes());
    }
}

/// Adds a file's content, or that there is none.
fn content(hasher: &mut Hasher, path: &Path) -> io::Result<()> {
    match durable::bytes(path) {
        Ok(bytes) => hasher.field(&bytes),
        Err(error) if error.kind() == io::ErrorKind::NotFound => hasher.field(b"missing"),
        Err(error) => return Err(error),
    }
    Ok(())
}

/// Adds a file's size and its time in seconds (archives of images drop the fraction).
fn look(hasher: &mut Hasher, entry: &DirEntry) -> io::Result<()> {
    let meta = entry.metadata()?;
    hasher.update(&meta.size().to_le_bytes());
    hasher.update(&meta.mtime().to_le_bytes());
    Ok(())
}

/// Adds the content of an entry, links followed.
fn read(hasher: &mut Hasher, entry: &DirEntry) -> io::Result<()> {
    content(hasher, &entry.path())
}

type Add = fn(&mut Hasher, &DirEntry) -> io::Result<()>;

/// Adds every file below `dir` in the order of names. What is generated is passed over unless
/// asked for; so are the thousands of empty stamps of `include/config`.
fn tree(hasher: &mut Hasher, dir: &Path, add: Add) -> io::Result<()> {
    let entries = match fs_err::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    let mut entries = entries.collect::<io::Result<Vec<_>>>()?;
    entries.sort_by_key(DirEntry::file_name);
    for entry in entries {
        let name = entry.file_name();
        if entry.file_type()?.is_dir() {
            let generated = (name == "generated" || name == "config") && dir.ends_with("include");
            if !generated {
                hasher.field(name.as_bytes());
                tree(hasher, &entry.path(), add)?;
                hasher.field(b"/");
            }
        } else if !name.as_bytes().ends_with(b".cmd") {
            hasher.field(name.as_bytes());
            add(hasher, &entry)?;
        }
    }
    Ok(())
}

fn sorted(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match fs_err::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut names = entries.map(|e| e.map(|e| PathBuf::from(e.file_name()))).collect::<io::Result<Vec<_>>>()?;
    names.sort();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(dir: &Path, name: &str, text: &str) {
        let file = dir.join(name);
        fs_err::create_dir_all(file.parent().unwrap()).unwrap();
        fs_err::write(file, text).unwrap();
    }

    fn world(root: &Root) -> Headers {
        let dir = root.dir().join("usr/src/h");
        put(&dir, "Makefile", "include /usr/src/c/Makefile\n");
        put(&dir, ".config", "CONFIG_A=y\n");
        put(&dir, "Module.symvers", "");
        put(&dir, "include/generated/autoconf.h", "#define A 1\n");
        put(&dir, "include/config/A", "");
        put(&dir, "arch/x86/include/generated/asm/x.h", "1");
        put(root.dir(), "usr/src/c/include/linux/module.h", "1");
        put(root.dir(), "usr/src/c/arch/x86/include/asm/a.h", "1");
        put(root.dir(), "usr/src/c/arch/arm/include/asm/a.h", "1");
        Headers { dir, inside: PathBuf::from("/usr/src/h") }
    }

    #[test]
    fn each_kind_of_change_is_seen() {
        let tmp = tempfile::tempdir().unwrap();
        let root = Root::at(tmp.path()).unwrap();
        let headers = world(&root);
        let digest = || HeadersDigest::take(&root, &headers).unwrap();
        let stamp = || HeadersStamp::take(&root, &headers);
        let mut last = digest();
        assert_eq!(digest(), last);
        for (file, telling) in [
            ("h/.config", true),
            ("h/Module.symvers", true),
            ("h/include/generated/autoconf.h", true),
            ("h/arch/x86/include/generated/asm/x.h", false),
            ("c/include/linux/module.h", false),
            ("c/include/linux/new.h", true),
            ("c/arch/x86/include/asm/a.h", false),
        ] {
            let before = stamp();
            put(&root.dir().join("usr/src"), file, "changed");
            let now = digest();
            assert_ne!(now, last, "{file}");
            assert_eq!(stamp() != before, telling, "{file}");
            last = now;
        }
        // Another architecture's headers and the empty stamps do not matter.
        put(root.dir(), "usr/src/c/arch/arm/include/asm/a.h", "changed");
        put(&headers.dir, "include/config/B", "");
        assert_eq!(digest(), last);
    }

    #[test]
    fn a_copy_has_the_same_digest() {
        let tmp = tempfile::tempdir().unwrap();
        let root = Root::at(tmp.path()).unwrap();
        let first = HeadersDigest::take(&root, &world(&root)).unwrap();
        let copy = tempfile::tempdir().unwrap();
        let status =
            crate::process::command("cp").arg("-a").arg(root.dir().join("usr")).arg(copy.path()).status().unwrap();
        assert!(status.success());
        let root = Root::at(copy.path()).unwrap();
        let headers = Headers { dir: root.dir().join("usr/src/h"), inside: PathBuf::from("/usr/src/h") };
        assert_eq!(HeadersDigest::take(&root, &headers).unwrap(), first);
    }
}
