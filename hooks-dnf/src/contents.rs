//! What a package brings, by the paths in it: surer than its name, which every vendor gives as they like.

use std::collections::BTreeSet;

use dkms_core::names;

/// What of a package concerns us.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Contents {
    /// Releases of the kernels whose image is in it.
    pub kernels: BTreeSet<String>,
    /// Releases of the kernels whose headers are in it.
    pub headers: BTreeSet<String>,
    /// Module packages whose source is in it.
    pub sources: BTreeSet<names::Package>,
}

impl Contents {
    /// Sorts the `paths` of a package of this `version`. Debug information, which repeats the kernel's paths below
    /// `/usr/lib/debug`, is none of it.
    pub fn of<'a>(paths: impl Iterator<Item = &'a str>, version: &str) -> Self {
        let mut found = Self::default();
        let mut links = BTreeSet::new();
        let mut other_sources = false;
        for path in paths {
            let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
            match parts.strip_prefix(&["usr"]).unwrap_or(&parts) {
                ["lib", "modules", kernel, file] if is_image(file) => _ = found.kernels.insert((*kernel).to_owned()),
                // A link, or an empty directory: kernels of Fedora have it too, and the headers do not come with it.
                ["lib", "modules", kernel, "build"] => _ = links.insert((*kernel).to_owned()),
                ["lib", "modules", kernel, "build", ..] | ["src", "kernels", kernel, _, ..] => {
                    found.headers.insert((*kernel).to_owned());
                }
                ["boot", file] => found.kernels.extend(booted(file)),
                ["src", directory, "dkms.conf"] => found.sources.extend(source(directory, version)),
                ["src", _, _, ..] => other_sources = true,
                _ => {}
            }
        }
        // SUSE's headers are a tree of their own name in /usr/src, which the link leads to.
        if other_sources {
            found.headers.extend(links);
        }
        found
    }

    /// Whether there is anything.
    pub fn is_empty(&self) -> bool {
        self.kernels.is_empty() && self.headers.is_empty() && self.sources.is_empty()
    }
}

/// Whether a file beside the modules is the kernel: `vmlinuz`, `vmlinux.xz`, `vmlinuz-virt.efi`, SUSE's `Image` on arm64
/// and `image` on s390x.
fn is_image(file: &str) -> bool {
    ["vmlinuz", "vmlinux"].iter().any(|name| file.strip_prefix(name).is_some_and(|rest| !rest.starts_with(".h")))
        || ["Image", "image", "zImage"].contains(&file)
}

/// The release of the kernel whose image in `/boot` is called `file`. Those of older distributions are there only.
fn booted(file: &str) -> Option<String> {
    let release = ["vmlinuz-", "vmlinux-", "Image-", "image-"].iter().find_map(|start| file.strip_prefix(start))?;
    let release = [".gz", ".xz", ".zst"].iter().find_map(|end| release.strip_suffix(end)).unwrap_or(release);
    // Links such as `vmlinuz-default` name no release, and the rescue image is nobody's kernel.
    let names_one = release.starts_with(|first: char| first.is_ascii_digit()) && !release.starts_with("0-rescue");
    names_one.then(|| release.to_owned())
}

/// The module package in `/usr/src/<directory>`: its version is what the package's is, or what stands behind the last `-`.
fn source(directory: &str, version: &str) -> Option<names::Package> {
    let name = directory.strip_suffix(version).and_then(|name| name.strip_suffix('-'));
    let (name, version) = match name {
        Some(name) => (name, version),
        None => directory.rsplit_once('-')?,
    };
    names::Package::new(name, version).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contents(paths: &[&str], version: &str) -> [String; 3] {
        let found = Contents::of(paths.iter().copied(), version);
        let join = |set: &BTreeSet<String>| set.iter().cloned().collect::<Vec<_>>().join(" ");
        let sources: BTreeSet<String> = found.sources.iter().map(ToString::to_string).collect();
        [join(&found.kernels), join(&found.headers), join(&sources)]
    }

    #[test]
    fn kernels_whatever_they_are_called() {
        for (paths, kernel) in [
            // Fedora's kernel-core has the link that leads to the headers, and not the headers.
            (
                &["/lib/modules/7.1-1.fc99.x86_64/vmlinuz", "/lib/modules/7.1-1.fc99.x86_64/build"][..],
                "7.1-1.fc99.x86_64",
            ),
            (&["/usr/lib/modules/6.4.0-150600.21-default/Image"], "6.4.0-150600.21-default"),
            (&["/boot/vmlinuz-3.10.0-1.el7.x86_64", "/boot/vmlinuz-0-rescue", "/boot/grub/x"], "3.10.0-1.el7.x86_64"),
            (&["/boot/vmlinux-6.4.0-1-default.gz"], "6.4.0-1-default"),
            (&["/lib/modules/6.1-1.x86_64/vmlinuz-virt.efi"], "6.1-1.x86_64"),
            (&["/lib/modules/6.1-1.x86_64/kernel/a.ko", "/usr/lib/debug/lib/modules/6.1-1.x86_64/vmlinux"], ""),
            (&["/boot/vmlinuz-default", "/lib/modules/6.1/vmlinux.h"], ""),
        ] {
            assert_eq!(contents(paths, "1"), [kernel, "", ""], "{paths:?}");
        }
    }

    #[test]
    fn headers_in_every_layout() {
        for (paths, kernel) in [
            (
                &["/usr/src/kernels/6.1-1.x86_64+debug", "/usr/src/kernels/6.1-1.x86_64+debug/Makefile"][..],
                "6.1-1.x86_64+debug",
            ),
            (
                &["/usr/lib/modules/6.4.0-1-default/build", "/usr/src/linux-6.4.0-1-obj/x86_64/default/Makefile"],
                "6.4.0-1-default",
            ),
            (&["/lib/modules/6.1/build", "/lib/modules/6.1/build/Makefile"], "6.1"),
            (&["/lib/modules/6.1/build", "/lib/modules/6.1/source"], ""),
        ] {
            assert_eq!(contents(paths, "1"), ["", kernel, ""], "{paths:?}");
        }
    }

    #[test]
    fn module_packages() {
        for (path, version, package) in [
            ("/usr/src/hello-1.0/dkms.conf", "1.0", "hello/1.0"),
            ("/usr/src/my-hello-1.0-2/dkms.conf", "1.0-2", "my-hello/1.0-2"),
            ("/usr/src/zfs-2.2.1/dkms.conf", "9", "zfs/2.2.1"),
            ("/usr/src/hello/dkms.conf", "1", ""),
            ("/usr/src/hello-1.0/src/dkms.conf", "1.0", ""),
        ] {
            assert_eq!(contents(&[path], version), ["", "", package], "{path}");
        }
    }
}
