//! Which initramfs tool a root has, and where a kernel's image is.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::durable::{self, FileError};
use crate::names::Release;
use crate::root::Root;

/// An initramfs tool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tool {
    /// initramfs-tools (Debian, Ubuntu).
    InitramfsTools,
    /// dracut (Fedora, openSUSE, Void; Debian's option).
    Dracut,
    /// mkinitcpio (Arch).
    Mkinitcpio,
}

const TOOLS: [(Tool, &str); 3] =
    [(Tool::InitramfsTools, "update-initramfs"), (Tool::Mkinitcpio, "mkinitcpio"), (Tool::Dracut, "dracut")];

impl Tool {
    /// The tool installed in `root`. Debian's dracut brings an `update-initramfs` as well; where
    /// both are found, initramfs-tools counts only with its own `mkinitramfs`.
    pub fn of(root: &Root) -> Option<Self> {
        let has = |program: &str| {
            ["/usr/sbin", "/usr/bin", "/sbin", "/bin"]
                .iter()
                .any(|dir| root.outer(&Path::new(dir).join(program)).is_file())
        };
        TOOLS
            .iter()
            .filter(|(tool, _)| *tool != Self::InitramfsTools || has("mkinitramfs"))
            .find(|(_, program)| has(program))
            .map(|(tool, _)| *tool)
    }

    /// The command that makes the image of `release` anew, at `image`, which is its path inside the root.
    pub fn command(self, release: &Release, image: &Path) -> Vec<String> {
        let (release, image) = (release.to_string(), image.display().to_string());
        match self {
            Self::InitramfsTools => ["update-initramfs", "-u", "-k", &release].map(String::from).to_vec(),
            Self::Dracut => ["dracut", "--force", "--quiet", &image, &release].map(String::from).to_vec(),
            Self::Mkinitcpio => ["mkinitcpio", "-k", &release, "-g", &image].map(String::from).to_vec(),
        }
    }
}

/// The existing image of kernel `release`, as an outer path. Names of initramfs-tools, dracut and
/// mkinitcpio (which names it after [`pkgbase`](super::headers_package::pkgbase)), then the place
/// of boot loader entries (kernel-install(8)).
pub fn image(root: &Root, release: &Release, pkgbase: Option<&str>) -> Option<PathBuf> {
    let mut names = vec![
        format!("/boot/initrd.img-{release}"),
        format!("/boot/initramfs-{release}.img"),
        format!("/boot/initrd-{release}"),
    ];
    if let Some(base) = pkgbase {
        names.push(format!("/boot/initramfs-{base}.img"));
    }
    let machine = root.outer(Path::new("/etc/machine-id"));
    if let Ok(id) = durable::text(&machine) {
        names.push(format!("/boot/{}/{release}/initrd", id.trim()));
    }
    names.iter().map(|name| root.outer(Path::new(name))).find(|path| path.is_file())
}

/// The files that see to modules of ours in images while our own hooks are not there: a directory that tells of the tool, the file,
/// its mode, and its text (`@`: the modules). What modprobe does not find is passed over.
const LEFT_BEHIND: [(&str, &str, u32, &str); 3] = [
    (
        "/etc/initramfs-tools",
        "/etc/initramfs-tools/hooks/dkms-left",
        0o755,
        "[ \"${1-}\" != prereqs ] || exit 0\n. /usr/share/initramfs-tools/hook-functions\nmanual_add_modules@",
    ),
    ("/etc/dracut.conf.d", "/etc/dracut.conf.d/dkms-left.conf", 0o644, "add_drivers+=\"@ \""),
    ("/etc/mkinitcpio.conf.d", "/etc/mkinitcpio.conf.d/zz-dkms-left.conf", 0o644, "MODULES=(${MODULES[*]}@)"),
];

/// Has the tools of `root` put `modules` into images without our hooks, which are about to go: they lie in the place of the kernel's
/// own, where not all tools look, and a machine may boot with them. Gives the files (inside the root).
pub fn leave_behind(root: &Root, modules: &BTreeSet<String>) -> Result<Vec<PathBuf>, FileError> {
    let mut left = Vec::new();
    for (sign, file, mode, text) in LEFT_BEHIND {
        if modules.is_empty() || !root.outer(Path::new(sign)).is_dir() {
            continue;
        }
        // mkinitcpio fails for a module that is not there, unless its name ends so.
        let end = if sign.contains("mkinitcpio") { "?" } else { "" };
        let words: String = modules.iter().map(|module| format!(" {module}{end}")).collect();
        let text = format!(
            "#!/bin/sh\n# Left by the package dkms when it was removed: modules that it has put in the place of the kernel's own.\n\
             # Delete this when they are gone; dkms does when it is installed again.\n{}\n",
            text.replace('@', &words)
        );
        let path = root.outer(Path::new(file));
        if let Some(dir) = path.parent() {
            std::fs::create_dir_all(dir).map_err(durable::at("create", dir))?;
        }
        durable::write_atomic(&path, text.as_bytes(), mode)?;
        left.push(file.into());
    }
    Ok(left)
}

/// Deletes what [`leave_behind`] has written: our hooks are there again.
pub fn take_back(root: &Root) -> Result<(), FileError> {
    LEFT_BEHIND.iter().try_for_each(|(_, file, ..)| durable::remove_any(&root.outer(Path::new(file))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root_with(files: &[&str]) -> (tempfile::TempDir, Root) {
        let tmp = tempfile::tempdir().unwrap();
        for file in files {
            let file = tmp.path().join(file);
            fs_err::create_dir_all(file.parent().unwrap()).unwrap();
            fs_err::write(file, "").unwrap();
        }
        let root = Root::at(tmp.path()).unwrap();
        (tmp, root)
    }

    #[test]
    fn tools() {
        for (files, tool) in [
            (vec![], None),
            (vec!["usr/sbin/update-initramfs", "usr/sbin/mkinitramfs"], Some(Tool::InitramfsTools)),
            (vec!["usr/sbin/update-initramfs", "usr/bin/dracut"], Some(Tool::Dracut)),
            (vec!["usr/bin/mkinitcpio"], Some(Tool::Mkinitcpio)),
        ] {
            let (_tmp, root) = root_with(&files);
            assert_eq!(Tool::of(&root), tool, "{files:?}");
        }
    }

    #[test]
    fn what_is_left_behind() {
        let (_tmp, root) =
            root_with(&["etc/initramfs-tools/modules", "etc/dracut.conf.d/x", "etc/mkinitcpio.conf.d/x"]);
        let none = BTreeSet::new();
        assert!(leave_behind(&root, &none).unwrap().is_empty());
        let modules: BTreeSet<String> = ["nvme", "virtio_blk"].map(str::to_owned).into();
        let left = leave_behind(&root, &modules).unwrap();
        let texts: Vec<String> = left.iter().map(|file| fs_err::read_to_string(root.outer(file)).unwrap()).collect();
        for (text, last) in texts.iter().zip([
            "manual_add_modules nvme virtio_blk\n",
            "add_drivers+=\" nvme virtio_blk \"\n",
            "MODULES=(${MODULES[*]} nvme? virtio_blk?)\n",
        ]) {
            assert!(text.ends_with(last), "{text}");
        }
        assert_eq!(left.len(), 3);
        take_back(&root).unwrap();
        take_back(&root).unwrap();
        assert!(left.iter().all(|file| !root.outer(file).exists()));
        let (_tmp, bare) = root_with(&["etc/hostname"]);
        assert!(leave_behind(&bare, &modules).unwrap().is_empty());
    }

    #[test]
    fn images() {
        let (_tmp, root) = root_with(&["boot/initrd.img-6.1", "boot/initramfs-linux.img", "boot/0123/6.3/initrd"]);
        fs_err::create_dir(root.dir().join("etc")).unwrap();
        fs_err::write(root.dir().join("etc/machine-id"), "0123\n").unwrap();
        let third = Release::new("6.3").unwrap();
        assert_eq!(image(&root, &third, None), Some(root.dir().join("boot/0123/6.3/initrd")));
        let one = Release::new("6.1").unwrap();
        let other = Release::new("6.2").unwrap();
        assert_eq!(image(&root, &one, None), Some(root.dir().join("boot/initrd.img-6.1")));
        assert_eq!(image(&root, &other, None), None);
        assert_eq!(image(&root, &other, Some("linux")), Some(root.dir().join("boot/initramfs-linux.img")));
    }
}
