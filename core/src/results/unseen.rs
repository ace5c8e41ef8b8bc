//! Which builds may have read what no key names: their results are not kept.
//!
//! What a package declares is looked at before ([`declared`]); what kbuild has noted of each compilation, after it ([`noted`]): the
//! command and every file that the compiler read, in `.<object>.cmd` (scripts/basic/fixdep.c). These notes belong to the build, which
//! could write anything there. Then it has deceived itself: the result is taken for the same source alone.

use std::collections::{BTreeSet, HashSet};
use std::io::ErrorKind;
use std::path::{Component, Path, PathBuf};

use crate::archive::links;
use crate::conf::typed::Scripts;
use crate::digest::Digest;
use crate::durable;
use crate::sandbox::beneath::{Beneath, BeneathError};

use super::entry::Read;

/// No package has more notes (the graphics drivers of one vendor have 1,800), nor longer ones.
const MOST_NOTES: usize = 20_000;
/// The same of one note, in bytes.
pub(crate) const LONGEST_NOTE: u64 = 4 << 20;
/// What a compiler brings of its own is a handful of headers.
const MOST_READ: usize = 64;
/// What stands before a compiler's name, and compiles by it.
const LAUNCHERS: [&str; 4] = ["ccache", "distcc", "icecc", "sccache"];

/// Why a result is not kept.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unseen {
    /// A script takes part.
    #[error("its dkms.conf has {0}, which may look at anything")]
    Script(&'static str),
    /// It has the network.
    #[error("its build has the network ({0})")]
    Network(String),
    /// Its headers are a copy for this run.
    #[error("it is built outside its root")]
    Outside,
    /// Not everything is known that its key would name.
    #[error("{0}")]
    Unknown(String),
    /// Nothing tells what was read.
    #[error("kbuild has noted nothing of its build")]
    NoNotes,
    /// There is no end of what was noted.
    #[error("what kbuild has noted of its build can't be read: {0}")]
    Notes(String),
    /// Another compiler was used.
    #[error("it was compiled by {0}, which is not the kernel's compiler")]
    Compiler(String),
    /// A file of somebody else's was read.
    #[error("its build has read {}", .0.display())]
    Foreign(PathBuf),
    /// Something was changed while it was built.
    #[error("{0} changed while it was built")]
    Changed(&'static str),
}

/// What the package declares. `network`: what lets its build have one.
pub fn declared(scripts: &Scripts, network: Option<&str>) -> Option<Unseen> {
    let is_set = |script: &Option<String>| script.as_ref().is_some_and(|line| !line.trim().is_empty());
    let scripts = [("PRE_BUILD", &scripts.pre_build), ("POST_BUILD", &scripts.post_build)];
    let script = scripts.into_iter().find(|(_, script)| is_set(script)).map(|(name, _)| Unseen::Script(name));
    script.or_else(|| network.map(|by| Unseen::Network(by.to_owned())))
}

/// The link in the source `dir` (an outer path) that leads out of it: what is there, no key names.
pub fn stray(dir: &Path) -> Option<Unseen> {
    match links::first_stray(dir) {
        Ok(stray) => stray.map(|stray| Unseen::Foreign(dir.join(stray.link))),
        Err(error) => Some(Unseen::Unknown(error.to_string())),
    }
}

/// What a build may read, and by which compilers.
pub struct Allowed<'a> {
    /// The build's directory, as an outer path.
    pub work: &'a Path,
    /// Whether its contents are looked at without following links out of it: the build was another user.
    pub confined: bool,
    /// What the build calls its directory.
    pub place: &'a Path,
    /// The directories of the headers, as it may call them.
    pub headers: &'a [PathBuf],
    /// Whether a word is the name of a compiler that the key names.
    pub is_compiler: &'a dyn Fn(&str) -> bool,
    /// Where what programs call so is for this process.
    pub outer: &'a dyn Fn(&Path) -> PathBuf,
}

impl std::fmt::Debug for Allowed<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Allowed({})", self.place.display())
    }
}

/// Looks at kbuild's notes in the build's directory, which has these `contents`. Gives the compiler's own headers that were
/// read.
///
/// # Errors
/// If something else was read that no key names, or nothing tells what was.
pub fn noted(contents: &Beneath, allowed: &Allowed<'_>) -> Result<Vec<Read>, Unseen> {
    let mut known: HashSet<String> = HashSet::new();
    let mut own = BTreeSet::new();
    let mut compilations = 0_usize;
    let is_note = |path: &Path| path.as_os_str().as_encoded_bytes().ends_with(b".o.cmd");
    for note in files(allowed.work, is_note)? {
        let failed = |why: String| Unseen::Notes(why);
        let bytes = contents.read_at_most(&note, LONGEST_NOTE).map_err(|error| failed(error.to_string()))?;
        let text = String::from_utf8_lossy(bytes.as_deref().unwrap_or_default()).into_owned();
        let Some(note_of) = Note::parse(&text) else { continue };
        compilations += 1;
        if !(allowed.is_compiler)(note_of.compiler) {
            return Err(Unseen::Compiler(note_of.compiler.to_owned()));
        }
        let dir = note.parent().unwrap_or(Path::new(""));
        for path in note_of.read {
            // Relative ones mean another file in another directory.
            let name = if path.starts_with('/') { path.to_owned() } else { format!("{}\0{path}", dir.display()) };
            if !known.insert(name) || allowed.covers(Path::new(path), dir, contents) {
                continue;
            }
            if !is_compilers_own(Path::new(path)) || own.len() >= MOST_READ {
                return Err(Unseen::Foreign(PathBuf::from(path)));
            }
            own.insert(PathBuf::from(path));
        }
    }
    if compilations == 0 {
        return Err(Unseen::NoNotes);
    }
    let read = |path: PathBuf| match durable::read(&(allowed.outer)(&path)) {
        Ok(Some(bytes)) => Ok(Read { digest: Digest::of(&bytes), path }),
        _ => Err(Unseen::Foreign(path)),
    };
    own.into_iter().map(read).collect()
}

impl Allowed<'_> {
    /// Whether a key names `path`, which the compiler has read for an object in `dir` of the build's directory. Names are not
    /// enough: a link in that directory may lead out of it. Relative paths begin in the headers before Linux 6.13, and in a
    /// directory of the module's from then on.
    fn covers(&self, path: &Path, dir: &Path, contents: &Beneath) -> bool {
        if path.is_absolute() {
            let path = normal(path);
            return match path.strip_prefix(self.place) {
                Ok(below) => self.is_inside(below, contents) == Some(true),
                Err(_) => self.is_in_headers(&path),
            };
        }
        for base in dir.ancestors() {
            let here = normal(&self.place.join(base).join(path));
            let Ok(below) = here.strip_prefix(self.place) else { continue };
            if let Some(is_inside) = self.is_inside(below, contents) {
                return is_inside;
            }
        }
        self.headers.iter().any(|base| {
            let path = normal(&base.join(path));
            self.is_in_headers(&path) && (self.outer)(&path).is_file()
        })
    }

    /// Whether the file `below` the build's directory is really there, wherever links lead; `None`: there is none.
    fn is_inside(&self, below: &Path, contents: &Beneath) -> Option<bool> {
        match contents.file(below) {
            Ok(_) if self.confined => Some(true),
            // That follows every link.
            Ok(_) => {
                let real = |path: &Path| fs_err::canonicalize(path).ok();
                Some(
                    real(&self.work.join(below))
                        .zip(real(self.work))
                        .is_some_and(|(file, work)| file.starts_with(work)),
                )
            }
            Err(BeneathError::Open { source, .. }) if source.kind() == ErrorKind::NotFound => None,
            Err(_) => Some(false),
        }
    }

    fn is_in_headers(&self, path: &Path) -> bool {
        self.headers.iter().any(|dir| path.starts_with(dir))
    }
}

/// What kbuild has noted of one object.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Note<'a> {
    compiler: &'a str,
    /// The whole command.
    pub command: &'a str,
    /// The files that were read.
    pub read: Vec<&'a str>,
    /// The symbols of the configuration that these mention, as files below `include/config`.
    pub configured: Vec<&'a str>,
}

impl<'a> Note<'a> {
    /// From the text of a `.cmd` file; `None` if that is not of a compilation.
    pub(crate) fn parse(text: &'a str) -> Option<Self> {
        let mut compiler = None;
        let mut command = "";
        let mut read = Vec::new();
        let mut configured = Vec::new();
        let mut in_list = false;
        for line in text.lines() {
            if in_list {
                let word = line.trim().trim_end_matches('\\').trim_end();
                in_list = !word.is_empty();
                if let Some(marker) = word.strip_prefix("$(wildcard include/config/") {
                    configured.push(marker.trim_end_matches(')'));
                } else if in_list && !word.starts_with("$(wildcard ") {
                    read.push(word);
                }
            } else if let Some((name, value)) = line.split_once(" := ") {
                if name.starts_with("source_") {
                    read.push(value.trim());
                } else if name.starts_with("savedcmd_") || name.starts_with("cmd_") {
                    let is_launcher = |word: &str| LAUNCHERS.iter().any(|known| Path::new(word).ends_with(known));
                    command = value;
                    compiler = value.split_whitespace().find(|word| !word.contains('=') && !is_launcher(word));
                } else if name.starts_with("deps_") {
                    in_list = true;
                }
            }
        }
        // Only the notes of compilations have a source.
        (!read.is_empty()).then_some(Self { compiler: compiler?, command, read, configured })
    }
}

/// The regular files below `work` that are `wanted`, relative to it and in order: names only, no link is followed.
pub(crate) fn files(work: &Path, wanted: impl Fn(&Path) -> bool) -> Result<Vec<PathBuf>, Unseen> {
    let mut found = Vec::new();
    let mut waiting = vec![PathBuf::new()];
    let mut seen = 0;
    while let Some(dir) = waiting.pop() {
        for entry in std::fs::read_dir(work.join(&dir)).into_iter().flatten().flatten() {
            seen += 1;
            if seen > MOST_NOTES * 8 || found.len() > MOST_NOTES {
                return Err(Unseen::Notes("there are too many files".to_owned()));
            }
            let path = dir.join(entry.file_name());
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => waiting.push(path),
                Ok(kind) if kind.is_file() && wanted(&path) => found.push(path),
                _ => {}
            }
        }
    }
    found.sort();
    Ok(found)
}

/// Whether a header came with a compiler: `/usr/lib/gcc/x86_64-linux-gnu/14/include/stddef.h`.
pub(crate) fn is_compilers_own(path: &Path) -> bool {
    let is_own = |part: Component<'_>| {
        let name = part.as_os_str().to_string_lossy();
        ["clang", "gcc", "gcc-cross"].contains(&name.as_ref())
    };
    path.starts_with("/usr") && path.extension().is_some_and(|end| end == "h") && normal(path).components().any(is_own)
}

/// A path without `.` and `..`, by its words alone.
fn normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => {
                normal.pop();
            }
            Component::CurDir => {}
            other => normal.push(other),
        }
    }
    normal
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::BuildUser;

    const NOTE: &str = "savedcmd_/b/x.o := ccache gcc-14 -Wp,-MMD,/b/.x.o.d -c -o /b/x.o /b/x.c ; ./tools/objtool/objtool x\n\n\
        source_/b/x.o := /b/x.c\n\ndeps_/b/x.o := \\\n    $(wildcard include/config/A) \\\n  /h/include/linux/a.h \\\n  \
        arch/x86/include/b.h \\\n\n/b/x.o: $(deps_/b/x.o)\n\n$(deps_/b/x.o):\n";

    #[test]
    fn a_note_of_kbuilds() {
        let note = Note::parse(NOTE).unwrap();
        assert_eq!(note.compiler, "gcc-14");
        assert_eq!(note.read, ["/b/x.c", "/h/include/linux/a.h", "arch/x86/include/b.h"]);
        assert_eq!(note.configured, ["A"]);
        assert!(note.command.starts_with("ccache gcc-14 ") && note.command.ends_with("objtool x"), "{}", note.command);
        let old = NOTE.replace("savedcmd_", "cmd_");
        assert_eq!(Note::parse(&old).unwrap(), note);
        assert_eq!(Note::parse("savedcmd_x.mod := printf '%s\\n'   x.o\n"), None);
        assert_eq!(Note::parse(""), None);
    }

    fn look(note: &str) -> Result<Vec<Read>, Unseen> {
        let tmp = tempfile::tempdir().unwrap();
        let build = tmp.path().join("build");
        let gcc = tmp.path().join("usr/lib/gcc/x/14/include");
        for dir in [&build.join("src"), &build.join("inc"), &tmp.path().join("h/include/linux"), &gcc] {
            fs_err::create_dir_all(dir).unwrap();
        }
        for file in ["build/x.c", "build/inc/own.h", "build/src/near.h", "h/top.h", "h/include/linux/a.h", "out.h"] {
            fs_err::write(tmp.path().join(file), "").unwrap();
        }
        fs_err::create_dir_all(tmp.path().join("h/arch/x86/include")).unwrap();
        fs_err::write(tmp.path().join("h/arch/x86/include/b.h"), "").unwrap();
        std::os::unix::fs::symlink("../../out.h", build.join("inc/link.h")).unwrap();
        std::os::unix::fs::symlink("own.h", build.join("inc/good.h")).unwrap();
        std::os::unix::fs::symlink("../..", build.join("src/up")).unwrap();
        fs_err::write(gcc.join("stddef.h"), "1").unwrap();
        if !note.is_empty() {
            fs_err::write(build.join("src/.x.o.cmd"), note).unwrap();
        }
        let by = |owner: Option<BuildUser>| {
            let contents = Beneath::new(&build, Path::new("/b"), owner).unwrap();
            let allowed = Allowed {
                work: &build,
                confined: owner.is_some(),
                place: Path::new("/b"),
                headers: &[PathBuf::from("/h")],
                is_compiler: &|word| word == "gcc-14",
                outer: &|path| tmp.path().join(path.strip_prefix("/").unwrap()),
            };
            noted(&contents, &allowed)
        };
        // Whoever builds.
        let found = by(None);
        assert_eq!(by(Some(BuildUser { base: 0x7f01_0000, mapped: true })), found);
        found
    }

    #[test]
    fn what_no_key_names_is_found() {
        assert_eq!(look(NOTE), Ok(Vec::new()));
        assert_eq!(look(""), Err(Unseen::NoNotes));
        assert_eq!(look(&NOTE.replace("gcc-14", "gcc-13")), Err(Unseen::Compiler("gcc-13".to_owned())));
        let with = |path: &str| look(&NOTE.replace("/h/include/linux/a.h", path));
        for path in [
            "/b/src/../inc/own.h",
            "/b/inc/good.h",
            "../inc/own.h",
            "inc/own.h",
            "near.h",
            "../h/top.h",
            "/h/../h/top.h",
            "include/linux/a.h",
        ] {
            assert_eq!(with(path), Ok(Vec::new()), "{path}");
        }
        for path in
            ["/usr/include/stdio.h", "/b/../etc/passwd", "/bb/x.h", "../../x.h", "../inc/other.h", "/usr/src/gcc/x.c"]
        {
            assert_eq!(with(path), Err(Unseen::Foreign(path.into())), "{path}");
        }
        let stddef = "/usr/lib/gcc/x/14/include/stddef.h";
        assert_eq!(with(stddef), Ok(vec![Read { path: stddef.into(), digest: Digest::of(b"1") }]));
        let gone = stddef.replace("stddef", "gone");
        assert_eq!(with(&gone), Err(Unseen::Foreign(gone.into())));
    }

    #[test]
    fn a_source_with_a_link_out_of_it() {
        let tmp = tempfile::tempdir().unwrap();
        let source = tmp.path().join("source");
        fs_err::create_dir(&source).unwrap();
        std::os::unix::fs::symlink("x.h", source.join("y.h")).unwrap();
        assert_eq!(stray(&source), None);
        std::os::unix::fs::symlink("../x.mk", source.join("Makefile")).unwrap();
        assert_eq!(stray(&source), Some(Unseen::Foreign(source.join("Makefile"))));
    }

    #[test]
    fn what_a_package_declares() {
        let scripts = |pre: &str, post: &str| Scripts {
            pre_build: Some(pre.to_owned()),
            post_build: Some(post.to_owned()),
            post_install: Some("x".to_owned()),
            ..Scripts::default()
        };
        assert_eq!(declared(&scripts("", " "), None), None);
        assert_eq!(declared(&scripts("a", ""), None), Some(Unseen::Script("PRE_BUILD")));
        assert_eq!(declared(&scripts("", "a"), None), Some(Unseen::Script("POST_BUILD")));
        assert_eq!(declared(&Scripts::default(), Some("x")), Some(Unseen::Network("x".to_owned())));
    }
}
