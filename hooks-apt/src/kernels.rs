//! Which kernels a module package that is being installed should serve.

use dkms_core::context::Context;
use dkms_core::error::Error;
use dkms_core::kernel::installed::{self, Presence};
use dkms_core::names::Release;

/// What decides.
#[derive(Debug, Clone, Default)]
pub struct Candidates {
    /// Every kernel that is installed, the newest first.
    pub installed: Vec<Release>,
    /// Those whose headers are there as well (also without a kernel, as where modules are built for elsewhere).
    pub with_headers: Vec<Release>,
    /// The running kernel: in a chroot or an image under construction it is somebody else's.
    pub running: Option<Release>,
    /// framework.conf wants every kernel.
    pub all: bool,
    /// The package is being upgraded.
    pub upgrade: bool,
}

impl Candidates {
    /// The facts of the root of `ctx`.
    pub fn of(ctx: &Context, upgrade: bool) -> Result<Self, Error> {
        let found = installed::scan(&ctx.trees, &|_, _| false)?;
        let has_headers = |release: &Release| {
            let build = ctx.trees.install.inside.join(release).join("build");
            ctx.trees.outer(build).is_dir()
        };
        let is_there = |found: &&installed::Found| found.presence == Presence::Installed;
        Ok(Self {
            installed: found.iter().filter(is_there).map(|found| found.release.clone()).collect(),
            with_headers: found.iter().map(|found| &found.release).filter(|r| has_headers(r)).cloned().collect(),
            running: ctx.machine.running.clone(),
            all: ctx.framework.autoinstall_all_kernels,
            upgrade,
        })
    }

    /// The kernels to serve, the newest first.
    ///
    /// All with headers if framework.conf says so. Otherwise the running and the newest one. Where the running kernel is
    /// not installed, it belongs to the host of a chroot: a first installation then serves all, an upgrade the newest.
    pub fn choose(&self) -> Vec<Release> {
        // Recovery and boot kernels of old distributions.
        let usable = |release: &&Release| !release.as_str().contains("BOOT");
        let here = self.running.as_ref().filter(|running| self.installed.contains(running));
        if self.all || (here.is_none() && !self.upgrade) {
            return self.with_headers.iter().filter(usable).cloned().collect();
        }
        let newest = self.installed.first().or(self.with_headers.first());
        let mut chosen: Vec<Release> = newest.into_iter().chain(here).filter(usable).cloned().collect();
        chosen.dedup();
        chosen
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn releases(text: &str) -> Vec<Release> {
        text.split_whitespace().map(|word| Release::new(word).unwrap()).collect()
    }

    #[test]
    fn the_choice() {
        for (installed, headers, running, all, upgrade, chosen) in [
            ("6.3 6.2 6.1", "6.3 6.1", "6.1", true, false, "6.3 6.1"),
            ("6.3 6.2 6.1", "6.3 6.1", "6.1", false, false, "6.3 6.1"),
            ("6.3 6.2 6.1", "6.3 6.1", "6.2", false, true, "6.3 6.2"),
            ("6.3 6.2", "6.3 6.2", "6.3", false, true, "6.3"),
            // A chroot on another system.
            ("6.3 6.2", "6.3 6.2", "5.0", false, false, "6.3 6.2"),
            ("6.3 6.2", "6.3 6.2", "5.0", false, true, "6.3"),
            // Headers alone: modules built for elsewhere.
            ("", "6.3 6.2", "5.0", false, true, "6.3"),
            ("6.2BOOT 6.1", "6.2BOOT 6.1", "6.1", true, false, "6.1"),
            ("", "", "6.1", true, false, ""),
        ] {
            let facts = Candidates {
                installed: releases(installed),
                with_headers: releases(headers),
                running: releases(running).pop(),
                all,
                upgrade,
            };
            assert_eq!(facts.choose(), releases(chosen), "{facts:?}");
        }
    }
}
