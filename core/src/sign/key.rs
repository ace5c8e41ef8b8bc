//! Private keys: finding the RSA key in a file, and knowing which keys are not for us.

use std::hint::black_box;
use std::path::Path;

use ring::rsa::KeyPair;

use super::der::{self, INTEGER, OCTET_STRING, OID, Reader, SEQUENCE};
use super::{SignError, pem, read_small};

/// Reads the RSA key in `path`: PEM or DER, PKCS#8 or PKCS#1; a PEM file may hold a certificate
/// too. Keys that this process can't use give [`SignError::NeedsProgram`].
pub(super) fn load(path: &Path) -> Result<KeyPair, SignError> {
    let needs_program = |why| SignError::NeedsProgram { path: path.to_owned(), why };
    if path.as_os_str().as_encoded_bytes().starts_with(b"pkcs11:") {
        return Err(needs_program("on a PKCS#11 token"));
    }
    let mut bytes = read_small("signing key", path)?;
    let mut der = Vec::new();
    let found = find(&bytes, &mut der);
    let made = match found {
        Found::Nothing => Err(SignError::NotAKey { path: path.to_owned() }),
        Found::Encrypted => Err(needs_program("protected by a passphrase")),
        Found::OtherKind => Err(needs_program("not an RSA key")),
        Found::Pkcs8 => KeyPair::from_pkcs8(&der).map_err(|why| rejected(path, &why)),
        Found::Pkcs1 => KeyPair::from_der(&der).map_err(|why| rejected(path, &why)),
    };
    wipe(&mut bytes);
    wipe(&mut der);
    made
}

/// Overwrites secret bytes; best effort, the library keeps its own copy.
fn wipe(bytes: &mut [u8]) {
    bytes.fill(0);
    black_box(bytes);
}

fn rejected(path: &Path, why: &ring::error::KeyRejected) -> SignError {
    let text = why.to_string();
    // ring's words for a modulus outside 2048 to 4096 bits, an exponent below 65537, and primes
    // of unequal or odd length.
    match text.as_str() {
        "TooSmall" | "TooLarge" | "PrivateModulusLenNotMultipleOf512Bits" => SignError::NeedsProgram {
            path: path.to_owned(),
            why: "an RSA key outside 2048 to 4096 bits or with an unusual exponent",
        },
        _ => SignError::DamagedKey { path: path.to_owned(), why: text },
    }
}

enum Found {
    Nothing,
    Encrypted,
    OtherKind,
    Pkcs8,
    Pkcs1,
}

/// Looks for a private key in `bytes` and copies its DER to `der`.
fn find(bytes: &[u8], der: &mut Vec<u8>) -> Found {
    if bytes.first() == Some(&SEQUENCE) {
        if let Some(whole) = Reader(bytes).take(SEQUENCE) {
            der.extend_from_slice(whole.whole);
        }
        return kind(der);
    }
    let mut found = Found::Nothing;
    for mut block in pem::blocks(bytes) {
        let this = match (block.label.as_str(), block.encrypted) {
            ("ENCRYPTED PRIVATE KEY", _) => Found::Encrypted,
            (label, true) if label.ends_with("PRIVATE KEY") => Found::Encrypted,
            ("PRIVATE KEY" | "RSA PRIVATE KEY", _) => kind(&block.bytes),
            (label, _) if label.ends_with("PRIVATE KEY") => Found::OtherKind,
            _ => continue,
        };
        der.extend_from_slice(&block.bytes);
        wipe(&mut block.bytes);
        found = this;
        break;
    }
    found
}

/// Tells PKCS#8 (RFC 5958), encrypted PKCS#8 and PKCS#1 (RFC 8017) apart.
fn kind(der: &[u8]) -> Found {
    let Some(mut key) = Reader(der).enter(SEQUENCE) else {
        return Found::Nothing;
    };
    let Some(first) = key.any() else {
        return Found::Nothing;
    };
    if first.tag == SEQUENCE {
        // EncryptedPrivateKeyInfo: an algorithm, then an octet string. (A certificate, too,
        // begins with a sequence, but goes on with another.)
        return match key.take(OCTET_STRING) {
            Some(_) => Found::Encrypted,
            None => Found::Nothing,
        };
    }
    if first.tag != INTEGER {
        return Found::Nothing;
    }
    match key.any() {
        Some(next) if next.tag == SEQUENCE => {
            let algorithm = Reader(next.body).take(OID).map(|oid| oid.body);
            if algorithm == Some(der::RSA) { Found::Pkcs8 } else { Found::OtherKind }
        }
        Some(next) if next.tag == INTEGER => Found::Pkcs1,
        Some(next) if next.tag == OCTET_STRING => Found::OtherKind, // RFC 5915, elliptic curve
        _ => Found::Nothing,
    }
}
