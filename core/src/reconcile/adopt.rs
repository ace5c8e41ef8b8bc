//! Packages that an empty tree has forgotten: their modules lie beside a kernel's, their manifest says whose they are, and
//! their source is in its place. So it is in a snapshot of transactional-update, which has no `/var`; in a system that was
//! started from it, whose `/var` never heard of what was installed there; and in a freshly deployed image. Whoever
//! removes a package clears the manifests, too: what they name is wanted.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::context::Context;
use crate::error::Error;
use crate::journal::Change;
use crate::kernel::installed;
use crate::kernel::version;
use crate::names::{Name, Package};
use crate::report::{Event, Reporter};
use crate::tree::beside::{self, Files};
use crate::tree::walk::{self, Filter, Source, Walk};

/// The packages that `walk` (of everything) does not know, each in its newest version, with the place of the source (inside
/// the root).
pub(super) fn forgotten(ctx: &Context, walk: &Walk) -> Vec<(Package, PathBuf)> {
    let mut found: BTreeMap<Name, Package> = BTreeMap::new();
    for known in beside::unknown_to(&ctx.trees, &Filter::default(), walk) {
        let Package { name, version } = &known.package;
        // The tree may know an older version, which was upgraded where it could not hear of it.
        let of_tree = walk.packages.iter().filter(|entry| entry.source != Source::None).map(|entry| &entry.package);
        let mut others = of_tree.filter(|other| other.name == *name).chain(found.get(name));
        let newest = others.all(|other| version::by_age(version.as_str(), other.version.as_str()).is_gt());
        if newest && known.files == Files::Whole && installed::is_there(&ctx.trees, &known.kernel.release) {
            found.insert(name.clone(), known.package);
        }
    }
    let with_place = found.into_values().map(|package| (ctx.trees.source_place(&package), package));
    let there = with_place.filter(|(source, _)| ctx.trees.outer(source.join("dkms.conf")).is_file());
    there.map(|(source, package)| (package, source)).collect()
}

/// Registers one of them again.
pub(super) fn adopt(ctx: &Context, package: &Package, source: &Path, reporter: &dyn Reporter) -> Result<(), Error> {
    let _lock = ctx.lock_tree()?;
    let mut change = Change::new(&ctx.trees, format!("take {package} up again"));
    change.stage_symlink(source, &ctx.trees.source_link(package));
    let filter = Filter::package(package);
    let walk = walk::walk(&ctx.trees, &filter);
    for known in beside::unknown_to(&ctx.trees, &filter, &walk) {
        // It names the version that was there when this tree last heard of the kernel.
        let link = ctx.trees.active_link(&package.name, &known.kernel);
        if link.is_symlink() && !walk::is_active(&ctx.trees, package, &known.kernel) {
            change.remove_file(&link);
        }
    }
    change.commit()?;
    reporter.report(Event::Note(format!(
        "dkms: {package} is registered again: its modules are installed, and its source is at {}",
        source.display()
    )));
    Ok(())
}
