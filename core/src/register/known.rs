//! Packages and kernels that may be meant.

use crate::context::Context;
use crate::error::{Error, RequestError};
use crate::kernel::installed::{self, Presence};
use crate::names::{Arch, Kernel, Package, Release};
use crate::tree::walk::{self, Filter};

/// The packages that a user may mean: those that are registered, and those whose source is where it can be.
pub fn packages(ctx: &Context) -> Vec<Package> {
    let filter = Filter { kernels: vec![(String::new(), None)], ..Filter::default() };
    let registered = walk::walk(&ctx.trees, &filter).packages.into_iter().map(|entry| entry.package);
    let sources = std::fs::read_dir(&ctx.trees.source.outer).into_iter().flatten().flatten();
    let sources = sources.filter(|entry| entry.path().join("dkms.conf").is_file()).filter_map(|entry| {
        let name = entry.file_name().into_string().ok()?;
        let (name, version) =
            name.split_once('-').filter(|(_, version)| version.starts_with(|c: char| c.is_ascii_digit()))?;
        Package::new(name, version).ok()
    });
    registered.chain(sources).collect()
}

/// The kernel meant when none is named: the running one. In another root nobody knows what will run:
/// there it is the only one installed, if there is just one. `arch` is its architecture, if one is named.
pub fn default_kernel(ctx: &Context, arch: Option<&str>) -> Result<Kernel, Error> {
    let running = ctx.machine.running.clone().filter(|_| ctx.trees.root.is_host());
    let only = || {
        let found = installed::scan(&ctx.trees, &|_, _| false).ok()?;
        let mut there = found.iter().filter(|kernel| kernel.presence == Presence::Installed);
        let first = there.next()?.release.clone();
        there.next().is_none().then_some(first)
    };
    let Some(release) = running.or_else(only) else {
        return Err(Error::Request(RequestError::NoKernel { root: ctx.trees.root.dir().to_owned() }));
    };
    Ok(match arch {
        Some(arch) => Kernel { release, arch: Arch::new(arch)? },
        None => ctx.kernel(&release)?,
    })
}

/// Any kernel to read a dkms.conf for, when which one does not matter.
pub fn any_kernel(ctx: &Context, arch: Option<&str>) -> Result<Kernel, Error> {
    if let Ok(kernel) = default_kernel(ctx, arch) {
        return Ok(kernel);
    }
    let found = installed::scan(&ctx.trees, &|_, _| false)?;
    let release = match installed::newest(&found) {
        Some(release) => release.clone(),
        None => Release::new("0")?,
    };
    Ok(ctx.kernel(&release)?)
}
