//! PEM blocks (RFC 7468, and the older form with headers inside).
//!
//! The crate pem-rfc7468 reads files of one block without headers; a file of CONFIG_MODULE_SIG_KEY holds a key and a
//! certificate, and the older form says in a header that a key is encrypted.

use base64ct::{Base64Unpadded, Encoding};
use zeroize::Zeroizing;

/// One block: its label, whether it says it is encrypted, and its decoded bytes.
pub(super) struct Block {
    pub label: String,
    pub encrypted: bool,
    pub bytes: Zeroizing<Vec<u8>>,
}

/// Every well-formed block of `text`, in order; other text is skipped.
pub(super) fn blocks(text: &[u8]) -> Vec<Block> {
    let mut found = Vec::new();
    let mut open: Option<(String, bool, Zeroizing<Vec<u8>>)> = None;
    for line in text.split(|b| *b == b'\n') {
        let line = line.trim_ascii();
        if let Some(label) = marker(line, b"-----BEGIN ") {
            open = Some((label, false, Zeroizing::default()));
        } else if let Some(label) = marker(line, b"-----END ") {
            if let Some((begun, encrypted, base64)) = open.take() {
                if begun == label {
                    // An encrypted block is reported even though it is of no use to us.
                    let bytes = decode(&base64).unwrap_or_default();
                    if encrypted || !bytes.is_empty() {
                        found.push(Block { label, encrypted, bytes });
                    }
                }
            }
        } else if let Some((_, encrypted, base64)) = &mut open {
            if line.contains(&b':') {
                *encrypted |= line.starts_with(b"Proc-Type:") && line.ends_with(b"ENCRYPTED");
            } else {
                base64.extend_from_slice(line);
            }
        }
    }
    found
}

fn marker(line: &[u8], begin: &[u8]) -> Option<String> {
    let label = line.strip_prefix(begin)?.strip_suffix(b"-----")?;
    String::from_utf8(label.to_vec()).ok()
}

/// What `base64` encodes, decoded in a time that does not depend on it: it may be a private key.
fn decode(base64: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    // Not every writer pads.
    let text = base64.split(|b| *b == b'=').next().unwrap_or_default();
    let text = std::str::from_utf8(text).ok()?;
    Base64Unpadded::decode_vec(text).ok().map(Zeroizing::new)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_found_between_other_text() {
        let text = b"noise\n-----BEGIN A-----\naGVs\r\nbG8=\n-----END A-----\nmore\n-----BEGIN B-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: x\n\n!!!!\n-----END B-----\n-----BEGIN C-----\nAA";
        let found = blocks(text);
        assert_eq!(found.len(), 2);
        assert_eq!((found[0].label.as_str(), &found[0].bytes[..]), ("A", &b"hello"[..]));
        assert!(!found[0].encrypted && found[1].encrypted);
    }

    #[test]
    fn base64_of_any_length_and_nothing_else() {
        for (text, bytes) in [
            ("", Some(&b""[..])),
            ("aA", Some(b"h")),
            ("aA==", Some(b"h")),
            ("aGU=", Some(b"he")),
            ("aGVs", Some(b"hel")),
            ("+/+/", Some(&[0xfb, 0xff, 0xbf])),
            ("a", None),
            ("aG s", None),
            ("aG-_", None),
            ("aG\u{e9}s", None),
        ] {
            assert_eq!(decode(text.as_bytes()).as_deref().map(Vec::as_slice), bytes, "{text:?}");
        }
    }
}
