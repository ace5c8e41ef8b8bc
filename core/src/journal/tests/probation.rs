//! Artefacts on probation, and the directories that builds work in.

use super::*;

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
    assert_eq!(recover(&bed.trees, &|_, _| {}).unwrap(), Recovered::default());
    drop(probation);
    assert_eq!(bed.snapshot(), before);
    assert!(staged.join("module/a.ko.xz").exists());
    fs::remove_dir_all(&staged).unwrap();

    let (probation, staged) = swap(&bed);
    probation.stop();
    assert_eq!(recover(&bed.trees, &|_, _| {}).unwrap().undone, ["build a/1 for 6.1"]);
    assert_eq!(bed.snapshot(), before);
    fs::remove_dir_all(&staged).unwrap();

    let (probation, staged) = swap(&bed);
    probation.keep(&[]).unwrap();
    let mut expected = before.clone();
    expected.insert("var/lib/dkms/a/1/6.1/x/module/a.ko.xz".into(), "644 newer".into());
    assert_eq!(bed.snapshot(), expected);
    assert!(!staged.exists());
    assert_eq!(bed.journals(), 0);
}

/// A copy that no build has had comes in the place of what one could write to.
#[test]
fn another_directory_is_kept_instead() {
    for first in [false, true] {
        let bed = bed();
        let mut expected = bed.snapshot();
        if first {
            fs::remove_dir_all(bed.path("var/lib/dkms/a/1/6.1")).unwrap();
        }
        let (probation, staged) = swap(&bed);
        let copy = bed.trees.work().join("2-x");
        fs::create_dir_all(copy.join("module")).unwrap();
        plain(&copy.join("module/a.ko.xz"), "copied");
        probation.keep_instead(&copy).unwrap();
        expected.insert("var/lib/dkms/a/1/6.1/x/module/a.ko.xz".into(), "644 copied".into());
        assert_eq!(bed.snapshot(), expected, "{first}");
        assert_eq!(fs::read(staged.join("module/a.ko.xz")).unwrap(), b"newer");
        assert!(!copy.exists());
        assert_eq!(bed.journals(), 0);
    }
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
    assert_eq!(recover(&bed.trees, &|_, _| {}).unwrap().work, [dead]);
    assert!(alive.path().exists() && ours.exists() && foreign.exists());
    let path = alive.path().to_owned();
    drop(alive);
    assert!(!path.exists());
}

/// However the work in a directory ends, it goes, unless a change that can't be undone for now keeps what it replaced there.
#[test]
fn a_build_directory_stays_only_while_a_change_needs_it() {
    let bed = bed();
    for is_needed in [false, true] {
        let work = WorkDir::new(&bed.trees).unwrap();
        let staged = work.path().join("artefact");
        fs::create_dir_all(staged.join("module")).unwrap();
        plain(&staged.join("module/a.ko.xz"), "newer");
        let to = bed.trees.artefact(&package(), &kernel());
        let probation = swap_in(&bed.trees, "build a/1 for 6.1", &staged, &to).unwrap();
        let path = work.path().to_owned();
        if is_needed {
            probation.stop();
            drop(work);
            assert_eq!(fs::read(path.join("artefact/module/a.ko.xz")).unwrap(), b"ours");
        } else {
            probation.put_back().unwrap();
            drop(work);
            assert!(!path.exists());
        }
    }
    // Nor does a recovery that can't undo it take it away.
    let dead = bed.trees.work().join("99999999-1");
    let own = fs::read_dir(bed.trees.work()).unwrap().next().unwrap().unwrap().path();
    let journal = fs::read_dir(bed.trees.journals()).unwrap().next().unwrap().unwrap().path();
    let name = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_owned();
    fs::rename(&own, &dead).unwrap();
    let text = fs::read_to_string(&journal).unwrap().replace(&name(&own), &name(&dead));
    fs::write(&journal, text).unwrap();
    let file = fs::File::open(&journal).unwrap();
    rustix::fs::flock(&file, rustix::fs::FlockOperation::LockExclusive).unwrap();
    assert_eq!(recover(&bed.trees, &|_, _| {}).unwrap().work, Vec::<PathBuf>::new());
    drop(file);
    assert_eq!(recover(&bed.trees, &|_, _| {}).unwrap().work, [dead]);
}
