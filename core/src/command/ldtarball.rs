//! `dkms ldtarball`, and `add`, `build` and `install` of a file: an archive's package comes into the tree
//! whole, as one change, or not at all (docs/contract.md 2.8).

use std::path::{Path, PathBuf};

use fs_err as fs;

use super::source::Registration;
use super::stage::Staged;
use super::{autoinstall, check_access, print, source};
use crate::archive::layout::{self, Binaries, Kind, Layout, MAIN_TREE};
use crate::archive::reader::{self, Limits, Unpacked};
use crate::cli::args::Args;
use crate::cli::verb::Show;
use crate::conf::framework::ScriptsAs;
use crate::context::Context;
use crate::digest::Digest;
use crate::durable;
use crate::error::{ArchiveError, Error, RegistrationError, RequestError};
use crate::journal::{Change, WorkDir};
use crate::names::Package;
use crate::plan::{Plan, Registering};
use crate::process::{self, Output};
use crate::reconcile::Initramfs;
use crate::report::Reporter;
use crate::run::Session;
use crate::tree::manifest::{self, Manifest};
use crate::tree::paths::MANIFEST;
use crate::tree::walk::{self, Source};

/// What was loaded.
pub(super) struct Loaded {
    /// Whose it is.
    pub package: Package,
    /// The exit code of POST_ADD.
    pub code: u8,
}

pub(super) fn run(ctx: &Context, args: &Args, reporter: &dyn Reporter) -> Result<u8, Error> {
    let Some(archive) = args.archive.clone() else {
        return Err(nothing_named(args));
    };
    if ctx.options.force && !ctx.machine.root && ctx.trees.root.is_host() {
        return Err(Error::Request(RequestError::NotRoot));
    }
    check_access(ctx, args)?;
    let how = Registration::of(ctx, args)?;
    if ctx.options.dry_run {
        let registering = registering(&Session::new(ctx)?, &how, &archive, Again::Refused)?;
        let plan = Plan { registering: vec![registering], ..Plan::default() };
        return Ok(print(&plan, reporter));
    }
    if is_rpm(&archive) {
        return install_rpm(ctx, args, &archive, reporter);
    }
    let session = Session::new(ctx)?;
    session.heal(reporter)?;
    Ok(load(&session, &how, &archive, Again::Refused, reporter)?.code)
}

/// Loads the tarball `archive` (an outer path), for an event.
pub(crate) fn tarball(ctx: &Context, archive: &Path, reporter: &dyn Reporter) -> Result<u8, Error> {
    let session = Session::new(ctx)?;
    session.heal(reporter)?;
    Ok(load(&session, &Registration::alone(ctx)?, archive, Again::Refused, reporter)?.code)
}

pub(super) fn is_rpm(file: &Path) -> bool {
    file.extension().is_some_and(|end| end == "rpm")
}

/// Has rpm install `file`, then installs what it brought. No lock of ours is held meanwhile: the package's
/// scriptlets call dkms.
pub(super) fn install_rpm(ctx: &Context, args: &Args, file: &Path, reporter: &dyn Reporter) -> Result<u8, Error> {
    let refused = || not_by_rpm(file);
    let inside = inside(ctx, file)?;
    let argv = ["rpm".as_ref(), "-Uvh".as_ref(), inside.as_os_str()];
    let mut task = ctx.world.task(argv, Path::new("/"));
    task.output = if reporter.wants_json() { Output::Capture } else { Output::Inherit };
    let end = process::run(task);
    if let Ok(end) = &end {
        end.text().lines().for_each(|line| reporter.line(&line));
    }
    match end {
        Ok(end) if end.status.success() => autoinstall::run(ctx, args, Initramfs::Auto, Show::default(), reporter),
        _ => Err(refused()),
    }
}

/// No word is a file. The words were taken for a package then, which a path is cut in two for.
fn nothing_named(args: &Args) -> Error {
    let words: Vec<&str> = [&args.module, &args.version].into_iter().flatten().map(String::as_str).collect();
    if words.is_empty() {
        return Error::Archive(ArchiveError::NotNamed);
    }
    missing(Path::new(&words.join("/")))
}

fn not_by_rpm(file: &Path) -> Error {
    Error::Archive(ArchiveError::NotByRpm(file.to_owned()))
}

/// What the root's rpm calls `file`.
fn inside(ctx: &Context, file: &Path) -> Result<PathBuf, Error> {
    let file = fs::canonicalize(file).map_err(|_| missing(file))?;
    ctx.trees.root.inside(&file).ok_or_else(|| not_by_rpm(&file))
}

/// What is to be done with `file`; the errors are those of loading it.
pub(super) fn registering(
    session: &Session<'_>,
    how: &Registration,
    file: &Path,
    again: Again,
) -> Result<Registering, Error> {
    let ctx = session.ctx;
    if is_rpm(file) {
        return Ok(Registering::Rpm(inside(ctx, file)?));
    }
    let aside = tempfile::tempdir()?;
    Archive::open(session, how, file, aside.path())?.before(ctx, again)?;
    Ok(Registering::Load(file.to_owned()))
}

/// An archive that was unpacked.
struct Archive {
    unpacked: Unpacked,
    layout: Layout,
    package: Package,
}

impl Archive {
    /// Unpacks `archive` in the directory `work` (an outer path).
    fn open(session: &Session<'_>, how: &Registration, archive: &Path, work: &Path) -> Result<Self, Error> {
        if !archive.is_file() {
            return Err(missing(archive));
        }
        let unpacked = reader::unpack(archive, work, &Limits::default()).map_err(ArchiveError::Read)?;
        let layout = layout::understand(unpacked.path()).map_err(ArchiveError::Layout)?;
        let package = identify(session, how, archive, &layout)?;
        Ok(Self { unpacked, layout, package })
    }

    /// What the tree has of its package; an error if that is in the way.
    fn before(&self, ctx: &Context, again: Again) -> Result<Source, Error> {
        let package = &self.package;
        let before = walk::source(&ctx.trees, package);
        let is_same = || again == Again::SameSource && has_source_of(ctx, &self.layout, package);
        if before == Source::Added && !ctx.options.force && !is_same() {
            // An archive of ours and a plain one are refused with the classic's different codes.
            let ours = self.unpacked.path().join(MAIN_TREE).is_dir();
            let again = || Error::Archive(ArchiveError::AlreadyAdded(package.clone()));
            return Err(if ours {
                again()
            } else {
                Error::Registration(RegistrationError::AlreadyAdded(package.clone()))
            });
        }
        Ok(before)
    }
}

fn missing(file: &Path) -> Error {
    Error::Archive(ArchiveError::Missing(file.to_owned()))
}

/// What to do with an archive whose package is registered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Again {
    /// It is refused.
    Refused,
    /// If it has the source that is registered, there is nothing to do for it.
    SameSource,
}

/// The POST_ADD script, and who the administrator wants it to be.
type PostAdd = (String, Option<ScriptsAs>);

/// Loads `archive`. Everything is read, checked and prepared aside; then one journalled change.
pub(super) fn load(
    session: &Session<'_>,
    how: &Registration,
    archive: &Path,
    again: Again,
    reporter: &dyn Reporter,
) -> Result<Loaded, Error> {
    let ctx = session.ctx;
    let work = WorkDir::new(&ctx.trees)?;
    let loaded = load_by(session, how, archive, again, work.path(), reporter);
    work.remove();
    let (package, post_add) = loaded?;
    let code = match post_add {
        Some((line, scripts_as)) => {
            let code = source::post_add(ctx, how, &package, (&line, scripts_as), reporter)?;
            session.facts.forget(&package);
            code
        }
        None => 0,
    };
    Ok(Loaded { package, code })
}

/// Gives the package and the POST_ADD script that is to be run.
fn load_by(
    session: &Session<'_>,
    how: &Registration,
    archive: &Path,
    again: Again,
    work: &Path,
    reporter: &dyn Reporter,
) -> Result<(Package, Option<PostAdd>), Error> {
    let ctx = session.ctx;
    let opened = Archive::open(session, how, archive, work)?;
    let Archive { layout, package, .. } = &opened;
    let kernel = session.facts.kernel(&how.kernel)?;
    let conf = ctx.trees.shown(&layout.conf);
    let evaluated = session.facts.evaluate(package, &kernel, Some(&conf), true)?;
    session.facts.tell(package, &evaluated, reporter);
    let before = opened.before(ctx, again)?;
    let force = ctx.options.force;
    let is_same = again == Again::SameSource && before == Source::Added && has_source_of(ctx, layout, package);
    if is_same && !force && layout.binaries.is_empty() {
        return Ok((package.clone(), None));
    }
    // The last thing that can be refused: nothing is outside of the work directory yet.
    for binaries in &layout.binaries {
        adapt(ctx, binaries)?;
    }
    reporter.line(&"");
    reporter.line(&format!("Loading tarball for {package}"));

    let mut change = Change::new(&ctx.trees, format!("load {package} from {}", archive.display()));
    let place = ctx.trees.source_place(package);
    let (link, beside) = (ctx.trees.source_link(package), ctx.trees.outer(&place));
    let mut staged = None;
    let registered = match &layout.kind {
        Kind::SourceOnly { .. } | Kind::SourceAndBinaries { .. } if is_same && !force => true,
        Kind::SourceOnly { source } | Kind::SourceAndBinaries { source } => {
            staged = Some(Staged::new(ctx, source, &beside, work)?);
            true
        }
        // Where the source is there already, the binaries join it.
        Kind::BinariesOnly { .. } => beside.join("dkms.conf").is_file(),
    };
    let newly = registered && before != Source::Added;
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
    let scripts_as = evaluated.conf.scripts_as;
    Ok((package.clone(), evaluated.recipe.scripts.post_add.filter(|_| newly).map(|line| (line, scripts_as))))
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
    let package = source::named_by_conf(session, how, &layout.conf)?;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_not_there_is_named_as_it_was_written() {
        for word in ["nosuch.tar", "/root/nosuch.tar", "dir/nosuch.tar.xz", "../a/b/nosuch.tgz", "./nosuch.tar"] {
            let args = Args::parse(["ldtarball", word].map(Into::into)).unwrap();
            assert_eq!(args.archive, None);
            let error = nothing_named(&args);
            assert_eq!(error.lines()[0], format!("{word} does not exist."));
            assert_eq!(error.code(), 2);
        }
        let error = nothing_named(&Args::parse(["ldtarball".into()]).unwrap());
        assert!(error.lines()[0].contains("No archive") && error.code() == 2, "{:?}", error.lines());
    }
}
