//! The facts for [`judge`]: a kernel's index, read once, and the files beside its modules.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::SystemTime;

use crate::compress;
use crate::digest::Digest;
use crate::durable;
use crate::elf::symbols::Symbols;
use crate::elf::{ElfError, Module, Signature};
use crate::host::headers_package::pkgbase;
use crate::host::initramfs::{self, Tool};
use crate::initramfs::list;
use crate::kernel::symvers::Symvers;
use crate::kernel::{Config, Headers};
use crate::names::{Kernel, Package, Release};
use crate::run::depmod::lacks_index;
use crate::sign::Untrusted;
use crate::tree::Trees;
use crate::tree::identity::Identity;
use crate::tree::manifest::{InstalledFile, KernelManifest};

use super::image::{self, Held, What};
use super::image_names::ImageNames;
use super::index::{self, Index, module_name};
use super::modprobe_d::{ModprobeD, conf_files};
use super::needed::{self, Taker, There};
use super::stock;
use super::{Candidate, File, Why, is_skipped, judge};
use crate::depmod::trie::Trie;

/// Where depmod looks for its configuration (depmod.d(5)), the first of one name counts.
const DEPMOD_D: [&str; 5] =
    ["/etc/depmod.d", "/run/depmod.d", "/usr/local/lib/depmod.d", "/usr/lib/depmod.d", "/lib/depmod.d"];

/// Where kmod is, if a system has it.
const KMOD: [&str; 4] = ["/usr/bin/kmod", "/bin/kmod", "/usr/sbin/kmod", "/sbin/kmod"];

/// Answers for many modules; reads what there is of each kernel once.
#[derive(Debug)]
pub struct Loadable<'a> {
    trees: &'a Trees,
    kernels: Mutex<HashMap<Release, Arc<OfKernel>>>,
    modprobe_d: OnceLock<ModprobeD>,
}

/// What is known of one kernel, each read when it is first asked for.
#[derive(Debug, Default)]
struct OfKernel {
    beside: Arc<KernelManifest>,
    index: OnceLock<Arc<Option<Index>>>,
    aliases: OnceLock<Option<Trie>>,
    /// Which modules export which symbols.
    exported: OnceLock<Option<Trie>>,
    symvers: OnceLock<Option<Symvers>>,
    /// The `vermagic` of the kernel's own modules.
    magic: OnceLock<Option<String>>,
    any_namespace: OnceLock<bool>,
    image: OnceLock<Option<Image>>,
    /// Of modules that others need.
    symbols: Mutex<HashMap<PathBuf, Arc<Symbols>>>,
    answered: Mutex<HashMap<PathBuf, Answered>>,
}

/// What there is to say about one file.
#[derive(Debug, Clone)]
struct Answered {
    /// Whether it is loaded when its name is given.
    by_name: Result<(), Why>,
    /// Whether it is loaded for its devices.
    by_alias: Result<(), Why>,
}

/// A kernel's initramfs.
#[derive(Debug)]
struct Image {
    /// What makes it anew.
    command: Option<String>,
    /// It is older than what was last done to our modules.
    is_older: bool,
    /// Names of modules that belong into it.
    listed: BTreeSet<String>,
    /// Its modules that are called like ours.
    held: Vec<Held>,
}

/// What the answer is for one module of a package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The module's name.
    pub module: String,
    /// Whether it will be loaded; if not, why.
    pub answer: Result<(), Why>,
}

impl<'a> Loadable<'a> {
    /// Answers about what is installed in `trees` now.
    pub fn new(trees: &'a Trees) -> Self {
        Self { trees, kernels: Mutex::default(), modprobe_d: OnceLock::new() }
    }

    /// What is to be said of each module of `package` beside those of `kernel`; nothing of one that no manifest knows.
    pub fn package(&self, package: &Package, kernel: &Kernel) -> Vec<Answer> {
        let known = self.of_kernel(&kernel.release);
        let entry = known.beside.find(package, &kernel.arch);
        let files = entry.into_iter().flat_map(|entry| &entry.files);
        files.map(|file| Answer { module: file.name.clone(), answer: self.file(package, file, kernel) }).collect()
    }

    /// The packages whose modules need some of `package`, with what is to be said of theirs.
    pub fn dependants(&self, package: &Package, kernel: &Kernel) -> Vec<(Package, Answer)> {
        let known = self.of_kernel(&kernel.release);
        let Some(index) = self.index(&known, &kernel.release) else { return Vec::new() };
        let Some(entry) = known.beside.find(package, &kernel.arch) else { return Vec::new() };
        let ours: Vec<PathBuf> = entry.files.iter().map(|file| file.path.join(&file.file)).collect();
        let needs_ours = |file: &&InstalledFile| {
            let mut needs = index.needs_of(&module_name(Path::new(&file.file)));
            needs.any(|needed| ours.iter().any(|path| path == needed))
        };
        let others =
            known.beside.installed.iter().filter(|other| other.package != *package && other.arch == kernel.arch);
        let mut found = Vec::new();
        for other in others {
            // Of one that lost what it needs, only its manifest knows whom it needed.
            let says_so = other.provenance.build_depends.iter().any(|name| name == package.name.as_str());
            for file in other.files.iter().filter(|file| says_so || needs_ours(file)) {
                let answer = Answer { module: file.name.clone(), answer: self.file(&other.package, file, kernel) };
                found.push((other.package.clone(), answer));
            }
        }
        found
    }

    /// Whether the module that `file` says we put beside those of `kernel`, for `package`, will be loaded.
    pub fn file(&self, package: &Package, file: &InstalledFile, kernel: &Kernel) -> Result<(), Why> {
        let answered = self.answered(&self.of_kernel(&kernel.release), package, file, kernel);
        answered.by_name.and(answered.by_alias)
    }

    /// The same, asked once of each file: many may need one.
    fn answered(&self, known: &OfKernel, package: &Package, file: &InstalledFile, kernel: &Kernel) -> Answered {
        let path = file.path.join(&file.file);
        let before = || known.answered.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(answered) = before().get(&path) {
            return answered.clone();
        }
        let mut by_alias = Ok(());
        let by_name = self.by_name(known, package, file, kernel, &mut by_alias);
        let answered = Answered { by_name, by_alias };
        before().insert(path, answered.clone());
        answered
    }

    fn by_name(
        &self,
        known: &OfKernel,
        package: &Package,
        file: &InstalledFile,
        kernel: &Kernel,
        by_alias: &mut Result<(), Why>,
    ) -> Result<(), Why> {
        let dir = self.trees.modules_dir(&kernel.release);
        let path = file.path.join(&file.file);
        let index = self.index(known, &kernel.release);
        let (what, bytes) = look(self.trees, &dir.join(&path), package, file, kernel);
        let magic = known.magic.get_or_init(|| stock::magic(&dir, index?, &known.beside)).as_deref();
        let facts = Candidate { release: &kernel.release, path: &path, file: what, index, asked: &[], magic };
        judge(&facts).map_err(|why| match why {
            // Looked up only where there is something to explain.
            Why::Another { path, .. } => Why::Another { path, asked: self.asked(&file.name) },
            other => other,
        })?;
        let (Some(bytes), Some(index)) = (bytes, index) else { return Ok(()) };
        let module = Module::parse(&bytes).map_err(|error| Why::Damaged(error.to_string()))?;
        let name = module_name(&path);
        let modprobe_d = self.modprobe_d.get_or_init(|| ModprobeD::read(self.trees));
        let symbols = Symbols::parse(&bytes).map_err(|error| Why::Damaged(error.to_string()))?;
        *by_alias = aliases(known, &dir, &path, &module)
            .and_then(|()| exports(known, &dir, &symbols))
            .and_then(|()| module.field("alias").and_then(|_| modprobe_d.hides(&name)).map_or(Ok(()), Err));
        let symvers = known.symvers.get_or_init(|| Symvers::of(self.trees, &kernel.release)).as_ref();
        let there = self.there(known, index, kernel, &path, symvers)?;
        let imports: Vec<&str> = module.fields("import_ns").collect();
        let licence = module.field("license").unwrap_or_default();
        needed::judge(&symbols, Taker { name: &name, licence, imports: &imports }, &there)?;
        modprobe_d.replaces(&name).map_or(Ok(()), Err)
    }

    /// Whether the initramfs of `kernel` has those modules of `package` that belong into it, or that it has at all, as they are
    /// here. An image that can't be read is not held against anybody.
    pub fn in_image(&self, package: &Package, kernel: &Kernel) -> Vec<Answer> {
        let known = self.of_kernel(&kernel.release);
        let image = known.image.get_or_init(|| self.image(&known, &kernel.release));
        let Some(image) = image else { return Vec::new() };
        let dir = self.trees.modules_dir(&kernel.release);
        let files = known.beside.find(package, &kernel.arch).into_iter().flat_map(|entry| &entry.files);
        let answer = |file: &InstalledFile| {
            let name = module_name(Path::new(&file.file));
            let mut copies = image.held.iter().filter(|held| module_name(&held.path) == name).peekable();
            let Some(first) = copies.peek().copied() else {
                let belongs = image.listed.contains(&file.name);
                return if belongs { Err(Why::NotInImage(image.command.clone())) } else { Ok(()) };
            };
            let ours = What::read(&file.outer(&dir));
            let is_ours = |held: &Held| held.what.is_none() || ours.is_none() || held.what == ours;
            if copies.any(is_ours) {
                return Ok(());
            }
            Err(Why::OtherInImage(first.path.clone(), image.command.clone()))
        };
        files.map(|file| Answer { module: file.name.clone(), answer: answer(file) }).collect()
    }

    /// All that is to be said: of what modprobe would load, and of what the initramfs would.
    pub fn will_boot(&self, package: &Package, kernel: &Kernel) -> Vec<Answer> {
        let mut answers = self.package(package, kernel);
        answers.extend(self.in_image(package, kernel));
        answers
    }

    /// Whether the initramfs of `release` is older than the installed modules, and holds others, or lacks some: making it anew may mend
    /// that. A newer one was made as the administrator's configuration says.
    pub fn has_old_image(&self, release: &Release) -> bool {
        let known = self.of_kernel(release);
        let image = known.image.get_or_init(|| self.image(&known, release));
        image.as_ref().is_some_and(|image| image.is_older)
            && known.beside.installed.iter().any(|entry| {
                let kernel = Kernel { release: release.clone(), arch: entry.arch.clone() };
                self.in_image(&entry.package, &kernel).iter().any(|answer| answer.answer.is_err())
            })
    }

    fn of_kernel(&self, release: &Release) -> Arc<OfKernel> {
        let mut known = self.kernels.lock().unwrap_or_else(PoisonError::into_inner);
        let new = || {
            let beside = KernelManifest::known(self.trees, release);
            Arc::new(OfKernel { beside, ..OfKernel::default() })
        };
        Arc::clone(known.entry(release.clone()).or_insert_with(new))
    }

    fn index<'k>(&self, known: &'k OfKernel, release: &Release) -> Option<&'k Index> {
        let dir = self.trees.modules_dir(release);
        let read = || {
            let is_kmod = KMOD.iter().any(|path| self.trees.outer(path).is_file());
            Index::read(&dir, is_kmod).unwrap_or_else(|error| {
                log::warn!("{}: {error}", dir.display());
                None
            })
        };
        let of_run = || self.trees.snapshot().index(&dir, &index::FILES, read);
        known.index.get_or_init(of_run).as_ref().as_ref()
    }

    /// What is loaded before the module at `path`, each of which must be there.
    fn there<'k>(
        &self,
        known: &OfKernel,
        index: &Index,
        kernel: &Kernel,
        path: &Path,
        symvers: Option<&'k Symvers>,
    ) -> Result<There<'k>, Why> {
        let dir = self.trees.modules_dir(&kernel.release);
        let any_namespace = *known.any_namespace.get_or_init(|| allows_any_namespace(self.trees, &kernel.release));
        let mut there = There { kernel: symvers, stock: Vec::new(), others: BTreeMap::new(), any_namespace };
        for needed in index.needs_of(&module_name(path)) {
            let name = module_name(needed);
            // What stands in the place of the kernel's own tells for itself.
            let mut ours = known.beside.installed.iter().filter(|entry| entry.arch == kernel.arch);
            let ours = ours.find_map(|entry| {
                Some((&entry.package, entry.files.iter().find(|file| file.path.join(&file.file) == needed)?))
            });
            let is_in_a_circle = || index.needs_of(&name).any(|other| other == path);
            match ours.filter(|_| !is_in_a_circle()) {
                Some((package, file)) => self
                    .answered(known, package, file, kernel)
                    .by_name
                    .map_err(|why| Why::Because { path: needed.to_owned(), why: Box::new(why) })?,
                None if !dir.join(needed).is_file() => return Err(Why::NeedsFile(needed.to_owned())),
                None => {}
            }
            if ours.is_none() && symvers.is_some() && needed.starts_with("kernel") {
                there.stock.push(name);
                continue;
            }
            let mut read = known.symbols.lock().unwrap_or_else(PoisonError::into_inner);
            let found = read.entry(needed.to_owned()).or_insert_with(|| {
                let bytes = compress::read_module(&dir.join(needed)).unwrap_or_default();
                Arc::new(Symbols::parse(&bytes).unwrap_or_default())
            });
            there.others.insert(name, Arc::clone(found));
        }
        Ok(there)
    }

    /// The initramfs of `release`, if it may lack something. One that is newer than all changes of ours is only read where modules belong
    /// into it: a generator may leave them out, and end with 0.
    fn image(&self, known: &OfKernel, release: &Release) -> Option<Image> {
        let root = &self.trees.root;
        let path = initramfs::image(root, release, pkgbase(&self.trees.modules_dir(release)).as_deref())?;
        let listed = list::read(self.trees, release);
        let time =
            |path: &Path| std::fs::metadata(path).and_then(|meta| meta.modified()).unwrap_or(SystemTime::UNIX_EPOCH);
        let is_older = time(&path) < time(&self.trees.kernel_manifest(release));
        if listed.is_empty() && !is_older {
            return None;
        }
        let files = || known.beside.installed.iter().flat_map(|entry| &entry.files);
        let is_wanted = |name: &str| files().any(|file| module_name(Path::new(&file.file)) == name);
        // Only an image with a module of such a name can have another one than ours.
        let known = ImageNames::of(self.trees, release, &path);
        let held = if known.is_some_and(|known| !known.names.iter().any(|name| is_wanted(name))) {
            Ok(Vec::new())
        } else {
            image::modules(&path, &is_wanted)
        };
        let held = held.map_err(|error| log::info!("{}: {error}", path.display())).ok()?;
        let command = Tool::of(root).map(|tool| tool.command(release, &self.trees.shown(&path)).join(" "));
        Some(Image { command, is_older, listed, held })
    }

    /// What depmod's configuration says about the module `name`.
    fn asked(&self, name: &str) -> Vec<String> {
        let texts = conf_files(self.trees, &DEPMOD_D);
        index::asked(texts.iter().map(|(file, text)| (file.as_path(), text.as_str())), &name.replace('-', "_"))
    }
}

/// The kernels whose index is not of what lies there: there is none, it leaves out a module of ours that depmod would list, or names one that
/// is gone, which ends dracut without an image. A run that ended between a change and its depmod is one cause, an index that
/// somebody put back another. No file of a right index is opened.
pub fn stale(trees: &Trees) -> Vec<Release> {
    let mut found = Vec::new();
    if trees.is_another {
        return found;
    }
    let loadable = Loadable::new(trees);
    for entry in std::fs::read_dir(&trees.install.outer).into_iter().flatten().flatten() {
        // Another name of a kernel is no other kernel.
        if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            continue;
        }
        let Some(release) = entry.file_name().to_str().and_then(|name| Release::new(name).ok()) else { continue };
        let known = loadable.of_kernel(&release);
        let dir = trees.modules_dir(&release);
        let Some(index) = loadable.index(&known, &release) else {
            if !known.beside.installed.is_empty() && lacks_index(&dir) {
                found.push(release);
            }
            continue;
        };
        let unlisted = |file: &InstalledFile| {
            let path = file.path.join(&file.file);
            index.path_of(&index::module_name(&path)).is_none()
                && !is_skipped(&path)
                && !loadable.asked(&file.name).iter().any(|line| line.contains(": exclude "))
                && Module::read(&dir.join(path)).is_ok()
        };
        if names_what_is_gone(index, &dir) || known.beside.installed.iter().flat_map(|entry| &entry.files).any(unlisted)
        {
            found.push(release);
        }
    }
    found
}

/// Whether the index names files that are gone from `dir`, besides those of the kernel's package. Directories are listed, which
/// takes less than a look at each file.
fn names_what_is_gone(index: &Index, dir: &Path) -> bool {
    let mut listed = HashMap::new();
    let list = |parent: &Path| -> HashSet<OsString> {
        let entries = std::fs::read_dir(dir.join(parent)).into_iter().flatten().flatten();
        // A link may lead nowhere.
        entries
            .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_file()))
            .map(|entry| entry.file_name())
            .collect()
    };
    index.paths().filter(|path| !path.starts_with("kernel")).any(|path| {
        let parent = path.parent().unwrap_or(Path::new(""));
        let files = listed.entry(parent).or_insert_with(|| list(parent));
        !path.file_name().is_some_and(|name| files.contains(name)) && !dir.join(path).exists()
    })
}

/// Whether the configuration of `release` lets modules have symbols of namespaces that they do not import.
pub(super) fn allows_any_namespace(trees: &Trees, release: &Release) -> bool {
    let of_headers = Headers::find(trees, release, None).ok().and_then(|headers| headers.config_file(None));
    let file = of_headers.unwrap_or_else(|| trees.outer(format!("/boot/config-{release}")));
    Config::load(&file).is_ok_and(|config| config.yes("CONFIG_MODULE_ALLOW_MISSING_NAMESPACE_IMPORTS"))
}

/// Whether the index by devices names the module at `path`, so that it is loaded for them.
fn aliases(known: &OfKernel, dir: &Path, path: &Path, module: &Module) -> Result<(), Why> {
    const FILE: &str = "modules.alias.bin";
    let read = || durable::bytes(&dir.join(FILE)).ok().and_then(Trie::new);
    let Some(aliases) = known.aliases.get_or_init(read) else { return Ok(()) };
    let name = module_name(path);
    let is_there = |alias: &str| index::alias(alias).is_none_or(|alias| aliases.get(&alias).contains(&name));
    if module.fields("alias").all(is_there) { Ok(()) } else { Err(Why::OldIndex(FILE)) }
}

/// Whether the index by symbols names somebody for each of those that a module `offers`: the kernel asks for a module by one
/// (symbol_request). Of two exporters depmod writes down one.
fn exports(known: &OfKernel, dir: &Path, offers: &Symbols) -> Result<(), Why> {
    const FILE: &str = "modules.symbols.bin";
    if offers.offers.is_empty() {
        return Ok(());
    }
    let read = || durable::bytes(&dir.join(FILE)).ok().and_then(Trie::new);
    let Some(exported) = known.exported.get_or_init(read) else { return Ok(()) };
    let is_there = |symbol: &String| !exported.get(&format!("symbol:{symbol}")).is_empty();
    if offers.offers.keys().all(is_there) { Ok(()) } else { Err(Why::OldIndex(FILE)) }
}

/// What the file at `path` is, which should be `file`, and its bytes if it is a module. One that has not been touched since it
/// was put there is read too: what it says about its kernel nobody has looked at.
fn look(
    trees: &Trees,
    path: &Path,
    package: &Package,
    file: &InstalledFile,
    kernel: &Kernel,
) -> (File, Option<Vec<u8>>) {
    // A link into the tree leads where the root says.
    let content = if file.symlink { trees.root.outer(&trees.shown(path)) } else { path.to_owned() };
    if !content.is_file() {
        return (File::Missing, None);
    }
    let read = compress::read_module(&content).map_err(|source| ElfError::Read { path: content.clone(), source });
    let (bytes, module) = match read.and_then(|bytes| Module::parse(&bytes).map(|module| (bytes, module))) {
        Ok(read) => read,
        Err(error) => return (File::Damaged(error.to_string()), None),
    };
    if !module.is_linked {
        return (File::Damaged("it is an object file, and no module".to_owned()), None);
    }
    // A kernel that would take an unsigned one refuses this.
    if module.signature == Signature::Broken {
        return (File::Damaged(Untrusted::Broken.to_string()), None);
    }
    let untouched = file.identity.is_some_and(|known| Identity::of_path(path).is_ok_and(|found| found == known));
    let is_same_file = untouched || Digest::of_file(&content).is_ok_and(|found| found == file.digest);
    let as_built = is_same_file
        // Signed anew, or stripped, by somebody else.
        || (file.srcversion.is_some() && file.srcversion.as_deref() == module.field("srcversion"))
        || What::of(&bytes).is_some_and(|found| {
            What::read(&trees.artefact_modules(package, kernel).join(&file.file)) == Some(found)
        });
    let what = File::Module {
        as_built: Some(as_built),
        vermagic: module.field("vermagic").unwrap_or_default().to_owned(),
        // Of what was built here, the build has looked at the machine, with the kernel's configuration.
        for_machine: is_same_file || module.runs_on(kernel.arch.as_str()),
    };
    (what, Some(bytes))
}
