use std::path::{Path, PathBuf};

use dkms_core::names::{Kernel, Package};

use crate::binary::{self, Prebuilt};
use crate::source::{self, About};
use crate::*;

fn about() -> About {
    About {
        release: "1".into(),
        summary: String::new(),
        description: String::new(),
        licence: "GPL-2.0-or-later".into(),
        maintainer: "A. Vendor <vendor@example.com>".into(),
        changelog: vec!["New upstream version.".into()],
        mtime: 1_700_000_000,
    }
}

struct Bed {
    tmp: tempfile::TempDir,
    package: Package,
}

impl Bed {
    fn new() -> Self {
        let tmp = tempfile::tempdir().unwrap();
        let source = tmp.path().join("src/sub");
        fs_err::create_dir_all(&source).unwrap();
        fs_err::write(tmp.path().join("src/dkms.conf"), "PACKAGE_NAME=hello_x\nPACKAGE_VERSION=1.0\nBUILT_MODULE_NAME=hello\nDEST_MODULE_LOCATION=/updates\nAUTOINSTALL=yes\n").unwrap();
        fs_err::write(source.join("hello.c"), "int x;\n").unwrap();
        fs_err::write(source.join("run.sh"), "#!/bin/sh\n").unwrap();
        fs_err::set_permissions(source.join("run.sh"), std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
        std::os::unix::fs::symlink("sub/hello.c", tmp.path().join("src/link.c")).unwrap();
        fs_err::write(tmp.path().join("hello.ko"), b"\x7fELF").unwrap();
        Self { tmp, package: Package::new("hello_x", "1.0").unwrap() }
    }

    fn source(&self, family: Family) -> Plan {
        source::plan(family, &self.package, &self.tmp.path().join("src"), &about()).unwrap()
    }

    fn binary(&self, family: Family) -> Plan {
        let built = Prebuilt {
            kernel: Kernel::new("6.1.0-test", "x86_64").unwrap(),
            modules: vec![self.tmp.path().join("hello.ko")],
            kernel_package: (family == Family::Arch).then(|| "linux=6.1.0-1".into()),
            in_place: false,
        };
        binary::plan(family, &self.package, &built, &about()).unwrap()
    }

    /// The package in a file.
    fn put(&self, family: Family, plan: &Plan) -> PathBuf {
        let (name, bytes) = write(family, plan).unwrap();
        assert_eq!(write(family, plan).unwrap().1, bytes, "the same plan gave other bytes");
        let path = self.tmp.path().join(name);
        fs_err::write(&path, bytes).unwrap();
        path
    }
}

/// The output of a program, which must succeed.
fn run(program: &str, args: &[&str], path: &Path) -> String {
    #[allow(clippy::disallowed_methods, reason = "tests ask the families' own tools")]
    let done = std::process::Command::new(program).args(args).arg(path).output().unwrap();
    assert!(done.status.success(), "{program} {args:?}: {}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).unwrap()
}

#[test]
fn debs_are_what_dpkg_expects() {
    let bed = Bed::new();
    let path = bed.put(Family::Deb, &bed.source(Family::Deb));
    assert_eq!(path.file_name().unwrap(), "hello-x-dkms_1.0-1_all.deb");
    let info = run("dpkg-deb", &["-I"], &path);
    for line in ["Package: hello-x-dkms", "Version: 1.0-1", "Architecture: all", "Depends: dkms (>= 3.0.11)"] {
        assert!(info.contains(line), "{line} in {info}");
    }
    let list = run("dpkg-deb", &["-c"], &path);
    for line in [
        "./usr/src/hello_x-1.0/dkms.conf",
        "./usr/share/doc/hello-x-dkms/copyright",
        "./usr/share/doc/hello-x-dkms/changelog.Debian.gz",
        "./usr/src/hello_x-1.0/link.c -> sub/hello.c",
    ] {
        assert!(list.contains(line), "{line} in {list}");
    }
    assert!(list.lines().find(|l| l.ends_with("run.sh")).unwrap().starts_with("-rwxr-xr-x root/root"), "{list}");
    let path = bed.put(Family::Deb, &bed.binary(Family::Deb));
    assert_eq!(path.file_name().unwrap(), "hello-x-modules-6.1.0-test_1.0-1_amd64.deb");
    assert!(run("dpkg-deb", &["-I"], &path).contains("Depends: linux-image-6.1.0-test"));
}

#[test]
fn rpms_are_read_back() {
    let bed = Bed::new();
    let path = bed.put(Family::Rpm, &bed.source(Family::Rpm));
    assert_eq!(path.file_name().unwrap(), "hello_x-dkms-1.0-1.noarch.rpm");
    let package = ::rpm::Package::open(&path).unwrap();
    package.verify_digests().unwrap();
    let meta = &package.metadata;
    assert!(meta.get_requires().unwrap().iter().any(|d| d.name == "dkms" && d.version == "3.0.11"));
    assert!(
        meta.get_post_install_script().unwrap().script.contains("dkms add -m hello_x -v 1.0 -q --rpm_safe_upgrade")
    );
    assert!(meta.get_pre_uninstall_script().unwrap().script.contains("--all --rpm_safe_upgrade"));
    let files = meta.get_file_entries().unwrap();
    let conf = files.iter().find(|f| f.path() == Path::new("/usr/src/hello_x-1.0/dkms.conf")).unwrap();
    assert_eq!(conf.mode().permissions(), 0o644);
    let path = bed.put(Family::Rpm, &bed.binary(Family::Rpm));
    let package = ::rpm::Package::open(&path).unwrap();
    assert!(
        package
            .metadata
            .get_requires()
            .unwrap()
            .iter()
            .any(|d| d.name == "kernel-core-uname-r" && d.version == "6.1.0-test")
    );
}

#[test]
fn arch_packages_list_what_pacman_reads() {
    let bed = Bed::new();
    let path = bed.put(Family::Arch, &bed.source(Family::Arch));
    assert_eq!(path.file_name().unwrap(), "hello_x-dkms-1.0-1-any.pkg.tar.zst");
    let list = run("tar", &["--zstd", "-tf"], &path);
    assert!(list.starts_with(".BUILDINFO\n.MTREE\n.PKGINFO\nusr/\nusr/src/\nusr/src/hello_x-1.0/\n"), "{list}");
    let info = run("tar", &["--zstd", "-xO", ".PKGINFO", "-f"], &path);
    assert!(info.contains("depend = dkms\n") && info.contains("pkgver = 1.0-1\n"), "{info}");
    let path = bed.put(Family::Arch, &bed.binary(Family::Arch));
    let install = run("tar", &["--zstd", "-xO", ".INSTALL", "-f"], &path);
    for function in ["post_install() {", "post_upgrade() {", "pre_remove() {"] {
        assert!(install.contains(function), "{install}");
    }
}

#[test]
fn scripts_are_shell() {
    let bed = Bed::new();
    for family in [Family::Deb, Family::Rpm, Family::Arch] {
        for plan in [bed.source(family), bed.binary(family)] {
            for script in [&plan.scripts.post_install, &plan.scripts.post_transaction, &plan.scripts.pre_remove] {
                assert!(!script.contains('@'), "{script}");
                let path = bed.tmp.path().join("script");
                fs_err::write(&path, script).unwrap();
                run("sh", &["-n"], &path);
            }
        }
    }
}

#[test]
fn keys_bad_words_and_bad_paths_are_refused() {
    let bed = Bed::new();
    let refused = |change: &dyn Fn(&mut Plan)| {
        let mut plan = bed.source(Family::Deb);
        change(&mut plan);
        write(Family::Deb, &plan).unwrap_err().to_string()
    };
    let secret = b"configured key".to_vec();
    let cases = [
        (refused(&|p| p.file("/a", "-----BEGIN PRIVATE KEY-----\nMII", 0o600)), "private key"),
        (
            refused(&|p| {
                p.forbidden.push(dkms_core::digest::Digest::of(&secret));
                p.file("/a", secret.clone(), 0o600);
            }),
            "signing key",
        ),
        (refused(&|p| p.file("/a/../b", "", 0o644)), "path"),
        (refused(&|p| p.file("a", "", 0o644)), "path"),
        (refused(&|p| p.name = "Bad_Name".into()), "name"),
        (refused(&|p| p.version = "1 0".into()), "version"),
        (refused(&|p| p.summary = "two\nlines".into()), "summary"),
        (refused(&|p| p.depends.push("a\nEssential: yes".into())), "dependency"),
    ];
    for (text, expected) in cases {
        assert!(text.contains(expected), "{text}");
    }
    std::os::unix::fs::symlink("/etc/passwd", bed.tmp.path().join("src/out")).unwrap();
    assert!(source::plan(Family::Deb, &bed.package, &bed.tmp.path().join("src"), &about()).is_err());
}

#[test]
fn dates_are_those_of_date() {
    for (seconds, text) in [
        (0, "Thu, 01 Jan 1970 00:00:00 +0000"),
        (1_700_000_000, "Tue, 14 Nov 2023 22:13:20 +0000"),
        (951_782_399, "Mon, 28 Feb 2000 23:59:59 +0000"),
        (951_868_800, "Wed, 01 Mar 2000 00:00:00 +0000"),
        (1_735_689_599, "Tue, 31 Dec 2024 23:59:59 +0000"),
        (4_107_542_400, "Mon, 01 Mar 2100 00:00:00 +0000"),
    ] {
        assert_eq!(dkms_core::clock::rfc5322(seconds), text);
    }
}

#[test]
fn driver_disks_hold_a_repository() {
    let bed = Bed::new();
    let built = Prebuilt {
        kernel: Kernel::new("6.1.0-test", "x86_64").unwrap(),
        modules: vec![bed.tmp.path().join("hello.ko")],
        kernel_package: None,
        in_place: true,
    };
    let plan = binary::plan(Family::Rpm, &bed.package, &built, &about()).unwrap();
    let (name, bytes) = write(Family::Rpm, &plan).unwrap();
    let meta = ::rpm::PackageMetadata::parse(&mut &*bytes).unwrap();
    assert!(meta.get_provides().unwrap().iter().any(|d| d.name == "kernel-modules" && d.version == "6.1.0-test"));
    let image = driverdisk::redhat(&[("x86_64".into(), name.clone(), bytes.clone())], 1_700_000_000).unwrap();
    assert_eq!(image, driverdisk::redhat(&[("x86_64".into(), name.clone(), bytes.clone())], 1_700_000_000).unwrap());
    // ECMA-119 8.4.7: the label of the primary descriptor.
    assert_eq!(&image[16 * 2048 + 40..16 * 2048 + 72], format!("{:<32}", "OEMDRV").as_bytes());
    let found = image.windows(name.len()).any(|w| w == name.as_bytes());
    assert!(found && image.windows(bytes.len()).any(|w| w == bytes));
    fs_err::write(bed.tmp.path().join("dd.iso"), &image).unwrap();
    // file(1) and the kernel agree on what this is; blkid is there on every Debian.
    let output = run("blkid", &["-p", "-o", "export"], &bed.tmp.path().join("dd.iso"));
    assert!(output.contains("LABEL=OEMDRV") && output.contains("TYPE=iso9660"), "{output}");
}
