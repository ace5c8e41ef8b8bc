//! Which of a kernel's modules its initramfs needs: `<install tree>/<K>/.dkms-initramfs`, a module's name a line, no file
//! where there is none. Our hooks of initramfs-tools, dracut and mkinitcpio put these into every image.
//!
//! The generators copy what lies below `kernel/` (initramfs-tools 0.148, mkinitcpio 40: by directory; dracut 106 also what
//! lies below `updates/`): of a module that has the place of the kernel's own, some copy neither, and a machine whose disk
//! hangs on it does not boot. The list lies beside the modules and comes and goes with them in one change, so that a hook
//! needs neither `/var` nor a program of ours.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use crate::assignments;
use crate::context::Context;
use crate::durable;
use crate::journal::{Change, origin_file};
use crate::names::{Kernel, Name, Release, is_same_module};
use crate::system_error::SystemError;
use crate::tree::Trees;
use crate::tree::manifest::KernelManifest;
use crate::tree::walk::{self, Filter};

/// Below these the generators copy nothing, or only what is named: a machine boots without.
const NOT_FOR_BOOT: [&str; 6] = [
    "kernel/sound",
    "kernel/drivers/gpu",
    "kernel/drivers/media",
    "kernel/drivers/net/wireless",
    "kernel/drivers/bluetooth",
    "kernel/drivers/accel",
];

/// What the administrator wants for a package: `initramfs` in `/etc/dkms/<m>.conf`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Wanted {
    /// The modules that have the place of one of the kernel's that boots machines.
    #[default]
    Auto,
    /// All modules.
    All,
    /// None.
    None,
}

impl Wanted {
    /// Read as the plain assignment that it is: what the machine boots with must not depend on a file that fails.
    fn of(trees: &Trees, name: &Name) -> Self {
        let bytes = durable::read(&trees.outer(format!("/etc/dkms/{name}.conf"))).ok().flatten().unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        match assignments::value(&text, "initramfs").as_deref() {
            Some("yes") => Self::All,
            Some("no") => Self::None,
            _ => Self::Auto,
        }
    }
}

/// The modules of one package beside a kernel's.
#[derive(Debug)]
struct Ours {
    name: Name,
    kernel: Kernel,
    modules: Vec<String>,
    /// The tree has it as installed, and archives nothing of others for it. Else that is to be found out.
    replaces_nothing: bool,
}

/// Stages the list of `release` as it is to be when `beside` is what is installed. `gone`: the modules of the package that is
/// taken out; `found`: files of the kernel's (below its directory) that are being archived, with the names of the modules that
/// take their places.
pub fn stage(
    ctx: &Context,
    change: &mut Change<'_>,
    release: &Release,
    beside: &KernelManifest,
    gone: &[String],
    found: &[(String, PathBuf)],
) {
    let old = read(&ctx.trees, release);
    let ours = of_manifest(release, beside);
    let known: BTreeSet<&String> = ours.iter().flat_map(|ours| &ours.modules).chain(gone).collect();
    let mut new = wanted(&ctx.trees, &ours, &old, found);
    // What the classic installed is in no manifest: that stays until somebody looks at the tree.
    new.extend(old.iter().filter(|name| !known.contains(name)).cloned());
    let path = ctx.trees.image_list(release);
    if new.is_empty() {
        change.remove_file(&path);
    } else if new != old {
        change.stage_bytes(text(&new).into_bytes(), 0o644, &path);
    }
}

/// Makes the list of `release` right, whoever installed what: the classic leaves none, and the administrator's word may have
/// changed. Gives whether it was not.
pub fn refresh(ctx: &Context, release: &Release) -> Result<bool, SystemError> {
    let trees = &ctx.trees;
    if trees.is_another || !trees.modules_dir(release).is_dir() {
        return Ok(false);
    }
    let old = read(trees, release);
    let beside = KernelManifest::beside(trees, release)?.unwrap_or_default();
    let mut ours = of_manifest(release, &beside);
    of_tree(trees, release, &beside, &mut ours);
    let new = wanted(trees, &ours, &old, &[]);
    if new != old {
        let _lock = ctx.lock_tree()?;
        let path = trees.image_list(release);
        let written = if new.is_empty() {
            durable::remove_any(&path)
        } else {
            durable::write_atomic(&path, text(&new).as_bytes(), 0o644)
        };
        written?;
    }
    Ok(new != old)
}

/// The names in the list of `release`.
pub fn read(trees: &Trees, release: &Release) -> BTreeSet<String> {
    let text = durable::text(&trees.image_list(release)).unwrap_or_default();
    text.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

fn text(names: &BTreeSet<String>) -> String {
    names.iter().map(|name| format!("{name}\n")).collect()
}

fn of_manifest(release: &Release, beside: &KernelManifest) -> Vec<Ours> {
    let entries = beside.installed.iter().map(|entry| Ours {
        name: entry.package.name.clone(),
        kernel: Kernel { release: release.clone(), arch: entry.arch.clone() },
        modules: entry.files.iter().map(|file| file.name.clone()).collect(),
        replaces_nothing: false,
    });
    entries.collect()
}

/// Adds to `ours` what the tree knows of it, and what it calls installed and the manifest does not know: the classic's. What that
/// built tells the names.
fn of_tree(trees: &Trees, release: &Release, beside: &KernelManifest, ours: &mut Vec<Ours>) {
    let filter = Filter { kernels: vec![(release.to_string(), None)], ..Filter::default() };
    let packages = walk::walk(trees, &filter).packages;
    let mut plain = BTreeSet::new();
    for entry in packages {
        for built in entry.built.iter().filter(|built| built.installed) {
            let name = &entry.package.name;
            if built.nothing_archived {
                plain.insert((name.clone(), built.kernel.clone()));
            }
            if beside.find_name(name, &built.kernel.arch).is_some() {
                continue;
            }
            let dir = trees.artefact_modules(&entry.package, &built.kernel);
            let files = std::fs::read_dir(dir).into_iter().flatten().flatten();
            let modules = files.filter_map(|file| stem(Path::new(&file.file_name()))).collect();
            ours.push(Ours { name: name.clone(), kernel: built.kernel.clone(), modules, replaces_nothing: false });
        }
    }
    for ours in ours {
        ours.replaces_nothing = plain.contains(&(ours.name.clone(), ours.kernel.clone()));
    }
}

/// Which modules of `ours` the image needs.
fn wanted(trees: &Trees, ours: &[Ours], old: &BTreeSet<String>, found: &[(String, PathBuf)]) -> BTreeSet<String> {
    let mut wanted = BTreeSet::new();
    // Most packages have no file there.
    let etc = trees.outer("/etc/dkms");
    let files = std::fs::read_dir(etc).map(|entries| entries.flatten().map(|entry| entry.file_name()).collect());
    let files: BTreeSet<_> = files.unwrap_or_default();
    for ours in ours {
        let has_file = files.contains(std::ffi::OsStr::new(&format!("{}.conf", ours.name)));
        let archived = match if has_file { Wanted::of(trees, &ours.name) } else { Wanted::default() } {
            Wanted::None => continue,
            Wanted::All => {
                wanted.extend(ours.modules.iter().cloned());
                continue;
            }
            Wanted::Auto if ours.replaces_nothing => None,
            Wanted::Auto => Some(archived(trees, &ours.name, &ours.kernel)),
        };
        // Where the tree does not know that it is installed (snapshots, deployed images, a tree that was lost and has been told
        // only of the source), nobody knows any more what was replaced.
        let as_before = archived
            .as_ref()
            .is_some_and(|archived| archived.is_err() || !trees.active_link(&ours.name, &ours.kernel).is_symlink());
        let archived = archived.and_then(Result::ok).unwrap_or_default();
        let replaces = |module: &str| {
            let fresh = found.iter().any(|(name, path)| is_same_module(name, module) && boots(path));
            let before =
                archived.iter().any(|path| stem(path).is_some_and(|name| is_same_module(&name, module)) && boots(path));
            fresh || before || (as_before && old.contains(module))
        };
        wanted.extend(ours.modules.iter().filter(|module| replaces(module)).cloned());
    }
    wanted
}

/// Where the archived originals of a package came from, below the kernel's directory. One without a note counts as the
/// kernel's own, at an unknown place.
fn archived(trees: &Trees, name: &Name, kernel: &Kernel) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut dirs = vec![trees.originals(name, kernel)];
    while let Some(dir) = dirs.pop() {
        let entries = match fs_err::read_dir(dir) {
            Err(error) if durable::missing(&error) => continue,
            other => other?,
        };
        for entry in entries {
            let entry = entry?;
            let path = entry.path();
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                dirs.push(path);
            } else if stem(&path).is_some() {
                let note = durable::text(&origin_file(&path)).unwrap_or_default();
                let origin = Path::new(note.lines().next().unwrap_or_default());
                let marker = format!("/{}/", kernel.release);
                let below = origin.to_str().and_then(|text| Some(text.split_once(&marker)?.1));
                found.push(below.map_or_else(|| entry.file_name().into(), PathBuf::from));
            }
        }
    }
    Ok(found)
}

/// Whether a machine may need the module at `path`, below the kernel's directory, to boot.
fn boots(path: &Path) -> bool {
    !NOT_FOR_BOOT.iter().any(|dir| path.starts_with(dir))
}

/// The module's name in a file's; `None` if it is none.
fn stem(path: &Path) -> Option<String> {
    let file = path.file_name()?.to_str()?;
    let (stem, end) = file.split_once(".ko")?;
    (end.is_empty() || matches!(end, ".gz" | ".xz" | ".zst")).then(|| stem.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::Arch;
    use crate::root::Root;

    fn kernel() -> Kernel {
        Kernel { release: Release::new("6.1").unwrap(), arch: Arch::new("x86_64").unwrap() }
    }

    fn ours(name: &str, modules: &[&str]) -> Ours {
        Ours {
            name: Name::new(name).unwrap(),
            kernel: kernel(),
            modules: modules.iter().map(|name| (*name).to_owned()).collect(),
            replaces_nothing: false,
        }
    }

    fn put(trees: &Trees, path: &str, text: &str) {
        let path = trees.outer(path);
        fs_err::create_dir_all(path.parent().unwrap()).unwrap();
        fs_err::write(path, text).unwrap();
    }

    fn set(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn what_replaces_a_module_that_boots() {
        let tmp = tempfile::tempdir().unwrap();
        let trees = Trees::new(Root::at(tmp.path()).unwrap());
        let old = "/var/lib/dkms/disk/original_module/6.1/x86_64";
        put(&trees, &format!("{old}/virtio_blk.ko.xz"), "");
        put(
            &trees,
            &format!("{old}/virtio_blk.ko.xz.origin"),
            "/lib/modules/6.1/kernel/drivers/block/virtio_blk.ko.xz\n",
        );
        put(&trees, &format!("{old}/collisions/extra/third.ko"), "");
        put(&trees, &format!("{old}/collisions/extra/third.ko.origin"), "/usr/lib/modules/6.1/extra/third.ko\n");
        put(&trees, &format!("{old}/snd_a.ko"), "");
        put(&trees, &format!("{old}/snd_a.ko.origin"), "/lib/modules/6.1/kernel/sound/snd_a.ko\n");
        put(&trees, &format!("{old}/noteless.ko.zst"), "");
        put(&trees, &format!("{old}/README"), "");
        let disk = [ours("disk", &["virtio-blk", "third", "snd_a", "noteless", "mine"])];
        let none = BTreeSet::new();
        let chosen = |conf: &str, old: &BTreeSet<String>, found: &[(String, PathBuf)]| {
            put(&trees, "/etc/dkms/disk.conf", conf);
            wanted(&trees, &disk, old, found)
        };
        let replaced = set(&["virtio-blk", "third", "noteless"]);
        assert_eq!(chosen("", &none, &[]), replaced);
        assert_eq!(chosen("# initramfs=no\ninitramfs=\"auto\"\n", &none, &[]), replaced);
        assert_eq!(chosen("initramfs=no\n", &replaced, &[]), none);
        assert_eq!(
            chosen("initramfs='no'\ninitramfs=\"yes\"\n", &none, &[]),
            set(&["virtio-blk", "third", "snd_a", "noteless", "mine"])
        );
        // What is being archived now counts as what is; and a name of before does not outlive what it stood for.
        let found = [("mine".to_owned(), PathBuf::from("kernel/fs/mine/mine.ko"))];
        let mut more = replaced.clone();
        more.insert("mine".to_owned());
        assert_eq!(chosen("", &none, &found), more);
        std::os::unix::fs::symlink("1/6.1/x86_64", trees.outer("/var/lib/dkms/disk/kernel-6.1-x86_64")).unwrap();
        assert_eq!(chosen("", &set(&["mine"]), &[]), replaced);
        let gpu = [("mine".to_owned(), PathBuf::from("kernel/drivers/gpu/drm/mine.ko"))];
        assert_eq!(chosen("", &none, &gpu), replaced);
    }

    #[test]
    fn where_the_tree_knows_no_installation_the_list_is_all_there_is() {
        let tmp = tempfile::tempdir().unwrap();
        let trees = Trees::new(Root::at(tmp.path()).unwrap());
        let disk = [ours("disk", &["virtio_blk", "mine"])];
        assert_eq!(wanted(&trees, &disk, &set(&["virtio_blk", "gone"]), &[]), set(&["virtio_blk"]));
        put(&trees, "/var/lib/dkms/disk/1/source/dkms.conf", "");
        assert_eq!(wanted(&trees, &disk, &set(&["virtio_blk", "gone"]), &[]), set(&["virtio_blk"]));
        std::os::unix::fs::symlink("1/6.1/x86_64", trees.outer("/var/lib/dkms/disk/kernel-6.1-x86_64")).unwrap();
        assert_eq!(wanted(&trees, &disk, &set(&["virtio_blk", "gone"]), &[]), set(&[]));
    }

    #[test]
    fn what_can_not_be_read_changes_nothing() {
        let tmp = tempfile::tempdir().unwrap();
        let trees = Trees::new(Root::at(tmp.path()).unwrap());
        put(&trees, "/var/lib/dkms/disk/original_module/6.1/x86_64", "no directory");
        std::os::unix::fs::symlink("1/6.1/x86_64", trees.outer("/var/lib/dkms/disk/kernel-6.1-x86_64")).unwrap();
        let disk = [ours("disk", &["virtio_blk"])];
        assert_eq!(wanted(&trees, &disk, &set(&["virtio_blk"]), &[]), set(&["virtio_blk"]));
    }

    #[test]
    fn what_the_classic_installed_counts() {
        let tmp = tempfile::tempdir().unwrap();
        let trees = Trees::new(Root::at(tmp.path()).unwrap());
        for package in ["disk/1", "idle/1"] {
            put(&trees, &format!("/var/lib/dkms/{package}/6.1/x86_64/module/virtio_blk.ko.xz"), "");
            put(&trees, &format!("/var/lib/dkms/{package}/6.1/x86_64/module/notes.txt"), "");
        }
        let link = trees.outer("/var/lib/dkms/disk/kernel-6.1-x86_64");
        std::os::unix::fs::symlink("1/6.1/x86_64", link).unwrap();
        let mut found = Vec::new();
        of_tree(&trees, &kernel().release, &KernelManifest::default(), &mut found);
        assert_eq!(found.len(), 1);
        assert!(found[0].replaces_nothing);
        put(&trees, "/var/lib/dkms/disk/original_module/6.1/x86_64", "no directory");
        // As the journal says what it has archived.
        trees.snapshot().changed(&trees.outer("/var/lib/dkms/disk/original_module/6.1/x86_64"));
        let mut found = Vec::new();
        of_tree(&trees, &kernel().release, &KernelManifest::default(), &mut found);
        assert!(!found[0].replaces_nothing, "nobody knows");
        assert_eq!((found[0].name.as_str(), &found[0].modules[..]), ("disk", &["virtio_blk".to_owned()][..]));
    }
}
