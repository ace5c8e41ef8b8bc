//! Putting an artefact's modules into a kernel's module tree, and taking them out.

pub mod artefact;
pub mod damage;
pub mod error;
pub mod originals;
pub mod other_label;
mod ours;
pub mod prebuilt;
pub mod sanity;
pub mod source_change;
pub mod superseded_mark;
mod uninstall;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use fs_err as fs;

use crate::compress;
use crate::context::Context;
use crate::digest::Digest;
use crate::durable;
use crate::elf::symbols::content;
use crate::facts::{Evaluated, KernelFacts};
use crate::initramfs::list;
use crate::journal::Change;
use crate::modprobe;
use crate::names::{Kernel, Package};
use crate::report::{Event, Reporter};
use crate::run::Session;
use crate::run::script;
use crate::tree::manifest::{BuiltModule, Installed, InstalledFile, KernelManifest, Manifest, Provenance};
use crate::tree::{compare, walk};
use crate::weak;
use sanity::Verdict;

pub use error::Error;
pub use ours::{is_ours, is_replaced_by_the_kernels};
pub use uninstall::{files_of, forget, removal_of, unbuild, uninstall};

/// Installs the artefact of `package` for the kernel of `facts`. The caller holds the pair's lock, and
/// runs depmod when everything for that kernel is in place. A version that was installed before is
/// replaced in one change; nothing is removed before its replacement is there. `replaces`: what an older version of the
/// package put there is no reason against this one.
pub fn install(
    session: &Session<'_>,
    facts: &KernelFacts,
    package: &Package,
    evaluated: Option<&Evaluated>,
    replaces: bool,
    reporter: &dyn Reporter,
) -> Result<(), Error> {
    let ctx = session.ctx;
    let kernel = &facts.kernel;
    let forced = Forced { replaces, ..Forced::of(ctx, package, reporter)? };
    let dir = ctx.trees.modules_dir(&kernel.release);
    if !dir.is_dir() {
        return Err(Error::NoModulesDir(ctx.trees.shown(&dir)));
    }
    // Before anything is replaced: without an index nothing would be loaded, and depmod would empty the one there is.
    if !ctx.options.no_depmod && dir.join("modules.dep").exists() {
        if let Some(why) = crate::run::depmod::unreadable(ctx, &kernel.release) {
            let after = "Nothing was changed. Install a kmod that can";
            return Err(Error::Depmod { release: kernel.release.to_string(), why, after });
        }
    }
    let manifest = artefact::manifest(ctx, package, kernel)?;
    let mut modules = match (&manifest, evaluated) {
        (Some(manifest), _) => manifest.modules.clone(),
        (None, Some(evaluated)) => artefact::modules_by_conf(ctx, package, kernel, evaluated)?,
        (None, None) => Vec::new(),
    };
    check_present(ctx, package, kernel, &modules, evaluated)?;
    damage::check(ctx, package, kernel, &mut modules, manifest.is_some(), forced.force, reporter)?;
    let scripts = evaluated.map(|evaluated| &evaluated.recipe.scripts);
    let scripts_as = evaluated.and_then(|evaluated| evaluated.conf.scripts_as);
    let mut environment = script::environment(package, kernel);
    environment.extend(facts.toolchain_environment());
    let directives = session.facts.directives().iter();
    environment.extend(directives.map(|directive| (directive.name.clone().into(), directive.value.clone().into())));
    if let Some(line) = scripts.and_then(|scripts| scripts.pre_install.as_deref()) {
        if script::run(ctx, package, "pre_install", (line, scripts_as), &environment, reporter)? != 0 && !forced.force {
            return Err(Error::PreInstall);
        }
    }
    let dropped = put(ctx, facts, package, manifest.as_deref(), &modules, evaluated, &forced, reporter)?;
    // Whatever becomes of the scripts.
    session.touched(&kernel.release);
    weak::removed(ctx, kernel, &dropped.files, dropped.wanted, reporter);
    let wanted = !evaluated.map_or_else(
        || manifest.as_ref().is_some_and(|m| m.provenance.no_weak_modules),
        |evaluated| evaluated.conf.no_weak_modules,
    );
    let files = modules.iter().map(|module| module.location.join(&module.file)).filter(|file| dir.join(file).exists());
    if wanted {
        session.tell_weak(kernel, files.collect());
    }
    if let Some(line) = scripts.and_then(|scripts| scripts.post_install.as_deref()) {
        // Its status never counted: the modules are in place.
        script::run(ctx, package, "post_install", (line, scripts_as), &environment, reporter)?;
    }
    Ok(())
}

/// What is forced for a package: by the command line, or by files of the distribution
/// (`/usr/share/dkms/modules_to_force_install/*`, docs/contract.md 2.3 step 2).
struct Forced {
    force: bool,
    version: bool,
    /// Another version of the package gives way.
    replaces: bool,
}

impl Forced {
    fn of(ctx: &Context, package: &Package, reporter: &dyn Reporter) -> Result<Self, Error> {
        let mut forced = Self {
            force: ctx.options.force || ctx.options.rpm_safe_upgrade,
            version: ctx.options.force_version_override,
            replaces: false,
        };
        let dir = ctx.trees.outer("/usr/share/dkms/modules_to_force_install");
        if !dir.is_dir() {
            return Ok(forced);
        }
        let overriding = format!("{}_version-override", package.name);
        for entry in fs::read_dir(dir)? {
            // A directory, or what is no text, forces nothing.
            let Ok(text) = durable::text(&entry?.path()) else { continue };
            for word in text.split_whitespace() {
                if word == package.name.as_str() && !forced.force {
                    reporter.line(&format!("Forcing installation of {}", package.name));
                    forced.force = true;
                } else if word == overriding && !forced.version {
                    reporter.line(&format!("Forcing version override of {}", package.name));
                    forced.version = true;
                }
            }
        }
        Ok(forced)
    }
}

/// Every module that should be in the artefact is in it.
fn check_present(
    ctx: &Context,
    package: &Package,
    kernel: &Kernel,
    modules: &[BuiltModule],
    evaluated: Option<&Evaluated>,
) -> Result<(), Error> {
    let dir = ctx.trees.artefact_modules(package, kernel);
    let missing = |module: String| Error::MissingModule {
        module,
        dir: ctx.trees.shown(&dir),
        package: package.clone(),
        kernel: kernel.clone(),
    };
    for module in modules {
        if !dir.join(&module.file).is_file() {
            return Err(missing(module.file.clone()));
        }
    }
    for module in evaluated.iter().flat_map(|evaluated| &evaluated.recipe.modules) {
        if !modules.iter().any(|built| built.name == module.record.dest_name) {
            return Err(missing(format!("{}.ko", module.record.dest_name)));
        }
    }
    Ok(())
}

/// What another version had installed, and this one has not.
struct Dropped {
    /// The files, below the kernel's directory.
    files: Vec<PathBuf>,
    /// That version has weak modules.
    wanted: bool,
}

#[allow(clippy::too_many_arguments)]
fn put(
    ctx: &Context,
    facts: &KernelFacts,
    package: &Package,
    manifest: Option<&Manifest>,
    modules: &[BuiltModule],
    evaluated: Option<&Evaluated>,
    forced: &Forced,
    reporter: &dyn Reporter,
) -> Result<Dropped, Error> {
    let kernel = &facts.kernel;
    let dir = ctx.trees.modules_dir(&kernel.release);
    let built = ctx.trees.artefact_modules(package, kernel);
    let link = ctx.trees.active_link(&package.name, kernel);
    let _lock = ctx.lock_tree()?;
    let mut beside = Arc::unwrap_or_clone(KernelManifest::beside(&ctx.trees, &kernel.release)?.unwrap_or_default());
    beside.drop_stale(&ctx.trees, &kernel.release);
    let before = beside.find_name(&package.name, &kernel.arch).cloned();
    // In a tree that another program wrote, the same installation may be there under another label.
    let others = other_label::find(ctx, &package.name, kernel);
    let first_time = !link.is_symlink() && others.is_empty();
    let again = walk::is_active(&ctx.trees, package, kernel);
    // Put there by a version of this package, whatever the tree still knows of it.
    let is_own = |path: &Path| {
        let files = before.iter().flat_map(|before| &before.files);
        files.clone().any(|file| file.path.join(&file.file) == path && is_ours(file, &dir.join(path)))
    };
    // What another package has put there is no original: it would come back for good when this one goes.
    let foreign = ours::of_other_packages(&beside, &package.name, &dir);
    // Until now the kernel may have used the build for another one.
    let shared = weak::links::of_name(&ctx.trees, &kernel.release, &package.name);
    let mut change = Change::new(&ctx.trees, format!("install {package} for {kernel}"));
    let mut refused = Vec::new();
    let mut originals: Vec<(String, PathBuf)> = Vec::new();
    let mut files: Vec<InstalledFile> = Vec::new();
    if let Some(why) = evaluated.filter(|_| !forced.force).and_then(|evaluated| obsolete(kernel, evaluated)) {
        return Err(Error::NothingInstalled(vec![why]));
    }
    for module in modules {
        let found: Vec<&Path> = found(facts, ctx, module)?
            .into_iter()
            .filter(|path| dir.join(path).exists() && !prebuilt::is_link(ctx, &package.name, kernel, path))
            // Nor is a link to a build of ours for another kernel somebody else's original.
            .filter(|path| !shared.iter().any(|link| link.link == dir.join(path)))
            .collect();
        // Its own file, built anew, is not in its way.
        let own = module.location.join(&module.file);
        let superseded = before.as_ref().is_some_and(|before| superseded_mark::is_marked(&ctx.trees, &before.package));
        let no_rival = |found: &Path| {
            (again && found == own)
                || others.iter().any(|other| other.has(&dir.join(found)))
                || (is_own(found) && (first_time || forced.replaces || superseded))
        };
        let rival = found.iter().copied().find(|found| !no_rival(found));
        if let Err(why) = may_install(ctx, kernel, module, &built, rival, forced) {
            let owner = rival.and_then(|rival| ours::owner(&beside, &package.name, rival));
            refused.push(owner.map_or(why.clone(), |owner| format!("{why}\nIt is that of {owner}.")));
            continue;
        }
        let (displaced, theirs): (Vec<&Path>, Vec<&Path>) =
            found.iter().partition(|path| foreign.iter().any(|foreign| foreign == *path));
        for path in displaced {
            let there = dir.join(path);
            reporter.line(&format!("Replacing {} of another package", ctx.trees.shown(&there).display()));
            if path != own {
                change.remove_file(&there);
            }
            beside.displace(&package.name, path);
        }
        if first_time {
            let theirs: Vec<&Path> = theirs.into_iter().filter(|path| !is_own(path)).collect();
            originals::archive(ctx, &mut change, &package.name, kernel, &theirs, reporter);
            originals.extend(theirs.iter().map(|path| (module.name.clone(), path.to_path_buf())));
        } else if before.as_ref().is_some_and(|before| replaced(before, &own, &dir)) {
            originals::archive(ctx, &mut change, &package.name, kernel, &[&own], reporter);
            originals.push((module.name.clone(), own.clone()));
        } else if ctx.trees.originals(&package.name, kernel).join(&module.file).exists() {
            reporter.line(&"An original module was already stored during a previous install");
        }
        let to = dir.join(&module.location).join(&module.file);
        reporter.line(&format!("Installing {}", ctx.trees.shown(&to).display()));
        let from = built.join(&module.file);
        if ctx.options.symlink_modules {
            change.stage_symlink(ctx.trees.shown(&from), &to);
        } else {
            change.stage_copy(&from, 0o644, &to);
        }
        files.push(InstalledFile {
            path: module.location.clone(),
            name: module.name.clone(),
            file: module.file.clone(),
            srcversion: module.srcversion.clone(),
            digest: module.digest.clone(),
            identity: None,
            tree_identity: None,
            symlink: ctx.options.symlink_modules,
        });
    }
    if files.is_empty() && !modules.is_empty() {
        return Err(Error::NothingInstalled(refused));
    }
    for why in refused {
        reporter.report(Event::Note(why));
    }
    let wanted = before.as_ref().is_some_and(|before| !before.provenance.no_weak_modules);
    let mut dropped = Dropped { files: Vec::new(), wanted };
    for old in before.iter().flat_map(|before| &before.files) {
        let path = old.outer(&dir);
        if !files.iter().any(|new| new.outer(&dir) == path) && is_ours(old, &path) {
            change.remove_file(&path);
            change.prune_empty_dirs(&dir.join(&old.path), &dir);
            dropped.files.push(old.path.join(&old.file));
        }
    }
    prebuilt::step_aside(ctx, &mut change, &package.name, kernel, reporter);
    for link in shared {
        reporter.line(&format!("Removing the link to the build for {}: this kernel has its own now", link.from));
        change.remove_file(&link.link);
        change.prune_empty_dirs(link.link.parent().unwrap_or(&dir), &dir);
    }
    for other in others {
        reporter.report(Event::Note(format!(
            "{} was installed for kernel {} as {}, another name for {}; this installation replaces it. To delete its \
             build: dkms unbuild {package} -k {}/{}",
            package.name, kernel.release, other.kernel.arch, kernel.arch, kernel.release, other.kernel.arch
        )));
        change.remove_file(&other.link);
        beside.drop(&package.name, &other.kernel.arch);
    }
    change.stage_symlink(PathBuf::from(package.version.as_str()).join(&kernel.release).join(&kernel.arch), &link);
    beside.release = Some(kernel.release.clone());
    beside.put(entry(ctx, package, kernel, manifest, evaluated, files));
    let gone: Vec<String> = before.iter().flat_map(|before| &before.files).map(|file| file.name.clone()).collect();
    list::stage(ctx, &mut change, &kernel.release, &beside, &gone, &originals);
    change.stage_kernel_manifest(&kernel.release, &beside);
    if let Some(evaluated) = evaluated {
        modprobe::conf::stage(ctx, &mut change, &package.name, evaluated, reporter);
    }
    change.seal(&kernel.release);
    crate::run::foresight::commit(ctx, &kernel.release, change).map_err(Error::NotPut)?;
    Ok(dropped)
}

/// Whether the kernel's own module is at `own`, where `before` had put one.
fn replaced(before: &Installed, own: &Path, dir: &Path) -> bool {
    let put = before.files.iter().find(|file| file.path.join(&file.file) == own);
    put.is_some_and(|file| is_replaced_by_the_kernels(file, &dir.join(own)))
}

/// What OBSOLETE_BY says about a kernel beyond it (docs/contract.md 6.6). Mostly BUILD_EXCLUSIVE_KERNEL_MAX said so before.
fn obsolete(kernel: &Kernel, evaluated: &Evaluated) -> Option<String> {
    let limit = evaluated.conf.obsolete_by.as_deref()?;
    let release = kernel.release.as_str();
    let beyond = crate::kernel::version::compare(release, limit).is_gt()
        || release.split('-').next() == Some(limit.split('-').next().unwrap_or(limit));
    beyond.then(|| {
        format!(
            "Module has been obsoleted due to being included in kernel {limit}.\nIt is not installed for {limit} and later kernels.\nYou may override by specifying --force."
        )
    })
}

/// The files that the kernel has under the module's name, the one that counts first.
fn found<'a>(facts: &'a KernelFacts, ctx: &Context, module: &BuiltModule) -> Result<Vec<&'a Path>, Error> {
    let index = facts.modules(ctx)?;
    let mut found: Vec<&Path> = index.original(&module.name, &module.location.to_string_lossy()).into_iter().collect();
    for path in index.named(&module.name) {
        if !found.contains(&path.as_path()) {
            found.push(path);
        }
    }
    Ok(found)
}

/// The classic's check; the error is the message for the user.
fn may_install(
    ctx: &Context,
    kernel: &Kernel,
    module: &BuiltModule,
    built: &Path,
    found: Option<&Path>,
    forced: &Forced,
) -> Result<(), String> {
    let Some(found) = found.filter(|_| !forced.force && !forced.version) else { return Ok(()) };
    let path = ctx.trees.modules_dir(&kernel.release).join(found);
    let ours = sanity::ModuleVersion::new(Some(&module.version), module.srcversion.as_deref());
    let theirs = sanity::ModuleVersion::read(&path);
    let shown = ctx.trees.shown(&path);
    match sanity::judge(&ours, &theirs, || is_same(&path, &built.join(&module.file))) {
        Verdict::Install => Ok(()),
        Verdict::NotNewer => Err(format!(
            "Module version {} for {} is not newer than what is already found in kernel {} ({}).\nYou may override by specifying --force.",
            ours.version, module.file, kernel.release, theirs.version
        )),
        Verdict::Same if ours.version.is_empty() => Err(format!(
            "Module {} already installed (unversioned module), override by specifying --force",
            shown.display()
        )),
        Verdict::Same => Err(format!(
            "Module {} already installed at version {}, override by specifying --force",
            shown.display(),
            ours.version
        )),
    }
}

/// Whether two modules do the same, signed and compressed as they may be.
fn is_same(one: &Path, other: &Path) -> bool {
    let does = |path| compress::read_module(path).ok().and_then(|bytes| content(&bytes).ok());
    compare::same_bytes(one, other).unwrap_or(false) || does(one).is_some_and(|found| does(other) == Some(found))
}

fn entry(
    ctx: &Context,
    package: &Package,
    kernel: &Kernel,
    manifest: Option<&Manifest>,
    evaluated: Option<&Evaluated>,
    files: Vec<InstalledFile>,
) -> Installed {
    let built = manifest.map(|manifest| manifest.provenance.clone()).unwrap_or_default();
    // What dkms.conf says now counts, as for what the classic built.
    let provenance = match evaluated.map(|evaluated| evaluated.conf.provenance()) {
        Some(Provenance { build_depends, post_remove, no_weak_modules, has_exclusive, .. }) => {
            Provenance { build_depends, post_remove, no_weak_modules, has_exclusive, ..built }
        }
        None => built,
    };
    Installed {
        package: package.clone(),
        arch: kernel.arch.clone(),
        artefact_digest: Some(InstalledFile::digest_of(&files)),
        files,
        provenance,
        installed_at: ctx.timestamp(),
    }
}

/// Whether `package` is built for `kernel`.
pub fn is_built(ctx: &Context, package: &Package, kernel: &Kernel) -> bool {
    ctx.trees.artefact_modules(package, kernel).is_dir()
}

/// Whether `package` is installed for `kernel`.
pub fn is_installed(ctx: &Context, package: &Package, kernel: &Kernel) -> bool {
    is_built(ctx, package, kernel) && walk::is_active(&ctx.trees, package, kernel)
}

/// The digest of a file, if it can be read.
fn digest_of(path: &Path) -> Option<Digest> {
    Digest::of_file(path).ok()
}
