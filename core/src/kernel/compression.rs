//! How a kernel's own modules are compressed; ours are then compressed alike.

use std::path::Path;

use crate::compress::Compression;
use crate::durable;

/// The kind used below `kernel/` of `modules_dir` (`<install tree>/<K>`, outer). Where several are
/// found the last of gzip, xz, Zstandard wins, as for the classic. Read from depmod's list if there
/// is one, else from the directory. Nothing found means none.
pub fn of_kernel(modules_dir: &Path) -> Compression {
    let listed = durable::bytes(&modules_dir.join("modules.dep"))
        .ok()
        .and_then(|bytes| of_list(&String::from_utf8_lossy(&bytes)));
    listed.unwrap_or_else(|| {
        let mut best = Compression::None;
        walk(&modules_dir.join("kernel"), &mut best);
        best
    })
}

/// The kind that the text of a modules.dep (modules.dep(5)) shows for `kernel/`; `None` if it
/// lists nothing there.
pub fn of_list(text: &str) -> Option<Compression> {
    text.lines()
        .filter(|line| line.starts_with("kernel/"))
        .filter_map(|line| Compression::of_file(Path::new(line.split(':').next()?)))
        .max()
}

fn walk(dir: &Path, best: &mut Compression) {
    let Ok(entries) = std::fs::read_dir(dir) else {
        return;
    };
    for entry in entries.flatten() {
        if *best == Compression::Zstd {
            return;
        }
        if entry.file_type().is_ok_and(|t| t.is_dir()) {
            walk(&entry.path(), best);
        } else if let Some(kind) = entry.file_name().to_str().and_then(|name| Compression::of_file(Path::new(name))) {
            *best = kind.max(*best);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for (name, kind) in [
            ("a.ko", Some(Compression::None)),
            ("a.ko.gz", Some(Compression::Gzip)),
            ("a.ko.xz", Some(Compression::Xz)),
            ("a.ko.zst", Some(Compression::Zstd)),
            ("a.o", None),
            ("modules.dep", None),
            ("a.xz", None),
        ] {
            assert_eq!(Compression::of_file(Path::new(name)), kind, "{name}");
        }
    }

    #[test]
    fn lists() {
        assert_eq!(of_list(""), None);
        assert_eq!(of_list("updates/dkms/a.ko.zst:\n"), None);
        assert_eq!(of_list("kernel/a.ko.xz: kernel/b.ko.xz\nextra/c.ko:\n"), Some(Compression::Xz));
        assert_eq!(of_list("kernel/a.ko.xz:\nkernel/b.ko.gz:\n"), Some(Compression::Xz));
    }

    #[test]
    fn ours_do_not_count() {
        let tmp = tempfile::tempdir().unwrap();
        for (dir, name) in [("kernel/fs", "a.ko"), ("updates/dkms", "b.ko.xz")] {
            fs_err::create_dir_all(tmp.path().join(dir)).unwrap();
            fs_err::write(tmp.path().join(dir).join(name), "").unwrap();
        }
        assert_eq!(of_kernel(tmp.path()), Compression::None);
        fs_err::write(tmp.path().join("kernel/fs/c.ko.gz"), "").unwrap();
        assert_eq!(of_kernel(tmp.path()), Compression::Gzip);
        // depmod's list is believed.
        fs_err::write(tmp.path().join("modules.dep"), "kernel/fs/a.ko.zst:\n").unwrap();
        assert_eq!(of_kernel(tmp.path()), Compression::Zstd);
        assert_eq!(of_kernel(&tmp.path().join("missing")), Compression::None);
    }
}
