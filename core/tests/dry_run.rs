//! `--dry-run` prints the very plan that is carried out: every verb that changes something, in every state that a package
//! and a kernel may be in. What a run did is told by the files it leaves, not by what it says.
//!
//! Each pair has a root of its own, with two kernels and packages whose "compiler" is `cp`. This test is a program like
//! `dkms`, since builds start it again to enter their namespaces.

// A program of its own (`harness = false`), all of which is a test: clippy's leave for tests does not reach it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr, clippy::disallowed_methods)]

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};

use dkms_core::cli::table::{Id, VERBS as VERB_TABLE};
use dkms_core::names::{Kernel, Package};
use dkms_core::probes;
use dkms_core::superseded::is_marked;
use dkms_core::tree::Trees;
use dkms_core::tree::manifest::KernelManifest;
use dkms_core::tree::record::Record;
use dkms_core::tree::walk::{self, Filter, Source};
use dkms_core::weak::links;

mod bed;
mod states;

use bed::{Bed, KERNELS};
use states::{STATES, VERBS};

fn main() -> ExitCode {
    let words: Vec<OsString> = std::env::args_os().skip(1).collect();
    if let Some(code) = probes::stage(&words) {
        return code;
    }
    // `cargo test FILTER` asks every test program.
    let wanted = words.iter().filter_map(|word| word.to_str()).find(|word| !word.starts_with('-'));
    let base = Bed::new();
    let prepared: Vec<(&str, Bed)> = STATES
        .iter()
        .map(|(name, lay)| {
            let bed = base.copy();
            lay(&bed);
            (*name, bed)
        })
        .collect();
    let cases: Vec<(&str, &Bed, &str)> = prepared
        .iter()
        .flat_map(|(state, bed)| VERBS.iter().map(move |verb| (*state, bed, *verb)))
        .filter(|(state, _, verb)| wanted.is_none_or(|wanted| format!("{state}: {verb}").contains(wanted)))
        .collect();
    let next = AtomicUsize::new(0);
    let failures: Vec<String> = std::thread::scope(|scope| {
        let work = || {
            let mut failures = Vec::new();
            while let Some((state, bed, verb)) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                if let Err(why) = alike(&bed.copy(), verb) {
                    failures.push(format!("{state}: {verb}\n{why}\n"));
                }
            }
            failures
        };
        let workers: Vec<_> = (0..2).map(|_| scope.spawn(work)).collect();
        workers.into_iter().flat_map(|worker| worker.join().expect("a worker ends")).collect()
    });
    for failure in &failures {
        eprintln!("{failure}");
    }
    eprintln!("{} cases, {} failed", cases.len(), failures.len());
    if wanted.is_none() {
        nothing_is_written(&base);
    }
    ExitCode::from(u8::from(!failures.is_empty()))
}

/// No dry run of any verb leaves a trace, whatever it is about. (Those of `dkms-mkpkg` are another program's.)
fn nothing_is_written(base: &Bed) {
    let bed = base.copy();
    bed.ok("build one/1.0 -k {k1}");
    // Something to prune, and to hold no more.
    bed.ok("build one/0.9 -k {k2}");
    bed.write("etc/dkms/holds", "two\n");
    // Keys are made only where something is signed.
    bed.write("etc/dkms/framework.conf.d/test.conf", "try_sign_modules=true\n");
    // Those of other programs are tried with them.
    let changing =
        VERB_TABLE.iter().filter(|verb| verb.options.contains(&"dry-run") && !matches!(verb.id, Id::Mkpkg | Id::Share));
    for verb in changing {
        let operands = match verb.name {
            "add" => "follower/1.0",
            "ldtarball" => "{root}/srv/one.tar --force",
            "match" => "--templatekernel {k1} -k {k2}",
            "autoinstall" | "kernel_preinst" | "kernel_postinst" | "kernel_prerm" | "reconcile" | "generate_mok" => {
                "-k {k1}"
            }
            "mok" => "enroll",
            "init" => "{root}/srv/one",
            "sign" => "--all",
            "fsck" => "--repair",
            "hold" => "one",
            "unhold" => "two",
            "prune" => "--yes",
            _ => "one/1.0 -k {k1}",
        };
        let before = bed.everything();
        let (code, said) = bed.run(&format!("{} {operands} --dry-run", verb.name));
        assert_ne!(code, 2, "{} {operands}: {said:?}", verb.name);
        let after = bed.everything();
        let traces: Vec<_> = before.symmetric_difference(&after).collect();
        assert!(traces.is_empty(), "{}: {traces:?}\n{said:?}", verb.name);
    }
}

/// Whether a dry run promises what the run then does.
fn alike(bed: &Bed, verb: &str) -> Result<(), String> {
    let before = bed.look();
    let (dry, said) = bed.run(&format!("{verb} --dry-run"));
    if bed.look() != before {
        return Err(format!("the dry run changed something: {said:?}"));
    }
    let mut promised: BTreeSet<String> = said.iter().flat_map(|line| promises(line)).collect();
    bed.forget_records();
    let (code, heard) = bed.run(verb);
    let after = bed.look();
    let mut done = after.since(&before);
    // A source that is put in its place also mends a package whose own was gone.
    if said.iter().any(|line| line.starts_with("Would copy")) && !promised.contains("add one/1.0") {
        done.remove("add one/1.0");
    }
    // What is taken away from a kernel for good is uninstalled, or deleted, or both.
    for pair in promised.clone().iter().filter_map(|what| what.strip_prefix("remove ")) {
        let ways = [format!("uninstall {pair}"), format!("delete {pair}")];
        if ways.iter().any(|way| done.contains(way)) {
            promised.remove(&format!("remove {pair}"));
            promised.extend(ways.into_iter().filter(|way| done.contains(way)));
        }
    }
    // All that there is of a package goes with it.
    for package in promised.iter().filter_map(|what| what.strip_prefix("forget ")) {
        let all = [format!("delete {package} "), format!("uninstall {package} ")];
        done.retain(|what| promised.contains(what) || !all.iter().any(|some| what.starts_with(some)));
    }
    // What the tree does not know, it need not forget.
    promised.retain(|what| what.strip_prefix("forget ").is_none_or(|package| before.known.contains(package)));
    // What has no successor stays, and what serves a kernel that gets no build of its own.
    let fails = promised.iter().any(|what| what.starts_with("install one/") && bed.has_failed(what));
    let in_its_place = ["remove one/0.9", "forget one/0.9", "unlink "];
    let stays = |what: &str| fails && in_its_place.iter().any(|some| what.starts_with(some));
    let missed: Vec<&String> =
        promised.difference(&done).filter(|what| !bed.has_failed(what) && !stays(what)).collect();
    let more: Vec<&String> = done.difference(&promised).collect();
    if missed.is_empty() && more.is_empty() && (dry == code || dry == 0) {
        return Ok(());
    }
    Err(format!(
        "  promised, not done: {missed:?}\n  done, not promised: {more:?}\n  codes: {dry}, then {code}\n  {said:?}\n  {heard:?}"
    ))
}

/// What a line of a dry run promises.
fn promises(line: &str) -> Vec<String> {
    let line = line.trim_end_matches('.');
    let words: Vec<&str> = line.split([' ', ':', ',']).filter(|word| !word.is_empty()).collect();
    let package = words.iter().find(|word| word.contains('/') && !word.starts_with('/')).copied().unwrap_or_default();
    let kernel = words.iter().position(|word| *word == "kernel").and_then(|at| words.get(at + 1)).copied();
    let pair = |what: &str| format!("{what} {package} {}", kernel.unwrap_or_default());
    match words.as_slice() {
        ["Would", "add" | "register", ..] => vec![format!("add {package}")],
        ["Would", "build", ..] | ["build", "one/1.0" | "follower/1.0", ..] => vec![pair("build")],
        ["Would", "install", ..] | ["install", ..] => vec![pair("install")],
        ["build", "and", "install", ..] => vec![pair("build"), pair("install")],
        ["Would", "uninstall", ..] => vec![pair("uninstall")],
        ["Would", "delete", "the", "build", ..] => vec![pair("delete")],
        ["Would", "delete", "the", "link", path, ..] => vec![format!("unlink {}", path.trim_end_matches('.'))],
        ["Would", "delete" | "unregister", ..] => vec![format!("forget {package}")],
        ["Would", "remove", ..] | ["remove", ..] => vec![pair("remove")],
        ["Would", "mark", ..] => vec![pair("outdate")],
        ["Would", "load", ..] => vec!["add one/1.0".to_owned()],
        ["Would", "sign", ..] => vec![pair("sign")],
        ["Would", "hold", name] => vec![format!("hold {name}")],
        ["Would", "no", "longer", "hold", name] => vec![format!("unhold {name}")],
        ["Would", "copy" | "keep", ..] | ["Would", "run", "depmod", ..] => Vec::new(),
        ["Would", ..] => vec![format!("what is not understood: {line}")],
        _ => Vec::new(),
    }
}

/// What can be seen of a root.
#[derive(Debug, Default, PartialEq, Eq)]
struct Sight {
    /// Registered packages.
    added: BTreeSet<String>,
    /// Package directories.
    known: BTreeSet<String>,
    /// Artefacts, with their inodes.
    built: BTreeSet<(String, u64)>,
    /// Installations, with the inodes of their files.
    installed: BTreeSet<(String, u64)>,
    /// Marks of kernels that are being upgraded.
    outdated: BTreeSet<String>,
    /// Links between kernels.
    links: BTreeSet<String>,
    /// Packages that are held.
    held: BTreeSet<String>,
}

impl Sight {
    /// What was done since `before`.
    fn since(&self, before: &Self) -> BTreeSet<String> {
        fn pairs(sight: &BTreeSet<(String, u64)>) -> BTreeSet<&String> {
            sight.iter().map(|(pair, _)| pair).collect()
        }
        let new = |now: &BTreeSet<(String, u64)>, then: &BTreeSet<(String, u64)>, what: &str| -> Vec<String> {
            now.difference(then).map(|(pair, _)| format!("{what} {pair}")).collect()
        };
        let gone = |now: &BTreeSet<(String, u64)>, then: &BTreeSet<(String, u64)>, what: &str| -> Vec<String> {
            pairs(then).difference(&pairs(now)).map(|pair| format!("{what} {pair}")).collect()
        };
        let name = |pair: &str| pair.split('/').next().unwrap_or_default().to_owned();
        let end = |pair: &str| pair.split(' ').next_back().unwrap_or_default().to_owned();
        // Another version in its place is the other's installation.
        let replaced = |pair: &String| {
            self.installed.iter().any(|(now, _)| now != pair && name(now) == name(pair) && end(now) == end(pair))
        };
        let mut then = before.installed.clone();
        then.retain(|(pair, _)| !replaced(pair));
        let mut done: BTreeSet<String> = BTreeSet::new();
        done.extend(self.added.difference(&before.added).map(|package| format!("add {package}")));
        done.extend(before.known.difference(&self.known).map(|package| format!("forget {package}")));
        done.extend(new(&self.built, &before.built, "build"));
        done.extend(gone(&self.built, &before.built, "delete"));
        done.extend(new(&self.installed, &before.installed, "install"));
        done.extend(gone(&self.installed, &then, "uninstall"));
        done.extend(self.outdated.difference(&before.outdated).map(|pair| format!("outdate {pair}")));
        done.extend(before.links.difference(&self.links).map(|link| format!("unlink {link}")));
        done.extend(self.held.difference(&before.held).map(|name| format!("hold {name}")));
        done.extend(before.held.difference(&self.held).map(|name| format!("unhold {name}")));
        done
    }
}

/// What these tests ask of a bed.
trait Looks {
    /// Notes that the package waits for a successor of rpm's, or (`renewed`) has come anew.
    fn mark(&self, package: &str, renewed: bool);
    /// A link of `kernel` to the build of `one` for the kernel `from`, as vendors' programs make them.
    fn link(&self, kernel: &str, from: &str);
    fn forget_records(&self);
    /// Whether a step was tried, and came to nothing.
    fn has_failed(&self, what: &str) -> bool;
    /// Each file, with its inode, length and time; not the locks, which readers take, too.
    fn everything(&self) -> BTreeSet<(PathBuf, u64, u64, i64)>;
    fn look(&self) -> Sight;
}

impl Looks for Bed {
    fn mark(&self, package: &str, renewed: bool) {
        let (name, version) = package.split_once('/').unwrap();
        self.write(
            &format!("var/lib/dkms/.dkms/superseded/{package}/mark.json"),
            &format!(
                r#"{{"package":{{"name":"{name}","version":"{version}"}},"owner":{{"manager":"rpm"}},"source":"/usr/src/{name}-{version}","renewed":{renewed}}}"#
            ),
        );
    }

    fn link(&self, kernel: &str, from: &str) {
        let link = self.path(&format!("lib/modules/{kernel}/weak-updates/one.ko"));
        fs_err::create_dir_all(link.parent().unwrap()).unwrap();
        let target = self.path(&format!("lib/modules/{from}/updates/one.ko"));
        let target = Path::new("/").join(target.strip_prefix(self.path("")).unwrap());
        std::os::unix::fs::symlink(target, link).unwrap();
    }

    fn forget_records(&self) {
        let _ = std::fs::remove_dir_all(self.path("var/lib/dkms/.dkms/records"));
    }

    fn has_failed(&self, what: &str) -> bool {
        let words: Vec<&str> = what.split(' ').collect();
        let (Some(package), Some(kernel)) = (words.get(1), words.get(2)) else { return false };
        let (name, version) = package.split_once('/').unwrap();
        let (package, kernel) = (Package::new(name, version).unwrap(), Kernel::new(kernel, "x86_64").unwrap());
        let record = Record::load(&self.trees(), &package, &kernel).unwrap();
        record.is_some_and(|record| !format!("{:?}", record.outcome).starts_with("Installed"))
    }

    fn everything(&self) -> BTreeSet<(PathBuf, u64, u64, i64)> {
        let mut found = BTreeSet::new();
        let mut dirs = vec![self.path("")];
        while let Some(dir) = dirs.pop() {
            for entry in fs_err::read_dir(&dir).unwrap() {
                let path = entry.unwrap().path();
                let meta = fs_err::symlink_metadata(&path).unwrap();
                if meta.is_dir() && path.file_name().unwrap() != "locks" {
                    dirs.push(path.clone());
                }
                if !meta.is_dir() && path.file_name().unwrap() != "lock" {
                    found.insert((path, meta.ino(), meta.len(), meta.mtime_nsec()));
                }
            }
        }
        found
    }

    fn look(&self) -> Sight {
        let trees = self.trees();
        let inode = |path: &Path| fs_err::symlink_metadata(path).map_or(0, |meta| meta.ino());
        let mut sight = Sight::default();
        let holds = fs_err::read_to_string(self.path("etc/dkms/holds")).unwrap_or_default();
        sight.held = holds.lines().map(str::to_owned).collect();
        for entry in walk::walk(&trees, &Filter::default()).packages {
            let package = &entry.package;
            sight.known.insert(package.to_string());
            if entry.source == Source::Added && !is_marked(&trees, package) {
                sight.added.insert(package.to_string());
            }
            for kernel in KERNELS.map(|release| Kernel::new(release, "x86_64").unwrap()) {
                let pair = format!("{package} {}", kernel.release);
                let artefact = trees.artefact(package, &kernel);
                if artefact.exists() {
                    sight.built.insert((pair.clone(), inode(&artefact)));
                }
                if walk::is_active(&trees, package, &kernel) {
                    sight.installed.insert((pair.clone(), inode(&module(&trees, package, &kernel))));
                }
                let stale = fs_err::read_to_string(trees.stale_list(&kernel)).unwrap_or_default();
                if stale.lines().any(|line| line == package.to_string()) {
                    sight.outdated.insert(pair);
                }
            }
        }
        for link in links::all(&trees) {
            sight.links.insert(trees.shown(&link.link).display().to_string());
        }
        // What only the manifests beside the modules know.
        for kernel in KERNELS.map(|release| Kernel::new(release, "x86_64").unwrap()) {
            let beside = KernelManifest::beside(&trees, &kernel.release).unwrap().unwrap_or_default();
            for package in beside.installed.iter().map(|entry| &entry.package) {
                let file = module(&trees, package, &kernel);
                if file.exists() {
                    sight.installed.insert((format!("{package} {}", kernel.release), inode(&file)));
                }
            }
        }
        sight
    }
}

fn module(trees: &Trees, package: &Package, kernel: &Kernel) -> PathBuf {
    trees.modules_dir(&kernel.release).join(format!("updates/{}.ko", package.name))
}
