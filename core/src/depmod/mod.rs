//! A kernel's index (`modules.dep` and its companions) brought up to date without depmod: from the index as it is and from the
//! files that have changed, byte by byte what `depmod -a` would write.
//!
//! depmod reads and decompresses every module of a kernel. But what it writes about a module that has not changed is in the
//! index already, and what is not there (which symbols a module names first, which modules export a symbol in vain) matters in few
//! cases: then single files are read, or this module says that it can't ([`Unusual`]), and the real depmod has to run.
//!
//! # When the index is believed
//! Every file below the kernel's directory is looked at. One that is not in the index, or whose status has changed since the
//! index was made (`st_ctime`, which nobody can set back, against the modification time of `modules.dep`), is read. So
//! foreign changes are seen, too. All that depmod reads besides (depmod.d, modules.order, modules.builtin) and depmod itself have to
//! be older than the index, and the files of the index in the order in which depmod writes them. While the index is read, it is checked
//! that it is in depmod's order, in every respect that we rely on.
//!
//! The formats are those of depmod.d(5), modules.dep(5) and of files that kmod 30 and 34 wrote; the suite `depmod` compares
//! them.

mod hash;
mod merge;
mod module;
mod order;
mod present;
mod search;
mod settings;
mod texts;
pub mod trie;

use std::collections::{BTreeSet, HashMap};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use merge::{Merge, Module};
use module::Contents;
use present::{Present, Symbol, module_name};
use search::{Found, Search};
use settings::Settings;
use texts::{ALIAS, DEVNAME, Kind, SOFTDEP, WEAKDEP};
use trie::write::Layout;

use crate::durable;
use crate::kernel::symvers::Symvers;
use crate::tree::identity::Identity;

/// More changed files than this are no small change.
const MOST_CHANGED: usize = 100;

/// No more files of unchanged modules are read than this.
const MOST_READ: usize = 100;

/// A kernel's own modules get their places within so many seconds after its modules.order.
const INSTALLATION: i64 = 600;

/// The versions of kmod whose files we have compared with ours, and those between them.
const KNOWN: std::ops::RangeInclusive<u32> = 30..=34;

/// The first version that writes modules.weakdep.
const WITH_WEAKDEP: u32 = 33;

/// No file of an index is longer, in bytes.
const LONGEST: u64 = 64 << 20;

/// A time of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time {
    /// Since 1970.
    pub seconds: i64,
    /// Of the second.
    pub nanoseconds: i64,
}

impl Time {
    /// That of the last modification.
    pub fn modified(meta: &std::fs::Metadata) -> Self {
        Self { seconds: meta.mtime(), nanoseconds: meta.mtime_nsec() }
    }

    /// That of the last change of any kind; it can't be set.
    fn changed(meta: &std::fs::Metadata) -> Self {
        Self { seconds: meta.ctime(), nanoseconds: meta.ctime_nsec() }
    }
}

/// What the clock of files says now.
#[allow(clippy::disallowed_methods)] // compared with files' times, never shown
fn now() -> SystemTime {
    SystemTime::now()
}

/// Why the real depmod has to run.
#[derive(Debug, thiserror::Error)]
pub enum Unusual {
    /// Another version than those that are known.
    #[error("this depmod is not known: {0}")]
    Version(String),
    /// The index is older than something that it was made from.
    #[error("{} is newer than the index", .0.display())]
    Newer(PathBuf),
    /// A file that depmod would not have written so.
    #[error("{file}: {what}")]
    Malformed {
        /// Its name.
        file: &'static str,
        /// What is odd.
        what: String,
    },
    /// The index is not in depmod's order.
    #[error("the index is in another order than depmod's")]
    Order,
    /// A line of depmod.d.
    #[error("{}: {line}", path.display())]
    Setting {
        /// The file.
        path: PathBuf,
        /// The line.
        line: String,
    },
    /// A directory that is too deep.
    #[error("{} is too deep", .0.display())]
    Deep(PathBuf),
    /// A name that depmod would treat in a way that is not known.
    #[error("the name {}", .0.display())]
    Name(PathBuf),
    /// A module that depmod would report, or that is not known how it would take.
    #[error("{}: {why}", path.display())]
    Module {
        /// Its file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// Too much has changed.
    #[error("many modules have changed")]
    Many,
    /// There is no module.
    #[error("there is no module")]
    Empty,
    /// A symbol that other modules than those that have changed may export or need.
    #[error("who else exports or needs the symbol {0} is not in the index")]
    Symbol(String),
    /// Modules that need one another.
    #[error("modules need one another")]
    Cycle,
    /// A file can't be read; the message names it.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

/// What is to be brought up to date.
pub struct Request<'a> {
    /// Whether the kernel is one of this system, so that absolute paths are what they say.
    pub is_host: bool,
    /// The kernel's directory (outer).
    pub dir: &'a Path,
    /// The kernel.
    pub release: &'a str,
    /// The directories of depmod.d(5) (outer), in the order of precedence.
    pub depmod_d: &'a [PathBuf],
    /// The file of the depmod that would run otherwise.
    pub program: &'a Path,
    /// What it says with `--version`.
    pub version: &'a str,
    /// Files (outer) that count as gone.
    pub going: &'a BTreeSet<PathBuf>,
    /// Files that have changed since then are read again, also if the index is newer.
    pub since: Option<Time>,
    /// Files, as in modules.dep, that are not the kernel's own, wherever they are.
    pub foreign: &'a BTreeSet<String>,
    /// What the kernel's own modules export.
    pub symvers: &'a dyn Fn() -> Option<Symvers>,
}

impl std::fmt::Debug for Request<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Request").field("dir", &self.dir).field("version", &self.version).finish_non_exhaustive()
    }
}

/// The new content of a kernel's index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Index {
    /// Names and contents, in the order in which depmod writes them.
    pub files: Vec<(&'static str, Vec<u8>)>,
    /// How many modules were read for it.
    pub read: usize,
    /// When the first of what it was made from was looked at: what changes from then on may not be in it.
    pub begun: SystemTime,
    /// The files of the index that it was made from.
    from: Vec<(&'static str, Option<Identity>)>,
}

/// What every index has, in the order in which depmod writes it.
const FILES: [&str; 10] = [
    "modules.dep",
    "modules.dep.bin",
    ALIAS.file,
    "modules.alias.bin",
    SOFTDEP.file,
    WEAKDEP.file,
    "modules.symbols",
    "modules.symbols.bin",
    DEVNAME.file,
    "modules.order",
];

impl Index {
    /// Whether what is in the kernel's directory `dir` is still what this was made from, or somebody else's depmod has run meanwhile.
    pub fn is_current(&self, dir: &Path) -> bool {
        self.from == present_files(dir)
    }
}

fn present_files(dir: &Path) -> Vec<(&'static str, Option<Identity>)> {
    FILES.iter().map(|name| (*name, Identity::of_path(&dir.join(name)).ok())).collect()
}

/// Makes the index as `depmod -a` would make it now. Nothing is written. `modules.builtin.bin` and `modules.builtin.alias.bin` don't
/// depend on modules and stay as they are.
pub fn index(request: &Request<'_>) -> Result<Index, Unusual> {
    let begun = now();
    let from = present_files(request.dir);
    let version = Version::parse(request.version)?;
    let settings = Settings::read(request.depmod_d, request.release)?;
    // With `-b`, depmod takes them from the host.
    if let Some(external) = settings.external.first().filter(|_| !request.is_host) {
        return Err(Unusual::Name(external.into()));
    }
    let (since, layout) = made(request, &version)?;
    let since = request.since.map_or(since, |earlier| earlier.min(since));
    let read = |name: &str| read_text(&request.dir.join(name));
    let dep = read("modules.dep")?;
    let present = Present::parse(&dep)?;
    let search = Search { dir: request.dir, settings: &settings, suffixes: &version.suffixes, going: request.going };
    let found = search.modules()?;
    if found.is_empty() {
        return Err(Unusual::Empty);
    }
    let own = changed(&request.dir.join("modules.order"))?;
    let is_own = |found: &Found| {
        found.order.is_some()
            && found.changed.seconds <= own.seconds + INSTALLATION
            && !request.foreign.contains(&found.path)
    };
    let own: Vec<bool> = found.iter().map(is_own).collect();
    // An absolute path stays as it is.
    let read_module = |path: &str| Contents::read(&request.dir.join(path));
    let mut count = 0;
    let mut modules = Vec::with_capacity(found.len());
    for found in found {
        let old = present.by_name.get(&found.name).copied();
        let is_kept = old.is_some_and(|old| present.lines[old as usize].path == found.path) && found.changed < since;
        let mut module = Module { path: found.path, name: found.name, old, contents: None };
        if !is_kept {
            count += 1;
            if count > MOST_CHANGED {
                return Err(Unusual::Many);
            }
            module.contents = Some(read_module(&module.path)?);
        }
        modules.push(module);
    }
    let exported = read("modules.symbols")?;
    let before = present.symbols(&exported)?;
    if are_symbols_concerned(request, &modules, &present, &before)? {
        // Who is not of the kernel may export or need them in vain: that is not in the index.
        for (module, _) in modules.iter_mut().zip(own).filter(|(module, is_own)| !is_own && module.contents.is_none()) {
            count += 1;
            if count > MOST_CHANGED {
                return Err(Unusual::Many);
            }
            module.contents = Some(read_module(&module.path)?);
        }
    }
    let merge = Merge::new(&modules, &present, &before)?;
    let needs = merge.needs(&merge.losers(&before), &read_module)?;
    let long = || Unusual::Malformed { file: "modules.dep", what: "it would be too long".to_owned() };
    let mut files = Vec::new();
    files.extend(texts::dep(&modules, &needs.of, layout).ok_or_else(long)?);
    let text = |kind: &Kind| kind.text(&present, &modules, &read(kind.file)?);
    let alias = text(&ALIAS)?;
    let alias_bin = texts::alias_bin(&alias, &modules, layout).ok_or_else(long)?;
    files.extend([(ALIAS.file, alias.into_bytes()), alias_bin]);
    files.push((SOFTDEP.file, text(&SOFTDEP)?.into_bytes()));
    if version.number >= WITH_WEAKDEP {
        files.push((WEAKDEP.file, text(&WEAKDEP)?.into_bytes()));
    }
    let header = exported.split_inclusive('\n').next().filter(|line| line.starts_with('#')).unwrap_or_default();
    files.extend(texts::symbols(header, &merge.symbols, &modules, layout).ok_or_else(long)?);
    files.push((DEVNAME.file, text(&DEVNAME)?.into_bytes()));
    Ok(Index { files, read: count + needs.read, begun, from })
}

/// What `depmod --version` says.
struct Version {
    number: u32,
    suffixes: Vec<&'static str>,
}

impl Version {
    fn parse(text: &str) -> Result<Self, Unusual> {
        let unknown = || Unusual::Version(text.trim().replace('\n', " "));
        let mut words = text.split_whitespace();
        let number = match (words.next(), words.next(), words.next()) {
            (Some("kmod"), Some("version"), Some(number)) => number.split('.').next().unwrap_or_default(),
            _ => return Err(unknown()),
        };
        let number = number.parse().ok().filter(|number| KNOWN.contains(number)).ok_or_else(unknown)?;
        let mut suffixes = vec![".ko"];
        for (feature, suffix) in [("+ZLIB", ".ko.gz"), ("+XZ", ".ko.xz"), ("+ZSTD", ".ko.zst")] {
            if words.clone().any(|word| word == feature) {
                suffixes.push(suffix);
            }
        }
        Ok(Self { number, suffixes })
    }
}

/// Since when the index is as it is, and how its binary files are laid out; an error if it is not whole, or if something
/// that depmod reads besides modules is newer.
fn made(request: &Request<'_>, version: &Version) -> Result<(Time, Layout), Unusual> {
    let modified = |name: &str| Ok::<_, Unusual>(Time::modified(&fs_err::metadata(request.dir.join(name))?));
    let meta = fs_err::metadata(request.dir.join("modules.dep"))?;
    let since = Time::modified(&meta).min(Time::changed(&meta));
    // A clock that was ahead hides what changed since it was set right.
    let now = now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    if since.seconds > i64::try_from(now).unwrap_or(i64::MAX) {
        return Err(Unusual::Newer(request.dir.join("modules.dep")));
    }
    // Written one after the other: what a killed depmod left is not in this order.
    let mut files = vec![
        "modules.dep.bin",
        ALIAS.file,
        "modules.alias.bin",
        SOFTDEP.file,
        "modules.symbols",
        "modules.symbols.bin",
    ];
    if version.number >= WITH_WEAKDEP {
        files.push(WEAKDEP.file);
    }
    files.push(DEVNAME.file);
    let mut last = since;
    for name in &files {
        let time = modified(name)?;
        let is_later = if *name == WEAKDEP.file { time >= since } else { time >= last };
        if !is_later {
            return Err(Unusual::Newer(request.dir.join("modules.dep")));
        }
        last = last.max(time);
    }
    for (made, from) in
        [("modules.builtin.bin", "modules.builtin"), ("modules.builtin.alias.bin", "modules.builtin.modinfo")]
    {
        modified(made)?;
        let path = request.dir.join(from);
        if path.exists() && changed(&path)? > since {
            return Err(Unusual::Newer(path));
        }
    }
    let mut sources = vec![request.program.to_owned(), request.dir.join("modules.order")];
    for dir in request.depmod_d.iter().filter(|dir| dir.exists()) {
        sources.push(dir.clone());
        for entry in fs_err::read_dir(dir)? {
            sources.push(entry?.path());
        }
    }
    for source in sources {
        if changed(&source)? > since {
            return Err(Unusual::Newer(source));
        }
    }
    let bin = durable::read_at_most(&request.dir.join("modules.dep.bin"), LONGEST)?;
    let odd = || Unusual::Malformed { file: "modules.dep.bin", what: "another format".to_owned() };
    Ok((since, Layout::of(&bin).ok_or_else(odd)?))
}

/// When a file, and where it leads if it is a link, was last changed.
fn changed(path: &Path) -> Result<Time, Unusual> {
    let there = Time::changed(&fs_err::metadata(path)?);
    Ok(there.max(Time::changed(&fs_err::symlink_metadata(path)?)))
}

/// Whether symbols come, go, or may change their module. An error if modules of the kernel's own may export or need them in vain.
fn are_symbols_concerned(
    request: &Request<'_>,
    modules: &[Module],
    present: &Present<'_>,
    before: &[Symbol<'_>],
) -> Result<bool, Unusual> {
    let mut now: Vec<Option<&Module>> = vec![None; present.lines.len()];
    for module in modules {
        if let Some(old) = module.old {
            now[old as usize] = Some(module);
        }
    }
    let owners: HashMap<&str, u32> = before
        .iter()
        .filter(|symbol| now[symbol.owner as usize].is_none_or(|module| module.contents.is_some()))
        .map(|symbol| (symbol.name, symbol.owner))
        .collect();
    let mut owned: HashMap<u32, BTreeSet<&str>> = HashMap::new();
    for (name, owner) in &owners {
        owned.entry(*owner).or_default().insert(name);
    }
    let mut concerned: BTreeSet<&str> = BTreeSet::new();
    for (owner, names) in &owned {
        if now[*owner as usize].is_none() {
            concerned.extend(names);
        }
    }
    let mut exported: BTreeSet<&str> = BTreeSet::new();
    let none = BTreeSet::new();
    for module in modules {
        let Some(contents) = &module.contents else { continue };
        let exports: BTreeSet<&str> = contents.exports.iter().map(String::as_str).collect();
        let before = module.old.and_then(|old| owned.get(&old)).unwrap_or(&none);
        let is_moved = module.old.is_some_and(|old| present.lines[old as usize].path != module.path);
        if is_moved || *before != exports {
            concerned.extend(before);
            concerned.extend(&exports);
        }
        exported.extend(exports);
    }
    let Some(first) = concerned.first() else { return Ok(false) };
    let symvers = (request.symvers)().ok_or_else(|| Unusual::Symbol((*first).to_owned()))?;
    let all: BTreeSet<&str> = before.iter().map(|symbol| symbol.name).filter(|name| concerned.contains(name)).collect();
    for name in &concerned {
        let Some(export) = symvers.get(name) else { continue };
        let is_known = match &export.module {
            None => !exported.contains(name),
            Some(path) => {
                let exporter = module_name(path);
                let is_kept = |module: &&Module| module.name == exporter && module.contents.is_none();
                // One that was there has users that are known by the index.
                all.contains(name) && !modules.iter().any(|module| is_kept(&module))
            }
        };
        if !is_known {
            return Err(Unusual::Symbol((*name).to_owned()));
        }
    }
    Ok(true)
}

/// A text file of no more than [`LONGEST`] bytes, all ASCII.
fn read_text(path: &Path) -> Result<String, Unusual> {
    let bytes = durable::read_at_most(path, LONGEST).map_err(durable::named(path))?;
    String::from_utf8(bytes).ok().filter(|text| text.is_ascii()).ok_or_else(|| Unusual::Name(path.to_owned()))
}
