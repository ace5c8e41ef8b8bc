//! How the builds of a package differ from others by the administrator's word: for `status --long`.

use crate::conf::framework::{BuildAs, ScriptsAs};
use crate::conf::package_files;
use crate::error::Error;
use crate::names::{Kernel, Package};
use crate::reuse::Policy;
use crate::run::Session;

/// What the administrator has set for the builds of `package` for `kernel`, each in words that follow "its builds". A
/// dkms.conf is evaluated only where there is an override.
pub(super) fn of_builds(session: &Session<'_>, package: &Package, kernel: &Kernel) -> Result<Vec<String>, Error> {
    let ctx = session.ctx;
    let overridden = package_files(&ctx.trees, package, None, Some(kernel)).len() > 1;
    let conf = if overridden {
        let facts = session.facts.kernel(kernel)?;
        session.facts.evaluate(package, &facts, None, false).ok().map(|evaluated| evaluated.conf)
    } else {
        None
    };
    let conf = conf.unwrap_or_default();
    // Where both say it, the package's own setting is what counts.
    let by = |own: bool, directive: &'static str, option: &'static str| if own { directive } else { option };
    let mut words = Vec::new();
    if conf.build_network.unwrap_or(ctx.framework.build_network) {
        let by = by(conf.build_network.is_some(), "DKMS_BUILD_NETWORK", "build_network");
        words.push(format!("have this machine's network ({by})"));
    }
    if conf.build_as.unwrap_or(ctx.framework.build_as) == BuildAs::Root {
        words.push(format!("run as root ({})", by(conf.build_as.is_some(), "DKMS_BUILD_AS", "build_as")));
    }
    let scripts = by(conf.scripts_as.is_some(), "DKMS_SCRIPTS_AS", "scripts_as");
    match conf.scripts_as.unwrap_or(ctx.framework.scripts_as) {
        ScriptsAs::Root => {}
        ScriptsAs::Nobody => words.push(format!("are installed by scripts that are not root ({scripts})")),
        ScriptsAs::None => words.push(format!("are installed without the package's scripts ({scripts})")),
    }
    let reuse = by(conf.reuse.is_some(), "DKMS_REUSE", "reuse");
    match conf.reuse.unwrap_or(ctx.framework.reuse) {
        Policy::Never => {}
        Policy::Proven => words.push(format!("are reused for kernels that are the same to them ({reuse})")),
        Policy::Symbols => words.push(format!("are reused for kernels with the same checksums of symbols ({reuse})")),
    }
    if let Some(jobs) = conf.jobs {
        words.push(format!("run at most {jobs} jobs (DKMS_JOBS)"));
    }
    Ok(words)
}
