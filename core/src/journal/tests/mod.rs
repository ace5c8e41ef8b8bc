mod bed;
mod probation;

use super::recover::recover_with;
use super::*;
use crate::digest::Digest;
use crate::files::copy_tree;
use crate::names::{Kernel, Package};
use crate::root::Root;
use crate::tree::compare::{Differences, differences};
use crate::tree::manifest::{Installed, InstalledFile, KernelManifest};
use crate::tree::walk::{Filter, walk};
use std::fs::File;
use std::io::{BufRead, BufReader};

use bed::{Bed, Snapshot, bed, kernel, on, package, plain};

type Prepare = fn(&Bed);
type Make = for<'a> fn(&'a Bed) -> Change<'a>;

const CHANGES: [(&str, Prepare, Make); 5] = [
    ("install", |_| {}, |bed| bed.install("updates/dkms")),
    ("install in place", |_| {}, |bed| bed.install("kernel/net")),
    ("uninstall", |bed| bed.install("updates/dkms").commit().unwrap(), |bed| bed.uninstall("updates/dkms")),
    ("uninstall in place", |bed| bed.install("kernel/net").commit().unwrap(), |bed| bed.uninstall("kernel/net")),
    ("replace", |bed| bed.install("updates/dkms").commit().unwrap(), Bed::replace),
];

/// One kind of change, on a file system with or without RENAME_EXCHANGE.
struct Case {
    name: String,
    prepare: Prepare,
    make: Make,
    exchange: bool,
    before: Snapshot,
    after: Snapshot,
}

impl Case {
    fn fresh(&self) -> Bed {
        let bed = bed();
        (self.prepare)(&bed);
        bed
    }

    fn change<'a>(&self, bed: &'a Bed) -> Change<'a> {
        let mut change = (self.make)(bed);
        change.executor.exchange = self.exchange;
        change
    }
}

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, prepare, make) in CHANGES {
        for exchange in [true, false] {
            let mut case = Case {
                name: format!("{name}, exchange: {exchange}"),
                prepare,
                make,
                exchange,
                before: Snapshot::new(),
                after: Snapshot::new(),
            };
            let bed = case.fresh();
            case.before = bed.snapshot();
            case.change(&bed).commit().unwrap();
            case.after = bed.snapshot();
            assert_ne!(case.before, case.after, "{name}");
            assert_eq!(bed.journals(), 0, "{name}");
            cases.push(case);
        }
    }
    cases
}

#[test]
fn an_installation_looks_as_it_should() {
    let bed = bed();
    bed.install("updates/dkms").commit().unwrap();
    let there = bed.snapshot();
    let originals = "var/lib/dkms/a/original_module/6.1/x";
    assert_eq!(there["lib/modules/6.1/updates/dkms/a.ko.xz"], "644 ours");
    assert_eq!(there[&format!("{originals}/a.ko.xz")], "644 stock");
    assert_eq!(there[&format!("{originals}/a.ko.xz.origin")], "644 /lib/modules/6.1/kernel/net/a.ko.xz\n");
    assert!(!there.contains_key("lib/modules/6.1/kernel/net/a.ko.xz"));
    assert_eq!(there["var/lib/dkms/a/kernel-6.1-x"], "-> 1/6.1/x");
    assert_eq!(bed.differences(), Differences::None);
    let manifest = KernelManifest::load(&bed.trees.kernel_manifest(&kernel().release));
    let manifest = manifest.unwrap().unwrap();
    let file = &manifest.installed[0].files[0];
    assert!(file.identity.is_some() && file.tree_identity.is_some());
    bed.uninstall("updates/dkms").commit().unwrap();
    assert_eq!(bed.snapshot(), super::tests::bed().snapshot());
}

#[test]
fn stopped_anywhere_it_is_all_or_nothing_after_recovery() {
    for case in cases() {
        let (name, before, after) = (&case.name, &case.before, &case.after);
        let mut committed = false;
        for k in 0.. {
            let bed = case.fresh();
            let mut change = case.change(&bed);
            change.executor.stop_after = Some(k);
            if change.commit().is_ok() {
                assert!(committed && k > 10, "{name}: {k} steps");
                break;
            }
            // Killed again while recovering, and once more.
            for j in [k % 7, k % 5] {
                let mut executor = Executor { stop_after: Some(j), ..Executor::default() };
                let _ = recover_with(&bed.trees, &mut executor, &|_, _| {});
            }
            recover(&bed.trees, &|_, _| {}).unwrap();
            let there = bed.snapshot();
            committed |= there != *before;
            assert_eq!(&there, if committed { after } else { before }, "{name}, step {k}");
            assert_eq!(bed.journals(), 0, "{name}, step {k}");
            if committed && !name.starts_with("uninstall") {
                assert_eq!(bed.differences(), Differences::None, "{name}, step {k}");
            }
            assert_eq!(recover(&bed.trees, &|_, _| {}).unwrap().finished.len(), 0);
        }
    }
}

/// The system is copied after a kill (a backup that is restored, an image): all inode numbers are others.
#[test]
fn recovery_knows_copies() {
    for case in cases() {
        let (name, before, after) = (&case.name, &case.before, &case.after);
        let mut committed = false;
        for k in 0.. {
            let bed = case.fresh();
            let mut change = case.change(&bed);
            change.executor.stop_after = Some(k);
            if change.commit().is_ok() {
                assert!(committed && k > 10, "{name}: {k} steps");
                break;
            }
            let place = bed.top.with_file_name(format!("copy-{}", durable::unique()));
            copy_tree(&bed.top, &place).unwrap();
            let mut copy = on(&place);
            copy.kept = None;
            let recovered = recover(&copy.trees, &|_, _| {}).unwrap();
            let there = copy.snapshot();
            committed |= there != *before;
            assert_eq!(&there, if committed { after } else { before }, "{name}, step {k}: {recovered:?}");
            assert_eq!(copy.journals(), 0, "{name}, step {k}");
            fs::remove_dir_all(&place).unwrap();
        }
    }
}

/// Where a copy has come too late to know what became of a file, it is left alone, and so is the journal.
#[test]
fn what_a_copy_does_not_tell_is_left_alone() {
    let bed = bed();
    let mut change = bed.install("updates/dkms");
    change.executor.stop_after = Some(20);
    change.commit().unwrap_err();
    let place = bed.top.with_file_name(format!("copy-{}", durable::unique()));
    copy_tree(&bed.top, &place).unwrap();
    let copy = on(&place);
    // It was being written while it was copied.
    for entry in fs::read_dir(copy.path("lib/modules/6.1/updates/dkms")).unwrap() {
        fs::write(entry.unwrap().path(), "half of i").unwrap();
    }
    let before = copy.snapshot();
    let recovered = recover(&copy.trees, &|_, _| {}).unwrap();
    assert_eq!((recovered.finished.len(), recovered.undone.len()), (0, 0), "{recovered:?}");
    assert_eq!(copy.snapshot(), before);
    let left = fs::read_dir(copy.trees.journals()).unwrap().map(|entry| entry.unwrap().path());
    assert!(left.into_iter().all(|path| path.extension().is_some_and(|end| end == "bad")));
    fs::remove_dir_all(&place).unwrap();
}

#[test]
fn failing_anywhere_everything_is_as_it_was() {
    for case in cases() {
        let (name, before, after) = (&case.name, &case.before, &case.after);
        for k in 0.. {
            let bed = case.fresh();
            let mut change = case.change(&bed);
            change.executor.fail_after = Some(k);
            let end = change.commit();
            let there = bed.snapshot();
            assert_eq!(bed.journals(), 0, "{name}, step {k}");
            if end.is_ok() {
                assert!(k > 5);
                assert_eq!(&there, after, "{name}, step {k}");
                break;
            }
            assert_eq!(&there, before, "{name}, step {k}");
        }
    }
}

#[test]
fn another_file_that_came_meanwhile_stays() {
    let bed = bed();
    let path = bed.path("lib/modules/6.1/modules.dep");
    let mut change = Change::new(&bed.trees, "remove");
    change.remove_file(&path);
    fs::rename(bed.path("lib/modules/6.1/kernel/net/a.ko.xz"), &path).unwrap();
    change.commit().unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"stock");
}

#[test]
fn a_foreign_file_in_the_way_of_a_recovery_wins() {
    let bed = bed();
    let before = bed.snapshot();
    let total = (0..100)
        .find(|k| {
            let bed = super::tests::bed();
            let mut change = bed.install("updates/dkms");
            change.executor.stop_after = Some(*k);
            matches!(change.commit(), Err(JournalError::Stopped))
                && fs::read_dir(bed.trees.journals()).unwrap().any(|journal| {
                    let text = fs::read_to_string(journal.unwrap().path()).unwrap();
                    text.contains("\"forward\"")
                })
        })
        .unwrap();
    let mut change = bed.install("updates/dkms");
    change.executor.stop_after = Some(total);
    change.commit().unwrap_err();
    bed.file("lib/modules/6.1/updates/dkms/a.ko.xz", "foreign");
    let recovered = recover(&bed.trees, &|_, _| {}).unwrap();
    assert_eq!(recovered.undone, ["install a/1 for 6.1"]);
    let mut there = bed.snapshot();
    assert_eq!(there.remove("lib/modules/6.1/updates/dkms/a.ko.xz").unwrap(), "644 foreign");
    there.retain(|name, _| !name.starts_with("lib/modules/6.1/updates"));
    assert_eq!(there, before);
}

#[test]
fn a_missing_source_undoes_everything() {
    let bed = bed();
    let before = bed.snapshot();
    let mut change = bed.install("updates/dkms");
    change.stage_copy(Path::new("/nonexistent"), 0o644, &bed.path("lib/x/y"));
    let error = change.commit().unwrap_err();
    assert!(error.to_string().contains("/nonexistent"), "{error}");
    assert_eq!(bed.snapshot(), before);
}

#[test]
fn recovery_works_from_another_root_and_names_the_kernels() {
    let bed = bed();
    let mut change = bed.install("updates/dkms");
    change.executor.stop_after = Some(25);
    change.commit().unwrap_err();
    let elsewhere = super::tests::bed();
    let new = elsewhere.path("booted");
    fs::rename(&bed.top, &new).unwrap();
    let trees = Trees::new(Root::at(&new).unwrap());
    let recovered = recover(&trees, &|_, _| {}).unwrap();
    assert_eq!(recovered.finished, ["install a/1 for 6.1"]);
    assert_eq!(recovered.kernels.into_iter().collect::<Vec<_>>(), [kernel().release]);
    assert_eq!(fs::read(new.join("lib/modules/6.1/updates/dkms/a.ko.xz")).unwrap(), b"ours");
}

#[test]
fn rubbish_among_the_journals_stops_nobody() {
    let bed = bed();
    durable::own_dirs(&bed.trees.journals()).unwrap();
    let bad = bed.trees.journals().join("x.json");
    fs::write(&bad, "{").unwrap();
    fs::write(bed.trees.journals().join(".dkms-new-1"), "{").unwrap();
    assert_eq!(recover(&bed.trees, &|_, _| {}).unwrap(), Recovered::default());
    assert!(bad.with_extension("bad").exists());
    assert_eq!(bed.journals(), 1);
}

/// A change that can't be carried out stops no other, only one of the same files; and it is tried again.
#[test]
fn a_change_that_is_stuck_stops_only_what_it_touches() {
    let bed = bed();
    let mut change = bed.install("updates/dkms");
    // Killed when everything is written, and nothing in place.
    change.executor.stop_after = Some(16);
    assert!(matches!(change.commit(), Err(JournalError::Stopped)));
    assert_eq!(bed.journals(), 1);
    let updates = bed.path("lib/modules/6.1/updates/dkms");
    let text = fs::read_to_string(bed.trees.journals().read_dir().unwrap().next().unwrap().unwrap().path()).unwrap();
    assert!(text.contains(r#""direction":"forward""#), "it is to be completed: {text}");
    // As a file system that has become read-only: nobody can put anything there (FS_IOC_SETFLAGS(2const)).
    let dir = File::open(&updates).unwrap();
    if rustix::fs::ioctl_setflags(&dir, rustix::fs::IFlags::IMMUTABLE).is_err() {
        return;
    }
    let recovered = recover(&bed.trees, &|_, _| {}).unwrap();
    assert_eq!(recovered.stuck.len(), 1, "{recovered:?}");
    assert!(recovered.stuck[0].0.contains("install a/1 for 6.1") && bed.journals() == 1);
    let mut other = Change::new(&bed.trees, "other");
    other.stage_bytes(b"x".to_vec(), 0o644, &bed.path("lib/modules/6.1/updates/other.ko"));
    other.commit().unwrap();
    let mut same = Change::new(&bed.trees, "same");
    same.stage_bytes(b"x".to_vec(), 0o644, &updates.join("a.ko.xz"));
    assert!(matches!(same.commit(), Err(JournalError::Pending(what)) if what.contains("install")));
    rustix::fs::ioctl_setflags(&dir, rustix::fs::IFlags::empty()).unwrap();
    let recovered = recover(&bed.trees, &|_, _| {}).unwrap();
    assert_eq!((recovered.finished.len(), recovered.stuck.len(), bed.journals()), (1, 0, 0), "{recovered:?}");
    assert_eq!(fs::read(updates.join("a.ko.xz")).unwrap(), b"ours");
}

/// What a journal says is done: none may name what is not a change's.
#[test]
fn journals_that_lead_elsewhere_are_put_aside() {
    let object = r#"{"kind":"other","ino":1,"size":6,"mtime_ns":0}"#;
    let put = |temp: &str, to: &str| {
        format!(r#""puts":[{{"temp":"{temp}","to":"{to}","owned":true,"new":null,"old":null}}],"takes":[],"prunes":[]"#)
    };
    let tree = "/var/lib/dkms/a/1";
    for body in [
        put("/var/lib/dkms/../../srv/precious", &format!("{tree}/x")),
        put("/var/lib/dkms/../../../../../../srv/precious", &format!("{tree}/x")),
        put("/srv/precious", &format!("{tree}/x")),
        put(&format!("{tree}/.dkms-new-1"), "/lib/modules/6.1/../../../srv/precious"),
        put(&format!("{tree}/.dkms-new-1"), "srv/precious"),
        format!(r#""puts":[],"takes":[{{"path":"{tree}/x","aside":"/srv/precious","object":{object}}}],"prunes":[]"#),
        format!(
            r#""puts":[{{"temp":"{tree}/.dkms-new-1","to":"{tree}/x","owned":true,"new":null,"old":[{object},"/srv/precious"]}}],"takes":[],"prunes":[]"#
        ),
        r#""puts":[],"takes":[],"prunes":[["/srv/../srv/precious","/srv"]]"#.to_owned(),
    ] {
        let bed = bed();
        bed.file("srv/precious", "data");
        durable::own_dirs(&bed.trees.journals()).unwrap();
        let journal = bed.trees.journals().join("1-x.json");
        let text =
            format!(r#"{{"format":1,"id":"1-x","what":"harm","direction":"back","made":[],{body},"seal":null}}"#);
        fs::write(&journal, &text).unwrap();
        let before = bed.snapshot();
        assert_eq!(recover(&bed.trees, &|_, _| {}).unwrap(), Recovered::default(), "{text}");
        assert_eq!(bed.snapshot(), before, "{text}");
        assert!(journal.with_extension("bad").exists(), "{text}");
    }
}

/// Another system's tree may have links to anywhere: they lead where they lead in that system.
#[test]
fn changes_in_another_root_stay_there() {
    let host = tempfile::tempdir().unwrap();
    fs::write(host.path().join("precious"), "data").unwrap();
    let outside = host.path().to_str().unwrap().trim_start_matches('/').to_owned();
    for (link, path) in [
        ("lib/modules/6.1/updates", "lib/modules/6.1/updates/precious"),
        ("var/lib/dkms/a/1/link", "var/lib/dkms/a/1/link/precious"),
    ] {
        let bed = bed();
        fs::create_dir_all(bed.path(&outside)).unwrap();
        symlink(host.path(), bed.path(link)).unwrap();
        bed.file(&format!("{outside}/precious"), "inner");
        let mut change = Change::new(&bed.trees, "leave");
        change.remove_file(&bed.path(path)).stage_bytes(b"new".to_vec(), 0o644, &bed.path(path).with_file_name("new"));
        change.prune_empty_dirs(&bed.path(path), &bed.path(link));
        change.commit().unwrap();
        assert_eq!(fs::read(host.path().join("precious")).unwrap(), b"data", "{link}");
        assert!(!host.path().join("new").exists(), "{link}");
        assert!(!bed.path(&format!("{outside}/precious")).exists(), "{link}");
        assert_eq!(fs::read(bed.path(&format!("{outside}/new"))).unwrap(), b"new", "{link}");
    }
    // Nor does our own state.
    let bed = bed();
    for own in ["var/lib/dkms/.dkms", "var/lib/dkms/b", "lib/modules/7"] {
        symlink(host.path(), bed.path(own)).unwrap();
    }
    let t = &bed.trees;
    let b = Package::new("b", "1").unwrap();
    for path in [
        t.own(),
        t.journals(),
        t.lock(),
        t.package_dir(&b),
        t.name_dir(&b.name),
        t.modules_dir(&Release::new("7").unwrap()),
    ] {
        assert!(path.starts_with(&bed.top), "{}", path.display());
    }
}

/// While an interrupted removal keeps something in a package's directory, that can't go with the package; it goes with the last
/// of it.
#[test]
fn a_directory_goes_with_the_last_that_was_left_in_it() {
    let mut tried = 0;
    for k in 0.. {
        let bed = bed();
        bed.install("updates/dkms").commit().unwrap();
        let mut change = bed.uninstall("updates/dkms");
        change.executor.stop_after = Some(k);
        if change.commit().is_ok() {
            break;
        }
        let goes = !bed.trees.active_link(&package().name, &kernel()).is_symlink();
        fs::remove_dir_all(bed.trees.package_dir(&package())).unwrap();
        recover(&bed.trees, &|_, _| {}).unwrap();
        if goes {
            tried += 1;
            assert!(!bed.trees.name_dir(&package().name).exists(), "stopped at {k}");
        }
    }
    assert!(tried > 3, "{tried}");
}

/// Kills a real process that does and undoes a change without end. The same test is that process
/// when it finds where to work in its environment.
#[test]
#[allow(clippy::disallowed_methods)] // how a test executor something to itself
fn a_killed_process_leaves_all_or_nothing() {
    const PLACE: &str = "DKMS_TEST_VICTIM";
    if let Some(place) = std::env::var_os(PLACE) {
        let bed = on(Path::new(&place));
        loop {
            bed.install("updates/dkms").commit().unwrap();
            println!("victim: installed");
            bed.uninstall("updates/dkms").commit().unwrap();
            println!("victim: uninstalled");
        }
    }
    let bed = bed();
    let before = bed.snapshot();
    bed.install("updates/dkms").commit().unwrap();
    let after = bed.snapshot();
    bed.uninstall("updates/dkms").commit().unwrap();
    for round in 1..=8 {
        let mut child = crate::process::command(std::env::current_exe().unwrap())
            .args(["--exact", "journal::tests::a_killed_process_leaves_all_or_nothing"])
            .args(["--nocapture", "--test-threads=1"])
            .env(PLACE, &bed.top)
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let seen = lines.map_while(Result::ok).filter(|line| line.contains("victim:")).take(round).count();
        assert_eq!(seen, round, "the victim works");
        child.kill().unwrap();
        child.wait().unwrap();
        recover(&bed.trees, &|_, _| {}).unwrap();
        let there = bed.snapshot();
        assert!(there == before || there == after, "{there:#?}");
        assert_eq!(bed.journals(), 0);
        if there == after {
            bed.uninstall("updates/dkms").commit().unwrap();
        }
    }
}

#[test]
fn originals_are_archived_across_file_systems() {
    let mut bed = bed();
    // Another file system than /dev/shm, where there is one.
    let elsewhere = tempfile::tempdir().unwrap();
    bed.trees.dkms.outer = elsewhere.path().join("dkms");
    let archived = bed.trees.dkms.outer.join("original_module/6.1/x/a.ko.xz");
    let stock = bed.path("lib/modules/6.1/kernel/net/a.ko.xz");
    let time = fs::metadata(&stock).unwrap().modified().unwrap();
    let mut change = Change::new(&bed.trees, "archive");
    change.archive(&stock, &archived, Path::new("/x"));
    change.commit().unwrap();
    assert!(!stock.exists());
    assert_eq!(fs::read(&archived).unwrap(), b"stock");
    assert_eq!(fs::metadata(&archived).unwrap().modified().unwrap(), time);
    let mut change = Change::new(&bed.trees, "restore");
    change.restore(&archived, &stock);
    change.commit().unwrap();
    assert_eq!(fs::read(&stock).unwrap(), b"stock");
    assert!(!archived.exists() && !origin_file(&archived).exists());
}
