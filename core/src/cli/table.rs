//! The one table of verbs: parsing, help, man pages and completions all read it, and that of their `options`.

use super::options::{EVENTS, GENERAL, NAMING, NEW};

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
    Logs,
    Hold,
    Unhold,
    Prune,
    /// All that `dkms-share` does.
    Share,
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
        let listed = self.options.contains(&long) || GENERAL.contains(&long) || NAMING.contains(&long);
        listed || (self.rules.classic && !NEW.contains(&long))
    }

    /// Whether a package may be named with it: those verbs that look at all packages refuse one, but for the classic's.
    pub fn names_package(&self) -> bool {
        self.rules.classic || !self.operands.is_empty()
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
/// What changes the tree, as the classic's verbs do.
pub const WRITES: Rules = Rules { writes: true, ..PLAIN };

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

pub(super) const PACKAGE: &str = "NAME/VERSION";
/// A directory that need not hold a dkms.conf.
pub(super) const DIRECTORY: &str = "[DIR]";
pub(super) const SOURCE: &str = "NAME/VERSION | DIR | dkms.conf | TARBALL";
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
    "format",
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
    "format",
];

const AUTO: &[&str] = &["kernelver", "arch", "initramfs", "jobs", "dry-run", "format", "long"];

/// Every verb.
pub const VERBS: &[Entry] = &[
    Entry {
        id: Id::Add,
        name: "add",
        about: "Register a package's source",
        operands: SOURCE,
        options: &["conf", "force", "rpm_safe_upgrade", "dry-run", "format"],
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
        options: &["kernelver", "arch", "all", "no-depmod", "dry-run", "format"],
        rules: Rules { root: true, all: true, ..WRITES },
    },
    Entry {
        id: Id::Unbuild,
        name: "unbuild",
        about: "Uninstall, and delete what was built",
        operands: PACKAGE,
        options: &["kernelver", "arch", "all", "no-depmod", "dry-run", "format"],
        rules: Rules { all: true, ..WRITES },
    },
    Entry {
        id: Id::Remove,
        name: "remove",
        about: "Unbuild, and forget the package when no kernel is left",
        operands: PACKAGE,
        options: &["kernelver", "arch", "all", "no-depmod", "rpm_safe_upgrade", "dry-run", "format"],
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
        options: &["templatekernel", "kernelver", "arch", "jobs", "dry-run", "format"],
        rules: Rules { root: true, ..WRITES },
    },
    Entry {
        id: Id::KernelPreinst,
        name: "kernel_preinst",
        about: "A kernel's package is about to be unpacked: its modules become stale",
        operands: "",
        options: &["kernelver", "arch", "dry-run", "format"],
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
        options: &["kernelver", "arch", "dry-run", "format"],
        rules: Rules { root: true, one_kernel: true, ..WRITES },
    },
    Entry {
        id: Id::Mktarball,
        name: "mktarball",
        about: "Archive a package's source and built modules",
        operands: PACKAGE,
        options: &["kernelver", "arch", "all", "archive", "binaries-only", "source-only", "dry-run", "format"],
        rules: Rules { all: true, ..PLAIN },
    },
    Entry {
        id: Id::Ldtarball,
        name: "ldtarball",
        about: "Load an archive made by mktarball, or any archive of a source with a dkms.conf",
        operands: "TARBALL",
        options: &["archive", "kernelver", "arch", "force", "dry-run", "format"],
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
        options: &["kernelver", "arch", "format", "long", "matrix"],
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
        id: Id::Hold,
        name: "hold",
        about: "Leave a package as it is, whatever happens, or list what is held",
        operands: "[NAME]",
        options: &["kernelver", "format", "dry-run"],
        rules: Rules { root: true, classic: false, ..PLAIN },
    },
    Entry {
        id: Id::Unhold,
        name: "unhold",
        about: "End the holds of a package",
        operands: "NAME",
        options: &["kernelver", "dry-run", "format"],
        rules: Rules { root: true, classic: false, ..PLAIN },
    },
    Entry {
        id: Id::Prune,
        name: "prune",
        about: "List old versions and builds that nothing needs, or delete them",
        operands: "",
        options: &["yes", "dry-run", "format"],
        rules: Rules { root: true, writes: true, classic: false, ..PLAIN },
    },
    Entry {
        id: Id::Share,
        name: "share",
        about: "Push what was built to a registry or a directory, or fetch it from there",
        operands: "push | pull | list | verify | prune | keygen | plan | build",
        options: &["kernelver", "dry-run", "format"],
        rules: Rules { classic: false, ..PLAIN },
    },
    Entry {
        id: Id::GenerateMok,
        name: "generate_mok",
        about: "Make the key that signs modules, if there is none",
        operands: "",
        options: &["kernelver", "dry-run", "format"],
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
        options: &["kernelver", "arch", "all", "config", "dry-run", "format"],
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
        id: Id::Logs,
        name: "logs",
        about: "Print the log of the latest build, or list the logs that are kept",
        operands: "[NAME[/VERSION]]",
        options: &["kernelver", "arch", "all", "format"],
        rules: Rules { all: true, classic: false, ..PLAIN },
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
        options: &["force", "dry-run", "format"],
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

#[cfg(test)]
mod tests {
    use super::super::options::OPTIONS;
    use super::*;

    /// A dry run is never a run: whatever changes something has one.
    #[test]
    fn every_verb_that_changes_something_has_a_dry_run() {
        for verb in VERBS {
            let only_reads = matches!(verb.id, Id::Status | Id::Lint | Id::Doctor | Id::Why | Id::Logs);
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
