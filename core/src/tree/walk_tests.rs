use super::*;
use crate::root::Root;
use std::os::unix::fs::{PermissionsExt, symlink};

struct Bed {
    tmp: tempfile::TempDir,
    trees: Trees,
}

fn bed() -> Bed {
    let tmp = tempfile::tempdir().unwrap();
    let trees = Trees::new(Root::at(tmp.path()).unwrap());
    Bed { tmp, trees }
}

impl Bed {
    fn dir(&self, path: &str) {
        fs::create_dir_all(self.tmp.path().join(path)).unwrap();
    }

    fn link(&self, target: &str, path: &str) {
        let path = self.tmp.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        symlink(target, path).unwrap();
    }

    fn added(&self, name: &str, version: &str) {
        self.dir(&format!("usr/src/{name}-{version}"));
        self.link(&format!("/usr/src/{name}-{version}"), &format!("var/lib/dkms/{name}/{version}/source"));
    }

    /// Each entry as a line of words.
    fn lines(&self, filter: &Filter) -> Vec<String> {
        self.trees.snapshot().forget_all();
        let mut lines = Vec::new();
        for entry in walk(&self.trees, filter).packages {
            lines.push(format!("{} {:?}", entry.package, entry.source));
            for built in entry.built {
                let mut line = format!("{} {}", built.kernel.release, built.kernel.arch);
                line += if built.installed { " installed" } else { " built" };
                line += if built.original_modules { " originals" } else { "" };
                lines.push(line);
            }
        }
        lines
    }
}

fn kernel(release: &str, arch: Option<&str>) -> Filter {
    Filter { kernels: vec![(release.into(), arch.map(Into::into))], ..Filter::default() }
}

#[test]
fn every_state_is_seen_in_order() {
    let bed = bed();
    bed.added("b", "2.0");
    bed.added("b", "10");
    bed.added("a", "1");
    bed.dir("var/lib/dkms/b/2.0/6.1-x/x86_64/module");
    bed.dir("var/lib/dkms/b/2.0/6.1-x/i686/module");
    bed.dir("var/lib/dkms/b/2.0/linux-custom/x86_64/module");
    bed.dir("var/lib/dkms/b/2.0/6.2-half/x86_64/log");
    bed.dir("var/lib/dkms/b/10/6.1-x/x86_64/module");
    for not_a_kernel in ["build/x/module", "tarball/x/module", ".tmp/x/module"] {
        bed.dir(&format!("var/lib/dkms/b/2.0/{not_a_kernel}"));
    }
    bed.dir("var/lib/dkms/b/2.0/6.1-x/.tmp_x86_64_abc/module");
    bed.dir("var/lib/dkms/b/original_module/6.1-x/x86_64");
    bed.link("2.0/6.1-x/x86_64", "var/lib/dkms/b/kernel-6.1-x-x86_64");
    bed.dir("var/lib/dkms/.dkms/work/1");
    fs::write(bed.tmp.path().join("var/lib/dkms/mok.key"), "").unwrap();
    bed.link("/usr/src/gone", "var/lib/dkms/c/1/source");
    bed.dir("var/lib/dkms/c/2");
    bed.dir("usr/src/c-2");
    bed.dir("var/lib/dkms/c/3/6.1-x/x86_64/module");
    assert_eq!(
        bed.lines(&Filter::default()),
        [
            "a/1 Added",
            "b/10 Added",
            "6.1-x x86_64 built originals",
            "b/2.0 Added",
            "6.1-x i686 built",
            "6.1-x x86_64 installed originals",
            "linux-custom x86_64 built",
            "c/1 Broken",
            "c/2 Broken",
            "c/3 None",
            "6.1-x x86_64 built",
        ]
    );
    let only_b = Filter { name: Some("[b]".into()), version: Some("2*".into()), ..kernel("6.*", Some("x86*")) };
    assert_eq!(bed.lines(&only_b), ["b/2.0 Added", "6.1-x x86_64 installed originals"]);
    assert_eq!(bed.lines(&kernel("7*", None)).len(), 6, "packages alone");
}

#[test]
fn a_link_spelt_otherwise_still_counts() {
    let bed = bed();
    bed.added("a", "1");
    bed.dir("var/lib/dkms/a/1/6.1/x/module");
    bed.link("/var/lib/dkms/a/1/6.1/x", "var/lib/dkms/a/kernel-6.1-x");
    assert_eq!(bed.lines(&Filter::default())[1], "6.1 x installed");
    let link = bed.tmp.path().join("var/lib/dkms/a/kernel-6.1-x");
    fs::remove_file(&link).unwrap();
    bed.dir("var/lib/dkms/a/2/6.1/x/module");
    symlink("2/6.1/x", &link).unwrap();
    assert_eq!(bed.lines(&Filter::default())[1], "6.1 x built");
}

#[test]
fn a_tree_behind_a_link_works() {
    let bed = bed();
    bed.dir("srv/dkms");
    bed.link("../../srv/dkms", "var/lib/dkms");
    let trees = Trees::new(Root::at(bed.tmp.path()).unwrap());
    bed.added("a", "1");
    bed.dir("var/lib/dkms/a/1/6.1/x/module");
    bed.link("../a/./1/6.1/x", "var/lib/dkms/a/kernel-6.1-x");
    let found = walk(&trees, &Filter::default());
    assert!(found.packages[0].built[0].installed);
}

#[test]
fn one_bad_entry_hides_no_other() {
    let bed = bed();
    bed.added("a", "1");
    bed.added("z", "1");
    bed.dir("var/lib/dkms/m/bad version");
    bed.link("locked", "var/lib/dkms/locked"); // a loop: ELOOP for whoever follows it
    let locked = bed.tmp.path().join("var/lib/dkms/n/1");
    fs::create_dir_all(&locked).unwrap();
    fs::set_permissions(&locked, fs::Permissions::from_mode(0o0)).unwrap();
    let found = walk(&bed.trees, &Filter::default());
    let names: Vec<_> = found.packages.iter().map(|p| p.package.to_string()).collect();
    assert_eq!(names, ["a/1", "n/1", "z/1"]);
    assert!(found.unreadable.iter().any(|u| u.path.ends_with("m/bad version")));
    fs::set_permissions(&locked, fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn no_tree_is_an_empty_tree() {
    let found = walk(&bed().trees, &Filter::default());
    assert!(found.packages.is_empty() && found.unreadable.is_empty());
}
