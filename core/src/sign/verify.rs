//! Verifying appended signatures, as the kernel would with this one certificate as its keyring.

use ring::signature::UnparsedPublicKey;

use super::append::{self, Split};
use super::{Certificate, Hash, Message};

/// Why a signature is not good.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Untrusted {
    /// There is no signature.
    #[error("the module is not signed")]
    Unsigned,
    /// The signature can't be read.
    #[error("the module's signature is damaged")]
    Broken,
    /// Another key made it.
    #[error("the module is signed by another key ({})", .0)]
    OtherKey(
        /// The serial number or key identifier of that key.
        String,
    ),
    /// Right key, wrong bytes.
    #[error("the module does not match its signature: it was changed after signing")]
    Tampered,
    /// An algorithm we can't check.
    #[error("the signature uses {}, which can't be checked here", .0)]
    Unsupported(
        /// The algorithm.
        String,
    ),
}

/// Checks the signature of `module` (uncompressed) against `cert`; gives what the signature says.
pub fn verify(module: &[u8], cert: &Certificate) -> Result<Message, Untrusted> {
    let (payload, message) = read(module)?;
    if !message.names(cert) {
        return Err(Untrusted::OtherKey(message.key_id()));
    }
    if message.has_attributes {
        return Err(Untrusted::Unsupported("signed attributes".to_owned()));
    }
    if !message.is_rsa || !cert.is_rsa {
        return Err(Untrusted::Unsupported("a key that is not RSA".to_owned()));
    }
    let Some(hash) = Hash::from_name(&message.hash) else {
        return Err(Untrusted::Unsupported(message.hash));
    };
    UnparsedPublicKey::new(hash.verifying(), &cert.public_key)
        .verify(payload, &message.signature)
        .map_err(|_| Untrusted::Tampered)?;
    Ok(message)
}

/// What the signature of `module` (uncompressed) says, unchecked.
pub fn facts(module: &[u8]) -> Result<Message, Untrusted> {
    read(module).map(|(_, message)| message)
}

fn read(module: &[u8]) -> Result<(&[u8], Message), Untrusted> {
    match append::split(module) {
        Split::Unsigned(_) => Err(Untrusted::Unsigned),
        Split::Broken => Err(Untrusted::Broken),
        Split::Signed { payload, pkcs7 } => {
            Message::parse(pkcs7).map(|message| (payload, message)).ok_or(Untrusted::Broken)
        }
    }
}
