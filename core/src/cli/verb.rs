//! What was asked for: a verb, with the options that mean something to it.

use super::args::Args;
use super::table::{Entry, Id};
use crate::error::Error;
use crate::names::Release;
use crate::plan::Depth;
use crate::reconcile::Initramfs;

/// A verb with its options. What it is about (package, kernels, files) is in [`Args`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verb {
    Add,
    Build,
    Install,
    /// `uninstall`, `unbuild` and `remove`.
    TakeAway(Depth, Reach),
    Autoinstall(Initramfs, Show),
    KernelPostinst(Initramfs, Show),
    KernelPreinst,
    KernelPrerm,
    Reconcile(Reconciling),
    /// The kernel that is the example; `None` if it was not named.
    Match(Option<Release>),
    Mktarball(Reach, Content),
    Ldtarball,
    Mkpkg,
    Status(Show),
    GenerateMok,
    /// With `--format json` or not.
    Mok(Mok, bool),
    Sign(Reach),
    /// With `--strict` or not.
    Lint(Listing, bool),
    Init,
}

/// The kernels that a verb is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// Those named, or the default one.
    Named,
    /// `--all`: every kernel that there is something for.
    All,
}

/// How a list is printed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Show {
    /// `--format json`.
    pub json: bool,
    /// `--long`.
    pub long: bool,
}

/// How findings are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listing {
    Text,
    /// `--format json`.
    Json,
    /// `--format sarif`.
    Sarif,
}

/// What goes into an archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    Everything,
    /// `--source-only`.
    Source,
    /// `--binaries-only`.
    Binaries,
}

/// What `mok` does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mok {
    Status,
    Enroll,
    /// A word that is neither.
    Other(String),
}

/// The options of `reconcile`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reconciling {
    /// `--event`.
    pub event: Option<String>,
    /// `--initramfs`.
    pub initramfs: Initramfs,
    /// `--strict`.
    pub strict: bool,
    /// How a plan is printed.
    pub show: Show,
}

impl Verb {
    /// What `args` ask for. The errors are those that need no look at the system.
    pub fn of(args: &Args) -> Result<Self, Error> {
        let entry = args.entry().map_err(Error::Usage)?;
        check(args, entry)?;
        let reach = if args.flag("all") { Reach::All } else { Reach::Named };
        let show = Show { json: args.value("format") == Some("json"), long: args.flag("long") };
        let initramfs = match args.value("initramfs") {
            Some("later") => Initramfs::Later,
            Some("never") => Initramfs::Never,
            _ => Initramfs::Auto,
        };
        Ok(match entry.id {
            Id::Add => Self::Add,
            Id::Build => Self::Build,
            Id::Install => Self::Install,
            Id::Uninstall => Self::TakeAway(Depth::Uninstall, reach),
            Id::Unbuild => Self::TakeAway(Depth::Unbuild, reach),
            Id::Remove => Self::TakeAway(Depth::Remove, reach),
            Id::Autoinstall => Self::Autoinstall(initramfs, show),
            Id::KernelPostinst => Self::KernelPostinst(initramfs, show),
            Id::KernelPreinst => Self::KernelPreinst,
            Id::KernelPrerm => Self::KernelPrerm,
            Id::Reconcile => {
                if args.flag("all-kernels") && !args.kernels.is_empty() {
                    return Err(Error::Conflict("--all-kernels", "-k", 2));
                }
                let event = args.value("event").map(str::to_owned);
                Self::Reconcile(Reconciling { event, initramfs, strict: args.flag("strict"), show })
            }
            Id::Match => {
                let template = args.value("templatekernel").filter(|release| !release.is_empty());
                Self::Match(template.map(Release::new).transpose()?)
            }
            Id::Mktarball => Self::Mktarball(
                reach,
                match (args.flag("source-only"), args.flag("binaries-only")) {
                    (true, _) => Content::Source,
                    (_, true) => Content::Binaries,
                    _ => Content::Everything,
                },
            ),
            Id::Ldtarball => Self::Ldtarball,
            Id::Mkpkg => Self::Mkpkg,
            Id::Status => Self::Status(show),
            Id::GenerateMok => Self::GenerateMok,
            Id::Mok => Self::Mok(
                match args.module.as_deref() {
                    None | Some("status") => Mok::Status,
                    Some("enroll") => Mok::Enroll,
                    Some(other) => Mok::Other(other.to_owned()),
                },
                show.json,
            ),
            Id::Sign => Self::Sign(reach),
            Id::Lint => Self::Lint(
                match args.value("format") {
                    Some("json") => Listing::Json,
                    Some("sarif") => Listing::Sarif,
                    _ => Listing::Text,
                },
                args.flag("strict"),
            ),
            Id::Init => Self::Init,
        })
    }
}

/// What can be said of the words without looking at anything.
fn check(args: &Args, entry: &'static Entry) -> Result<(), Error> {
    let all = args.flag("all");
    if args.flag("binaries-only") && args.flag("source-only") {
        return Err(Error::Conflict("--binaries-only", "--source-only", 8));
    }
    if args.arches.len() > 1 && args.arches.len() != args.kernels.len() {
        return Err(Error::ArchCount { arches: args.arches.len(), kernels: args.kernels.len() });
    }
    if all && !args.kernels.is_empty() {
        return Err(Error::Conflict("--all", "-k", 2));
    }
    if all && !args.arches.is_empty() {
        return Err(Error::Conflict("--all", "-a", 3));
    }
    if all && !entry.rules.all {
        return Err(Error::NoAll(entry.name));
    }
    if entry.rules.one_kernel && args.kernels.len() != 1 {
        return Err(Error::OneKernel(entry.name));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::table::{OPTIONS, VERBS};

    fn verb(words: &[&str]) -> Verb {
        Verb::of(&Args::parse(words.iter().map(std::ffi::OsString::from)).unwrap()).unwrap()
    }

    /// Every option that a verb lists and that is no affair of all verbs changes what is asked for, and no other does.
    #[test]
    fn a_verb_has_the_options_that_the_table_lists() {
        let typed: &[(&str, &[&str])] = &[
            ("all", &["--all"]),
            ("event", &["--event", "boot"]),
            ("initramfs", &["--initramfs", "never"]),
            ("strict", &["--strict"]),
            ("templatekernel", &["--templatekernel", "6.9"]),
            ("source-only", &["--source-only"]),
            ("binaries-only", &["--binaries-only"]),
            ("format", &["--format", "json"]),
            ("long", &["--long"]),
        ];
        for entry in VERBS.iter().filter(|entry| entry.id != Id::Mkpkg) {
            for (option, words) in typed {
                assert!(OPTIONS.iter().any(|opt| opt.long == *option));
                if *option == "all" && !entry.rules.all {
                    continue;
                }
                let kernel: &[&str] = if entry.rules.one_kernel { &["-k", "6.1"] } else { &[] };
                let plain = verb(&[&[entry.name], kernel].concat());
                let changed = verb(&[&[entry.name], kernel, words].concat()) != plain;
                assert_eq!(changed, entry.options.contains(option), "{}: {option}", entry.name);
            }
        }
    }
}
