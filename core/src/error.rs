//! What can go wrong in a command, and the one table from errors to exit codes (docs/contract.md 2.15).

use std::path::PathBuf;

use crate::conf::misspelt::Misspelt;
use crate::durable::FileError;
use crate::names::{Kernel, NameError, Package};
use crate::process::stop::Stop;
use crate::{archive, conf, host, journal, kernel, lock, process};

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

/// A diagnostic of the compiler, the linker, modpost or make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// The line as the tool wrote it, with the build directory's path cut off.
    pub text: String,
    /// Whether it speaks of the source (a compiler or modpost error): trying again with the same inputs
    /// gives the same. Killed builds, full disks and missing tools do not count.
    pub about_source: bool,
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
    /// The file that is to be added or loaded can't be.
    #[error("{}", .0)]
    BadSource(String),
    /// A dkms.conf that is not fit.
    #[error("Bad conf file.\nFile: {} does not represent a valid dkms.conf file.\n{why}", file.display())]
    BadConf {
        /// The file.
        file: PathBuf,
        /// What is wrong with it, a line each.
        why: String,
    },
    /// A dkms.conf that can't be read.
    #[error("Could not locate dkms.conf file.\nFile: {} does not exist or cannot be read.", .0.display())]
    ConfMissing(PathBuf),
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
    /// The kernel's headers are not there.
    #[error("Your kernel headers for kernel {} cannot be found at {looked_for}.\n{advice}", kernel.release)]
    NoHeaders {
        /// The kernel.
        kernel: Kernel,
        /// Where they were looked for.
        looked_for: String,
        /// What to install on this distribution.
        advice: String,
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
    /// A patch that would leave the patches directory.
    #[error("Patch {0} as specified in dkms.conf contains '..' path component.")]
    PatchPath(String),
    /// A patch that is not there.
    #[error("Patch {patch} as specified in dkms.conf cannot be found in {}.", dir.display())]
    PatchMissing {
        /// Its name.
        patch: String,
        /// Where it should be.
        dir: PathBuf,
    },
    /// A patch that does not apply.
    #[error("Application of patch {patch} failed.\nConsult {} for more information.", log.display())]
    PatchFailed {
        /// Its name.
        patch: String,
        /// The log.
        log: PathBuf,
    },
    /// A script of the package failed.
    #[error("The {script} script of {package} failed with exit status {code}.{}{}", log.as_ref().map(|log| format!("\nConsult {} for more information.", log.display())).unwrap_or_default(), one_more(advice.as_ref()))]
    Script {
        /// Which script.
        script: &'static str,
        /// The package.
        package: Package,
        /// Its exit status.
        code: i32,
        /// The log, if its output went there.
        log: Option<PathBuf>,
        /// What may help, in a line.
        advice: Option<String>,
    },
    /// `PRE_INSTALL` refused.
    #[error("pre_install failed, aborting install.\nYou may override by specifying --force.")]
    PreInstall,
    /// make failed.
    #[error(
        "Bad return status for module build on kernel: {kernel}{}\nConsult {} for more information.{}", diagnostic.as_ref().map(|d| format!("\n{}", d.text)).unwrap_or_default(), log.display(), one_more(advice.as_ref())
    )]
    Make {
        /// The kernel.
        kernel: Kernel,
        /// The first thing that went wrong.
        diagnostic: Option<Diagnostic>,
        /// The log.
        log: PathBuf,
        /// What may help, in a line.
        advice: Option<String>,
    },
    /// A command of a build was ended for taking too long.
    #[error(
        "{command} of {package} for kernel {kernel} was ended after {}: it may never end by itself.\nConsult {} for more information. If it needs longer, set build_time_limit in /etc/dkms/framework.conf.", duration(*.limit), log.display()
    )]
    TooLong {
        /// What was done ("Building module(s)").
        command: String,
        /// The package.
        package: Package,
        /// The kernel.
        kernel: Kernel,
        /// How long it was let.
        limit: std::time::Duration,
        /// The log.
        log: PathBuf,
    },
    /// make succeeded without making a module.
    #[error(
        "Build of {module} failed for: {kernel}\nmake succeeded, but did not produce it. {}\nMake sure the name and location of the generated module are correct,\nor consult {} for more information.{}", instead(produced, slips), log.display(), one_more(advice.as_ref())
    )]
    NotProduced {
        /// The module, relative to the build directory.
        module: String,
        /// The modules that are there instead, relative to the build directory.
        produced: Vec<PathBuf>,
        /// Names in dkms.conf that are nearly a directive's.
        slips: Vec<Misspelt>,
        /// The kernel.
        kernel: Kernel,
        /// The log.
        log: PathBuf,
        /// What may help, in a line.
        advice: Option<String>,
    },
    /// What a build left in its artefact can't stay there.
    #[error("The build left something in its artefact that can't be kept; the previous build was restored.\n{0}")]
    BadArtefact(crate::sandbox::handover::HandoverError),
    /// What a build would have to be given, or to give back, can't be.
    #[error(transparent)]
    Handover(#[from] crate::sandbox::handover::HandoverError),
    /// What make produced is no module for this kernel.
    #[error("{module} is not a kernel module that can be installed: {why}")]
    NotAModule {
        /// The file.
        module: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// A module should be signed, can't be, and policy says that this is a failure.
    #[error(
        "The modules can't be signed, and policy does not allow unsigned ones: {0}\nMend the key material (see dkms-mok(8)), or set policy=warn in /etc/dkms/framework.conf"
    )]
    NotSigned(String),
    /// The kernel's module tree is not there.
    #[error("The directory {} doesn't exist.\nYou cannot install a module onto a non-existent kernel.", .0.display())]
    NoModulesDir(PathBuf),
    /// A file of the artefact has gone.
    #[error("Missing module {module} in {}\nBuild it again: dkms build {package} -k {} --force", dir.display(), kernel.release)]
    MissingModule {
        /// Its file name.
        module: String,
        /// Where it should be.
        dir: PathBuf,
        /// The package.
        package: Package,
        /// The kernel.
        kernel: Kernel,
    },
    /// A file of the artefact is not what was built.
    #[error("{} can't be installed: {why}.\nBuild it again: dkms build {package} -k {} --force", file.display(), kernel.release)]
    DamagedModule {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        why: String,
        /// The package.
        package: Package,
        /// The kernel.
        kernel: Kernel,
    },
    /// The modules could not be written; everything is as it was.
    #[error("The modules could not be installed; nothing was changed.\n{0}")]
    NotPut(journal::JournalError),
    /// Every module was refused.
    #[error("Installation aborted.\n{}", .0.join("\n"))]
    NothingInstalled(Vec<String>),
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
    /// depmod failed.
    #[error("Problems with depmod detected for kernel {release}: {why}\n{after}")]
    Depmod {
        /// The kernel.
        release: String,
        /// What it said.
        why: String,
        /// What was done about it.
        after: &'static str,
    },
    /// Another run of ours works on the same thing.
    #[error(transparent)]
    Lock(#[from] lock::LockError),
    /// A signal asked this run to end before this was done.
    #[error("Interrupted by {0}; what was done stays.\nTo go on, give the same command again, or: dkms reconcile")]
    Interrupted(Stop),
    /// A change could not be carried out; everything is as it was.
    #[error(transparent)]
    Journal(#[from] journal::JournalError),
    /// A program could not be run.
    #[error(transparent)]
    Process(#[from] process::ProcessError),
    /// dkms.conf or framework.conf could not be evaluated.
    #[error(transparent)]
    Conf(#[from] conf::ConfError),
    /// A fact about a kernel could not be had.
    #[error(transparent)]
    Kernel(#[from] kernel::Error),
    /// A fact about the system could not be had.
    #[error(transparent)]
    Host(#[from] host::Error),
    /// A file operation failed; the message names it.
    #[error("{0}")]
    Io(#[from] std::io::Error),
}

impl From<FileError> for Error {
    /// A file of ours could not be read or written: counts as a change that was not carried out.
    fn from(error: FileError) -> Self {
        Self::Journal(journal::JournalError::File(error))
    }
}

impl Error {
    /// The exit code of the classic for this, or ours where it had none.
    pub fn code(&self) -> u8 {
        match self {
            Self::Usage(UsageError::TwoVerbs(..))
            | Self::Broken { .. }
            | Self::OneKernel(_)
            | Self::ConfMissing(_)
            | Self::Host(_) => 4,
            Self::Usage(_) | Self::NoSource(_) => 2,
            Self::Name(_)
            | Self::NoPackage { .. }
            | Self::ArchCount { .. }
            | Self::NotRoot
            | Self::ReadOnlyTree { .. } => 1,
            Self::Conflict(_, _, code) | Self::Match(_, code) | Self::Archive(_, code) => *code,
            Self::NoPackager(_) => 127,
            Self::NoAll(_) | Self::PatchPath(_) | Self::PatchMissing { .. } => 5,
            Self::NoKernel { .. } | Self::EmptyKernel => 16,
            Self::NotAdded(_)
            | Self::NotThere(_)
            | Self::AlreadyAdded(_)
            | Self::BuildInTheWay { .. }
            | Self::ArchiveLayout(archive::layout::LayoutError::NoConf) => 3,
            Self::NoConf(_) | Self::BadSource(_) => 9,
            Self::BadConf { .. } | Self::EmptySource(_) | Self::Conf(_) => 8,
            Self::Excluded { .. } => 77,
            Self::NoHeaders { .. } => 21,
            Self::MissingDependencies { .. } => 13,
            Self::PatchFailed { .. }
            | Self::NoModulesDir(_)
            | Self::MissingModule { .. }
            | Self::DamagedModule { .. }
            | Self::NothingInstalled(_)
            | Self::NotPut(_)
            | Self::NotLoadable { .. }
            | Self::ArchiveWrite(_)
            | Self::Depmod { .. } => 6,
            Self::Script { code, .. } => u8::try_from(*code).unwrap_or(1),
            Self::PreInstall => 101,
            Self::Make { .. } | Self::TooLong { .. } | Self::NoTool { .. } => 10,
            Self::NotProduced { .. }
            | Self::NotAModule { .. }
            | Self::BadArtefact(_)
            | Self::ArchiveRead(_)
            | Self::ArchiveLayout(_) => 7,
            // Ours: the classic had neither locks nor a journal (see dkms(8), EXIT STATUS).
            Self::Lock(_) => 17,
            Self::Interrupted(stop) => stop.code(),
            Self::Journal(_) | Self::Io(_) | Self::Process(_) | Self::Handover(_) => 18,
            Self::NotSigned(_) => 19,
            Self::Kernel(_) => 12,
        }
    }

    /// Which step failed, for records: `conf`, `patch`, `build`, `sign`, `install`, ….
    pub fn step(&self) -> &'static str {
        match self {
            Self::BadConf { .. } | Self::Conf(_) | Self::ConfMissing(_) => "conf",
            Self::PatchPath(_) | Self::PatchMissing { .. } | Self::PatchFailed { .. } => "patch",
            Self::Script { script, .. } => script,
            Self::PreInstall => "pre_install",
            Self::Make { .. }
            | Self::TooLong { .. }
            | Self::NotProduced { .. }
            | Self::NotAModule { .. }
            | Self::BadArtefact(_)
            | Self::NoTool { .. }
            | Self::EmptySource(_) => "build",
            Self::NoModulesDir(_)
            | Self::MissingModule { .. }
            | Self::DamagedModule { .. }
            | Self::NothingInstalled(_)
            | Self::NotPut(_) => "install",
            Self::NotSigned(_) => "sign",
            Self::Depmod { .. } => "depmod",
            Self::NotLoadable { .. } => "load",
            Self::Lock(_) => "lock",
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

/// "3 h", "90 min" or "5 s".
fn duration(time: std::time::Duration) -> String {
    match time.as_secs() {
        seconds if seconds % 3600 == 0 => format!("{} h", seconds / 3600),
        seconds if seconds % 60 == 0 => format!("{} min", seconds / 60),
        seconds => format!("{seconds} s"),
    }
}

/// What does for every kernel what the verb does for one.
fn for_all_kernels(verb: &str) -> &'static str {
    if verb == "autoinstall" { "\nFor every installed kernel: dkms reconcile --all-kernels" } else { "" }
}

/// A line more, if there is one.
fn one_more(line: Option<&String>) -> String {
    line.map(|line| format!("\n{line}")).unwrap_or_default()
}

/// What make produced instead of a module that it should have.
fn instead(produced: &[PathBuf], slips: &[Misspelt]) -> String {
    /// More would hide the rest of the message.
    const SHOWN: usize = 5;
    if !slips.is_empty() {
        let slips: Vec<String> = slips.iter().map(ToString::to_string).collect();
        return format!("dkms.conf, {}", slips.join("\ndkms.conf, "));
    }
    if produced.is_empty() {
        return "It produced no module at all: does its Makefile set obj-m for this kernel?".to_owned();
    }
    let names: Vec<String> = produced.iter().take(SHOWN).map(|path| path.display().to_string()).collect();
    let more = if produced.len() > SHOWN { format!(" and {} more", produced.len() - SHOWN) } else { String::new() };
    format!(
        "It produced {}{more}: BUILT_MODULE_NAME and BUILT_MODULE_LOCATION in dkms.conf must say so.",
        names.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::path::Path;

    use super::{Error, instead, without_numbers};
    use crate::durable::at;
    use crate::journal::JournalError;

    /// The first line alone says that it failed, not why.
    #[test]
    fn the_cause_is_more_than_the_first_line() {
        let full = at("write", Path::new("/lib/modules/6.1/x.ko"))(io::Error::from_raw_os_error(28));
        let error = Error::NotPut(JournalError::File(full));
        assert_eq!(
            error.cause(),
            "The modules could not be installed; nothing was changed. cannot write /lib/modules/6.1/x.ko: No space left \
             on device; free some space on the file system and try again"
        );
        let error = Error::PatchFailed { patch: "a.patch".into(), log: "/make.log".into() };
        assert_eq!(error.cause(), "Application of patch a.patch failed.");
        assert_eq!(without_numbers("a (os error 2), b (os error x) (os error 13)"), "a, b (os error x)");
    }

    #[test]
    fn what_make_produced_instead_is_named() {
        let names = |count: u32| (0..count).map(|n| format!("sub/m{n}.ko").into()).collect::<Vec<std::path::PathBuf>>();
        assert!(instead(&[], &[]).contains("no module at all"));
        assert!(instead(&names(2), &[]).starts_with("It produced sub/m0.ko, sub/m1.ko: "));
        assert!(instead(&names(9), &[]).contains("sub/m4.ko and 4 more: "));
        let slips = crate::conf::misspelt::misspelt("BUILD_MODULE_NAME=x");
        assert!(instead(&names(1), &slips).starts_with("dkms.conf, line 1: BUILD_MODULE_NAME is not a directive"));
    }

    use std::collections::BTreeSet;

    /// Every exit code in the table above, and of the verbs that have their own, is in dkms(8).
    #[test]
    fn the_manual_has_every_exit_code() {
        let (_, table) = include_str!("error.rs").split_once("pub fn code").unwrap();
        let (table, _) = table.split_once("pub fn step").unwrap();
        let mut codes: BTreeSet<u8> = table
            .split("=> ")
            .skip(1)
            .filter_map(|rest| rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok())
            .collect();
        assert!(codes.len() > 15, "the table was not found: {codes:?}");
        codes.extend([0, crate::policy::FAILED, 14, 129, 130, 143]);
        let page = include_str!("../../packaging/man/dkms.8");
        let (_, section) = page.split_once(".SH \"EXIT STATUS\"").unwrap();
        let (section, _) = section.split_once("\n.SH ").unwrap();
        let described: BTreeSet<u8> =
            section.lines().filter_map(|line| line.strip_prefix(".B ")?.parse().ok()).collect();
        assert_eq!(described, codes);
    }
}
