//! A source directory that is copied to its place.

use std::path::{Path, PathBuf};

use fs_err as fs;

use super::Found;
use super::conf::{Registration, named_by_conf};
use super::stage::Staged;
use crate::context::Context;
use crate::error::{Error, RegistrationError};
use crate::journal::{Change, WorkDir};
use crate::names::Package;
use crate::report::Reporter;
use crate::run::Session;
use crate::tree::walk::{self, Source};

/// A source that is not in its place.
#[derive(Debug)]
pub struct Elsewhere {
    /// The package that it is.
    pub(super) package: Package,
    /// Where it is (an outer path).
    pub(super) from: PathBuf,
    /// Its place (an outer path).
    pub(super) to: PathBuf,
}

/// The package that the directory `source` (an outer path) is, and whether it has to be copied.
pub(super) fn look(session: &Session<'_>, how: &Registration, source: &Path) -> Result<Found, Error> {
    let ctx = session.ctx;
    let from = fs::canonicalize(source)?;
    let package = named_by(session, how, &from)?;
    let to = ctx.trees.outer(ctx.trees.source_place(&package));
    let in_place = [to.clone(), ctx.trees.source_of(&package), ctx.trees.build_dir(&package)];
    if in_place.iter().any(|place| std::fs::canonicalize(place).is_ok_and(|place| place == from)) {
        return Ok(Found::InPlace(package));
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
    Ok(Found::Elsewhere(Elsewhere { package, from, to }))
}

/// The package that a source directory's dkms.conf names.
fn named_by(session: &Session<'_>, how: &Registration, source: &Path) -> Result<Package, Error> {
    let conf = source.join("dkms.conf");
    if !conf.is_file() {
        return Err(Error::Registration(RegistrationError::NoConf(source.to_owned())));
    }
    named_by_conf(session, how, &conf)
}

impl Elsewhere {
    /// Copies it to its place, as one change; gives the package that it is.
    pub(super) fn copy(self, ctx: &Context, reporter: &dyn Reporter) -> Result<Package, Error> {
        let Self { package, from, to } = self;
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
}
