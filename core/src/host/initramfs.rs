//! Which initramfs tool a root has, and where a kernel's image is.

use std::path::{Path, PathBuf};

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
    if let Ok(id) = std::fs::read_to_string(machine) {
        names.push(format!("/boot/{}/{release}/initrd", id.trim()));
    }
    names.iter().map(|name| root.outer(Path::new(name))).find(|path| path.is_file())
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
