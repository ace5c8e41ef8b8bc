//! A signature appended to a module: payload, PKCS#7, 12 bytes of lengths, a magic line.
//!
//! Source: the kernel's `include/linux/module_signature.h` and
//! Documentation/admin-guide/module-signing.rst.

/// The last bytes of a signed module.
pub const MAGIC: &[u8] = b"~Module signature appended~\n";

/// `struct module_signature`: algo, hash, id_type, signer_len, key_id_len, 3 pads, sig_len.
const TRAILER: usize = 12;
/// `PKEY_ID_PKCS7`.
const ID_PKCS7: u8 = 2;

/// Joins a module and its PKCS#7 signature as the kernel's `sign-file` does.
pub(super) fn join(payload: &[u8], pkcs7: &[u8]) -> Option<Vec<u8>> {
    let len = u32::try_from(pkcs7.len()).ok()?;
    let mut out = Vec::with_capacity(payload.len() + pkcs7.len() + TRAILER + MAGIC.len());
    out.extend_from_slice(payload);
    out.extend_from_slice(pkcs7);
    out.extend_from_slice(&[0, 0, ID_PKCS7, 0, 0, 0, 0, 0]);
    out.extend_from_slice(&len.to_be_bytes());
    out.extend_from_slice(MAGIC);
    Some(out)
}

/// A module taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Split<'a> {
    /// No signature is appended.
    Unsigned(&'a [u8]),
    /// The signed bytes and the PKCS#7 message.
    Signed {
        /// What the signature covers: the module as it was built.
        payload: &'a [u8],
        /// The DER of the signature.
        pkcs7: &'a [u8],
    },
    /// It ends in the magic line, but what is before that is not a PKCS#7 signature.
    Broken,
}

/// Takes `module` (uncompressed) apart.
pub fn split(module: &[u8]) -> Split<'_> {
    let Some(rest) = module.strip_suffix(MAGIC) else {
        return Split::Unsigned(module);
    };
    let Some((rest, trailer)) = rest.split_last_chunk::<TRAILER>() else {
        return Split::Broken;
    };
    let [_, _, kind, signer, key_id, _, _, _, a, b, c, d] = *trailer;
    let len = u32::from_be_bytes([a, b, c, d]) as usize;
    if kind != ID_PKCS7 || signer != 0 || key_id != 0 || len == 0 || len > rest.len() {
        return Split::Broken;
    }
    let (payload, pkcs7) = rest.split_at(rest.len() - len);
    Split::Signed { payload, pkcs7 }
}

/// The module without any appended signature; unchanged if it has none, or a broken one.
pub fn strip_signature(module: &[u8]) -> &[u8] {
    let mut module = module;
    while let Split::Signed { payload, .. } = split(module) {
        module = payload;
    }
    module
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn joined_is_split_again_and_doubles_come_off() {
        let once = join(b"module", b"pkcs7").unwrap();
        assert_eq!(split(&once), Split::Signed { payload: b"module", pkcs7: b"pkcs7" });
        let twice = join(&once, b"other").unwrap();
        assert_eq!(strip_signature(&twice), b"module");
        assert_eq!(strip_signature(b"module"), b"module");
    }

    #[test]
    fn nonsense_before_the_magic_is_broken() {
        assert_eq!(split(MAGIC), Split::Broken);
        let mut module = join(b"", b"x").unwrap();
        module.remove(0);
        assert_eq!(split(&module), Split::Broken, "longer than the file");
    }
}
