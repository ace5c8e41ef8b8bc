//! What the commands of a build find around them.

use crate::context::Context;
use crate::process::Environment;
use crate::run::script;
use crate::run::target::Target;

/// What make, patch and the build's scripts find in their environment, over `base`.
pub(super) fn environment(target: &Target, base: Environment) -> Environment {
    let mut env = base;
    env.extend(target.facts.toolchain_environment());
    env.extend(script::environment(&target.package, &target.kernel));
    for directive in &target.directives {
        env.insert(directive.name.clone().into(), directive.value.clone().into());
    }
    env
}

/// Whether programs are looked for where this program looks for them. With a PATH of `build_environment` or of a directive, a
/// build has compilers that nobody here has identified.
pub(super) fn path_is_ours(ctx: &Context, environment: &Environment) -> bool {
    let path = std::ffi::OsStr::new("PATH");
    environment.get(path) == ctx.world.environment().get(path)
}

/// What lets the build have the network; `None`: nothing does.
pub(super) fn network(ctx: &Context, target: &Target) -> Option<String> {
    match target.evaluated.conf.build_network {
        Some(allowed) => allowed.then(|| format!("DKMS_BUILD_NETWORK for {}", target.package.name)),
        None => ctx.framework.build_network.then(|| "build_network in framework.conf".to_owned()),
    }
}
