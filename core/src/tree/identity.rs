//! What tells, without reading it, that a file is untouched.

use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use serde::{Deserialize, Serialize};

/// A file's stat identity (stat(2)). Equal means untouched; different means: compare the bytes.
///
/// The device is left out: its number changes from boot to boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Identity {
    /// Size in bytes.
    pub size: u64,
    /// Time of the last change of the content, in nanoseconds since 1970.
    pub mtime_ns: i64,
    /// Time of the last change of the inode (also by a rename), in nanoseconds since 1970.
    pub ctime_ns: i64,
    /// Inode number.
    pub ino: u64,
}

impl Identity {
    /// The identity that `meta` describes.
    pub fn of(meta: &Metadata) -> Self {
        Self {
            size: meta.len(),
            mtime_ns: nanoseconds(meta.mtime(), meta.mtime_nsec()),
            ctime_ns: nanoseconds(meta.ctime(), meta.ctime_nsec()),
            ino: meta.ino(),
        }
    }

    /// The identity of the file, or of the symbolic link itself, at `path`.
    pub fn of_path(path: &Path) -> io::Result<Self> {
        fs_err::symlink_metadata(path).map(|meta| Self::of(&meta))
    }
}

/// Seconds and nanoseconds in one number; good until the year 2262.
pub fn nanoseconds(seconds: i64, nanoseconds: i64) -> i64 {
    seconds.saturating_mul(1_000_000_000).saturating_add(nanoseconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_touch_shows_and_a_look_does_not() {
        let tmp = tempfile::tempdir().unwrap();
        let file = tmp.path().join("a");
        fs_err::write(&file, "1").unwrap();
        let first = Identity::of_path(&file).unwrap();
        fs_err::read(&file).unwrap();
        assert_eq!(Identity::of_path(&file).unwrap(), first);
        fs_err::write(&file, "22").unwrap();
        assert_ne!(Identity::of_path(&file).unwrap(), first);
        let text = serde_json::to_string(&first).unwrap();
        assert_eq!(serde_json::from_str::<Identity>(&text).unwrap(), first);
    }
}
