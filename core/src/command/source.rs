//! What `add` and `ldtarball` share: the package that a source is, the kernel to read its dkms.conf for, and POST_ADD.

use std::path::Path;

use super::default_kernel;
use crate::cli::args::Args;
use crate::cli::table::Id;
use crate::conf::framework::ScriptsAs;
use crate::context::Context;
use crate::error::Error;
use crate::facts;
use crate::names::{Kernel, Name, Package, Release, Version};
use crate::process::Environment;
use crate::report::Reporter;
use crate::run::Session;
use crate::run::script;

/// How a source is registered, whichever it is.
#[derive(Debug)]
pub(crate) struct Registration {
    /// The kernel that its dkms.conf is read for.
    pub kernel: Kernel,
    /// It is only registered, not built.
    pub alone: bool,
}

impl Registration {
    /// As `args` ask for it.
    pub(super) fn of(ctx: &Context, args: &Args) -> Result<Self, Error> {
        let alone = args.verb.is_some_and(|verb| matches!(verb.id, Id::Add | Id::Ldtarball));
        Ok(Self { kernel: some_kernel(ctx, args)?, alone })
    }

    /// By itself, for any kernel.
    pub(crate) fn alone(ctx: &Context) -> Result<Self, Error> {
        Ok(Self { kernel: some_kernel(ctx, &Args::default())?, alone: true })
    }
}

/// Runs POST_ADD; its status is the verb's.
pub(super) fn post_add(
    ctx: &Context,
    how: &Registration,
    package: &Package,
    (line, scripts_as): (&str, Option<ScriptsAs>),
    reporter: &dyn Reporter,
) -> Result<u8, Error> {
    // On its own, `add` hands no variables of the package to the script; as a part of build and install it does.
    let environment = if how.alone { Environment::new() } else { script::environment(package, &how.kernel) };
    let code = script::run(ctx, package, "post_add", (line, scripts_as), &environment, reporter)?;
    Ok(u8::try_from(code).unwrap_or(1))
}

/// Any kernel to read a dkms.conf for, when which one does not matter.
pub(super) fn some_kernel(ctx: &Context, args: &Args) -> Result<Kernel, Error> {
    if !args.kernels.is_empty() {
        return Ok(super::kernels(ctx, args)?.remove(0));
    }
    if let Ok(kernel) = default_kernel(ctx, args) {
        return Ok(kernel);
    }
    let found = crate::kernel::installed::scan(&ctx.trees, &|_, _| false)?;
    let release = match crate::kernel::installed::newest(&found) {
        Some(release) => release.clone(),
        None => Release::new("0")?,
    };
    Ok(ctx.kernel(&release)?)
}

/// The package that a dkms.conf names.
pub(crate) fn named_by_conf(session: &Session<'_>, how: &Registration, conf: &Path) -> Result<Package, Error> {
    // The directory may be anywhere, the root's programs can't see it: it is read outside of them.
    let nameless = Package::new("unknown", "0")?;
    let kernel = session.facts.kernel(&how.kernel)?;
    let evaluated = session.facts.evaluate_at(&nameless, &kernel, conf)?;
    let unusable = |directive: &str, error: &dyn std::fmt::Display| facts::Error::BadConf {
        file: conf.to_owned(),
        why: format!("{directive}: {error}"),
    };
    let name = Name::new(evaluated.conf.name.as_str()).map_err(|error| unusable("PACKAGE_NAME", &error))?;
    let version = Version::new(evaluated.conf.version.as_str()).map_err(|error| unusable("PACKAGE_VERSION", &error))?;
    Ok(Package { name, version })
}
