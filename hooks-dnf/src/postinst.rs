//! `/usr/lib/dkms/common.postinst NAME VERSION [TARBALL_ROOT [ARCH [UPGRADE]]]`: what the scriptlets of some vendors'
//! packages call (docs/contract.md 9.2 and 9.5).

use std::path::{Path, PathBuf};

use dkms_core::event::{Arrival, Event, EventOptions};
use dkms_core::names::Package;

use crate::run::{self, dkms};
use crate::say;

/// The package could not be registered from its tarball (docs/contract.md 9.2).
const BAD_TARBALL: u8 = 2;
/// `dkms add` of what is registered (docs/contract.md 2.15).
const ALREADY: u8 = 3;

/// Registers the package and has every kernel looked at. What a failed build means, the core's policy decides.
pub fn main(words: &[&str]) -> u8 {
    let (name, version, package) = match words {
        [name, version, ..] if !name.is_empty() && !version.is_empty() => match Package::new(name, version) {
            Ok(package) => (*name, *version, package),
            Err(error) => {
                say(&format!("common.postinst: {error}"));
                return 1;
            }
        },
        _ => {
            say("common.postinst: the name and the version of a package are needed.");
            return 1;
        }
    };
    if let Some(tarball) = tarball(words.get(2).copied(), name, version).filter(|path| path.is_file()) {
        if dkms(&["ldtarball", "--archive", &tarball.to_string_lossy(), "--force"]) != 0 {
            say(&format!("dkms: {} could not be loaded.", tarball.display()));
            return BAD_TARBALL;
        }
    } else {
        match dkms(&["add", "-m", name, "-v", version, "-q", "--rpm_safe_upgrade"]) {
            0 | ALREADY => {}
            code => return code,
        }
    }
    run::report(&Event::SourceArrived(Arrival::Package(package)), &EventOptions::default())
}

/// Where a package may have brought its source as a tarball.
fn tarball(root: Option<&str>, name: &str, version: &str) -> Option<PathBuf> {
    let root = root.filter(|root| !root.is_empty())?;
    Some(Path::new(root).join(format!("{name}-{version}.dkms.tar.gz")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_needed() {
        for words in [&[][..], &["hello"], &["", "1.0"], &["hello", ""]] {
            assert_eq!(main(words), 1, "{words:?}");
        }
    }

    #[test]
    fn a_tarball_is_looked_for_where_one_is_named() {
        assert_eq!(tarball(None, "hello", "1.0"), None);
        assert_eq!(tarball(Some(""), "hello", "1.0"), None);
        let path = tarball(Some("/usr/share/hello-dkms"), "hello", "1.0");
        assert_eq!(path, Some("/usr/share/hello-dkms/hello-1.0.dkms.tar.gz".into()));
    }
}
