use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::PermissionsExt;

use super::draft::{Draft, DraftError};
use super::*;
use crate::conf::{Evaluator, Launcher, Request};

const GOOD: &str = "PACKAGE_NAME=\"m\"\nPACKAGE_VERSION=\"1.0\"\nBUILT_MODULE_NAME[0]=\"m\"\n\
    DEST_MODULE_LOCATION[0]=\"/updates/dkms\"\nAUTOINSTALL=\"yes\"\n";

struct Source(tempfile::TempDir);

impl Source {
    /// A source that is all right, called `name`.
    fn new(name: &str) -> Self {
        let source = Self(tempfile::tempdir().unwrap());
        fs_err::create_dir(source.0.path().join(name)).unwrap();
        source
    }

    fn write(&self, file: &str, text: &str, mode: u32) {
        let dir = fs_err::read_dir(self.0.path()).unwrap().next().unwrap().unwrap().path();
        let file = dir.join(file);
        fs_err::create_dir_all(file.parent().unwrap()).unwrap();
        fs_err::write(&file, text).unwrap();
        fs_err::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
    }

    fn found(&self, conf: &str) -> Vec<Finding> {
        self.write(CONF, conf, 0o644);
        let dir = fs_err::read_dir(self.0.path()).unwrap().next().unwrap().unwrap().path();
        let env = BTreeMap::from([("PATH".into(), "/usr/bin:/bin".into()), ("LC_ALL".into(), "C".into())]);
        let mut evaluator = Evaluator::new(Launcher::new(env));
        check(&dir, conf, &mut |release, arch| {
            evaluator.evaluate(&Request {
                files: vec![dir.join(CONF)],
                variables: BTreeMap::from([
                    ("kernelver".to_owned(), release.to_owned()),
                    ("kernel_source_dir".to_owned(), format!("/lib/modules/{release}/build")),
                ]),
                kernel: Some((release.to_owned(), arch.to_owned())),
                ..Request::default()
            })
        })
    }
}

/// What is added to a source that is all right: to its dkms.conf, and as files with their modes; what is found.
type Case = (&'static str, &'static [(&'static str, &'static str, u32)], &'static [(&'static str, Option<usize>)]);

const CASES: &[Case] = &[
    ("", &[], &[]),
    ("", &[("m.c", "MODULE_LICENSE(\"GPL\");", 0o644)], &[]),
    (
        "MAKE=\"make KDIR=$kernel_source_dir\"\n",
        &[("Makefile", "KDIR ?= /lib/modules/$(shell uname -r)/build\nall:\n", 0o644)],
        &[],
    ),
    ("MAKE=make\n", &[("Makefile", "KERNELRELEASE ?= $(shell uname -r)\nall:\n", 0o644)], &[]),
    ("MAKE=\"make clean && make -C $kernel_source_dir M=$PWD modules\"\n", &[], &[]),
    ("PRE_BUILD=\"pre.sh x\"\n", &[("pre.sh", "#!/bin/sh\n# curl it\nmodules=depmod\n", 0o755)], &[]),
    ("A=1\nMAKE_ARGS=x\nBUILD_EXCLUSIVE_KERNEL=\"^(5|6)\\.\"\n", &[], &[]),
    ("PATCH[0]=\"a.patch\"\n", &[("patches/a.patch", "", 0o644)], &[]),
    ("DEST_MODULE_LOCATION[0]=/nowhere\n", &[], &[("invalid", Some(6))]),
    ("AUTOINSTALL=maybe\n", &[], &[("invalid", Some(6)), ("not-automatic", None)]),
    ("PATCH_MATCH[0]='6\\.(1'\nPATCH[0]=a\n", &[("patches/a", "", 0o644)], &[("invalid", Some(6))]),
    ("exit 3\n", &[], &[("invalid", None)]),
    ("STRIP=no\r\n", &[], &[("dos-lines", Some(6))]),
    ("PRE_BUILD=a.sh\n", &[("a.sh", "#!/bin/sh\r\n", 0o755)], &[("dos-lines", Some(1))]),
    ("MAKE=make modules\n", &[], &[("unquoted", Some(6))]),
    ("POST_ADD=gone.sh\n", &[], &[("script-missing", Some(6))]),
    ("POST_ADD=a.sh\n", &[("a.sh", "", 0o644)], &[("script-not-executable", Some(6))]),
    ("PATCH[2]=a.patch\n", &[], &[("patch-missing", Some(6))]),
    ("DEST_MODULE_LOCATION[0]=/kernel/drivers/source\n", &[], &[("destination-skipped", Some(6))]),
    (
        "MAKE=make\n",
        &[("Makefile", "all:\n\tmake -C /lib/modules/$(shell uname -r)/build\n", 0o644)],
        &[("asks-running-kernel", Some(2))],
    ),
    ("MAKE=\"make V=1\"\n", &[("Makefile", "KVER := $(shell uname -r)\n", 0o644)], &[("asks-running-kernel", Some(1))]),
    ("BUILD_EXCLUSIVE_KERNEL_MIN=6.1\nBUILD_EXCLUSIVE_KERNEL_MAX=5.4\n", &[], &[("never-built", Some(6))]),
    ("DEST_MODUL_LOCATION=x\n", &[], &[("misspelt", Some(6))]),
    ("", &[("src/m.c", "int x;", 0o644)], &[("no-licence", None)]),
    ("MAKE=\"make -C $kernel_source_dir M=. clean modules\"\n", &[], &[("clean-beside-goal", Some(6))]),
    ("", &[("src/Makefile", "obj-m := m.o\nEXTRA_CFLAGS += -I$(src)\n", 0o644)], &[("lost-flags", Some(2))]),
    ("BUILD_EXCLUSIVE_KERNEL_MAX=6.14\n", &[("Makefile", "EXTRA_CFLAGS += -I$(src)\n", 0o644)], &[]),
    ("MAKE=\"make -j4 -C $kernel_source_dir\"\n", &[], &[("fixed-jobs", Some(6))]),
    ("PRE_BUILD=a\n", &[("a", "#!/bin/sh\nif ! curl -O x; then exit 1; fi\n", 0o755)], &[("needs-network", Some(2))]),
    ("MAKE=\"git clone x && make -C $kernel_source_dir\"\n", &[], &[("needs-network", Some(6))]),
    ("POST_BUILD=a\n", &[("a", "#!/bin/sh\n/sbin/depmod -a\n", 0o755)], &[("needs-root", Some(2))]),
    ("PRE_BUILD=configure\n", &[("configure", "#!/bin/sh\nsystemctl x\n", 0o755)], &[]),
    ("POST_INSTALL=a\n", &[("a", "#!/bin/sh\n/sbin/depmod -a\n", 0o755)], &[]),
    ("POST_ADD=\"/bin/true\"\n", &[], &[("script-absolute", Some(6))]),
    ("PACKAGE_VERSION=1.1\n", &[], &[("wrong-directory", Some(6))]),
    ("BUILD_EXCLUSIVE_KERNEL='^6_1'\n", &[], &[("pattern-matches-nothing", Some(6))]),
    ("BUILD_EXCLUSIVE_KERNEL=\"^${kernelver}x\"\n", &[], &[]),
    ("BUILD_EXCLUSIVE_KERNEL='.*'\n", &[], &[("pattern-matches-all", Some(6))]),
    ("PACKAGE_VERSION=\"#MODULE_VERSION#\"\n", &[], &[("placeholder-version", Some(6))]),
    ("CLEAN=\"make clean\"\n", &[], &[("deprecated", Some(6))]),
    ("AUTOINSTALL=\n", &[], &[("not-automatic", None)]),
];

#[test]
fn each_rule_finds_its_mistake_and_nothing_else() {
    let mut seen = BTreeSet::new();
    for (conf, files, expected) in CASES {
        let source = Source::new("m-1.0");
        for (file, text, mode) in *files {
            source.write(file, text, *mode);
        }
        let found = source.found(&format!("{GOOD}{conf}"));
        let ids: Vec<_> = found.iter().map(|finding| (finding.rule.id, finding.line)).collect();
        assert_eq!(ids, *expected, "{conf}: {found:#?}");
        seen.extend(ids.iter().map(|(id, _)| *id));
    }
    let all: BTreeSet<_> = RULES.iter().map(|rule| rule.id).collect();
    assert_eq!(seen, all, "a rule without a case, or two of one name");
}

fn draft(files: &[(&str, &str)]) -> Result<String, DraftError> {
    let source = Source::new("thing");
    for (file, text) in files {
        source.write(file, text, 0o644);
    }
    Draft::of(&source.0.path().join("thing"), None, None).map(|draft| draft.text())
}

#[test]
fn a_draft_has_every_module_that_kbuild_makes() {
    let text = draft(&[
        ("Kbuild", "obj-m += a.o \\\n  sub/ deep/c.o # d.o\nobj-$(CONFIG_E) += e.o\na-objs := x.o\n"),
        ("Makefile", "obj-m := wrong.o\n"),
        ("sub/Makefile", "obj-m:=b.o\n"),
        ("a.c", "MODULE_VERSION(\"2.5\");"),
    ])
    .unwrap();
    assert!(text.contains("PACKAGE_NAME=\"thing\"\nPACKAGE_VERSION=\"2.5\"\n"), "{text}");
    assert!(text.contains("BUILT_MODULE_NAME[0]=\"a\"\nDEST_MODULE_LOCATION[0]"), "{text}");
    assert!(text.contains("BUILT_MODULE_NAME[1]=\"b\"\nBUILT_MODULE_LOCATION[1]=\"sub/\"\n"), "{text}");
    assert!(text.contains("BUILT_MODULE_NAME[2]=\"c\"\nBUILT_MODULE_LOCATION[2]=\"deep/\"\n"), "{text}");
    assert!(!text.contains("[3]"), "{text}");
    let source = Source::new("thing-2.5");
    assert_eq!(source.found(&text), []);
}

#[test]
fn a_draft_of_one_module_has_its_name() {
    assert!(
        draft(&[("Makefile", "obj-m := only.o\n")])
            .unwrap()
            .contains("PACKAGE_NAME=\"only\"\nPACKAGE_VERSION=\"1.0\"\n")
    );
    assert_eq!(draft(&[("Makefile", "all:\n\tcc x.c\n")]), Err(DraftError::NoModules));
    assert_eq!(draft(&[]), Err(DraftError::NoModules));
}
