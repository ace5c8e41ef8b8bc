//! Signing modules in this process.

use std::fmt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use ring::rand::SystemRandom;
use ring::rsa::KeyPair;

use super::append::{self, Split};
use super::{Certificate, Hash, SignError, key, pkcs7};

/// How much younger than a run a certificate may be without a word about it.
const SLACK: Duration = Duration::from_secs(3600);

/// A key and certificate that belong together, ready to sign.
pub struct Signer {
    key: KeyPair,
    key_path: PathBuf,
    cert: Certificate,
    hash: Hash,
    notes: Vec<String>,
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signer")
            .field("key", &self.key_path)
            .field("subject", &self.cert.subject_name())
            .field("hash", &self.hash)
            .finish_non_exhaustive()
    }
}

impl Signer {
    /// Reads `key` and `cert` (outer paths) and checks that they are a pair and not expired at
    /// `now`. A key that only the `sign-file` program can use gives an error for which
    /// [`SignError::program_may_help`] holds.
    ///
    /// A certificate that is not valid *yet* is only noted: the kernel does not look at dates, and
    /// machines without a clock battery build modules at boot.
    pub fn load(key: &Path, cert: &Path, hash: Hash, now: SystemTime) -> Result<Self, SignError> {
        let pair = key::load(key)?;
        let certificate = Certificate::load(cert)?;
        let subject = || certificate.subject_name().unwrap_or_default();
        if !certificate.is_rsa || pair.public().as_ref() != certificate.public_key {
            return Err(SignError::Mismatch { key: key.to_owned(), cert: cert.to_owned(), subject: subject() });
        }
        if certificate.expired(now) {
            return Err(SignError::Expired { path: cert.to_owned(), subject: subject() });
        }
        let mut notes = Vec::new();
        // `now` is when the run began: a certificate that it makes itself is a little younger.
        if certificate.not_yet_valid(now + SLACK) {
            notes.push(format!("the certificate {} is not valid yet by this machine's clock", cert.display()));
        }
        let mode = fs_err::metadata(key).map_or(0, |meta| meta.permissions().mode() & 0o777);
        if mode & 0o077 != 0 {
            notes.push(format!(
                "the signing key {} is accessible to other users (mode {mode:04o}); chmod it to 0600",
                key.display()
            ));
        }
        Ok(Self { key: pair, key_path: key.to_owned(), cert: certificate, hash, notes })
    }

    /// What the user should know about this key although it works.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// The certificate: subject, issuer, serial number, fingerprints.
    pub fn certificate(&self) -> &Certificate {
        &self.cert
    }

    /// The hash signed with.
    pub fn hash(&self) -> Hash {
        self.hash
    }

    /// The module (uncompressed) with a signature appended, byte for byte as the kernel's
    /// `sign-file` makes it. A signature it already has is replaced.
    pub fn sign(&self, module: &[u8]) -> Result<Vec<u8>, SignError> {
        let payload = append::strip_signature(module);
        if append::split(payload) == Split::Broken {
            return Err(SignError::BrokenModule);
        }
        let failed = || SignError::Library { key: self.key_path.clone() };
        let mut signature = vec![0; self.key.public().modulus_len()];
        // PKCS#1 v1.5 is deterministic; the random numbers only blind the computation.
        self.key.sign(self.hash.signing(), &SystemRandom::new(), payload, &mut signature).map_err(|_| failed())?;
        let message = pkcs7::write(&self.cert, self.hash, &signature).map_err(|_| failed())?;
        append::join(payload, &message).ok_or_else(failed)
    }
}
