//! What can go wrong in a command: the sum of the errors of the rooms below, and what the rooms above add to it.

mod code;

use std::path::PathBuf;

use crate::lint::draft::DraftError;
use crate::names::{Kernel, NameError, Package};
use crate::sign::NotSigned;
use crate::system_error::SystemError;
use crate::{archive, compile, facts, finish, install};

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

/// Why a command, or a part of one, did not do what it was asked for.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The command line is wrong.
    #[error(transparent)]
    Usage(#[from] UsageError),
    /// A name can't be used.
    #[error(transparent)]
    Name(#[from] NameError),
    /// A fact about a kernel or a dkms.conf is not known.
    #[error(transparent)]
    Facts(facts::Error),
    /// A source was not built.
    #[error(transparent)]
    Compile(compile::Error),
    /// Modules did not become an artefact.
    #[error(transparent)]
    Finish(finish::Error),
    /// An artefact was not installed, or not taken out.
    #[error(transparent)]
    Install(install::Error),
    /// A module is not signed, and must be.
    #[error(transparent)]
    NotSigned(#[from] NotSigned),
    /// What any room may meet.
    #[error(transparent)]
    System(SystemError),
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
    /// Options that exclude each other.
    #[error("{0} and {1} exclude each other.")]
    Conflict(&'static str, &'static str, u8),
    /// `--all` where it has no meaning.
    #[error("The action {} does not support the --all parameter.{}", .0, for_all_kernels(.0))]
    NoAll(&'static str),
    /// A verb for exactly one kernel.
    #[error("The action {0} requires exactly one kernel version parameter on the command line.")]
    OneKernel(&'static str),
    /// Which kernel is meant can't be told.
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
    /// `match` can't be done as asked.
    #[error("{0}")]
    Match(String, u8),
    /// An archive can't be loaded or written as asked.
    #[error("{0}")]
    Archive(String, u8),
    /// An archive can't be read, or is not one that is accepted.
    #[error(transparent)]
    ArchiveRead(#[from] archive::reader::ReadError),
    /// What an archive holds is not what a DKMS archive holds.
    #[error("{0}\nNothing was loaded.")]
    ArchiveLayout(#[from] archive::layout::LayoutError),
    /// An archive can't be written.
    #[error("Failed to make tarball.\n{0}")]
    ArchiveWrite(#[from] archive::writer::WriteError),
    /// The program that writes packages is not there.
    #[error("{} is needed to write packages, but it is not installed.\nInstall the package dkms-mkpkg. If your distribution has none, build it from the source of dkms (Rust 1.88), or make a tarball (dkms mktarball).", .0.display())]
    NoPackager(PathBuf),
    /// The package's registration is damaged.
    #[error(
        "{package} is broken!\nMissing the source directory or the symbolic link pointing to it.\nPut the source back at {}, or run: dkms remove {package} --all", source_dir.display()
    )]
    Broken {
        /// The package.
        package: Package,
        /// Where its source is expected.
        source_dir: PathBuf,
    },
    /// The package is not registered.
    #[error("The module/version combo: {0} is not located in the DKMS tree.\nRegister it first: dkms add {0}")]
    NotAdded(Package),
    /// There is nothing of the package to take away.
    #[error(
        "The module/version combo: {0} is not located in the DKMS tree.\nThere is nothing of it to remove; dkms status lists what there is."
    )]
    NotThere(Package),
    /// The package is registered already.
    #[error("DKMS tree already contains: {0}\nYou cannot add the same module/version combo more than once.")]
    AlreadyAdded(Package),
    /// No source to register.
    #[error("Could not find module source directory.\nDirectory: {} does not exist.", .0.display())]
    NoSource(PathBuf),
    /// A directory that is to be added has no dkms.conf.
    #[error("{} must contain a dkms.conf file!", .0.display())]
    NoConf(PathBuf),
    /// dkms.conf says that this kernel is not for it.
    #[error(
        "The {} for module {package} includes BUILD_EXCLUSIVE directives which do not match this kernel/arch/config for any modules.\nThis indicates that it should not be built: {why}", file.display()
    )]
    Excluded {
        /// The package.
        package: Package,
        /// The dkms.conf.
        file: PathBuf,
        /// Which rule excludes it.
        why: String,
    },
    /// A dkms.conf is to be written where there is one.
    #[error("{} exists already; with --force it is replaced.", .0.display())]
    ConfExists(PathBuf),
    /// A dkms.conf can't be drafted.
    #[error("{}: {why}.", dir.display())]
    NoDraft {
        /// The source.
        dir: PathBuf,
        /// What is lacking.
        why: DraftError,
    },
    /// Nothing to build in the source directory.
    #[error("The directory {} does not appear to have module source located within it.\nBuild halted.", .0.display())]
    EmptySource(PathBuf),
    /// A directory is in the way.
    #[error(
        "This module/version has already been built on: {}\nDirectory {} already exists but holds no modules. Run: dkms unbuild {package} -k {}", kernel.release, dir.display(), kernel.release
    )]
    BuildInTheWay {
        /// The package.
        package: Package,
        /// The kernel.
        kernel: Kernel,
        /// The directory.
        dir: PathBuf,
    },
    /// The compiler or make is not there.
    #[error("{program} is needed to build modules for kernel {}, but it is not installed.\n{advice}", kernel.release)]
    NoTool {
        /// The program.
        program: String,
        /// The kernel.
        kernel: Kernel,
        /// What to install.
        advice: String,
    },
    /// Packages that this one needs are not installed for the kernel.
    #[error("Aborting build of module {package} for kernel {kernel} due to missing BUILD_DEPENDS: {}.\nInstall them first, or override by specifying --force.", missing.join(" "))]
    MissingDependencies {
        /// The package.
        package: Package,
        /// The kernel.
        kernel: Kernel,
        /// The names that are missing.
        missing: Vec<String>,
    },
    /// What was installed would not be loaded.
    #[error("The modules of {package} are installed for kernel {kernel}, but would not be loaded:\n{}", .lines.join("\n"))]
    NotLoadable {
        /// The package.
        package: Package,
        /// The kernel.
        kernel: Kernel,
        /// Why, a module a line.
        lines: Vec<String>,
    },
}

impl<E> From<E> for Error
where
    SystemError: From<E>,
{
    fn from(error: E) -> Self {
        Self::System(error.into())
    }
}

// What a room only hands on stays the error of the room that it comes from: there is one way to match it.

impl From<facts::Error> for Error {
    fn from(error: facts::Error) -> Self {
        match error {
            facts::Error::System(error) => error.into(),
            error => Self::Facts(error),
        }
    }
}

impl From<compile::Error> for Error {
    fn from(error: compile::Error) -> Self {
        match error {
            compile::Error::Finish(error) => error.into(),
            compile::Error::Facts(error) => error.into(),
            compile::Error::System(error) => error.into(),
            error => Self::Compile(error),
        }
    }
}

impl From<finish::Error> for Error {
    fn from(error: finish::Error) -> Self {
        match error {
            finish::Error::NotSigned(error) => error.into(),
            finish::Error::System(error) => error.into(),
            error => Self::Finish(error),
        }
    }
}

impl From<install::Error> for Error {
    fn from(error: install::Error) -> Self {
        match error {
            install::Error::NotSigned(error) => error.into(),
            install::Error::Facts(error) => error.into(),
            install::Error::System(error) => error.into(),
            error => Self::Install(error),
        }
    }
}

impl Error {
    /// Which step failed, for records: `conf`, `patch`, `build`, `sign`, `install`, ….
    pub fn step(&self) -> &'static str {
        match self {
            Self::Facts(facts::Error::BadConf { .. } | facts::Error::ConfMissing(_))
            | Self::System(SystemError::Conf(_)) => "conf",
            Self::Compile(error) => match error {
                compile::Error::PatchPath(_)
                | compile::Error::PatchMissing { .. }
                | compile::Error::PatchFailed { .. } => "patch",
                compile::Error::Script { script, .. } => script,
                _ => "build",
            },
            Self::Finish(_) | Self::NoTool { .. } | Self::EmptySource(_) => "build",
            Self::Install(install::Error::PreInstall) => "pre_install",
            Self::Install(install::Error::Depmod { .. }) => "depmod",
            Self::Install(_) => "install",
            Self::NotSigned(_) => "sign",
            Self::NotLoadable { .. } => "load",
            Self::System(SystemError::Lock(_)) => "lock",
            _ => "prepare",
        }
    }

    /// The lines to print: the first follows `Error! `.
    pub fn lines(&self) -> Vec<String> {
        without_numbers(&self.to_string()).lines().map(str::to_owned).collect()
    }

    /// What went wrong, in one line: without where to read more, and what may be overridden.
    pub fn cause(&self) -> String {
        let more =
            |line: &&String| !["Consult ", "or consult ", "You may override"].iter().any(|more| line.starts_with(more));
        self.lines().iter().filter(more).map(String::as_str).collect::<Vec<_>>().join(" ")
    }
}

/// The text without the numbers that the standard library adds to the system's own words: `(os error 28)`.
fn without_numbers(text: &str) -> String {
    let mut parts = text.split(" (os error ");
    let mut kept = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        match part.split_once(')') {
            Some((number, rest)) if number.bytes().all(|byte| byte.is_ascii_digit()) => kept += rest,
            _ => kept.extend([" (os error ", part]),
        }
    }
    kept
}

/// What does for every kernel what the verb does for one.
fn for_all_kernels(verb: &str) -> &'static str {
    if verb == "autoinstall" { "\nFor every installed kernel: dkms reconcile --all-kernels" } else { "" }
}

/// A line more, if there is one.
fn one_more(line: Option<&String>) -> String {
    line.map(|line| format!("\n{line}")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::path::Path;

    use super::{Error, without_numbers};
    use crate::durable::at;
    use crate::journal::JournalError;
    use crate::{compile, install};

    /// The first line alone says that it failed, not why.
    #[test]
    fn the_cause_is_more_than_the_first_line() {
        let full = at("write", Path::new("/lib/modules/6.1/x.ko"))(io::Error::from_raw_os_error(28));
        let error = Error::Install(install::Error::NotPut(JournalError::File(full)));
        assert_eq!(
            error.cause(),
            "The modules could not be installed; nothing was changed. cannot write /lib/modules/6.1/x.ko: No space left \
             on device; free some space on the file system and try again"
        );
        let error = Error::Compile(compile::Error::PatchFailed { patch: "a.patch".into(), log: "/make.log".into() });
        assert_eq!(error.cause(), "Application of patch a.patch failed.");
        assert_eq!(without_numbers("a (os error 2), b (os error x) (os error 13)"), "a, b (os error x)");
    }

    /// What a room hands on is matched as the error of the room that it comes from.
    #[test]
    fn what_is_handed_on_stays_the_error_of_its_room() {
        let missing = || crate::facts::Error::ConfMissing("/x".into());
        assert!(matches!(compile::Error::from(missing()).into(), Error::Facts(_)));
        assert!(matches!(install::Error::from(missing()).into(), Error::Facts(_)));
        let refused = || crate::finish::Error::from(crate::sign::NotSigned(String::new()));
        assert!(matches!(compile::Error::from(refused()).into(), Error::NotSigned(_)));
        let io = crate::facts::Error::from(io::Error::other("x"));
        assert!(matches!(compile::Error::from(io).into(), Error::System(_)));
    }
}
