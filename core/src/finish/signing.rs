//! Signing as it stands for one kernel in this run: decided once, key read once.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::conf::framework::TrySign;
use crate::context::Context;
use crate::facts::KernelFacts;
use crate::process::{self, Output};
use crate::report::{Event, Reporter};
use crate::sign::policy::{self, Decision, How, Look, Maker, Plan};
use crate::sign::{Hash, SignError, Signer, mok, program};
use crate::tree::manifest;

/// How this kernel's modules are signed.
#[derive(Debug)]
pub struct Signing {
    means: Means,
    /// What is to be said before the first build for the kernel.
    said: Vec<Event>,
}

#[derive(Debug)]
enum Means {
    Not,
    InProcess(Box<Signer>),
    Program { program: PathBuf, hash: String, key: PathBuf, cert: PathBuf },
}

impl Signing {
    /// Decides for a kernel, making keys where the policy says so.
    pub fn prepare(ctx: &Context, kernel: &KernelFacts, framework: &crate::conf::framework::Signing) -> Self {
        let text = |value: &Option<String>| value.clone().unwrap_or_default();
        let (sign_file, key, cert) = (text(&framework.sign_file), text(&framework.key), text(&framework.certificate));
        let env = |name: &str| ctx.environment.get(OsStr::new(name)).map(|value| value.to_string_lossy().into_owned());
        let (gentoo_key, gentoo_cert) = (env("MODULES_SIGN_KEY"), env("MODULES_SIGN_CERT"));
        let config = |name: &str| kernel.config.as_ref().and_then(|config| config.value(name));
        let facts = policy::Facts {
            release: kernel.kernel.release.as_str(),
            distribution: &ctx.distribution.family,
            try_sign_modules: match framework.when {
                TrySign::Always => "true",
                TrySign::Never => "false",
                TrySign::NotInChroot => "",
            },
            in_chroot: ctx.machine.in_chroot,
            kernel_config: kernel.config_file.as_deref().unwrap_or(Path::new("")),
            sig_hash: config("CONFIG_MODULE_SIG_HASH"),
            sig_key: config("CONFIG_MODULE_SIG_KEY"),
            build_dir: &kernel.source_dir,
            sign_file: &sign_file,
            mok_signing_key: &key,
            mok_certificate: &cert,
            modules_sign_key: gentoo_key.as_deref(),
            modules_sign_cert: gentoo_cert.as_deref(),
        };
        // The kernel's configuration is known by its outer path, everything else by its inside one.
        let exists = |path: &Path| {
            path.is_absolute() && (ctx.trees.outer(path).exists() || kernel.config_file.as_deref() == Some(path))
        };
        let look = Look { exists: &exists, program: &|name| ctx.world.find(name) };
        let decided = policy::decide(&facts, look);
        let mut said: Vec<Event> = decided.lines.into_iter().map(Event::Line).collect();
        let means = match decided.decision {
            Decision::DontSign(_) => Means::Not,
            Decision::Sign(plan) => load(ctx, &plan, &mut said),
            Decision::NeedKey(plan, maker) => {
                if make_key(ctx, &plan, &maker, &mut said) {
                    load(ctx, &plan, &mut said)
                } else {
                    Means::Not
                }
            }
        };
        Self { means, said }
    }

    /// What is to be said before the first build for this kernel.
    pub fn said(&self) -> &[Event] {
        &self.said
    }

    /// Signs the module at `path`, which the user is told of as `shown`. A failure is told, and leaves
    /// the module unsigned: never half signed.
    pub fn sign(&self, path: &Path, shown: &Path, reporter: &dyn Reporter) {
        let done = match &self.means {
            Means::Not => return,
            Means::InProcess(signer) => {
                reporter.line(&format!("Signing module {}", shown.display()));
                sign_in_process(signer, path)
            }
            Means::Program { program, hash, key, cert } => {
                reporter.line(&format!("Signing module {}", shown.display()));
                program::sign_file(program, hash, key, cert, path)
            }
        };
        if let Err(error) = done {
            reporter.warning(&[&format!("Failed to sign module '{}'!", shown.display()), &error]);
        }
    }

    /// Who signs, for the manifest.
    pub fn signer(&self) -> Option<manifest::Signer> {
        let (cert, hash) = match &self.means {
            Means::Not => return None,
            Means::InProcess(signer) => (signer.certificate().clone(), signer.hash().name().to_owned()),
            Means::Program { hash, cert, .. } => (crate::sign::Certificate::load(cert).ok()?, hash.clone()),
        };
        Some(manifest::Signer { key_id: cert.serial_text(), hash, subject: cert.subject_name().unwrap_or_default() })
    }
}

fn sign_in_process(signer: &Signer, path: &Path) -> Result<(), SignError> {
    let file = |doing| move |source| SignError::File { doing, source };
    let signed = signer.sign(&fs_err::read(path).map_err(file("read the module"))?)?;
    let new = path.with_extension("ko.signed");
    fs_err::write(&new, signed).map_err(file("write the signed module"))?;
    fs_err::rename(&new, path).map_err(file("put the signed module in place"))
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
                Means::Not
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
