//! What was asked for: a verb, with the options that mean something to it.

use super::args::Args;
use super::table::{Entry, Id};
use crate::error::{Error, RequestError, UsageError};
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
    Share,
    /// A list, or the table of `--matrix`.
    Status(Show, bool),
    /// `--repair`, and `--format json`.
    Fsck {
        /// Mend what can be mended.
        repair: bool,
        /// Print JSON.
        json: bool,
    },
    GenerateMok,
    /// With `--format json` or not.
    Mok(Mok, bool),
    Sign(Reach),
    /// With `--format json` or not.
    Doctor(bool),
    /// With `--format json` or not.
    Why(bool),
    /// With `--format json` or not.
    Logs(Reach, bool),
    /// With `--format json` or not.
    Hold(bool),
    Unhold,
    /// `--yes`, and `--format json`.
    Prune {
        /// Do it.
        yes: bool,
        /// Print the plan as JSON.
        json: bool,
    },
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
                    return Err(Error::Request(RequestError::AllAndKernel("--all-kernels")));
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
            Id::Share => Self::Share,
            Id::Status => Self::Status(show, args.flag("matrix")),
            Id::Fsck => Self::Fsck { repair: args.flag("repair"), json: show.json },
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
            Id::Doctor => Self::Doctor(show.json),
            Id::Why => Self::Why(show.json),
            Id::Hold => Self::Hold(show.json),
            Id::Unhold => Self::Unhold,
            Id::Prune => Self::Prune { yes: args.flag("yes"), json: show.json },
            Id::Logs => Self::Logs(reach, show.json),
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

impl Args {
    /// Whether everything said is to be JSON. To those that write packages, `--format` means something else: for them there is `--json`.
    pub fn wants_json(&self) -> bool {
        self.flag("json") || (self.value("format") == Some("json") && self.verb.is_none_or(|verb| verb.id != Id::Mkpkg))
    }

    /// Whether its verb then prints one document: what it has found, or with `--dry-run` a plan. The others print a line for each
    /// thing said.
    pub fn prints_document(&self) -> bool {
        let Some(entry) = self.verb else { return false };
        match entry.id {
            Id::Status | Id::Doctor | Id::Why | Id::Logs | Id::Lint | Id::Fsck => true,
            Id::Mok => self.module.as_deref() != Some("enroll"),
            Id::Hold => self.module.is_none(),
            Id::Prune => !self.flag("yes") || self.flag("dry-run"),
            Id::Mktarball | Id::Mkpkg | Id::Share | Id::GenerateMok | Id::Unhold | Id::Init | Id::Ldtarball => false,
            Id::Add
            | Id::Build
            | Id::Install
            | Id::Uninstall
            | Id::Unbuild
            | Id::Remove
            | Id::Autoinstall
            | Id::Reconcile
            | Id::Match
            | Id::KernelPreinst
            | Id::KernelPostinst
            | Id::KernelPrerm
            | Id::Sign => self.flag("dry-run"),
        }
    }
}

/// What can be said of the words without looking at anything.
fn check(args: &Args, entry: &'static Entry) -> Result<(), Error> {
    let all = args.flag("all");
    let wrong = |text: String| Err(Error::Usage(UsageError::BadValue(text)));
    if let Some(option) = args.options().find(|option| !entry.takes(option) && *option != "all") {
        return wrong(format!("{0} does not take --{option}.\ndkms {0} --help lists what it takes.", entry.name));
    }
    let format = args.value("format");
    if args.flag("matrix") && (format == Some("json") || args.flag("long")) {
        return wrong("--matrix is a table for people: it goes with neither --format json nor --long.".to_owned());
    }
    if let (Some(own), Some(other)) = (entry.name.strip_prefix("mk").filter(|own| ["deb", "rpm"].contains(own)), format)
    {
        if own != other {
            return wrong(format!("{} makes no {other} package: dkms mkpkg --format {other}", entry.name));
        }
    }
    if !entry.rules.classic {
        if !entry.names_package() && args.has_operand() {
            return wrong(format!(
                "{} takes no package: it looks at all of them.\nFor one package: dkms install NAME/VERSION",
                entry.name
            ));
        }
        if let Some(word) = args.unknown.first() {
            return wrong(format!("Unexpected argument: {word}.\ndkms {} --help lists what it takes.", entry.name));
        }
    }
    if args.flag("binaries-only") && args.flag("source-only") {
        return Err(Error::Request(RequestError::BinariesAndSource));
    }
    if args.arches.len() > 1 && args.arches.len() != args.kernels.len() {
        return Err(Error::Request(RequestError::ArchCount { arches: args.arches.len(), kernels: args.kernels.len() }));
    }
    if all && !args.kernels.is_empty() {
        return Err(Error::Request(RequestError::AllAndKernel("--all")));
    }
    if all && !args.arches.is_empty() {
        return Err(Error::Request(RequestError::AllAndArch));
    }
    if all && !entry.rules.all {
        return Err(Error::Request(RequestError::NoAll(entry.name)));
    }
    if entry.rules.one_kernel && args.kernels.len() != 1 {
        return Err(Error::Request(RequestError::OneKernel(entry.name)));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::options::OPTIONS;
    use crate::cli::table::{self, VERBS};

    fn verb(words: &[&str]) -> Verb {
        Verb::of(&Args::parse(words.iter().map(std::ffi::OsString::from)).unwrap()).unwrap()
    }

    /// A plan alone is printed as JSON.
    fn dry(entry: &Entry, option: &str) -> Option<&'static str> {
        (option == "format" && entry.takes("dry-run") && entry.takes("format")).then_some("--dry-run")
    }

    /// `--format` is obeyed or refused.
    #[test]
    fn no_format_is_passed_over() {
        let args = |words: &[&str]| Args::parse(words.iter().map(std::ffi::OsString::from)).unwrap();
        assert_eq!(Verb::of(&args(&["mkdeb", "--format", "rpm"])).map_err(|error| error.code()), Err(2));
        for entry in VERBS.iter().filter(|entry| entry.id != Id::Mkpkg) {
            assert!(args(&[entry.name, "--format", "json"]).wants_json(), "{}", entry.name);
        }
        assert!(VERBS.iter().all(|entry| args(&[entry.name, "--json"]).wants_json()));
        assert!(!args(&["mkpkg", "--format", "deb"]).wants_json());
        for (words, document) in [
            (&["reconcile"][..], false),
            (&["reconcile", "--dry-run"], true),
            (&["mok"], true),
            (&["mok", "enroll"], false),
            (&["prune"], true),
            (&["prune", "--yes"], false),
            (&["hold"], true),
            (&["hold", "a"], false),
        ] {
            assert_eq!(args(words).prints_document(), document, "{words:?}");
        }
    }

    /// Every verb with every option: one that it lists, or that the classic took, is taken; all else is refused with 2, and
    /// nothing is passed over.
    #[test]
    fn what_a_verb_does_not_list_is_refused() {
        for entry in VERBS {
            for opt in OPTIONS.iter().filter(|opt| opt.long != "all" && opt.long != "kernelver") {
                let value = match (entry.name, opt.long) {
                    ("mkrpm", "format") => "rpm",
                    ("mkpkg" | "mkdeb", "format") => "deb",
                    (_, "jobs") => "1",
                    (verb, long) => table::values(verb, long).and_then(|words| words.last()).unwrap_or(&"x"),
                };
                let option = format!("--{}", opt.long);
                let mut words = vec![entry.name, option.as_str()];
                words.extend(opt.value.map(|_| value));
                words.extend(dry(entry, opt.long));
                if entry.rules.one_kernel || opt.long == "arch" {
                    words.extend(["-k", "6.1"]);
                }
                let result = Verb::of(&Args::parse(words.iter().map(std::ffi::OsString::from)).unwrap());
                let listed = entry.options.contains(&opt.long);
                let general = [
                    "dkmstree",
                    "sourcetree",
                    "installtree",
                    "root",
                    "json",
                    "quiet",
                    "verbose",
                    "debug",
                    "help",
                    "version",
                ];
                let names_a_package = ["module", "package-version"].contains(&opt.long) && !entry.operands.is_empty();
                let classic = entry.rules.classic
                    && ![
                        "format",
                        "initramfs",
                        "event",
                        "all-kernels",
                        "binaries",
                        "dry-run",
                        "strict",
                        "long",
                        "matrix",
                        "yes",
                    ]
                    .iter()
                    .chain(&["package-release", "maintainer", "licence", "summary", "kernel-package"])
                    .any(|new| *new == opt.long);
                let taken = listed || general.contains(&opt.long) || names_a_package || classic;
                match result {
                    Ok(_) => assert!(taken, "{words:?} is passed over"),
                    Err(error) => assert!(!taken && error.code() == 2, "{words:?}: {error}"),
                }
            }
        }
    }

    #[test]
    fn a_new_verb_takes_no_word_that_it_does_not_know() {
        let code = |words: &[&str]| {
            Verb::of(&Args::parse(words.iter().map(std::ffi::OsString::from)).unwrap()).map_or_else(|e| e.code(), |_| 0)
        };
        for (words, expected) in [
            (&["reconcile", "hello"][..], 2),
            (&["reconcile", "hello/1.0"], 2),
            (&["reconcile", "-m", "hello"], 2),
            (&["sign", "hello/1.0", "more"], 2),
            (&["mok", "status", "more"], 2),
            (&["mok", "status"], 0),
            // The classic passed over those.
            (&["autoinstall", "hello"], 0),
            (&["status", "hello", "more"], 0),
        ] {
            assert_eq!(code(words), expected, "{words:?}");
        }
    }

    /// Every option that a verb lists and that is no affair of all verbs changes what is asked for, and no other does.
    #[test]
    fn a_verb_has_the_options_that_the_table_lists() {
        let typed: &[(&str, &[&str])] = &[
            ("all", &["--all"]),
            ("event", &["--event", "boot"]),
            ("initramfs", &["--initramfs", "never"]),
            ("strict", &["--strict"]),
            ("repair", &["--repair"]),
            ("templatekernel", &["--templatekernel", "6.9"]),
            ("source-only", &["--source-only"]),
            ("binaries-only", &["--binaries-only"]),
            ("format", &["--format", "json"]),
            ("long", &["--long"]),
            ("matrix", &["--matrix"]),
            ("yes", &["--yes"]),
            ("yes", &["--yes"]),
        ];
        for entry in VERBS.iter().filter(|entry| entry.id != Id::Mkpkg) {
            for (option, words) in typed {
                assert!(OPTIONS.iter().any(|opt| opt.long == *option));
                if (*option == "all" && !entry.rules.all) || !entry.takes(option) {
                    continue;
                }
                let kernel: &[&str] = if entry.rules.one_kernel { &["-k", "6.1"] } else { &[] };
                let plain = verb(&[&[entry.name], kernel].concat());
                let dry: Vec<&str> = dry(entry, option).into_iter().collect();
                let changed = verb(&[&[entry.name], kernel, words, dry.as_slice()].concat()) != plain;
                // To most verbs the format is their reporter's affair.
                let by_reporter = *option == "format" && !changed;
                assert!(by_reporter || changed == entry.options.contains(option), "{}: {option}", entry.name);
            }
        }
    }
}
