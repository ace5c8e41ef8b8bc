//! Which distribution a root holds, and what follows from that.

use std::io;
use std::path::{Path, PathBuf};

use crate::assignments;
use crate::durable;
use crate::names::Release;
use crate::root::Root;

/// Why nothing is known about the distribution. The classic's exit code for both is 4.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no os-release file.
    #[error("cannot tell the distribution: neither {} nor {} exists", first.display(), second.display())]
    NoOsRelease {
        /// The file looked for first, as an outer path.
        first: PathBuf,
        /// The other.
        second: PathBuf,
    },
    /// It could not be read.
    #[error("cannot read {} to tell the distribution: {source}", path.display())]
    Unreadable {
        /// The file, as an outer path.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
}

/// A distribution, as its os-release (os-release(5)) describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Distribution {
    /// `ID`.
    pub id: String,
    /// `VERSION_ID`, or nothing.
    pub version: String,
    /// The word or words that the classic's patterns are tried on: `ubuntu` for Ubuntu, else
    /// `ID_LIKE` if that is set, even to nothing, else `ID`.
    pub family: String,
}

impl Distribution {
    /// Reads the root's `/etc/os-release`, or `/usr/lib/os-release`.
    pub fn of(root: &Root) -> Result<Self, Error> {
        let first = root.outer(Path::new("/etc/os-release"));
        let second = root.outer(Path::new("/usr/lib/os-release"));
        for path in [&first, &second] {
            match durable::bytes(path) {
                Ok(bytes) => return Ok(Self::parse(&String::from_utf8_lossy(&bytes))),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(source) => {
                    let path = path.clone();
                    return Err(Error::Unreadable { path, source });
                }
            }
        }
        Err(Error::NoOsRelease { first, second })
    }

    /// Reads the text of an os-release. Nothing in it is executed.
    pub fn parse(text: &str) -> Self {
        // "linux" is the default that os-release(5) names.
        let id = assignments::value(text, "ID").unwrap_or_else(|| "linux".into());
        let family = match assignments::value(text, "ID_LIKE") {
            Some(like) if id != "ubuntu" => like,
            _ => id.clone(),
        };
        let version = assignments::value(text, "VERSION_ID").unwrap_or_default();
        Self { id, version, family }
    }

    /// Whether its packages are full of deprecated `CLEAN`, of which its own dkms says nothing.
    pub fn tolerates_clean(&self) -> bool {
        self.is_like(&["debian", "ubuntu"])
    }

    /// Whether the family begins with one of `words`: the classic's pattern test. Outside of this room it is for those who make
    /// packages for a family; others ask what follows from it.
    pub fn is_like(&self, words: &[&str]) -> bool {
        words.iter().any(|word| self.family.starts_with(word))
    }

    /// The directory below `<install tree>/<K>` where all modules go, whatever the package says;
    /// `None` where the package's own `DEST_MODULE_LOCATION` counts. `addon_dir` is the value of
    /// `ADDON_MODULES_DIR`.
    pub fn install_location(&self, addon_dir: Option<&str>) -> Option<String> {
        if let Some(dir) = addon_dir.filter(|dir| !dir.is_empty()) {
            return Some(format!("/{dir}"));
        }
        let location = if self.is_like(&["fedora", "centos", "rhel"]) {
            "/extra"
        } else if self.is_like(&["sles", "suse", "opensuse"]) {
            "/updates"
        } else if self.is_like(&["debian", "ubuntu", "arch"]) {
            "/updates/dkms"
        } else {
            return None;
        };
        Some(location.to_owned())
    }

    /// The architecture label of a kernel: on rpm distributions the architecture that its release
    /// ends with (`….fc43.x86_64`), if it does; elsewhere `machine` (`uname -m`).
    pub fn arch_label(&self, release: &Release, machine: &str) -> String {
        if self.is_like(&["debian", "ubuntu", "arch", "gentoo"]) {
            return machine.to_owned();
        }
        // A flavour may follow the architecture: `….x86_64+debug`, `….aarch64+64k`.
        let plain = release.as_str().split('+').next().unwrap_or_default();
        plain.rsplit('.').next().filter(|part| RPM_ARCHES.contains(part)).unwrap_or(machine).to_owned()
    }
}

/// Architectures that rpm's kernels are built for and end their releases with.
const RPM_ARCHES: [&str; 10] =
    ["x86_64", "aarch64", "ppc64le", "ppc64", "s390x", "riscv64", "i686", "i586", "armv7hl", "loongarch64"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_and_locations() {
        for (text, family, location) in [
            ("ID=debian\nVERSION_ID=\"13\"\n", "debian", Some("/updates/dkms")),
            ("ID=ubuntu\nID_LIKE=debian\n", "ubuntu", Some("/updates/dkms")),
            ("ID=linuxmint\nID_LIKE=\"ubuntu debian\"\n", "ubuntu debian", Some("/updates/dkms")),
            ("ID=raspbian\nID_LIKE=debian\n", "debian", Some("/updates/dkms")),
            ("ID=fedora\n", "fedora", Some("/extra")),
            ("ID=\"rhel\"\nID_LIKE=\"fedora\"\n", "fedora", Some("/extra")),
            ("ID=\"almalinux\"\nID_LIKE=\"rhel centos fedora\"", "rhel centos fedora", Some("/extra")),
            ("ID=\"opensuse-tumbleweed\"\nID_LIKE=\"opensuse suse\"\n", "opensuse suse", Some("/updates")),
            ("ID='sles'\nID_LIKE='suse'\n", "suse", Some("/updates")),
            ("ID=arch\n", "arch", Some("/updates/dkms")),
            ("ID=manjaro\nID_LIKE=arch\n", "arch", Some("/updates/dkms")),
            ("ID=alpine\n", "alpine", None),
            ("ID=gentoo\n", "gentoo", None),
            ("ID=debian\nID_LIKE=\n", "", None),
            ("", "linux", None),
        ] {
            let distribution = Distribution::parse(text);
            assert_eq!(distribution.family, family, "{text}");
            let got = distribution.install_location(None);
            assert_eq!(got.as_deref(), location, "{text}");
            assert_eq!(distribution.install_location(Some("")), got);
            assert_eq!(distribution.install_location(Some("x")).as_deref(), Some("/x"));
        }
    }

    #[test]
    fn labels() {
        for (text, release, label) in [
            ("ID=debian", "6.12.117+deb13-amd64", "machine"),
            ("ID=debian", "6.12.fc43.x86_64", "machine"),
            ("ID=fedora", "6.12.9-200.fc41.x86_64", "x86_64"),
            ("ID=fedora", "6.12.9-200.fc41.aarch64+64k", "aarch64"),
            ("ID=fedora", "6.12.9", "machine"),
            ("ID=opensuse\nID_LIKE=suse", "6.12.9-1-default", "machine"),
        ] {
            let release = Release::new(release).unwrap();
            let got = Distribution::parse(text).arch_label(&release, "machine");
            assert_eq!(got, label, "{release}");
        }
    }

    #[test]
    fn the_file_of_the_root() {
        let tmp = tempfile::tempdir().unwrap();
        let root = Root::at(tmp.path()).unwrap();
        let error = Distribution::of(&root).unwrap_err();
        assert!(error.to_string().contains("os-release"), "{error}");
        fs_err::create_dir_all(tmp.path().join("usr/lib")).unwrap();
        fs_err::create_dir_all(tmp.path().join("etc")).unwrap();
        fs_err::write(tmp.path().join("usr/lib/os-release"), "ID=arch\n").unwrap();
        assert_eq!(Distribution::of(&root).unwrap().id, "arch");
        std::os::unix::fs::symlink("/usr/lib/os-release", tmp.path().join("etc/os-release")).unwrap();
        assert_eq!(Distribution::of(&root).unwrap().id, "arch");
        fs_err::remove_file(tmp.path().join("etc/os-release")).unwrap();
        fs_err::create_dir(tmp.path().join("etc/os-release")).unwrap();
        let error = Distribution::of(&root).unwrap_err();
        assert!(matches!(error, Error::Unreadable { .. }), "{error}");
    }
}
