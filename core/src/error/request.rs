//! What is wrong with what was asked for: words, combinations of them, rights.

use std::path::PathBuf;

use crate::names::Name;

/// What is wrong with the words themselves.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UsageError {
    /// An option that does not exist.
    #[error("Unknown option: {0}")]
    UnknownOption(String),
    /// An option without its value.
    #[error("The option {0} needs a value.")]
    NoValue(String),
    /// Two verbs.
    #[error("Cannot specify more than one action: {0} and {1}.")]
    TwoVerbs(&'static str, &'static str),
    /// No verb; the word that stands in its place, and the verb that it may have been meant to be.
    #[error("{}\ndkms --help lists all commands.", no_verb(.0.as_ref(), *.1))]
    NoVerb(Option<String>, Option<&'static str>),
    /// A word that is no UTF-8, or a value that is none of those allowed.
    #[error("{0}")]
    BadValue(String),
}

fn no_verb(word: Option<&String>, meant: Option<&str>) -> String {
    let meant = meant.map(|meant| format!(" Did you mean {meant}?")).unwrap_or_default();
    word.map_or_else(|| "No command was given.".to_owned(), |word| format!("Unknown command: {word}.{meant}"))
}

/// Why what was asked for can't be done at all, whatever the packages.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// No module and version were named.
    #[error(
        "{hint}Arguments <module> and <module-version> are not specified.\nUsage: {verb} <module>/<module-version> or\n       {verb} -m <module>/<module-version> or\n       {verb} -m <module> -v <module-version>"
    )]
    NoPackage {
        /// The verb that needs them.
        verb: &'static str,
        /// What is wrong with what was given instead; empty, or a line.
        hint: String,
    },
    /// Architectures and kernels don't pair.
    #[error(
        "{arches} architectures were given for {kernels} kernels.\nGive one architecture for all kernels, or one for each of them, in the same order."
    )]
    ArchCount {
        /// How many architectures.
        arches: usize,
        /// How many kernels.
        kernels: usize,
    },
    /// All kernels (by this option) and one by name.
    #[error("{0} and -k exclude each other.")]
    AllAndKernel(&'static str),
    /// All kernels, and an architecture.
    #[error("--all and -a exclude each other.")]
    AllAndArch,
    /// An archive without binaries and without the source.
    #[error("--binaries-only and --source-only exclude each other.")]
    BinariesAndSource,
    /// `--all` where it has no meaning.
    #[error("The action {} does not support the --all parameter.{}", .0, for_all_kernels(.0))]
    NoAll(&'static str),
    /// A verb for exactly one kernel.
    #[error("The action {0} requires exactly one kernel version parameter on the command line.")]
    OneKernel(&'static str),
    /// Which kernel is meant is not known.
    #[error("No kernel was named, and the one that is running is not known in {root}.\nName one with -k.")]
    NoKernel {
        /// The root being worked on.
        root: PathBuf,
    },
    /// A kernel or architecture that is an empty word.
    #[error("The kernel release or the architecture given is empty.\nName one: -k RELEASE or -k RELEASE/ARCH.")]
    EmptyKernel,
    /// The user may not do this.
    #[error("You must be root to use this command.\nRun it again with sudo, or as root.")]
    NotRoot,
    /// The tree can't be written to.
    #[error("No write access to DKMS tree at {}{}", tree.display(), one_more(advice.as_ref()))]
    ReadOnlyTree {
        /// The DKMS tree.
        tree: PathBuf,
        /// What may help, in a line.
        advice: Option<String>,
    },
    /// `match` needs a kernel to go by.
    #[error(
        "Invalid number of parameters passed.\nUsage: match --templatekernel=<kernel> -k <kernel>\n   or: match --templatekernel=<kernel> -k <kernel> <module>"
    )]
    NoTemplate,
    /// The kernel to go by is the one that is meant.
    #[error("The templatekernel and the specified kernel version are the same.")]
    OwnTemplate,
    /// No version of the package is in the tree.
    #[error("The module: {0} is not located in the DKMS tree.")]
    NotInTree(Name),
    /// One version of a package can't be held.
    #[error("{verb} is about all versions of a package: dkms {verb} {name}")]
    HoldVersion {
        /// `hold` or `unhold`.
        verb: &'static str,
        /// The package's name.
        name: String,
    },
    /// A hold for all kernels does not end for one.
    #[error(
        "{0} is held for all kernels.\nEnd that with: dkms unhold {0}. Then hold it for the others: dkms hold {0} -k RELEASE"
    )]
    HeldForAll(Name),
    /// No build has left a log.
    #[error(
        "No log of such a build is kept.\nLogs are kept of the builds that are there, and of the latest ones that failed: dkms logs --all"
    )]
    NoLog,
    /// The program that writes packages is not there.
    #[error("{} is needed to write packages, but it is not installed.\nInstall the package dkms-mkpkg. If your distribution has none, build it from the source of dkms (Rust 1.88), or make a tarball (dkms mktarball).", .0.display())]
    NoPackager(PathBuf),
    /// The program that shares builds is not there.
    #[error("{} is needed to share builds, but it is not installed.\nInstall the package dkms-share. If your distribution has none, build it from the source of dkms (Rust 1.88).", .0.display())]
    NoShareProgram(PathBuf),
}

/// What does for every kernel what the verb does for one.
fn for_all_kernels(verb: &str) -> &'static str {
    if verb == "autoinstall" { "\nFor every installed kernel: dkms reconcile --all-kernels" } else { "" }
}

/// A line more, if there is one.
fn one_more(line: Option<&String>) -> String {
    line.map(|line| format!("\n{line}")).unwrap_or_default()
}
