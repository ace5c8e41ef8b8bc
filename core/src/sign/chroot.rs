//! Whether we run in a chroot, where modules are not signed unless told to.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Whether `root` (this process's `/`) is not the root directory of process 1: device and inode
/// differ. A mere mount namespace (PrivateTmp units, rpm scriptlets, our own) is not a chroot.
///
/// `proc` is where procfs is mounted. Unknowable (not root, no procfs) counts as "no", as does
/// process 1 itself. Call it before any namespace of ours is entered. `fakechroot`: whether the
/// environment has fakechroot's variables.
pub fn in_chroot(proc: &Path, root: &Path, fakechroot: bool) -> bool {
    if fakechroot {
        return true;
    }
    let (Ok(init), Ok(own)) = (std::fs::metadata(proc.join("1/root")), std::fs::metadata(root)) else {
        return false;
    };
    (init.dev(), init.ino()) != (own.dev(), own.ino())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn device_and_inode_decide() {
        let tmp = tempfile::tempdir().unwrap();
        let (proc, new) = (tmp.path().join("proc"), tmp.path().join("new"));
        fs_err::create_dir_all(proc.join("1")).unwrap();
        fs_err::create_dir(&new).unwrap();
        assert!(!in_chroot(&proc, &new, false), "unknowable");
        std::os::unix::fs::symlink(tmp.path(), proc.join("1/root")).unwrap();
        assert!(in_chroot(&proc, &new, false));
        assert!(!in_chroot(&proc, tmp.path(), false));
        assert!(in_chroot(&proc, tmp.path(), true), "fakechroot");
    }
}
