//! What the page of each verb shows of its use, and the exit codes that it can have.

/// A verb's examples (a command line, what it does), and its exit codes as dkms.8 lists them.
pub type Use = (&'static str, &'static [(&'static str, &'static str)], &'static [&'static str]);

const BUILD: &[&str] =
    &["0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "12", "13", "16", "17", "18", "21", "77", "other"];
const INSTALL: &[&str] =
    &["0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "12", "13", "16", "17", "18", "21", "77", "101", "other"];
const AUTOMATIC: &[&str] = &["0", "1", "2", "11", "16", "17", "18", "21"];
const TAKE_AWAY: &[&str] = &["0", "1", "2", "3", "4", "5", "6", "16", "17", "18"];

/// Every verb that has no page by hand.
pub const USES: &[Use] = &[
    (
        "add",
        &[
            ("dkms add hello/1.0", "registers /usr/src/hello-1.0"),
            ("dkms add ./hello", "copies the source in ./hello to /usr/src first"),
        ],
        &["0", "1", "2", "3", "4", "8", "9", "17", "18", "other"],
    ),
    (
        "build",
        &[
            ("dkms build hello/1.0", "builds for the running kernel"),
            ("dkms build hello/1.0 -k 6.12.1 -k 6.12.2", "builds for two kernels"),
        ],
        BUILD,
    ),
    (
        "install",
        &[
            ("dkms install hello/1.0", "builds if necessary, and installs for the running kernel"),
            ("dkms install ./hello --dry-run", "prints what would be done"),
            ("dkms --root /srv/image install hello/1.0", "works on the system below /srv/image"),
        ],
        INSTALL,
    ),
    (
        "uninstall",
        &[("dkms uninstall hello/1.0 --all", "takes the modules out of every kernel; what was built stays")],
        TAKE_AWAY,
    ),
    ("unbuild", &[("dkms unbuild hello/1.0 -k 6.12.1", "also deletes what was built for that kernel")], TAKE_AWAY),
    ("remove", &[("dkms remove hello/1.0 --all", "takes the package out of every kernel, and forgets it")], TAKE_AWAY),
    (
        "autoinstall",
        &[("dkms autoinstall -k 6.12.1", "installs for that kernel what is registered with AUTOINSTALL=yes")],
        AUTOMATIC,
    ),
    (
        "reconcile",
        &[
            ("dkms reconcile --dry-run", "prints which modules are missing for which kernel, and what would be done"),
            ("dkms reconcile", "does it"),
            ("dkms reconcile --strict", "also fails, with 11, if a wanted module is still missing"),
        ],
        &["0", "1", "2", "11", "17", "18"],
    ),
    ("match", &[("dkms match --templatekernel 6.12.1 -k 6.12.2", "installs for 6.12.2 what 6.12.1 has")], INSTALL),
    (
        "kernel_preinst",
        &[("dkms kernel_preinst -k 6.12.1", "marks modules built for that release as outdated")],
        &["0", "1", "2", "4", "14"],
    ),
    ("kernel_postinst", &[("dkms kernel_postinst -k 6.12.1", "does what autoinstall does")], AUTOMATIC),
    (
        "kernel_prerm",
        &[("dkms kernel_prerm -k 6.12.1", "unbuilds every package for that kernel")],
        &["0", "1", "2", "4", "14"],
    ),
    (
        "ldtarball",
        &[("dkms ldtarball hello-1.0.dkms.tar.gz", "registers the source, and loads modules that are built in it")],
        &["0", "1", "2", "3", "7", "8", "9", "17", "18", "other"],
    ),
    ("mkdeb", &[("dkms mkdeb hello/1.0", "does what mkpkg --format deb does")], &["0", "1", "2", "3", "127"]),
    ("mkrpm", &[("dkms mkrpm hello/1.0", "does what mkpkg --format rpm does")], &["0", "1", "2", "3", "127"]),
    (
        "status",
        &[
            ("dkms status", "lists everything"),
            ("dkms status hello --long", "also says what happened last, and why something is missing"),
            ("dkms status --matrix", "shows all packages on all kernels at a glance"),
            ("dkms status -k 6.12.1 --format json", "is for programs"),
        ],
        &["0", "2", "18"],
    ),
    (
        "fsck",
        &[
            ("dkms fsck", "says what is wrong, and how it can be mended"),
            ("dkms fsck --repair --dry-run", "says what would be done"),
            ("dkms fsck --repair", "mends what can be mended, and says what is left"),
        ],
        &["0", "1", "2", "4", "17", "18"],
    ),
    (
        "hold",
        &[
            ("dkms hold hello", "leaves hello as it is on all kernels"),
            ("dkms hold hello -k 6.12.1", "leaves it as it is on this kernel"),
            ("dkms hold", "lists what is held"),
        ],
        &["0", "1", "2", "17", "18"],
    ),
    ("unhold", &[("dkms unhold hello", "ends the holds of hello")], &["0", "1", "2", "17", "18"]),
    (
        "prune",
        &[("dkms prune", "lists what nothing needs"), ("dkms prune --yes", "deletes it")],
        &["0", "1", "2", "17", "18"],
    ),
    ("generate_mok", &[("dkms generate_mok", "prints the paths of key and certificate")], &["0", "1", "2", "18"]),
    (
        "sign",
        &[("dkms sign --all", "signs what is built or installed for any kernel, where the key is another")],
        &["0", "1", "2", "3", "17", "18"],
    ),
    (
        "why",
        &[
            ("dkms why hello", "asks about the newest version and the running kernel"),
            ("dkms why hello -k 6.12.1", "asks about another kernel"),
        ],
        &["0", "1", "2", "3", "6", "16"],
    ),
    (
        "logs",
        &[
            ("dkms logs hello", "prints the log of the latest build of hello"),
            ("dkms logs hello -k 6.12.1", "prints that for this kernel"),
            ("dkms logs --all", "lists all logs"),
        ],
        &["0", "1", "2"],
    ),
    (
        "doctor",
        &[
            ("dkms doctor", "looks at all kernels"),
            ("dkms doctor --format json", "is for programs that watch machines"),
        ],
        &["0", "1", "2"],
    ),
    (
        "lint",
        &[
            ("dkms lint ./hello", "prints what is wrong with ./hello/dkms.conf and the source beside it"),
            ("dkms lint --strict --format sarif", "is for a check of each change: this directory, warnings count"),
        ],
        &["0", "2", "8", "9"],
    ),
    (
        "init",
        &[("dkms init -m hello -v 1.0", "writes a dkms.conf for the source in this directory")],
        &["0", "1", "2", "9", "18"],
    ),
];
