//! The ASN.1 of certificates (RFC 5280, section 4.1) and signatures (RFC 5652, section 5), as far as modules need it.
//!
//! Reading and writing DER is the work of the `der` crate, which refuses what is not canonical. The parsers of the crates
//! x509-cert and cms sort names while they read them, but the kernel compares names byte by byte: here they stay as they
//! came.

use std::time::Duration;

use der::asn1::{BitStringRef, GeneralizedTime, IntRef, ObjectIdentifier, OctetStringRef, SetOfVec, UtcTime};
use der::{AnyRef, Choice, Decode, Sequence, ValueOrd};
use spki::{AlgorithmIdentifierRef, SubjectPublicKeyInfoRef};

/// The first byte of every certificate and key in DER: the tag of a SEQUENCE.
pub(super) const SEQUENCE: u8 = 0x30;

/// rsaEncryption (RFC 8017).
pub(super) const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");

/// Bytes as upper-case hexadecimal pairs joined by colons.
pub fn colons(bytes: &[u8]) -> String {
    let pairs: Vec<String> = bytes.iter().map(|b| format!("{b:02X}")).collect();
    pairs.join(":")
}

/// The value at the beginning of `bytes`, and the bytes that it takes there; what follows is ignored. `None` if that is
/// not such a value in DER.
pub(super) fn first<'a, T: Decode<'a>>(bytes: &'a [u8]) -> Option<(T, &'a [u8])> {
    let (value, rest) = T::from_der_partial(bytes).ok()?;
    Some((value, bytes.get(..bytes.len() - rest.len())?))
}

#[derive(Sequence)]
pub(super) struct Certificate<'a> {
    pub body: CertificateBody<'a>,
    pub algorithm: AlgorithmIdentifierRef<'a>,
    pub signature: BitStringRef<'a>,
}

/// `TBSCertificate`.
#[derive(Sequence)]
pub(super) struct CertificateBody<'a> {
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT", optional = "true")]
    pub version: Option<u8>,
    pub serial: IntRef<'a>,
    pub algorithm: AlgorithmIdentifierRef<'a>,
    pub issuer: Name<'a>,
    pub validity: Validity,
    pub subject: Name<'a>,
    pub key: SubjectPublicKeyInfoRef<'a>,
    #[asn1(context_specific = "1", tag_mode = "IMPLICIT", optional = "true")]
    pub issuer_id: Option<BitStringRef<'a>>,
    #[asn1(context_specific = "2", tag_mode = "IMPLICIT", optional = "true")]
    pub subject_id: Option<BitStringRef<'a>>,
    #[asn1(context_specific = "3", tag_mode = "EXPLICIT", optional = "true")]
    pub extensions: Option<Vec<Extension<'a>>>,
}

#[derive(Sequence)]
pub(super) struct Validity {
    pub not_before: Time,
    pub not_after: Time,
}

#[derive(Choice)]
pub(super) enum Time {
    #[asn1(type = "UTCTime")]
    Short(UtcTime),
    #[asn1(type = "GeneralizedTime")]
    Long(GeneralizedTime),
}

impl Time {
    /// Seconds since 1970.
    pub(super) fn seconds(&self) -> i64 {
        let since: Duration = match self {
            Self::Short(time) => time.to_unix_duration(),
            Self::Long(time) => time.to_unix_duration(),
        };
        i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
    }
}

#[derive(Sequence)]
pub(super) struct Extension<'a> {
    pub id: ObjectIdentifier,
    #[asn1(default = "Default::default")]
    pub critical: bool,
    pub value: &'a OctetStringRef,
}

/// `Name`: sets of [`Attribute`], as they came.
pub(super) type Name<'a> = Vec<AnyRef<'a>>;

/// `AttributeTypeAndValue`.
#[derive(Clone, PartialEq, Eq, Sequence, ValueOrd)]
pub(super) struct Attribute<'a> {
    pub id: ObjectIdentifier,
    pub value: AnyRef<'a>,
}

/// `ContentInfo` with signed data in it.
#[derive(Sequence)]
pub(super) struct Message<'a> {
    pub content_type: ObjectIdentifier,
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT")]
    pub content: SignedData<'a>,
}

#[derive(Sequence)]
pub(super) struct SignedData<'a> {
    pub version: u8,
    pub digests: SetOfVec<AnyRef<'a>>,
    pub content: Content<'a>,
    #[asn1(context_specific = "0", tag_mode = "IMPLICIT", constructed = "true", optional = "true")]
    pub certificates: Option<SetOfVec<AnyRef<'a>>>,
    #[asn1(context_specific = "1", tag_mode = "IMPLICIT", constructed = "true", optional = "true")]
    pub revocations: Option<SetOfVec<AnyRef<'a>>>,
    pub signers: SetOfVec<AnyRef<'a>>,
}

/// `EncapsulatedContentInfo`.
#[derive(Sequence)]
pub(super) struct Content<'a> {
    pub content_type: ObjectIdentifier,
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT", optional = "true")]
    pub content: Option<AnyRef<'a>>,
}

/// `SignerInfo`.
#[derive(Sequence)]
pub(super) struct Signer<'a> {
    pub version: u8,
    pub id: SignerId<'a>,
    pub digest: AlgorithmIdentifierRef<'a>,
    #[asn1(context_specific = "0", tag_mode = "IMPLICIT", constructed = "true", optional = "true")]
    pub attributes: Option<SetOfVec<AnyRef<'a>>>,
    pub algorithm: AlgorithmIdentifierRef<'a>,
    pub signature: &'a OctetStringRef,
    #[asn1(context_specific = "1", tag_mode = "IMPLICIT", constructed = "true", optional = "true")]
    pub unsigned_attributes: Option<SetOfVec<AnyRef<'a>>>,
}

/// `SignerIdentifier`.
#[derive(Choice)]
pub(super) enum SignerId<'a> {
    IssuerSerial(IssuerSerial<'a>),
    #[asn1(context_specific = "0", tag_mode = "IMPLICIT")]
    KeyId(&'a OctetStringRef),
}

/// `IssuerAndSerialNumber`.
#[derive(Sequence)]
pub(super) struct IssuerSerial<'a> {
    pub issuer: Name<'a>,
    pub serial: IntRef<'a>,
}
