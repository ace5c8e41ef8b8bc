//! What is known of one kernel.

use std::ffi::{OsStr, OsString};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use super::error::Error;
use super::headers_read::HeadersRead;
use super::origin::Origin;
use crate::compilers::{self, Compilers};
use crate::compress::Compression;
use crate::context::Context;
use crate::host::headers_package;
use crate::kernel::compiler::Surroundings;
use crate::kernel::find::ModuleIndex;
use crate::kernel::headers_digest::{HeadersDigest, HeadersStamp};
use crate::kernel::identity::KernelIdentity;
use crate::kernel::installed::{self, Presence};
use crate::kernel::kbuild::Kbuild;
use crate::kernel::kernelvariables;
use crate::kernel::{self, Config, Headers, Toolchain, relocate};
use crate::names::{Kernel, Release, nearest};
use crate::process::{self, Environment, Output};

/// What is known of one kernel. The dearer facts are found out when first asked for.
#[derive(Debug)]
pub struct KernelFacts {
    /// The kernel.
    pub kernel: Kernel,
    /// Its headers, or where they were looked for.
    pub headers: Result<Headers, String>,
    /// `$kernel_source_dir`: what programs call the headers.
    pub source_dir: PathBuf,
    /// Its configuration file, as an outer path, if there is one.
    pub config_file: Option<PathBuf>,
    /// Its configuration.
    pub config: Option<Config>,
    /// The tools to build with.
    pub toolchain: Toolchain,
    /// How its own modules are compressed.
    pub compression: Compression,
    /// What tells it from another kernel of the same release.
    pub identity: Option<KernelIdentity>,
    /// What was read of its headers.
    pub headers_read: Arc<HeadersRead>,
    /// What `build_environment` exports.
    build_environment: Environment,
    stamp: OnceLock<Option<HeadersStamp>>,
    digest: OnceLock<Option<HeadersDigest>>,
    modules: OnceLock<ModuleIndex>,
    known_compilers: compilers::Known,
    origin: OnceLock<Result<Origin, String>>,
    kbuild: OnceLock<Result<Kbuild, String>>,
    _relocated: Option<Relocated>,
}

/// A copy of headers whose links lead out of another root; goes with its kernel's facts.
#[derive(Debug)]
struct Relocated(PathBuf);

impl Drop for Relocated {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

impl KernelFacts {
    /// `known`: the compilers that this run knows.
    pub(super) fn learn(ctx: &Context, kernel: &Kernel, known: &compilers::Known) -> Result<Self, Error> {
        let given = ctx.options.kernel_source_dir.as_deref();
        let headers = match Headers::find(&ctx.trees, &kernel.release, given) {
            Ok(headers) => Ok(headers),
            Err(kernel::Error::HeadersMissing { looked, .. }) => {
                Err(looked.iter().map(|dir| dir.display().to_string()).collect::<Vec<_>>().join(" or "))
            }
            Err(other) => return Err(other.into()),
        };
        let default_dir =
            given.map_or_else(|| ctx.trees.install.inside.join(&kernel.release).join("build"), Path::to_owned);
        let mut source_dir = headers.as_ref().map_or(default_dir, |headers| headers.inside.clone());
        let config_file = match (&ctx.options.kernel_config, &headers) {
            (Some(file), _) => Some(file.clone()),
            (None, Ok(headers)) => headers.config_file(None),
            // What is fetched is signed as this kernel wants it, and left out where dkms.conf leaves it out.
            (None, Err(_)) if !ctx.framework.share.build_locally => of_package(ctx, &kernel.release),
            (None, Err(_)) => None,
        };
        let config = config_file.as_deref().filter(|file| file.is_file()).map(Config::load).transpose()?;
        let env = ctx.world.environment();
        let toolchain = match &headers {
            Ok(headers) => Toolchain::choose(
                headers,
                config.as_ref(),
                &Surroundings {
                    exists: &|program| ctx.world.has(program),
                    make_cc: &|file| ask_make(ctx, file),
                    machine: &ctx.machine.name,
                    cross_is_set: ["ARCH", "CROSS_COMPILE"].iter().any(|key| env.contains_key(OsStr::new(key))),
                },
            ),
            Err(_) => Toolchain::default(),
        };
        let mut relocated = None;
        if let (Ok(headers), false) = (&headers, ctx.world.is_inside()) {
            let work = ctx.trees.work().join(format!("{}.headers-{}", std::process::id(), kernel.release));
            fs_err::create_dir_all(&work)?;
            // For builds, which are not root.
            for dir in [ctx.trees.own(), ctx.trees.work()] {
                fs_err::set_permissions(dir, std::fs::Permissions::from_mode(0o711))?;
            }
            source_dir = relocate::relocate(&ctx.trees.root, headers, &relocated.insert(Relocated(work)).0)?;
        }
        Ok(Self {
            kernel: kernel.clone(),
            headers,
            source_dir,
            config_file,
            config,
            toolchain,
            compression: kernel::compression::of_kernel(&ctx.trees.modules_dir(&kernel.release)),
            identity: KernelIdentity::of_installed(&ctx.trees, &kernel.release),
            headers_read: Arc::default(),
            build_environment: build_environment(ctx)?,
            stamp: OnceLock::new(),
            digest: OnceLock::new(),
            modules: OnceLock::new(),
            known_compilers: known.clone(),
            origin: OnceLock::new(),
            kbuild: OnceLock::new(),
            _relocated: relocated,
        })
    }

    /// The compiler's variables, and what the `build_environment` file exports.
    pub fn toolchain_environment(&self) -> Environment {
        let tools = &self.toolchain;
        let mut env = Environment::new();
        let mut set = |key: &str, value: Option<&String>| {
            if let Some(value) = value {
                env.insert(key.into(), value.into());
            }
        };
        set("CC", tools.cc.as_ref());
        set("KERNEL_CC", tools.kernel_cc.as_ref());
        set("LD", tools.ld.as_ref());
        set("KERNEL_LD", tools.ld.as_ref());
        if let Some(cross) = &tools.cross {
            env.insert("ARCH".into(), cross.arch.into());
            if let Some(prefix) = cross.prefix {
                env.insert("CROSS_COMPILE".into(), prefix.into());
            }
        }
        env.extend(self.build_environment.clone());
        env
    }

    /// The compilers that a build for this kernel may use, and their identity, as they were when first asked for in this run.
    ///
    /// # Errors
    /// If they can't be asked.
    pub fn compilers(&self, ctx: &Context) -> Result<Arc<Compilers>, compilers::Error> {
        self.known_compilers.of(&ctx.world, &self.toolchain)
    }

    /// What builds for it follow from besides the package, as it was when first asked for in this run.
    ///
    /// # Errors
    /// In words, if that can't be known.
    pub fn origin(&self, ctx: &Context) -> Result<&Origin, String> {
        self.origin.get_or_init(|| self.look_at_origin(ctx)).as_ref().map_err(Clone::clone)
    }

    /// Whether that is still so.
    pub fn origin_is_unchanged(&self, ctx: &Context) -> bool {
        self.origin(ctx).is_ok_and(|before| self.look_at_origin(ctx).is_ok_and(|now| now == *before))
    }

    /// Finds out what the first build for it asks for, so that it is known by then. What can't be known, the build says.
    pub fn look_ahead(&self, ctx: &Context) {
        if let Err(why) = self.origin(ctx) {
            log::debug!("{why}");
        }
        self.headers_digest(ctx);
    }

    /// What of its headers are no headers, as it was when first asked for in this run.
    ///
    /// # Errors
    /// In words, if that can't be known.
    pub fn kbuild(&self, ctx: &Context) -> Result<&Kbuild, String> {
        let take = || {
            let headers = self.headers.as_ref().map_err(|_| "there are no headers".to_owned())?;
            Kbuild::take(&ctx.trees.root, headers, self.kernel.release.as_str()).map_err(|error| error.to_string())
        };
        self.kbuild.get_or_init(take).as_ref().map_err(Clone::clone)
    }

    fn look_at_origin(&self, ctx: &Context) -> Result<Origin, String> {
        let headers = self.headers.as_ref().map_err(|_| "there are no headers".to_owned())?;
        Origin::take(ctx, headers, || self.compilers(ctx), &self.toolchain)
    }

    /// The cheap token of the headers; `None` without headers.
    pub fn headers_stamp(&self, ctx: &Context) -> Option<&HeadersStamp> {
        self.stamp
            .get_or_init(|| self.headers.as_ref().ok().map(|headers| HeadersStamp::take(&ctx.trees.root, headers)))
            .as_ref()
    }

    /// The digest of the headers; `None` without headers, or when they can't be read.
    pub fn headers_digest(&self, ctx: &Context) -> Option<&HeadersDigest> {
        self.digest
            .get_or_init(|| {
                let headers = self.headers.as_ref().ok()?;
                HeadersDigest::take(&ctx.trees.root, headers).map_err(|error| log::warn!("{error}")).ok()
            })
            .as_ref()
    }

    /// The kernel's module files as they were when first asked for in this run.
    ///
    /// # Errors
    /// If a directory can't be read. Nothing may be installed then: an original module in it would not be archived.
    pub fn modules(&self, ctx: &Context) -> Result<&ModuleIndex, Error> {
        if let Some(known) = self.modules.get() {
            return Ok(known);
        }
        let index = ModuleIndex::load(&ctx.trees.modules_dir(&self.kernel.release))?;
        Ok(self.modules.get_or_init(|| index))
    }

    /// The error for a kernel whose headers are not there, with what this distribution would install.
    pub fn no_headers(&self, ctx: &Context) -> Option<Error> {
        let looked_for = self.headers.as_ref().err()?.clone();
        let advice = headers_package::advise(&ctx.distribution, &self.kernel.release, &ctx.trees);
        let others = other_kernels(ctx, &self.kernel.release);
        Some(Error::NoHeaders {
            kernel: self.kernel.clone(),
            looked_for,
            advice: format!(
                "{}Please {}, or name another directory with --kernelsourcedir.{others}",
                what_is_there(ctx, &self.kernel.release),
                advice.text
            ),
        })
    }
}

/// The configuration that a kernel's own package brings: Debian's in `/boot`, Fedora's beside the modules.
fn of_package(ctx: &Context, release: &Release) -> Option<PathBuf> {
    let beside = ctx.trees.modules_dir(release).join("config");
    [ctx.trees.outer(format!("/boot/config-{release}")), beside].into_iter().find(|file| file.is_file())
}

/// A line about a directory that is in the place of a kernel's headers, and is none.
fn what_is_there(ctx: &Context, release: &Release) -> String {
    let trees = &ctx.trees;
    let build = trees.install.inside.join(release).join("build");
    let dir = ctx.options.kernel_source_dir.as_ref().unwrap_or(&build);
    let there = trees.outer(dir).is_dir();
    if there { format!("{} is there, but holds no headers.\n", dir.display()) } else { String::new() }
}

/// A line about the kernels that are installed, if this one is not: in a chroot it may be somebody else's.
fn other_kernels(ctx: &Context, release: &Release) -> String {
    let trees = &ctx.trees;
    if trees.modules_dir(release).exists() {
        return String::new();
    }
    let found = installed::scan(trees, &|_, _| false).unwrap_or_default();
    let there: Vec<String> = found
        .iter()
        .filter(|found| found.presence == Presence::Installed)
        .map(|found| found.release.to_string())
        .collect();
    if there.is_empty() {
        return String::new();
    }
    let meant = nearest(release.as_str(), there.iter().map(String::as_str));
    let meant = meant.map(|meant| format!(" Did you mean {meant}?")).unwrap_or_default();
    format!("\nThis kernel is not installed here.{meant} Those that are, to be named with -k: {}", there.join(", "))
}

/// What a `.kernelvariables` that is no plain assignment makes of CC, by make itself.
fn ask_make(ctx: &Context, file: &Path) -> Option<String> {
    let called = ctx.world.called(&ctx.trees, file);
    let mut task = ctx.world.task(kernelvariables::MAKE, Path::new("/"));
    task.input = Some(kernelvariables::question(&called).into_bytes());
    task.output = Output::Capture;
    let end = process::run(task).ok()?;
    let text = end.text().trim().to_owned();
    (end.status.success() && !text.is_empty()).then_some(text)
}

/// The variables that the framework's `build_environment` file exports (docs/contract.md 5).
fn build_environment(ctx: &Context) -> Result<Environment, Error> {
    let Some(file) = &ctx.framework.build_environment else { return Ok(Environment::new()) };
    let script = ". \"$1\" >/dev/null 2>&1 </dev/null; exec env -0";
    let argv = ["bash", "--norc", "--noprofile", "-c", script, "bash", file].map(OsString::from);
    let end = process::run(ctx.world.task(argv, Path::new("/")))?;
    let before = ctx.world.environment();
    Ok(end
        .output
        .split(|byte| *byte == 0)
        .filter_map(|entry| {
            use std::os::unix::ffi::OsStrExt;
            let at = entry.iter().position(|byte| *byte == b'=')?;
            Some((OsStr::from_bytes(&entry[..at]).to_owned(), OsStr::from_bytes(&entry[at + 1..]).to_owned()))
        })
        .filter(|(key, value)| {
            before.get(key) != Some(value) && !["_", "SHLVL", "PWD", "OLDPWD"].iter().any(|own| key == own)
        })
        .collect())
}
