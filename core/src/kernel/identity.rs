//! Which build of a kernel is installed, beyond its release: kernels are rebuilt under one name.

use std::fmt;
use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::digest::Hasher;
use crate::durable;
use crate::kernel::headers::Generated;
use crate::names::Release;
use crate::tree::Trees;

/// The build of an installed kernel. Compare for equality only; a change means another build.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct KernelIdentity(String);

const BANNER: &str = "banner:";

impl fmt::Display for KernelIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl KernelIdentity {
    /// The identity of the kernel `release` installed in `trees`: its image's banner; where that
    /// can't be read (a compressed image), a digest over the lists of its modules and the image's
    /// size and time; `None` if there is neither, or one of the files can't be read: an identity made of
    /// the others would be that of another kernel.
    pub fn of_installed(trees: &Trees, release: &Release) -> Option<Self> {
        Self::find(trees, release).unwrap_or_else(|error| {
            log::debug!("kernel {release} can't be told from another one: {error}");
            None
        })
    }

    fn find(trees: &Trees, release: &Release) -> io::Result<Option<Self>> {
        let images = images(trees, release);
        for image in &images {
            if let Some(banner) = banner(image)? {
                return Ok(Some(Self(format!("{BANNER}{banner}"))));
            }
        }
        let modules = trees.modules_dir(release);
        let mut hasher = Hasher::default();
        let mut known = false;
        for name in ["modules.builtin", "modules.order", "modules.builtin.modinfo"] {
            let bytes = there(durable::bytes(&modules.join(name)))?;
            known |= bytes.is_some();
            hasher.field(name.as_bytes());
            hasher.field(&bytes.unwrap_or_default());
        }
        // The last is the one beside the modules: a package's own file, not a hook's copy.
        for image in images.iter().rev() {
            if let Some(meta) = there(fs_err::metadata(image))? {
                known = true;
                hasher.field(release.as_str().as_bytes());
                hasher.update(&meta.size().to_le_bytes());
                hasher.update(&meta.mtime().to_le_bytes());
                break;
            }
        }
        Ok(known.then(|| Self(format!("files:{}", hasher.finish()))))
    }

    /// The banner as the image has it (`6.1.0 (builder@host) #1 SMP …`), if it could be read.
    pub fn banner(&self) -> Option<&str> {
        self.0.strip_prefix(BANNER)
    }

    /// Which build of its release the image says it is (`#1 SMP …`), as `uname -v` has it; it begins behind `(builder@host)`.
    pub fn build(&self) -> Option<&str> {
        let banner = self.banner()?;
        banner.get(banner.find(") #")? + 2..)
    }
}

/// Where the image of a kernel may be, as outer paths.
fn images(trees: &Trees, release: &Release) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = ["vmlinuz", "vmlinux", "kernel", "Image"]
        .iter()
        .map(|name| trees.outer(format!("/boot/{name}-{release}")))
        .collect();
    let modules = trees.install.inside.join(release);
    paths.push(trees.outer(modules.join("vmlinuz")));
    paths
}

/// `None` for what is not there.
fn there<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Err(error)
            if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory | ErrorKind::IsADirectory) =>
        {
            Ok(None)
        }
        other => other.map(Some),
    }
}

/// The version text of an image file.
fn banner(image: &Path) -> io::Result<Option<String>> {
    let Some(file) = there(durable::open_regular(image))? else { return Ok(None) };
    let mut head = Vec::new();
    if there((&file).take(64 * 1024).read_to_end(&mut head))?.is_none() {
        return Ok(None);
    }
    Ok(x86_banner(&head).or_else(|| arm64_banner(&head, &file)))
}

/// The version text of a bzImage: `kernel_version` at 0x20E points 0x200 short of it
/// (Documentation/arch/x86/boot.rst).
pub fn x86_banner(head: &[u8]) -> Option<String> {
    if head.get(0x202..0x206)? != b"HdrS" {
        return None;
    }
    let at = usize::from(u16::from_le_bytes([*head.get(0x20E)?, *head.get(0x20F)?]));
    text_at(head.get(at + 0x200..)?)
}

/// The version text of an uncompressed arm64 Image (magic at 56, Documentation/arch/arm64/booting.rst):
/// the first "Linux version 6…" in it. In a compressed one (EFI zboot, gzip) there is none to read.
fn arm64_banner(head: &[u8], file: &File) -> Option<String> {
    if head.get(56..60)? != b"ARM\x64" {
        return None;
    }
    const START: &[u8] = b"Linux version ";
    const STEP: usize = 1 << 20;
    let mut buffer = vec![0; STEP + 1024];
    let mut offset = 0;
    loop {
        let length = file.read_at(&mut buffer, offset).ok()?;
        let bytes = buffer.get(..length)?;
        let mut from = 0;
        while let Some(l) = bytes.get(from..)?.iter().position(|b| *b == b'L') {
            from += l + 1;
            let Some(rest) = bytes.get(from - 1..)?.strip_prefix(START) else {
                continue;
            };
            // Not the format string "Linux version %s".
            if rest.first().is_some_and(u8::is_ascii_digit) {
                return text_at(rest);
            }
        }
        if length < buffer.len() {
            return None;
        }
        offset += STEP as u64;
    }
}

/// The printable text up to the first NUL or line end.
fn text_at(bytes: &[u8]) -> Option<String> {
    let end = bytes.iter().position(|b| *b == 0 || *b == b'\n')?;
    let text = std::str::from_utf8(bytes.get(..end)?).ok()?.trim_end();
    (!text.is_empty() && text.starts_with(|c: char| c.is_ascii_digit())).then(|| text.to_owned())
}

/// Whether headers belong to an installed kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Match {
    /// Made in the same build.
    Yes,
    /// Made in another build: modules built with them are for another kernel.
    No,
    /// One side does not say. Not a mismatch.
    Unknown,
}

/// Compares the kernel's banner with what the headers' generated files say. Only release and
/// version text (`#1 SMP … date`) decide: host and compiler may be filled in again by a
/// `make modules_prepare`. So may the time of day, so a difference in nothing else proves nothing.
pub fn headers_match(identity: Option<&KernelIdentity>, generated: &Generated) -> Match {
    let Some((identity, banner)) = identity.and_then(|identity| Some((identity, identity.banner()?))) else {
        return Match::Unknown;
    };
    if let Some(release) = &generated.release {
        if banner.split_whitespace().next() != Some(release) {
            return Match::No;
        }
    }
    let (Some(own), Some(theirs)) = (identity.build(), &generated.version) else {
        return Match::Unknown;
    };
    if own == theirs {
        Match::Yes
    } else if without_time(own) == without_time(theirs) {
        Match::Unknown
    } else {
        Match::No
    }
}

/// The words of a version text except the time of day, `hh:mm:ss`.
fn without_time(version: &str) -> Vec<&str> {
    let is_time = |word: &str| word.len() == 8 && word.matches(':').count() == 2;
    version.split_whitespace().filter(|word| !is_time(word)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::root::Root;

    fn bzimage(banner: &str) -> Vec<u8> {
        let mut image = vec![0; 0x4000];
        image[0x202..0x206].copy_from_slice(b"HdrS");
        image[0x20E..0x210].copy_from_slice(&0x3000_u16.to_le_bytes());
        image[0x3200..0x3200 + banner.len()].copy_from_slice(banner.as_bytes());
        image
    }

    const TEXT: &str = "6.1-x (me@host) #1 SMP Debian 6.1-1 (2026-01-01)";

    #[test]
    fn banners() {
        assert_eq!(x86_banner(&bzimage(TEXT)).as_deref(), Some(TEXT));
        assert_eq!(x86_banner(b"MZ"), None);
        let mut wild = bzimage(TEXT);
        wild[0x20E..0x210].copy_from_slice(&0xFFFF_u16.to_le_bytes());
        assert_eq!(x86_banner(&wild), None);
    }

    #[test]
    fn an_arm64_image_is_searched_across_its_steps() {
        let tmp = tempfile::tempdir().unwrap();
        for at in [4096, (1 << 20) - 20, (1 << 20) + 5, 3 << 20] {
            let mut image = vec![b'L'; at + 4096];
            image[56..60].copy_from_slice(b"ARM\x64");
            image[1024..1040].copy_from_slice(b"Linux version %s");
            let text = format!("Linux version {TEXT}\n\0");
            image[at..at + text.len()].copy_from_slice(text.as_bytes());
            let file = tmp.path().join("Image");
            fs_err::write(&file, image).unwrap();
            assert_eq!(banner(&file).unwrap().as_deref(), Some(TEXT), "{at}");
        }
    }

    #[test]
    fn of_installed() {
        let tmp = tempfile::tempdir().unwrap();
        let trees = Trees::new(Root::at(tmp.path()).unwrap());
        let release = Release::new("6.1-x").unwrap();
        let modules = trees.modules_dir(&release);
        fs_err::create_dir_all(&modules).unwrap();
        let identity = || KernelIdentity::of_installed(&trees, &release);
        assert_eq!(identity(), None);
        fs_err::write(modules.join("modules.builtin"), "a").unwrap();
        let first = identity().unwrap();
        assert_eq!(first.banner(), None);
        fs_err::write(modules.join("modules.builtin"), "b").unwrap();
        let second = identity().unwrap();
        assert_ne!(first, second);
        fs_err::write(modules.join("vmlinuz"), "compressed").unwrap();
        let third = identity().unwrap();
        assert_ne!(second, third);
        fs_err::create_dir(tmp.path().join("boot")).unwrap();
        fs_err::write(tmp.path().join("boot/vmlinuz-6.1-x"), bzimage(TEXT)).unwrap();
        assert_eq!(identity().unwrap().banner(), Some(TEXT));
    }

    /// What can't be read is not taken for what is not there.
    #[test]
    fn a_file_that_can_not_be_read_gives_no_identity() {
        let tmp = tempfile::tempdir().unwrap();
        let trees = Trees::new(Root::at(tmp.path()).unwrap());
        let release = Release::new("6.1-x").unwrap();
        let modules = trees.modules_dir(&release);
        fs_err::create_dir_all(&modules).unwrap();
        fs_err::write(modules.join("modules.builtin"), "a").unwrap();
        assert!(KernelIdentity::of_installed(&trees, &release).is_some());
        // ELOOP, which no user is spared.
        let list = modules.join("modules.order");
        std::os::unix::fs::symlink(&list, &list).unwrap();
        assert_eq!(KernelIdentity::of_installed(&trees, &release), None);
        assert!(banner(&list).is_err());
        assert_eq!(banner(&modules.join("vmlinuz")).unwrap(), None);
    }

    #[test]
    fn matching() {
        let kernel = KernelIdentity(format!("{BANNER}{TEXT}"));
        let files = KernelIdentity("files:x".into());
        let dated = KernelIdentity(format!("{BANNER}6.1-x (b@h) #1-Ubuntu SMP Thu Jun 15 19:16:32 UTC 2023"));
        let version = "#1 SMP Debian 6.1-1 (2026-01-01)";
        let cases = [
            (Some(&kernel), Some("6.1-x"), Some(version), Match::Yes),
            (Some(&kernel), None, Some(version), Match::Yes),
            (Some(&kernel), Some("6.1-x"), None, Match::Unknown),
            (Some(&kernel), Some("6.1-y"), None, Match::No),
            (Some(&kernel), Some("6.1-x"), Some("#2 SMP now"), Match::No),
            (Some(&dated), None, Some("#1-Ubuntu SMP Thu Jun 15 19:16:40 UTC 2023"), Match::Unknown),
            (Some(&dated), None, Some("#1-Ubuntu SMP Thu Jun 16 19:16:32 UTC 2023"), Match::No),
            (Some(&dated), None, Some("#2-Ubuntu SMP Thu Jun 15 19:16:32 UTC 2023"), Match::No),
            (Some(&files), Some("6.1-x"), Some(version), Match::Unknown),
            (None, Some("6.1-x"), Some(version), Match::Unknown),
        ];
        for (identity, release, version, wanted) in cases {
            let generated =
                Generated { release: release.map(str::to_owned), version: version.map(str::to_owned), compiler: None };
            let got = headers_match(identity, &generated);
            assert_eq!(got, wanted, "{identity:?} {generated:?}");
        }
    }
}
