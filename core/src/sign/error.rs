//! What can go wrong with keys, certificates and signing.

use std::io;
use std::path::PathBuf;

/// Why a module was not signed.
#[derive(Debug, thiserror::Error)]
pub enum SignError {
    /// A key or certificate file can't be read.
    #[error("can't read the {what} {}: {source}", path.display())]
    Read {
        /// "signing key" or "certificate".
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A key or certificate path leads to something else than a file of sensible size.
    #[error("the {what} {} is not a regular file below 1 MiB", path.display())]
    NotAFile {
        /// "signing key" or "certificate".
        what: &'static str,
        /// The path.
        path: PathBuf,
    },
    /// The key file holds no private key.
    #[error("{} holds no private key in PEM or DER; point mok_signing_key at the key file", path.display())]
    NotAKey {
        /// The file.
        path: PathBuf,
    },
    /// The key is not one that can be used in this process; `sign-file` may be able to.
    #[error("the signing key {} is {why}: only the kernel's sign-file program can sign with it", path.display())]
    NeedsProgram {
        /// The key.
        path: PathBuf,
        /// What it is.
        why: &'static str,
    },
    /// The key file looks right, but the key in it is damaged.
    #[error("the private key in {} is damaged: {why}", path.display())]
    DamagedKey {
        /// The file.
        path: PathBuf,
        /// What the library said; nothing secret.
        why: String,
    },
    /// The certificate file holds no certificate.
    #[error("{} holds no X.509 certificate in DER or PEM; point mok_certificate at the public certificate", path.display())]
    NotACertificate {
        /// The file.
        path: PathBuf,
    },
    /// Key and certificate are not a pair.
    #[error(
        "the key {} does not belong to the certificate {} ({subject}): a module signed with them would be refused; correct mok_signing_key or mok_certificate",
        key.display(), cert.display()
    )]
    Mismatch {
        /// The key file.
        key: PathBuf,
        /// The certificate file.
        cert: PathBuf,
        /// The certificate's common name.
        subject: String,
    },
    /// The certificate's time is over.
    #[error("the certificate {} ({subject}) has expired; make a new one with generate_mok and enrol it", path.display())]
    Expired {
        /// The certificate file.
        path: PathBuf,
        /// The certificate's common name.
        subject: String,
    },
    /// The module to sign ends like a signed one, but the signature is garbage.
    #[error("the module ends in a damaged signature; build it again")]
    BrokenModule,
    /// The library refused to sign.
    #[error("signing with {} failed inside the cryptographic library", key.display())]
    Library {
        /// The key file.
        key: PathBuf,
    },
    /// A program could not be started.
    #[error("can't run {}: {source}", program.display())]
    Start {
        /// The program.
        program: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A program failed.
    #[error("{} failed ({status}): {output}", program.display())]
    Failed {
        /// The program.
        program: PathBuf,
        /// How it ended.
        status: String,
        /// What it printed, trimmed.
        output: String,
    },
    /// The program said it worked, but its result has no signature.
    #[error("{} reported success but left {} unsigned", program.display(), file.display())]
    NothingSigned {
        /// The program.
        program: PathBuf,
        /// The module.
        file: PathBuf,
    },
    /// A file operation failed; the message names the file.
    #[error("{doing}: {source}")]
    File {
        /// What was being done.
        doing: &'static str,
        /// What the system said, with the path.
        source: io::Error,
    },
    /// A key or certificate exists already.
    #[error("{} exists already; it is not overwritten (a new key must be enrolled again)", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// The certificate is there, its key is not.
    #[error(
        "the signing key {} is missing, but its certificate {} exists and may be enrolled: restore the key, or move the certificate away to make a new pair",
        key.display(), cert.display()
    )]
    KeyLost {
        /// Where the key should be.
        key: PathBuf,
        /// The certificate that is there.
        cert: PathBuf,
    },
}

impl SignError {
    /// Whether the external `sign-file` program could still sign with this key.
    pub fn program_may_help(&self) -> bool {
        matches!(self, Self::NeedsProgram { .. })
    }
}

/// A module should be signed, can't be, and policy says that this is a failure. Why it can't be.
#[derive(Debug, thiserror::Error)]
#[error(
    "The modules can't be signed, and policy does not allow unsigned ones: {0}\nMend the key material (see dkms-mok(8)), or set policy=warn in /etc/dkms/framework.conf"
)]
pub struct NotSigned(pub String);
