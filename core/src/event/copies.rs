//! Copies of sources, made by versions of ours that registered a package's directory by what its dkms.conf says. Nobody owns
//! them: they are neither upgraded nor removed with the package.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use fs_err as fs;

use super::register;
use crate::context::Context;
use crate::error::Error;
use crate::host::owner::Owner;
use crate::journal::Change;
use crate::report::Reporter;
use crate::superseded;
use crate::tree::walk::{self, Filter};

/// Gives each package that is registered from such a copy the directory that its own package brought, and deletes the copy.
/// `is_owned`: whether a package of the package manager's owns a directory of the source tree (inside the root).
pub fn give_back(ctx: &Context, is_owned: &dyn Fn(&Path) -> bool, reporter: &dyn Reporter) -> Result<(), Error> {
    let packages = walk::walk(&ctx.trees, &Filter::default()).packages;
    let known: BTreeSet<PathBuf> = packages.iter().filter_map(|entry| register::link(ctx, &entry.package)).collect();
    for dir in register::sources(ctx).into_iter().filter(|dir| !known.contains(dir)) {
        // What is wrong with a dkms.conf is said when it is registered.
        let Ok(package) = register::named_by_conf(ctx, &dir) else { continue };
        let copy = ctx.trees.source_place(&package);
        let there = ctx.trees.outer(&copy);
        let is_copy = copy != dir
            && register::link(ctx, &package).as_ref() == Some(&copy)
            && fs::symlink_metadata(&there).is_ok_and(|found| found.is_dir())
            && is_owned(&dir)
            && !is_owned(&copy);
        if !is_copy {
            continue;
        }
        reporter.line(&format!(
            "Deleting {}, a copy of {}: {package} is built from that.",
            copy.display(),
            dir.display()
        ));
        {
            let _lock = ctx.lock_tree()?;
            let mut change = Change::new(&ctx.trees, format!("delete the copy of the source of {package}"));
            change.stage_symlink(&dir, &ctx.trees.source_link(&package)).remove_dir_all(&there);
            change.commit()?;
        }
        superseded::renew(ctx, &package, Owner::Alpm)?;
    }
    Ok(())
}
