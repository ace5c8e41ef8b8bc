//! Who trusts a certificate: Secure Boot's state, the machine owner keys, the kernel's keyrings.
//!
//! Sources: UEFI specification 32.4.1 (EFI_SIGNATURE_LIST), shim's MokVars.txt, the kernel's
//! security/integrity/platform_certs/load_uefi.c, kernel_lockdown(7), keyrings(7).

use std::io;
use std::path::Path;

use super::{Certificate, Message, SignerId, colons};

/// EFI_GLOBAL_VARIABLE.
const GLOBAL: &str = "8be4df61-93ca-11d2-aa0d-00e098032b8c";
/// EFI_IMAGE_SECURITY_DATABASE_GUID: db and dbx.
const SECURITY: &str = "d719b2cb-3d3a-4596-a3bc-dad00e67656f";
/// SHIM_LOCK_GUID: all the Mok variables.
const SHIM: &str = "605dab50-e046-4300-abb6-3dd810dd8b23";
/// EFI_CERT_X509_GUID as stored: a5c059a1-94e4-4aa7-87b5-ab155c2bf072.
const X509: [u8; 16] = [0xa1, 0x59, 0xc0, 0xa5, 0xe4, 0x94, 0xa7, 0x4a, 0x87, 0xb5, 0xab, 0x15, 0x5c, 0x2b, 0xf0, 0x72];

/// What the running system says. `None` in a field: it could not be learnt.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MachineTrust {
    /// Whether the system was booted by UEFI firmware.
    pub efi: bool,
    /// Whether the firmware says Secure Boot is on; `Some(false)` on machines without EFI.
    pub secure_boot: Option<bool>,
    /// Whether shim was told not to validate (`mokutil --disable-validation`); the kernel then
    /// treats Secure Boot as off.
    pub shim_insecure: bool,
    /// The lockdown level: "none", "integrity", "confidentiality".
    pub lockdown: Option<String>,
    /// Whether the kernel refuses modules without a valid signature (`module.sig_enforce`).
    pub sig_enforce: Option<bool>,
    /// DER of the machine owner certificates (MokListRT).
    pub mok: Option<Vec<Vec<u8>>>,
    /// DER of the certificates waiting for MokManager at the next boot (MokNew).
    pub mok_new: Vec<Vec<u8>>,
    /// DER of the certificates that MokManager will remove at the next boot (MokDel).
    pub mok_del: Vec<Vec<u8>>,
    /// DER of the firmware's own certificates (db). Not every kernel trusts those for modules.
    pub db: Option<Vec<Vec<u8>>>,
    /// Identifiers (lower-case hexadecimal) of the keys in the kernel's keyrings that this process
    /// may see.
    pub kernel_keys: Vec<String>,
}

/// Whether a certificate is trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Enrolment {
    /// A machine owner key, or in a kernel keyring.
    Enrolled,
    /// Only in the firmware's db: trusted for modules by distribution kernels with the platform
    /// keyring patch, not by others.
    FirmwareOnly,
    /// Requested; needs a reboot and the answer in MokManager.
    Pending,
    /// Not trusted.
    NotEnrolled,
    /// Can't be known (not root, or no source of facts).
    Unknown,
}

impl MachineTrust {
    /// Reads what there is below `sys` and `proc` (outer paths of sysfs and procfs).
    pub fn read(sys: &Path, proc: &Path) -> Self {
        let efi = sys.join("firmware/efi");
        let flag =
            |name: &str, guid| efivar(&efi, name, guid).ok().and_then(|bytes| bytes.first().map(|byte| *byte == 1));
        let certs = |name: &str, guid| efivar(&efi, name, guid).map(|bytes| certificates(&bytes));
        let secure_boot = if efi.is_dir() { flag("SecureBoot", GLOBAL) } else { Some(false) };
        Self {
            efi: efi.is_dir(),
            secure_boot,
            shim_insecure: flag("MokSBStateRT", SHIM).unwrap_or(false),
            lockdown: read_word(&sys.join("kernel/security/lockdown")).and_then(|text| {
                let (_, rest) = text.split_once('[')?;
                rest.split_once(']').map(|(level, _)| level.to_owned())
            }),
            sig_enforce: read_word(&sys.join("module/module/parameters/sig_enforce"))
                .map(|text| text == "Y" || text == "1"),
            mok: mok_list(&efi),
            mok_new: certs("MokNew", SHIM).unwrap_or_default(),
            mok_del: certs("MokDel", SHIM).unwrap_or_default(),
            db: certs("db", SECURITY).ok(),
            kernel_keys: std::fs::read_to_string(proc.join("keys"))
                .map(|text| text.lines().filter_map(key_id).collect())
                .unwrap_or_default(),
        }
    }

    /// Whether the kernel refuses modules whose signature it does not trust.
    pub fn enforced(&self) -> bool {
        self.sig_enforce == Some(true)
            || self.lockdown.as_ref().is_some_and(|level| level != "none")
            || (self.secure_boot == Some(true) && !self.shim_insecure && self.lockdown.is_none())
    }

    /// Whether modules signed with the key of `cert` are trusted now.
    pub fn certificate_trusted(&self, cert: &Certificate) -> Enrolment {
        let holds = |list: &[Vec<u8>]| list.contains(&cert.der);
        let id = cert.key_id.as_deref().unwrap_or(&cert.serial);
        // As the kernel's x509_key_preparse: one leading zero byte is left out.
        let id = match id {
            [0, rest @ ..] if !rest.is_empty() => rest,
            id => id,
        };
        let id = hex(id);
        if self.mok.as_deref().is_some_and(holds) {
            Enrolment::Enrolled
        } else if self.db.as_deref().is_some_and(holds) {
            // Its key is in a keyring too, but not in one that all kernels ask about modules.
            Enrolment::FirmwareOnly
        } else if self.kernel_keys.contains(&id) {
            Enrolment::Enrolled
        } else if holds(&self.mok_new) {
            Enrolment::Pending
        } else if self.mok.is_some() || !self.kernel_keys.is_empty() {
            Enrolment::NotEnrolled
        } else {
            Enrolment::Unknown
        }
    }

    /// Whether `cert` is taken away at the next boot, if that is confirmed there.
    pub fn leaving(&self, cert: &Certificate) -> bool {
        self.mok_del.contains(&cert.der)
    }

    /// Whether the key that made a signature is trusted; `known` are certificates that may be its own, besides those
    /// of the firmware and the machine owner. Whether the signature is good is another question.
    pub fn signature_trusted(&self, message: &Message, known: &[Certificate]) -> Enrolment {
        if let Some(cert) = known.iter().find(|cert| message.names(cert)) {
            return self.certificate_trusted(cert);
        }
        let lists = [self.mok.as_ref(), self.db.as_ref(), Some(&self.mok_new)];
        let listed = lists.into_iter().flatten().flatten().filter_map(|der| Certificate::from_der(der));
        if let Some(cert) = listed.into_iter().find(|cert| message.names(cert)) {
            return self.certificate_trusted(&cert);
        }
        match &message.signer {
            SignerId::KeyId(id) if self.kernel_keys.contains(&hex(id)) => Enrolment::Enrolled,
            _ if self.mok.is_some() => Enrolment::NotEnrolled,
            _ => Enrolment::Unknown,
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    colons(bytes).replace(':', "").to_ascii_lowercase()
}

fn read_word(path: &Path) -> Option<String> {
    std::fs::read_to_string(path).ok().map(|text| text.trim().to_owned())
}

/// A variable from efivarfs, without the 4 bytes of attributes in front.
fn efivar(efi: &Path, name: &str, guid: &str) -> io::Result<Vec<u8>> {
    let bytes = std::fs::read(efi.join("efivars").join(format!("{name}-{guid}")))?;
    Ok(bytes.get(4..).unwrap_or_default().to_vec())
}

/// The machine owner list: whole from the table that shim leaves (root only), else from the
/// variables, where a long list is split into MokListRT, MokListRT1, …
fn mok_list(efi: &Path) -> Option<Vec<Vec<u8>>> {
    if let Ok(bytes) = std::fs::read(efi.join("mok-variables/MokListRT")) {
        return Some(certificates(&bytes));
    }
    let mut found = certificates(&efivar(efi, "MokListRT", SHIM).ok()?);
    for part in 1_u32.. {
        match efivar(efi, &format!("MokListRT{part}"), SHIM) {
            Ok(bytes) => found.extend(certificates(&bytes)),
            Err(_) => break,
        }
    }
    Some(found)
}

/// The X.509 certificates in a row of EFI_SIGNATURE_LISTs; stops at the first that is malformed.
fn certificates(bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    let mut rest = bytes;
    // Type (16 bytes), then three little-endian sizes: list, header, each signature.
    while let Some((head, _)) = rest.split_first_chunk::<28>() {
        let size = |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]) as usize;
        let (list, header, each) = (size(16), size(20), size(24));
        if list < 28 || list > rest.len() || header > list - 28 {
            break;
        }
        if head[..16] == X509 && each > 16 {
            for signature in rest[28 + header..list].chunks_exact(each) {
                // The first 16 bytes say who put it there.
                found.push(signature[16..].to_vec());
            }
        }
        rest = &rest[list..];
    }
    found
}

/// The identifier in a line of /proc/keys for an X.509 key:
/// `… asymmetri Subject: <hexadecimal>: X509.rsa <8 digits> []`.
fn key_id(line: &str) -> Option<String> {
    let (before, _) = line.split_once(": X509.")?;
    let (_, id) = before.rsplit_once(": ")?;
    id.bytes().all(|byte| byte.is_ascii_hexdigit()).then(|| id.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sign::tests::data;

    /// A signature list with these certificates.
    fn list(certs: &[&[u8]]) -> Vec<u8> {
        let mut out = Vec::new();
        for cert in certs {
            out.extend_from_slice(&X509);
            let each = u32::try_from(cert.len() + 16).unwrap();
            out.extend_from_slice(&(each + 28).to_le_bytes());
            out.extend_from_slice(&0_u32.to_le_bytes());
            out.extend_from_slice(&each.to_le_bytes());
            out.extend_from_slice(&[9; 16]);
            out.extend_from_slice(cert);
        }
        out
    }

    fn put(sys: &Path, name: &str, guid: &str, content: &[u8]) {
        let dir = sys.join("firmware/efi/efivars");
        fs_err::create_dir_all(&dir).unwrap();
        let bytes = [&[6, 0, 0, 0], content].concat();
        fs_err::write(dir.join(format!("{name}-{guid}")), bytes).unwrap();
    }

    #[test]
    fn a_machine_without_efi_has_no_secure_boot() {
        let tmp = tempfile::tempdir().unwrap();
        let facts = MachineTrust::read(tmp.path(), tmp.path());
        assert_eq!(facts.secure_boot, Some(false));
        assert!(!facts.enforced());
        let cert = Certificate::load(&data("rsa2048.der")).unwrap();
        assert_eq!(facts.certificate_trusted(&cert), Enrolment::Unknown);
    }

    #[test]
    fn the_state_is_read() {
        let tmp = tempfile::tempdir().unwrap();
        let sys = tmp.path();
        put(sys, "SecureBoot", GLOBAL, &[1]);
        assert!(MachineTrust::read(sys, sys).enforced());
        put(sys, "MokSBStateRT", SHIM, &[1]);
        assert!(!MachineTrust::read(sys, sys).enforced(), "shim was told to relax");
        fs_err::create_dir_all(sys.join("kernel/security")).unwrap();
        fs_err::write(sys.join("kernel/security/lockdown"), "none [integrity] confidentiality\n").unwrap();
        let facts = MachineTrust::read(sys, sys);
        assert_eq!(facts.lockdown.as_deref(), Some("integrity"));
        assert!(facts.enforced());
    }

    #[test]
    fn enrolment_is_found_in_every_place() {
        let tmp = tempfile::tempdir().unwrap();
        let sys = tmp.path();
        let ours = Certificate::load(&data("rsa2048.der")).unwrap();
        let other = Certificate::load(&data("rsa3072.pem")).unwrap();
        let trusted = || MachineTrust::read(sys, sys).certificate_trusted(&ours);

        put(sys, "MokListRT", SHIM, &list(&[&other.der]));
        assert_eq!(trusted(), Enrolment::NotEnrolled);
        put(sys, "MokNew", SHIM, &list(&[&ours.der]));
        assert_eq!(trusted(), Enrolment::Pending);
        put(sys, "db", SECURITY, &list(&[&other.der, &ours.der]));
        assert_eq!(trusted(), Enrolment::FirmwareOnly);
        put(sys, "MokListRT1", SHIM, &list(&[&ours.der]));
        assert_eq!(trusted(), Enrolment::Enrolled);

        let table = sys.join("firmware/efi/mok-variables");
        fs_err::create_dir_all(&table).unwrap();
        fs_err::write(table.join("MokListRT"), list(&[&other.der])).unwrap();
        assert_eq!(trusted(), Enrolment::FirmwareOnly, "the table is whole");

        let signed = fs_err::read(data("rsa2048.sha256.signed")).unwrap();
        let message = crate::sign::facts(&signed).unwrap();
        let facts = MachineTrust::read(sys, sys);
        assert_eq!(facts.signature_trusted(&message, &[]), Enrolment::FirmwareOnly, "found by issuer and serial");
        put(sys, "db", SECURITY, &list(&[&other.der]));
        let facts = MachineTrust::read(sys, sys);
        assert_eq!(facts.signature_trusted(&message, std::slice::from_ref(&ours)), Enrolment::Pending);

        let id = hex(ours.key_id.as_ref().unwrap());
        let line = format!(
            "2dd0bd67 I------     1 perm 1f030000     0     0 asymmetri dkms tests: test: {id}: X509.rsa 12345678 []\n"
        );
        fs_err::write(sys.join("keys"), line).unwrap();
        // A leading zero in the identifier is legal, and left out by the kernel's own listing.
        assert!(id.starts_with("00") || trusted() == Enrolment::Enrolled);
        put(sys, "MokDel", SHIM, &list(&[&ours.der]));
        assert!(MachineTrust::read(sys, sys).leaving(&ours));
    }

    #[test]
    fn malformed_lists_end_quietly() {
        let good = list(&[b"certificate"]);
        assert_eq!(certificates(&good), [b"certificate".to_vec()]);
        for cut in 0..good.len() {
            assert!(certificates(&good[..cut]).is_empty());
        }
        let mut zero = good.clone();
        zero[16..20].fill(0);
        assert!(certificates(&zero).is_empty(), "a list of size 0 must not loop");
    }
}
