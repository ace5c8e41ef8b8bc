//! What a user must know before the next boot: that this machine will refuse the modules, and what to do. Pure.

use std::path::Path;

use super::trust::{Enrolment, MachineTrust};

/// A key that signs modules here.
#[derive(Debug, Clone, Copy)]
pub struct Key<'a> {
    /// Where its certificate is.
    pub path: &'a Path,
    /// Its subject's common name.
    pub subject: &'a str,
    /// Whether it is trusted.
    pub trust: Enrolment,
}

/// The lines of a warning; `None` if there is nothing to warn of. `unsigned`: why modules are not signed, if any
/// stay so.
pub fn advice(facts: &MachineTrust, keys: &[Key<'_>], unsigned: Option<&str>) -> Option<Vec<String>> {
    let why = enforcing(facts)?;
    let mut lines = Vec::new();
    if let Some(reason) = unsigned {
        lines.push(format!("{why}: it refuses to load the modules, which are not signed ({reason})."));
    }
    for key in keys {
        let shown = format!("{} ({})", key.path.display(), key.subject);
        match key.trust {
            Enrolment::NotEnrolled if facts.efi => lines.extend([
                format!("{why}: it refuses to load the modules, since the certificate they are signed with is not enrolled."),
                format!("Certificate: {shown}"),
                "Enrol it with: dkms mok enroll".to_owned(),
                "That asks for a password; the next boot asks for it again (Enroll MOK), and the modules load from then on."
                    .to_owned(),
            ]),
            Enrolment::NotEnrolled => lines.extend([
                format!("{why}: it refuses to load the modules, since the certificate they are signed with is in none of its keyrings."),
                format!("Certificate: {shown}"),
                "Without UEFI, only the kernel's own build can add it (CONFIG_SYSTEM_TRUSTED_KEYS); or boot without module.sig_enforce and lockdown=."
                    .to_owned(),
            ]),
            Enrolment::Pending => lines.extend([
                format!("{why}: it refuses to load the modules until the certificate {shown} is enrolled, which waits for you."),
                "Reboot, choose \"Enroll MOK\" and give the password chosen for it.".to_owned(),
            ]),
            Enrolment::Unknown => lines.extend([
                format!("{why}: whether it loads the modules can't be told, since its list of trusted keys can't be read."),
                format!("Certificate: {shown}"),
                "Compare it with what this machine says, as root: dkms mok status".to_owned(),
            ]),
            Enrolment::Enrolled | Enrolment::FirmwareOnly => {}
        }
    }
    (!lines.is_empty()).then_some(lines)
}

/// The lines of a warning about installed modules without a signature, each a package, its kernel's release and the file's
/// name, on a machine whose key is enrolled or not; `None` if it takes them.
pub fn without_signature(facts: &MachineTrust, modules: &[(String, String, String)]) -> Option<Vec<String>> {
    let why = enforcing(facts)?;
    if modules.is_empty() {
        return None;
    }
    let mut lines = vec![format!("{why}: it refuses to load modules without a signature.")];
    for (package, release, file) in modules {
        lines.push(format!("{file} is not signed. To sign it: dkms sign {package} -k {release}"));
    }
    Some(lines)
}

/// What makes the machine refuse modules, as the beginning of a sentence; `None`: nothing does.
pub fn enforcing(facts: &MachineTrust) -> Option<&'static str> {
    if !facts.enforced() {
        return None;
    }
    Some(match (facts.secure_boot, facts.sig_enforce) {
        (Some(true), _) => "Secure Boot is on in this machine",
        (_, Some(true)) => "This kernel accepts only modules whose signature it trusts (module.sig_enforce)",
        _ => "This kernel is locked down",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text_of(facts: &MachineTrust, trust: Enrolment) -> String {
        let keys = [Key { path: Path::new("/var/lib/dkms/mok.pub"), subject: "me", trust }];
        advice(facts, &keys, None).unwrap_or_default().join("\n")
    }

    #[test]
    fn said_only_where_modules_would_be_refused() {
        let on = MachineTrust { efi: true, secure_boot: Some(true), ..MachineTrust::default() };
        let text = text_of(&on, Enrolment::NotEnrolled);
        assert!(text.starts_with("Secure Boot is on") && text.contains("dkms mok enroll"), "{text}");
        assert!(text.contains("/var/lib/dkms/mok.pub (me)"), "{text}");
        assert!(text_of(&on, Enrolment::Pending).contains("Reboot"));
        let text = text_of(&on, Enrolment::Unknown);
        assert!(text.contains("can't be told") && text.contains("dkms mok status"), "{text}");
        let modules = [("a/1".to_owned(), "6.1".to_owned(), "a.ko.xz".to_owned())];
        let text = without_signature(&on, &modules).unwrap().join("\n");
        assert!(text.contains("a.ko.xz is not signed") && text.contains("dkms sign a/1 -k 6.1"), "{text}");
        assert_eq!(without_signature(&on, &[]), None);
        for trust in [Enrolment::Enrolled, Enrolment::FirmwareOnly] {
            assert_eq!(text_of(&on, trust), "");
        }
        let off = MachineTrust { efi: true, secure_boot: Some(false), ..MachineTrust::default() };
        assert_eq!(text_of(&off, Enrolment::NotEnrolled), "");
        assert_eq!(text_of(&off, Enrolment::Unknown), "");
        assert_eq!(without_signature(&off, &modules), None);
        let relaxed = MachineTrust { shim_insecure: true, ..on.clone() };
        assert_eq!(text_of(&relaxed, Enrolment::NotEnrolled), "");
        let forced = MachineTrust { sig_enforce: Some(true), ..MachineTrust::default() };
        let text = text_of(&forced, Enrolment::NotEnrolled);
        assert!(text.contains("sig_enforce") && !text.contains("mok enroll"), "{text}");
        let unsigned = advice(&on, &[], Some("signing is off")).unwrap();
        assert!(unsigned[0].contains("not signed (signing is off)"), "{unsigned:?}");
        assert_eq!(advice(&off, &[], Some("signing is off")), None);
    }
}
