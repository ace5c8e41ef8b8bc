//! Whether, how and with which key to sign for one kernel. Pure: facts in, decision out.

use std::fmt;
use std::path::{Path, PathBuf};

use super::Hash;
use crate::host::signing::{AKMODS_CERT, AKMODS_KEY, ModuleSigning, SHIM_CERT, SHIM_KEY};

/// Our own key; the place does not follow `--dkmstree`.
const OWN_KEY: &str = "/var/lib/dkms/mok.key";
/// Its certificate.
const OWN_CERT: &str = "/var/lib/dkms/mok.pub";
/// Where a private key is when nothing is configured.
pub const USUAL_KEYS: [&str; 3] = [OWN_KEY, SHIM_KEY, AKMODS_KEY];

/// What the decision rests on. All paths are inside paths of the root worked on. Framework values
/// are expanded for this kernel already; an empty text means "not set".
#[derive(Debug, Clone, Copy)]
pub struct PolicyInput<'a> {
    /// The kernel release.
    pub release: &'a str,
    /// What the distribution has of its own for it.
    pub distribution: ModuleSigning,
    /// framework.conf `try_sign_modules`.
    pub try_sign_modules: &'a str,
    /// Whether we run in a chroot ([`super::chroot::in_chroot`]).
    pub in_chroot: bool,
    /// The kernel's configuration file.
    pub kernel_config: &'a Path,
    /// Its CONFIG_MODULE_SIG_HASH, with or without quotes; `None` if there is no such line.
    pub sig_hash: Option<&'a str>,
    /// Its CONFIG_MODULE_SIG_KEY, with or without quotes.
    pub sig_key: Option<&'a str>,
    /// The kernel's build directory, `$I/K/build` or `--kernelsourcedir`.
    pub build_dir: &'a Path,
    /// framework.conf `sign_file`.
    pub sign_file: &'a str,
    /// framework.conf `mok_signing_key`.
    pub mok_signing_key: &'a str,
    /// framework.conf `mok_certificate`.
    pub mok_certificate: &'a str,
    /// Gentoo's MODULES_SIGN_KEY, from the environment or make.conf.
    pub modules_sign_key: Option<&'a str>,
    /// Gentoo's MODULES_SIGN_CERT.
    pub modules_sign_cert: Option<&'a str>,
}

/// How to look at the system.
#[derive(Clone, Copy)]
pub struct Look<'a> {
    /// Whether a file exists (following links).
    pub exists: &'a dyn Fn(&Path) -> bool,
    /// Where a program is in PATH.
    pub program: &'a dyn Fn(&str) -> Option<PathBuf>,
}

impl fmt::Debug for Look<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Look")
    }
}

/// How the signature is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum How {
    /// By [`super::Signer`].
    InProcess(Hash),
    /// By [`super::program::sign_file`] with this program.
    Program(PathBuf),
}

/// Everything signing needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// How.
    pub how: How,
    /// The kernel's word for the hash.
    pub hash: String,
    /// The private key, or a `pkcs11:` URI.
    pub key: PathBuf,
    /// Its certificate.
    pub cert: PathBuf,
    /// The program to use if the key turns out to be none that this process can use
    /// ([`super::SignError::program_may_help`]).
    pub program: Option<PathBuf>,
}

/// Who makes missing keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Maker {
    /// [`super::mok::generate`].
    Own,
    /// Ubuntu's program: run with `--new-key` (environment SHIM_NOTRIGGER=y), then with
    /// `--enroll-key`. It refuses to start while `move_away` exists.
    UpdateSecureBootPolicy {
        /// The program.
        program: PathBuf,
        /// A certificate whose key is lost.
        move_away: Option<PathBuf>,
    },
}

/// The decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Sign.
    Sign(Plan),
    /// Sign after key, certificate or both have been made.
    NeedKey(Plan, Maker),
    /// Leave the modules unsigned.
    DontSign(Why),
}

/// Why modules stay unsigned. Displays as the line to print.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Why {
    /// `try_sign_modules=false`.
    #[error("Module signing is disabled by policy, modules won't be signed")]
    Policy,
    /// In a chroot.
    #[error("Running in chroot, modules won't be signed")]
    Chroot,
    /// No kernel configuration.
    #[error("Kernel config {} not found, modules won't be signed", .0.display())]
    NoConfig(
        /// Where it should be.
        PathBuf,
    ),
    /// The kernel does not know module signatures.
    #[error("The kernel is built without module signing facility, modules won't be signed")]
    NoFacility,
    /// A program is needed and missing.
    #[error("Binary {} not found, modules won't be signed", .0.display())]
    NoProgram(
        /// The program.
        PathBuf,
    ),
    /// The key is missing, and can't be made.
    #[error("Key file {} not found and can't be generated, modules won't be signed", .0.display())]
    NoKey(
        /// The key.
        PathBuf,
    ),
    /// The certificate is missing, and can't be made.
    #[error("Certificate file {} not found and can't be generated, modules won't be signed", .0.display())]
    NoCertificate(
        /// The certificate.
        PathBuf,
    ),
    /// The key is missing, but not its certificate, which may be enrolled.
    #[error(
        "Key file {} not found, but its certificate {} exists: restore the key, or move the certificate away to have a new pair made; modules won't be signed",
        key.display(), cert.display()
    )]
    KeyLost {
        /// The key.
        key: PathBuf,
        /// The certificate.
        cert: PathBuf,
    },
}

impl Why {
    /// Modules would be signed here if something were not missing; the others are reasons to want none signed.
    pub fn is_a_fault(&self) -> bool {
        match self {
            Self::Policy | Self::Chroot | Self::NoConfig(_) | Self::NoFacility => false,
            Self::NoProgram(_) | Self::NoKey(_) | Self::NoCertificate(_) | Self::KeyLost { .. } => true,
        }
    }
}

/// A decision and the lines that announce it, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decided {
    /// What to do.
    pub decision: Decision,
    /// What to print.
    pub lines: Vec<String>,
}

/// Decides for one kernel.
pub fn decide(facts: &PolicyInput<'_>, look: Look<'_>) -> Decided {
    let mut lines = Vec::new();
    let decision = match signing(facts, look, &mut lines) {
        Ok(decision) => decision,
        Err(why) => {
            lines.push(why.to_string());
            Decision::DontSign(why)
        }
    };
    Decided { decision, lines }
}

fn signing(facts: &PolicyInput<'_>, look: Look<'_>, lines: &mut Vec<String>) -> Result<Decision, Why> {
    match facts.try_sign_modules {
        "false" => return Err(Why::Policy),
        "true" => {}
        _ if facts.in_chroot => return Err(Why::Chroot),
        _ => {}
    }
    if !(look.exists)(facts.kernel_config) {
        return Err(Why::NoConfig(facts.kernel_config.to_owned()));
    }
    let hash = facts.sig_hash.map(unquote).ok_or(Why::NoFacility)?;
    let (key, cert) = keys(facts, look);
    let how = how(facts, look, hash, &key)?;
    lines.push(match &how {
        How::InProcess(hash) => format!("Sign command: dkms (built in, {})", hash.name()),
        How::Program(program) => format!("Sign command: {}", program.display()),
    });
    let plan = Plan {
        program: Some(kernels_program(facts, look)).filter(|file| (look.exists)(file)),
        how,
        hash: hash.to_owned(),
        key,
        cert,
    };
    keys_ready(facts, look, lines, plan)
}

/// The keys part alone, for the verb generate_mok: lines and whether keys must be made.
pub fn decide_keys(facts: &PolicyInput<'_>, look: Look<'_>) -> Decided {
    let (key, cert) = keys(facts, look);
    let hash = facts.sig_hash.map_or("sha256", unquote);
    let plan = Plan {
        how: How::InProcess(Hash::from_name(hash).unwrap_or(Hash::Sha256)),
        hash: hash.to_owned(),
        key,
        cert,
        program: None,
    };
    let mut lines = Vec::new();
    let decision = match keys_ready(facts, look, &mut lines, plan) {
        Ok(decision) => decision,
        Err(why) => {
            lines.push(why.to_string());
            Decision::DontSign(why)
        }
    };
    Decided { decision, lines }
}

fn keys_ready(facts: &PolicyInput<'_>, look: Look<'_>, lines: &mut Vec<String>, plan: Plan) -> Result<Decision, Why> {
    lines.push(format!("Signing key: {}", plan.key.display()));
    lines.push(format!("Public certificate (MOK): {}", plan.cert.display()));
    let has_cert = (look.exists)(&plan.cert);
    if on_token(&plan.key) {
        return if has_cert { Ok(Decision::Sign(plan)) } else { Err(Why::NoCertificate(plan.cert)) };
    }
    let has_key = (look.exists)(&plan.key);
    if has_key && has_cert {
        return Ok(Decision::Sign(plan));
    }
    if let Some(name) = facts.distribution.maker_of(&plan.key) {
        let program = (look.program)(name).ok_or_else(|| Why::NoProgram(name.into()))?;
        lines.push(format!("Certificate or key are missing, generating them using {name}..."));
        let move_away = (has_cert && !has_key).then(|| plan.cert.clone());
        let maker = Maker::UpdateSecureBootPolicy { program, move_away };
        return Ok(Decision::NeedKey(plan, maker));
    }
    if has_cert {
        let Plan { key, cert, .. } = plan;
        return Err(Why::KeyLost { key, cert });
    }
    lines.push("Certificate or key are missing, generating self signed certificate for MOK...".to_owned());
    Ok(Decision::NeedKey(plan, Maker::Own))
}

fn how(facts: &PolicyInput<'_>, look: Look<'_>, hash: &str, key: &Path) -> Result<How, Why> {
    // A configured program is used as told; one that is not there is passed over, as before us.
    let configured = Path::new(facts.sign_file);
    if !facts.sign_file.is_empty() && (look.exists)(configured) {
        return Ok(How::Program(configured.to_owned()));
    }
    match Hash::from_name(hash) {
        Some(hash) if !on_token(key) => Ok(How::InProcess(hash)),
        _ => {
            let program = kernels_program(facts, look);
            if (look.exists)(&program) { Ok(How::Program(program)) } else { Err(Why::NoProgram(program)) }
        }
    }
}

/// Where the kernel's `sign-file`, or the distribution's like of it, is.
fn kernels_program(facts: &PolicyInput<'_>, look: Look<'_>) -> PathBuf {
    let found = facts.distribution.sign_file(facts.release, look.program);
    found.filter(|file| (look.exists)(file)).unwrap_or_else(|| facts.build_dir.join("scripts/sign-file"))
}

/// Key and certificate: each configured one, else the distribution's.
pub fn keys(facts: &PolicyInput<'_>, look: Look<'_>) -> (PathBuf, PathBuf) {
    let (key, cert) = default_keys(facts, look);
    let pick = |value: &str, default: PathBuf| {
        if value.is_empty() { default } else { PathBuf::from(value) }
    };
    (pick(facts.mok_signing_key, key), pick(facts.mok_certificate, cert))
}

fn default_keys(facts: &PolicyInput<'_>, look: Look<'_>) -> (PathBuf, PathBuf) {
    if facts.distribution == ModuleSigning::ShimSigned {
        return (SHIM_KEY.into(), SHIM_CERT.into());
    }
    if facts.distribution == ModuleSigning::KernelsKey {
        if let Some(key) = facts.modules_sign_key.filter(|key| !key.is_empty()) {
            let cert = facts.modules_sign_cert.filter(|cert| !cert.is_empty());
            return (key.into(), cert.unwrap_or(key).into());
        }
        if let Some(key) = facts.sig_key.map(unquote).filter(|key| !key.is_empty()) {
            let key = if on_token(Path::new(key)) { PathBuf::from(key) } else { facts.build_dir.join(key) };
            let cert = facts.modules_sign_cert.filter(|cert| !cert.is_empty());
            return (key.clone(), cert.map_or(key, PathBuf::from));
        }
    }
    let exists = |path: &str| (look.exists)(Path::new(path));
    // A key of ours that exists may be enrolled, so it comes before that of akmods.
    if !exists(OWN_KEY) && exists(AKMODS_KEY) && exists(AKMODS_CERT) {
        return (AKMODS_KEY.into(), AKMODS_CERT.into());
    }
    (OWN_KEY.into(), OWN_CERT.into())
}

fn on_token(key: &Path) -> bool {
    key.as_os_str().as_encoded_bytes().starts_with(b"pkcs11:")
}

fn unquote(value: &str) -> &str {
    value.trim().trim_matches('"')
}

#[cfg(test)]
mod tests;
