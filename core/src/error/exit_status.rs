//! What each exit status means, in words: dkms(8) is made from this table.

/// Every exit status, and what it means; `words in these` are literal. The codes are those of [`super::Error::code`], and of the
/// verbs that have their own.
pub const EXIT_STATUS: &[(&str, &str)] = &[
    ("0", "Success, or there was nothing to do."),
    (
        "1",
        "Not root, no write access to the DKMS tree, arguments missing, or a name that can't be used; `logs` found no log; `doctor` found that something wanted is missing.",
    ),
    (
        "2",
        "An unknown option or command, an option that the command does not take, options that exclude each other, or a missing source; `doctor` could not tell.",
    ),
    ("3", "Not registered, or registered already, or a directory is in the way of the build."),
    (
        "4",
        "Two commands; not exactly one kernel where one is needed; a dkms.conf that can't be read; a broken registration; `fsck` found something that is still wrong; facts about the system could not be found out.",
    ),
    ("5", "The option `--all`, where it is not allowed; a patch that is missing or outside the patches directory."),
    (
        "6",
        "A patch does not apply; the kernel is not there; a built module is missing; nothing could be installed; depmod failed; what was installed would not be loaded, and why.",
    ),
    (
        "7",
        "make succeeded but did not produce the module, or the result is not a module for this kernel; an invalid archive.",
    ),
    (
        "8",
        "An invalid dkms.conf, or one in which `lint` finds an error; an empty source directory; an archive of a package that is registered already.",
    ),
    ("9", "A directory or archive without a package source."),
    ("10", "make failed, or a program that building needs is not installed."),
    ("11", "`autoinstall` or `reconcile`: a module could not be installed, and policy makes that a failure."),
    ("12", "A fact about the kernel could not be found out, for example its architecture."),
    ("13", "Packages named by `BUILD_DEPENDS` are not installed for the kernel."),
    ("14", "`kernel_preinst` or `kernel_prerm` failed for some package."),
    ("16", "No kernel was given, and dkms can't find out which one is meant."),
    (
        "17",
        "Another `dkms` is working on the same package and did not finish in time; the message names it. \
         Or another has taken all modules away from the kernel meanwhile, since it is being removed.",
    ),
    (
        "18",
        "A file operation, a change or a program failed because of the system: disk full, read-only, out of memory. Nothing was changed.",
    ),
    (
        "19",
        "A module could not be signed where policy (`policy=fail`, `--strict`) does not allow unsigned ones; the previous one is still installed.",
    ),
    ("21", "The kernel's headers are missing; the message names the package that contains them."),
    ("22", "The share has no build of the package, and `build_locally` is `never`; `share`: it does not answer."),
    ("23", "`share`: what it has is not signed by a key that is trusted here, or is damaged."),
    ("77", "The package's `BUILD_EXCLUSIVE_*` directives exclude the kernel."),
    ("101", "`PRE_INSTALL` failed."),
    ("127", "The program that makes packages, or the one that shares builds, is not installed."),
    (
        "129, 130, 143",
        "Interrupted by SIGHUP, SIGINT or SIGTERM; what was done stays, and the message says what was not.",
    ),
    ("other", "The exit status of a script of the package: `PRE_BUILD`, `POST_BUILD` or `POST_ADD`."),
];
