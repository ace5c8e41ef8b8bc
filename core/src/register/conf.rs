//! What dkms.conf says of a source that is to be registered: the package that it is, and POST_ADD.

use std::path::Path;

use super::known::any_kernel;
use crate::conf::framework::ScriptsAs;
use crate::context::Context;
use crate::error::Error;
use crate::facts;
use crate::names::{Kernel, Name, Package, Version};
use crate::process::Environment;
use crate::report::Reporter;
use crate::run::{Session, script};

/// How a source is registered, whichever it is.
#[derive(Debug)]
pub struct Registration {
    /// The kernel that its dkms.conf is read for.
    pub kernel: Kernel,
    /// It is only registered, not built.
    pub alone: bool,
}

impl Registration {
    /// By itself, for any kernel.
    pub fn alone(ctx: &Context) -> Result<Self, Error> {
        Ok(Self { kernel: any_kernel(ctx, None)?, alone: true })
    }
}

/// The POST_ADD script, and who the administrator wants it to be.
pub(super) type PostAdd = (String, Option<ScriptsAs>);

/// Runs POST_ADD, if there is one; its status is the verb's.
pub(super) fn post_add(
    session: &Session<'_>,
    how: &Registration,
    package: &Package,
    script: Option<PostAdd>,
    reporter: &dyn Reporter,
) -> Result<u8, Error> {
    let Some((line, scripts_as)) = script else { return Ok(0) };
    // On its own, `add` hands no variables of the package to the script; as a part of build and install it does.
    let environment = if how.alone { Environment::new() } else { script::environment(package, &how.kernel) };
    let code = script::run(session.ctx, package, "post_add", (&line, scripts_as), &environment, reporter);
    session.facts.forget(package);
    Ok(u8::try_from(code?).unwrap_or(1))
}

/// The package that a dkms.conf names.
pub fn named_by_conf(session: &Session<'_>, how: &Registration, conf: &Path) -> Result<Package, Error> {
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
