use super::super::manifest::KernelManifest;
use super::super::walk::{Filter, Source, walk};
use super::super::{Place, Trees};
use super::*;
use crate::kernel::installed::{self, Presence};
use crate::names::Release;
use crate::root::Root;
use std::os::unix::fs::symlink;

struct Bed {
    tmp: tempfile::TempDir,
    trees: Trees,
}

impl Bed {
    fn new() -> Self {
        let tmp = tempfile::tempdir().unwrap();
        let trees = Trees::new(Root::at(tmp.path()).unwrap());
        let bed = Self { tmp, trees };
        for name in ["one", "one-more", "two"] {
            bed.write(&format!("usr/src/{name}-1/dkms.conf"), "");
            fs_err::create_dir_all(bed.path(&format!("var/lib/dkms/{name}/1"))).unwrap();
            symlink(format!("/usr/src/{name}-1"), bed.path(&format!("var/lib/dkms/{name}/1/source"))).unwrap();
        }
        bed
    }

    fn path(&self, inside: &str) -> PathBuf {
        self.tmp.path().join(inside)
    }

    fn write(&self, inside: &str, text: &str) {
        fs_err::create_dir_all(self.path(inside).parent().unwrap()).unwrap();
        fs_err::write(self.path(inside), text).unwrap();
    }

    /// How many names are read anew by a walk.
    fn read_anew(&self) -> usize {
        let again = || self.trees.snapshot().counts().names.again;
        let before = again();
        walk(&self.trees, &Filter::default());
        again() - before
    }
}

#[test]
fn what_is_read_anew_is_what_was_touched() {
    let bed = Bed::new();
    assert_eq!(walk(&bed.trees, &Filter::default()).packages.len(), 3);
    assert_eq!(bed.trees.snapshot().counts().names, Count { first: 3, again: 0 });
    for (path, expected) in [
        ("var/lib/dkms/one/1/6.1/x86_64", 1),
        ("var/lib/dkms/one", 1),
        ("var/lib/dkms/one-more/kernel-6.1-x86_64", 1),
        ("var/lib/dkms", 3),
        ("var/lib/dkms/.dkms/records/one/1/6.1/x86_64.json", 0),
        ("var/lib/dkms/.dkms/superseded/two/1/source", 1),
        ("usr/src/two-1", 1),
        // Of `one` the version `more-1`, or of `one-more` the version `1`.
        ("usr/src/one-more-1/dkms.conf", 2),
        ("usr/src", 3),
        ("lib/modules/6.1/updates/one.ko", 0),
        // A link may lead anywhere.
        ("home/me/source", 3),
    ] {
        bed.trees.changed(&bed.path(path));
        assert_eq!(bed.read_anew(), expected, "{path}");
        assert_eq!(bed.read_anew(), 0, "{path}");
    }
    bed.trees.snapshot().forget_all();
    assert_eq!(bed.read_anew(), 3);
}

/// A tree may lie in another one: what changes in it is told all the same.
#[test]
fn trees_within_each_other() {
    for (source, dkms) in [("usr/src", "usr/src/dkms"), ("var/lib/dkms/sources", "var/lib/dkms"), ("x", "x")] {
        let mut bed = Bed::new();
        let place = |path: &str| Place::new(&bed.trees.root, Path::new("/").join(path));
        let (source, dkms) = (place(source), place(dkms));
        let artefact = dkms.outer.join("four/1/6.1/x86_64/module");
        fs_err::create_dir_all(&artefact).unwrap();
        fs_err::create_dir_all(&source.outer).unwrap();
        (bed.trees.source, bed.trees.dkms) = (source, dkms);
        let is_built =
            || walk(&bed.trees, &Filter { name: Some("four".into()), ..Filter::default() }).packages[0].built.len();
        assert_eq!(is_built(), 1);
        fs_err::remove_dir_all(&artefact).unwrap();
        bed.trees.changed(&artefact);
        assert_eq!(is_built(), 0, "{}", bed.trees.dkms.inside.display());
    }
}

#[test]
fn names_come_and_go() {
    let bed = Bed::new();
    let names = || walk(&bed.trees, &Filter::default()).packages.into_iter().map(|entry| entry.package.to_string());
    assert_eq!(names().collect::<Vec<_>>(), ["one/1", "one-more/1", "two/1"]);
    fs_err::remove_dir_all(bed.path("var/lib/dkms/one")).unwrap();
    fs_err::create_dir_all(bed.path("var/lib/dkms/three/1")).unwrap();
    bed.trees.changed(&bed.path("var/lib/dkms/one"));
    assert_eq!(names().collect::<Vec<_>>(), ["one-more/1", "three/1", "two/1"]);
}

#[test]
fn a_source_that_goes_shows_when_its_going_is_told() {
    let bed = Bed::new();
    let source = || walk(&bed.trees, &Filter { name: Some("two".into()), ..Filter::default() }).packages[0].source;
    assert_eq!(source(), Source::Added);
    fs_err::remove_dir_all(bed.path("usr/src/two-1")).unwrap();
    bed.trees.changed(&bed.path("usr/src/two-1"));
    assert_eq!(source(), Source::Broken);
}

#[test]
fn a_manifest_is_read_again_only_when_it_is_another() {
    let bed = Bed::new();
    let release = Release::new("6.1").unwrap();
    let manifests = || bed.trees.snapshot().counts().manifests;
    let beside = || KernelManifest::beside(&bed.trees, &release).unwrap();
    assert_eq!(beside(), None);
    bed.write("lib/modules/6.1/.dkms-manifest.json", r#"{"format":1,"installed":[]}"#);
    assert!(beside().is_some());
    assert!(beside().is_some());
    assert_eq!(manifests(), Count { first: 1, again: 0 });
    // Nobody tells of this one.
    bed.write("lib/modules/6.1/.dkms-manifest.json", r#"{"format":1,"release":"6.1","installed":[]}"#);
    assert_eq!(beside().unwrap().release, Some(release.clone()));
    assert_eq!(manifests(), Count { first: 1, again: 1 });
    bed.write("lib/modules/6.1/.dkms-manifest.json", "{");
    assert_eq!(beside(), None);
    fs_err::remove_file(bed.path("lib/modules/6.1/.dkms-manifest.json")).unwrap();
    assert_eq!(beside(), None);
    assert_eq!(manifests(), Count { first: 1, again: 2 });
}

#[test]
fn a_kernel_that_goes_shows() {
    let bed = Bed::new();
    let release = Release::new("6.1").unwrap();
    let look = || installed::look(&bed.trees, release.clone(), &|_, _| false).map(|found| found.presence);
    assert_eq!(look(), None);
    bed.write("lib/modules/6.1/modules.order", "");
    bed.write("lib/modules/6.1/updates/own.ko", "");
    assert_eq!([look(), look()], [Some(Presence::Installed); 2]);
    assert_eq!(bed.trees.snapshot().counts().kernels, Count { first: 1, again: 0 });
    // Nobody tells of it.
    fs_err::remove_file(bed.path("lib/modules/6.1/modules.order")).unwrap();
    assert_eq!(look(), Some(Presence::Leftover));
    fs_err::remove_dir_all(bed.path("lib/modules/6.1")).unwrap();
    assert_eq!(look(), None);
}
