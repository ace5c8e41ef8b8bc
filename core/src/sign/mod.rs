//! Module signatures: deciding, keys, signing, verifying, and who trusts them.
//!
//! Private keys are opened close-on-exec by this process only; they are never put into an argument,
//! the environment or a log.

mod append;
mod asn1;
mod cert;
mod error;
mod hash;
mod key;
mod pem;
mod pkcs7;
mod signer;
mod verify;

pub mod advice;
pub mod chroot;
pub mod mok;
pub mod policy;
pub mod program;
pub mod signing;
pub mod state;
pub mod trust;
pub mod will_load;

pub use append::{MAGIC, Split, split, strip_signature};
pub use asn1::colons;
pub use cert::Certificate;
pub use error::{NotSigned, SignError};
pub use hash::Hash;
pub use pkcs7::{Message, SignerId};
pub use signer::Signer;
pub use verify::{Untrusted, facts, verify};

use std::io::{ErrorKind, Read};
use std::path::Path;

/// No key, certificate or EFI variable we read is larger.
const SMALL: u64 = 1 << 20;

/// Reads a small regular file; `what` names it in errors.
fn read_small(what: &'static str, path: &Path) -> Result<Vec<u8>, SignError> {
    let fail = |source: std::io::Error| match source.kind() {
        ErrorKind::InvalidInput | ErrorKind::IsADirectory => SignError::NotAFile { what, path: path.to_owned() },
        _ => SignError::Read { what, path: path.to_owned(), source },
    };
    let file = crate::durable::open_regular(path).map_err(fail)?;
    if file.metadata().map_err(fail)?.len() > SMALL {
        return Err(SignError::NotAFile { what, path: path.to_owned() });
    }
    let mut bytes = Vec::new();
    file.take(SMALL).read_to_end(&mut bytes).map_err(fail)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests;
