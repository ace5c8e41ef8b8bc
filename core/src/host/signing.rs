//! How distributions sign the modules of others: with whose key, and by which program.

use std::path::{Path, PathBuf};

use super::Distribution;

/// The key that shim-signed's `update-secureboot-policy` makes.
pub const SHIM_KEY: &str = "/var/lib/shim-signed/mok/MOK.priv";
/// Its certificate.
pub const SHIM_CERT: &str = "/var/lib/shim-signed/mok/MOK.der";
/// The key that akmods' `kmodgenca` makes.
pub const AKMODS_KEY: &str = "/etc/pki/akmods/private/private_key.priv";
/// Its certificate.
pub const AKMODS_CERT: &str = "/etc/pki/akmods/certs/public_key.der";

/// What a distribution has of its own for signing modules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ModuleSigning {
    /// One key for the machine ([`SHIM_KEY`]), which a program of shim-signed makes and enrols, and the program `kmodsign`
    /// (Ubuntu).
    ShimSigned,
    /// The kernel's `sign-file` in a package of its own, `linux-kbuild` (Debian).
    KbuildPackage,
    /// The key that the user's kernels are signed with, from make.conf or the kernel's configuration (Gentoo).
    KernelsKey,
    /// Nothing.
    Nothing,
}

impl Distribution {
    /// What it has of its own for signing modules.
    pub fn module_signing(&self) -> ModuleSigning {
        let ways = [
            ("ubuntu", ModuleSigning::ShimSigned),
            ("debian", ModuleSigning::KbuildPackage),
            ("gentoo", ModuleSigning::KernelsKey),
        ];
        ways.into_iter().find(|(name, _)| self.is_like(&[name])).map_or(ModuleSigning::Nothing, |(_, way)| way)
    }
}

impl ModuleSigning {
    /// Where its like of the kernel's `sign-file` is, if it is not with the headers of the kernel `release`. `program`: where a
    /// program is in PATH.
    pub fn sign_file(self, release: &str, program: &dyn Fn(&str) -> Option<PathBuf>) -> Option<PathBuf> {
        match self {
            Self::ShimSigned => program("kmodsign")
                .or_else(|| Some(format!("/usr/src/linux-headers-{release}/scripts/sign-file").into())),
            Self::KbuildPackage => {
                let version = release.rsplit_once('.').map_or(release, |(head, _)| head);
                Some(format!("/usr/lib/linux-kbuild-{version}/scripts/sign-file").into())
            }
            Self::KernelsKey => Some(format!("/usr/src/linux-{release}/scripts/sign-file").into()),
            Self::Nothing => None,
        }
    }

    /// The program that makes `key`, if that is the one of the distribution.
    pub fn maker_of(self, key: &Path) -> Option<&'static str> {
        (self == Self::ShimSigned && key == Path::new(SHIM_KEY)).then_some("update-secureboot-policy")
    }
}
