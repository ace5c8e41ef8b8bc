//! Sources become packages: from a directory, from an archive, or where they are. [`look`] finds what is to be done, for
//! `--dry-run` as for the run: the one prints what was found ([`Found::planned`]), the other carries it out
//! ([`Found::place`]). Then [`place::add`] registers what is in its place.

mod archive;
pub mod conf;
pub mod known;
pub mod place;
mod rpm;
mod source;
mod stage;

use std::path::PathBuf;

use crate::context::Context;
use crate::error::{Error, RequestError};
use crate::names::Package;
use crate::plan::Registering;
use crate::report::Reporter;
use crate::run::Session;

use archive::Archive;
use conf::Registration;
use rpm::RpmFile;
use source::Elsewhere;

pub use archive::{Again, missing};

/// What is to be registered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asked {
    /// A package, whose source is in its place.
    Package(Package),
    /// The source in a directory (an outer path).
    Directory(PathBuf),
    /// An archive or a package file of rpm (an outer path).
    File(PathBuf, Again),
}

/// What was found.
#[derive(Debug)]
pub enum Found {
    /// A package, whose source is in its place.
    InPlace(Package),
    /// A source that is copied to its place.
    Elsewhere(Elsewhere),
    /// An archive that is loaded.
    Archive(Box<Archive>),
    /// A file that rpm installs.
    Rpm(RpmFile),
}

/// What came of it.
#[derive(Debug)]
pub enum Placed {
    /// The package's source is in its place.
    Source(Package),
    /// The package is registered; its POST_ADD ended with this exit code.
    Registered(Package, u8),
    /// rpm has installed a file; its scripts have registered what they want.
    Rpm,
}

/// Finds what is to be done, without a change but in a directory of its own. Its errors are those of the run.
pub fn look(session: &Session<'_>, how: &Registration, asked: Asked) -> Result<Found, Error> {
    let ctx = session.ctx;
    match asked {
        Asked::Package(package) => Ok(Found::InPlace(package)),
        Asked::Directory(_) if !ctx.options.dry_run && !ctx.machine.root && ctx.trees.root.is_host() => {
            Err(Error::Request(RequestError::NotRoot))
        }
        Asked::Directory(dir) => source::look(session, how, &dir),
        Asked::File(file, _) if file.extension().is_some_and(|end| end == "rpm") => {
            Ok(Found::Rpm(RpmFile::look(ctx, &file)?))
        }
        Asked::File(file, again) => Ok(Found::Archive(Box::new(Archive::look(session, how, &file, again)?))),
    }
}

/// The same for an event; the package is then registered. Gives the exit code.
pub fn for_event(ctx: &Context, asked: Asked, reporter: &dyn Reporter) -> Result<u8, Error> {
    let session = Session::new(ctx)?;
    let how = Registration::alone(ctx)?;
    session.heal(reporter)?;
    match look(&session, &how, asked)?.place(&session, &how, reporter)? {
        Placed::Source(package) => place::add(&session, &how, &package, reporter),
        Placed::Registered(_, code) => Ok(code),
        Placed::Rpm => Ok(0),
    }
}

impl Found {
    /// What is done to bring the source to its place.
    pub fn planned(&self, ctx: &Context) -> Option<Registering> {
        match self {
            Self::InPlace(_) => None,
            Self::Elsewhere(source) => Some(Registering::Copy(source.from.clone(), ctx.trees.shown(&source.to))),
            Self::Archive(archive) => Some(Registering::Load(archive.file().to_owned())),
            Self::Rpm(file) => Some(Registering::Rpm(file.inside().to_owned())),
        }
    }

    /// The package, if its source is in its place when that is done, and where its source is now (an outer path).
    pub fn source(&self, ctx: &Context) -> Option<(&Package, PathBuf)> {
        match self {
            Self::InPlace(package) => Some((package, ctx.trees.source_of(package))),
            Self::Elsewhere(source) => Some((&source.package, source.from.clone())),
            Self::Archive(_) | Self::Rpm(_) => None,
        }
    }

    /// Brings the source to its place.
    pub fn place(self, session: &Session<'_>, how: &Registration, reporter: &dyn Reporter) -> Result<Placed, Error> {
        match self {
            Self::InPlace(package) => Ok(Placed::Source(package)),
            Self::Elsewhere(source) => source.copy(session.ctx, reporter).map(Placed::Source),
            Self::Archive(archive) => archive.load(session, how, reporter),
            Self::Rpm(file) => file.install(session.ctx, reporter).map(|()| Placed::Rpm),
        }
    }
}
