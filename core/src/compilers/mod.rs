//! The compilers of a kernel's builds, and what tells them from others that may stand at the same places.
//!
//! A compiler is more than its driver: cc1, the assembler, the linker and the libraries that these load do the work, and any
//! of them may be replaced alone. The compiler itself is asked for them (gcc(1), `-print-prog-name`), as a build would find
//! it. What is kept of its answers or its work belongs to one [`Compilers::identity`].

mod error;

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use crate::digest::{Digest, Hasher};
use crate::kernel::Toolchain;
use crate::kernel::contents::{self, Member};
use crate::process::{self, Output};
use crate::tree::Trees;
use crate::tree::identity::Identity;
use crate::world::World;
use crate::world::environment::only_listed;
pub use error::Error;

/// The program that is asked, for bash.
const ASK: &str = include_str!("ask.sh");
/// Commands that a kernel's choice may begin with, and that are no compilers.
const LAUNCHERS: [&str; 4] = ["ccache", "sccache", "distcc", "icecc"];
/// What the names of the libraries begin with in which compilers, assemblers and linkers keep their better part. All others
/// (the C library, its mathematics) change what they do in no way known, and are updated far more often.
const ESSENTIAL: [&str; 6] = ["libLLVM", "libclang", "libbfd", "libopcodes", "libctf", "libsframe"];

/// The compilers that a build for one kernel may use.
#[derive(Debug)]
pub struct Compilers {
    /// They, by the names that are asked for.
    pub all: Vec<Compiler>,
    /// The files that they consist of, in the order of their paths.
    pub files: Vec<Part>,
    identity: Digest,
    portable: OnceLock<Digest>,
}

/// What was found in one run, by the names that were asked for.
#[derive(Debug, Clone, Default)]
pub struct Known(Arc<Mutex<BTreeMap<Vec<String>, Arc<Compilers>>>>);

impl Known {
    /// [`Compilers::of`], once for all kernels with the same choice. To ask them runs compilers, beside the jobs that builds may have:
    /// whoever needs the answer waits for the first who asks.
    ///
    /// # Errors
    /// As there. The next one asks again.
    pub fn of(&self, world: &World, toolchain: &Toolchain) -> Result<Arc<Compilers>, Error> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let names = names(toolchain);
        if let Some(found) = known.get(&names) {
            return Ok(Arc::clone(found));
        }
        let found = Arc::new(Compilers::of(world, toolchain)?);
        known.insert(names, Arc::clone(&found));
        Ok(found)
    }
}

/// One command that compiles.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compiler {
    /// The name that is asked for.
    pub name: String,
    /// Where it is found, as programs call it.
    pub path: PathBuf,
    /// What `--version` prints.
    pub version: String,
}

/// A file that decides what a compiler does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Its path, as programs call it: of a file, or of a link on the way to one.
    pub path: PathBuf,
    /// The same for us.
    pub outer: PathBuf,
    /// Its identity when it was looked at; `None`: there was none.
    pub identity: Option<Identity>,
}

impl Part {
    fn look(path: PathBuf, world: &World) -> Self {
        let outer = world.outer(&path);
        let identity = Identity::of_path(&outer).ok();
        Self { path, outer, identity }
    }
}

impl Compilers {
    /// Finds the compilers that a build with the choice `toolchain` may ask for in `world`: those of that name, and the
    /// usual ones, which packages' scripts ask for. Takes some 50 ms: [`Known`] asks once a run.
    ///
    /// # Errors
    /// If bash can't be run there, or its answer is none. No compiler at all is no error.
    pub fn of(world: &World, toolchain: &Toolchain) -> Result<Self, Error> {
        let names: Vec<String> = names(toolchain).into_iter().filter(|name| world.has(name)).collect();
        let mut task = world.task(["bash", "--norc", "--noprofile", "-c", ASK, "bash"], Path::new("/"));
        task.argv.extend(names.iter().map(OsString::from));
        // What a build has in its environment.
        only_listed(&mut task.env);
        task.output = Output::Capture;
        let end = process::run(task)?;
        if !end.status.success() {
            return Err(Error::Answer(end.text()));
        }
        let (all, paths) = understand(&end.output).ok_or_else(|| Error::Answer(end.text()))?;
        let mut files: Vec<Part> = paths.into_iter().map(|path| Part::look(path, world)).collect();
        files.sort_by(|one, other| one.path.cmp(&other.path));
        files.dedup_by(|one, other| one.path == other.path);
        let mut hasher = Hasher::default();
        for compiler in &all {
            hasher.field(compiler.name.as_bytes());
            hasher.field(compiler.path.as_os_str().as_bytes());
            hasher.field(compiler.version.as_bytes());
        }
        for Part { path, identity, .. } in &files {
            hasher.field(path.as_os_str().as_bytes());
            match identity {
                Some(Identity { size, mtime_ns, ctime_ns, ino }) => {
                    hasher.field(format!("{size} {mtime_ns} {ctime_ns} {ino}").as_bytes());
                }
                None => hasher.field(b"-"),
            }
        }
        Ok(Self { all, files, identity: hasher.finish(), portable: OnceLock::new() })
    }

    /// What tells these compilers on this machine from all others: where they are, what they say of themselves, and size,
    /// times and inode of each of their files. A file written anew counts, also with the same content.
    pub fn identity(&self) -> &Digest {
        &self.identity
    }

    /// What tells these compilers from others on any machine: what they say of themselves and the content of their files, but
    /// for libraries that only help. To read them takes 0.1 s for gcc's 40 MB; that is remembered in `trees`. `now`: the time when
    /// the run began, in seconds since 1970.
    ///
    /// # Errors
    /// If a file can't be read.
    pub fn portable(&self, trees: &Trees, now: u64) -> io::Result<&Digest> {
        if let Some(known) = self.portable.get() {
            return Ok(known);
        }
        let mut hasher = Hasher::default();
        for compiler in &self.all {
            hasher.field(compiler.name.as_bytes());
            hasher.field(compiler.version.as_bytes());
        }
        // Where links lead is there, too.
        let essential = self.files.iter().filter(|part| is_essential(&part.path) && !part.outer.is_symlink());
        let member = |part: &Part| {
            let label = PathBuf::from(part.path.file_name().unwrap_or_default());
            Some(Member { label, path: part.outer.clone(), identity: part.identity? })
        };
        let members: Vec<Member> = essential.filter_map(member).collect();
        hasher.field(contents::digest(trees, &members, now)?.to_string().as_bytes());
        let digest = hasher.finish();
        Ok(self.portable.get_or_init(|| digest))
    }

    /// Whether each file is still the one that the identity speaks of.
    pub fn are_unchanged(&self) -> bool {
        self.files.iter().all(|part| Identity::of_path(&part.outer).ok() == part.identity)
    }
}

/// Whether what a file holds belongs to the compiler rather than to the system around it.
fn is_essential(path: &Path) -> bool {
    let name = path.file_name().and_then(OsStr::to_str).unwrap_or_default();
    let is_library = name.contains(".so.") || name.ends_with(".so");
    !is_library || ESSENTIAL.iter().any(|start| name.starts_with(start))
}

/// The names that a build asks for, without repetition: kbuild's, then those that packages' scripts use.
fn names(toolchain: &Toolchain) -> Vec<String> {
    let chosen = [&toolchain.fragment_cc, &toolchain.cc, &toolchain.kernel_cc];
    let mut names: Vec<String> = Vec::new();
    let words = chosen.into_iter().flatten().flat_map(|text| text.split_whitespace());
    let prefixed = toolchain.cross.as_ref().and_then(|cross| cross.prefix).map(|prefix| format!("{prefix}gcc"));
    let usual = toolchain.llvm.then_some("clang").into_iter().chain(["gcc", "cc"]);
    for word in words.chain(prefixed.as_deref()).chain(usual) {
        let is_name = !word.starts_with('-') && !word.contains('=') && !LAUNCHERS.contains(&word);
        if is_name && !names.iter().any(|known| known == word) {
            names.push(word.to_owned());
        }
    }
    names
}

/// What `ask.sh` printed: compilers and the paths of their files. `None` if it is something else.
fn understand(answer: &[u8]) -> Option<(Vec<Compiler>, Vec<PathBuf>)> {
    let mut fields = answer.strip_suffix(b"\0").unwrap_or(answer).split(|byte| *byte == 0);
    let (mut all, mut paths) = (Vec::new(), Vec::new());
    let path = |bytes: &[u8]| PathBuf::from(OsString::from_vec(bytes.to_vec()));
    while let Some(kind) = fields.next() {
        match kind {
            b"compiler" => {
                let name = String::from_utf8(fields.next()?.to_vec()).ok()?;
                let found = path(fields.next()?);
                paths.push(path(fields.next()?));
                let version = String::from_utf8_lossy(fields.next()?).into_owned();
                all.push(Compiler { name, path: found, version });
            }
            b"part" | b"may" => paths.push(path(fields.next()?)),
            b"" => {}
            _ => return None,
        }
    }
    Some((all, paths))
}

#[cfg(test)]
mod tests;
