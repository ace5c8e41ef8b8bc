use super::recover::recover_with;
use super::*;
use crate::digest::Digest;
use crate::names::{Kernel, Package};
use crate::root::Root;
use crate::tree::compare::{Comparer, Differences};
use crate::tree::manifest::{Installed, InstalledFile, KernelManifest};
use crate::tree::walk::{Filter, walk};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};

/// A small system: a built package and a stock module of the same name.
struct Bed {
    top: PathBuf,
    trees: Trees,
    kept: Option<tempfile::TempDir>,
}

fn bed() -> Bed {
    // In memory where possible: thousands of fsyncs.
    let memory = Path::new("/dev/shm");
    let tmp = if memory.is_dir() { tempfile::tempdir_in(memory).unwrap() } else { tempfile::tempdir().unwrap() };
    let mut bed = on(tmp.path());
    bed.kept = Some(tmp);
    bed.file("lib/modules/6.1/kernel/net/a.ko.xz", "stock");
    bed.file("lib/modules/6.1/modules.dep", "");
    bed.file("var/lib/dkms/a/1/6.1/x/module/a.ko.xz", "ours");
    bed
}

fn on(top: &Path) -> Bed {
    Bed { top: top.to_owned(), trees: Trees::new(Root::at(top).unwrap()), kept: None }
}

fn package() -> Package {
    Package::new("a", "1").unwrap()
}

fn kernel() -> Kernel {
    Kernel::new("6.1", "x").unwrap()
}

/// A file that is readable for all, whatever the umask is.
fn plain(path: &Path, content: &str) {
    fs::write(path, content).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o644)).unwrap();
}

type Snapshot = BTreeMap<String, String>;

impl Bed {
    fn path(&self, path: &str) -> PathBuf {
        self.top.join(path)
    }

    fn file(&self, path: &str, content: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        plain(&path, content);
    }

    /// Everything but our own state, times and inode numbers.
    fn snapshot(&self) -> Snapshot {
        let mut found = BTreeMap::new();
        look(&self.top, &self.top, &mut found);
        found
    }

    fn journals(&self) -> usize {
        fs::read_dir(self.trees.journals()).map_or(0, Iterator::count)
    }

    fn manifest(&self, dir: &str, content: &str) -> Vec<u8> {
        let mut manifest =
            KernelManifest::load(&self.trees.kernel_manifest(&kernel().release)).unwrap().unwrap_or_default();
        manifest.put(Installed {
            package: package(),
            arch: kernel().arch,
            files: vec![InstalledFile {
                srcversion: None,
                path: dir.into(),
                name: "a".into(),
                file: "a.ko.xz".into(),
                digest: Digest::of(content.as_bytes()),
                identity: None,
                tree_identity: None,
                symlink: false,
            }],
            artefact_digest: None,
            kernel_identity: None,
            source_digest: None,
            headers_digest: None,
            headers_stamp: None,
            build_depends: Vec::new(),
            post_remove: None,
            no_weak_modules: false,
            has_exclusive: false,
            signer: None,
            installed_at: 0,
        });
        manifest.to_bytes().unwrap()
    }

    /// Installs to `updates/dkms`, or in the stock module's own place.
    fn install(&self, dir: &str) -> Change<'_> {
        let t = &self.trees;
        let (package, kernel) = (package(), kernel());
        let stock = self.path("lib/modules/6.1/kernel/net/a.ko.xz");
        let to = self.path(&format!("lib/modules/6.1/{dir}/a.ko.xz"));
        let built = t.artefact_modules(&package, &kernel).join("a.ko.xz");
        let mut change = Change::new(t, "install a/1 for 6.1");
        change
            .archive(&stock, &t.originals(&package.name, &kernel).join("a.ko.xz"), &t.shown(&stock))
            .stage_copy(&built, 0o644, &to)
            .stage_bytes(self.manifest(dir, "ours"), 0o644, &t.kernel_manifest(&kernel.release))
            .stage_symlink("1/6.1/x", &t.active_link(&package.name, &kernel))
            .seal(&kernel.release);
        change
    }

    fn uninstall(&self, dir: &str) -> Change<'_> {
        let t = &self.trees;
        let (package, kernel) = (package(), kernel());
        let originals = t.originals(&package.name, &kernel);
        let modules = t.modules_dir(&kernel.release);
        let mut change = Change::new(t, "uninstall a/1 from 6.1");
        change
            .restore(&originals.join("a.ko.xz"), &modules.join("kernel/net/a.ko.xz"))
            .remove_file(&modules.join(dir).join("a.ko.xz"))
            .remove_file(&t.kernel_manifest(&kernel.release))
            .remove_file(&t.active_link(&package.name, &kernel))
            .prune_empty_dirs(&modules.join(dir), &modules)
            .prune_empty_dirs(&originals, &t.name_dir(&package.name));
        change
    }

    fn replace(&self) -> Change<'_> {
        let t = &self.trees;
        let (package, kernel) = (package(), kernel());
        let staged = t.work().join("1-x");
        fs::create_dir_all(staged.join("module")).unwrap();
        plain(&staged.join("module/a.ko.xz"), "newer");
        let mut change = Change::new(t, "replace a/1 for 6.1");
        change
            .replace_dir(&staged, &t.artefact(&package, &kernel))
            .stage_copy(&staged.join("module/a.ko.xz"), 0o644, &self.path("lib/modules/6.1/updates/dkms/a.ko.xz"))
            .stage_bytes(self.manifest("updates/dkms", "newer"), 0o644, &t.kernel_manifest(&kernel.release))
            .stage_symlink("1/6.1/x", &t.active_link(&package.name, &kernel))
            .seal(&kernel.release);
        change
    }

    fn differences(&self) -> Differences {
        let found = walk(&self.trees, &Filter::default());
        let entry = &found.packages[0];
        Comparer::new(&self.trees).differences(&entry.package, &entry.built[0])
    }
}

fn look(top: &Path, dir: &Path, found: &mut Snapshot) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.file_name().unwrap() == ".dkms" {
            continue;
        }
        let name = path.strip_prefix(top).unwrap().display().to_string();
        let meta = fs::symlink_metadata(&path).unwrap();
        if meta.is_dir() {
            found.insert(name, "directory".into());
            look(top, &path, found);
        } else if meta.is_symlink() {
            found.insert(name, format!("-> {}", fs::read_link(&path).unwrap().display()));
        } else if name.ends_with(".dkms-manifest.json") {
            let mut manifest = KernelManifest::load(&path).unwrap().unwrap();
            for file in manifest.installed.iter_mut().flat_map(|i| &mut i.files) {
                file.identity = None;
                file.tree_identity = None;
            }
            found.insert(name, format!("{manifest:?}"));
        } else {
            let mode = meta.permissions().mode() & 0o777;
            let text = fs::read_to_string(&path).unwrap();
            found.insert(name, format!("{mode:o} {text}"));
        }
    }
}

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
        change.hands.exchange = self.exchange;
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
            change.hands.stop_after = Some(k);
            if change.commit().is_ok() {
                assert!(committed && k > 10, "{name}: {k} steps");
                break;
            }
            // Killed again while recovering, and once more.
            for j in [k % 7, k % 5] {
                let mut hands = Hands { stop_after: Some(j), ..Hands::default() };
                let _ = recover_with(&bed.trees, &mut hands);
            }
            recover(&bed.trees).unwrap();
            let there = bed.snapshot();
            committed |= there != *before;
            assert_eq!(&there, if committed { after } else { before }, "{name}, step {k}");
            assert_eq!(bed.journals(), 0, "{name}, step {k}");
            if committed && !name.starts_with("uninstall") {
                assert_eq!(bed.differences(), Differences::None, "{name}, step {k}");
            }
            assert_eq!(recover(&bed.trees).unwrap().finished.len(), 0);
        }
    }
}

#[test]
fn failing_anywhere_everything_is_as_it_was() {
    for case in cases() {
        let (name, before, after) = (&case.name, &case.before, &case.after);
        for k in 0.. {
            let bed = case.fresh();
            let mut change = case.change(&bed);
            change.hands.fail_after = Some(k);
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
            change.hands.stop_after = Some(*k);
            matches!(change.commit(), Err(JournalError::Stopped))
                && fs::read_dir(bed.trees.journals()).unwrap().any(|journal| {
                    let text = fs::read_to_string(journal.unwrap().path()).unwrap();
                    text.contains("\"forward\"")
                })
        })
        .unwrap();
    let mut change = bed.install("updates/dkms");
    change.hands.stop_after = Some(total);
    change.commit().unwrap_err();
    bed.file("lib/modules/6.1/updates/dkms/a.ko.xz", "foreign");
    let recovered = recover(&bed.trees).unwrap();
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
    change.hands.stop_after = Some(25);
    change.commit().unwrap_err();
    let elsewhere = super::tests::bed();
    let new = elsewhere.path("booted");
    fs::rename(&bed.top, &new).unwrap();
    let trees = Trees::new(Root::at(&new).unwrap());
    let recovered = recover(&trees).unwrap();
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
    assert_eq!(recover(&bed.trees).unwrap(), Recovered::default());
    assert!(bad.with_extension("bad").exists());
    assert_eq!(bed.journals(), 1);
}

/// A swap of the artefact, with what was before it and the staged directory.
fn swap(bed: &Bed) -> (Swap<'_>, PathBuf) {
    let staged = bed.trees.work().join("1-x");
    fs::create_dir_all(staged.join("module")).unwrap();
    plain(&staged.join("module/a.ko.xz"), "newer");
    let to = bed.trees.artefact(&package(), &kernel());
    let swap = swap_in(&bed.trees, "build a/1 for 6.1", &staged, &to).unwrap();
    assert_eq!(fs::read(to.join("module/a.ko.xz")).unwrap(), b"newer");
    (swap, staged)
}

#[test]
fn an_artefact_on_probation_goes_back_unless_it_is_kept() {
    let bed = bed();
    let before = bed.snapshot();
    let (probation, staged) = swap(&bed);
    // Another command's recovery must not touch what a living process does.
    assert_eq!(recover(&bed.trees).unwrap(), Recovered::default());
    drop(probation);
    assert_eq!(bed.snapshot(), before);
    assert!(staged.join("module/a.ko.xz").exists());
    fs::remove_dir_all(&staged).unwrap();

    let (probation, staged) = swap(&bed);
    probation.stop();
    assert_eq!(recover(&bed.trees).unwrap().undone, ["build a/1 for 6.1"]);
    assert_eq!(bed.snapshot(), before);
    fs::remove_dir_all(&staged).unwrap();

    let (probation, staged) = swap(&bed);
    probation.keep().unwrap();
    let mut expected = before.clone();
    expected.insert("var/lib/dkms/a/1/6.1/x/module/a.ko.xz".into(), "644 newer".into());
    assert_eq!(bed.snapshot(), expected);
    assert!(!staged.exists());
    assert_eq!(bed.journals(), 0);
}

#[test]
fn a_first_artefact_on_probation_leaves_nothing() {
    let bed = bed();
    fs::remove_dir_all(bed.path("var/lib/dkms/a/1/6.1")).unwrap();
    let before = bed.snapshot();
    swap(&bed).0.put_back().unwrap();
    assert_eq!(bed.snapshot(), before);
}

#[test]
fn build_directories_of_the_dead_are_removed() {
    let bed = bed();
    let alive = WorkDir::new(&bed.trees).unwrap();
    // No process has this number: it is above the kernel's largest (proc(5), pid_max).
    let dead = bed.trees.work().join("99999999-1");
    fs::create_dir_all(dead.join("src")).unwrap();
    // Ours by number, or locked under a dead number (another pid namespace): alive.
    let ours = bed.trees.work().join(std::process::id().to_string());
    let foreign = bed.trees.work().join("99999998-1");
    fs::create_dir_all(&ours).unwrap();
    fs::create_dir_all(&foreign).unwrap();
    let locked = fs::File::open(&foreign).unwrap();
    rustix::fs::flock(&locked, rustix::fs::FlockOperation::LockExclusive).unwrap();
    assert_eq!(recover(&bed.trees).unwrap().work, [dead]);
    assert!(alive.path().exists() && ours.exists() && foreign.exists());
    let path = alive.path().to_owned();
    alive.remove().unwrap();
    assert!(!path.exists());
}

/// Kills a real process that does and undoes a change without end. The same test is that process
/// when it finds where to work in its environment.
#[test]
#[allow(clippy::disallowed_methods)] // how a test hands something to itself
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
        recover(&bed.trees).unwrap();
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
