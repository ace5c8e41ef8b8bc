//! Which kernels are in the root.

use std::path::{Path, PathBuf};

use crate::kernel::{Error, version};
use crate::names::Release;
use crate::tree::Trees;
use crate::tree::paths::is_note;
use crate::tree::snapshot::KernelDir;

/// What a directory of the install tree stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// A kernel: `modules.order`, `modules.builtin`, `kernel/` or `vmlinuz` is there.
    Installed,
    /// No kernel, but its headers.
    HeadersOnly,
    /// Neither: what a kernel left behind.
    Leftover,
}

/// A directory `<install tree>/<K>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The kernel's release.
    pub release: Release,
    /// What is there.
    pub presence: Presence,
    /// Unless installed: every file that is neither depmod's nor our manifest, relative to the
    /// directory. If all of them are modules of ours, a leftover is an orphan to clean.
    pub files: Vec<PathBuf>,
}

impl Found {
    /// Whether only depmod's files and those for which `ours` holds are left of the kernel.
    pub fn is_orphan(&self, ours: &dyn Fn(&Release, &Path) -> bool) -> bool {
        self.presence == Presence::Leftover && self.files.iter().all(|f| ours(&self.release, f))
    }
}

/// Looks at every directory of the install tree whose name can be a release, the newest first.
/// `ours` tells whether a path relative to `<install tree>/<K>` is a module of ours: a `kernel/`
/// that holds nothing else (where packages say their own place) makes no kernel.
pub fn scan(trees: &Trees, ours: &dyn Fn(&Release, &Path) -> bool) -> Result<Vec<Found>, Error> {
    let dir = &trees.install.outer;
    let entries = match fs_err::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Error::read("the install tree", dir)(error)),
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry.map_err(Error::read("the install tree", dir))?;
        let Some(release) = entry.file_name().to_str().and_then(|n| Release::new(n).ok()) else {
            continue;
        };
        if let Some(one) = look(trees, release, ours) {
            found.push(one);
        }
    }
    found.sort_by(|a, b| version::by_age(b.release.as_str(), a.release.as_str()));
    Ok(found)
}

/// What there is of one kernel; `None` if it has no directory. The directory is looked at once in this run, unless it changes.
pub fn look(trees: &Trees, release: Release, ours: &dyn Fn(&Release, &Path) -> bool) -> Option<Found> {
    let dir = trees.outer(trees.install.inside.join(&release));
    let there = trees.snapshot().kernel(&dir, || read(trees, &release, &dir))?;
    if there.has_kernels_file || is_kernel_dir(&there, &|path| ours(&release, path)) {
        return Some(Found { release, presence: Presence::Installed, files: Vec::new() });
    }
    let files = there.files.iter().filter(|path| !is_depmods(path)).cloned().collect();
    let presence = if there.has_headers { Presence::HeadersOnly } else { Presence::Leftover };
    Some(Found { release, presence, files })
}

/// Whether a kernel, not only its remains or its headers, is there. Modules of ours below `kernel/` count as its own.
pub fn is_there(trees: &Trees, release: &Release) -> bool {
    look(trees, release.clone(), &|_, _| false).is_some_and(|found| found.presence == Presence::Installed)
}

fn read(trees: &Trees, release: &Release, dir: &Path) -> KernelDir {
    if ["modules.order", "modules.builtin", "vmlinuz"].iter().any(|name| dir.join(name).exists()) {
        return KernelDir { has_kernels_file: true, ..KernelDir::default() };
    }
    let mut files = Vec::new();
    walk(dir, Path::new(""), &mut |path| files.push(path.to_owned()));
    files.sort();
    let has_headers = ["build", "source"].iter().any(|name| {
        let inside = trees.install.inside.join(release).join(name);
        trees.outer(inside).join("include").is_dir()
    });
    KernelDir { has_kernels_file: false, has_kernel_dir: dir.join("kernel").is_dir(), files, has_headers }
}

/// The newest installed kernel of a scan.
pub fn newest(found: &[Found]) -> Option<&Release> {
    found
        .iter()
        .filter(|f| f.presence == Presence::Installed)
        .map(|f| &f.release)
        .max_by(|a, b| version::by_age(a.as_str(), b.as_str()))
}

/// Whether `kernel/` is there and not merely full of our own modules.
fn is_kernel_dir(there: &KernelDir, ours: &dyn Fn(&Path) -> bool) -> bool {
    let mut files = there.files.iter().filter(|path| path.starts_with("kernel")).peekable();
    there.has_kernel_dir && (files.peek().is_none() || files.any(|path| !ours(path)))
}

/// What depmod writes (depmod(8), modules.dep(5)), our manifest, and changes under way.
fn is_depmods(path: &Path) -> bool {
    let Some(name) = path.to_str() else {
        return false;
    };
    if is_note(path) || name.starts_with(".dkms-new-") {
        return true;
    }
    name.strip_prefix("modules.").is_some_and(|kind| {
        matches!(kind, "alias" | "dep" | "devname" | "softdep" | "symbols" | "weakdep")
            || (kind.ends_with(".bin") && !kind.contains('/'))
    })
}

/// Calls `see` with every file and link below `dir/below`, relative to `dir`.
fn walk(dir: &Path, below: &Path, see: &mut dyn FnMut(&Path)) {
    for entry in std::fs::read_dir(dir.join(below)).into_iter().flatten().flatten() {
        let path = below.join(entry.file_name());
        // Headers may stand right here (Arch); they count as one.
        let headers = path == Path::new("build") || path == Path::new("source");
        if !headers && entry.file_type().is_ok_and(|t| t.is_dir()) {
            walk(dir, &path, see);
        } else {
            see(&path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::root::Root;
    use std::os::unix::fs::symlink;

    #[test]
    fn kinds_of_directories() {
        let tmp = tempfile::tempdir().unwrap();
        let trees = Trees::new(Root::at(tmp.path()).unwrap());
        let base = trees.install.outer.clone();
        for file in [
            "6.1-rc1/modules.order",
            "6.1/kernel/fs/a.ko",
            "6.0/modules.builtin",
            "5.9/vmlinuz",
            "5.8/modules.dep",
            "5.8/modules.builtin.alias.bin",
            "5.8/updates/dkms/ours.ko.xz",
            "5.8/.dkms-manifest.json",
            "5.8/.dkms-initramfs",
            "5.7/updates/theirs.ko",
            "5.6/kernel/fs/ours.ko",
            ".hidden/modules.order",
            "a b/modules.order",
        ] {
            let file = base.join(file);
            fs_err::create_dir_all(file.parent().unwrap()).unwrap();
            fs_err::write(file, "").unwrap();
        }
        fs_err::write(base.join("file"), "").unwrap();
        fs_err::create_dir_all(base.join("5.5/kernel")).unwrap();
        for (release, target) in [("5.4", "/usr/src/h"), ("5.3", "/usr/src/gone")] {
            fs_err::create_dir_all(base.join(release)).unwrap();
            symlink(target, base.join(release).join("build")).unwrap();
        }
        fs_err::create_dir_all(tmp.path().join("usr/src/h/include")).unwrap();
        fs_err::create_dir_all(base.join("5.2/build/include/linux")).unwrap();

        let ours = |_: &Release, path: &Path| path.ends_with("ours.ko") || path.ends_with("ours.ko.xz");
        let found = scan(&trees, &ours).unwrap();
        let shown: Vec<String> =
            found.iter().map(|f| format!("{} {:?} {}", f.release, f.presence, f.is_orphan(&ours))).collect();
        assert_eq!(
            shown,
            [
                "6.1 Installed false",
                "6.1-rc1 Installed false",
                "6.0 Installed false",
                "5.9 Installed false",
                "5.8 Leftover true",
                "5.7 Leftover false",
                "5.6 Leftover true",
                "5.5 Installed false",
                "5.4 HeadersOnly false",
                "5.3 Leftover false",
                "5.2 HeadersOnly false",
            ]
        );
        assert_eq!(found.last().unwrap().files, [Path::new("build")]);
        assert_eq!(newest(&found).unwrap().as_str(), "6.1");
        assert_eq!(newest(&[]), None);
    }

    #[test]
    fn no_install_tree_is_no_kernel() {
        let tmp = tempfile::tempdir().unwrap();
        let trees = Trees::new(Root::at(tmp.path()).unwrap());
        assert_eq!(scan(&trees, &|_, _| false).unwrap(), []);
    }
}
