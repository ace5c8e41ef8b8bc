//! The verbs: from the DKMS tree to files of packages.

use std::path::{Path, PathBuf};

use dkms_core::cli::args::Args;
use dkms_core::command;
use dkms_core::context::Context;
use dkms_core::digest::Digest;
use dkms_core::durable;
use dkms_core::error::{ArchiveError, Error as CoreError, RegistrationError};
use dkms_core::install;
use dkms_core::names::Kernel;
use dkms_core::report::{Event, Reporter};
use dkms_core::run::Session;
use dkms_core::sign::signing;
use dkms_core::tree::walk::{self, Filter, Source};
use dkms_mkpkg::{Family, Plan, binary, source};
use fs_err as fs;

use crate::error::Error;
use crate::job::Job;
use crate::{about, disk, template};

/// Runs the verb that `args` name.
pub fn run(ctx: &Context, args: &Args, reporter: &dyn Reporter) -> Result<(), Error> {
    let package = command::package(ctx, args)?;
    let entry = walk::walk(&ctx.trees, &Filter::package(&package)).packages.into_iter().next();
    let entry = entry.ok_or_else(|| CoreError::Registration(RegistrationError::NotAdded(package.clone())))?;
    if entry.source != Source::Added && entry.built.is_empty() {
        return Err(CoreError::Registration(RegistrationError::NotAdded(package)).into());
    }
    let tree = fs::canonicalize(ctx.trees.source_of(&package))?;
    let session = Session::new(ctx).map_err(CoreError::from)?;
    let kernels: Vec<Kernel> = entry.built.iter().map(|built| built.kernel.clone()).collect();
    let keys = signing::private_keys(&session.facts, &kernels);
    let forbidden = keys.iter().filter_map(|key| Digest::of_file(key).ok()).collect();
    let about = about::of(ctx, args, &tree);
    let job = Job { ctx, args, package, entry, tree, about, forbidden };
    let made = match args.verb_name() {
        "mkdriverdisk" => vec![disk::make(&job)?],
        "mkdeb" => job.packages(Family::Deb)?,
        "mkrpm" => job.packages(Family::Rpm)?,
        _ => job.packages(job.family())?,
    };
    for path in made {
        let shown = ctx.trees.shown(&path);
        reporter.line(&if ctx.options.dry_run {
            format!("Would write {}.", shown.display())
        } else {
            format!("Package location: {}", shown.display())
        });
        reporter.report(Event::File(shown));
    }
    Ok(())
}

impl Job<'_> {
    /// `--format`, or the one of this distribution.
    fn family(&self) -> Family {
        match self.args.value("format") {
            Some("deb") => Family::Deb,
            Some("rpm") => Family::Rpm,
            Some("arch") => Family::Arch,
            _ if self.ctx.distribution.is_like(&["debian", "ubuntu"]) => Family::Deb,
            _ if self.ctx.distribution.is_like(&["arch"]) => Family::Arch,
            _ => Family::Rpm,
        }
    }

    fn packages(&self, family: Family) -> Result<Vec<PathBuf>, Error> {
        let dir = match family {
            Family::Deb => "deb",
            Family::Rpm => "rpm",
            // No directory of the classic's; this one is no kernel either.
            Family::Arch => "tarball",
        };
        let mut made = Vec::new();
        if self.args.flag("binaries") {
            for kernel in self.kernels()? {
                let plan = self.binary_plan(family, &kernel, false)?;
                made.push(self.put(dir, dkms_mkpkg::write(family, &plan)?)?);
            }
            return Ok(made);
        }
        if self.entry.source != Source::Added {
            let text = format!("{} has no source here, only binaries: add --binaries.", self.package);
            return Err(Error::Usage(text));
        }
        let mut plan = source::plan(family, &self.package, &self.tree, &self.about)?;
        self.finish(family, &mut plan, None)?;
        made.push(self.put(dir, dkms_mkpkg::write(family, &plan)?)?);
        Ok(made)
    }

    /// The kernels whose modules are wanted: all have to be built.
    pub(crate) fn kernels(&self) -> Result<Vec<Kernel>, Error> {
        let kernels = if self.args.flag("all") {
            self.entry.built.iter().map(|built| built.kernel.clone()).collect()
        } else {
            command::kernels(self.ctx, self.args)?
        };
        let missing = kernels.iter().find(|kernel| !install::is_built(self.ctx, &self.package, kernel));
        if let Some(kernel) = missing {
            return Err(CoreError::Archive(ArchiveError::NothingBuilt(Some(kernel.clone()))).into());
        }
        if kernels.is_empty() {
            return Err(CoreError::Archive(ArchiveError::NothingBuilt(None)).into());
        }
        Ok(kernels)
    }

    /// The files of the modules built for `kernel`, sorted.
    pub(crate) fn modules(&self, kernel: &Kernel) -> Result<Vec<PathBuf>, Error> {
        let mut modules = Vec::new();
        for entry in fs::read_dir(self.ctx.trees.artefact_modules(&self.package, kernel))? {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if dkms_core::archive::layout::module_name(&name).is_some() {
                modules.push(path);
            }
        }
        modules.sort();
        Ok(modules)
    }

    /// Whether rpm packages are for a SUSE: the driver disk's, or this one.
    pub(crate) fn for_suse(&self) -> bool {
        let is_suse = self.ctx.distribution.is_like(&["sles", "suse", "opensuse"]);
        self.args.value("distro").map_or(is_suse, |distro| distro == "suse")
    }

    /// What a package of the modules built for `kernel` consists of.
    pub(crate) fn binary_plan(&self, family: Family, kernel: &Kernel, in_place: bool) -> Result<Plan, Error> {
        let modules = self.modules(kernel)?;
        let given = self.args.value("kernel-package").map(|given| about::relation(family, given));
        let kernel_package = given.or_else(|| match family {
            Family::Arch => about::arch_kernel(&self.ctx.trees.modules_dir(&kernel.release), &kernel.release),
            Family::Rpm if self.for_suse() => Some(about::suse_kernel(&kernel.release)),
            _ => None,
        });
        let built = binary::Prebuilt { kernel: kernel.clone(), modules, kernel_package, in_place };
        let mut plan = binary::plan(family, &self.package, &built, &self.about)?;
        self.finish(family, &mut plan, Some(kernel))?;
        Ok(plan)
    }

    /// What all packages have: the vendor's template laid over, and no keys.
    fn finish(&self, family: Family, plan: &mut Plan, kernel: Option<&Kernel>) -> Result<(), Error> {
        plan.forbidden.clone_from(&self.forbidden);
        template::apply(self.ctx, family, &self.package, &self.tree, kernel, plan)?;
        // What was asked for now counts more than what a template says for always.
        for (option, place) in
            [("maintainer", &mut plan.maintainer), ("licence", &mut plan.licence), ("summary", &mut plan.summary)]
        {
            if let Some(given) = self.args.value(option).filter(|given| !given.is_empty()) {
                given.clone_into(place);
            }
        }
        Ok(())
    }

    /// Writes a package where `--archive` says (a directory, or the file), or into the tree.
    pub(crate) fn put(&self, dir: &str, (file, bytes): (String, Vec<u8>)) -> Result<PathBuf, Error> {
        let path = match self.args.path("archive") {
            Some(path) if path.is_dir() => path.join(file),
            Some(path) => path,
            None => self.ctx.trees.package_dir(&self.package).join(dir).join(file),
        };
        self.put_at(&path, &bytes)?;
        Ok(path)
    }

    /// Writes a file whole, or not at all, and the directories that it needs; nothing in a dry run.
    pub(crate) fn put_at(&self, path: &Path, bytes: &[u8]) -> Result<(), Error> {
        if self.ctx.options.dry_run {
            return Ok(());
        }
        let path = std::path::absolute(path)?;
        fs::create_dir_all(path.parent().unwrap_or(Path::new("/")))?;
        Ok(durable::write_atomic(&path, bytes, 0o644).map_err(std::io::Error::other)?)
    }
}
