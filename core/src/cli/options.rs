//! The one table of options.

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
    flag("yes", "Do it: without this, what would be done is only printed"),
    flag("strict", "Fail if any wanted module is missing; of lint: also for warnings"),
    flag("long", "Print more: results, reasons, logs"),
    flag("matrix", "Print a table: packages down, kernels across"),
    flag("quiet", "Print nothing, not even errors").short('q'),
    flag("json", "Say everything as JSON: the same as --format json, also where packages have a format"),
    flag("verbose", "Show commands and their output"),
    flag("debug", "Log decisions on standard error"),
    flag("no-initrd", "").deprecated(),
    flag("no-clean-kernel", "").deprecated(),
    flag("no-prepare-kernel", "").deprecated(),
    flag("version", "Print the version").short('V'),
    flag("help", "Print this, or the help of a command").short('h'),
];

/// The options that the classic did not have: those of its own were taken, and passed over, with every verb.
pub(super) const NEW: &[&str] = &[
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
    "matrix",
    "yes",
    "json",
];

/// What every verb understands.
pub(super) const GENERAL: &[&str] =
    &["root", "dkmstree", "sourcetree", "installtree", "json", "quiet", "verbose", "debug", "help", "version"];

/// What names a package instead of an operand. Verbs that look at all packages refuse it, with a reason.
pub(super) const NAMING: &[&str] = &["module", "package-version"];

#[cfg(test)]
mod tests {
    use super::*;

    /// A quote in a value's name ends zsh's text for it too early.
    #[test]
    fn names_of_values_need_no_quotes() {
        for opt in OPTIONS {
            assert!(!opt.value.unwrap_or_default().contains(['\'', '"', '`', '$']), "{}", opt.long);
        }
    }
}
