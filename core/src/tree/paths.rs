//! The names of every path in the DKMS tree and beside the modules. No other room spells one.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::durable::{self, FileError};
use crate::names::{Kernel, Name, Package, Release};
use crate::root::Root;

use super::snapshot::Snapshot;

/// A directory under both of its names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Its path inside the root: what scripts, links and messages use.
    pub inside: PathBuf,
    /// Its path for this process.
    pub outer: PathBuf,
}

impl Place {
    /// The place that `inside` is in `root`.
    pub fn new(root: &Root, inside: impl Into<PathBuf>) -> Self {
        let inside = inside.into();
        let outer = root.outer(&inside);
        Self { inside, outer }
    }
}

/// The trees that one run works on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trees {
    /// The system they belong to.
    pub root: Root,
    /// The DKMS tree, normally `/var/lib/dkms`.
    pub dkms: Place,
    /// Where module sources are unpacked, normally `/usr/src`.
    pub source: Place,
    /// Where kernels keep their modules, normally `/lib/modules`.
    pub install: Place,
    /// The DKMS tree is one that the command line names, beside the system's: what is installed is not its doing.
    pub is_another: bool,
    snapshot: Arc<Snapshot>,
}

/// The file name of an artefact's manifest, in `<tree>/<m>/<v>/<K>/<A>/`.
pub const MANIFEST: &str = ".dkms-manifest.json";
/// The file name of the installed modules' manifest, in `<install tree>/<K>/`.
pub const KERNEL_MANIFEST: &str = ".dkms-manifest.json";
/// The file name of the list of modules that a kernel's initramfs needs, in `<install tree>/<K>/`. Our hooks of the initramfs
/// generators read it.
pub const IMAGE_LIST: &str = ".dkms-initramfs";

/// Whether a file below `<install tree>/<K>` is one of our notes about the modules there.
pub fn is_note(path: &Path) -> bool {
    path.ends_with(KERNEL_MANIFEST) || path.ends_with(IMAGE_LIST)
}

impl Trees {
    /// The trees of `root` at their default places (hier(7); the classic's defaults).
    pub fn new(root: Root) -> Self {
        let dkms = Place::new(&root, "/var/lib/dkms");
        let source = Place::new(&root, "/usr/src");
        let install = Place::new(&root, "/lib/modules");
        Self { root, dkms, source, install, is_another: false, snapshot: Arc::default() }
    }

    /// What this run has read of them.
    pub fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// This run has changed something at, above or below `path`, a path of this process: what was read there is forgotten.
    pub fn changed(&self, path: &Path) {
        self.snapshot.act();
        self.forget(path);
    }

    /// Something at, above or below `path`, a path of this process, may have changed: what was read there is forgotten.
    pub fn forget(&self, path: &Path) {
        if let Ok(below) = path.strip_prefix(self.state("superseded")) {
            // A source, to which the link of its package leads.
            let name = below.iter().next().map_or(self.dkms.outer.clone(), |name| self.dkms.outer.join(name));
            return self.snapshot.changed(&name);
        }
        if path.starts_with(self.own()) {
            // Nobody remembers those files.
            return;
        }
        // Any of the three trees may lie in another one.
        let is_ours = path.starts_with(&self.dkms.outer) || path.starts_with(&self.install.outer);
        if is_ours {
            self.snapshot.changed(path);
        }
        match path.strip_prefix(&self.source.outer).ok().and_then(|below| below.iter().next()) {
            Some(source) => {
                // `<name>-<version>`, and either may have a hyphen.
                let source = source.to_string_lossy();
                for (at, _) in source.match_indices('-') {
                    self.snapshot.changed(&self.dkms.outer.join(&source[..at]));
                }
            }
            None if !is_ours => self.snapshot.forget_all(),
            None => {}
        }
    }

    /// `<tree>/.dkms`: our own state, which the classic passes over.
    pub fn own(&self) -> PathBuf {
        self.in_place(&self.dkms, Path::new(".dkms"))
    }

    /// A directory or file of our own state.
    pub fn state(&self, name: &str) -> PathBuf {
        self.in_place(&self.dkms, &Path::new(".dkms").join(name))
    }

    /// Replaces a file of our own state, as [`durable::write_atomic`] does; what a kill leaves is where it is looked for.
    pub fn write(&self, path: &Path, bytes: &[u8], mode: u32) -> Result<(), FileError> {
        let temp = self.own().join(format!("{}{}", durable::NEW, durable::unique()));
        durable::write_atomic_by(&temp, path, bytes, mode)
    }

    /// A directory below `/var/cache/dkms`: what may be lost at any time (hier(7)), for all DKMS trees of the root.
    pub fn cache(&self, name: &str) -> PathBuf {
        self.outer(Path::new("/var/cache/dkms").join(name))
    }

    /// Makes that directory, for our eyes only.
    ///
    /// # Errors
    /// If it can't be made, or others may write to it.
    pub fn own_cache(&self, name: &str) -> Result<PathBuf, FileError> {
        let dir = self.cache(name);
        if !durable::is_own_dir(&dir) {
            durable::make_dirs(dir.parent().unwrap_or(&dir), 0o755)?;
            durable::make_dirs(&dir, 0o700)?;
        }
        let refused = || std::io::Error::new(std::io::ErrorKind::PermissionDenied, "others may write to it");
        if durable::is_own_dir(&dir) { Ok(dir) } else { Err(durable::at("use", &dir)(refused())) }
    }

    /// The tree lock's file.
    pub fn lock(&self) -> PathBuf {
        self.state("lock")
    }

    /// The directory of the locks of packages.
    pub fn locks(&self) -> PathBuf {
        self.state("locks")
    }

    /// The lock file of a package on a kernel.
    pub fn pair_lock(&self, package: &Package, kernel: &Kernel) -> PathBuf {
        self.locks().join(format!("{}@{}@{}@{}", package.name, package.version, kernel.release, kernel.arch))
    }

    /// The file of a kernel's gate, which whoever builds or installs for it passes, and which its removal closes. No package's
    /// name is empty.
    pub fn kernel_gate(&self, kernel: &Kernel) -> PathBuf {
        self.locks().join(format!("@{}@{}", kernel.release, kernel.arch))
    }

    /// The lock file of a package's build directory.
    pub fn build_lock(&self, package: &Package) -> PathBuf {
        self.locks().join(format!("{}@{}", package.name, package.version))
    }

    /// The list of packages whose modules for a kernel are to be looked upon as stale: its package is being
    /// upgraded under the same release.
    pub fn stale_list(&self, kernel: &Kernel) -> PathBuf {
        self.state("stale").join(format!("{}@{}", kernel.release, kernel.arch))
    }

    /// The directory of the journals of changes under way.
    pub fn journals(&self) -> PathBuf {
        self.state("journal")
    }

    /// Space kept back for a full disk.
    pub fn reserve(&self) -> PathBuf {
        self.state("reserve")
    }

    /// The directory of private build directories, one per build under way.
    pub fn work(&self) -> PathBuf {
        self.state("work")
    }

    /// The record of a package on a kernel.
    pub fn record(&self, package: &Package, kernel: &Kernel) -> PathBuf {
        self.state("records")
            .join(&package.name)
            .join(&package.version)
            .join(&kernel.release)
            .join(format!("{}.json", kernel.arch))
    }

    /// The log of the latest build of a package on a kernel that failed.
    pub fn record_log(&self, package: &Package, kernel: &Kernel) -> PathBuf {
        self.record(package, kernel).with_file_name(format!("{}.log", kernel.arch))
    }

    /// What is kept of a version that waits for its successor.
    pub fn superseded(&self, package: &Package) -> PathBuf {
        self.state("superseded").join(&package.name).join(&package.version)
    }

    /// `<tree>/<m>`.
    pub fn name_dir(&self, name: &Name) -> PathBuf {
        self.in_place(&self.dkms, name.as_ref())
    }

    /// `<tree>/<m>/<v>`.
    pub fn package_dir(&self, package: &Package) -> PathBuf {
        self.in_place(&self.dkms, &Path::new(package.name.as_str()).join(&package.version))
    }

    /// `<tree>/<m>/<v>/source`.
    pub fn source_link(&self, package: &Package) -> PathBuf {
        self.package_dir(package).join("source")
    }

    /// `<source tree>/<m>-<v>`: where the source of a package belongs, as an inside path.
    pub fn source_place(&self, package: &Package) -> PathBuf {
        self.source.inside.join(format!("{}-{}", package.name, package.version))
    }

    /// The source directory that the package's `source` leads to, as an outer path.
    pub fn source_of(&self, package: &Package) -> PathBuf {
        self.root.outer(&self.shown(&self.source_link(package)))
    }

    /// `<tree>/<m>/<v>/build`: where a build appears to happen.
    pub fn build_dir(&self, package: &Package) -> PathBuf {
        self.package_dir(package).join("build")
    }

    /// `<tree>/<m>/<v>/<K>`.
    pub fn kernel_dir(&self, package: &Package, kernel: &Kernel) -> PathBuf {
        self.package_dir(package).join(&kernel.release)
    }

    /// `<tree>/<m>/<v>/<K>/<A>`: the artefact.
    pub fn artefact(&self, package: &Package, kernel: &Kernel) -> PathBuf {
        self.kernel_dir(package, kernel).join(&kernel.arch)
    }

    /// The artefact's modules.
    pub fn artefact_modules(&self, package: &Package, kernel: &Kernel) -> PathBuf {
        self.artefact(package, kernel).join("module")
    }

    /// The log of the build that made the artefact.
    pub fn artefact_log(&self, package: &Package, kernel: &Kernel) -> PathBuf {
        self.artefact(package, kernel).join("log/make.log")
    }

    /// The artefact's manifest.
    pub fn manifest(&self, package: &Package, kernel: &Kernel) -> PathBuf {
        self.artefact(package, kernel).join(MANIFEST)
    }

    /// `<tree>/<m>/kernel-<K>-<A>`: the link that names the active version.
    pub fn active_link(&self, name: &Name, kernel: &Kernel) -> PathBuf {
        self.name_dir(name).join(format!("kernel-{}-{}", kernel.release, kernel.arch))
    }

    /// `<tree>/<m>/original_module/<K>/<A>`: archived modules of somebody else's.
    pub fn originals(&self, name: &Name, kernel: &Kernel) -> PathBuf {
        self.name_dir(name).join("original_module").join(&kernel.release).join(&kernel.arch)
    }

    /// `<install tree>/<K>`, as an outer path.
    pub fn modules_dir(&self, release: &Release) -> PathBuf {
        self.in_place(&self.install, release.as_ref())
    }

    /// The manifest of everything installed for a kernel.
    pub fn kernel_manifest(&self, release: &Release) -> PathBuf {
        self.modules_dir(release).join(KERNEL_MANIFEST)
    }

    /// The list of modules that the kernel's initramfs needs.
    pub fn image_list(&self, release: &Release) -> PathBuf {
        self.modules_dir(release).join(IMAGE_LIST)
    }

    /// A directory of a place. In another root, a link there leads where it would lead who is chrooted into it.
    fn in_place(&self, place: &Place, below: &Path) -> PathBuf {
        if self.root.is_host() {
            return place.outer.join(below);
        }
        self.root.outer(&place.inside.join(below))
    }

    /// Where `outer`, a path of this process, really is: in another root, no link on the way (the last part of the path
    /// is not followed) leads out of that root, which may hold anything.
    pub fn settled(&self, outer: &Path) -> PathBuf {
        match self.root.inside(outer) {
            Some(inside) if !self.root.is_host() => self.root.outer_nofollow(&inside),
            _ => outer.to_owned(),
        }
    }

    /// The outer path of something inside the root (`/etc/dkms/…`).
    pub fn outer(&self, inside: impl AsRef<Path>) -> PathBuf {
        self.root.outer(inside.as_ref())
    }

    /// What a path of this process is called inside the root: what messages and scripts use.
    pub fn shown(&self, outer: &Path) -> PathBuf {
        for place in [&self.dkms, &self.source, &self.install] {
            if let Ok(rest) = outer.strip_prefix(&place.outer) {
                // Joining nothing would leave a slash at the end.
                return if rest.as_os_str().is_empty() { place.inside.clone() } else { place.inside.join(rest) };
            }
        }
        self.root.inside(outer).unwrap_or_else(|| outer.to_owned())
    }
}

/// `/updates/dkms` or `/kernel//drivers/` as a relative path without empty parts.
pub fn relative(location: &str) -> PathBuf {
    location.split('/').filter(|part| !part.is_empty() && *part != "." && *part != "..").collect()
}
