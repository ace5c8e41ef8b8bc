//! What the headers of a kernel have besides headers, as far as the build of an external module follows from it: kbuild's
//! Makefiles, scripts and programs, the exported symbols, the type information.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use object::{Object, ObjectSection, ReadCache};

use crate::digest::Digest;
use crate::durable;
use crate::kernel::headers_contents::is_product;
use crate::kernel::symvers::Symvers;
use crate::kernel::{Error, Headers};
use crate::root::Root;

/// What the two directories of headers are called: that of this kernel, and that of its sources.
pub const PLACES: [&str; 2] = ["{build}", "{source}"];
/// More files than any distribution's kbuild has (300 in Debian's).
const MOST_FILES: usize = 20_000;
/// More bytes than any of them has.
const LARGEST_FILE: u64 = 64 << 20;
/// What is compared otherwise: by symbol, by type; or tells nothing about external modules.
const APART: [&str; 8] =
    [".config", ".config.old", "Module.symvers", "System.map", "vmlinux", "bzImage", "modules.order", ".git"];
/// Lines of the topmost Makefile that only name the kernel.
const NAMES: [&str; 3] = ["SUBLEVEL", "EXTRAVERSION", "NAME"];

/// See above.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Kbuild {
    /// The digest of each file, by its name below one of [`PLACES`]; of the topmost ones without the kernel's name.
    pub files: BTreeMap<String, Digest>,
    /// The symbols of the configuration that are mentioned in them (`CONFIG_SMP`).
    pub mentions: BTreeSet<String>,
    /// What the kernel and its modules export; `None` if the headers do not say.
    pub symvers: Option<Symvers>,
    /// The digest of the kernel's type information (`.BTF` of vmlinux), if the headers have it.
    pub types: Option<Digest>,
}

impl Kbuild {
    /// Reads all of it. `release`: the kernel's.
    ///
    /// # Errors
    /// If something can't be read, or there is more than any kernel's headers have.
    pub fn take(root: &Root, headers: &Headers, release: &str) -> Result<Self, Error> {
        let failed = || Error::read("the kernel headers", &headers.dir);
        let common = headers.common(root);
        let called = common.as_ref().map(|dir| root.inside(dir).unwrap_or_else(|| dir.clone()));
        // The path first: it may have the release in it.
        let called = called.map(|dir| (dir.display().to_string(), PLACES[1]));
        let names = called.into_iter().chain([(release.to_owned(), "{release}")]).collect();
        let mut all = Gathering { root, names, found: Self::default(), seen: HashSet::new() };
        for (dir, place) in std::iter::once(&headers.dir).chain(&common).zip(PLACES) {
            all.top(dir, place).map_err(failed())?;
        }
        let mut found = all.found;
        let symvers = durable::text(&headers.dir.join("Module.symvers"));
        found.symvers = symvers.ok().as_deref().and_then(Symvers::parse);
        found.types = types(&headers.dir.join("vmlinux")).map_err(failed())?;
        Ok(found)
    }
}

/// The digest of the type information in an ELF file; `None` if there is none, or no such file.
fn types(vmlinux: &Path) -> io::Result<Option<Digest>> {
    let file = match durable::open_regular(vmlinux) {
        Ok(file) => file,
        Err(error) if durable::missing(&error) => return Ok(None),
        Err(error) => return Err(error),
    };
    let cache = ReadCache::new(file);
    let elf = object::File::parse(&cache).map_err(io::Error::other)?;
    let section = elf.section_by_name(".BTF");
    section.map(|section| Ok(Digest::of(section.data().map_err(io::Error::other)?))).transpose()
}

struct Gathering<'a> {
    root: &'a Root,
    /// What is replaced in the topmost files, and by what.
    names: Vec<(String, &'static str)>,
    found: Kbuild,
    /// Directories by device and inode: links may lead around in circles, and two places to one directory.
    seen: HashSet<(u64, u64)>,
}

impl Gathering<'_> {
    /// Adds what is directly in `dir`, and its scripts, tools, and architectures' Makefiles.
    fn top(&mut self, dir: &Path, place: &str) -> io::Result<()> {
        for entry in fs_err::read_dir(dir)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let path = self.real(&entry.path());
            let label = format!("{place}/{name}");
            if path.is_file() {
                self.file(&path, label, true)?;
            } else if ["scripts", "tools"].contains(&name.as_str()) {
                self.below(&path, &label, &[])?;
            } else if name == "arch" {
                for arch in fs_err::read_dir(&path)? {
                    let arch = arch?;
                    let label = format!("{label}/{}", arch.file_name().to_string_lossy());
                    let path = self.real(&arch.path());
                    if path.is_dir() {
                        // Headers are recorded one by one, wherever an architecture has them (arm64: below kvm/hyp, too).
                        self.below(&path, &label, &["include"])?;
                    }
                }
            }
        }
        Ok(())
    }

    fn below(&mut self, dir: &Path, label: &str, but: &[&str]) -> io::Result<()> {
        let meta = fs_err::metadata(dir)?;
        // No module is built by what configures kernels.
        if !self.seen.insert((meta.dev(), meta.ino())) || label.ends_with("/scripts/kconfig") {
            return Ok(());
        }
        for entry in fs_err::read_dir(dir)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let path = self.real(&entry.path());
            let label = format!("{label}/{name}");
            if path.is_dir() {
                if !but.contains(&name.as_str()) {
                    self.below(&path, &label, but)?;
                }
            } else if path.is_file() {
                self.file(&path, label, false)?;
            }
        }
        Ok(())
    }

    fn file(&mut self, path: &Path, label: String, is_topmost: bool) -> io::Result<()> {
        let name = label.rsplit('/').next().unwrap_or_default();
        let is_product = is_product(Path::new(&label));
        if (is_topmost && APART.contains(&name)) || is_product || name.starts_with("Kconfig") {
            return Ok(());
        }
        let bytes = durable::read_at_most(path, LARGEST_FILE)?;
        if self.found.files.len() >= MOST_FILES {
            return Err(io::Error::other("there are too many files"));
        }
        let is_text = !bytes[..bytes.len().min(4096)].contains(&0);
        let digest = if is_text {
            let text = String::from_utf8_lossy(&bytes);
            self.found.mentions.extend(configured(&text).map(str::to_owned));
            if is_topmost { Digest::of(self.without_names(&text).as_bytes()) } else { Digest::of(&bytes) }
        } else {
            Digest::of(&bytes)
        };
        self.found.files.insert(label, digest);
        Ok(())
    }

    /// A topmost Makefile without what only names the kernel.
    fn without_names(&self, text: &str) -> String {
        let is_name = |line: &str| {
            let name = line.split_once('=').map(|(name, _)| name.trim());
            name.is_some_and(|name| NAMES.contains(&name))
        };
        let mut rest = String::with_capacity(text.len());
        for line in text.lines().filter(|line| !is_name(line)) {
            let mut line = line.to_owned();
            for (name, instead) in &self.names {
                line = line.replace(name, instead);
            }
            rest += &line;
            rest.push('\n');
        }
        rest
    }

    /// Where a link leads, as an outer path.
    fn real(&self, path: &Path) -> PathBuf {
        if !path.is_symlink() {
            return path.to_owned();
        }
        self.root.inside(path).map_or_else(|| path.to_owned(), |inside| self.root.outer(&inside))
    }
}

/// The symbols of the configuration that a text mentions.
pub fn configured(text: &str) -> impl Iterator<Item = &str> {
    text.match_indices("CONFIG_").filter_map(|(at, _)| {
        let rest = &text[at..];
        let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(rest.len());
        (end > "CONFIG_".len()).then_some(&rest[..end])
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    /// Headers of `release`, in Debian's layout.
    fn world(release: &str) -> (tempfile::TempDir, Root, Headers) {
        let tmp = tempfile::tempdir().unwrap();
        let root = Root::at(tmp.path()).unwrap();
        let put = |path: &str, text: &str| {
            let path = tmp.path().join(path);
            fs_err::create_dir_all(path.parent().unwrap()).unwrap();
            fs_err::write(path, text).unwrap();
        };
        let common = format!("usr/src/common-{release}");
        put(&format!("{common}/Makefile"), "VERSION = 6\nSUBLEVEL = 1\nifdef CONFIG_A\nendif\n");
        put(&format!("{common}/include/linux/a.h"), "CONFIG_H\n");
        put(&format!("{common}/arch/x86/Makefile"), "$(CONFIG_B)\n");
        put(&format!("{common}/arch/x86/include/asm/b.h"), "CONFIG_H\n");
        put(&format!("{common}/arch/arm64/kvm/hyp/include/hyp/c.h"), "CONFIG_H\n");
        put("usr/lib/kbuild/scripts/Makefile.build", "$(CONFIG_C) CONFIG_\n");
        put("usr/lib/kbuild/scripts/kconfig/conf", "CONFIG_K\n");
        put("usr/lib/kbuild/scripts/mod/modpost", "\0CONFIG_D");
        put(&format!("{common}/arch/powerpc/lib/crtsavres.o"), "\0");
        put("usr/lib/kbuild/scripts/mod/built.o", "\0");
        put("usr/src/build/Makefile", &format!("include /usr/src/common-{release}/Makefile\n"));
        put("usr/src/build/.kernelvariables", &format!("override KERNELRELEASE = {release}\n"));
        put("usr/src/build/include/config/auto.conf", "CONFIG_A=y\n");
        put("usr/src/build/Module.symvers", "0x1\ta\tvmlinux\tEXPORT_SYMBOL\t\n");
        for dir in ["usr/src/build", &common] {
            symlink("/usr/lib/kbuild/scripts", tmp.path().join(dir).join("scripts")).unwrap();
        }
        let dir = root.dir().join("usr/src/build");
        (tmp, root, Headers { dir, inside: PathBuf::from("/usr/src/build") })
    }

    #[test]
    fn what_names_the_kernel_is_no_difference() {
        let take = |release: &str, change: (&str, &str)| {
            let (tmp, root, headers) = world(release);
            if !change.0.is_empty() {
                fs_err::write(tmp.path().join(change.0), change.1).unwrap();
            }
            Kbuild::take(&root, &headers, release).unwrap()
        };
        let one = take("6.1.1-a", ("", ""));
        let names: Vec<&str> = one.files.keys().map(String::as_str).collect();
        assert_eq!(
            names,
            [
                "{build}/.kernelvariables",
                "{build}/Makefile",
                "{build}/scripts/Makefile.build",
                "{build}/scripts/mod/modpost",
                "{source}/Makefile",
                "{source}/arch/powerpc/lib/crtsavres.o",
                "{source}/arch/x86/Makefile"
            ]
        );
        assert_eq!(one.mentions.iter().collect::<Vec<_>>(), ["CONFIG_A", "CONFIG_B", "CONFIG_C"]);
        assert!(one.symvers.as_ref().unwrap().get("a").is_some() && one.types.is_none());
        let sublevel = ("usr/src/common-6.1.2-b/Makefile", "VERSION = 6\nSUBLEVEL = 2\nifdef CONFIG_A\nendif\n");
        assert_eq!(take("6.1.2-b", sublevel), one);
        for (file, text) in [
            ("usr/src/common-6.1.1-a/Makefile", "VERSION = 7\nSUBLEVEL = 1\nifdef CONFIG_A\nendif\n"),
            ("usr/src/common-6.1.1-a/arch/x86/Makefile", "KBUILD_CFLAGS += -O3 $(CONFIG_B)\n"),
            ("usr/src/common-6.1.1-a/arch/powerpc/lib/crtsavres.o", "\0other"),
            ("usr/lib/kbuild/scripts/mod/modpost", "\0other"),
            ("usr/src/build/.kernelvariables", "CC = clang\n"),
        ] {
            assert_ne!(take("6.1.1-a", (file, text)).files, one.files, "{file}");
        }
        assert_eq!(take("6.1.1-a", ("usr/src/build/include/config/auto.conf", "")), one);
        assert_eq!(take("6.1.1-a", ("usr/lib/kbuild/scripts/mod/built.o", "\0other")), one);
    }
}
