//! cpio archives in the "new ASCII" format (cpio(5), kernel: Documentation/driver-api/early-userspace/buffer-format.rst),
//! which linuxrc, Agama and the kernel's initramfs unpack.

use std::collections::{BTreeMap, BTreeSet};

use crate::plan::PackageError;

/// The archive of `files` (relative path to content) and of the directories that lead to them, owned by root, all of
/// time `mtime`.
pub fn archive(files: &BTreeMap<String, Vec<u8>>, mtime: i64) -> Result<Vec<u8>, PackageError> {
    let mut directories = BTreeSet::new();
    for path in files.keys() {
        directories.extend(path.match_indices('/').map(|(at, _)| &path[..at]));
    }
    let mut out = Out { bytes: Vec::new(), entries: 0, mtime: u32::try_from(mtime.max(0)).unwrap_or(u32::MAX) };
    // Directories sort before what is in them, and all of them come first.
    for directory in directories {
        out.put(directory, 0o040_755, 2, &[])?;
    }
    for (path, content) in files {
        out.put(path, 0o100_644, 1, content)?;
    }
    out.put("TRAILER!!!", 0, 1, &[])?;
    out.bytes.resize(out.bytes.len().next_multiple_of(512), 0);
    Ok(out.bytes)
}

struct Out {
    bytes: Vec<u8>,
    entries: u32,
    mtime: u32,
}

impl Out {
    fn put(&mut self, name: &str, mode: u32, links: u32, content: &[u8]) -> Result<(), PackageError> {
        let too_long = |_| PackageError::File { path: name.to_owned(), why: "it is too large for a cpio archive" };
        let size = u32::try_from(content.len()).map_err(too_long)?;
        let name_size = u32::try_from(name.len() + 1).map_err(too_long)?;
        let is_trailer = mode == 0;
        self.entries += 1;
        let (inode, time) = if is_trailer { (0, 0) } else { (self.entries, self.mtime) };
        self.bytes.extend(b"070701");
        // inode, mode, owner, group, links, time, size, device (2), device file (2), length of the name, checksum
        for field in [inode, mode, 0, 0, links, time, size, 0, 0, 0, 0, name_size, 0] {
            self.bytes.extend(format!("{field:08X}").bytes());
        }
        self.bytes.extend(name.bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend(content);
        self.pad();
        Ok(())
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}
