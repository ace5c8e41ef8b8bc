//! X.509 certificates (RFC 5280): only the parts that module signing looks at.

use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use der::asn1::{ObjectIdentifier, OctetStringRef, SetOfVec};
use der::{AnyRef, Decode, Encode, Tag, Tagged};
use ring::digest;

use super::asn1::{self, Attribute, Name, RSA, SEQUENCE};
use super::{SignError, pem, read_small};

/// subjectKeyIdentifier (RFC 5280, section 4.2.1.2).
const SUBJECT_KEY_ID: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.14");
/// commonName (RFC 5280, appendix A).
const COMMON_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.3");

/// A certificate, parsed. Nothing in it is secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// The whole certificate in DER.
    pub der: Vec<u8>,
    /// Content bytes of the serial number.
    pub serial: Vec<u8>,
    /// The issuer's name, whole DER.
    pub issuer: Vec<u8>,
    /// The subject's name, whole DER.
    pub subject: Vec<u8>,
    /// Start of validity, seconds since 1970.
    pub not_before: i64,
    /// End of validity, seconds since 1970.
    pub not_after: i64,
    /// Whether the public key is an RSA one.
    pub is_rsa: bool,
    /// The public key as it stands in the certificate (RSA: DER of RSAPublicKey).
    pub public_key: Vec<u8>,
    /// The subject key identifier, if the certificate has one.
    pub key_id: Option<Vec<u8>>,
}

impl Certificate {
    /// Reads a certificate file, DER or PEM (in PEM, the first certificate; other blocks, such as
    /// the private key of a CONFIG_MODULE_SIG_KEY file, may precede it).
    pub fn load(path: &Path) -> Result<Self, SignError> {
        let bytes = read_small("certificate", path)?;
        Self::from_bytes(&bytes).ok_or_else(|| SignError::NotACertificate { path: path.to_owned() })
    }

    /// As [`Certificate::load`], from the file's content; `None` if there is no certificate in it.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        if bytes.first() == Some(&SEQUENCE) {
            return Self::from_der(bytes);
        }
        let block = pem::blocks(bytes).into_iter().find(|block| block.label == "CERTIFICATE")?;
        Self::from_der(&block.bytes)
    }

    /// Parses DER; bytes after the certificate are ignored.
    pub fn from_der(bytes: &[u8]) -> Option<Self> {
        let (certificate, der) = asn1::first::<asn1::Certificate<'_>>(bytes)?;
        let body = certificate.body;
        let mut extensions = body.extensions.iter().flatten();
        let key_id = extensions
            .find(|extension| extension.id == SUBJECT_KEY_ID)
            .and_then(|extension| <&OctetStringRef>::from_der(extension.value.as_bytes()).ok())
            .map(|id| id.as_bytes().to_vec());
        Some(Self {
            der: der.to_vec(),
            serial: body.serial.as_bytes().to_vec(),
            issuer: body.issuer.to_der().ok()?,
            subject: body.subject.to_der().ok()?,
            not_before: body.validity.not_before.seconds(),
            not_after: body.validity.not_after.seconds(),
            is_rsa: body.key.algorithm.oid == RSA,
            public_key: body.key.subject_public_key.raw_bytes().to_vec(),
            key_id,
        })
    }

    /// The subject's common name.
    pub fn subject_name(&self) -> Option<String> {
        common_name(&self.subject)
    }

    /// The issuer's common name.
    pub fn issuer_name(&self) -> Option<String> {
        common_name(&self.issuer)
    }

    /// The serial number as `0A:1B:…`.
    pub fn serial_text(&self) -> String {
        asn1::colons(&self.serial)
    }

    /// As manifests record who signed; `hash` is the kernel's word.
    pub fn signer(&self, hash: &str) -> crate::tree::manifest::Signer {
        crate::tree::manifest::Signer {
            key_id: self.serial_text(),
            hash: hash.to_owned(),
            subject: self.subject_name().unwrap_or_default(),
        }
    }

    /// SHA-1 of the DER: the fingerprint that `mokutil --list-enrolled` shows.
    pub fn sha1(&self) -> Vec<u8> {
        digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, &self.der).as_ref().to_vec()
    }

    /// SHA-256 of the DER.
    pub fn sha256(&self) -> Vec<u8> {
        digest::digest(&digest::SHA256, &self.der).as_ref().to_vec()
    }

    /// Whether the certificate's time is over at `now`.
    pub fn expired(&self, now: SystemTime) -> bool {
        seconds(now) > self.not_after
    }

    /// Whether the certificate's time has not come at `now`. One that was made a moment ago, when a run had begun
    /// already, does not count.
    pub fn not_yet_valid(&self, now: SystemTime) -> bool {
        seconds(now) + JUST_MADE < self.not_before
    }
}

/// How long a run may take to make a certificate, in seconds.
const JUST_MADE: i64 = 600;

fn seconds(now: SystemTime) -> i64 {
    let since = now.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

/// The last common name in a whole DER name.
pub(super) fn common_name(name: &[u8]) -> Option<String> {
    let sets = Name::from_der(name).ok()?;
    let attributes = sets.iter().filter_map(|set| set.decode_as::<SetOfVec<Attribute<'_>>>().ok());
    let mut names = attributes.flat_map(SetOfVec::into_vec).filter(|attribute| attribute.id == COMMON_NAME);
    names.next_back().map(|attribute| string(attribute.value))
}

/// Whatever string type a name is of; what is not a character in it is shown as such.
fn string(value: AnyRef<'_>) -> String {
    if value.tag() == Tag::BmpString {
        let pairs = value.value().chunks_exact(2);
        let units: Vec<u16> = pairs.map(|pair| u16::from_be_bytes([pair[0], pair[1]])).collect();
        return String::from_utf16_lossy(&units);
    }
    String::from_utf8_lossy(value.value()).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sign::pkcs7;
    use crate::sign::tests::data;

    /// The parts of a certificate for [`made`], in DER.
    struct Parts {
        serial: Vec<u8>,
        name: Vec<u8>,
        times: [Vec<u8>; 2],
    }

    impl Default for Parts {
        fn default() -> Self {
            Self {
                serial: value(2, &[1]),
                name: value(0x30, &[]),
                times: [time("700101000000Z"), time("491231235959Z")],
            }
        }
    }

    /// One value of less than 64 KiB.
    fn value(tag: u8, body: &[u8]) -> Vec<u8> {
        let length = u16::try_from(body.len()).unwrap().to_be_bytes();
        let head = match body.len() {
            0..0x80 => vec![tag, length[1]],
            0x80..0x100 => vec![tag, 0x81, length[1]],
            _ => vec![tag, 0x82, length[0], length[1]],
        };
        [&head, body].concat()
    }

    fn time(text: &str) -> Vec<u8> {
        value(if text.len() == 13 { 0x17 } else { 0x18 }, text.as_bytes())
    }

    fn made(parts: &Parts) -> Vec<u8> {
        let algorithm = value(0x30, &RSA.to_der().unwrap());
        let key = value(0x30, &[algorithm.clone(), value(3, &[0, 1])].concat());
        let validity = value(0x30, &parts.times.concat());
        let body = [&parts.serial, &algorithm, &parts.name, &validity, &parts.name, &key].map(Vec::as_slice).concat();
        value(0x30, &[value(0x30, &body), algorithm, value(3, &[0, 1])].concat())
    }

    #[test]
    fn times() {
        for (text, seconds) in [
            ("700101000000Z", Some(0)),
            ("20000301000000Z", Some(951_868_800)),
            ("20240229123456Z", Some(1_709_210_096)),
            ("491231235959Z", Some(2_524_607_999)),
            ("21260101000000Z", Some(4_922_899_200)),
            ("99991231235959Z", Some(253_402_300_799)),
            ("2401", None),
            ("20240230000000Z", None),
            ("241301000000Z", None),
            ("2401010000000", None),
            ("2401010000-0Z", None),
        ] {
            let parts = Parts { times: [time("700101000000Z"), time(text)], ..Parts::default() };
            let read = Certificate::from_der(&made(&parts));
            assert_eq!(read.map(|certificate| certificate.not_after), seconds, "{text}");
        }
    }

    #[test]
    fn what_the_kernel_compares_stays_as_it_came() {
        let attribute =
            |arc: u8, tag: u8, text: &[u8]| value(0x30, &[value(6, &[0x55, 4, arc]), value(tag, text)].concat());
        // An attribute set in the wrong order, and a name in two bytes a character.
        let (unit, name) = (attribute(11, 0x0c, b"unit"), attribute(3, 0x0c, b"name"));
        let unsorted = value(0x31, &[unit, name].concat());
        let wide = value(0x31, &attribute(3, 0x1e, b"\0w\0i\0d\0e"));
        for (sets, shown) in
            [(vec![unsorted.clone()], "name"), (vec![wide.clone()], "wide"), (vec![wide, unsorted], "name")]
        {
            let parts = Parts { name: value(0x30, &sets.concat()), ..Parts::default() };
            let read = Certificate::from_der(&made(&parts)).unwrap();
            assert_eq!((&read.issuer, &read.subject), (&parts.name, &parts.name));
            assert_eq!(read.subject_name().as_deref(), Some(shown));
            let message = pkcs7::write(&read, crate::sign::Hash::Sha256, &[1; 256]).unwrap();
            let message = pkcs7::Message::parse(&message).unwrap();
            assert!(message.names(&read), "{shown}");
            assert_eq!(message.signer_name().as_deref(), Some(shown));
        }
        for serial in [&[0][..], &[0x7f], &[0, 0x80], &[0x80], &[0xff, 0x7f], &[0x7f; 20], &[0x7f; 40]] {
            let read = Certificate::from_der(&made(&Parts { serial: value(2, serial), ..Parts::default() })).unwrap();
            assert_eq!(read.serial, serial);
            let message = pkcs7::write(&read, crate::sign::Hash::Sha256, &[1; 256]).unwrap();
            assert!(message.windows(serial.len() + 2).any(|part| part == value(2, serial)), "{serial:?}");
            assert!(pkcs7::Message::parse(&message).unwrap().names(&read), "{serial:?}");
        }
        for serial in [&[][..], &[0, 1], &[0xff, 0xff]] {
            let parts = Parts { serial: value(2, serial), ..Parts::default() };
            assert_eq!(Certificate::from_der(&made(&parts)), None, "{serial:?}");
        }
    }

    #[test]
    fn damage_is_none_or_another_certificate_and_no_crash() {
        let der = Certificate::load(&data("rsa2048.der")).unwrap().der;
        let mut refused = 0;
        for at in 0..der.len() {
            for flip in [1, 0x20, 0x80, 0xff] {
                let mut bytes = der.clone();
                bytes[at] ^= flip;
                match Certificate::from_der(&bytes) {
                    None => refused += 1,
                    Some(read) => {
                        // Whatever it says: it can be shown and compared.
                        assert!(read.der.len() <= bytes.len());
                        let _ = (read.subject_name(), read.issuer_name(), read.serial_text());
                    }
                }
            }
        }
        assert!(refused > 200, "{refused}");
    }

    #[test]
    fn der_and_pem_are_the_same_certificate() {
        let der = Certificate::load(&data("rsa2048.der")).unwrap();
        assert_eq!(der, Certificate::load(&data("rsa2048.pem")).unwrap());
        assert_eq!(der.subject_name().unwrap(), "dkms test rsa2048");
        assert_eq!(der.issuer_name(), der.subject_name());
        assert!(der.is_rsa);
        assert_eq!(der.key_id.as_ref().unwrap().len(), 20);
        // openssl x509 -fingerprint
        let openssl = crate::process::command("openssl")
            .args(["x509", "-noout", "-fingerprint", "-serial", "-in"])
            .arg(data("rsa2048.pem"))
            .output()
            .unwrap();
        let text = String::from_utf8(openssl.stdout).unwrap();
        assert!(text.contains(&asn1::colons(&der.sha1())), "{text}");
        assert!(text.contains(&der.serial_text().replace(':', "")), "{text}");
    }

    #[test]
    fn a_cut_certificate_is_none_and_no_crash() {
        let der = Certificate::load(&data("rsa2048.der")).unwrap().der;
        for cut in 0..der.len() {
            assert!(Certificate::from_der(&der[..cut]).is_none());
        }
    }
}
