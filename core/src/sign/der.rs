//! The few lines of DER (ITU-T X.690) that signatures and certificates need.

/// Tag of INTEGER.
pub(super) const INTEGER: u8 = 0x02;
/// Tag of BIT STRING.
pub(super) const BIT_STRING: u8 = 0x03;
/// Tag of OCTET STRING.
pub(super) const OCTET_STRING: u8 = 0x04;
/// Tag of OBJECT IDENTIFIER.
pub(super) const OID: u8 = 0x06;
/// Tag of SEQUENCE.
pub(super) const SEQUENCE: u8 = 0x30;
/// Tag of SET.
pub(super) const SET: u8 = 0x31;
/// A whole NULL.
pub(super) const NULL: [u8; 2] = [0x05, 0x00];
/// 1.2.840.113549.1.1.1, rsaEncryption.
pub(super) const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];

/// One value: its tag, its content, and both with the length as they stood in the input.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tlv<'a> {
    pub tag: u8,
    pub body: &'a [u8],
    pub whole: &'a [u8],
}

/// Reads values one after the other; every answer is `None` once the input is not DER.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reader<'a>(pub &'a [u8]);

impl<'a> Reader<'a> {
    /// The next value, whatever it is.
    pub fn any(&mut self) -> Option<Tlv<'a>> {
        let (&tag, rest) = self.0.split_first()?;
        let (&first, mut rest) = rest.split_first()?;
        let mut len = usize::from(first);
        if first & 0x80 != 0 {
            let count = usize::from(first & 0x7f);
            if count == 0 || count > 4 || rest.len() < count {
                return None;
            }
            len = rest[..count].iter().fold(0, |n, b| (n << 8) | usize::from(*b));
            rest = &rest[count..];
        }
        if rest.len() < len {
            return None;
        }
        let header = self.0.len() - rest.len();
        let (whole, after) = self.0.split_at(header + len);
        self.0 = after;
        Some(Tlv { tag, body: &whole[header..], whole })
    }

    /// The next value, which must have this tag.
    pub fn take(&mut self, tag: u8) -> Option<Tlv<'a>> {
        let value = self.any()?;
        (value.tag == tag).then_some(value)
    }

    /// The next value if it has this tag; otherwise nothing is consumed.
    pub fn maybe(&mut self, tag: u8) -> Option<Tlv<'a>> {
        if self.0.first() == Some(&tag) { self.any() } else { None }
    }

    /// A reader of the content of the next value, which must have this tag.
    pub fn enter(&mut self, tag: u8) -> Option<Reader<'a>> {
        self.take(tag).map(|value| Reader(value.body))
    }
}

/// Writes one value whose content is `parts` joined.
pub(super) fn tlv(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let len: usize = parts.iter().map(|part| part.len()).sum();
    let mut out = Vec::with_capacity(len + 6);
    out.push(tag);
    let bytes = len.to_be_bytes();
    let skip = bytes.iter().take_while(|b| **b == 0).count();
    match bytes[skip..] {
        [] => out.push(0),
        [short] if short < 0x80 => out.push(short),
        ref long => {
            // At most 8 bytes, so the cast loses nothing.
            #[allow(clippy::cast_possible_truncation)]
            out.push(0x80 | long.len() as u8);
            out.extend_from_slice(long);
        }
    }
    for part in parts {
        out.extend_from_slice(part);
    }
    out
}

/// Bytes as upper-case hexadecimal pairs joined by colons.
pub fn colons(bytes: &[u8]) -> String {
    let pairs: Vec<String> = bytes.iter().map(|b| format!("{b:02X}")).collect();
    pairs.join(":")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_survive_a_round_trip() {
        for len in [0, 1, 127, 128, 255, 256, 65_535, 65_536] {
            let body = vec![7; len];
            let der = tlv(OCTET_STRING, &[&body]);
            let mut reader = Reader(&der);
            assert_eq!(reader.take(OCTET_STRING).unwrap().body, body);
            assert!(reader.0.is_empty());
        }
        assert_eq!(tlv(OCTET_STRING, &[&[0; 200]])[..3], [4, 0x81, 200]);
    }

    #[test]
    fn cut_input_is_refused() {
        let der = tlv(SEQUENCE, &[&[1; 300]]);
        for cut in 0..der.len() {
            assert!(Reader(&der[..cut]).any().is_none(), "{cut}");
        }
        assert!(Reader(&[0x30, 0x80, 0, 0]).any().is_none(), "indefinite length");
        assert!(Reader(&[0x30, 0x85, 1, 1, 1, 1, 1]).any().is_none());
    }
}
