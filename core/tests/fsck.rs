//! `dkms fsck`: finds each kind of damage and nothing else, says how to mend it, mends what is ours, and leaves alone what
//! is not. This test is a program like `dkms`, since builds start it again to enter their namespaces.

// A program of its own (`harness = false`), all of which is a test: clippy's leave for tests does not reach it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr, clippy::disallowed_methods)]

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::ExitCode;

use dkms_core::probes;

mod bed;

use bed::Bed;

/// What becomes of a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// `--repair` makes it as it was before the damage.
    AsBefore,
    /// `--repair` mends it; what is there then is not what was there before.
    Mended,
    /// Nobody but the administrator can tell.
    ByHand,
}

use End::{AsBefore, ByHand, Mended};

/// A damage, what it is called, and what becomes of it.
type Damage = (&'static str, fn(&Bed), &'static [&'static str], End);

const MODULE: &str = "lib/modules/{k1}/updates/one.ko";
const BUILT: &str = "var/lib/dkms/one/1.0/{k1}/x86_64/module/one.ko";
const BUILT_ONLY: &str = "var/lib/dkms/one/1.0/{k2}/x86_64/module/one.ko";

/// In a root where one/1.0 is installed for the first kernel and built for the second.
const DAMAGES: &[Damage] = &[
    ("nothing", |_| {}, &[], AsBefore),
    ("an installed module is deleted", |bed| bed.delete(MODULE), &["module-missing", "stale-index"], AsBefore),
    ("an installed module is emptied", |bed| bed.write(MODULE, ""), &["module-damaged"], AsBefore),
    ("an installed module is changed", |bed| bed.append(MODULE, "more"), &["module-changed"], ByHand),
    ("a built module is deleted", |bed| bed.delete(BUILT), &["build-damaged"], AsBefore),
    ("a built module is torn", |bed| bed.write(BUILT_ONLY, "x"), &["build-damaged"], AsBefore),
    ("a built module is changed", |bed| bed.append(BUILT_ONLY, "more"), &["build-changed"], ByHand),
    (
        "an artefact's manifest is spoilt",
        |bed| bed.write("var/lib/dkms/one/1.0/{k2}/x86_64/.dkms-manifest.json", "{"),
        &["bad-manifest"],
        AsBefore,
    ),
    (
        "a kernel's manifest is spoilt",
        |bed| bed.write("lib/modules/{k1}/.dkms-manifest.json", "{"),
        &["bad-manifest"],
        AsBefore,
    ),
    (
        "a kernel's manifest is deleted",
        |bed| bed.delete("lib/modules/{k1}/.dkms-manifest.json"),
        &["not-listed"],
        AsBefore,
    ),
    (
        "an artefact has nothing in it",
        |bed| {
            bed.delete("var/lib/dkms/one/1.0/{k2}/x86_64/module");
            bed.delete("var/lib/dkms/one/1.0/{k2}/x86_64/.dkms-manifest.json");
        },
        &["build-damaged"],
        Mended,
    ),
    ("the source's link is lost", |bed| bed.delete("var/lib/dkms/one/1.0/source"), &["no-source"], AsBefore),
    ("the source is gone", |bed| bed.delete("usr/src/one-1.0"), &["no-source"], ByHand),
    ("the state is lost", |bed| bed.delete("var/lib/dkms"), &["unregistered"], Mended),
    (
        "the state and the source are lost",
        |bed| {
            bed.delete("var/lib/dkms");
            bed.delete("usr/src/one-1.0");
        },
        &["unregistered"],
        ByHand,
    ),
    (
        "nothing is left but a manifest",
        |bed| {
            bed.delete("var/lib/dkms");
            bed.delete("lib/modules/{k1}/updates");
        },
        &["nothing-left", "stale-index"],
        Mended,
    ),
    ("the build for a kernel is lost", |bed| bed.delete("var/lib/dkms/one/1.0/{k1}"), &["dangling-link"], AsBefore),
    (
        "a link to an installed build leads nowhere",
        |bed| symlink("3.0/6.9/x86_64", bed.path("var/lib/dkms/one/kernel-6.9-x86_64")).unwrap(),
        &["dangling-link"],
        AsBefore,
    ),
    (
        "remains of a version",
        |bed| fs_err::create_dir_all(bed.path("var/lib/dkms/one/0.1/6.9")).unwrap(),
        &["remains"],
        AsBefore,
    ),
    ("remains of a version, with files", |bed| bed.write("var/lib/dkms/one/0.1/somebody's", ""), &["remains"], ByHand),
    (
        "somebody's module among ours",
        |bed| bed.write("lib/modules/{k1}/updates/dkms/theirs.ko", ""),
        &["foreign"],
        ByHand,
    ),
    (
        "the kernel is removed",
        |bed| {
            for what in ["kernel", "build", "modules.order", "modules.builtin"] {
                bed.delete(&format!("lib/modules/{{k1}}/{what}"));
            }
        },
        &["kernel-gone"],
        Mended,
    ),
    (
        "original modules of a kernel that was removed",
        |bed| bed.write("var/lib/dkms/one/original_module/6.9/x86_64/one.ko", ""),
        &["kernel-gone"],
        ByHand,
    ),
    (
        "the record of a kernel that was removed",
        |bed| {
            let from = fs_err::read_to_string(bed.path("var/lib/dkms/.dkms/records/one/1.0/{k2}/x86_64.json")).unwrap();
            let to = "var/lib/dkms/.dkms/records/one/1.0/6.9/x86_64.json";
            bed.write(to, &from.replace(bed::KERNELS[1], "6.9"));
        },
        &["kernel-gone"],
        AsBefore,
    ),
    (
        "an index without ours",
        |bed| {
            // modprobe reads the other one, where it is there.
            bed.delete("lib/modules/{k1}/modules.dep.bin");
            bed.write("lib/modules/{k1}/modules.dep", "kernel/own.ko:\n");
        },
        &["stale-index"],
        AsBefore,
    ),
    (
        "what killed runs leave",
        |bed| {
            bed.write("lib/modules/{k1}/updates/.dkms-new-4194305-0", "");
            bed.write("var/lib/dkms/.dkms/.dkms-new-4194305-1", "");
            bed.write("usr/src/.dkms-new-4194305-2/dkms.conf", "");
        },
        &["leftover", "leftover", "leftover"],
        AsBefore,
    ),
    (
        "work directories of killed runs",
        |bed| bed.write("var/lib/dkms/.dkms/work/4194305-1/build/a.c", ""),
        &["leftover"],
        AsBefore,
    ),
    (
        "a depmod that a killed run left undone",
        |bed| bed.write("var/lib/dkms/.dkms/owed/depmod/{k1}@4194305-0", ""),
        &["stale-index"],
        AsBefore,
    ),
    (
        "an initramfs that a killed run left undone",
        |bed| bed.write("var/lib/dkms/.dkms/owed/initramfs/{k1}@4194305-0", ""),
        &["initramfs-overdue"],
        AsBefore,
    ),
    ("a journal that is of no use", |bed| bed.write("var/lib/dkms/.dkms/journal/1.bad", ""), &["bad-journal"], ByHand),
    ("a name that is none", |bed| bed.write("var/lib/dkms/one/a b/source", ""), &["unreadable"], ByHand),
];

fn main() -> ExitCode {
    let words: Vec<OsString> = std::env::args_os().skip(1).collect();
    if let Some(code) = probes::stage(&words) {
        return code;
    }
    // `cargo test FILTER` asks every test program.
    let wanted = words.iter().filter_map(|word| word.to_str()).find(|word| !word.starts_with('-'));
    let base = Bed::new();
    for kernel in bed::KERNELS {
        base.write(&format!("lib/modules/{kernel}/modules.dep"), "kernel/own.ko:\n");
    }
    base.ok("install one/1.0 -k {k1}");
    base.ok("build one/1.0 -k {k2}");
    let mut failures = 0;
    let damages = DAMAGES.iter().filter(|(name, ..)| wanted.is_none_or(|wanted| name.contains(wanted)));
    for (name, damage, faults, end) in damages {
        if let Err(why) = try_one(&base, *damage, faults, *end) {
            eprintln!("{name}: {why}\n");
            failures += 1;
        }
    }
    eprintln!("{} cases, {failures} failed", DAMAGES.len());
    ExitCode::from(u8::from(failures > 0))
}

fn try_one(base: &Bed, damage: fn(&Bed), faults: &[&str], end: End) -> Result<(), String> {
    let bed = base.copy();
    let whole = files(&bed);
    damage(&bed);
    let before = files(&bed);
    let (code, said) = bed.run("fsck --format json");
    let mut found = faults_in(&said);
    found.sort_unstable();
    if found != faults || code != if faults.is_empty() { 0 } else { 4 } {
        return Err(format!("found {found:?}, exit code {code}: {said:?}"));
    }
    let (dry, would) = bed.run("fsck --repair --dry-run");
    if files(&bed) != before || dry != 0 {
        return Err(format!("looking changed something, or ended with {dry}: {would:?}"));
    }
    let (code, said) = bed.run("fsck --repair");
    let (again, left) = bed.run("fsck");
    if end == ByHand {
        let by_hand = would.iter().any(|line| line.starts_with("    By hand: "));
        if code != 4 || again != 4 || !by_hand {
            return Err(format!("{code}, then {again}: {said:?}, {would:?}"));
        }
        // What it can't mend it leaves as it is.
        let changed = differences(&before, &files(&bed));
        return if changed.is_empty() { Ok(()) } else { Err(format!("it changed {changed:?}: {said:?}")) };
    }
    if code != 0 || again != 0 {
        return Err(format!("not mended: {code}, then {again}: {said:?}, {left:?}"));
    }
    let differ = if end == AsBefore { differences(&whole, &files(&bed)) } else { Vec::new() };
    if differ.is_empty() { Ok(()) } else { Err(format!("it is not as before: {differ:?}: {said:?}")) }
}

fn faults_in(said: &[String]) -> Vec<String> {
    let json: serde_json::Value = serde_json::from_str(&said[0]).unwrap();
    let found = json["found"].as_array().unwrap().iter();
    found.map(|finding| finding["fault"].as_str().unwrap().to_owned()).collect()
}

/// What is in a bed, but for locks, times and inodes.
fn files(bed: &Bed) -> BTreeMap<String, Vec<u8>> {
    fn walk(top: &Path, below: &Path, found: &mut BTreeMap<String, Vec<u8>>) {
        for entry in fs_err::read_dir(top.join(below)).unwrap() {
            let entry = entry.unwrap();
            let path = below.join(entry.file_name());
            let name = path.display().to_string();
            // The index is depmod's; logs and records tell of the latest run.
            let varies = ["modules.", ".log", ".json", "/.dkms/lock", "reserve"];
            let content = if entry.path().is_symlink() {
                fs_err::read_link(entry.path()).unwrap().into_os_string().into_encoded_bytes()
            } else if entry.path().is_dir() {
                walk(top, &path, found);
                Vec::new()
            } else if varies.iter().any(|part| name.contains(part)) {
                Vec::new()
            } else {
                fs_err::read(entry.path()).unwrap()
            };
            let is_empty_place = name.contains("/.dkms/owed") && entry.path().is_dir();
            if !name.contains("/.dkms/locks") && !name.contains("modules.") && !is_empty_place {
                found.insert(name, content);
            }
        }
    }
    let mut found = BTreeMap::new();
    walk(&bed.path(""), Path::new(""), &mut found);
    found
}

fn differences(one: &BTreeMap<String, Vec<u8>>, other: &BTreeMap<String, Vec<u8>>) -> Vec<String> {
    let names: std::collections::BTreeSet<&String> = one.keys().chain(other.keys()).collect();
    names.into_iter().filter(|name| one.get(*name) != other.get(*name)).cloned().collect()
}
