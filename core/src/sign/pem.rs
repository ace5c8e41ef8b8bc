//! PEM blocks (RFC 7468, and the older form with headers inside).

/// One block: its label, whether it says it is encrypted, and its decoded bytes.
#[derive(Clone)]
pub(super) struct Block {
    pub label: String,
    pub encrypted: bool,
    pub bytes: Vec<u8>,
}

/// Every well-formed block of `text`, in order; other text is skipped.
pub(super) fn blocks(text: &[u8]) -> Vec<Block> {
    let mut found = Vec::new();
    let mut open: Option<(String, bool, Vec<u8>)> = None;
    for line in text.split(|b| *b == b'\n') {
        let line = line.trim_ascii();
        if let Some(label) = marker(line, b"-----BEGIN ") {
            open = Some((label, false, Vec::new()));
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

fn decode(base64: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(base64.len() / 4 * 3);
    let mut bits: u32 = 0;
    let mut count = 0;
    for byte in base64.iter().take_while(|b| **b != b'=') {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = (bits << 6) | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            // The upper bits are those of bytes already written.
            #[allow(clippy::cast_possible_truncation)]
            out.push((bits >> count) as u8);
        }
    }
    Some(out)
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
}
