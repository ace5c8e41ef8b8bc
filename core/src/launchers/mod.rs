//! Programs that compile in a compiler's place.
//!
//! A [`Launcher`] is such a program; what it needs stands in one table. A build finds it behind the stubs in front of its PATH
//! ([`crate::probes`]), so CC stays what it is, for kbuild and for packages with their own. Its [`cache`] belongs to one source,
//! one set of headers and one set of compilers: builds are hostile to each other, and what a build puts into a cache
//! can't be checked.

pub mod cache;

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::conf::compiler_launcher::CompilerLauncher;
use crate::process::Environment;
use crate::tree::Trees;
use crate::world::World;

/// One of these programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Launcher {
    /// ccache(1).
    Ccache,
}

/// What a launcher needs.
struct Needs {
    program: &'static str,
    /// What the names of the variables that it goes by begin with. Those that a build has count for nothing.
    family: &'static str,
    /// Its settings; what is empty is the directory of its cache.
    settings: &'static [(&'static str, &'static str)],
}

const CCACHE: Needs = Needs {
    program: "ccache",
    family: "CCACHE_",
    settings: &[
        ("CCACHE_DIR", ""),
        // A ccache.conf in the source, or in the cache, is not for us.
        ("CCACHE_CONFIGPATH", "/dev/null"),
        // The cache is of one set of compilers, which are looked at before each use.
        ("CCACHE_COMPILERCHECK", "none"),
        // Its direct mode knows the headers that were read, and not one that came before them in the search path: a patch of
        // the administrator's can bring one. What is preprocessed each time lacks nothing.
        ("CCACHE_NODIRECT", "1"),
        // Of images that are only read, another one may have the same numbers and times.
        ("CCACHE_NOINODECACHE", "1"),
        ("CCACHE_MAXSIZE", "512M"),
    ],
};

impl Launcher {
    fn needs(self) -> &'static Needs {
        match self {
            Self::Ccache => &CCACHE,
        }
    }

    /// Its program's name.
    pub fn name(self) -> &'static str {
        self.needs().program
    }

    /// The one that builds in `world` are to have, and its program, as programs call it. `None`: none.
    ///
    /// # Errors
    /// If it is asked for by name, and is not there.
    pub fn wanted(choice: CompilerLauncher, world: &World, trees: &Trees) -> Result<Option<(Self, PathBuf)>, Error> {
        let (launcher, by_name) = match choice {
            CompilerLauncher::None => return Ok(None),
            CompilerLauncher::Auto => (Self::Ccache, false),
            CompilerLauncher::Ccache => (Self::Ccache, true),
        };
        match world.find(launcher.name()) {
            Some(program) => Ok(Some((launcher, world.called(trees, &program)))),
            None if by_name => Err(Error::Missing),
            None => Ok(None),
        }
    }
}

/// A launcher, as a build finds it. Paths are as programs call them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Launched {
    /// Which one.
    pub launcher: Launcher,
    /// Its program.
    pub program: PathBuf,
    /// The directory of its cache.
    pub cache: PathBuf,
}

impl Launched {
    /// Makes `environment` one for it.
    pub fn enter(&self, environment: &mut Environment) {
        let Needs { family, settings, .. } = self.launcher.needs();
        environment.retain(|name, _| !name.as_encoded_bytes().starts_with(family.as_bytes()));
        for (name, value) in *settings {
            let value = if value.is_empty() { self.cache.as_os_str() } else { OsStr::new(value) };
            environment.insert((*name).into(), value.to_owned());
        }
    }
}

/// Whether a compiler with these arguments compiles a file, which is what a launcher is of use for. Standard input, which it
/// lacks then, has more than one name; a file of arguments may hold any of them.
pub fn compiles(args: &[OsString]) -> bool {
    let has = |word: &str| args.iter().any(|arg| arg == word);
    let may_read_input = |arg: &OsString| {
        let bytes = arg.as_encoded_bytes();
        let holds = |part: &[u8]| bytes.windows(part.len()).any(|window| window == part);
        bytes.starts_with(b"@") || holds(b"/dev/stdin") || holds(b"/dev/fd/") || holds(b"/proc/")
    };
    has("-c") && !has("-") && !has("/dev/null") && !args.iter().any(may_read_input)
}

/// Why a build goes without its launcher.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is not there.
    #[error("it is not installed")]
    Missing,
    /// It did not do what it is for.
    #[error("it can't compile here: {0}")]
    Trial(String),
    /// There is no cache for it.
    #[error(transparent)]
    Cache(#[from] cache::Error),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_makes_an_object_of_a_file_is_a_compilation() {
        let is_one = |line: &str| compiles(&line.split(' ').map(OsString::from).collect::<Vec<_>>());
        assert!(is_one("-Wp,-MMD,.x.o.d -O2 -c -o x.o x.c"));
        for line in [
            "-E x.c",
            "--version",
            "-c -x c /dev/null -o t",
            "-c -x c - -o t",
            "-c -x c /dev/stdin -o t",
            "-c -x c /proc/self/fd/0 -o t",
            "-c -include/dev/fd/0 x.c",
            "-c @arguments",
            "-S x.c",
            "-o x x.o",
        ] {
            assert!(!is_one(line), "{line}");
        }
    }

    #[test]
    fn a_launcher_goes_by_our_settings_alone() {
        let launched = Launched { launcher: Launcher::Ccache, program: "/ccache".into(), cache: "/c".into() };
        let mut environment: Environment = [("CCACHE_DISABLE", "1"), ("CCACHE_DIR", "/tmp"), ("PATH", "/bin")]
            .map(|(k, v)| (k.into(), v.into()))
            .into();
        launched.enter(&mut environment);
        let value = |name: &str| environment.get(OsStr::new(name)).map(|value| value.to_string_lossy().into_owned());
        assert_eq!(value("CCACHE_DIR").as_deref(), Some("/c"));
        assert_eq!(value("CCACHE_CONFIGPATH").as_deref(), Some("/dev/null"));
        assert_eq!(value("CCACHE_NODIRECT").as_deref(), Some("1"));
        assert_eq!((value("CCACHE_DISABLE"), value("PATH").as_deref()), (None, Some("/bin")));
    }
}
