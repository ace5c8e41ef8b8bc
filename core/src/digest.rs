//! SHA-256 digests of files and of directory trees.

use std::fmt;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::durable;

/// A SHA-256 digest, written as 64 lower-case hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Digest(String);

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What is no digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no SHA-256 digest: 64 lower-case hexadecimal digits")]
pub struct NoDigest;

impl std::str::FromStr for Digest {
    type Err = NoDigest;

    fn from_str(text: &str) -> Result<Self, NoDigest> {
        let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        (text.len() == 64 && text.bytes().all(is_digit)).then(|| Self(text.to_owned())).ok_or(NoDigest)
    }
}

/// Takes bytes piece by piece and gives their digest.
#[derive(Clone)]
pub struct Hasher(ring::digest::Context);

impl fmt::Debug for Hasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hasher")
    }
}

impl Default for Hasher {
    fn default() -> Self {
        Self(ring::digest::Context::new(&ring::digest::SHA256))
    }
}

impl Hasher {
    /// Adds `bytes`.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// Adds `bytes` preceded by their length, so that neighbouring fields can't run together.
    pub fn field(&mut self, bytes: &[u8]) {
        self.0.update(&(bytes.len() as u64).to_le_bytes());
        self.0.update(bytes);
    }

    /// The digest of all that was added.
    pub fn finish(self) -> Digest {
        use fmt::Write;
        let mut text = String::with_capacity(64);
        for byte in self.0.finish().as_ref() {
            let _ = write!(text, "{byte:02x}");
        }
        Digest(text)
    }
}

impl Digest {
    /// The digest of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        let mut hasher = Hasher::default();
        hasher.update(bytes);
        hasher.finish()
    }

    /// The digest of a file's content.
    pub fn of_file(path: &Path) -> io::Result<Self> {
        let named = durable::named(path);
        let mut file = durable::open_regular(path).map_err(&named)?;
        let mut hasher = Hasher::default();
        let mut buffer = vec![0; 64 * 1024];
        loop {
            match file.read(&mut buffer).map_err(&named)? {
                0 => return Ok(hasher.finish()),
                n => hasher.update(&buffer[..n]),
            }
        }
    }

    /// The digest of a directory tree: names, kinds, execute bits, link targets and contents, in
    /// byte order of the names. Times and owners do not count. A missing tree has a digest too; of a link
    /// to a tree (a package's `source`) that of the tree is taken.
    pub fn of_tree(path: &Path) -> io::Result<Self> {
        let mut hasher = Hasher::default();
        let tree = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        add_tree(&mut hasher, &tree)?;
        Ok(hasher.finish())
    }
}

fn add_tree(hasher: &mut Hasher, path: &Path) -> io::Result<()> {
    let Ok(meta) = std::fs::symlink_metadata(path) else {
        hasher.field(b"missing");
        return Ok(());
    };
    if meta.is_symlink() {
        hasher.field(b"link");
        hasher.field(fs_err::read_link(path)?.as_os_str().as_bytes());
    } else if meta.is_dir() {
        hasher.field(b"dir");
        let mut names = fs_err::read_dir(path)?.map(|e| e.map(|e| e.file_name())).collect::<io::Result<Vec<_>>>()?;
        names.sort();
        for name in names {
            hasher.field(name.as_bytes());
            add_tree(hasher, &path.join(name))?;
        }
        hasher.field(b"end");
    } else if meta.is_file() {
        hasher.field(if meta.permissions().mode() & 0o111 == 0 { b"file" } else { b"prog" });
        hasher.field(Digest::of_file(path)?.0.as_bytes());
    } else {
        hasher.field(b"other");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_value() {
        assert_eq!(Digest::of(b"abc").to_string(), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }

    #[test]
    fn what_is_written_can_be_read() {
        let digest = Digest::of(b"abc");
        assert_eq!(digest.to_string().parse(), Ok(digest));
        for text in ["", "ba78", &"g".repeat(64), &"A".repeat(64), &"0".repeat(65), &"../".repeat(22)[..64]] {
            assert_eq!(text.parse::<Digest>(), Err(NoDigest), "{text}");
        }
    }

    #[test]
    fn a_tree_changes_with_a_name_a_byte_and_a_mode() {
        let tmp = tempfile::tempdir().unwrap();
        let file = tmp.path().join("a");
        fs_err::write(&file, "1").unwrap();
        let linked = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(tmp.path(), linked.path().join("l")).unwrap();
        assert_eq!(Digest::of_tree(&linked.path().join("l")).unwrap(), Digest::of_tree(tmp.path()).unwrap());
        let first = Digest::of_tree(tmp.path()).unwrap();
        fs_err::write(&file, "2").unwrap();
        let second = Digest::of_tree(tmp.path()).unwrap();
        fs_err::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
        let third = Digest::of_tree(tmp.path()).unwrap();
        fs_err::rename(&file, tmp.path().join("b")).unwrap();
        let fourth = Digest::of_tree(tmp.path()).unwrap();
        assert!(first != second && second != third && third != fourth);
        let link = tempfile::tempdir().unwrap();
        let link = link.path().join("source");
        std::os::unix::fs::symlink(tmp.path(), &link).unwrap();
        assert_eq!(Digest::of_tree(&link).unwrap(), fourth);
    }
}
