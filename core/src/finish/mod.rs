//! From built modules to a finished artefact: strip, sign, compress, manifest.

mod error;
pub mod fitness;
pub mod strip;

use std::borrow::Cow;
use std::collections::{BTreeSet, HashSet};
use std::fmt::Display;
use std::path::{Path, PathBuf};

use fs_err as fs;

use crate::compress::{self, compress};
use crate::conf::recipe::Module;
use crate::context::Context;
use crate::digest::Digest;
use crate::durable;
use crate::elf;
use crate::journal::{Swap, WorkDir, swap_in};
use crate::process::{self, ProcessError, Task};
use crate::report::Reporter;
use crate::run::target::Target;
use crate::sandbox::BuildUser;
use crate::sandbox::beneath::Beneath;
use crate::sandbox::copy_out::copy_out;
use crate::sandbox::handover;
use crate::sign::signing::Signing;
use crate::system_error::SystemError;
use crate::tree::identity::Identity;
use crate::tree::manifest::{BuiltModule, CachedResult, Manifest, Provenance, Reused, Signer};
use crate::tree::paths::MANIFEST;
use crate::tree::paths::relative;
use crate::workdir as build;
use crate::workdir::build_log::Log;
use fitness::{Fitness, Wanted};

pub use error::Error;

/// In bytes; the kernel's own list, of all that it exports, has 3 MB.
const LONGEST_SYMVERS: u64 = 64 << 20;

/// A finished artefact that is not yet in place.
#[derive(Debug)]
pub struct Finished {
    /// Holds `stage`.
    work: WorkDir,
    stage: PathBuf,
    manifest: Manifest,
}

/// An artefact in place on probation, until `POST_BUILD` has run.
#[derive(Debug)]
pub struct InPlace<'a> {
    swap: Swap<'a>,
    manifest: Manifest,
    work: WorkDir,
    /// A copy of it as the build's script left it, in `work`, if the build could write to it.
    copy: Option<PathBuf>,
}

/// What a build has made, taken out of its directory.
#[derive(Debug)]
pub struct Harvest {
    /// The modules, stripped, in the order of the recipe's.
    pub modules: Vec<Vec<u8>>,
    /// The exported symbols, if modpost has listed any.
    pub exports: Option<Vec<u8>>,
}

/// Takes the modules out of the build directory `work`, which has these `contents`; those that are to be stripped are stripped
/// there, where the build can get at them, and as the build.
pub fn harvest(
    ctx: &Context,
    target: &Target,
    work: &build::WorkDir,
    contents: &Beneath,
    reporter: &dyn Reporter,
) -> Result<Harvest, Error> {
    let modules = &target.evaluated.recipe.modules;
    let exports = exports(modules, contents, reporter);
    strip_modules(ctx, target, work, &ctx.world.called(&ctx.trees, work.seen_at()), reporter);
    let read = |module: &Module| {
        let path = PathBuf::from(file_of(module));
        let gone = || unfit(&path, &"it has disappeared");
        contents.read(&path).map_err(|error| unfit(&path, &error))?.ok_or_else(gone)
    };
    Ok(Harvest { modules: modules.iter().map(read).collect::<Result<_, _>>()?, exports })
}

fn unfit(module: &Path, why: &dyn Display) -> Error {
    Error::NotAModule { module: module.to_owned(), why: why.to_string() }
}

/// Makes an artefact of a `harvest`: signs copies that no build can reach, and compresses them. `contents`: the directory of the
/// build, whose POST_BUILD finds the signed modules there. `result`: what the result cache knows of it.
pub fn finish(
    ctx: &Context,
    target: &Target,
    harvest: &Harvest,
    contents: Option<&Beneath>,
    signing: &Signing,
    result: Option<CachedResult>,
    reporter: &dyn Reporter,
) -> Result<Finished, Error> {
    let scratch = WorkDir::new(&ctx.trees)?;
    let stage = scratch.path().join("artefact");
    let modules_dir = stage.join("module");
    fs::create_dir_all(&modules_dir)?;
    fs::create_dir_all(stage.join("log"))?;
    if let Some(exports) = &harvest.exports {
        fs::write(modules_dir.join("Module.symvers"), exports)?;
    }
    let seen_at = ctx.world.called(&ctx.trees, &ctx.trees.build_dir(&target.package));
    let options = compress::Options {
        gzip: ctx.framework.compress_gzip_opts.clone(),
        xz: ctx.framework.compress_xz_opts.clone(),
        zstd: ctx.framework.compress_zstd_opts.clone(),
    };
    let location = ctx.distribution.install_location(ctx.machine.addon_modules_dir.as_deref());
    let suffix = target.facts.compression.suffix();
    let mut modules = Vec::new();
    let mut signed = true;
    for (module, plain_bytes) in target.evaluated.recipe.modules.iter().zip(&harvest.modules) {
        let path = PathBuf::from(file_of(module));
        let mut bytes = Cow::Borrowed(plain_bytes.as_slice());
        let mut is_signed = false;
        if signing.signs() {
            let plain = scratch.path().join("plain.ko");
            fs::write(&plain, &bytes)?;
            is_signed = signing.sign(&plain, &seen_at.join(&path), reporter)?;
            bytes = Cow::Owned(fs::read(&plain)?);
        }
        if let Some(contents) = contents.filter(|_| is_signed && target.evaluated.recipe.scripts.post_build.is_some()) {
            // The script finds it signed where it was built (docs/contract.md 2.2, step 15).
            contents.replace(&path, &bytes).map_err(|error| unfit(&path, &error))?;
        }
        signed &= is_signed;
        let facts = elf::Module::parse(&bytes).map_err(|error| unfit(&path, &error))?;
        let reused = result.as_ref().and_then(|result| result.reused.as_ref());
        check_fitness(target, &path, &facts, (ctx.options.force, reused), reporter)?;
        let compressed = compress(&bytes, target.facts.compression, &options, scratch.path())
            .map_err(|error| SystemError::Io(std::io::Error::other(error)))?;
        if let Some(why) = &compressed.fell_back {
            reporter.warning(&[why]);
        }
        let file = format!("{}.ko{suffix}", module.record.dest_name);
        let staged = modules_dir.join(&file);
        fs::write(&staged, &compressed.bytes)?;
        let own_location = relative(&module.record.dest_location);
        modules.push(BuiltModule {
            name: module.record.dest_name.clone(),
            file,
            location: location.as_deref().map_or_else(|| own_location.clone(), relative),
            own_location,
            digest: Digest::of(&compressed.bytes),
            identity: Identity::of_path(&staged).ok(),
            version: facts.field("version").unwrap_or_default().to_owned(),
            srcversion: facts.field("srcversion").map(str::to_owned),
        });
    }
    if target.evaluated.conf.build_depends_rebuild && !ctx.options.force {
        // As the classic notes what a package was built against (docs/contract.md 1.2).
        for dependency in &target.dependencies {
            if let Some(version) = &dependency.version {
                fs::write(stage.join(format!(".dep_{}", dependency.name)), format!("{version}\n"))?;
            }
        }
    }
    Ok(Finished {
        manifest: manifest(ctx, target, modules, signing.signer().filter(|_| signed), result)?,
        stage,
        work: scratch,
    })
}

/// The exported symbols of a build: modpost writes Module.symvers where make was pointed at (`M=`), which may be the
/// build directory or the directory of a module (Documentation/kbuild/modules.rst, "Symbols and external modules").
/// `None`: it has written none. That of a build without exports is empty.
fn exports(modules: &[Module], contents: &Beneath, reporter: &dyn Reporter) -> Option<Vec<u8>> {
    let beside = modules.iter().map(|module| module.record.built_location.as_str());
    let places: BTreeSet<&str> = std::iter::once("").chain(beside).collect();
    let mut files: Vec<Vec<u8>> = Vec::new();
    for place in places {
        match contents.read_at_most(&Path::new(place).join("Module.symvers"), LONGEST_SYMVERS) {
            Ok(found) => files.extend(found),
            // The modules are there all the same.
            Err(error) => reporter.warning(&[&format!("The list of exported symbols is left out: {error}")]),
        }
    }
    // modpost refuses a symbol that one module exports twice; the fields are checksum, symbol, module.
    let mut known = HashSet::new();
    let symbol =
        |line: &[u8]| line.split(|byte| *byte == b'\t').skip(1).take(2).map(<[u8]>::to_vec).collect::<Vec<_>>();
    let lines = files.iter().flat_map(|file| file.split(|byte| *byte == b'\n'));
    let new = lines.filter(|line| !line.is_empty() && known.insert(symbol(line)));
    let text = new.flat_map(|line| line.iter().chain(b"\n")).copied().collect();
    (!files.is_empty()).then_some(text)
}

/// Whether a module is one for the target's kernel.
///
/// With `force`, one for another release passes where the kernel goes by symbol versions: it may load (a vendor's module that
/// is built for all releases of a stable kernel interface). The same goes for one that was `reused` from that release.
fn check_fitness(
    target: &Target,
    path: &Path,
    module: &elf::Module,
    (force, reused): (bool, Option<&Reused>),
    reporter: &dyn Reporter,
) -> Result<(), Error> {
    let magic = module.field("vermagic").unwrap_or_default();
    let goes_by_versions = magic.split(' ').any(|word| word == "modversions");
    if goes_by_versions && reused.is_some_and(|reused| magic.split(' ').next() == Some(reused.from.as_str())) {
        return Ok(());
    }
    let headers = target.facts.headers.as_ref().ok().and_then(|headers| headers.generated().release);
    let wanted =
        Wanted { kernel: &target.kernel, headers_release: headers.as_deref(), config: target.facts.config.as_ref() };
    match wanted.judge(module) {
        Fitness::Fit => {}
        Fitness::Headers(why) => reporter.warning(&[&why]),
        Fitness::OtherRelease(why) if force && goes_by_versions => reporter.warning(&[&why]),
        Fitness::OtherRelease(why) | Fitness::Unfit(why) => {
            return Err(Error::NotAModule { module: path.to_owned(), why });
        }
    }
    Ok(())
}

/// A module's file in the build directory.
fn file_of(module: &Module) -> String {
    format!("{}{}.ko", module.record.built_location, module.record.built_name)
}

/// Strips the modules that are to be stripped; they are usable if that can't be done.
fn strip_modules(ctx: &Context, target: &Target, work: &build::WorkDir, seen_at: &Path, reporter: &dyn Reporter) {
    let modules = target.evaluated.recipe.modules.iter().filter(|module| module.record.strip);
    let files: Vec<PathBuf> = modules.map(|module| seen_at.join(file_of(module))).collect();
    let tools = &target.facts.toolchain;
    let prefix = tools.cross.as_ref().and_then(|cross| cross.prefix).unwrap_or_default();
    let program = strip::program(tools.cc.as_deref(), prefix);
    let stripped = strip::strip(&program, &files, |argv| {
        if !ctx.world.has(&program.to_string_lossy()) {
            // The stage that starts it would speak of itself.
            return Err(ProcessError::Start {
                program: program.to_string_lossy().into_owned(),
                source: std::io::ErrorKind::NotFound.into(),
            });
        }
        let mut task = Task::new(argv, seen_at, &work.environment(ctx));
        ctx.world.seclude(&ctx.trees, &mut task, &work.seclusion(&work.tmp(), false, &[]));
        process::run(task)
    });
    if let Err(error) = stripped {
        reporter.warning(&[&error]);
    }
}

fn manifest(
    ctx: &Context,
    target: &Target,
    modules: Vec<BuiltModule>,
    signer: Option<Signer>,
    result: Option<CachedResult>,
) -> Result<Manifest, Error> {
    let conf = &target.evaluated.conf;
    let facts = &target.facts;
    Ok(Manifest {
        package: target.package.clone(),
        kernel: target.kernel.clone(),
        modules,
        provenance: Provenance {
            source_digest: Some(Digest::of_tree(&ctx.trees.source_of(&target.package))?),
            headers_digest: facts.headers_digest(ctx).map(|digest| digest.digest().clone()),
            headers_stamp: facts.headers_stamp(ctx).map(ToString::to_string),
            kernel_identity: facts.identity.as_ref().map(ToString::to_string),
            signer,
            ..conf.provenance()
        },
        overrides_digest: target.evaluated.overrides.clone(),
        toolchain: facts.toolchain.text.clone().unwrap_or_default(),
        autoinstall: conf.autoinstall,
        build_depends_rebuild: conf.build_depends_rebuild,
        dependency_versions: target
            .dependencies
            .iter()
            .filter_map(|dep| Some((dep.name.to_string(), dep.version.clone()?)))
            .collect(),
        extra_files: Vec::new(),
        result,
        built_at: ctx.timestamp(),
        dkms_version: crate::VERSION.to_owned(),
    })
}

/// Says whether something may still be put in its place for the kernel.
pub type Enter<'a> = &'a dyn Fn() -> Result<(), SystemError>;

impl Finished {
    /// A directory for what is needed until it is in place.
    pub fn scratch(&self) -> &Path {
        self.work.path()
    }

    /// Puts the artefact at its place, keeping the one before aside. Takes the tree lock for that; asks `enter` before.
    pub fn put<'a>(self, ctx: &'a Context, target: &Target, enter: Enter<'_>) -> Result<InPlace<'a>, Error> {
        enter()?;
        fs::write(self.stage.join(MANIFEST), self.manifest.to_bytes()?)?;
        let to = ctx.trees.artefact(&target.package, &target.kernel);
        let _lock = ctx.lock_tree()?;
        let swap = swap_in(&ctx.trees, format!("build {} for {}", target.package, target.kernel), &self.stage, &to)?;
        Ok(InPlace { swap, manifest: self.manifest, work: self.work, copy: None })
    }
}

impl InPlace<'_> {
    /// Lets the build `user` write to it while `script` runs. What is kept of it then is a copy that no build has had.
    pub fn lend<E: From<Error>>(
        &mut self,
        ctx: &Context,
        target: &Target,
        user: BuildUser,
        script: impl FnOnce() -> Result<(), E>,
    ) -> Result<(), E> {
        let artefact = ctx.trees.artefact(&target.package, &target.kernel);
        handover::give(&artefact, user).map_err(Error::from)?;
        // A failed script's artefact is thrown away.
        script()?;
        let copy = self.work.path().join("kept");
        copy_out(&artefact, user, &copy).map_err(Error::BadArtefact)?;
        self.copy = Some(copy);
        Ok(())
    }

    /// Keeps it, with the build's log and whatever `POST_BUILD` added or changed.
    pub fn keep(
        mut self,
        ctx: &Context,
        target: &Target,
        log: &Log,
        reporter: &dyn Reporter,
    ) -> Result<Manifest, Error> {
        if let Err(error) = self.complete(ctx, target, log, reporter) {
            self.put_back(ctx)?;
            return Err(error);
        }
        let has_script = target.evaluated.recipe.scripts.post_build.is_some();
        let _lock = ctx.lock_tree()?;
        match &self.copy {
            Some(copy) => self.swap.keep_instead(copy)?,
            // A script may have written anywhere; we have added the log.
            None if has_script => self.swap.keep(&[Path::new(".")])?,
            None => self.swap.keep(&[Path::new("log")])?,
        }
        self.work.remove();
        Ok(self.manifest)
    }

    /// Adds the log and what `POST_BUILD` has changed to the artefact and its manifest; an error is about what must not be
    /// kept.
    fn complete(&mut self, ctx: &Context, target: &Target, log: &Log, reporter: &dyn Reporter) -> Result<(), Error> {
        let place = ctx.trees.artefact(&target.package, &target.kernel);
        let artefact = self.copy.clone().unwrap_or(place);
        let log_copy = artefact.join("log/make.log");
        anew(&log_copy)?;
        log.copy_to(&log_copy)?;
        if target.evaluated.recipe.scripts.post_build.is_some() {
            for module in &mut self.manifest.modules {
                let file = artefact.join("module").join(&module.file);
                if file.is_symlink() {
                    let what = "a link in a module's place";
                    return Err(Error::BadArtefact(handover::HandoverError::Planted { path: file, what }));
                }
                if file.is_file() {
                    let digest = Digest::of_file(&file)?;
                    if digest != module.digest {
                        let path = Path::new(&module.file);
                        let facts = elf::Module::read(&file)
                            .map_err(|error| Error::NotAModule { module: path.to_owned(), why: error.to_string() })?;
                        check_fitness(target, path, &facts, (ctx.options.force, None), reporter)?;
                        module.digest = digest;
                    }
                    module.identity = Identity::of_path(&file).ok();
                }
            }
            let known = |path: &Path| {
                path == Path::new(MANIFEST)
                    || path == Path::new("log/make.log")
                    || path == Path::new("module/Module.symvers")
                    || self.manifest.modules.iter().any(|module| path == Path::new("module").join(&module.file))
            };
            let mut extra = Vec::new();
            files_below(&artefact, Path::new(""), &mut extra)?;
            extra.retain(|path| !known(path));
            extra.sort();
            self.manifest.extra_files = extra;
            anew(&artefact.join(MANIFEST))?;
            fs::write(artefact.join(MANIFEST), self.manifest.to_bytes()?)?;
        }
        Ok(())
    }

    /// Puts the artefact before back.
    pub fn put_back(self, ctx: &Context) -> Result<(), Error> {
        let _lock = ctx.lock_tree()?;
        self.swap.put_back()?;
        self.work.remove();
        Ok(())
    }
}

/// Makes room for a file of ours: a script may have put a link there, or taken the directory away.
fn anew(path: &Path) -> Result<(), Error> {
    durable::remove_any(path)?;
    if let Some(dir) = path.parent().filter(|dir| !dir.is_dir() || dir.is_symlink()) {
        durable::remove_any(dir)?;
        fs::create_dir(dir)?;
    }
    Ok(())
}

fn files_below(dir: &Path, below: &Path, found: &mut Vec<PathBuf>) -> Result<(), Error> {
    for entry in fs::read_dir(dir.join(below))? {
        let entry = entry?;
        let path = below.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            files_below(dir, &path, found)?;
        } else {
            found.push(path);
        }
    }
    Ok(())
}
