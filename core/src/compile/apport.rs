//! Ubuntu's crash reporter: gets failed builds, if it is there (docs/contract.md 2.2 step 13).

use std::path::Path;
use std::time::Duration;

use super::error::Error;
use crate::context::Context;
use crate::finish;
use crate::names::{Kernel, Package};
use crate::process::{self, Output};

const APPORT: &str = "/usr/share/apport/apport";
const HOOK: &str = "/usr/share/apport/package-hooks/dkms_packages.py";
const PATIENCE: Duration = Duration::from_secs(60);

/// Tells it of `error`, if that is one a package's author can do something about. Call it when the log is where
/// the report looks for it. Nothing of it counts.
pub fn tell(ctx: &Context, package: &Package, kernel: &Kernel, error: &Error) {
    let theirs = matches!(
        error,
        Error::Make { .. }
            | Error::NotProduced { .. }
            | Error::Finish(finish::Error::NotAModule { .. })
            | Error::PatchFailed { .. }
            | Error::PatchMissing { .. }
            | Error::PatchPath(_)
    );
    if !theirs || !ctx.world.is_inside() || !ctx.world.has(APPORT) || !ctx.world.has("python3") {
        return;
    }
    let Package { name, version } = package;
    let argv = ["python3", HOOK, "-m", name.as_str(), "-v", version.as_str(), "-k", kernel.release.as_str()];
    let mut task = ctx.world.task(argv, Path::new("/"));
    task.output = Output::Null;
    task.limit = Some(PATIENCE);
    if let Err(error) = process::run(task) {
        log::warn!("{error}");
    }
}
