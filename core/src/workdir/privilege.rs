//! Who a build is: nobody in particular, unless the administrator or the system has it otherwise.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Once;

use crate::conf::framework::BuildAs;
use crate::context::Context;
use crate::names::Name;
use crate::process::Environment;
use crate::report::Reporter;
use crate::run::target::Target;
use crate::sandbox::Demotion;
use crate::world::environment::only_listed;
use crate::world::{SERVICES, SHARED};

/// How the build of `target` is kept from being root. Whoever is not root builds as who they are.
pub fn demotion(ctx: &Context, target: &Target, reporter: &dyn Reporter) -> Demotion {
    let wanted = target.evaluated.conf.build_as.unwrap_or(ctx.framework.build_as);
    if !ctx.machine.root || wanted == BuildAs::Root {
        return Demotion::None;
    }
    let demotion = ctx.world.demotion();
    if demotion == Demotion::None {
        static SAID: Once = Once::new();
        SAID.call_once(|| log::warn!("builds run as root, since this system lets us have no other user"));
        return demotion;
    }
    let local = ctx.trees.outer(Path::new("/etc/dkms").join(&target.package.name));
    let scripts = &target.evaluated.recipe.scripts;
    let own_scripts = [&scripts.pre_build, &scripts.post_build].into_iter().flatten().filter_map(|line| {
        let file = local.join(line.split_whitespace().next()?);
        file.is_file().then_some(file)
    });
    let headers = outer(ctx, &target.facts.source_dir);
    let needed = HEADERS.iter().map(|file| headers.join(file)).chain(own_scripts.clone()).map(|file| (file, 0o004));
    let needed = needed.chain(own_scripts.map(|_| (local.clone(), 0o001)));
    let unreadable =
        |(file, bit): &(PathBuf, u32)| std::fs::metadata(file).is_ok_and(|meta| meta.permissions().mode() & bit == 0);
    if let Some((file, _)) = needed.into_iter().find(unreadable) {
        reporter.warning(&[&format!(
            "{} is built as root, since {} is not for other users.",
            target.package,
            ctx.trees.shown(&file).display()
        )]);
        return Demotion::None;
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

/// The environment of this run's programs as a build gets it that is another user's (`demoted`), or ours.
pub fn environment(ctx: &Context, demoted: bool) -> Environment {
    let mut environment = ctx.world.environment().clone();
    if demoted {
        only_listed(&mut environment);
    }
    environment
}

/// What kbuild and packages' scripts read of a kernel's headers, and a strict umask may have closed.
const HEADERS: [&str; 4] = ["include/generated/autoconf.h", "include/config/auto.conf", ".config", "Module.symvers"];

/// Whether nothing that the build of `target` is to see lies among everybody's temporary files, or beside services' sockets.
pub fn needs_no_shared_files(ctx: &Context, target: &Target) -> bool {
    let trees = &ctx.trees;
    let places = [&trees.dkms.outer, &trees.source.outer, &trees.install.outer, &trees.source_of(&target.package)];
    let mut needed: Vec<PathBuf> = places.into_iter().map(|place| ctx.world.called(trees, place)).collect();
    needed.push(target.facts.source_dir.clone());
    needed.extend([&ctx.options.kernel_config, &ctx.options.conf].into_iter().flatten().cloned());
    if let Some(path) = ctx.world.environment().get(std::ffi::OsStr::new("PATH")) {
        needed.extend(std::env::split_paths(path));
    }
    let real = |called: &Path| {
        let outer = outer(ctx, called);
        match outer.strip_prefix(trees.root.dir()) {
            Ok(inside) if ctx.world.is_inside() => Path::new("/").join(inside),
            _ => fs_err::canonicalize(&outer).unwrap_or(outer),
        }
    };
    let shared = |path: &Path| SHARED.iter().chain([&SERVICES]).any(|dir| path.starts_with(Path::new("/").join(dir)));
    !needed.iter().any(|path| shared(path) || shared(&real(path)))
}

/// Where what programs call `called` is for us.
pub fn outer(ctx: &Context, called: &Path) -> PathBuf {
    ctx.world.outer(called)
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

/// What helps a package that can't be built but as root.
pub fn advice(name: &Name) -> String {
    format!("If you trust {name} with that, write DKMS_BUILD_AS=\"root\" in /etc/dkms/{name}.conf")
}
