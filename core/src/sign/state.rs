//! Whether what is signed is signed as it would be today. Pure.

use std::path::PathBuf;

use super::Certificate;
use crate::tree::manifest::Signer;

/// What signing for a kernel would mean now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExpectedSigning {
    /// Modules stay unsigned: why, as a sentence.
    Unsigned(String),
    /// They are signed, with a key that would have to be made first.
    NewKey,
    /// They are signed with this key.
    Key {
        /// As manifests record it.
        signer: Signer,
        /// Its certificate.
        certificate: Box<Certificate>,
        /// Where that is, as an inside path.
        path: PathBuf,
    },
}

/// What is to become of modules that are built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Their signatures are as they should be.
    Fine,
    /// They are to be signed (anew): why, as the end of "… because ".
    Resign(String),
}

/// Judges an artefact by the signer that its manifest names. The hash does not count: a kernel checks
/// signatures with any that it knows. Signatures where none are made now are let be.
pub fn judge(recorded: Option<&Signer>, present: &ExpectedSigning) -> Verdict {
    match (recorded, present) {
        (_, ExpectedSigning::Unsigned(_)) | (Some(_), ExpectedSigning::NewKey) => Verdict::Fine,
        (Some(old), ExpectedSigning::Key { signer, .. })
            if old.key_id == signer.key_id && old.subject == signer.subject =>
        {
            Verdict::Fine
        }
        (None, _) => Verdict::Resign("it is not signed, although modules are signed here".to_owned()),
        (Some(old), ExpectedSigning::Key { signer, .. }) => Verdict::Resign(format!(
            "it is signed with another key ({}, {}) than modules are now ({}, {})",
            old.subject, old.key_id, signer.subject, signer.key_id
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sign::tests::data;

    fn signer(key_id: &str, hash: &str) -> Signer {
        Signer { key_id: key_id.into(), hash: hash.into(), subject: "me".into() }
    }

    fn key(key_id: &str) -> ExpectedSigning {
        let certificate = Box::new(Certificate::load(&data("rsa2048.der")).unwrap());
        ExpectedSigning::Key { signer: signer(key_id, "sha512"), certificate, path: "/k".into() }
    }

    #[test]
    fn unsigned_and_wrongly_signed_is_signed_anew() {
        let unsigned = ExpectedSigning::Unsigned("policy".into());
        let why = |verdict| match verdict {
            Verdict::Resign(why) => why,
            Verdict::Fine => String::new(),
        };
        assert!(why(judge(None, &key("0A"))).contains("not signed"));
        assert!(why(judge(None, &ExpectedSigning::NewKey)).contains("not signed"));
        assert!(why(judge(Some(&signer("0B", "sha512")), &key("0A"))).contains("another key (me, 0B)"));
        for fine in [
            judge(Some(&signer("0A", "sha256")), &key("0A")),
            judge(Some(&signer("0A", "sha512")), &ExpectedSigning::NewKey),
            judge(Some(&signer("0A", "sha512")), &unsigned),
            judge(None, &unsigned),
        ] {
            assert_eq!(fine, Verdict::Fine);
        }
    }
}
