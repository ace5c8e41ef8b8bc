//! Marks on modules whose kernel is being upgraded under the same release: they are looked upon as stale
//! until they have been built anew, and stay in place until then.

use std::collections::BTreeSet;

use crate::context::Context;
use crate::durable;
use crate::error::Error;
use crate::names::{Kernel, Package};

/// The packages marked for `kernel`.
pub fn marked(ctx: &Context, kernel: &Kernel) -> BTreeSet<Package> {
    let text = durable::read(&ctx.trees.stale_list(kernel)).ok().flatten().unwrap_or_default();
    String::from_utf8_lossy(&text)
        .lines()
        .filter_map(|line| line.split_once('/'))
        .filter_map(|(name, version)| Package::new(name, version).ok())
        .collect()
}

/// Marks `packages`, besides those that are marked. The caller holds the tree lock.
pub fn mark(ctx: &Context, kernel: &Kernel, packages: impl IntoIterator<Item = Package>) -> Result<(), Error> {
    let mut all = marked(ctx, kernel);
    all.extend(packages);
    store(ctx, kernel, &all)
}

/// Takes the marks of `packages` away. The caller holds the tree lock.
pub fn clear<'a>(ctx: &Context, kernel: &Kernel, packages: impl IntoIterator<Item = &'a Package>) -> Result<(), Error> {
    let mut all = marked(ctx, kernel);
    let before = all.len();
    for package in packages {
        all.remove(package);
    }
    if all.len() == before { Ok(()) } else { store(ctx, kernel, &all) }
}

fn store(ctx: &Context, kernel: &Kernel, packages: &BTreeSet<Package>) -> Result<(), Error> {
    let path = ctx.trees.stale_list(kernel);
    if packages.is_empty() {
        return Ok(durable::remove_any(&path)?);
    }
    if let Some(dir) = path.parent() {
        durable::own_dirs(dir)?;
    }
    let mut text = packages.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
    text.push('\n');
    ctx.trees.snapshot().act();
    Ok(ctx.trees.write(&path, text.as_bytes(), 0o600)?)
}
