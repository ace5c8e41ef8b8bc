//! `dkms mktarball`: a package's source, its built modules, or both, in one archive (docs/contract.md 2.7).

use std::path::{Path, PathBuf};

use super::{check_not_broken, kernels, package};
use crate::archive::writer::{self, Plan, Source};
use crate::cli::args::Args;
use crate::cli::verb::{Content, Reach};
use crate::context::Context;
use crate::error::{ArchiveError, Error, RegistrationError};
use crate::install;
use crate::names::{Kernel, Package};
use crate::report::{Event, Reporter};
use crate::run::Session;
use crate::sign::signing;
use crate::tree::walk::{self, Filter, PackageEntry, Source as Registered};

pub(super) fn run(
    ctx: &Context,
    args: &Args,
    reach: Reach,
    content: Content,
    reporter: &dyn Reporter,
) -> Result<u8, Error> {
    let package = package(ctx, args)?;
    check_not_broken(ctx, &package)?;
    let entry = walk::walk(&ctx.trees, &Filter::package(&package)).packages.into_iter().next();
    let entry = entry.ok_or_else(|| Error::Registration(RegistrationError::NotAdded(package.clone())))?;
    let added = entry.source == Registered::Added;
    // What came as binaries only can be passed on as binaries only.
    if !added && (entry.built.is_empty() || content == Content::Source) {
        return Err(Error::Registration(RegistrationError::NotAdded(package)));
    }
    let kernels = match (content, reach) {
        (Content::Source, _) => Vec::new(),
        (_, Reach::Named) => kernels(ctx, args)?,
        (_, Reach::All) => all(&entry)?,
    };
    let mut artefacts = Vec::new();
    for kernel in kernels {
        if !install::is_built(ctx, &package, &kernel) {
            return Err(Error::Archive(ArchiveError::NothingBuilt(Some(kernel))));
        }
        reporter.line(&format!("Marking modules for {kernel} for archiving..."));
        let artefact = ctx.trees.artefact(&package, &kernel);
        artefacts.push((kernel, artefact));
    }
    reporter.line(&"");
    let link = ctx.trees.source_link(&package);
    // Itself, not the link in the tree that leads to it.
    let tree = fs_err::canonicalize(ctx.trees.source_of(&package))?;
    let conf = tree.join("dkms.conf");
    let source = if !added || content == Content::Binaries {
        reporter.line(&"Creating tarball structure to specifically accommodate binaries.");
        Source::ConfOnly(&conf)
    } else {
        reporter.line(&format!("Marking {} for archiving...", ctx.trees.shown(&link).display()));
        Source::Tree(&tree)
    };
    let named: Vec<Kernel> = artefacts.iter().map(|(kernel, _)| kernel.clone()).collect();
    let target = target(ctx, args, &package, &named)?;
    reporter.line(&"");
    let shown = ctx.trees.shown(&target);
    if ctx.options.dry_run {
        reporter.line(&format!("Would write {}.", shown.display()));
        reporter.report(Event::File(shown));
        return Ok(0);
    }
    reporter.line(&format!("Tarball location: {}", shown.display()));
    let session = Session::new(ctx)?;
    let forbidden = signing::private_keys(&session.facts, &named);
    let plan = Plan { package: &package, source, artefacts, mtime: ctx.source_date_epoch(), forbidden: &forbidden };
    writer::write(&plan, &target).map_err(ArchiveError::Write)?;
    reporter.report(Event::File(shown));
    ctx.trees.snapshot().act();
    Ok(0)
}

/// The kernels that something is built for.
fn all(entry: &PackageEntry) -> Result<Vec<Kernel>, Error> {
    if entry.built.is_empty() {
        return Err(Error::Archive(ArchiveError::NothingBuilt(None)));
    }
    Ok(entry.built.iter().map(|built| built.kernel.clone()).collect())
}

/// Where the archive goes: `--archive` names a file beside the others, or any place with a directory.
fn target(ctx: &Context, args: &Args, package: &Package, kernels: &[Kernel]) -> Result<PathBuf, Error> {
    let usual = ctx.trees.package_dir(package).join("tarball");
    let (dir, name) = match &args.archive {
        None => (usual, writer::file_name(package, kernels)),
        Some(path) => {
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
            let name = name.ok_or_else(|| Error::Archive(ArchiveError::NoFileName(path.clone())))?;
            match path.parent().filter(|dir| !dir.as_os_str().is_empty()) {
                None => (usual, name),
                Some(dir) => (std::path::absolute(dir)?, name),
            }
        }
    };
    let refused = |dir: &Path| Error::Archive(ArchiveError::NotWritable(dir.to_owned()));
    if ctx.options.dry_run && !dir.exists() && dir.starts_with(ctx.trees.package_dir(package)) {
        return Ok(dir.join(name));
    }
    if dir.starts_with(ctx.trees.package_dir(package)) {
        fs_err::create_dir_all(&dir).map_err(|_| refused(&ctx.trees.shown(&dir)))?;
    }
    if !dir.is_dir() || rustix::fs::access(&dir, rustix::fs::Access::WRITE_OK).is_err() {
        return Err(refused(&ctx.trees.shown(&dir)));
    }
    Ok(dir.join(name))
}
