//! What comes with a transaction: kernels, their headers, module packages. Where the package's file has been read
//! ([`crate::files`]), its paths tell; else its name does, as each distribution gives it.

use std::collections::BTreeSet;

use dkms_core::names::Release;
use dkms_core::preflight::{Incoming, Kernel, Packages};
use serde::Deserialize;

use crate::contents::Contents;

/// A package of the transaction, as dnf describes it.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// Its version, without epoch.
    pub version: String,
    /// Its release.
    pub release: String,
    /// Its architecture.
    pub arch: String,
    /// `IN` or `OUT`.
    #[serde(default)]
    pub direction: String,
    /// What it takes on the disk, in bytes.
    #[serde(default, deserialize_with = "number")]
    pub install_size: u64,
    /// The repository that it comes from.
    #[serde(default)]
    pub repo_id: String,
    /// Where it is, below that repository; of a file that the user named, where that is.
    #[serde(default)]
    pub location: String,
    /// What its file says, if that has been read.
    #[serde(skip)]
    pub contents: Option<Contents>,
}

/// libdnf5's actions give numbers as text, dnf4's plugin as numbers; what is neither is not worth failing for.
fn number<'de, D: serde::Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
    let value = serde_json::Value::deserialize(from)?;
    Ok(value.as_u64().or_else(|| value.as_str()?.parse().ok()).unwrap_or(0))
}

impl Package {
    /// Whether it comes, or comes anew.
    pub fn comes(&self) -> bool {
        self.direction.is_empty() || self.direction.eq_ignore_ascii_case("in")
    }
}

/// Flavours whose name the release ends with, behind a `+` (Fedora's and RHEL's kernel.spec). Others (`uek`, `ml`) name
/// the kernel in version and release alone.
const SUFFIXED: [&str; 10] =
    ["debug", "rt", "rt-debug", "64k", "64k-debug", "16k", "16k-debug", "rt-64k", "rt-64k-debug", "zfcpdump"];

/// SUSE's flavours: the package bears the kernel itself, and the release ends with the flavour.
const SUSE: [&str; 7] = ["default", "azure", "rt", "kvmsmall", "longterm", "64kb", "pae"];

/// What `packages` bring. `last`: it is not looked again.
pub fn incoming(packages: &[Package], last: bool) -> Incoming {
    let sizes = |comes: bool| packages.iter().filter(|p| p.comes() == comes).map(|p| p.install_size).sum::<u64>();
    let names = |comes: bool| packages.iter().filter(move |p| p.comes() == comes).map(|p| &p.name);
    let come: BTreeSet<&String> = names(true).collect();
    let mut incoming = Incoming {
        bytes: sizes(true).saturating_sub(sizes(false)),
        boot: Some(0),
        again: !last,
        packages: Packages {
            unread: packages.iter().filter(|p| p.comes() && p.contents.is_none()).map(|p| p.name.clone()).collect(),
            going: names(false).filter(|name| !come.contains(name)).cloned().collect(),
            ..Packages::default()
        },
        ..Incoming::default()
    };
    for package in packages.iter().filter(|package| package.comes()) {
        incoming.packages.sources.extend(package.contents.iter().flat_map(|contents| contents.sources.iter().cloned()));
        for text in kernels(package) {
            let Ok(release) = Release::new(text.as_str()) else { continue };
            if incoming.kernels.iter().any(|known| known.release == release) {
                continue;
            }
            let name = headers_package(&package.name);
            let unnamed = named(package).as_ref() != Some(&text);
            let same = |other: &Package| other.version == package.version && other.release == package.release;
            let brings = |other: &Package| match &other.contents {
                Some(contents) => contents.headers.contains(&text),
                // Under another name they may be in any package of the vendor's that is still to be downloaded: the
                // second look will know.
                None => same(other) && (other.name == name || unnamed),
            };
            if packages.iter().any(|other| other.comes() && brings(other)) {
                incoming.headers.insert(release.clone());
            }
            let headers = Some(format!("dnf install {name}-{}-{}", package.version, package.release));
            incoming.kernels.push(Kernel { release, headers });
        }
    }
    incoming
}

/// The releases of the kernels in `package`: by what is in it, else by its name.
fn kernels(package: &Package) -> Vec<String> {
    match &package.contents {
        Some(contents) => contents.kernels.iter().cloned().collect(),
        None => named(package).into_iter().collect(),
    }
}

/// The package with the headers of the kernel in the package `name`.
fn headers_package(name: &str) -> String {
    format!("{}-devel", name.strip_suffix("-core").unwrap_or(name))
}

/// The release of the kernel in `package`, going by its name.
fn named(package: &Package) -> Option<String> {
    let Package { name, version, release, arch, .. } = package;
    if let Some(flavour) = name.strip_prefix("kernel").and_then(|rest| rest.strip_suffix("-core")) {
        let flavour = flavour.strip_prefix('-').unwrap_or(flavour);
        if flavour == "modules" || flavour.ends_with("-modules") {
            return None;
        }
        // RHEL 8 and older have real-time kernels whose release says so itself.
        let suffixed = SUFFIXED.contains(&flavour) && !release.contains(".rt");
        let suffix = if suffixed { format!("+{flavour}") } else { String::new() };
        return Some(format!("{version}-{release}.{arch}{suffix}"));
    }
    let flavour = name.strip_prefix("kernel-").filter(|flavour| SUSE.contains(flavour))?;
    // The last part counts rebuilds of the package: 6.4.0-150600.21.1 is kernel 6.4.0-150600.21-default.
    let stem = release.rsplit_once('.').map_or(release.as_str(), |(stem, _)| stem);
    Some(format!("{version}-{stem}-{flavour}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(name: &str, version: &str, release: &str, direction: &str) -> Package {
        Package {
            name: name.into(),
            version: version.into(),
            release: release.into(),
            arch: "x86_64".into(),
            direction: direction.into(),
            ..Package::default()
        }
    }

    use crate::preflight_table as table;

    #[test]
    fn the_table_that_is_published() {
        table::walk(&|_, with_headers| {
            let names = ["kernel-core", "kernel-devel"];
            let packages: Vec<_> =
                names[..=usize::from(with_headers)].iter().map(|name| package(name, "7.2", "1", "IN")).collect();
            incoming(&packages, true)
        });
    }

    #[test]
    fn releases_and_headers() {
        for (name, version, release, expected) in [
            ("kernel-core", "6.12.9", "200.fc41", Some(("6.12.9-200.fc41.x86_64", "kernel-devel"))),
            ("kernel-debug-core", "6.12.9", "200.fc41", Some(("6.12.9-200.fc41.x86_64+debug", "kernel-debug-devel"))),
            ("kernel-rt-core", "6.12.0", "1.el10", Some(("6.12.0-1.el10.x86_64+rt", "kernel-rt-devel"))),
            ("kernel-rt-core", "4.18.0", "553.rt7.342.el8", Some(("4.18.0-553.rt7.342.el8.x86_64", "kernel-rt-devel"))),
            ("kernel-uek-core", "5.15.0", "1.el9uek", Some(("5.15.0-1.el9uek.x86_64", "kernel-uek-devel"))),
            ("kernel-default", "6.4.0", "150600.21.1", Some(("6.4.0-150600.21-default", "kernel-default-devel"))),
            ("kernel-devel", "6.12.9", "200.fc41", None),
            ("kernel-modules-core", "6.12.9", "200.fc41", None),
            ("kernel-debug-modules-core", "6.12.9", "200.fc41", None),
            ("kernel-default-devel", "6.4.0", "1.1", None),
            ("kernel", "6.12.9", "200.fc41", None),
            ("bash", "5", "1", None),
        ] {
            let got = named(&package(name, version, release, "IN")).map(|release| (release, headers_package(name)));
            assert_eq!(got, expected.map(|(r, h)| (r.to_owned(), h.to_owned())), "{name}");
        }
    }

    fn file(name: &str, direction: &str, paths: &[&str]) -> Package {
        let contents = Some(Contents::of(paths.iter().copied(), "1"));
        Package { contents, install_size: 10, ..package(name, "1", "2", direction) }
    }

    fn brief(packages: &[Package]) -> Vec<(String, String, bool)> {
        let incoming = incoming(packages, true);
        let with = |release: &Release| incoming.headers.contains(release);
        let kernels = incoming.kernels.iter();
        kernels.map(|k| (k.release.to_string(), k.headers.clone().unwrap(), with(&k.release))).collect()
    }

    #[test]
    fn what_comes_with_its_headers() {
        let found = brief(&[
            package("kernel-core", "7.2", "1", "IN"),
            package("kernel-core", "7.1", "1", "OUT"),
            package("kernel-devel", "7.2", "1", "IN"),
            package("kernel-core", "7.3", "1", "IN"),
            package("kernel-devel", "7.3", "1", "OUT"),
        ]);
        let expected = [
            ("7.2-1.x86_64", "dnf install kernel-devel-7.2-1", true),
            ("7.3-1.x86_64", "dnf install kernel-devel-7.3-1", false),
        ];
        assert_eq!(found, expected.map(|(r, h, with)| (r.to_owned(), h.to_owned(), with)));
    }

    #[test]
    fn a_file_tells_more_than_a_name() {
        let kernel = file("kernel-ml", "IN", &["/lib/modules/9.9-1.elrepo.x86_64/vmlinuz"]);
        let headers = file("kernel-ml-sources", "IN", &["/usr/src/kernels/9.9-1.elrepo.x86_64/Makefile"]);
        let of = |with| vec![("9.9-1.elrepo.x86_64".to_owned(), "dnf install kernel-ml-devel-1-2".to_owned(), with)];
        assert_eq!(brief(&[kernel.clone(), headers.clone()]), of(true));
        assert_eq!(brief(std::slice::from_ref(&kernel)), of(false));
        // Of the same vendor, and not there yet.
        let unread = Package { contents: None, ..file("kernel-ml-stuff", "IN", &[]) };
        assert_eq!(brief(&[kernel.clone(), unread.clone()]), of(true));
        assert_eq!(brief(&[kernel.clone(), Package { release: "3".into(), ..unread }]), of(false));
        // What goes brings nothing, and what is called headers and has none neither.
        assert_eq!(brief(&[kernel.clone(), Package { direction: "OUT".into(), ..headers }]), of(false));
        assert_eq!(brief(&[kernel, file("kernel-ml-devel", "IN", &[])]), of(false));
        assert_eq!(brief(&[file("kernel-core", "IN", &["/usr/share/licenses/kernel-core/COPYING"])]), []);
    }

    #[test]
    fn sizes_as_text_and_as_numbers() {
        for (text, size) in [("\"409011\"", 409_011), ("7", 7), ("null", 0), ("\"\"", 0)] {
            let json = format!(
                r#"{{"name":"a","version":"1","release":"1","arch":"noarch","direction":"IN","install_size":{text}}}"#
            );
            assert_eq!(serde_json::from_str::<Package>(&json).unwrap().install_size, size, "{text}");
        }
    }

    #[test]
    fn module_packages_by_name() {
        for (name, comes, goes) in [
            ("zfs-dkms", true, true),
            ("dkms-zfs", true, true),
            ("kmod-zfs-dkms", true, true),
            ("zfs", true, true),
            ("akmod-zfs", true, false),
            ("kmod-zfs", false, false),
            ("zfs-utils", false, false),
            ("zfs2-dkms", false, false),
        ] {
            let of = |packages: &[Package]| {
                let packages = incoming(packages, true).packages;
                (packages.may_bring("zfs"), packages.takes_out("zfs"))
            };
            assert_eq!(of(&[package(name, "1", "1", "IN")]), (comes, false), "{name} comes");
            assert_eq!(of(&[package(name, "1", "1", "OUT")]), (false, goes), "{name} goes");
            let upgrade = [package(name, "2", "1", "IN"), package(name, "1", "1", "OUT")];
            assert_eq!(of(&upgrade), (comes, false), "{name} is upgraded");
            // What is in it is known, and its name says nothing any more.
            assert_eq!(of(&[file(name, "IN", &["/etc/x"])]), (false, false), "{name} has none");
            let renamed = [file("any", "IN", &["/usr/src/zfs-1/dkms.conf"]), package(name, "1", "1", "OUT")];
            assert_eq!(of(&renamed), (true, false), "{name} is renamed");
        }
    }

    #[test]
    fn sources_and_sizes() {
        let coming = incoming(
            &[
                file("a", "IN", &["/usr/src/hello-1/dkms.conf"]),
                file("b", "IN", &[]),
                file("c", "OUT", &["/usr/src/gone-1/dkms.conf"]),
            ],
            true,
        );
        assert_eq!(coming.bytes, 10);
        assert_eq!(coming.packages.sources, BTreeSet::from([dkms_core::names::Package::new("hello", "1").unwrap()]));
    }
}
