//! What a run has read it does not read again: how often each verb reads the tree, kernels' directories, manifests and
//! dkms.conf files. `again` counts what a change of the run's own, or a lock that it took, made it read once more.

// A program of its own (`harness = false`), since builds start it again to enter their namespaces.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr, clippy::disallowed_methods)]

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::process::ExitCode;

use dkms_core::context::Context;
use dkms_core::facts::Facts;
use dkms_core::names::{Kernel, Package};
use dkms_core::probes;
use dkms_core::tree::snapshot::{Count, Counts};
use dkms_core::tree::walk::{Filter, walk};

mod bed;

use bed::{Bed, KERNELS};

fn main() -> ExitCode {
    let words: Vec<OsString> = std::env::args_os().skip(1).collect();
    if let Some(code) = probes::stage(&words) {
        return code;
    }
    // Started without a word, as some fronts are, it is ready for the stage all the same.
    assert!(dkms_core::sandbox::confine::is_ready());
    let bed = Bed::new();
    // Who owns nothing could not count.
    bed.write("etc/dkms/framework.conf.d/root.conf", "build_as=root\n");
    let names = ["one", "a", "b", "c", "d", "e", "f", "g", "h"];
    for name in names {
        let note = bed.path("evaluated");
        bed.source(&format!("usr/src/{name}-1.0"), name, "1.0", &format!("echo {name} >>{}\n", note.display()));
    }
    // How often it reads: names of the tree, kernels' directories, manifests, dkms.conf files.
    let cases = [
        // The manifest of what was built, and that beside the kernel's modules.
        ("install one/1.0 -k {k1}", [(1, 0), (0, 0), (2, 0)], 1),
        // What its change has made old is read again when the package's own lock is there.
        ("install one/1.0 -k {k2}", [(1, 1), (0, 0), (3, 0)], 1),
        ("reconcile", [(1, 0), (2, 0), (2, 0)], 0),
        ("status", [(1, 0), (0, 0), (2, 0)], 0),
        ("doctor", [(1, 0), (2, 0), (2, 0)], 0),
        ("why one/1.0 -k {k1}", [(1, 0), (2, 0), (2, 0)], 1),
        // Eight changes of what is beside the kernel's modules, each of which looks at it.
        ("autoinstall -k {k1}", [(9, 8), (2, 1), (10, 8)], 8),
        ("reconcile", [(9, 8), (2, 1), (10, 8)], 8),
        ("reconcile", [(9, 0), (2, 0), (2, 0)], 0),
    ];
    let mut failures = 0;
    for (line, [found, kernels, manifests], confs) in cases {
        if line.starts_with("autoinstall") {
            // Eight that are new.
            names[1..].iter().for_each(|name| bed.ok(&format!("add {name}/1.0")));
        }
        bed.write("evaluated", "");
        let (code, said, counts) = bed.counted(line);
        let evaluated = fs_err::read_to_string(bed.path("evaluated")).unwrap().lines().count();
        let count = |(first, again)| Count { first, again };
        // An index is read again after this run's own depmod alone.
        let (indexes, reads) = (counts.indexes, ["status", "doctor", "why"].iter().any(|verb| line.starts_with(verb)));
        let expected = Counts { names: count(found), kernels: count(kernels), manifests: count(manifests), indexes };
        // Those of all kernels are looked at for what is stale; `status` asks for none.
        let all = if line == "status" { 0 } else { KERNELS.len() };
        assert!(indexes.first == all && indexes.again <= usize::from(!reads), "{line}: {indexes:?}");
        if code != 0 || counts != expected || evaluated != confs {
            failures += 1;
            eprintln!("{line}: {code}, {counts:?}, {evaluated}\ninstead of {expected:?}, {confs}\n{said:?}\n");
        }
    }
    assert_eq!(failures, 0);
    what_another_run_changes_shows();
    what_can_not_be_read_is_not_gone();
    several_confs_are_evaluated_at_once();
    ExitCode::SUCCESS
}

/// What another run changes shows at the next look, and what this run knows it does not read again.
fn what_another_run_changes_shows() {
    let bed = Bed::new();
    let one = Package::new("one", "1.0").unwrap();
    let kernel = Kernel::new(KERNELS[0], "x86_64").unwrap();
    let (_, ctx) = bed.parse("status");
    let is_built = || {
        let found = walk(&ctx.trees, &Filter::package(&one)).packages;
        found.iter().any(|entry| entry.is_built_for(&kernel))
    };
    let reads = || {
        let Count { first, again } = ctx.trees.snapshot().counts().names;
        first + again
    };
    let lock = || drop(ctx.lock_tree().unwrap());
    for used in [false, true] {
        for (line, expected) in [("build one/1.0 -k {k1}", true), ("unbuild one/1.0 -k {k1}", false)] {
            bed.ok(line);
            if used {
                lock();
            }
            assert_eq!(is_built(), expected, "{line}");
            let before = reads();
            lock();
            assert_eq!(is_built(), expected, "{line}");
            assert_eq!(reads(), before, "{line}: nobody else has had the lock");
        }
    }
    // Where only the lock of the package tells.
    for lock in [
        |ctx: &Context, package: &Package, kernel: &Kernel| drop(ctx.lock_pair(package, kernel, &|_| {}).unwrap()),
        |ctx: &Context, package: &Package, _: &Kernel| drop(ctx.lock_build(package, &|_| {}).unwrap()),
    ] {
        bed.write("var/lib/dkms/one/1.0/{k1}/x86_64/module/one.ko", "");
        lock(&ctx, &one, &kernel);
        assert!(is_built());
        bed.delete("var/lib/dkms/one/1.0/{k1}");
        lock(&ctx, &one, &kernel);
        assert!(!is_built());
    }
}

/// A part of the tree that can't be read may hold what comes back when a module goes: the module stays.
fn what_can_not_be_read_is_not_gone() {
    let bed = Bed::new();
    bed.ok("install one/1.0 -k {k1}");
    let installed = bed.path(&format!("lib/modules/{}/updates/one.ko", KERNELS[0]));
    assert!(installed.is_file());
    fs_err::remove_dir_all(bed.path(&format!("var/lib/dkms/one/1.0/{}", KERNELS[0]))).unwrap();
    let odd = bed.path("var/lib/dkms/one").join(OsStr::from_bytes(b"\xff"));
    fs_err::write(&odd, "").unwrap();
    let (code, said, _) = bed.counted("kernel_prerm -k {k1}");
    assert_eq!((code, installed.is_file()), (14, true), "{said:?}");
    fs_err::remove_file(&odd).unwrap();
    bed.ok("kernel_prerm -k {k1}");
    assert!(!installed.exists());
}

/// Two threads that ask about two packages do not wait for each other: each file here waits for the other to be read.
fn several_confs_are_evaluated_at_once() {
    let bed = Bed::new();
    bed.write("etc/dkms/framework.conf.d/root.conf", "build_as=root\n");
    for (own, other) in [("here", "there"), ("there", "here")] {
        let [own_file, other_file] = [own, other].map(|name| bed.path(name).display().to_string());
        let waits = format!(": >{own_file}; until [ -e {other_file} ]; do read -rt 0.01 <> <(:); done\n");
        bed.source(&format!("usr/src/{own}-1.0"), own, "1.0", "");
        bed.ok(&format!("add {own}/1.0"));
        let conf = format!("usr/src/{own}-1.0/dkms.conf");
        bed.append(&conf, &waits);
    }
    let (_, ctx) = bed.parse("status");
    let facts = Facts::new(&ctx);
    let kernel = facts.kernel(&Kernel::new(KERNELS[0], "x86_64").unwrap()).unwrap();
    let ask = |name: &str| facts.evaluate(&Package::new(name, "1.0").unwrap(), &kernel, None, true).map(drop);
    std::thread::scope(|scope| {
        let asked = [scope.spawn(|| ask("here")), scope.spawn(|| ask("there"))];
        for thread in asked {
            thread.join().unwrap().unwrap();
        }
    });
}
