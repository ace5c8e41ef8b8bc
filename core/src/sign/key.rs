//! Private keys: finding the RSA key in a file, and knowing which keys are not for us.

use std::path::Path;

use der::{AnyRef, Tag, Tagged};
use ring::rsa::KeyPair;
use spki::AlgorithmIdentifierRef;
use zeroize::Zeroizing;

use super::asn1::{self, RSA, SEQUENCE};
use super::{SignError, pem, read_small};

/// Reads the RSA key in `path`: PEM or DER, PKCS#8 or PKCS#1; a PEM file may hold a certificate
/// too. Keys that this process can't use give [`SignError::NeedsProgram`].
pub(super) fn load(path: &Path) -> Result<KeyPair, SignError> {
    let needs_program = |why| SignError::NeedsProgram { path: path.to_owned(), why };
    if path.as_os_str().as_encoded_bytes().starts_with(b"pkcs11:") {
        return Err(needs_program("on a PKCS#11 token"));
    }
    // Wiped when they go; the library keeps its own copy.
    let bytes = Zeroizing::new(read_small("signing key", path)?);
    let mut der = Zeroizing::new(Vec::new());
    match find(&bytes, &mut der) {
        Found::Nothing => Err(SignError::NotAKey { path: path.to_owned() }),
        Found::Encrypted => Err(needs_program("protected by a passphrase")),
        Found::OtherKind => Err(needs_program("not an RSA key")),
        Found::Pkcs8 => KeyPair::from_pkcs8(&der).map_err(|why| rejected(path, &why)),
        Found::Pkcs1 => KeyPair::from_der(&der).map_err(|why| rejected(path, &why)),
    }
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
        if let Some((_, whole)) = asn1::first::<AnyRef<'_>>(bytes) {
            der.extend_from_slice(whole);
        }
        return kind(der);
    }
    for block in pem::blocks(bytes) {
        let this = match (block.label.as_str(), block.encrypted) {
            ("ENCRYPTED PRIVATE KEY", _) => Found::Encrypted,
            (label, true) if label.ends_with("PRIVATE KEY") => Found::Encrypted,
            ("PRIVATE KEY" | "RSA PRIVATE KEY", _) => kind(&block.bytes),
            (label, _) if label.ends_with("PRIVATE KEY") => Found::OtherKind,
            _ => continue,
        };
        der.extend_from_slice(&block.bytes);
        return this;
    }
    Found::Nothing
}

/// Tells PKCS#8 (RFC 5958), encrypted PKCS#8 and PKCS#1 (RFC 8017) apart by their first two fields.
fn kind(der: &[u8]) -> Found {
    let fields = asn1::first::<AnyRef<'_>>(der).filter(|(key, _)| key.tag() == Tag::Sequence).and_then(|(key, _)| {
        let (one, taken) = asn1::first::<AnyRef<'_>>(key.value())?;
        let (two, _) = asn1::first::<AnyRef<'_>>(key.value().get(taken.len()..)?)?;
        Some((one, two))
    });
    let Some((one, two)) = fields else { return Found::Nothing };
    match (one.tag(), two.tag()) {
        // EncryptedPrivateKeyInfo: an algorithm, then an octet string. (A certificate, too, begins with a sequence, but
        // goes on with another.)
        (Tag::Sequence, Tag::OctetString) => Found::Encrypted,
        (Tag::Integer, Tag::Sequence) => match two.decode_as::<AlgorithmIdentifierRef<'_>>() {
            Ok(algorithm) if algorithm.oid == RSA => Found::Pkcs8,
            _ => Found::OtherKind,
        },
        (Tag::Integer, Tag::Integer) => Found::Pkcs1,
        (Tag::Integer, Tag::OctetString) => Found::OtherKind, // RFC 5915, elliptic curve
        _ => Found::Nothing,
    }
}
