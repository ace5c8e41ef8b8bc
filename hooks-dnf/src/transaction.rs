//! Which kernels come with a transaction, and which of them bring their headers. Only names are gone by, as each
//! distribution gives them; nothing is looked up.

use serde::Deserialize;

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
}

/// A kernel that is about to be installed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kernel {
    /// Its release, as `uname -r` will say it.
    pub release: String,
    /// The package that brings its headers.
    pub headers_package: String,
    /// Whether that package comes in the same transaction.
    pub with_headers: bool,
}

/// Flavours whose name the release ends with, behind a `+` (Fedora's and RHEL's kernel.spec). Others (`uek`, `ml`) name
/// the kernel in version and release alone.
const SUFFIXED: [&str; 10] =
    ["debug", "rt", "rt-debug", "64k", "64k-debug", "16k", "16k-debug", "rt-64k", "rt-64k-debug", "zfcpdump"];

/// SUSE's flavours: the package bears the kernel itself, and the release ends with the flavour.
const SUSE: [&str; 7] = ["default", "azure", "rt", "kvmsmall", "longterm", "64kb", "pae"];

/// The kernels that `packages` bring, each once.
pub fn kernels(packages: &[Package]) -> Vec<Kernel> {
    let comes = |package: &&Package| package.direction.is_empty() || package.direction.eq_ignore_ascii_case("in");
    let mut kernels: Vec<Kernel> = Vec::new();
    for package in packages.iter().filter(comes) {
        let Some((release, headers_package)) = kernel(package) else { continue };
        let with_headers = packages.iter().filter(comes).any(|other| {
            other.name == headers_package && other.version == package.version && other.release == package.release
        });
        if !kernels.iter().any(|known| known.release == release) {
            kernels.push(Kernel { release, headers_package, with_headers });
        }
    }
    kernels
}

/// The release of the kernel in `package`, and the package with its headers.
fn kernel(package: &Package) -> Option<(String, String)> {
    let Package { name, version, release, arch, .. } = package;
    if let Some(flavour) = name.strip_prefix("kernel").and_then(|rest| rest.strip_suffix("-core")) {
        let flavour = flavour.strip_prefix('-').unwrap_or(flavour);
        if flavour == "modules" || flavour.ends_with("-modules") {
            return None;
        }
        // RHEL 8 and older have real-time kernels whose release says so itself.
        let suffixed = SUFFIXED.contains(&flavour) && !release.contains(".rt");
        let suffix = if suffixed { format!("+{flavour}") } else { String::new() };
        let headers = if flavour.is_empty() { "kernel-devel".to_owned() } else { format!("kernel-{flavour}-devel") };
        return Some((format!("{version}-{release}.{arch}{suffix}"), headers));
    }
    let flavour = name.strip_prefix("kernel-").filter(|flavour| SUSE.contains(flavour))?;
    // The last part counts rebuilds of the package: 6.4.0-150600.21.1 is kernel 6.4.0-150600.21-default.
    let stem = release.rsplit_once('.').map_or(release.as_str(), |(stem, _)| stem);
    Some((format!("{version}-{stem}-{flavour}"), format!("{name}-devel")))
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
        }
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
            let got = kernel(&package(name, version, release, "IN"));
            assert_eq!(got, expected.map(|(r, h)| (r.to_owned(), h.to_owned())), "{name}");
        }
    }

    #[test]
    fn what_comes_with_its_headers() {
        let found = kernels(&[
            package("kernel-core", "7.2", "1", "IN"),
            package("kernel-core", "7.1", "1", "OUT"),
            package("kernel-devel", "7.2", "1", "IN"),
            package("kernel-core", "7.3", "1", "IN"),
            package("kernel-devel", "7.3", "1", "OUT"),
        ]);
        let found: Vec<_> = found.iter().map(|kernel| (kernel.release.as_str(), kernel.with_headers)).collect();
        assert_eq!(found, [("7.2-1.x86_64", true), ("7.3-1.x86_64", false)]);
    }
}
