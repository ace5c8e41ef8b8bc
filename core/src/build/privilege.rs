//! Who a build is: nobody in particular, unless the administrator or the system has it otherwise.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Once;

use super::target::Target;
use crate::conf::framework::BuildAs;
use crate::context::Context;
use crate::names::Name;
use crate::process::{Demotion, Environment};
use crate::report::Reporter;

/// How the build of `target` is kept from being root. Whoever is not root builds as who they are.
pub fn demotion(ctx: &Context, target: &Target, reporter: &dyn Reporter) -> Demotion {
    let wanted = target.evaluated.build_as.unwrap_or(ctx.framework.build_as);
    if !ctx.machine.root || wanted == BuildAs::Root {
        return Demotion::None;
    }
    let demotion = ctx.world.demotion();
    if demotion == Demotion::None {
        static SAID: Once = Once::new();
        SAID.call_once(|| log::warn!("builds run as root, since this system lets us have no other user"));
        return demotion;
    }
    for dir in [&target.facts.source_dir, &ctx.world.called(&ctx.trees, &ctx.trees.package_dir(&target.package))] {
        if let Some(closed) = closed(ctx, dir) {
            reporter.warning(&[&format!(
                "{} is built as root, since {} is closed to other users.",
                target.package,
                ctx.trees.shown(&closed).display()
            )]);
            return Demotion::None;
        }
    }
    demotion
}

/// The directory on the way to `dir`, which programs call it, that other users can't go through.
fn closed(ctx: &Context, dir: &Path) -> Option<PathBuf> {
    let root = &ctx.trees.root;
    let (outer, top) =
        if ctx.world.is_inside() { (root.outer(dir), root.dir()) } else { (dir.to_owned(), Path::new("/")) };
    let outer = fs_err::canonicalize(outer).ok()?;
    let open = |part: &Path| std::fs::metadata(part).map_or(true, |meta| meta.permissions().mode() & 0o001 != 0);
    outer.ancestors().take_while(|part| part.starts_with(top)).find(|part| !open(part)).map(Path::to_owned)
}

/// Takes the caller's own places out of a build's environment: it could not use them.
pub fn forget_places(environment: &mut Environment) {
    environment.retain(|key, _| {
        let key = key.to_string_lossy();
        !(key.starts_with("XDG_") && (key.ends_with("_HOME") || key.ends_with("_DIR")))
    });
}

/// What helps a package that can't be built but as root.
pub fn advice(name: &Name) -> String {
    format!(
        "The build does not run as root, and something was refused it. If you trust {name} with that, write \
         DKMS_BUILD_AS=\"root\" in /etc/dkms/{name}.conf"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_of_the_caller_are_forgotten() {
        let mut environment: Environment = [
            ("XDG_CACHE_HOME", "/root/c"),
            ("XDG_RUNTIME_DIR", "/run/user/0"),
            ("XDG_SEAT", "seat0"),
            ("PATH", "/bin"),
        ]
        .map(|(key, value)| (key.into(), value.into()))
        .into();
        forget_places(&mut environment);
        assert_eq!(environment.keys().collect::<Vec<_>>(), ["PATH", "XDG_SEAT"]);
    }
}
