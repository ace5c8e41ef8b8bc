//! The PKCS#7 message (RFC 5652 SignedData) that the kernel wants: written and read.
//!
//! Shape as made by the kernel's `scripts/sign-file.c`: version 1, one signer named by issuer and
//! serial number, no certificates, no attributes, the content left out.

use super::cert::{Certificate, common_name};
use super::der::{self, INTEGER, NULL, OCTET_STRING, OID, RSA, Reader, SEQUENCE, SET, colons, tlv};
use super::hash::{Hash, name_of_oid};

/// 1.2.840.113549.1.7.2, signedData.
const SIGNED_DATA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x02];
/// 1.2.840.113549.1.7.1, data.
const DATA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x01];

/// Context tag 0, constructed.
const CONTEXT_0: u8 = 0xa0;
/// Context tag 1, constructed.
const CONTEXT_1: u8 = 0xa1;
/// Context tag 0, primitive: subjectKeyIdentifier as the signer's name.
const KEY_ID: u8 = 0x80;

/// The message around an RSA `signature` by the key of `cert`.
pub(super) fn write(cert: &Certificate, hash: Hash, signature: &[u8]) -> Vec<u8> {
    let version = tlv(INTEGER, &[&[1]]);
    let digest = tlv(SEQUENCE, &[&tlv(OID, &[&hash.oid()])]);
    let signer = tlv(
        SEQUENCE,
        &[
            &version,
            &tlv(SEQUENCE, &[&cert.issuer, &tlv(INTEGER, &[&cert.serial])]),
            &digest,
            &tlv(SEQUENCE, &[&tlv(OID, &[RSA]), &NULL]),
            &tlv(OCTET_STRING, &[signature]),
        ],
    );
    let content =
        tlv(SEQUENCE, &[&version, &tlv(SET, &[&digest]), &tlv(SEQUENCE, &[&tlv(OID, &[DATA])]), &tlv(SET, &[&signer])]);
    tlv(SEQUENCE, &[&tlv(OID, &[SIGNED_DATA]), &tlv(CONTEXT_0, &[&content])])
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
        let mut info = Reader(der).enter(SEQUENCE)?;
        if info.take(OID)?.body != SIGNED_DATA {
            return None;
        }
        let mut content = info.enter(CONTEXT_0)?.enter(SEQUENCE)?;
        content.take(INTEGER)?;
        content.take(SET)?;
        content.take(SEQUENCE)?;
        content.maybe(CONTEXT_0); // certificates
        content.maybe(CONTEXT_1); // revocation lists
        let mut signer = content.enter(SET)?.enter(SEQUENCE)?;
        signer.take(INTEGER)?;
        let id = signer.any()?;
        let id = match id.tag {
            SEQUENCE => {
                let mut id = Reader(id.body);
                SignerId::IssuerSerial {
                    issuer: id.take(SEQUENCE)?.whole.to_vec(),
                    serial: id.take(INTEGER)?.body.to_vec(),
                }
            }
            KEY_ID => SignerId::KeyId(id.body.to_vec()),
            _ => return None,
        };
        let hash = name_of_oid(signer.enter(SEQUENCE)?.take(OID)?.body);
        let has_attributes = signer.maybe(CONTEXT_0).is_some();
        let algorithm = signer.enter(SEQUENCE)?.take(OID)?.body;
        // rsaEncryption, or shaNNNWithRSAEncryption (1.2.840.113549.1.1.11 to .13).
        let is_rsa = algorithm == RSA || (algorithm.starts_with(&RSA[..8]) && matches!(algorithm[8..], [11..=13]));
        Some(Self {
            signer: id,
            hash,
            has_attributes,
            is_rsa,
            signature: signer.take(der::OCTET_STRING)?.body.to_vec(),
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
