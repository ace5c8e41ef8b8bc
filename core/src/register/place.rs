//! Registering a package whose source is in its place.

use std::path::{Path, PathBuf};

use fs_err as fs;

use super::conf::{Registration, post_add};
use super::known;
use crate::conf::misspelt::misspelt_in;
use crate::context::Context;
use crate::error::{Error, RegistrationError};
use crate::facts::Evaluated;
use crate::host::owner::Owner;
use crate::host::rpm_upgrade;
use crate::journal::Change;
use crate::names::{Package, nearest};
use crate::plan::Registering;
use crate::report::Reporter;
use crate::run::Session;
use crate::superseded;
use crate::tree::walk::{self, Source};

/// What registering a package comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Decision {
    /// It waited for a successor, and its source is there again.
    Again,
    /// It is new.
    New,
}

/// How `package` will be registered. `coming`: its source is still to be copied to its place.
pub fn planned(
    session: &Session<'_>,
    how: &Registration,
    package: &Package,
    coming: bool,
) -> Result<Registering, Error> {
    match decide(session.ctx, package, coming)? {
        Decision::Again => Ok(Registering::Again(package.clone(), session.ctx.trees.source_place(package))),
        Decision::New if coming => Ok(Registering::Add(package.clone())),
        Decision::New => evaluated(session, how, package).map(|_| Registering::Add(package.clone())),
    }
}

fn already(package: &Package) -> Error {
    Error::Registration(RegistrationError::AlreadyAdded(package.clone()))
}

fn decide(ctx: &Context, package: &Package, coming: bool) -> Result<Decision, Error> {
    let is_there = coming || ctx.trees.outer(ctx.trees.source_place(package)).is_dir();
    if is_there && superseded::is_marked(&ctx.trees, package) {
        return Ok(Decision::Again);
    }
    match walk::source(&ctx.trees, package) {
        Source::Added => Err(already(package)),
        Source::Broken | Source::None => Ok(Decision::New),
    }
}

/// What the dkms.conf of a source in its place says, read as strictly as can be.
fn evaluated(session: &Session<'_>, how: &Registration, package: &Package) -> Result<Evaluated, Error> {
    let ctx = session.ctx;
    let source = ctx.trees.source_place(package);
    if !ctx.trees.outer(&source).is_dir() {
        let (name, version) = (&package.name, &package.version);
        let near = known::packages(ctx)
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

/// Registers `package`; gives the exit code: that of POST_ADD.
pub fn add(session: &Session<'_>, how: &Registration, package: &Package, reporter: &dyn Reporter) -> Result<u8, Error> {
    let ctx = session.ctx;
    let source = ctx.trees.source_place(package);
    let mut decided = decide(ctx, package, false);
    if matches!(decided, Ok(Decision::Again)) {
        if superseded::adopt(ctx, package, &source)? {
            return Ok(0);
        }
        // Another run may have taken it up, or ended it: then it is new.
        decided = decide(ctx, package, false);
    }
    rpm_upgrade::leave(ctx.rpm_process(), &ctx.trees, package)?;
    // The %post of an upgrade to the same version, packaged anew: what is built may be of its old source.
    let is_upgrade = ctx.machine.rpm_scriptlet.is_some_and(|scriptlet| scriptlet.instances > 1);
    let is_there = matches!(decided, Err(Error::Registration(RegistrationError::AlreadyAdded(_))));
    if is_there && is_upgrade && ctx.trees.root.is_host() {
        superseded::renew(ctx, package, Owner::Rpm)?;
    }
    if decided? == Decision::Again {
        return Err(already(package));
    }
    let evaluated = evaluated(session, how, package)?;
    session.facts.report(package, &evaluated, reporter);
    warn_of_doubts(ctx, package, &evaluated, reporter);
    let link = ctx.trees.source_link(package);
    {
        let _lock = ctx.lock_tree()?;
        // Another run may have been quicker.
        if walk::source(&ctx.trees, package) == Source::Added {
            return Err(already(package));
        }
        reporter.line(&format!("Creating symlink {} -> {}", ctx.trees.shown(&link).display(), source.display()));
        let mut change = Change::new(&ctx.trees, format!("add {package}"));
        change.stage_symlink(&source, &link);
        change.commit()?;
        fs::create_dir_all(ctx.trees.build_dir(package))?;
    }
    let script = evaluated.recipe.scripts.post_add.map(|line| (line, evaluated.conf.scripts_as));
    post_add(session, how, package, script, reporter)
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
