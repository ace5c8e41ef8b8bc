//! Whether this machine will load what was signed, for those who must know.

use std::path::Path;

use serde::Serialize;

use super::signing::expected_signing;
use crate::compress;
use crate::context::Context;
use crate::facts::{Error, Facts};
use crate::names::{Kernel, Package};
use crate::sign::advice::{self, Key};
use crate::sign::state::ExpectedSigning;
use crate::sign::trust::{Enrolment, MachineTrust};
use crate::sign::{self, Certificate, Untrusted};
use crate::tree::manifest::KernelManifest;

/// The state of the machine that will boot the root worked on: `None` unless that is this one.
pub fn machine(ctx: &Context) -> Option<MachineTrust> {
    let ours = ctx.trees.root.is_host() && !ctx.machine.in_chroot;
    ours.then(|| MachineTrust::read(&ctx.trees.outer("/sys"), &ctx.trees.outer("/proc")))
}

/// What to tell a user whose modules for `kernels` this machine would refuse; `None` in all other cases. Costs next to
/// nothing where nothing is enforced. For the end of `install`, `status --long` and the summary of a transaction.
pub fn advice(run: &Facts<'_>, kernels: &[Kernel]) -> Result<Option<Vec<String>>, Error> {
    let Some(facts) = machine(run.ctx).filter(MachineTrust::enforced) else { return Ok(None) };
    let mut unsigned = None;
    let mut keys: Vec<(std::path::PathBuf, Certificate)> = Vec::new();
    for kernel in kernels {
        match of_kernel(run, kernel)? {
            ExpectedSigning::Unsigned(why) => unsigned = Some(why),
            ExpectedSigning::Key { certificate, path, .. } if !keys.iter().any(|(known, _)| *known == path) => {
                keys.push((path, *certificate));
            }
            ExpectedSigning::Key { .. } | ExpectedSigning::NewKey => {}
        }
    }
    let subjects: Vec<String> = keys.iter().map(|(_, cert)| cert.subject_name().unwrap_or_default()).collect();
    let keys: Vec<Key<'_>> = keys
        .iter()
        .zip(&subjects)
        .map(|((path, cert), subject)| Key { path, subject, trust: facts.certificate_trusted(cert) })
        .collect();
    Ok(advice::advice(&facts, &keys, unsigned.as_deref()))
}

/// What to tell a user whose modules of `pairs` are installed without a signature, on a machine that refuses such. Where
/// nothing is signed, [`advice()`] says so.
pub fn without_signature(ctx: &Context, pairs: &[(Package, Kernel)]) -> Option<Vec<String>> {
    let facts = machine(ctx).filter(MachineTrust::enforced)?;
    let mut found = Vec::new();
    for (package, kernel) in pairs {
        let beside = KernelManifest::known(&ctx.trees, &kernel.release);
        let dir = ctx.trees.modules_dir(&kernel.release);
        for file in beside.find(package, &kernel.arch).iter().flat_map(|entry| &entry.files) {
            if Signature::read(&file.outer(&dir), None, &[]).trust == "unsigned" {
                found.push((package.to_string(), kernel.release.to_string(), file.file.clone()));
            }
        }
    }
    advice::without_signature(&facts, &found)
}

/// What signing for `kernel` means now.
pub fn of_kernel(run: &Facts<'_>, kernel: &Kernel) -> Result<ExpectedSigning, Error> {
    let facts = run.kernel(kernel)?;
    Ok(expected_signing(run.ctx, &facts, &run.signing_options(&facts)?))
}

/// What a module file says of its signature.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Signature {
    /// The file's name.
    pub file: String,
    /// Common name of the signer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signer: Option<String>,
    /// The hash.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hash: Option<String>,
    /// The signer's serial number or key identifier.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_id: Option<String>,
    /// `unsigned`, `damaged`, `unreadable`; else `trusted`, `pending`, `not-trusted`, `unknown`, `signed` (in another root).
    pub trust: &'static str,
}

impl Signature {
    /// Reads the module at `path`, decompressed by its suffix. `machine`: the facts that trust depends on; `known`:
    /// certificates that may have signed it.
    pub fn read(path: &Path, machine: Option<&MachineTrust>, known: &[Certificate]) -> Self {
        let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let bare = |trust| Self { file: file.clone(), signer: None, hash: None, key_id: None, trust };
        let Ok(bytes) = compress::read_module(path) else { return bare("unreadable") };
        let message = match sign::facts(&bytes) {
            Ok(message) => message,
            Err(Untrusted::Unsigned) => return bare("unsigned"),
            Err(_) => return bare("damaged"),
        };
        Self {
            trust: machine.map_or("signed", |facts| word(facts.signature_trusted(&message, known))),
            key_id: Some(message.key_id()),
            signer: message.signer_name(),
            hash: Some(message.hash),
            file,
        }
    }

    /// It in one line.
    pub fn line(&self) -> String {
        let Self { file, trust, .. } = self;
        let (Some(hash), Some(key_id)) = (&self.hash, &self.key_id) else { return format!("{file}: {trust}") };
        let signer = self.signer.as_deref().unwrap_or("a key without a name");
        let trust = match *trust {
            "trusted" => ", trusted",
            "pending" => ", not trusted before it is enrolled at the next boot",
            "not-trusted" => ", not trusted by this machine",
            "unknown" => ", not known to be trusted",
            _ => "",
        };
        format!("{file}: signed by {signer} ({hash}, {key_id}){trust}")
    }
}

/// Trust in one word.
pub fn word(trust: Enrolment) -> &'static str {
    match trust {
        Enrolment::Enrolled | Enrolment::FirmwareOnly => "trusted",
        Enrolment::Pending => "pending",
        Enrolment::NotEnrolled => "not-trusted",
        Enrolment::Unknown => "unknown",
    }
}
