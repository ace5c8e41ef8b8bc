//! What an artefact consists of: from its manifest, or, when the classic made it, from dkms.conf.

use std::sync::Arc;

use super::error::Error;
use crate::compress::Compression;
use crate::context::Context;
use crate::digest::Digest;
use crate::elf::Module;
use crate::facts::Evaluated;
use crate::names::{Kernel, Package};
use crate::tree::identity::Identity;
use crate::tree::manifest::{BuiltModule, Installed, InstalledFile, KernelManifest, Manifest};
use crate::tree::paths::relative;

/// The artefact's manifest; `None` when the classic made it (or replaced one of ours).
pub fn manifest(ctx: &Context, package: &Package, kernel: &Kernel) -> Result<Option<Arc<Manifest>>, Error> {
    Ok(Manifest::of(&ctx.trees, package, kernel)?)
}

/// Whether what is built was made from another source than what is installed: somebody has built it again, and no more.
pub fn is_of_another_source(ctx: &Context, package: &Package, kernel: &Kernel) -> bool {
    let beside = KernelManifest::known(&ctx.trees, &kernel.release);
    beside.find(package, &kernel.arch).is_some_and(|installed| differs_in_source(ctx, installed, kernel))
}

/// The same of what `installed` says is beside the modules of `kernel`.
pub fn differs_in_source(ctx: &Context, installed: &Installed, kernel: &Kernel) -> bool {
    let package = &installed.package;
    // The very files that were installed: what they were made from need not be read.
    let modules = ctx.trees.artefact_modules(package, kernel);
    let is_same = |file: &InstalledFile| {
        file.tree_identity
            .is_some_and(|known| Identity::of_path(&modules.join(&file.file)).is_ok_and(|found| found == known))
    };
    if installed.files.iter().all(is_same) {
        return false;
    }
    let built = Manifest::of(&ctx.trees, package, kernel).ok().flatten();
    let built = built.as_ref().and_then(|built| built.provenance.source_digest.as_ref());
    let installed = installed.provenance.source_digest.as_ref();
    built.zip(installed).is_some_and(|(built, installed)| built != installed)
}

/// The modules of an artefact without a manifest, by dkms.conf. Those that are missing are left out.
pub fn modules_by_conf(
    ctx: &Context,
    package: &Package,
    kernel: &Kernel,
    evaluated: &Evaluated,
) -> Result<Vec<BuiltModule>, Error> {
    let dir = ctx.trees.artefact_modules(package, kernel);
    let location = ctx.distribution.install_location(ctx.machine.addon_modules_dir.as_deref());
    let mut modules = Vec::new();
    for module in &evaluated.recipe.modules {
        let name = &module.record.dest_name;
        let suffixes = [Compression::None, Compression::Gzip, Compression::Xz, Compression::Zstd];
        let Some(file) =
            suffixes.iter().map(|kind| format!("{name}.ko{}", kind.suffix())).find(|file| dir.join(file).is_file())
        else {
            continue;
        };
        let path = dir.join(&file);
        let facts = Module::read(&path).ok();
        let field = |key| facts.as_ref().and_then(|facts| facts.field(key)).map(str::to_owned);
        let own_location = relative(&module.record.dest_location);
        modules.push(BuiltModule {
            name: name.clone(),
            file,
            location: location.as_deref().map_or_else(|| own_location.clone(), relative),
            own_location,
            digest: Digest::of_file(&path)?,
            identity: Identity::of_path(&path).ok(),
            version: field("version").unwrap_or_default(),
            srcversion: field("srcversion"),
        });
    }
    Ok(modules)
}
