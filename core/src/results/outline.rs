//! What a machine knows of a build that it can't do itself: it has no compiler, or no headers, and so no [`Key`].
//!
//! An outline is a key without what only a builder has: headers, compilers, the other programs, the distribution. What is left names the
//! source, the command and the build of the kernel (`uname -v`): what was built from them, by somebody who is trusted, is for this
//! kernel, although another compiler might have made something else of it. Used with `build_locally="never"` alone.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use serde::Serialize;

use super::key::{Key, Module, Needed};
use crate::context::Context;
use crate::digest::Digest;
use crate::durable;
use crate::facts::origin::Origin;
use crate::names::{Kernel, Package, Release};
use crate::process::Environment;
use crate::run::target::Target;

/// What is said of compilers in a build's environment: the builder's affair.
const OF_COMPILERS: [&str; 6] = ["ARCH", "CC", "CROSS_COMPILE", "KERNEL_CC", "KERNEL_LD", "LD"];
/// What stands before a make command for a kernel of clang's (`compile::command`): known from headers.
const OF_CLANG: &str = "LLVM=1 ";

/// As JSON, with its fields in this order and without blanks, it has a digest, by which results are found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Outline {
    format: u32,
    package: Package,
    source: Digest,
    patches_of_administrator: Option<Digest>,
    kernel: Kernel,
    /// UTS_VERSION: without it, no kernel is told from another of its release.
    kernel_build: String,
    machine: String,
    patches: Vec<String>,
    make: String,
    modules: Vec<Module>,
    environment: BTreeMap<String, Digest>,
    dependencies: Vec<Needed>,
}

impl Outline {
    /// That of what was built from `key`; `None` if it can't serve a machine that knows no more.
    pub fn of_key(key: &Key) -> Option<Self> {
        // A configuration that was named by hand is none that another machine would know of.
        if key.config.is_some() {
            return None;
        }
        let mut environment = key.environment.clone();
        environment.retain(|name, _| !OF_COMPILERS.contains(&name.as_str()));
        Some(Self {
            format: key.format,
            package: key.package.clone(),
            source: key.source.clone(),
            patches_of_administrator: key.patches_of_administrator.clone(),
            kernel: key.kernel.clone(),
            kernel_build: key.kernel_build.clone()?,
            machine: key.machine.clone(),
            patches: key.patches.clone(),
            make: key.make.strip_prefix(OF_CLANG).unwrap_or(&key.make).to_owned(),
            modules: key.modules.clone(),
            environment,
            dependencies: key.dependencies.clone(),
        })
    }

    /// That of a build of `target` that this machine can't do. The last three as in [`Key::of`].
    ///
    /// # Errors
    /// In words, if something that belongs to it can't be known.
    pub fn of(
        ctx: &Context,
        target: &Target,
        make: &str,
        environment: &Environment,
        place: &Path,
    ) -> Result<Self, String> {
        let build = kernel_build(ctx, target).ok_or("nothing tells which build of its kernel is installed")?;
        let nothing = || Digest::of(b"");
        let builders =
            Origin { headers: nothing(), compilers: nothing(), programs: BTreeMap::new(), distribution: nothing() };
        let key = Key::with(ctx, target, make, (environment, place), (Some(build), builders))?;
        Self::of_key(&key).ok_or_else(|| "--config names a configuration".to_owned())
    }

    /// Its digest.
    ///
    /// # Errors
    /// If it can't be written as JSON.
    pub fn digest(&self) -> Result<Digest, serde_json::Error> {
        Ok(Digest::of(&serde_json::to_vec(self)?))
    }
}

/// The build of the kernel that is installed, as `uname -v` says it once it runs: from its image, else from its headers, else it runs.
fn kernel_build(ctx: &Context, target: &Target) -> Option<String> {
    let facts = &target.facts;
    if let Some(identity) = facts.identity.as_ref().filter(|identity| identity.banner().is_some()) {
        return identity.build().map(str::to_owned);
    }
    let of_headers = facts.headers.as_ref().ok().and_then(|headers| headers.generated().version);
    let runs = ctx.trees.root.is_host() && ctx.machine.running.as_ref() == Some(&target.kernel.release);
    of_headers
        .or_else(|| ctx.machine.running_build.clone().filter(|_| runs && is_as_booted(ctx, &target.kernel.release)))
}

/// Whether what a kernel's package brings has not changed since this machine was booted: then the build that runs is the one that is
/// installed.
fn is_as_booted(ctx: &Context, release: &Release) -> bool {
    // Seconds since the boot, and a fraction (proc_uptime(5)).
    let uptime = durable::text(Path::new("/proc/uptime")).ok();
    let uptime = uptime.as_deref().and_then(|text| text.split(['.', ' ']).next()?.parse::<i64>().ok());
    let (false, Some(uptime)) = (ctx.machine.in_chroot, uptime) else { return false };
    let booted = ctx.timestamp().saturating_sub(uptime);
    let dir = ctx.trees.modules_dir(release);
    let is_older = |file: &str| std::fs::metadata(dir.join(file)).is_ok_and(|meta| meta.ctime() < booted);
    ["modules.builtin", "modules.order"].into_iter().all(is_older)
}
