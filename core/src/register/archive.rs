//! Archives: a package comes into the tree whole, as one change, or not at all (docs/contract.md 2.8).

use std::path::{Path, PathBuf};

use fs_err as fs;

use super::Placed;
use super::conf::{PostAdd, Registration, named_by_conf, post_add};
use super::stage::Staged;
use crate::archive::layout::{self, Binaries, Kind, Layout, MAIN_TREE};
use crate::archive::reader::{self, Limits};
use crate::context::Context;
use crate::digest::Digest;
use crate::durable;
use crate::error::{ArchiveError, Error, RegistrationError};
use crate::journal::{Change, WorkDir};
use crate::names::Package;
use crate::report::Reporter;
use crate::run::Session;
use crate::tree::manifest::{self, Manifest};
use crate::tree::paths::MANIFEST;
use crate::tree::walk::{self, Source};

/// What to do with an archive whose package is registered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Again {
    /// It is refused.
    Refused,
    /// If it has the source that is registered, there is nothing to do for it.
    SameSource,
}

/// Where an archive is unpacked.
#[derive(Debug)]
enum Aside {
    /// In the run's work directory.
    Run(WorkDir),
    /// Somewhere else, to be looked at.
    Look(tempfile::TempDir),
}

impl Aside {
    fn new(ctx: &Context) -> Result<Self, Error> {
        Ok(if ctx.options.dry_run { Self::Look(tempfile::tempdir()?) } else { Self::Run(WorkDir::new(&ctx.trees)?) })
    }

    fn path(&self) -> &Path {
        match self {
            Self::Run(work) => work.path(),
            Self::Look(dir) => dir.path(),
        }
    }
}

/// An archive that was unpacked.
#[derive(Debug)]
pub struct Archive {
    file: PathBuf,
    aside: Aside,
    layout: Layout,
    package: Package,
    /// What the tree has of its package.
    before: Source,
    /// The tree has its source.
    is_same: bool,
}

/// There is no such file.
pub fn missing(file: &Path) -> Error {
    Error::Archive(ArchiveError::Missing(file.to_owned()))
}

impl Archive {
    /// Unpacks `file` (an outer path) and checks all of it; an error if its package is in the way.
    pub(super) fn look(session: &Session<'_>, how: &Registration, file: &Path, again: Again) -> Result<Self, Error> {
        let ctx = session.ctx;
        if !file.is_file() {
            return Err(missing(file));
        }
        let aside = Aside::new(ctx)?;
        // It goes with the directory that it is in.
        let unpacked = reader::unpack(file, aside.path(), &Limits::default()).map_err(ArchiveError::Read)?.keep();
        let layout = layout::understand(&unpacked).map_err(ArchiveError::Layout)?;
        let package = identify(session, how, file, &layout)?;
        let before = walk::source(&ctx.trees, &package);
        let is_same = again == Again::SameSource && before == Source::Added && has_source_of(ctx, &layout, &package);
        if before == Source::Added && !ctx.options.force && !is_same {
            // An archive of ours and a plain one are refused with the classic's different codes.
            let ours = unpacked.join(MAIN_TREE).is_dir();
            return Err(if ours {
                Error::Archive(ArchiveError::AlreadyAdded(package))
            } else {
                Error::Registration(RegistrationError::AlreadyAdded(package))
            });
        }
        Ok(Self { file: file.to_owned(), aside, layout, package, before, is_same })
    }

    /// The archive.
    pub(super) fn file(&self) -> &Path {
        &self.file
    }

    /// Loads it: all is prepared aside, then there is one journalled change. Then POST_ADD runs.
    pub(super) fn load(
        self,
        session: &Session<'_>,
        how: &Registration,
        reporter: &dyn Reporter,
    ) -> Result<Placed, Error> {
        let script = self.put(session, how, reporter);
        let package = self.package.clone();
        drop(self);
        let code = post_add(session, how, &package, script?, reporter)?;
        Ok(Placed::Registered(package, code))
    }

    /// Gives the POST_ADD script that is to be run.
    fn put(
        &self,
        session: &Session<'_>,
        how: &Registration,
        reporter: &dyn Reporter,
    ) -> Result<Option<PostAdd>, Error> {
        let ctx = session.ctx;
        let Self { layout, package, before, is_same, .. } = self;
        let work = self.aside.path();
        let kernel = session.facts.kernel(&how.kernel)?;
        let conf = ctx.trees.shown(&layout.conf);
        let evaluated = session.facts.evaluate(package, &kernel, Some(&conf), true)?;
        session.facts.report(package, &evaluated, reporter);
        let force = ctx.options.force;
        if *is_same && !force && layout.binaries.is_empty() {
            return Ok(None);
        }
        // The last thing that can be refused: nothing is outside of the work directory yet.
        for binaries in &layout.binaries {
            adapt(ctx, binaries)?;
        }
        reporter.line(&"");
        reporter.line(&format!("Loading tarball for {package}"));

        let mut change = Change::new(&ctx.trees, format!("load {package} from {}", self.file.display()));
        let place = ctx.trees.source_place(package);
        let (link, beside) = (ctx.trees.source_link(package), ctx.trees.outer(&place));
        let mut staged = None;
        let registered = match &layout.kind {
            Kind::SourceOnly { .. } | Kind::SourceAndBinaries { .. } if *is_same && !force => true,
            Kind::SourceOnly { source } | Kind::SourceAndBinaries { source } => {
                staged = Some(Staged::new(ctx, source, &beside, work)?);
                true
            }
            // Where the source is there already, the binaries join it.
            Kind::BinariesOnly { .. } => beside.join("dkms.conf").is_file(),
        };
        let newly = registered && *before != Source::Added;
        if newly {
            reporter.line(&format!("Creating symlink {} -> {}", ctx.trees.shown(&link).display(), place.display()));
            change.stage_symlink(&place, &link);
        } else if !registered && (force || !link.exists()) {
            reporter.line(&format!("Creating {}", ctx.trees.shown(&link).display()));
            reporter.line(&format!("Copying dkms.conf to {} ...", ctx.trees.shown(&link).display()));
            let only = work.join("source");
            fs::create_dir(&only)?;
            fs::copy(&layout.conf, only.join("dkms.conf"))?;
            change.replace_dir(&only, &link);
        }
        for binaries in &layout.binaries {
            let to = ctx.trees.artefact(package, &binaries.kernel);
            let shown = ctx.trees.shown(&to);
            if to.exists() && !force {
                reporter.warning(&[&format!("{} already exists. Skipping...", shown.display())]);
                continue;
            }
            reporter.line(&format!("Loading {}...", shown.display()));
            change.replace_dir(&binaries.dir, &to);
        }
        {
            let _lock = ctx.lock_tree()?;
            match staged {
                Some(staged) => staged.commit(change)?,
                None => change.commit()?,
            }
            fs::create_dir_all(ctx.trees.build_dir(package))?;
        }
        let script = evaluated.recipe.scripts.post_add.filter(|_| newly);
        Ok(script.map(|line| (line, evaluated.conf.scripts_as)))
    }
}

/// Whether the source in an archive is the one that is registered for `package`, file by file.
fn has_source_of(ctx: &Context, layout: &Layout, package: &Package) -> bool {
    let (Kind::SourceOnly { source } | Kind::SourceAndBinaries { source }) = &layout.kind else { return false };
    match (Digest::of_tree(source), Digest::of_tree(&ctx.trees.source_of(package))) {
        (Ok(new), Ok(registered)) => new == registered,
        _ => false,
    }
}

/// Whose archive it is: everything in it that says so has to agree.
fn identify(session: &Session<'_>, how: &Registration, archive: &Path, layout: &Layout) -> Result<Package, Error> {
    let package = named_by_conf(session, how, &layout.conf)?;
    let mut claims: Vec<&Package> = layout.binaries.iter().filter_map(|b| b.manifest_package.as_ref()).collect();
    if let Kind::BinariesOnly { package } = &layout.kind {
        claims.push(package);
    }
    match claims.into_iter().find(|claim| **claim != package) {
        None => Ok(package),
        Some(holds) => {
            let (archive, holds) = (archive.to_owned(), holds.clone());
            Err(Error::Archive(ArchiveError::OtherPackage { archive, package, holds }))
        }
    }
}

/// Makes the manifest of unpacked binaries one of this system: where modules go is for this distribution
/// to say, never for an archive, and what stat(2) said elsewhere means nothing here. One that can't be
/// understood goes away, as if the classic had made the archive.
fn adapt(ctx: &Context, binaries: &Binaries) -> Result<(), Error> {
    let path = binaries.dir.join(MANIFEST);
    let Some(bytes) = durable::read(&path)? else { return Ok(()) };
    let lie = |why| {
        let path = format!("{MAIN_TREE}/{}/{MANIFEST}", binaries.kernel);
        ArchiveError::Layout(layout::LayoutError::Manifest { path, why })
    };
    let mut manifest = match Manifest::parse(&bytes) {
        Ok(manifest) => manifest,
        Err(why) if manifest::has_known_format(&bytes) => return Err(lie(why).into()),
        // That of another version of dkms: the binaries are good without.
        Err(_) => return Ok(fs::remove_file(&path)?),
    };
    let location = ctx.distribution.install_location(ctx.machine.addon_modules_dir.as_deref());
    for module in &mut manifest.modules {
        let own = crate::tree::paths::relative(&module.own_location.to_string_lossy());
        let why = if layout::module_name(&module.file) != Some(&module.name) {
            Some(format!("it calls {} {:?}", module.file, module.name))
        } else if !["kernel", "updates", "extra"].iter().any(|top| own.starts_with(top)) {
            Some(format!("it would install {} to {}", module.file, module.own_location.display()))
        } else {
            None
        };
        if let Some(why) = why {
            return Err(lie(why).into());
        }
        module.location = location.as_deref().map_or_else(|| own.clone(), crate::tree::paths::relative);
        module.own_location = own;
        module.identity = None;
    }
    manifest.extra_files.clear();
    Ok(fs::write(&path, manifest.to_bytes()?)?)
}
