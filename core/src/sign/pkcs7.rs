//! The PKCS#7 message (RFC 5652 SignedData) that the kernel wants: written and read.
//!
//! Shape as made by the kernel's `scripts/sign-file.c`: version 1, one signer named by issuer and
//! serial number, no certificates, no attributes, the content left out.

use der::asn1::{IntRef, ObjectIdentifier, OctetStringRef, SetOfVec};
use der::{AnyRef, Decode, Encode};
use spki::AlgorithmIdentifierRef;

use super::asn1::{self, Content, IssuerSerial, Name, RSA, SignedData, Signer, colons};
use super::cert::{Certificate, common_name};
use super::hash::{Hash, name_of_oid};

/// signedData (RFC 5652, section 5.1).
const SIGNED_DATA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.7.2");
/// data (RFC 5652, section 4).
const DATA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.7.1");
/// shaNNNWithRSAEncryption of SHA-256, SHA-384 and SHA-512 (RFC 8017).
const SHA_WITH_RSA: [ObjectIdentifier; 3] = [
    ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.11"),
    ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.12"),
    ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.13"),
];

/// The message around an RSA `signature` by the key of `cert`.
pub(super) fn write(cert: &Certificate, hash: Hash, signature: &[u8]) -> der::Result<Vec<u8>> {
    let digest = AlgorithmIdentifierRef { oid: hash.oid(), parameters: None };
    let signer = Signer {
        version: 1,
        id: asn1::SignerId::IssuerSerial(IssuerSerial {
            issuer: Name::from_der(&cert.issuer)?,
            serial: IntRef::new(&cert.serial)?,
        }),
        digest,
        attributes: None,
        algorithm: AlgorithmIdentifierRef { oid: RSA, parameters: Some(AnyRef::NULL) },
        signature: OctetStringRef::new(signature)?,
        unsigned_attributes: None,
    };
    let (digest, signer) = (digest.to_der()?, signer.to_der()?);
    let content = SignedData {
        version: 1,
        digests: SetOfVec::try_from([AnyRef::from_der(&digest)?])?,
        content: Content { content_type: DATA, content: None },
        certificates: None,
        revocations: None,
        signers: SetOfVec::try_from([AnyRef::from_der(&signer)?])?,
    };
    asn1::Message { content_type: SIGNED_DATA, content }.to_der()
}

/// Who signed, as the message says it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SignerId {
    /// Issuer (whole DER of the name) and serial number of the signer's certificate.
    IssuerSerial {
        /// DER of the issuer's name.
        issuer: Vec<u8>,
        /// Content bytes of the serial number.
        serial: Vec<u8>,
    },
    /// The certificate's subject key identifier.
    KeyId(Vec<u8>),
}

/// One signature message, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Who signed.
    pub signer: SignerId,
    /// The kernel's word for the hash ("sha512"; "unknown").
    pub hash: String,
    /// Whether the signature is over signed attributes instead of the module itself.
    pub has_attributes: bool,
    /// Whether the signature algorithm is RSA with PKCS#1 v1.5 padding.
    pub is_rsa: bool,
    /// The signature value.
    pub signature: Vec<u8>,
}

impl Message {
    /// Reads a message with one signer; `None` if it is not such a message.
    pub fn parse(der: &[u8]) -> Option<Self> {
        let (message, _) = asn1::first::<asn1::Message<'_>>(der)?;
        if message.content_type != SIGNED_DATA {
            return None;
        }
        let signer: Signer<'_> = message.content.signers.get(0)?.decode_as().ok()?;
        Some(Self {
            signer: match signer.id {
                asn1::SignerId::IssuerSerial(id) => {
                    SignerId::IssuerSerial { issuer: id.issuer.to_der().ok()?, serial: id.serial.as_bytes().to_vec() }
                }
                asn1::SignerId::KeyId(id) => SignerId::KeyId(id.as_bytes().to_vec()),
            },
            hash: name_of_oid(signer.digest.oid),
            has_attributes: signer.attributes.is_some(),
            is_rsa: signer.algorithm.oid == RSA || SHA_WITH_RSA.contains(&signer.algorithm.oid),
            signature: signer.signature.as_bytes().to_vec(),
        })
    }

    /// Whether it says that the key of `cert` made it; not whether that is true.
    pub fn names(&self, cert: &Certificate) -> bool {
        match &self.signer {
            SignerId::IssuerSerial { issuer, serial } => *issuer == cert.issuer && *serial == cert.serial,
            SignerId::KeyId(id) => cert.key_id.as_ref() == Some(id),
        }
    }

    /// Common name of the issuer of the signer's certificate (of a self-signed one: its own name).
    pub fn signer_name(&self) -> Option<String> {
        match &self.signer {
            SignerId::IssuerSerial { issuer, .. } => common_name(issuer),
            SignerId::KeyId(_) => None,
        }
    }

    /// The serial number or key identifier as `modinfo` prints it: `0A:1B:…`.
    pub fn key_id(&self) -> String {
        match &self.signer {
            SignerId::IssuerSerial { serial: id, .. } | SignerId::KeyId(id) => colons(id),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sign::append::{Split, split};
    use crate::sign::tests::data;

    fn message() -> Vec<u8> {
        let signed = fs_err::read(data("rsa2048.sha512.signed")).unwrap();
        let Split::Signed { pkcs7, .. } = split(&signed) else { panic!("not signed") };
        pkcs7.to_vec()
    }

    #[test]
    fn damage_is_none_or_another_message_and_no_crash() {
        let whole = message();
        assert!(Message::parse(&whole).is_some());
        for cut in 0..whole.len() {
            assert_eq!(Message::parse(&whole[..cut]), None, "{cut}");
        }
        let mut refused = 0;
        for at in 0..whole.len() {
            for flip in [1, 0x20, 0x80, 0xff] {
                let mut bytes = whole.clone();
                bytes[at] ^= flip;
                match Message::parse(&bytes) {
                    None => refused += 1,
                    // Whatever it says: it can be shown.
                    Some(read) => drop((read.signer_name(), read.key_id())),
                }
            }
        }
        assert!(refused > 100, "{refused}");
        // Lengths that would be larger than memory.
        for head in [&[0x30, 0x84, 0xff, 0xff, 0xff, 0xff][..], &[0x30, 0x80], &[0x30, 0x88, 1, 1, 1, 1, 1, 1, 1, 1]] {
            assert_eq!(Message::parse(head), None);
            assert_eq!(Message::parse(&[head, &whole].concat()), None);
        }
    }

    /// Signers of distributions name the key instead of the certificate, add the certificate, or sign attributes.
    #[test]
    fn messages_of_openssl_in_every_shape_are_read() {
        let cert = Certificate::load(&data("rsa2048.pem")).unwrap();
        for (options, by_key, attributes) in [
            (&["-nocerts", "-noattr"][..], false, false),
            (&["-nocerts", "-noattr", "-keyid"], true, false),
            (&["-noattr"], false, false),
            (&["-keyid"], true, true),
        ] {
            let mut sign = crate::process::command("openssl");
            sign.args(["cms", "-sign", "-binary", "-outform", "DER", "-md", "sha256"]).args(options);
            sign.arg("-in").arg(data("module.ko")).arg("-signer").arg(data("rsa2048.pem"));
            let made = sign.arg("-inkey").arg(data("rsa2048.key")).output().unwrap();
            let read = Message::parse(&made.stdout).unwrap_or_else(|| panic!("{options:?}: {made:?}"));
            assert!(read.names(&cert), "{options:?}");
            assert_eq!(matches!(read.signer, SignerId::KeyId(_)), by_key, "{options:?}");
            assert_eq!((read.has_attributes, read.is_rsa, read.hash.as_str()), (attributes, true, "sha256"));
            assert_eq!(read.signature.len(), 256);
        }
    }
}
