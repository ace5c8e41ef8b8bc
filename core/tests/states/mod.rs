//! The states and the verbs of `dry_run`.

use crate::Looks;
use crate::bed::Bed;

/// What makes a state out of a root with nothing but sources.
pub type Lay = fn(&Bed);

pub const STATES: &[(&str, Lay)] = &[
    ("sources only", |_| {}),
    ("added", |bed| bed.ok("add one/1.0")),
    ("built", |bed| bed.ok("build one/1.0 -k {k1}")),
    ("installed", |bed| bed.ok("install one/1.0 -k {k1}")),
    ("installed for both", |bed| bed.ok("install one/1.0 -k {k1} -k {k2}")),
    ("built here, installed there", |bed| {
        bed.ok("install one/1.0 -k {k2}");
        bed.ok("build one/1.0 -k {k1}");
    }),
    ("installed, and its source is gone", |bed| {
        bed.ok("install one/1.0 -k {k1}");
        bed.delete("usr/src/one-1.0");
    }),
    ("built, and its source is gone", |bed| {
        bed.ok("build one/1.0 -k {k1}");
        bed.delete("usr/src/one-1.0");
    }),
    ("added, and its source is gone", |bed| {
        bed.ok("add one/1.0");
        bed.delete("usr/src/one-1.0");
    }),
    ("its modules are deleted", |bed| {
        bed.ok("install one/1.0 -k {k1}");
        bed.delete("lib/modules/{k1}/updates");
    }),
    ("its modules and its source are deleted", |bed| {
        bed.ok("install one/1.0 -k {k1}");
        bed.delete("lib/modules/{k1}/updates");
        bed.delete("usr/src/one-1.0");
    }),
    ("the tree knows nothing of what is installed", |bed| {
        bed.ok("install one/1.0 -k {k1}");
        bed.delete("var/lib/dkms");
    }),
    ("an older version is installed", |bed| {
        bed.ok("install one/0.9 -k {k1}");
        bed.ok("add one/1.0");
    }),
    ("an older version is installed, this one is built", |bed| {
        bed.ok("install one/0.9 -k {k1}");
        bed.ok("build one/1.0 -k {k1}");
    }),
    ("another package was built against an older version", |bed| {
        bed.ok("install one/0.9 -k {k1}");
        bed.ok("install follower/1.0 -k {k1}");
        bed.ok("add one/1.0");
    }),
    ("another package needs it", |bed| {
        bed.ok("add one/1.0");
        bed.ok("add follower/1.0");
    }),
    ("by hand only", |bed| {
        bed.append("usr/src/one-1.0/dkms.conf", "AUTOINSTALL=no");
        bed.ok("add one/1.0");
    }),
    ("not meant for this kernel", |bed| {
        bed.append("usr/src/one-1.0/dkms.conf", "BUILD_EXCLUSIVE_KERNEL=62");
        bed.ok("add one/1.0");
    }),
    ("no headers", |bed| {
        bed.ok("add one/1.0");
        bed.delete("lib/modules/{k1}/build");
    }),
    ("the kernel is removed", |bed| {
        bed.ok("install one/1.0 -k {k1} -k {k2}");
        bed.delete("lib/modules/{k1}/kernel");
        bed.delete("lib/modules/{k1}/build");
    }),
    ("remains of an artefact", |bed| {
        bed.ok("build one/1.0 -k {k1}");
        bed.delete("var/lib/dkms/one/1.0/{k1}/x86_64/module");
    }),
    ("a built module is emptied", |bed| {
        bed.ok("build one/1.0 -k {k1}");
        bed.write("var/lib/dkms/one/1.0/{k1}/x86_64/module/one.ko", "");
    }),
    ("its dkms.conf is spoilt", |bed| {
        bed.ok("add one/1.0");
        bed.append("usr/src/one-1.0/dkms.conf", "if");
    }),
    ("the headers are others", |bed| {
        bed.ok("install one/1.0 -k {k1}");
        bed.append("usr/src/headers-{k1}/include/config/auto.conf", "CONFIG_NEW=y");
    }),
    ("its kernel is being upgraded", |bed| {
        bed.ok("install one/1.0 -k {k1}");
        bed.ok("kernel_preinst -k {k1}");
    }),
    ("its source came anew", |bed| {
        bed.ok("install one/1.0 -k {k1}");
        bed.append("usr/src/one-1.0/source", "more");
        bed.mark("one/1.0", true);
    }),
    ("it waits for a successor, and came back", |bed| {
        bed.ok("install one/1.0 -k {k1}");
        bed.append("usr/src/one-1.0/source", "more");
        bed.mark("one/1.0", false);
    }),
    ("an older version waits for its successor", |bed| {
        bed.ok("install one/0.9 -k {k1} -k {k2}");
        bed.mark("one/0.9", false);
        bed.ok("add one/1.0");
    }),
    ("an older version waits, and its successor is not registered", |bed| {
        bed.ok("install one/0.9 -k {k1}");
        bed.ok("build one/0.9 -k {k2}");
        bed.mark("one/0.9", false);
    }),
    ("an older version waits, and its successor is there for one kernel", |bed| {
        bed.ok("install one/0.9 -k {k1} -k {k2}");
        bed.ok("install one/1.0 -k {k1}");
        bed.mark("one/0.9", false);
    }),
    ("an older version waits, and its successor does not build", |bed| {
        bed.ok("install one/0.9 -k {k1}");
        bed.mark("one/0.9", false);
        bed.ok("add one/1.0");
        bed.delete("usr/src/one-1.0/source");
    }),
    ("what waited is gone, and another package needs it", |bed| {
        bed.ok("install one/0.9 -k {k1} -k {k2}");
        bed.ok("install follower/1.0 -k {k1}");
        bed.mark("one/0.9", false);
        bed.delete("usr/src/one-0.9");
    }),
    ("what waited is built, and its package is gone", |bed| {
        bed.ok("build one/0.9 -k {k1}");
        bed.mark("one/0.9", false);
        bed.delete("usr/src/one-0.9");
    }),
    ("a newer kernel shares the build", |bed| {
        bed.ok("install one/1.0 -k {k1}");
        bed.link("{k2}", "{k1}");
    }),
    ("an older kernel shares the build", |bed| {
        bed.ok("install one/1.0 -k {k2}");
        bed.link("{k1}", "{k2}");
    }),
    ("a kernel shares a build and has its own", |bed| {
        bed.ok("install one/1.0 -k {k1} -k {k2}");
        bed.link("{k2}", "{k1}");
    }),
    ("a shared build whose kernel is gone", |bed| {
        bed.ok("install one/1.0 -k {k1}");
        bed.link("{k2}", "{k1}");
        bed.delete("lib/modules/{k1}/kernel");
        bed.delete("lib/modules/{k1}/build");
    }),
    ("a shared build waited, and its package is gone", |bed| {
        bed.ok("install one/0.9 -k {k1}");
        bed.link("{k2}", "{k1}");
        bed.mark("one/0.9", false);
        bed.delete("usr/src/one-0.9");
    }),
    ("held, with an older version that nothing needs", |bed| {
        bed.ok("install one/1.0 -k {k1}");
        bed.ok("build one/0.9 -k {k2}");
        bed.write("etc/dkms/holds", "one\n");
    }),
    ("an older version is of no use", |bed| {
        bed.ok("build one/0.9 -k {k1}");
        bed.ok("install one/1.0 -k {k1}");
    }),
    ("automatic installation is switched off", |bed| {
        bed.ok("add one/1.0");
        bed.write("etc/dkms/no-autoinstall", "");
    }),
];

pub const VERBS: &[&str] = &[
    "add one/1.0",
    "add {root}/srv/one",
    "build one/1.0 -k {k1}",
    "build one/1.0 -k {k1} -k {k2} --force",
    "install one/1.0 -k {k1}",
    "install one/1.0 -k {k2} -k {k1} --force",
    "install {root}/srv/one -k {k1}",
    "uninstall one/1.0 -k {k1}",
    "uninstall one/1.0 --all",
    "unbuild one/1.0 -k {k1}",
    "unbuild one/1.0 --all",
    "remove one/1.0 -k {k1}",
    "remove one/1.0 --all",
    "autoinstall -k {k1}",
    "kernel_postinst -k {k1}",
    "kernel_preinst -k {k1}",
    "kernel_prerm -k {k1}",
    "reconcile",
    "reconcile -k {k1}",
    "match --templatekernel {k1} -k {k2}",
    "match --templatekernel {k2} -k {k1}",
    "ldtarball {root}/srv/one.tar",
    "sign --all",
    "prune --yes",
    "hold one",
    "unhold one",
];
