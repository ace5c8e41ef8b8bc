//! Signing as it stands for one kernel in this run: decided once, key read once.

use std::ffi::OsStr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::assignments;
use crate::conf::framework::{self, TrySign};
use crate::context::Context;
use crate::durable;
use crate::facts::{Facts, KernelFacts};
use crate::host::signing::ModuleSigning;
use crate::process::{self, Output};
use crate::report::{Event, Reporter};
use crate::sign::policy::{self, Decided, Decision, How, Look, Maker, Plan};
use crate::sign::state::ExpectedSigning;
use crate::sign::{Certificate, Hash, NotSigned, SignError, Signer, mok, program};
use crate::tree::manifest;

/// How this kernel's modules are signed.
#[derive(Debug)]
pub struct Signing {
    means: Means,
    /// A module that can't be signed is an error: policy `fail`, or `--strict`.
    must: bool,
    /// What is to be said before the first build for the kernel.
    said: Vec<Event>,
}

#[derive(Debug)]
enum Means {
    Not,
    /// Modules are signed here, but the key material is unusable: why.
    Refused(String),
    InProcess(Box<Signer>),
    Program {
        program: PathBuf,
        hash: String,
        key: PathBuf,
        cert: PathBuf,
    },
}

impl Signing {
    /// Decides for a kernel, making keys where the policy says so. `must`: whatever keeps a module that should be signed
    /// from being signed is an error, and not a warning beside an unsigned module.
    pub fn prepare(ctx: &Context, kernel: &KernelFacts, framework: &framework::Signing, must: bool) -> Self {
        let decided = ask(ctx, kernel, framework, policy::decide);
        let mut said: Vec<Event> = decided.lines.into_iter().map(Event::Line).collect();
        let means = match decided.decision {
            Decision::DontSign(why) if why.is_a_fault() => Means::Refused(why.to_string()),
            Decision::DontSign(_) => Means::Not,
            Decision::Sign(plan) => load(ctx, &plan, &mut said),
            Decision::NeedKey(plan, maker) => {
                if make_key(ctx, &plan, &maker, &mut said) {
                    load(ctx, &plan, &mut said)
                } else {
                    Means::Refused(format!("there is no key {}, and none could be made", plan.key.display()))
                }
            }
        };
        if must && matches!(means, Means::Refused(_)) {
            // The error says it.
            said.clear();
        }
        Self { means, must, said }
    }

    /// An error if modules would have to be signed and can't be: nothing needs to be built then.
    pub fn check(&self) -> Result<(), NotSigned> {
        match &self.means {
            Means::Refused(why) if self.must => Err(NotSigned(why.clone())),
            _ => Ok(()),
        }
    }

    /// What is to be said before the first build for this kernel.
    pub fn said(&self) -> &[Event] {
        &self.said
    }

    /// Whether modules are signed.
    pub fn signs(&self) -> bool {
        matches!(self.means, Means::InProcess(_) | Means::Program { .. })
    }

    /// Signs the module at `path`, which messages call `shown`. A failure is reported, or an error where modules
    /// must be signed, and leaves the module unsigned: never half signed. Says whether it is signed now.
    pub fn sign(&self, path: &Path, shown: &Path, reporter: &dyn Reporter) -> Result<bool, NotSigned> {
        let done = match &self.means {
            Means::Not | Means::Refused(_) => return self.check().map(|()| false),
            Means::InProcess(signer) => {
                reporter.line(&format!("Signing module {}", shown.display()));
                sign_in_process(signer, path)
            }
            Means::Program { program, hash, key, cert } => {
                reporter.line(&format!("Signing module {}", shown.display()));
                program::sign_file(program, hash, key, cert, path)
            }
        };
        match done {
            Ok(()) => Ok(true),
            Err(error) if self.must => Err(NotSigned(format!("{}: {error}", shown.display()))),
            Err(error) => {
                reporter.warning(&[&format!("Failed to sign module '{}'!", shown.display()), &error]);
                Ok(false)
            }
        }
    }

    /// The certificate of the key that signs; `None` if nothing is signed.
    pub fn certificate(&self) -> Option<Certificate> {
        match &self.means {
            Means::Not | Means::Refused(_) => None,
            Means::InProcess(signer) => Some(signer.certificate().clone()),
            Means::Program { cert, .. } => Certificate::load(cert).ok(),
        }
    }

    /// Who signs, for the manifest.
    pub fn signer(&self) -> Option<manifest::Signer> {
        let hash = match &self.means {
            Means::Not | Means::Refused(_) => return None,
            Means::InProcess(signer) => signer.hash().name(),
            Means::Program { hash, .. } => hash,
        };
        self.certificate().map(|cert| cert.signer(hash))
    }
}

/// What would be done for a kernel, without doing it: no key is made, nothing is said.
pub fn expected_signing(ctx: &Context, kernel: &KernelFacts, framework: &framework::Signing) -> ExpectedSigning {
    let plan = match ask(ctx, kernel, framework, policy::decide).decision {
        Decision::DontSign(why) => return ExpectedSigning::Unsigned(why.to_string()),
        Decision::NeedKey(..) => return ExpectedSigning::NewKey,
        Decision::Sign(plan) => plan,
    };
    let path = ctx.trees.outer(&plan.cert);
    if let How::InProcess(hash) = &plan.how {
        // A key that is not for this process, or not for this user, may still be one that signs.
        let unusable = signer(ctx, &ctx.trees.outer(&plan.key), &path, *hash)
            .err()
            .filter(|error| !matches!(error, SignError::NeedsProgram { .. } | SignError::Read { .. }));
        if let Some(error) = unusable {
            return ExpectedSigning::Unsigned(error.to_string());
        }
    }
    match Certificate::load(&path) {
        Ok(cert) => {
            ExpectedSigning::Key { signer: cert.signer(&plan.hash), certificate: Box::new(cert), path: plan.cert }
        }
        Err(error) => ExpectedSigning::Unsigned(error.to_string()),
    }
}

/// Where key and certificate of a kernel are, as inside paths (the key may be a `pkcs11:` URI).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keys {
    /// The private key.
    pub key: PathBuf,
    /// Its certificate.
    pub certificate: PathBuf,
}

/// Where the keys are that the policy names, whatever else speaks against signing.
pub fn keys(ctx: &Context, kernel: &KernelFacts, framework: &framework::Signing) -> Keys {
    let texts = Texts::of(ctx, kernel, framework);
    let (key, certificate) = look(ctx, kernel, |look| policy::keys(&facts(ctx, kernel, framework, &texts), look));
    Keys { key, certificate }
}

/// Says what [`make_keys`] would do; gives whether both keys would be there.
pub fn promise_keys(
    ctx: &Context,
    kernel: &KernelFacts,
    framework: &framework::Signing,
    reporter: &dyn Reporter,
) -> bool {
    let decided = ask(ctx, kernel, framework, policy::decide_keys);
    for line in &decided.lines {
        reporter.line(line);
    }
    match decided.decision {
        Decision::DontSign(_) => return false,
        Decision::Sign(_) => reporter.line(&"The key and its certificate are there: nothing to do."),
        Decision::NeedKey(plan, _) => {
            let (key, cert) = (plan.key.display(), plan.cert.display());
            reporter.line(&format!("Would make the key {key} and its certificate {cert}."));
        }
    }
    true
}

/// Makes what is missing of the keys; says what was decided. Gives the keys if both are there now.
pub fn make_keys(
    ctx: &Context,
    kernel: &KernelFacts,
    framework: &framework::Signing,
    reporter: &dyn Reporter,
) -> Option<Keys> {
    let decided = ask(ctx, kernel, framework, policy::decide_keys);
    for line in &decided.lines {
        reporter.line(line);
    }
    let (plan, made) = match decided.decision {
        Decision::DontSign(_) => return None,
        Decision::Sign(plan) => {
            mok::clear_dead(&[&ctx.trees.outer(&plan.key), &ctx.trees.outer(&plan.cert)]);
            (plan, true)
        }
        Decision::NeedKey(plan, maker) => {
            let mut said = Vec::new();
            let made = make_key(ctx, &plan, &maker, &mut said);
            for event in said {
                reporter.report(event);
            }
            if made {
                ctx.trees.snapshot().act();
            }
            (plan, made)
        }
    };
    made.then_some(Keys { key: plan.key, certificate: plan.cert })
}

/// The options and variables that decide, as text.
struct Texts {
    sign_file: String,
    key: String,
    certificate: String,
    /// Where the configuration of a kernel that has none is missed.
    usual_config: PathBuf,
    kernels_key: Option<String>,
    kernels_certificate: Option<String>,
}

impl Texts {
    fn of(ctx: &Context, kernel: &KernelFacts, framework: &framework::Signing) -> Self {
        let text = |value: &Option<String>| value.clone().unwrap_or_default();
        let setting = |name: &str| {
            let own = ctx.environment.get(OsStr::new(name)).map(|value| value.to_string_lossy().into_owned());
            own.or_else(|| make_conf(ctx, name))
        };
        let has_kernels_key = ctx.distribution.module_signing() == ModuleSigning::KernelsKey;
        Self {
            sign_file: text(&framework.sign_file),
            key: text(&framework.key),
            certificate: text(&framework.certificate),
            usual_config: kernel.source_dir.join(".config"),
            kernels_key: has_kernels_key.then(|| setting("MODULES_SIGN_KEY")).flatten(),
            kernels_certificate: has_kernels_key.then(|| setting("MODULES_SIGN_CERT")).flatten(),
        }
    }
}

/// A plain assignment in Gentoo's make.conf (make.conf(5): a file, or the files of a directory, in order).
fn make_conf(ctx: &Context, name: &str) -> Option<String> {
    let place = ctx.trees.outer("/etc/portage/make.conf");
    let mut files = vec![place.clone()];
    if place.is_dir() {
        files = std::fs::read_dir(&place).ok()?.flatten().map(|entry| entry.path()).collect();
        files.sort();
    }
    let texts = files.iter().filter_map(|file| durable::text(file).ok());
    texts.filter_map(|text| assignments::value(&text, name)).next_back()
}

fn ask(
    ctx: &Context,
    kernel: &KernelFacts,
    framework: &framework::Signing,
    decide: fn(&policy::PolicyInput<'_>, Look<'_>) -> Decided,
) -> Decided {
    let texts = Texts::of(ctx, kernel, framework);
    look(ctx, kernel, |look| decide(&facts(ctx, kernel, framework, &texts), look))
}

fn facts<'a>(
    ctx: &'a Context,
    kernel: &'a KernelFacts,
    framework: &framework::Signing,
    texts: &'a Texts,
) -> policy::PolicyInput<'a> {
    let config = |name: &str| kernel.config.as_ref().and_then(|config| config.value(name));
    let kernel_config = kernel.config_file.as_deref().unwrap_or(&texts.usual_config);
    policy::PolicyInput {
        release: kernel.kernel.release.as_str(),
        distribution: ctx.distribution.module_signing(),
        try_sign_modules: match framework.when {
            TrySign::Always => "true",
            TrySign::Never => "false",
            TrySign::NotInChroot => "",
        },
        in_chroot: ctx.machine.in_chroot,
        kernel_config,
        sig_hash: config("CONFIG_MODULE_SIG_HASH"),
        sig_key: config("CONFIG_MODULE_SIG_KEY"),
        build_dir: &kernel.source_dir,
        sign_file: &texts.sign_file,
        mok_signing_key: &texts.key,
        mok_certificate: &texts.certificate,
        modules_sign_key: texts.kernels_key.as_deref(),
        modules_sign_cert: texts.kernels_certificate.as_deref(),
    }
}

/// Lends a [`Look`] at the system.
fn look<T>(ctx: &Context, kernel: &KernelFacts, with: impl FnOnce(Look<'_>) -> T) -> T {
    // The kernel's configuration is known by its outer path, everything else by its inside one.
    let exists = |path: &Path| {
        path.is_absolute() && (ctx.trees.outer(path).exists() || kernel.config_file.as_deref() == Some(path))
    };
    with(Look { exists: &exists, program: &|name| ctx.world.find(name) })
}

/// Where private signing keys may be, as outer paths: what must never get into an archive. The
/// configured ones as they stand in general and for each of `kernels`, and everybody's usual places.
pub fn private_keys(facts: &Facts<'_>, kernels: &[crate::names::Kernel]) -> Vec<PathBuf> {
    let ctx = facts.ctx;
    let mut keys: Vec<PathBuf> = policy::USUAL_KEYS.iter().map(PathBuf::from).collect();
    keys.push(ctx.trees.dkms.inside.join("mok.key"));
    keys.extend(ctx.framework.signing.key.as_ref().map(PathBuf::from));
    keys.extend(ctx.environment.get(OsStr::new("MODULES_SIGN_KEY")).map(PathBuf::from));
    for kernel in kernels {
        let Ok(kernel) = facts.kernel(kernel) else { continue };
        if let Ok(options) = facts.signing_options(&kernel) {
            keys.push(self::keys(ctx, &kernel, &options).key);
        }
    }
    keys.into_iter().map(|key| ctx.trees.outer(key)).collect()
}

fn sign_in_process(signer: &Signer, path: &Path) -> Result<(), SignError> {
    let file = |doing| move |source| SignError::File { doing, source };
    let signed = signer.sign(&durable::bytes(path).map_err(file("read the module"))?)?;
    // A name that nobody knows beforehand: a build may have left a link at any other.
    let new = tempfile::Builder::new()
        .prefix(".dkms-sign-")
        .permissions(std::fs::Permissions::from_mode(0o644))
        .tempfile_in(path.parent().unwrap_or(Path::new(".")))
        .map_err(file("write the signed module"))?;
    fs_err::write(new.path(), signed).map_err(file("write the signed module"))?;
    new.persist(path).map_err(|error| file("put the signed module in place")(error.error))?;
    Ok(())
}

fn load(ctx: &Context, plan: &Plan, said: &mut Vec<Event>) -> Means {
    let (key, cert) = (ctx.trees.outer(&plan.key), ctx.trees.outer(&plan.cert));
    // A pkcs11: URI is no file.
    let named = if plan.key.is_absolute() { key.clone() } else { plan.key.clone() };
    let by_program = |program: &Path| Means::Program {
        program: ctx.trees.outer(program),
        hash: plan.hash.clone(),
        key: named.clone(),
        cert: cert.clone(),
    };
    match &plan.how {
        How::Program(program) => by_program(program),
        How::InProcess(hash) => match signer(ctx, &key, &cert, *hash) {
            Ok(signer) => {
                said.extend(signer.notes().iter().map(|note| Event::Warning(vec![note.clone()])));
                Means::InProcess(Box::new(signer))
            }
            Err(error) => {
                if let Some(program) = plan.program.as_ref().filter(|_| error.program_may_help()) {
                    return by_program(program);
                }
                said.push(Event::Warning(vec![error.to_string(), "The modules won't be signed.".to_owned()]));
                Means::Refused(error.to_string())
            }
        },
    }
}

fn signer(ctx: &Context, key: &Path, cert: &Path, hash: Hash) -> Result<Signer, SignError> {
    Signer::load(key, cert, hash, SystemTime::UNIX_EPOCH + Duration::from_secs(ctx.now))
}

/// Makes the missing key or certificate; says whether there is one now.
fn make_key(ctx: &Context, plan: &Plan, maker: &Maker, said: &mut Vec<Event>) -> bool {
    match maker {
        Maker::Own => {
            match mok::generate(&ctx.trees.outer(&plan.key), &ctx.trees.outer(&plan.cert), OsStr::new("openssl")) {
                Ok(_) => true,
                Err(error) => {
                    said.push(Event::Warning(vec![error.to_string(), "The modules won't be signed.".to_owned()]));
                    false
                }
            }
        }
        Maker::UpdateSecureBootPolicy { program, move_away } => {
            if let Some(file) = move_away {
                // The program refuses to start while it is there; without its key it is of no use.
                let file = ctx.trees.outer(file);
                let _ = fs_err::rename(&file, file.with_extension("der.old"));
            }
            for option in ["--new-key", "--enroll-key"] {
                let mut task = ctx.world.task([program.as_os_str(), OsStr::new(option)], Path::new("/"));
                task.env.insert("SHIM_NOTRIGGER".into(), "y".into());
                task.output = Output::Capture;
                match process::run(task) {
                    Ok(end) if end.status.success() => {}
                    Ok(end) => said.push(Event::Warning(vec![format!(
                        "{} {option} failed: {}",
                        program.display(),
                        end.text().trim()
                    )])),
                    Err(error) => said.push(Event::Warning(vec![error.to_string()])),
                }
            }
            ctx.trees.outer(&plan.key).exists() && ctx.trees.outer(&plan.cert).exists()
        }
    }
}
