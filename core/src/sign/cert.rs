//! X.509 certificates (RFC 5280): only the parts that module signing looks at.

use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ring::digest;

use super::der::{self, BIT_STRING, INTEGER, OCTET_STRING, OID, Reader, SEQUENCE, SET, Tlv};
use super::{SignError, pem, read_small};

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
        let whole = Reader(bytes).take(SEQUENCE)?;
        let mut tbs = Reader(whole.body).enter(SEQUENCE)?;
        tbs.maybe(0xa0); // version
        let serial = tbs.take(INTEGER)?.body.to_vec();
        tbs.take(SEQUENCE)?; // signature algorithm
        let issuer = tbs.take(SEQUENCE)?.whole.to_vec();
        let mut validity = tbs.enter(SEQUENCE)?;
        let not_before = time(validity.any()?.body)?;
        let not_after = time(validity.any()?.body)?;
        let subject = tbs.take(SEQUENCE)?.whole.to_vec();
        let mut key = tbs.enter(SEQUENCE)?;
        let is_rsa = key.enter(SEQUENCE)?.take(OID)?.body == der::RSA;
        // The first content byte of a BIT STRING counts unused bits.
        let public_key = key.take(BIT_STRING)?.body.get(1..)?.to_vec();
        let key_id = extension(tbs, &[0x55, 0x1d, 0x0e])
            .and_then(|value| Reader(value).take(OCTET_STRING))
            .map(|id| id.body.to_vec());
        Some(Self {
            der: whole.whole.to_vec(),
            serial,
            issuer,
            subject,
            not_before,
            not_after,
            is_rsa,
            public_key,
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
        der::colons(&self.serial)
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

/// The value of the extension with this identifier, in what follows the public key.
fn extension<'a>(mut rest: Reader<'a>, oid: &[u8]) -> Option<&'a [u8]> {
    rest.maybe(0x81); // issuerUniqueID
    rest.maybe(0x82); // subjectUniqueID
    let mut all = rest.enter(0xa3)?.enter(SEQUENCE)?;
    while let Some(mut one) = all.enter(SEQUENCE) {
        let found = one.take(OID)?.body == oid;
        one.maybe(0x01); // critical
        let value = one.take(OCTET_STRING)?.body;
        if found {
            return Some(value);
        }
    }
    None
}

/// The last common name in a whole DER name.
pub(super) fn common_name(name: &[u8]) -> Option<String> {
    let mut sets = Reader(name).enter(SEQUENCE)?;
    let mut found = None;
    while let Some(mut set) = sets.enter(SET) {
        while let Some(mut pair) = set.enter(SEQUENCE) {
            // 2.5.4.3, commonName
            if pair.take(OID)?.body == [0x55, 0x04, 0x03] {
                found = Some(string(pair.any()?));
            }
        }
    }
    found
}

/// Tag of BMPString, UTF-16.
const BMP_STRING: u8 = 0x1e;

fn string(value: Tlv<'_>) -> String {
    if value.tag == BMP_STRING {
        let units: Vec<u16> = value.body.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]])).collect();
        return String::from_utf16_lossy(&units);
    }
    String::from_utf8_lossy(value.body).into_owned()
}

/// Seconds since 1970 of a UTCTime (`YYMMDDHHMMSSZ`, years 1950 to 2049) or GeneralizedTime.
fn time(text: &[u8]) -> Option<i64> {
    let digits = text.strip_suffix(b"Z")?;
    if !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number = |from: usize, to: usize| digits[from..to].iter().fold(0_i64, |n, b| n * 10 + i64::from(b - b'0'));
    let (year, at) = match digits.len() {
        12 if number(0, 2) < 50 => (2000 + number(0, 2), 2),
        12 => (1900 + number(0, 2), 2),
        14 => (number(0, 4), 4),
        _ => return None,
    };
    let part = |i: usize| number(at + 2 * i, at + 2 * i + 2);
    // Days since 1970-01-01 in the Gregorian calendar, counting years from March so that the
    // leap day is the last one.
    let (month, day) = (part(0), part(1));
    let from_march = (month + 9) % 12;
    let year = if month <= 2 { year - 1 } else { year };
    let days = 365 * year + year.div_euclid(4) - year.div_euclid(100)
        + year.div_euclid(400)
        + (from_march * 153 + 2) / 5
        + day
        - 719_469;
    Some(days * 86_400 + part(2) * 3600 + part(3) * 60 + part(4))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sign::tests::data;

    #[test]
    fn times() {
        assert_eq!(time(b"700101000000Z"), Some(0));
        assert_eq!(time(b"20000301000000Z"), Some(951_868_800));
        assert_eq!(time(b"20240229123456Z"), Some(1_709_210_096));
        assert_eq!(time(b"491231235959Z"), Some(2_524_607_999));
        assert_eq!(time(b"21260101000000Z"), Some(4_922_899_200));
        assert_eq!(time(b"2401"), None);
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
        assert!(text.contains(&der::colons(&der.sha1())), "{text}");
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
