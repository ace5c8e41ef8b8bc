//! The one table of verbs and options: parsing, help, man pages and completions all read it.

use clap::builder::PossibleValuesParser;
use clap::{Arg, ArgAction, Command};

/// An option of the command line.
#[derive(Debug, Clone, Copy)]
pub struct Opt {
    /// Its long name, which is also its id.
    pub long: &'static str,
    /// Its short name.
    pub short: Option<char>,
    /// What its value is called in the help; `None`: it takes none.
    pub value: Option<&'static str>,
    /// One line of help.
    pub help: &'static str,
    /// Accepted, but without effect any more.
    pub deprecated: bool,
}

const fn flag(long: &'static str, help: &'static str) -> Opt {
    Opt { long, short: None, value: None, help, deprecated: false }
}

const fn value(long: &'static str, value: &'static str, help: &'static str) -> Opt {
    Opt { long, short: None, value: Some(value), help, deprecated: false }
}

impl Opt {
    const fn short(mut self, short: char) -> Self {
        self.short = Some(short);
        self
    }

    const fn deprecated(mut self) -> Self {
        self.deprecated = true;
        self
    }
}

/// What `--event` may say has happened.
pub const EVENTS: &[&str] = &[
    "boot",
    "kernel-coming",
    "kernel-installed",
    "kernel-going",
    "kernel-gone",
    "headers-installed",
    "headers-gone",
    "source-arrived",
    "source-going",
    "source-upgraded",
    "files-changed",
    "transaction-end",
    "look",
];

/// Every option. Those with a value stand in the order in which longer spellings are matched against
/// them (`--kernelversion` is `--kernelver`).
pub const OPTIONS: &[Opt] = &[
    value("module", "NAME[/VERSION]", "The package, as an option").short('m'),
    value("kernelver", "RELEASE[/ARCH]", "A kernel; may be repeated").short('k'),
    value("templatekernel", "RELEASE", "The kernel that has the packages to install"),
    value("dkmstree", "DIR", "The DKMS tree (default /var/lib/dkms)"),
    value("sourcetree", "DIR", "Where module sources are (default /usr/src)"),
    value("installtree", "DIR", "Where kernels keep their modules (default /lib/modules)"),
    value("config", "FILE", "The kernel's .config to use"),
    value("archive", "FILE", "The tarball to write or to load"),
    value("arch", "ARCH", "The architecture label; may be repeated, one for each kernel").short('a'),
    value("kernelsourcedir", "DIR", "The kernel headers to build with"),
    value("directive", "NAME=VALUE", "A dkms.conf directive to override; may be repeated"),
    value("root", "DIR", "Work on the system below this directory"),
    value("format", "FORMAT", "Output format: text or json; of lint also sarif; of mkpkg: deb, rpm or arch"),
    value("distro", "redhat|suse|debian|ubuntu", "The distribution of the installer (default: this one)"),
    value("media", "dud|iso", "The format of a driver disk for SUSE (default dud)"),
    value("release", "RELEASE", "The release of SUSE for the driver disk (leap15.6, sle15, tw, …)").short('r'),
    value("package-release", "WORD", "The package's own revision (default 1)"),
    value("maintainer", "NAME <ADDRESS>", "The maintainer of the package"),
    value("licence", "SPDX", "The licence (default: from the source)"),
    value("summary", "TEXT", "One line about the package"),
    value("kernel-package", "NAME[=VERSION]", "The package of the kernel that the modules are built for"),
    value("jobs", "N", "The number of jobs that run at the same time").short('j'),
    value("initramfs", "auto|later|never", "Whether to renew the initramfs, or leave it to a later hook"),
    value("event", "boot|kernel-installed|…", "What has happened (boot: does not repeat builds that would fail again)"),
    value("package-version", "VERSION", "The version of the package").short('v'),
    value("conf", "FILE", "Use this dkms.conf instead of the package's").short('c'),
    flag("all", "Every kernel that the package is built for"),
    flag("all-kernels", "Every kernel installed in the root"),
    flag("force", "Repeat what was done already, and override checks"),
    flag("force-version-override", "Install even if the kernel already has the same or a newer version"),
    flag("symlink-modules", "Install symbolic links into the DKMS tree instead of copies"),
    flag("no-depmod", "Leave modules.dep as it is"),
    flag("modprobe-on-install", "After installing, load the modules that match this machine's devices"),
    flag("rpm_safe_upgrade", "Called by an rpm scriptlet whose upgrade runs the removal last"),
    flag("binaries-only", "Archive the built modules without their source"),
    flag("binaries", "Package the built modules instead of the source"),
    flag("source-only", "Archive the source without built modules"),
    flag("repair", "Mend what can be mended"),
    flag("dry-run", "Print what would be done, and why; change nothing"),
    flag("strict", "Fail if any wanted module is missing; of lint: also for warnings"),
    flag("long", "Print more: results, reasons, logs"),
    flag("quiet", "Print nothing, not even errors").short('q'),
    flag("verbose", "Show commands and their output"),
    flag("debug", "Log decisions on standard error"),
    flag("no-initrd", "").deprecated(),
    flag("no-clean-kernel", "").deprecated(),
    flag("no-prepare-kernel", "").deprecated(),
    flag("version", "Print the version").short('V'),
    flag("help", "Print this, or the help of a command").short('h'),
];

/// The options that the classic did not have: those of its own were taken, and passed over, with every verb.
const NEW: &[&str] = &[
    "root",
    "format",
    "package-release",
    "maintainer",
    "licence",
    "summary",
    "kernel-package",
    "initramfs",
    "event",
    "all-kernels",
    "binaries",
    "dry-run",
    "strict",
    "long",
];

/// The name of a verb: [`super::verb::Verb`] has its options, too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)] // VERBS describes them
pub enum Id {
    Add,
    Build,
    Install,
    Uninstall,
    Unbuild,
    Remove,
    Autoinstall,
    Reconcile,
    Match,
    KernelPreinst,
    KernelPostinst,
    KernelPrerm,
    Mktarball,
    Ldtarball,
    /// All that `dkms-mkpkg` does.
    Mkpkg,
    Status,
    Fsck,
    GenerateMok,
    Mok,
    Sign,
    Lint,
    Init,
    Doctor,
    Why,
}

/// A command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// The verb.
    pub id: Id,
    /// Its name.
    pub name: &'static str,
    /// One line that says what it does.
    pub about: &'static str,
    /// What may follow it.
    pub operands: &'static str,
    /// The options that mean something to it, besides the general ones.
    pub options: &'static [&'static str],
    /// Which of the classic's checks apply to it.
    pub rules: Rules,
}

impl Entry {
    /// Whether the option `long` may be given with it: one that means something to it, or one that the classic took.
    pub fn takes(&self, long: &str) -> bool {
        let listed = self.options.contains(&long) || GENERAL.contains(&long);
        listed || (self.rules.classic && !NEW.contains(&long))
    }

    /// Whether `word` is one that its operands spell out: `mok status` names no second verb.
    pub fn names_word(&self, word: &str) -> bool {
        let plain = word.bytes().all(|byte| byte.is_ascii_lowercase());
        plain && self.operands.trim_matches(['[', ']']).split(" | ").any(|operand| operand == word)
    }
}

/// The checks made before a verb runs (docs/contract.md 2.0).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// It must be run as root.
    pub root: bool,
    /// It needs a DKMS tree that can be written to.
    pub writes: bool,
    /// It accepts `--all`.
    pub all: bool,
    /// It needs exactly one `-k`.
    pub one_kernel: bool,
    /// It was there before this program: kernel and architecture default as they did.
    pub classic: bool,
}

const PLAIN: Rules = Rules { root: false, writes: false, all: false, one_kernel: false, classic: true };
const WRITES: Rules = Rules { writes: true, ..PLAIN };

const PACKAGER: Rules = Rules { all: true, classic: false, ..PLAIN };
const PACKAGING: &[&str] = &[
    "format",
    "binaries",
    "kernelver",
    "arch",
    "all",
    "archive",
    "package-release",
    "maintainer",
    "licence",
    "summary",
    "kernel-package",
    "dry-run",
];
const DISK: &[&str] = &[
    "distro",
    "media",
    "release",
    "kernelver",
    "arch",
    "all",
    "archive",
    "package-release",
    "maintainer",
    "licence",
    "kernel-package",
    "dry-run",
];

const PACKAGE: &str = "NAME/VERSION";
/// A directory that need not hold a dkms.conf.
pub(super) const DIRECTORY: &str = "[DIR]";
const SOURCE: &str = "NAME/VERSION | DIR | dkms.conf | TARBALL";
const BUILDING: &[&str] = &[
    "kernelver",
    "arch",
    "conf",
    "directive",
    "kernelsourcedir",
    "config",
    "jobs",
    "force",
    "dry-run",
    "rpm_safe_upgrade",
];
const INSTALLING: &[&str] = &[
    "kernelver",
    "arch",
    "conf",
    "directive",
    "kernelsourcedir",
    "config",
    "jobs",
    "force",
    "force-version-override",
    "symlink-modules",
    "no-depmod",
    "modprobe-on-install",
    "rpm_safe_upgrade",
    "dry-run",
];

const AUTO: &[&str] = &["kernelver", "arch", "initramfs", "jobs", "dry-run", "format", "long"];

/// Every verb.
pub const VERBS: &[Entry] = &[
    Entry {
        id: Id::Add,
        name: "add",
        about: "Register a package's source",
        operands: SOURCE,
        options: &["conf", "force", "rpm_safe_upgrade", "dry-run"],
        rules: WRITES,
    },
    Entry {
        id: Id::Build,
        name: "build",
        about: "Build a package's modules for a kernel",
        operands: SOURCE,
        options: BUILDING,
        rules: WRITES,
    },
    Entry {
        id: Id::Install,
        name: "install",
        about: "Put a package's modules into a kernel's module tree",
        operands: SOURCE,
        options: INSTALLING,
        rules: Rules { root: true, ..WRITES },
    },
    Entry {
        id: Id::Uninstall,
        name: "uninstall",
        about: "Take a package's modules out of a kernel's module tree",
        operands: PACKAGE,
        options: &["kernelver", "arch", "all", "no-depmod", "dry-run"],
        rules: Rules { root: true, all: true, ..WRITES },
    },
    Entry {
        id: Id::Unbuild,
        name: "unbuild",
        about: "Uninstall, and delete what was built",
        operands: PACKAGE,
        options: &["kernelver", "arch", "all", "no-depmod", "dry-run"],
        rules: Rules { all: true, ..WRITES },
    },
    Entry {
        id: Id::Remove,
        name: "remove",
        about: "Unbuild, and forget the package when no kernel is left",
        operands: PACKAGE,
        options: &["kernelver", "arch", "all", "no-depmod", "rpm_safe_upgrade", "dry-run"],
        rules: Rules { all: true, ..WRITES },
    },
    Entry {
        id: Id::Autoinstall,
        name: "autoinstall",
        about: "Install every package that wants it for a kernel",
        operands: "",
        options: AUTO,
        rules: Rules { root: true, ..WRITES },
    },
    Entry {
        id: Id::Reconcile,
        name: "reconcile",
        about: "Make every kernel have the modules that it should have",
        operands: "",
        options: &[
            "kernelver",
            "arch",
            "all-kernels",
            "event",
            "initramfs",
            "strict",
            "jobs",
            "dry-run",
            "format",
            "long",
        ],
        rules: Rules { root: true, classic: false, ..WRITES },
    },
    Entry {
        id: Id::Match,
        name: "match",
        about: "Install for a kernel what another kernel has",
        operands: "[NAME]",
        options: &["templatekernel", "kernelver", "arch", "jobs", "dry-run"],
        rules: Rules { root: true, ..WRITES },
    },
    Entry {
        id: Id::KernelPreinst,
        name: "kernel_preinst",
        about: "A kernel's package is about to be unpacked: its modules become stale",
        operands: "",
        options: &["kernelver", "arch", "dry-run"],
        rules: Rules { root: true, one_kernel: true, ..WRITES },
    },
    Entry {
        id: Id::KernelPostinst,
        name: "kernel_postinst",
        about: "A kernel was installed: install every package that wants it",
        operands: "",
        options: AUTO,
        rules: Rules { root: true, one_kernel: true, ..WRITES },
    },
    Entry {
        id: Id::KernelPrerm,
        name: "kernel_prerm",
        about: "A kernel is about to be removed: take its modules away",
        operands: "",
        options: &["kernelver", "arch", "dry-run"],
        rules: Rules { root: true, one_kernel: true, ..WRITES },
    },
    Entry {
        id: Id::Mktarball,
        name: "mktarball",
        about: "Archive a package's source and built modules",
        operands: PACKAGE,
        options: &["kernelver", "arch", "all", "archive", "binaries-only", "source-only", "dry-run"],
        rules: Rules { all: true, ..PLAIN },
    },
    Entry {
        id: Id::Ldtarball,
        name: "ldtarball",
        about: "Load an archive made by mktarball, or any archive of a source with a dkms.conf",
        operands: "TARBALL",
        options: &["archive", "kernelver", "arch", "force", "dry-run"],
        rules: WRITES,
    },
    Entry {
        id: Id::Mkpkg,
        name: "mkpkg",
        about: "Make a distribution package of a package's source, or of its built modules",
        operands: PACKAGE,
        options: PACKAGING,
        rules: PACKAGER,
    },
    Entry {
        id: Id::Mkpkg,
        name: "mkdeb",
        about: "The same as mkpkg --format deb",
        operands: PACKAGE,
        options: PACKAGING,
        rules: PACKAGER,
    },
    Entry {
        id: Id::Mkpkg,
        name: "mkrpm",
        about: "The same as mkpkg --format rpm",
        operands: PACKAGE,
        options: PACKAGING,
        rules: PACKAGER,
    },
    Entry {
        id: Id::Mkpkg,
        name: "mkdriverdisk",
        about: "Make a driver disk for an installer, of a package's built modules",
        operands: PACKAGE,
        options: DISK,
        rules: PACKAGER,
    },
    Entry {
        id: Id::Status,
        name: "status",
        about: "List packages and what they are built and installed for",
        operands: "[NAME[/VERSION]]",
        options: &["kernelver", "arch", "format", "long"],
        rules: Rules { all: true, ..PLAIN },
    },
    Entry {
        id: Id::Fsck,
        name: "fsck",
        about: "Check that everything of DKMS is whole and in its place, and mend it",
        operands: "",
        options: &["repair", "dry-run", "format", "jobs"],
        rules: Rules { root: true, classic: false, ..PLAIN },
    },
    Entry {
        id: Id::GenerateMok,
        name: "generate_mok",
        about: "Make the key that signs modules, if there is none",
        operands: "",
        options: &["kernelver", "dry-run"],
        rules: PLAIN,
    },
    Entry {
        id: Id::Mok,
        name: "mok",
        about: "Show whether this machine trusts the key that signs modules, or enrol it",
        operands: "[status | enroll]",
        options: &["kernelver", "format", "dry-run"],
        rules: Rules { root: true, classic: false, ..PLAIN },
    },
    Entry {
        id: Id::Sign,
        name: "sign",
        about: "Sign built and installed modules with the present key, without building them again",
        operands: "[NAME/VERSION]",
        options: &["kernelver", "arch", "all", "dry-run"],
        rules: Rules { root: true, all: true, classic: false, ..WRITES },
    },
    Entry {
        id: Id::Doctor,
        name: "doctor",
        about: "List what is wrong with this system's modules, the worst first, and how to fix it",
        operands: "",
        options: &["kernelver", "arch", "format"],
        rules: Rules { classic: false, ..PLAIN },
    },
    Entry {
        id: Id::Why,
        name: "why",
        about: "Say why a package's modules are, or are not, there for a kernel, and what to do",
        operands: "NAME[/VERSION]",
        options: &["kernelver", "arch", "format"],
        rules: Rules { classic: false, ..PLAIN },
    },
    Entry {
        id: Id::Lint,
        name: "lint",
        about: "Look for mistakes in a dkms.conf and the source beside it",
        operands: DIRECTORY,
        options: &["format", "strict"],
        rules: Rules { classic: false, ..PLAIN },
    },
    Entry {
        id: Id::Init,
        name: "init",
        about: "Write a dkms.conf for a source that has a Kbuild or Makefile",
        operands: DIRECTORY,
        options: &["force", "dry-run"],
        rules: Rules { classic: false, ..PLAIN },
    },
];

/// The words that `option` of the verb called `verb` takes, if it does not take any.
pub fn values(verb: &str, option: &str) -> Option<&'static [&'static str]> {
    Some(match (option, verb) {
        ("format", "mkpkg" | "mkdeb" | "mkrpm") => &["deb", "rpm", "arch"],
        ("format", "lint") => &["text", "json", "sarif"],
        ("format", _) => &["text", "json"],
        ("distro", _) => &["redhat", "suse", "debian", "ubuntu"],
        ("media", _) => &["dud", "iso"],
        ("initramfs", _) => &["auto", "later", "never"],
        ("event", _) => EVENTS,
        _ => return None,
    })
}

/// The verb called `name`.
pub fn verb(name: &str) -> Option<&'static Entry> {
    VERBS.iter().find(|verb| verb.name == name)
}

/// What every verb understands.
const GENERAL: &[&str] = &[
    "root",
    "dkmstree",
    "sourcetree",
    "installtree",
    "module",
    "package-version",
    "quiet",
    "verbose",
    "debug",
    "help",
    "version",
];

/// An option for clap. `flag`: the action of one without a value; help puts dots behind those that are counted.
fn argument(opt: &Opt, flag: ArgAction) -> Arg {
    let mut arg = Arg::new(opt.long).long(opt.long).help(opt.help).hide(opt.deprecated);
    if let Some(short) = opt.short {
        arg = arg.short(short);
    }
    match opt.value {
        Some(name) => arg.value_name(name).action(ArgAction::Append).allow_hyphen_values(true),
        None => arg.action(flag),
    }
}

/// The parser: flat, since options and the verb may stand in any order.
pub fn parser() -> Command {
    Command::new("dkms")
        .no_binary_name(true)
        .disable_help_flag(true)
        .disable_version_flag(true)
        .args(OPTIONS.iter().map(|opt| argument(opt, ArgAction::Count)))
        .arg(Arg::new("words").action(ArgAction::Append))
}

/// The same table as a tree of commands: what help, man pages and completions are made from.
pub fn documentation() -> Command {
    // What the help says of the words is in the value's name, or in its text.
    let shown = |verb: &str, opt: &Opt| {
        let arg = argument(opt, ArgAction::SetTrue);
        match values(verb, opt.long) {
            Some(words) => arg.value_parser(PossibleValuesParser::new(words)).hide_possible_values(true),
            None => arg,
        }
    };
    let pick = |verb: &str, names: &[&str]| {
        OPTIONS.iter().filter(|opt| names.contains(&opt.long)).map(|opt| shown(verb, opt)).collect::<Vec<_>>()
    };
    Command::new("dkms")
        .version(env!("CARGO_PKG_VERSION"))
        .about("Keep kernel modules that live outside the kernel built for every kernel installed")
        .disable_help_subcommand(true)
        .disable_help_flag(true)
        .disable_version_flag(true)
        .subcommand_value_name("COMMAND")
        .subcommand_help_heading("Commands")
        .args(pick("", GENERAL).into_iter().map(|arg| arg.global(true)))
        .subcommands(VERBS.iter().map(|verb| {
            let command = Command::new(verb.name)
                .about(verb.about)
                .disable_help_flag(true)
                .disable_version_flag(true)
                .args(pick(verb.name, verb.options));
            if verb.operands.is_empty() {
                command
            } else {
                let optional = verb.operands.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
                let name = optional.unwrap_or(verb.operands);
                let mut arg = Arg::new("operand").value_name(name).help(about(verb.operands));
                let words: Vec<_> = name.split(" | ").filter(|word| verb.names_word(word)).collect();
                if !words.is_empty() {
                    arg = arg.value_parser(PossibleValuesParser::new(words)).hide_possible_values(true);
                }
                command.arg(arg.required(optional.is_none()))
            }
        }))
}

/// What a verb's operands are, for its help.
fn about(operands: &str) -> &'static str {
    match operands {
        SOURCE => "A registered package; or its source or an archive of it, which is registered first",
        "NAME[/VERSION]" | PACKAGE | "[NAME/VERSION]" => "A registered package",
        "[NAME[/VERSION]]" => "Only this package; wildcards of the shell are understood",
        "[NAME]" => "Only this package",
        "TARBALL" => "The archive",
        DIRECTORY => "The source's directory (default: this one)",
        _ => "What to do",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_a_valid_parser() {
        parser().debug_assert();
        documentation().debug_assert();
    }

    /// A quote in a value's name ends zsh's text for it too early.
    #[test]
    fn names_of_values_need_no_quotes() {
        for opt in OPTIONS {
            assert!(!opt.value.unwrap_or_default().contains(['\'', '"', '`', '$']), "{}", opt.long);
        }
    }

    /// A dry run is never a run: whatever changes something has one.
    #[test]
    fn every_verb_that_changes_something_has_a_dry_run() {
        for verb in VERBS {
            let only_reads = matches!(verb.id, Id::Status | Id::Lint | Id::Doctor);
            assert_eq!(verb.options.contains(&"dry-run"), !only_reads, "{}", verb.name);
        }
    }

    #[test]
    fn verbs_name_options_that_exist() {
        for name in NEW {
            assert!(OPTIONS.iter().any(|opt| opt.long == *name), "{name}");
        }
        for verb in VERBS {
            for name in verb.options {
                assert!(OPTIONS.iter().any(|opt| opt.long == *name), "{}: {name}", verb.name);
            }
        }
    }
}
