//! What users read, kept as files so that a reviewer reads it as they do: the help of every verb, `why` in many states, errors.
//! `INSTA_UPDATE=always cargo test -p dkms-core --test snapshots` writes them anew.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods)]

use std::process::Command;

use dkms_core::cli::table::VERBS;

mod bed;

use bed::{Bed, KERNELS};

/// Runs the program on a root; what it said, with what differs from run to run replaced.
fn said(bed: &Bed, line: &str) -> String {
    let line = line.replace("{k1}", KERNELS[0]).replace("{k2}", KERNELS[1]);
    let root = bed.path("").display().to_string();
    let root = root.trim_end_matches('/');
    let end = Command::new(env!("CARGO_BIN_EXE_dkms"))
        .args(line.replace("{root}", root).split(' '))
        .args(["--root", root])
        .output()
        .unwrap();
    let text = String::from_utf8(end.stdout).unwrap() + &String::from_utf8(end.stderr).unwrap();
    let text = text.replace(root, "ROOT").replace(KERNELS[0], "K1").replace(KERNELS[1], "K2");
    let dated = |line: &str| match line.find(" UTC 20") {
        // `Sun Nov 22 23:41:21 UTC 2026` has 28 characters.
        Some(at) => format!("{}DATE{}", &line[..at - 19], &line[at + 9..]),
        None => line.to_owned(),
    };
    let lines: Vec<String> = text.lines().map(|line| dated(line).trim_end().to_owned()).collect();
    format!(
        "$ dkms {}\n{}\n[{}]\n",
        line.replace(KERNELS[0], "K1").replace(KERNELS[1], "K2"),
        lines.join("\n"),
        end.status.code().unwrap()
    )
}

#[test]
fn the_help_of_every_verb() {
    let bed = Bed::empty();
    let mut all = said(&bed, "--help");
    for entry in VERBS {
        all += &format!("\n{}", said(&bed, &format!("{} --help", entry.name)));
    }
    insta::assert_snapshot!("help", all);
}

/// Has the program do something to make a state.
fn begun(bed: &Bed, line: &str) -> String {
    said(bed, line)
}

/// The same, which must succeed.
fn done(bed: &Bed, line: &str) {
    let said = begun(bed, line);
    assert!(said.ends_with("\n[0]\n"), "{said}");
}

/// What makes a state out of a root with nothing but sources.
type Lay = fn(&Bed);

const STATES: &[(&str, Lay)] = &[
    ("not registered", |_| {}),
    ("added", |bed| done(bed, "add one/1.0")),
    ("built", |bed| done(bed, "build one/1.0 -k {k1}")),
    ("installed", |bed| done(bed, "install one/1.0 -k {k1}")),
    ("installed for another kernel only", |bed| done(bed, "install one/1.0 -k {k2}")),
    ("an older version is installed", |bed| {
        done(bed, "install one/0.9 -k {k1}");
        done(bed, "add one/1.0");
    }),
    ("its source is gone", |bed| {
        done(bed, "add one/1.0");
        bed.delete("usr/src/one-1.0");
    }),
    ("installed, and its source is gone", |bed| {
        done(bed, "install one/1.0 -k {k1}");
        bed.delete("usr/src/one-1.0");
    }),
    ("no headers", |bed| {
        done(bed, "add one/1.0");
        bed.delete("lib/modules/{k1}/build");
    }),
    ("installed, and no headers any more", |bed| {
        done(bed, "install one/1.0 -k {k1}");
        bed.delete("lib/modules/{k1}/build");
    }),
    ("by hand only", |bed| {
        bed.append("usr/src/one-1.0/dkms.conf", "AUTOINSTALL=no");
        done(bed, "add one/1.0");
    }),
    ("by hand, and installed", |bed| {
        bed.append("usr/src/one-1.0/dkms.conf", "AUTOINSTALL=no");
        done(bed, "install one/1.0 -k {k1}");
    }),
    ("excluded by a pattern", |bed| {
        bed.append("usr/src/one-1.0/dkms.conf", "BUILD_EXCLUSIVE_KERNEL=^5");
        done(bed, "add one/1.0");
    }),
    ("excluded by a version", |bed| {
        bed.append("usr/src/one-1.0/dkms.conf", "BUILD_EXCLUSIVE_KERNEL_MAX=6.10");
        done(bed, "add one/1.0");
    }),
    ("excluded by a configuration", |bed| {
        bed.append("usr/src/one-1.0/dkms.conf", "BUILD_EXCLUSIVE_CONFIG=CONFIG_NOTHING");
        done(bed, "add one/1.0");
    }),
    ("excluded by an architecture", |bed| {
        bed.append("usr/src/one-1.0/dkms.conf", "BUILD_EXCLUSIVE_ARCH=sparc");
        done(bed, "add one/1.0");
    }),
    ("a spoilt dkms.conf", |bed| {
        done(bed, "add one/1.0");
        bed.append("usr/src/one-1.0/dkms.conf", "if");
    }),
    ("a module's place that is not allowed", |bed| {
        done(bed, "add one/1.0");
        bed.append("usr/src/one-1.0/dkms.conf", "DEST_MODULE_LOCATION=/nowhere");
    }),
    ("make fails", |bed| {
        bed.append("usr/src/one-1.0/dkms.conf", "MAKE=\"echo one.c:3:5: error: no such thing; false\"");
        begun(bed, "install one/1.0 -k {k1}");
    }),
    ("make makes another module", |bed| {
        bed.append("usr/src/one-1.0/dkms.conf", "MAKE=\"cp source two.ko\"");
        begun(bed, "install one/1.0 -k {k1}");
    }),
    ("a script fails", |bed| {
        bed.append("usr/src/one-1.0/dkms.conf", "PRE_BUILD=nothing.sh");
        begun(bed, "install one/1.0 -k {k1}");
    }),
    ("a patch is missing", |bed| {
        bed.append("usr/src/one-1.0/dkms.conf", "PATCH=fix.patch");
        begun(bed, "install one/1.0 -k {k1}");
    }),
    ("the package that it needs is not registered", |bed| {
        bed.append("usr/src/one-1.0/dkms.conf", "BUILD_DEPENDS=other");
        done(bed, "add one/1.0");
    }),
    ("the package that it needs can't be built", |bed| {
        bed.source("usr/src/other-1", "other", "1", "BUILD_EXCLUSIVE_KERNEL=^5\nAUTOINSTALL=no\n");
        bed.append("usr/src/one-1.0/dkms.conf", "BUILD_DEPENDS=other");
        done(bed, "add other/1");
        done(bed, "add one/1.0");
    }),
    ("it needs itself", |bed| {
        bed.append("usr/src/one-1.0/dkms.conf", "BUILD_DEPENDS=follower");
        done(bed, "add follower/1.0");
        done(bed, "add one/1.0");
    }),
    ("its modules are deleted", |bed| {
        done(bed, "install one/1.0 -k {k1}");
        bed.delete("lib/modules/{k1}/updates");
    }),
    ("an installed module is emptied", |bed| {
        done(bed, "install one/1.0 -k {k1}");
        bed.write("lib/modules/{k1}/updates/one.ko", "");
    }),
    ("the source has changed", |bed| {
        done(bed, "install one/1.0 -k {k1}");
        bed.append("usr/src/one-1.0/source", "more");
    }),
    ("the headers are others", |bed| {
        done(bed, "install one/1.0 -k {k1}");
        bed.append("usr/src/headers-{k1}/include/config/auto.conf", "CONFIG_NEW=y");
    }),
    ("held", |bed| {
        done(bed, "add one/1.0");
        bed.write("etc/dkms/holds", "one\n");
    }),
    ("the tree knows nothing of what is installed", |bed| {
        done(bed, "install one/1.0 -k {k1}");
        bed.delete("var/lib/dkms");
    }),
];

#[test]
fn why_in_every_state() {
    assert!(STATES.len() >= 25);
    let new = Bed::new();
    new.write("etc/dkms/framework.conf.d/root.conf", "build_as=root\n");
    let mut all = String::new();
    for (state, lay) in STATES {
        let bed = new.copy();
        lay(&bed);
        all += &format!("== {state}\n{}\n", said(&bed, "why one -k {k1}"));
    }
    insta::assert_snapshot!("why", all);
}

/// What is said of each error, and its exit code.
#[test]
fn errors() {
    let bed = Bed::new();
    done(&bed, "add one/1.0");
    done(&bed, "add one/0.9");
    bed.source("usr/src/old-1", "old", "1", "BUILD_EXCLUSIVE_KERNEL=^5\n");
    bed.source("usr/src/bad-1", "bad", "1", "MAKE=\"echo bad.c:3:5: error: no such thing; false\"\n");
    bed.source("usr/src/needs-1", "needs", "1", "BUILD_DEPENDS=nothing\n");
    bed.source("usr/src/spoilt-1", "spoilt", "1", "if\n");
    bed.write("usr/src/empty-1/README", "");
    let lines = [
        "isntall one/1.0",
        "install one/1.0 --froce",
        "install",
        "install one",
        "remove one",
        "install one/3.0 -k {k1}",
        "install one/1.0 -k 9.9",
        "install one/1.0 -k {k1}x",
        "install one/1.0 build",
        "install one/1.0 -j many",
        "install one/1.0 --all",
        "add one/1.0",
        "add empty/1",
        "add spoilt/1",
        "build old/1 -k {k1}",
        "build bad/1 -k {k1}",
        "build needs/1 -k {k1}",
        "uninstall two/1.0 -k {k1}",
        "reconcile one",
        "reconcile --all-kernels -k {k1}",
        "status --format yaml",
        "status --matrix --long",
        "why nothing",
        "why one -k 9.9",
        "logs one",
        "hold one/1.0",
        "kernel_postinst",
        "match -k {k1}",
        "ldtarball {root}/nothing.tar.gz",
        "mktarball one/1.0 --source-only --binaries-only",
        "mok forget",
        "lint {root}/srv",
    ];
    let all: Vec<String> = lines.iter().map(|line| said(&bed, line)).collect();
    insta::assert_snapshot!("errors", all.join("\n"));
}
