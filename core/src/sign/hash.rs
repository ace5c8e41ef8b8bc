//! The hashes that signatures are made with.

use ring::signature::{self, RsaEncoding, RsaParameters};

/// A hash we can sign with in this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Hash {
    /// SHA-256.
    Sha256,
    /// SHA-384.
    Sha384,
    /// SHA-512.
    Sha512,
}

/// Content of the object identifiers 2.16.840.1.101.3.4.2.N (NIST CSOR), without the last arc.
const NIST_HASHES: [u8; 8] = [0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02];

impl Hash {
    /// The hash that the kernel configuration calls `name` (CONFIG_MODULE_SIG_HASH); `None` for
    /// those that need the `sign-file` program.
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "sha256" => Some(Self::Sha256),
            "sha384" => Some(Self::Sha384),
            "sha512" => Some(Self::Sha512),
            _ => None,
        }
    }

    /// The kernel's word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sha384 => "sha384",
            Self::Sha512 => "sha512",
        }
    }

    pub(super) fn oid(self) -> [u8; 9] {
        let last = match self {
            Self::Sha256 => 1,
            Self::Sha384 => 2,
            Self::Sha512 => 3,
        };
        let mut oid = [last; 9];
        oid[..8].copy_from_slice(&NIST_HASHES);
        oid
    }

    pub(super) fn signing(self) -> &'static dyn RsaEncoding {
        match self {
            Self::Sha256 => &signature::RSA_PKCS1_SHA256,
            Self::Sha384 => &signature::RSA_PKCS1_SHA384,
            Self::Sha512 => &signature::RSA_PKCS1_SHA512,
        }
    }

    pub(super) fn verifying(self) -> &'static RsaParameters {
        match self {
            Self::Sha256 => &signature::RSA_PKCS1_2048_8192_SHA256,
            Self::Sha384 => &signature::RSA_PKCS1_2048_8192_SHA384,
            Self::Sha512 => &signature::RSA_PKCS1_2048_8192_SHA512,
        }
    }
}

/// The kernel's word for the hash with this object identifier (content bytes); for display.
pub(super) fn name_of_oid(oid: &[u8]) -> String {
    let nist = oid.strip_prefix(&NIST_HASHES[..]);
    match (nist, oid) {
        (Some([1]), _) => "sha256",
        (Some([2]), _) => "sha384",
        (Some([3]), _) => "sha512",
        (Some([4]), _) => "sha224",
        (Some([8]), _) => "sha3-256",
        (Some([9]), _) => "sha3-384",
        (Some([10]), _) => "sha3-512",
        (_, [0x2b, 0x0e, 0x03, 0x02, 0x1a]) => "sha1",
        _ => "unknown",
    }
    .to_owned()
}
