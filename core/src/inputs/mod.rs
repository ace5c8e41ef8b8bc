//! What a build has read of its kernel: noted down after it ([`take`]), kept beside the result cache ([`store`]), and looked for
//! in another kernel ([`now`]), for the room `reuse` to decide whether its modules are what a build there would make.
//!
//! Root reads what kbuild has noted (`.<object>.cmd`) through `sandbox::beneath`. A build that writes lies there deceives only
//! itself: the record counts for the same source and recipe alone. What can't be followed is no record: the package is
//! built for each kernel, as before.

mod named;
pub mod now;
pub mod places;
pub mod store;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use object::{Object, ObjectSymbol};
use serde::Serialize;

use crate::context::Context;
use crate::digest::Digest;
use crate::elf::symbols::Symbols;
use crate::kernel::kbuild::{Kbuild, configured};
use crate::kernel::symvers::Symvers;
use crate::names::Package;
use crate::process::Environment;
use crate::results::Key;
use crate::results::key::{Module, Needed, relevant};
use crate::results::unseen::{self, Note};
use crate::reuse::header::{Header, Questions};
use crate::reuse::version::Comparison;
use crate::reuse::{FORMAT, Facts, Import, NAMES_OF_KERNELS, Record, makefile};
use crate::run::target::Target;
use crate::sandbox::beneath::Beneath;
use places::{Place, Places};

/// Symbols of the configuration that decide how modules are used again, or are always looked at: the words of vermagic, and
/// how checksums are made.
const ALWAYS: [&str; 9] = [
    "CONFIG_CC_VERSION_TEXT",
    "CONFIG_GENDWARFKSYMS",
    "CONFIG_MODULE_UNLOAD",
    "CONFIG_MODVERSIONS",
    "CONFIG_PREEMPT_BUILD",
    "CONFIG_PREEMPT_RT",
    "CONFIG_RANDSTRUCT",
    "CONFIG_RUST",
    "CONFIG_SMP",
];
/// The header that has the release: modpost's own sources include it for vermagic.
const UTSRELEASE: &str = "{build}/include/generated/utsrelease.h";
/// The header that puts the kernel's name into a note of the module: modpost's own sources include that, too.
const SALT: &str = "/include/linux/build-salt.h";
/// The header that has the version.
pub(crate) const VERSION: &str = "{build}/include/generated/uapi/linux/version.h";
/// That headers are looked for in, by one command; amdgpu has some 60.
const MOST_DIRECTORIES: usize = 256;
/// In bytes; no Makefile has more, no header of a package either (amdgpu's register headers have 15 MB).
const LONGEST: u64 = 32 << 20;

/// What a build follows from besides its kernel: the parts of a [`Key`] that say nothing of one, with the kernel's release
/// called `{release}` where a package hands it to make.
#[derive(Serialize)]
struct Family<'a> {
    format: u32,
    package: &'a Package,
    source: &'a Digest,
    patches_of_administrator: Option<&'a Digest>,
    arch: &'a str,
    machine: &'a str,
    compilers: &'a Digest,
    programs: &'a BTreeMap<String, Digest>,
    distribution: &'a Digest,
    patches: &'a [String],
    make: String,
    modules: &'a [Module],
    environment: BTreeMap<String, String>,
    dependencies: &'a [Needed],
}

/// The digest of what the build with this `key` and `environment` follows from besides its kernel; `None` if somebody has named
/// another configuration for it. `place`: what it calls its directory.
pub fn family(key: &Key, environment: &Environment, place: &Path) -> Option<Digest> {
    let release = key.kernel.release.as_str();
    let plain = |text: &str| text.replace(release, "{release}");
    let environment = relevant(environment)
        .into_iter()
        .map(|(name, value)| {
            (name, Digest::of(plain(&crate::results::key::without_place(&value, place)).as_bytes()).to_string())
        })
        .collect();
    let family = Family {
        format: FORMAT,
        package: &key.package,
        source: &key.source,
        patches_of_administrator: key.patches_of_administrator.as_ref(),
        arch: key.kernel.arch.as_str(),
        machine: &key.machine,
        compilers: &key.compilers,
        programs: &key.programs,
        distribution: &key.distribution,
        patches: &key.patches,
        make: plain(&key.make),
        modules: &key.modules,
        environment,
        dependencies: &key.dependencies,
    };
    if key.config.is_some() {
        return None;
    }
    serde_json::to_vec(&family).ok().map(|bytes| Digest::of(&bytes))
}

/// A build that is over.
#[derive(Debug)]
pub struct Build<'a> {
    /// Its directory, as an outer path.
    pub work: &'a Path,
    /// What is in it.
    pub contents: &'a Beneath,
    /// What it called it.
    pub place: &'a Path,
    /// Its modules.
    pub modules: &'a [Vec<u8>],
    /// The symbols that they export (Module.symvers).
    pub exports: Option<&'a [u8]>,
}

/// Notes down what a build has read of its kernel. `family`, `result`: of [`Record`].
///
/// # Errors
/// In words, if that is not known in every detail.
pub fn take(
    ctx: &Context,
    target: &Target,
    build: &Build<'_>,
    family: Digest,
    result: Digest,
) -> Result<Record, String> {
    let kbuild = target.facts.kbuild(ctx)?;
    let places = Places::of(ctx, target, build.place)?;
    let source = ctx.trees.source_of(&target.package);
    let mut reading = Reading {
        build,
        source: fs_err::canonicalize(&source).unwrap_or(source),
        places: &places,
        release: target.kernel.release.as_str(),
        running: ctx.machine.running.as_ref().map(crate::names::Release::as_str),
        facts: Facts::default(),
        own: BTreeSet::new(),
        comparisons: Some(BTreeSet::new()),
        version: None,
        searches: BTreeSet::new(),
        quoted: BTreeSet::new(),
    };
    reading.notes()?;
    reading.makefiles(&target.evaluated.recipe.make.text)?;
    let called: Vec<&str> = places.called().chain([target.kernel.release.as_str()]).collect();
    if let Some(why) = build.modules.iter().find_map(|module| named::in_module(module, &called)) {
        return Err(why);
    }
    let (imports, exports) = symbols(target, build, kbuild)?;
    let Reading { mut facts, comparisons, version, searches, mut quoted, .. } = reading;
    let comparisons = match (comparisons, version) {
        (Some(comparisons), Some(header)) => {
            if let Some((code, rest)) = &header.version {
                facts.version = Some(*code);
                facts.headers.insert(VERSION.to_owned(), rest.clone());
                Some(comparisons)
            } else {
                facts.headers.insert(VERSION.to_owned(), header.digest.clone());
                None
            }
        }
        (_, Some(header)) => {
            facts.headers.insert(VERSION.to_owned(), header.digest.clone());
            None
        }
        (_, None) => None,
    };
    quoted.retain(|name| !places.has(name));
    facts.looked_at.extend(kbuild.mentions.iter().cloned());
    facts.looked_at.retain(|name| !NAMES_OF_KERNELS.contains(&name.as_str()));
    facts.looked_at.extend(ALWAYS.map(str::to_owned));
    facts.config = places::configuration(target, &facts.looked_at);
    facts.kbuild = kbuild.files.clone();
    facts.earlier = places::earlier(&places, &searches, &facts.headers.keys(), &quoted);
    facts.imports = imports;
    facts.types.clone_from(&kbuild.types);
    facts.salt = places::salt(target);
    Ok(Record {
        format: FORMAT,
        package: target.package.clone(),
        kernel: target.kernel.clone(),
        family,
        result,
        facts,
        comparisons,
        searches,
        quoted,
        exports,
    })
}

struct Reading<'a> {
    build: &'a Build<'a>,
    /// The package's source, as an outer path without links.
    source: PathBuf,
    places: &'a Places,
    release: &'a str,
    running: Option<&'a str>,
    facts: Facts,
    /// Files of the package's own that were looked at.
    own: BTreeSet<PathBuf>,
    comparisons: Option<BTreeSet<Comparison>>,
    /// version.h.
    version: Option<Arc<Header>>,
    searches: BTreeSet<Vec<String>>,
    quoted: BTreeSet<String>,
}

impl Reading<'_> {
    fn notes(&mut self) -> Result<(), String> {
        let files = unseen::files(self.build.work, |_| true).map_err(|error| error.to_string())?;
        let is_object = |path: &&PathBuf| path.extension().is_some_and(|end| end == "o");
        for object in files.iter().filter(is_object) {
            let name = object.file_name().unwrap_or_default().to_string_lossy();
            let note = object.with_file_name(format!(".{name}.cmd"));
            if files.binary_search(&note).is_err() && !self.is_of_source(object)? {
                return Err(format!("nothing is noted of how {} was made", object.display()));
            }
        }
        for note in files.iter().filter(|path| path.as_os_str().as_encoded_bytes().ends_with(b".o.cmd")) {
            let bytes =
                self.build.contents.read_at_most(note, unseen::LONGEST_NOTE).map_err(|error| error.to_string())?;
            let text = String::from_utf8_lossy(bytes.as_deref().unwrap_or_default()).into_owned();
            if let Some(found) = Note::parse(&text) {
                self.note(note, &found)?;
            }
        }
        Ok(())
    }

    /// What one compilation has read.
    fn note(&mut self, file: &Path, note: &Note<'_>) -> Result<(), String> {
        let dir = file.parent().unwrap_or(Path::new(""));
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        // Of modpost, and of kbuild for it.
        let is_last = name.ends_with(".mod.o.cmd") || name == "..module-common.o.cmd";
        self.command(note.command)?;
        self.facts.looked_at.extend(note.configured.iter().map(|name| symbol(name)));
        for path in &note.read {
            let places = self.places.find(Path::new(path), dir, self.build.contents);
            // Those of the compiler are looked at when the result is taken.
            if places.is_empty() && !unseen::is_compilers_own(Path::new(path)) {
                return Err(format!("it has read {path}"));
            }
            for place in places {
                match place {
                    Place::Module(path) => self.own(&path, is_last)?,
                    Place::Headers(name) if name == UTSRELEASE && is_last => {}
                    Place::Headers(name) if name.ends_with(SALT) && !is_last => {
                        return Err("its source asks for the kernel's name (CONFIG_BUILD_SALT)".to_owned());
                    }
                    Place::Headers(name) => self.header(name)?,
                }
            }
        }
        Ok(())
    }

    /// What one command says of where headers are looked for, and of the kernel.
    fn command(&mut self, command: &str) -> Result<(), String> {
        if command.contains('`') || command.contains("$$(") {
            return Err("a compiler's command runs programs".to_owned());
        }
        let plain = self.places.without_names(command);
        let named = [Some(self.release), self.running].into_iter().flatten().find(|release| plain.contains(release));
        if let Some(release) = named {
            return Err(format!("{release} is in a compiler's command"));
        }
        let (mut search, mut last) = (Vec::new(), Vec::new());
        // By option: of a directory that two name, the compiler may pass over either.
        let mut known = BTreeSet::new();
        let mut words = command.split(" ; ").next().unwrap_or_default().split_whitespace();
        while let Some(word) = words.next() {
            let options = ["-I", "-iquote", "-isystem", "-idirafter"];
            let given = options.iter().find_map(|option| Some((*option, word.strip_prefix(option)?)));
            let Some((option, given)) = given else { continue };
            let named = if given.is_empty() { words.next().unwrap_or_default() } else { given };
            let list = if ["-I", "-iquote"].contains(&option) { &mut search } else { &mut last };
            let dir = self.places.directory(Path::new(named.trim_matches(['"', '\''])));
            list.extend(dir.filter(|dir| known.insert((option, dir.clone()))));
        }
        search.append(&mut last);
        if search.len() > MOST_DIRECTORIES {
            return Err("its headers are looked for in too many directories".to_owned());
        }
        self.searches.insert(search);
        if self.searches.len() > 64 {
            return Err("its headers are looked for in too many ways".to_owned());
        }
        Ok(())
    }

    /// A file of the package's own: it must be as the source has it.
    fn own(&mut self, path: &Path, is_last: bool) -> Result<(), String> {
        if !self.own.insert(path.to_owned()) {
            return Ok(());
        }
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if is_last && name.ends_with(".mod.c") {
            return Ok(());
        }
        if !self.is_of_source(path)? {
            return Err(format!("{} was made or changed while it was built", path.display()));
        }
        let bytes = self.build.contents.read_at_most(path, LONGEST).map_err(|error| error.to_string())?;
        let text = String::from_utf8_lossy(bytes.as_deref().unwrap_or_default()).into_owned();
        if let Some(name) = NAMES_OF_KERNELS.iter().find(|name| text.contains(*name)) {
            return Err(format!("its source asks for the kernel's name ({name})"));
        }
        self.ask(&Questions::of(&text))
    }

    fn is_of_source(&self, path: &Path) -> Result<bool, String> {
        let own = self.build.contents.read(path).map_err(|error| error.to_string())?;
        let source = match crate::durable::open_regular(&self.source.join(path)) {
            Ok(file) => file,
            Err(error) if crate::durable::missing(&error) => return Ok(false),
            Err(error) => return Err(error.to_string()),
        };
        let mut bytes = Vec::new();
        source.take(1 << 30).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
        Ok(own.as_deref() == Some(&bytes))
    }

    /// A header of the kernel's.
    fn header(&mut self, name: String) -> Result<(), String> {
        if self.facts.headers.contains_key(&name) || (name == VERSION && self.version.is_some()) {
            return Ok(());
        }
        let header = self.places.header(&name)?;
        if name == VERSION {
            self.version = Some(header);
            return Ok(());
        }
        self.ask(&header.questions)?;
        let dir = name.rsplit_once('/').map_or("", |(dir, _)| dir);
        self.quoted.extend(header.quoted.iter().map(|name| places::normal(&format!("{dir}/{name}"))));
        self.facts.headers.insert(name, header.digest.clone());
        Ok(())
    }

    /// What a source or a header may ask that leaves no note.
    fn ask(&mut self, questions: &Questions) -> Result<(), String> {
        if questions.headers {
            return Err("its source asks which headers there are (__has_include)".to_owned());
        }
        self.comparisons = match (self.comparisons.take(), &questions.comparisons) {
            (Some(mut all), Some(more)) => {
                all.extend(more.iter().cloned());
                Some(all)
            }
            _ => None,
        };
        Ok(())
    }

    /// What its Makefiles may have looked at.
    fn makefiles(&mut self, make: &str) -> Result<(), String> {
        let is_makefile =
            |path: &Path| path.file_name().is_some_and(|name| makefile::is_makefile(&name.to_string_lossy()));
        let files = unseen::files(self.build.work, is_makefile).map_err(|error| error.to_string())?;
        let mut texts = Vec::new();
        for file in files {
            if !self.is_of_source(&file)? {
                return Err(format!("{} was made or changed while it was built", file.display()));
            }
            let bytes = self.build.contents.read_at_most(&file, LONGEST).map_err(|error| error.to_string())?;
            let text = String::from_utf8_lossy(bytes.as_deref().unwrap_or_default()).into_owned();
            self.facts.looked_at.extend(configured(&text).map(str::to_owned));
            texts.push(text);
        }
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        match makefile::unseen(&texts, make, self.release) {
            Some(what) => Err(format!("its Makefiles may look at more: {what}")),
            None => Ok(()),
        }
    }
}

/// `include/config/SMP` (before Linux 5.15 `include/config/smp.h`) stands for CONFIG_SMP.
fn symbol(marker: &str) -> String {
    let name = marker.strip_suffix(".h").map_or_else(|| marker.to_owned(), |old| old.replace('/', "_").to_uppercase());
    format!("CONFIG_{name}")
}

/// What the modules import from the kernel, and what they export.
fn symbols(
    target: &Target,
    build: &Build<'_>,
    kbuild: &Kbuild,
) -> Result<(BTreeMap<String, Import>, BTreeSet<String>), String> {
    let names = |text: &[u8]| -> BTreeSet<String> {
        let text = String::from_utf8_lossy(text).into_owned();
        text.lines().filter_map(|line| line.split('\t').nth(1)).map(str::to_owned).collect()
    };
    let kernels = kbuild.symvers.as_ref().ok_or("its kernel's exported symbols are not known")?;
    let exports = build.exports.map(names).unwrap_or_default();
    let mut others = exports.clone();
    for dependency in target.dependencies.iter().filter_map(|dependency| dependency.symvers.as_deref()) {
        others.extend(names(&crate::durable::bytes(dependency).map_err(|error| error.to_string())?));
    }
    let mut imports = BTreeMap::new();
    for module in build.modules {
        let parsed = Symbols::parse(module).map_err(|error| error.to_string())?;
        let file = object::File::parse(module.as_slice()).map_err(|error| error.to_string())?;
        if file.symbols().any(|symbol| symbol.is_undefined() && symbol.is_weak()) {
            return Err("it needs symbols only if they are there".to_owned());
        }
        let layout = parsed.layout.map(|_| "module_layout".to_owned());
        for name in parsed.needs.into_keys().chain(layout) {
            match import(kernels, &name) {
                Some(import) => {
                    imports.insert(name, import);
                }
                None if others.contains(&name) => {}
                None => return Err(format!("nobody exports {name}")),
            }
        }
    }
    Ok((imports, exports))
}

/// A symbol of the kernel's or its modules'.
pub(crate) fn import(symvers: &Symvers, name: &str) -> Option<Import> {
    symvers.get(name).map(|export| Import {
        crc: export.crc,
        module: export.module.clone(),
        gpl: export.gpl,
        namespace: export.namespace.clone(),
    })
}
