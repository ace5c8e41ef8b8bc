//! Private keys, recognised by their content: none may enter an archive or a package.

/// DER of the RSA and EC algorithm identifiers that follow the version in PKCS#8 (RFC 5958).
const PKCS8_ALGORITHMS: [&[u8]; 2] =
    [b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01", b"\x06\x07\x2a\x86\x48\xce\x3d\x02\x01"];

/// Says what kind of private key `content` holds, if it does: PEM of any kind at the beginning of a line
/// anywhere in it (RFC 7468, OpenSSH, PGP), or unencrypted PKCS#8, PKCS#1 or SEC 1 in DER.
/// Source code that merely names the marker in a string or without a key behind it is none.
pub fn private_key(content: &[u8]) -> Option<&'static str> {
    if is_der_key(content) {
        return Some("a DER private key");
    }
    const BEGIN: &[u8] = b"-----BEGIN ";
    let mut at = 0;
    while let Some(found) = find(&content[at..], BEGIN) {
        let start = at + found;
        at = start + BEGIN.len();
        let line_start = start == 0 || content[start - 1] == b'\n';
        let line_end = find(&content[start..], b"\n").map_or(content.len(), |n| start + n);
        let line = content[start..line_end].trim_ascii_end();
        let is_marker = line.ends_with(b"PRIVATE KEY-----") || line.ends_with(b"PRIVATE KEY BLOCK-----");
        if is_marker && line_start && (start == 0 || has_key_material(&content[line_end..])) {
            return Some("a PEM private key");
        }
    }
    None
}

/// Within the first lines behind a marker is one that only base64 can be.
fn has_key_material(after: &[u8]) -> bool {
    after.split(|b| *b == b'\n').take(12).any(|line| {
        let line = line.trim_ascii_end();
        line.len() >= 48 && line.iter().all(|b| b.is_ascii_alphanumeric() || b"+/=".contains(b))
    })
}

fn is_der_key(content: &[u8]) -> bool {
    // SEQUENCE with a two-byte length, then INTEGER 0 (the version).
    if content.len() < 64 || content[0] != 0x30 {
        return false;
    }
    let body = match content[1] {
        0x82 => 4,
        0x81 => 3,
        n if n < 0x80 => 2,
        _ => return false,
    };
    // SEC 1 (RFC 5915): version 1, then the key as an octet string of the curve's size.
    if let [0x02, 0x01, 0x01, 0x04, length, ..] = content[body..] {
        return [32, 48, 66].contains(&length);
    }
    let Some(rest) = content[body..].strip_prefix(&[0x02, 0x01, 0x00]) else {
        return false;
    };
    let pkcs8 = PKCS8_ALGORITHMS.iter().any(|a| rest.get(2..2 + a.len()) == Some(a));
    // PKCS#1: the modulus, a long INTEGER, follows.
    pkcs8 || rest.starts_with(&[0x02, 0x82]) || rest.starts_with(&[0x02, 0x81])
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|w| w == needle)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_seen_and_sources_are_not() {
        let base64 = "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7VJTUt9Us8cKj";
        for kind in ["", "RSA ", "EC ", "ENCRYPTED ", "OPENSSH "] {
            let pem = format!("-----BEGIN {kind}PRIVATE KEY-----\n{base64}\n");
            assert!(private_key(pem.as_bytes()).is_some(), "{kind}");
            assert!(private_key(format!("Bag Attributes\n{pem}").as_bytes()).is_some(), "{kind}");
        }
        let code = format!("const char *k = \"-----BEGIN PRIVATE KEY-----\\n\"\n\"{base64}\";");
        assert_eq!(private_key(code.as_bytes()), None);
        assert_eq!(private_key(b"Put it between\n-----BEGIN PRIVATE KEY-----\nand its end.\n"), None);
        assert_eq!(private_key(format!("-----BEGIN CERTIFICATE-----\n{base64}\n").as_bytes()), None);
        assert_eq!(private_key(b""), None);
    }

    #[test]
    fn der_keys_are_seen() {
        let tmp = tempfile::tempdir().unwrap();
        for algorithm in
            [&["RSA", "-pkeyopt", "rsa_keygen_bits:2048"][..], &["EC", "-pkeyopt", "ec_paramgen_curve:P-256"]]
        {
            let file = tmp.path().join("key");
            #[allow(clippy::disallowed_methods, reason = "a test needs openssl")]
            let made = std::process::Command::new("openssl")
                .args(["genpkey", "-outform", "DER", "-algorithm"])
                .args(algorithm)
                .arg("-out")
                .arg(&file)
                .output()
                .unwrap();
            assert!(made.status.success());
            assert!(private_key(&std::fs::read(&file).unwrap()).is_some(), "{algorithm:?}");
        }
    }
}
