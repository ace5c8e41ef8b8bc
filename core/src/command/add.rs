//! `dkms add`: register a package's source.

use std::path::{Path, PathBuf};

use fs_err as fs;

use super::source::{Registration, named_by_conf, post_add};
use super::stage::Staged;
use super::{check_access, known_packages, ldtarball, package, print};
use crate::cli::args::Args;
use crate::conf::misspelt::misspelt_in;
use crate::context::Context;
use crate::error::{Error, RegistrationError, RequestError};
use crate::facts::Evaluated;
use crate::host::owner::Owner;
use crate::journal::{Change, WorkDir};
use crate::names::{Package, nearest};
use crate::plan::{Plan, Registering};
use crate::report::Reporter;
use crate::run::Session;
use crate::superseded;
use crate::tree::walk::{self, Source};

pub(super) fn run(ctx: &Context, args: &Args, reporter: &dyn Reporter) -> Result<u8, Error> {
    check_access(ctx, args)?;
    let session = Session::new(ctx)?;
    let how = Registration::of(ctx, args)?;
    if ctx.options.dry_run {
        return Ok(print(&preview(args, &how, &session, reporter)?, reporter));
    }
    session.heal(reporter)?;
    if let Some(archive) = archive(args) {
        if ldtarball::is_rpm(&archive) {
            return ldtarball::install_rpm(ctx, args, &archive, reporter);
        }
        return Ok(ldtarball::load(&session, &how, &archive, ldtarball::Again::Refused, reporter)?.code);
    }
    let package = resolve(args, &how, &session, reporter)?;
    add(&session, &how, &package, reporter)
}

/// Registers `package` from its place, for an event.
pub(crate) fn package_in_place(ctx: &Context, package: &Package, reporter: &dyn Reporter) -> Result<u8, Error> {
    let session = Session::new(ctx)?;
    session.heal(reporter)?;
    add(&session, &Registration::alone(ctx)?, package, reporter)
}

/// Registers the source in `dir` (an outer path), for an event.
pub(crate) fn directory(ctx: &Context, dir: &Path, reporter: &dyn Reporter) -> Result<u8, Error> {
    let session = Session::new(ctx)?;
    let how = Registration::alone(ctx)?;
    session.heal(reporter)?;
    let package = add_source_tree(&session, &how, dir, reporter)?;
    add(&session, &how, &package, reporter)
}

/// The archive that is to be added: only when nothing else is named.
pub(super) fn archive(args: &Args) -> Option<PathBuf> {
    if args.module.is_some() || args.version.is_some() || args.source.is_some() {
        return None;
    }
    args.archive.clone()
}

/// The package that the words name; a source directory is copied to its place first.
pub(super) fn resolve(
    args: &Args,
    how: &Registration,
    session: &Session<'_>,
    reporter: &dyn Reporter,
) -> Result<Package, Error> {
    if args.module.is_some() || args.version.is_some() {
        return package(session.ctx, args);
    }
    match &args.source {
        Some(source) => add_source_tree(session, how, source, reporter),
        None => package(session.ctx, args),
    }
}

/// The plan of a run, without a change.
fn preview(args: &Args, how: &Registration, session: &Session<'_>, reporter: &dyn Reporter) -> Result<Plan, Error> {
    if let Some(archive) = archive(args) {
        return Ok(Plan {
            registering: vec![ldtarball::registering(session, how, &archive, ldtarball::Again::Refused)?],
            ..Plan::default()
        });
    }
    let (package, copied) = resolve_dry(args, how, session)?;
    let registering = registering(session, how, &package, copied.as_ref()).inspect_err(|_| {
        // The copy is made before the refusal.
        if let Some(copied) = &copied {
            reporter.line(copied);
        }
    })?;
    Ok(Plan { registering: copied.into_iter().chain([registering]).collect(), ..Plan::default() })
}

/// The package that the words name, and what would be copied, without touching anything.
pub(super) fn resolve_dry(
    args: &Args,
    how: &Registration,
    session: &Session<'_>,
) -> Result<(Package, Option<Registering>), Error> {
    let ctx = session.ctx;
    match &args.source {
        Some(source) if args.module.is_none() && args.version.is_none() => {
            let (package, copied) = source_tree(session, how, source)?;
            Ok((package, copied.map(|(from, to)| Registering::Copy(from, ctx.trees.shown(&to)))))
        }
        _ => Ok((package(ctx, args)?, None)),
    }
}

/// How `package` would be registered, where `copied` is done; the errors are those of [`add`].
pub(super) fn registering(
    session: &Session<'_>,
    how: &Registration,
    package: &Package,
    copied: Option<&Registering>,
) -> Result<Registering, Error> {
    let ctx = session.ctx;
    let source = ctx.trees.source_place(package);
    let there = ctx.trees.outer(&source).is_dir();
    if there && superseded::is_marked(&ctx.trees, package) {
        return Ok(Registering::Again(package.clone(), source));
    }
    if walk::source(&ctx.trees, package) == Source::Added {
        return Err(Error::Registration(RegistrationError::AlreadyAdded(package.clone())));
    }
    if copied.is_none() {
        readable(session, how, package)?;
    }
    Ok(Registering::Add(package.clone()))
}

/// The dkms.conf of a source in its place, read as strictly as can be.
fn readable(session: &Session<'_>, how: &Registration, package: &Package) -> Result<Evaluated, Error> {
    let ctx = session.ctx;
    let source = ctx.trees.source_place(package);
    if !ctx.trees.outer(&source).is_dir() {
        let (name, version) = (&package.name, &package.version);
        let near = known_packages(ctx)
            .into_iter()
            .find(|known| known.version == *version && nearest(name.as_str(), [known.name.as_str()]).is_some());
        let near = near.map(|known| format!("Did you mean {known}?"));
        return Err(Error::Registration(RegistrationError::NoSource(source, near)));
    }
    let kernel = session.facts.kernel(&how.kernel)?;
    let own = source.join("dkms.conf");
    let conf = Some(own.as_path()).filter(|_| ctx.options.conf.is_none());
    Ok(session.facts.evaluate(package, &kernel, conf, true)?)
}

/// Registers `package`, whose source is at its place; gives the exit code: that of POST_ADD.
pub(super) fn add(
    session: &Session<'_>,
    how: &Registration,
    package: &Package,
    reporter: &dyn Reporter,
) -> Result<u8, Error> {
    let ctx = session.ctx;
    let source = ctx.trees.source_place(package);
    if ctx.trees.outer(&source).is_dir() && superseded::adopt(ctx, package, &source)? {
        return Ok(0);
    }
    crate::host::rpm_upgrade::leave(ctx.rpm_process(), &ctx.trees, package)?;
    if walk::source(&ctx.trees, package) == Source::Added {
        // The %post of an upgrade to the same version, packaged anew: what is built may be of its old source.
        if ctx.machine.rpm_scriptlet.is_some_and(|scriptlet| scriptlet.instances > 1) && ctx.trees.root.is_host() {
            superseded::renew(ctx, package, Owner::Rpm)?;
        }
        return Err(Error::Registration(RegistrationError::AlreadyAdded(package.clone())));
    }
    let evaluated = readable(session, how, package)?;
    session.facts.tell(package, &evaluated, reporter);
    warn_of_doubts(ctx, package, &evaluated, reporter);
    let link = ctx.trees.source_link(package);
    {
        let _lock = ctx.lock_tree()?;
        // Another run may have been quicker.
        if walk::source(&ctx.trees, package) == Source::Added {
            return Err(Error::Registration(RegistrationError::AlreadyAdded(package.clone())));
        }
        reporter.line(&format!("Creating symlink {} -> {}", ctx.trees.shown(&link).display(), source.display()));
        let mut change = Change::new(&ctx.trees, format!("add {package}"));
        change.stage_symlink(&source, &link);
        change.commit()?;
        fs::create_dir_all(ctx.trees.build_dir(package))?;
    }
    match &evaluated.recipe.scripts.post_add {
        Some(line) => {
            let code = post_add(ctx, how, package, (line, evaluated.conf.scripts_as), reporter);
            session.facts.forget(package);
            code
        }
        None => Ok(0),
    }
}

/// Warns of what will stop a build later, as far as a look at the source tells.
fn warn_of_doubts(ctx: &Context, package: &Package, evaluated: &Evaluated, reporter: &dyn Reporter) {
    /// More would hide the rest.
    const SHOWN: usize = 3;
    let conf = &evaluated.conf;
    if conf.name != package.name.as_str() || conf.version != package.version.as_str() {
        reporter.warning(&[
            &format!(
                "The package is registered as {package}, but its dkms.conf is that of {}/{}.",
                conf.name, conf.version
            ),
            &"Commands in it that use PACKAGE_NAME or PACKAGE_VERSION may not find its files.",
        ]);
    }
    let source = ctx.trees.outer(ctx.trees.source_place(package));
    for slip in misspelt_in(&source.join("dkms.conf")).iter().take(SHOWN) {
        reporter.warning(&[&format!("dkms.conf, {slip}")]);
    }
    let links = dangling_links(ctx, &source);
    for (link, target) in links.iter().take(SHOWN) {
        let link = ctx.trees.shown(link);
        reporter.warning(&[&format!("{} is a link to {}, which does not exist.", link.display(), target.display())]);
    }
    if links.len() > SHOWN {
        reporter.warning(&[&format!("{} more links in the source lead nowhere.", links.len() - SHOWN)]);
    }
}

/// The links in a source that lead nowhere, with where they lead to.
fn dangling_links(ctx: &Context, source: &Path) -> Vec<(PathBuf, PathBuf)> {
    // No source has as many; one that has is looked at in part.
    const ENTRIES: usize = 100_000;
    let mut found = Vec::new();
    let mut waiting = vec![source.to_owned()];
    let mut seen = 0;
    while let Some(dir) = waiting.pop().filter(|_| seen < ENTRIES) {
        for entry in std::fs::read_dir(&dir).into_iter().flatten().flatten() {
            seen += 1;
            let path = entry.path();
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => waiting.push(path),
                Ok(kind) if kind.is_symlink() && ctx.trees.root.canonical(&ctx.trees.shown(&path)).is_err() => {
                    let target = std::fs::read_link(&path).unwrap_or_default();
                    found.push((path, target));
                }
                _ => {}
            }
        }
    }
    found.sort();
    found
}

/// The package that a source directory's dkms.conf names.
fn named_by(session: &Session<'_>, how: &Registration, source: &Path) -> Result<Package, Error> {
    let conf = source.join("dkms.conf");
    if !conf.is_file() {
        return Err(Error::Registration(RegistrationError::NoConf(source.to_owned())));
    }
    named_by_conf(session, how, &conf)
}

/// The package that a source directory is, and from where to where it has to be copied (outer paths); `None` if it is in
/// its place.
fn source_tree(
    session: &Session<'_>,
    how: &Registration,
    source: &Path,
) -> Result<(Package, Option<(PathBuf, PathBuf)>), Error> {
    let ctx = session.ctx;
    let from = fs::canonicalize(source)?;
    let package = named_by(session, how, &from)?;
    let to = ctx.trees.outer(ctx.trees.source_place(&package));
    let in_place = [to.clone(), ctx.trees.source_of(&package), ctx.trees.build_dir(&package)];
    if in_place.iter().any(|place| std::fs::canonicalize(place).is_ok_and(|place| place == from)) {
        return Ok((package, None));
    }
    // Before anything is written: a second add must not overwrite the source of the first.
    if walk::source(&ctx.trees, &package) == Source::Added && !ctx.options.force {
        return Err(Error::Registration(RegistrationError::AlreadyAdded(package)));
    }
    // A dash may belong to the name or to the version: foo-1/2 and foo/1-2 have one directory.
    if let Some(other) = named_by(session, how, &to).ok().filter(|other| *other != package && !ctx.options.force) {
        let dir = ctx.trees.shown(&to);
        return Err(Error::Registration(RegistrationError::DirectoryTaken { package, dir, other }));
    }
    Ok((package, Some((from, to))))
}

/// Copies a source directory to `<source tree>/<m>-<v>`, as one change; gives the package it is.
fn add_source_tree(
    session: &Session<'_>,
    how: &Registration,
    source: &Path,
    reporter: &dyn Reporter,
) -> Result<Package, Error> {
    let ctx = session.ctx;
    if !ctx.machine.root && ctx.trees.root.is_host() {
        return Err(Error::Request(RequestError::NotRoot));
    }
    let (package, copied) = source_tree(session, how, source)?;
    let Some((from, to)) = copied else { return Ok(package) };
    if to.exists() && ctx.options.force {
        reporter.line(&format!("Forcing install of {package}"));
    }
    // The work directory's lock tells a later run that this one is alive.
    let work = WorkDir::new(&ctx.trees)?;
    let change = Change::new(&ctx.trees, format!("copy the source of {package}"));
    let placed = Staged::new(ctx, &from, &to, work.path()).and_then(|staged| {
        let _lock = ctx.lock_tree()?;
        Ok(staged.commit(change)?)
    });
    work.remove();
    placed?;
    Ok(package)
}
