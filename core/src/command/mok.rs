//! `dkms mok`: what this machine trusts, and having it trust the key that signs modules.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde::Serialize;

use crate::cli::args::Args;
use crate::cli::verb::Mok;
use crate::context::Context;
use crate::durable;
use crate::error::Error;
use crate::error::UsageError;
use crate::host::tools;
use crate::report::{Event, Reporter};
use crate::run::Session;
use crate::sign::trust::{Enrolment, MachineTrust};
use crate::sign::{Certificate, colons};
use crate::sign::{signing, will_load};

pub(super) fn run(ctx: &Context, args: &Args, what: &Mok, json: bool, reporter: &dyn Reporter) -> Result<u8, Error> {
    let session = Session::new(ctx)?;
    let kernel = session.facts.kernel(&super::source::some_kernel(ctx, args)?)?;
    let keys = signing::keys(ctx, &kernel, &session.facts.signing_options(&kernel)?);
    match what {
        Mok::Status => status(ctx, json, &keys, reporter),
        Mok::Enroll => enroll(ctx, args, &keys, reporter),
        Mok::Other(other) => {
            Err(Error::Usage(UsageError::BadValue(format!("dkms mok knows status and enroll, not {other:?}."))))
        }
    }
}

#[derive(Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub(super) struct MokStatus {
    #[serde(skip_serializing_if = "Option::is_none")]
    machine: Option<Machine>,
    key: PathBuf,
    key_present: bool,
    certificate: PathBuf,
    certificate_present: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sha1: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires: Option<i64>,
    /// `trusted`, `pending`, `not-trusted` or `unknown`: now.
    trust: &'static str,
    /// `trusted`, `if-confirmed`, `not-trusted` or `unknown`: after the next boot.
    next_boot: &'static str,
}

#[derive(Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub(super) struct Machine {
    efi: bool,
    secure_boot: Option<bool>,
    shim_validation: bool,
    lockdown: Option<String>,
    sig_enforce: Option<bool>,
    refuses_untrusted: bool,
}

fn status(ctx: &Context, json: bool, keys: &signing::Keys, reporter: &dyn Reporter) -> Result<u8, Error> {
    let facts = will_load::machine(ctx);
    let file = ctx.trees.outer(&keys.certificate);
    let cert = Certificate::load(&file);
    let (now, next) = match (&facts, &cert) {
        (Some(facts), Ok(cert)) => (facts.certificate_trusted(cert), next_boot(facts, cert)),
        _ => (Enrolment::Unknown, "unknown"),
    };
    let on_token = !keys.key.is_absolute();
    let known = cert.as_ref().ok();
    let state = MokStatus {
        machine: facts.as_ref().map(|facts| Machine {
            efi: facts.efi,
            secure_boot: facts.secure_boot,
            shim_validation: !facts.shim_insecure,
            lockdown: facts.lockdown.clone(),
            sig_enforce: facts.sig_enforce,
            refuses_untrusted: facts.enforced(),
        }),
        key_present: on_token || ctx.trees.outer(&keys.key).is_file(),
        key: keys.key.clone(),
        certificate_present: file.is_file(),
        certificate: keys.certificate.clone(),
        subject: known.and_then(Certificate::subject_name),
        key_id: known.map(Certificate::serial_text),
        sha1: known.map(|cert| colons(&cert.sha1()).to_lowercase()),
        expires: known.map(|cert| cert.not_after),
        trust: will_load::word(now),
        next_boot: next,
    };
    if json {
        super::document(&state, reporter)?;
        return Ok(0);
    }
    print(&state, reporter);
    if let Err(error) = cert.as_ref().map_err(ToString::to_string) {
        if state.certificate_present {
            reporter.warning(&[&error]);
        } else {
            reporter.line(&"There is no key yet; make one with: dkms generate_mok");
        }
    } else if now == Enrolment::NotEnrolled && facts.is_some_and(|facts| facts.efi) {
        reporter.line(&"Enrol the certificate with: dkms mok enroll");
    }
    Ok(0)
}

fn print(state: &MokStatus, reporter: &dyn Reporter) {
    let said = |value: Option<bool>| match value {
        Some(true) => "on",
        Some(false) => "off",
        None => "not known",
    };
    if let Some(machine) = &state.machine {
        let relaxed = if machine.shim_validation { "" } else { " (but shim was told not to validate)" };
        reporter.line(&format!("Secure Boot:              {}{relaxed}", said(machine.secure_boot)));
        reporter.line(&format!("Kernel lockdown:          {}", machine.lockdown.as_deref().unwrap_or("not known")));
        reporter.line(&format!("module.sig_enforce:       {}", said(machine.sig_enforce)));
        let refused = if machine.refuses_untrusted { "refused" } else { "loaded" };
        reporter.line(&format!("Untrusted modules are:    {refused}"));
    }
    let mark = |there| if there { "" } else { " (missing)" };
    reporter.line(&format!("Signing key:              {}{}", state.key.display(), mark(state.key_present)));
    reporter.line(&format!(
        "Public certificate (MOK): {}{}",
        state.certificate.display(),
        mark(state.certificate_present)
    ));
    if let (Some(subject), Some(key_id), Some(sha1), Some(expires)) =
        (&state.subject, &state.key_id, &state.sha1, state.expires)
    {
        reporter.line(&format!("  subject:                {subject}"));
        reporter.line(&format!("  key id:                 {key_id}"));
        reporter.line(&format!("  SHA-1:                  {sha1}"));
        reporter
            .line(&format!("  expires:                {}", crate::clock::date(u64::try_from(expires).unwrap_or(0))));
        let now = match state.trust {
            "trusted" => "yes",
            "unknown" => "not known",
            _ => "no",
        };
        reporter.line(&format!("Trusted now:              {now}"));
        let next = match state.next_boot {
            "trusted" => "yes",
            "if-confirmed" => "yes, if you confirm \"Enroll MOK\" during the boot",
            "not-trusted" => "no",
            _ => "not known",
        };
        reporter.line(&format!("Trusted at next boot:     {next}"));
    }
}

fn next_boot(facts: &MachineTrust, cert: &Certificate) -> &'static str {
    match facts.certificate_trusted(cert) {
        _ if facts.mok_new.contains(&cert.der) => "if-confirmed",
        Enrolment::Enrolled | Enrolment::FirmwareOnly if facts.leaving(cert) => "not-trusted",
        Enrolment::Enrolled | Enrolment::FirmwareOnly => "trusted",
        Enrolment::Pending => "if-confirmed",
        Enrolment::NotEnrolled => "not-trusted",
        Enrolment::Unknown => "unknown",
    }
}

fn enroll(ctx: &Context, args: &Args, keys: &signing::Keys, reporter: &dyn Reporter) -> Result<u8, Error> {
    let refuse = |lines: &[&str]| {
        reporter.report(Event::Error(lines.iter().map(|line| (*line).to_owned()).collect()));
        Ok(1)
    };
    let Some(facts) = will_load::machine(ctx) else {
        return refuse(&[
            "Keys are enrolled on the machine that boots the system, not from outside.",
            "Boot it, then run there: dkms mok enroll",
        ]);
    };
    let file = ctx.trees.outer(&keys.certificate);
    let cert = match Certificate::load(&file) {
        Ok(cert) => cert,
        Err(_) if !file.exists() => {
            return refuse(&["There is no certificate to enrol yet.", "Make a key first: dkms generate_mok"]);
        }
        Err(error) => return refuse(&[&error.to_string()]),
    };
    match facts.certificate_trusted(&cert) {
        Enrolment::Enrolled if !facts.leaving(&cert) => {
            reporter.line(&format!("{} is enrolled already.", keys.certificate.display()));
            return Ok(0);
        }
        Enrolment::Pending => {
            reporter.line(&format!("{} waits for you to confirm it at the next boot.", keys.certificate.display()));
            return Ok(0);
        }
        _ => {}
    }
    if !facts.efi {
        return refuse(&["This machine was not booted by UEFI firmware: it has no place to enrol a key in."]);
    }
    super::check_access(ctx, args)?;
    let Some(mokutil) = ctx.world.find("mokutil") else {
        return refuse(&["mokutil is not on this system.", &tools::advise(&ctx.distribution, "mokutil")]);
    };
    if ctx.options.dry_run {
        reporter.line(&format!("Would run: mokutil --import {}", keys.certificate.display()));
        return Ok(0);
    }
    let code = import(&mokutil, &file, &cert, reporter)?;
    if code == 0 {
        ctx.trees.snapshot().act();
    }
    Ok(code)
}

/// Has mokutil ask for the password and leave the request for MokManager. It wants DER.
fn import(mokutil: &Path, file: &Path, cert: &Certificate, reporter: &dyn Reporter) -> Result<u8, Error> {
    let scratch =
        tempfile::Builder::new().prefix("dkms-mok-").permissions(std::fs::Permissions::from_mode(0o700)).tempdir()?;
    let der = scratch.path().join("certificate.der");
    let as_it_is = durable::bytes(file).is_ok_and(|bytes| bytes == cert.der);
    if !as_it_is {
        fs_err::write(&der, &cert.der)?;
    }
    reporter.line(&"Choose a password of 8 to 256 characters; the next boot asks for it once.");
    let ended = crate::process::command(mokutil)
        .arg("--import")
        .arg(if as_it_is { file } else { &der })
        .stdin(Stdio::inherit())
        .status()?;
    if !ended.success() {
        reporter.report(Event::Error(vec![format!("mokutil --import failed ({ended}); nothing was enrolled.")]));
        return Ok(1);
    }
    reporter.line(&"Now reboot, choose \"Enroll MOK\" in the blue screen, and give that password.");
    Ok(0)
}
