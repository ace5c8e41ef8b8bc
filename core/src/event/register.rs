//! Sources that arrive: they are made known, with their source where it belongs.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::{Arrival, Handled};
use crate::command;
use crate::context::{Context, Options};
use crate::error::Error;
use crate::host::owner::Owner;
use crate::journal::Change;
use crate::names::Package;
use crate::register::conf::{self, Registration};
use crate::register::{Again, Asked, for_event};
use crate::report::Reporter;
use crate::run::Session;
use crate::superseded;
use crate::tree::walk::{self, Filter, Source};

/// `common.postinst` returns this for a tarball that can't be loaded (docs/contract.md 9.2).
const BAD_TARBALL: u8 = 2;

/// Registers what arrived; gives the package if it says which, or the exit code with which that failed.
pub(super) fn register(
    ctx: &Context,
    arrival: &Arrival,
    reporter: &dyn Reporter,
) -> Result<Result<Option<Package>, u8>, Error> {
    match arrival {
        Arrival::Package(package) => Ok(code_of(named(ctx, package, reporter)?).map(|()| Some(package.clone()))),
        Arrival::Tarball(package, file) => {
            let forced = Context { options: Options { force: true, ..ctx.options.clone() }, ..ctx.clone() };
            let file = Asked::File(ctx.trees.outer(file), Again::Refused);
            let load = || for_event(&forced, file, reporter);
            Ok(match command::carry_out(&forced, reporter, load) {
                0 => Ok(Some(package.clone())),
                _ => Err(BAD_TARBALL),
            })
        }
        Arrival::Directory(dir) => directory(ctx, dir, reporter),
    }
}

fn code_of(code: u8) -> Result<(), u8> {
    if code == 0 { Ok(()) } else { Err(code) }
}

/// Registers `package` from its usual place.
fn named(ctx: &Context, package: &Package, reporter: &dyn Reporter) -> Result<u8, Error> {
    let source = ctx.trees.source_place(package);
    let there = ctx.trees.outer(&source).is_dir();
    if there && superseded::adopt(ctx, package, &source)? {
        return Ok(0);
    }
    match walk::source(&ctx.trees, package) {
        Source::Added => return Ok(0),
        // Its link leads nowhere; the source is back where it belongs.
        Source::Broken if there => link_in_place(ctx, package)?,
        Source::Broken | Source::None => {}
    }
    if walk::source(&ctx.trees, package) == Source::Added {
        return Ok(0);
    }
    Ok(command::carry_out(ctx, reporter, || for_event(ctx, Asked::Package(package.clone()), reporter)))
}

/// Links the tree to the source of `package` in its usual place, if it is there and not linked: it is registered then,
/// without a look at its dkms.conf.
pub(super) fn link_in_place(ctx: &Context, package: &Package) -> Result<(), Error> {
    let source = ctx.trees.source_place(package);
    if !ctx.trees.outer(&source).join("dkms.conf").is_file() || walk::source(&ctx.trees, package) == Source::Added {
        return Ok(());
    }
    link_to(ctx, package, &source)
}

/// Registers the source in `dir`, where it is: a copy would belong to no package, and stay as it is when the package is
/// upgraded or removed. One that is registered already may be another now, under the same version.
fn directory(ctx: &Context, dir: &Path, reporter: &dyn Reporter) -> Result<Result<Option<Package>, u8>, Error> {
    for entry in walk::walk(&ctx.trees, &Filter::default()).packages {
        if link(ctx, &entry.package).as_deref() == Some(dir) {
            superseded::renew(ctx, &entry.package, Owner::Alpm)?;
            return Ok(Ok(Some(entry.package)));
        }
    }
    let by_conf = named_by_conf(ctx, dir);
    let name = dir.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let called = Package::of_directory(name, by_conf.as_ref().ok().map(|package| package.name.as_str()));
    let in_place = dir.parent() == Some(ctx.trees.source.inside.as_path());
    match (called, by_conf) {
        (Some(package), _) if in_place && walk::source(&ctx.trees, &package) != Source::Added => {
            Ok(code_of(named(ctx, &package, reporter)?).map(|()| Some(package)))
        }
        // Its name has no version: that of dkms.conf.
        (None, Ok(package)) if walk::source(&ctx.trees, &package) != Source::Added => {
            link_to(ctx, &package, dir)?;
            Ok(Ok(Some(package)))
        }
        // Refused, with the reason.
        _ => {
            let add = || for_event(ctx, Asked::Directory(ctx.trees.outer(dir)), reporter);
            Ok(code_of(command::carry_out(ctx, reporter, add)).map(|()| None))
        }
    }
}

/// The package that the dkms.conf in `dir` names.
pub(super) fn named_by_conf(ctx: &Context, dir: &Path) -> Result<Package, Error> {
    let conf = ctx.trees.outer(dir).join("dkms.conf");
    conf::named_by_conf(&Session::new(ctx)?, &Registration::alone(ctx)?, &conf)
}

/// Links the tree to the source of `package` in `dir` (inside the root).
pub(super) fn link_to(ctx: &Context, package: &Package, dir: &Path) -> Result<(), Error> {
    let _lock = ctx.lock_tree()?;
    let mut change = Change::new(&ctx.trees, format!("link to the source of {package}"));
    change.stage_symlink(dir, &ctx.trees.source_link(package));
    Ok(change.commit()?)
}

/// Where the source of `package` is (inside the root).
pub(super) fn link(ctx: &Context, package: &Package) -> Option<PathBuf> {
    fs_err::read_link(ctx.trees.source_link(package)).ok()
}

/// Registers whatever else is in the source tree. What is wrong with one is said, and hinders no other.
pub(super) fn rest(ctx: &Context, handled: &mut Handled, reporter: &dyn Reporter) -> Result<(), Error> {
    let packages = walk::walk(&ctx.trees, &Filter::default()).packages;
    let known: BTreeSet<PathBuf> = packages.iter().filter_map(|entry| link(ctx, &entry.package)).collect();
    for dir in sources(ctx).into_iter().filter(|dir| !known.contains(dir)) {
        let arrival = Arrival::Directory(dir);
        if let Err(code) = register(ctx, &arrival, reporter)? {
            handled.summary.note(failed(&arrival, code));
        }
    }
    Ok(())
}

/// The directories of the source tree that hold a dkms.conf, inside the root, by name.
pub(super) fn sources(ctx: &Context) -> Vec<PathBuf> {
    let place = &ctx.trees.source;
    let entries = std::fs::read_dir(&place.outer).into_iter().flatten().flatten();
    let mut found: Vec<PathBuf> = entries
        .filter(|entry| entry.path().join("dkms.conf").is_file())
        .map(|entry| place.inside.join(entry.file_name()))
        .collect();
    found.sort();
    found
}

/// What is said at the end of a source that could not be registered.
pub(super) fn failed(arrival: &Arrival, code: u8) -> String {
    let what = match arrival {
        Arrival::Package(package) => package.to_string(),
        Arrival::Tarball(_, path) | Arrival::Directory(path) => path.display().to_string(),
    };
    format!("{what} could not be registered (dkms add exited with status {code})")
}
