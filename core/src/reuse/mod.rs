//! Whether what was built for one kernel is what a build for another would make: decided from what the build has read
//! ([`Record`]) and what the other kernel has in its place ([`Facts`]).
//!
//! Nothing here looks at a file. What is not understood is an answer, too: [`Answer::Build`], with the first input that
//! differs, for a person to read.

pub mod header;
pub mod makefile;
pub mod version;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::names::{Kernel, Package};
use crate::tree::manifest::How;
use version::Comparison;

/// The format of records that this program writes and reads.
pub const FORMAT: u32 = 1;

/// Symbols of the configuration that only name a kernel: `CONFIG_BUILD_SALT` goes into a note beside the build id
/// (include/linux/build-salt.h), the other into the release.
pub const NAMES_OF_KERNELS: [&str; 2] = ["CONFIG_BUILD_SALT", "CONFIG_LOCALVERSION"];

/// What one build has read of its kernel. All else that it follows from is in `family`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The format.
    pub format: u32,
    /// The package.
    pub package: Package,
    /// The kernel it was built for.
    pub kernel: Kernel,
    /// The digest of what it follows from besides its kernel: source, patches, recipe, environment, compilers, programs,
    /// dependencies.
    pub family: Digest,
    /// Where the modules are: the digest of the result cache's key.
    pub result: Digest,
    /// What the kernel has.
    #[serde(flatten)]
    pub facts: Facts,
    /// How the source, and the headers that it includes, compare the kernel's version; `None` if nothing has read it.
    pub comparisons: Option<BTreeSet<Comparison>>,
    /// The lists of directories that headers were looked for in, in order.
    pub searches: BTreeSet<Vec<String>>,
    /// Names at which a header would be found before the one that was read, if there were one.
    pub quoted: BTreeSet<String>,
    /// Symbols that the modules export.
    pub exports: BTreeSet<String>,
}

/// What a kernel has of what a record names.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// Its headers that were read, by name (`{build}/include/generated/bounds.h`, `{source}/include/linux/fs.h`). Of
    /// version.h what is left without its numbers.
    pub headers: BTreeMap<String, Digest>,
    /// Its version as a number (`LINUX_VERSION_CODE`).
    pub version: Option<u32>,
    /// Other headers that are found by the names of those, in directories that are searched earlier.
    pub earlier: BTreeSet<String>,
    /// The symbols of its configuration that were looked at, or that kbuild looks at, and that are set.
    pub config: BTreeMap<String, String>,
    /// Those that were looked at, set or not.
    pub looked_at: BTreeSet<String>,
    /// kbuild itself: Makefiles, scripts and programs, by name. Of Makefiles what is left without the kernel's name.
    pub kbuild: BTreeMap<String, Digest>,
    /// The symbols that the modules import from the kernel and its modules.
    pub imports: BTreeMap<String, Import>,
    /// Its type information (BTF), if the headers have any: modules refer to it.
    pub types: Option<Digest>,
    /// The length of `CONFIG_BUILD_SALT`: the note that it goes into has a type, which is the kernel's only if both have one length.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub salt: Option<usize>,
}

/// An exported symbol, as Module.symvers has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Import {
    /// The checksum of its type; `None` without CONFIG_MODVERSIONS.
    pub crc: Option<u32>,
    /// The module that exports it; `None`: the kernel itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub module: Option<String>,
    /// Only modules under a licence that is compatible with the GPL get it.
    pub gpl: bool,
    /// The namespace.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub namespace: String,
}

/// What is enough for a module to be used again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Policy {
    /// Nothing.
    #[default]
    Never,
    /// That a build would make the same.
    Proven,
    /// That the checksums of all imported symbols are the same (what weak-modules(8) of others goes by).
    Symbols,
}

impl Policy {
    /// What a value of `reuse` or `DKMS_REUSE` means; `None` if it is none.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "never" => Some(Self::Never),
            "proven" => Some(Self::Proven),
            "symbols" => Some(Self::Symbols),
            _ => None,
        }
    }
}

/// The decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// They are what a build would make.
    Reuse(How),
    /// They are not, or nobody knows.
    Build(Difference),
}

/// The first thing that differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Difference {
    /// A header.
    Header(String),
    /// A header that is found in the place of another.
    Earlier(String),
    /// A symbol of the configuration, and its two values.
    Config(String, Option<String>, Option<String>),
    /// A part of kbuild.
    Kbuild(String),
    /// The source compares the version with one that lies between the two.
    Version(Comparison),
    /// An imported symbol, and what of it.
    Import(String, &'static str),
    /// A symbol that the modules export, and the kernel now, too.
    Export(String),
    /// The type information.
    Types,
    /// The length of the kernel's name.
    Salt,
    /// The kernels do not go by checksums of symbols.
    NoChecksums,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // What names begin with says where the file is, for us.
        let file = |name: &str| name.split_once('/').map_or(name, |(_, rest)| rest).to_owned();
        let value = |value: &Option<String>| value.clone().unwrap_or_else(|| "not set".to_owned());
        match self {
            Self::Header(name) => write!(f, "the header {} differs", file(name)),
            Self::Earlier(name) => write!(f, "the header {} was not there", file(name)),
            Self::Config(name, then, now) => write!(f, "{name} was {}, and is {}", value(then), value(now)),
            Self::Kbuild(name) => write!(f, "kbuild's {} differs", file(name)),
            Self::Version(comparison) => write!(f, "the source tells the two kernels apart: {comparison}"),
            Self::Import(name, what) => write!(f, "the symbol {name} {what}"),
            Self::Export(name) => write!(f, "the kernel exports {name}, too"),
            Self::Types => f.write_str("the kernel's type information (BTF) differs"),
            Self::Salt => f.write_str("CONFIG_BUILD_SALT has another length, so type information (BTF) differs"),
            Self::NoChecksums => f.write_str("the kernel has no checksums of symbols (CONFIG_MODVERSIONS)"),
        }
    }
}

/// Decides. `exported`: those of the record's exports that the new kernel exports, too.
pub fn decide(
    record: &Record,
    kernel: &Kernel,
    now: &Facts,
    exported: impl FnOnce(&BTreeSet<String>) -> Option<String>,
    policy: Policy,
) -> Answer {
    let then = &record.facts;
    let found = match policy {
        Policy::Symbols => symbols(then, now),
        Policy::Never | Policy::Proven => inputs(record, now),
    };
    let found = found.or_else(|| imports(then, now)).or_else(|| exported(&record.exports).map(Difference::Export));
    if let Some(difference) = found {
        return Answer::Build(difference);
    }
    let goes_by_checksums = now.config.get("CONFIG_MODVERSIONS").is_some_and(|value| value == "y");
    Answer::Reuse(if goes_by_checksums || record.kernel.release == kernel.release {
        How::AsTheyAre
    } else {
        How::WithItsRelease
    })
}

/// The first input that differs.
fn inputs(record: &Record, now: &Facts) -> Option<Difference> {
    let then = &record.facts;
    let compared = || {
        let all = record.comparisons.iter().flatten();
        match (then.version, now.version) {
            (Some(then), Some(now)) => {
                let mut all = all;
                all.find(|one| one.holds(then) != one.holds(now)).cloned().map(Difference::Version)
            }
            (None, None) => None,
            _ => Some(Difference::Header("/include/generated/uapi/linux/version.h".to_owned())),
        }
    };
    let config = || {
        let differs = |name: &&String| then.config.get(*name) != now.config.get(*name);
        let mut all = then.looked_at.union(&now.looked_at);
        all.find(differs)
            .map(|name| Difference::Config(name.clone(), then.config.get(name).cloned(), now.config.get(name).cloned()))
    };
    config()
        .or_else(|| first(&then.kbuild, &now.kbuild).map(Difference::Kbuild))
        .or_else(|| first(&then.headers, &now.headers).map(Difference::Header))
        .or_else(|| now.earlier.difference(&then.earlier).next().cloned().map(Difference::Earlier))
        .or_else(compared)
        .or_else(|| (then.types != now.types).then_some(Difference::Types))
        .or_else(|| (then.types.is_some() && then.salt != now.salt).then_some(Difference::Salt))
}

/// The first name that is not in both with the same content.
fn first(then: &BTreeMap<String, Digest>, now: &BTreeMap<String, Digest>) -> Option<String> {
    let gone = then.iter().find(|(name, digest)| now.get(*name) != Some(digest));
    gone.or_else(|| now.iter().find(|(name, _)| !then.contains_key(*name))).map(|(name, _)| name.clone())
}

/// What those ask who go by checksums: that there are some, made in the same way, and that the kernels have the same words in
/// their vermagic (include/linux/vermagic.h).
fn symbols(then: &Facts, now: &Facts) -> Option<Difference> {
    const VERMAGIC: [&str; 8] = [
        "CONFIG_SMP",
        "CONFIG_PREEMPT_BUILD",
        "CONFIG_PREEMPT_RT",
        "CONFIG_MODULE_UNLOAD",
        "CONFIG_RANDSTRUCT",
        "CONFIG_GENDWARFKSYMS",
        "CONFIG_CC_VERSION_TEXT",
        "CONFIG_MODVERSIONS",
    ];
    let yes = |facts: &Facts| facts.config.get("CONFIG_MODVERSIONS").is_some_and(|value| value == "y");
    if !yes(then) || !yes(now) || !then.imports.contains_key("module_layout") {
        return Some(Difference::NoChecksums);
    }
    let differs = |name: &&&str| then.config.get(**name) != now.config.get(**name);
    VERMAGIC.iter().find(differs).map(|name| {
        Difference::Config((*name).to_owned(), then.config.get(*name).cloned(), now.config.get(*name).cloned())
    })
}

fn imports(then: &Facts, now: &Facts) -> Option<Difference> {
    then.imports.iter().find_map(|(name, old)| {
        let what = match now.imports.get(name) {
            None => "is gone",
            Some(new) if new.crc != old.crc => "has another checksum",
            Some(new) if new.gpl != old.gpl => "is exported to others",
            Some(new) if new.namespace != old.namespace => "is in another namespace",
            Some(new) if new.module != old.module => "is exported by another module",
            Some(_) => return None,
        };
        Some(Difference::Import(name.clone(), what))
    })
}

#[cfg(test)]
mod tests;
