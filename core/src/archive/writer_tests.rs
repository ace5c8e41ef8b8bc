use super::*;
use crate::archive::layout::{self, Kind};
use crate::archive::reader::{self, Limits};

struct Bed {
    tmp: tempfile::TempDir,
    package: Package,
    kernels: Vec<Kernel>,
}

impl Bed {
    fn new() -> Self {
        let tmp = tempfile::tempdir().unwrap();
        let kernels = vec![
            Kernel::new("6.2.0", "x86_64").unwrap(),
            Kernel::new("6.1.0", "aarch64").unwrap(),
            Kernel::new("6.1.0", "x86_64").unwrap(),
        ];
        let source = tmp.path().join("src");
        std::fs::create_dir_all(source.join("sub")).unwrap();
        std::fs::write(source.join("dkms.conf"), "PACKAGE_NAME=hello\n").unwrap();
        std::fs::write(source.join("sub/x.c"), "int x;\n").unwrap();
        std::fs::write(source.join(format!("sub/{}.c", "long".repeat(40))), "").unwrap();
        std::os::unix::fs::symlink("sub/x.c", source.join("link.c")).unwrap();
        for (n, kernel) in kernels.iter().enumerate() {
            let dir = tmp.path().join(format!("built{n}"));
            std::fs::create_dir_all(dir.join("module")).unwrap();
            std::fs::create_dir_all(dir.join("log")).unwrap();
            let machine = crate::archive::module::machine_of(kernel.arch.as_str()).unwrap();
            std::fs::write(
                dir.join("module/hello.ko"),
                layout::tests::fake_module(machine, 1, kernel.release.as_str()),
            )
            .unwrap();
            std::fs::write(dir.join("log/make.log"), "made\n").unwrap();
        }
        Self { tmp, package: Package::new("hello", "1.0").unwrap(), kernels }
    }

    fn plan<'a>(&'a self, source: Source<'a>, forbidden: &'a [PathBuf]) -> Plan<'a> {
        let artefacts =
            self.kernels.iter().enumerate().map(|(n, k)| (k.clone(), self.path(&format!("built{n}")))).collect();
        Plan { package: &self.package, source, artefacts, mtime: Some(1_700_000_000), forbidden }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.tmp.path().join(name)
    }
}

#[test]
fn three_kinds_come_back() {
    let bed = Bed::new();
    let (source, conf) = (bed.path("src"), bed.path("src/dkms.conf"));
    for suffix in ["tar", "tar.gz", "tar.xz", "tar.zst", "tar.bz2"] {
        let target = bed.path(&format!("out.{suffix}"));
        let load = || {
            let unpacked = reader::unpack(&target, bed.tmp.path(), &Limits::default()).unwrap();
            let layout = layout::understand(unpacked.path()).unwrap();
            (unpacked, layout)
        };
        write(&bed.plan(Source::Tree(&source), &[]), &target).unwrap();
        let (unpacked, layout) = load();
        let Kind::SourceAndBinaries { source: back } = layout.kind else { panic!("{layout:?}") };
        assert_eq!(Digest::of_tree(&back).unwrap(), Digest::of_tree(&source).unwrap());
        assert_eq!(layout.binaries.len(), 3);
        assert_eq!(std::fs::metadata(&layout.conf).unwrap().mtime(), 1_700_000_000);
        drop(unpacked);
        write(&bed.plan(Source::ConfOnly(&conf), &[]), &target).unwrap();
        let (_unpacked, layout) = load();
        assert_eq!(layout.kind, Kind::BinariesOnly { package: bed.package.clone() });
        assert_eq!(std::fs::read(layout.conf).unwrap(), std::fs::read(&conf).unwrap());
        write(&Plan { artefacts: vec![], ..bed.plan(Source::Tree(&source), &[]) }, &target).unwrap();
        assert!(matches!(load().1.kind, Kind::SourceOnly { .. }));
    }
    // What a killed run left goes, too: no process has such a number (proc_sys_kernel(5), pid_max).
    std::fs::write(bed.path(".dkms-new-99999999-out.tar"), "half").unwrap();
    write(&bed.plan(Source::Tree(&source), &[]), &bed.path("out.tar")).unwrap();
    let left: Vec<_> = std::fs::read_dir(bed.tmp.path())
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .filter(|n| n.starts_with('.'))
        .collect();
    assert_eq!(left, Vec::<String>::new());
}

#[test]
fn the_same_content_gives_the_same_bytes() {
    let bed = Bed::new();
    let source = bed.path("src");
    let (one, two) = (bed.path("one.tar.gz"), bed.path("two.tar.gz"));
    write(&bed.plan(Source::Tree(&source), &[]), &one).unwrap();
    // Other times, other modes below the execute bit, another order of kernels.
    std::fs::write(source.join("dkms.conf"), "PACKAGE_NAME=hello\n").unwrap();
    std::fs::set_permissions(source.join("sub/x.c"), std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let mut plan = bed.plan(Source::Tree(&source), &[]);
    plan.artefacts.reverse();
    write(&plan, &two).unwrap();
    assert_eq!(std::fs::read(&one).unwrap(), std::fs::read(&two).unwrap());
    // Without a given time it is that of the newest file, not of now.
    plan.mtime = None;
    write(&plan, &one).unwrap();
    write(&plan, &two).unwrap();
    assert_eq!(std::fs::read(&one).unwrap(), std::fs::read(&two).unwrap());
}

#[test]
fn tar_lists_what_the_classic_would_write() {
    let bed = Bed::new();
    let (target, conf) = (bed.path("out.tar.xz"), bed.path("src/dkms.conf"));
    write(&bed.plan(Source::ConfOnly(&conf), &[]), &target).unwrap();
    #[allow(clippy::disallowed_methods, reason = "the test asks tar")]
    let listed = std::process::Command::new("tar").arg("tvf").arg(&target).output().unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    let names: Vec<_> = listed.lines().map(|l| l.split_whitespace().nth(5).unwrap()).collect();
    assert_eq!(
        names[..4],
        [
            "./dkms_binaries_only/",
            "./dkms_binaries_only/PACKAGE_NAME",
            "./dkms_binaries_only/PACKAGE_VERSION",
            "./dkms_binaries_only/dkms.conf"
        ]
    );
    assert!(names.contains(&"./dkms_main_tree/6.1.0/aarch64/module/hello.ko"));
    assert!(listed.lines().all(|l| l.contains(" 0/0 ")), "{listed}");
}

#[test]
fn private_keys_never_get_in() {
    let bed = Bed::new();
    let (source, key, target) = (bed.path("src"), bed.path("mok.key"), bed.path("out.tar.gz"));
    std::fs::write(&target, "an older archive").unwrap();
    std::fs::write(&key, "not recognisable, but configured").unwrap();
    let forbidden = [key.clone(), bed.path("missing")];
    let secret = source.join("sub/key");
    type Plant<'a> = (&'a str, Box<dyn Fn() + 'a>);
    let plants: [Plant<'_>; 4] = [
        ("a PEM private key", Box::new(|| std::fs::write(&secret, "-----BEGIN RSA PRIVATE KEY-----\nMIIE").unwrap())),
        (
            "a PEM private key",
            Box::new(|| {
                std::fs::write(bed.path("built1/module/hello.ko"), "-----BEGIN PRIVATE KEY-----\nMIIE").unwrap();
            }),
        ),
        (
            "the signing key",
            Box::new(|| {
                std::fs::copy(&key, &secret).unwrap();
            }),
        ),
        ("the signing key", Box::new(|| std::fs::hard_link(&key, &secret).unwrap())),
    ];
    for (expected, plant) in plants {
        let before = std::fs::read(bed.path("built1/module/hello.ko")).unwrap();
        plant();
        let text = write(&bed.plan(Source::Tree(&source), &forbidden), &target).unwrap_err().to_string();
        assert!(text.contains(expected), "{text}");
        assert_eq!(std::fs::read(&target).unwrap(), b"an older archive");
        let _ = std::fs::remove_file(&secret);
        std::fs::write(bed.path("built1/module/hello.ko"), before).unwrap();
    }
    // A link to the key leads out of the source, and links are not followed anyway.
    std::os::unix::fs::symlink("../../mok.key", &secret).unwrap();
    assert!(matches!(write(&bed.plan(Source::Tree(&source), &forbidden), &target), Err(WriteError::Link { .. })));
    std::fs::remove_file(&secret).unwrap();
    write(&bed.plan(Source::Tree(&source), &forbidden), &target).unwrap();
}

#[test]
fn names_follow_the_classics_rule() {
    let package = Package::new("hello", "1.0").unwrap();
    let kernel = |n: usize| Kernel::new(&format!("6.1.{n}-some-kernel"), "x86_64").unwrap();
    assert_eq!(file_name(&package, &[]), "hello-1.0-source-only.dkms.tar.gz");
    assert_eq!(
        file_name(&package, &[kernel(1), kernel(2)]),
        "hello-1.0-kernel6.1.1-some-kernel-x86_64-6.1.2-some-kernel-x86_64.dkms.tar.gz"
    );
    assert_eq!(file_name(&package, &(0..20).map(kernel).collect::<Vec<_>>()), "hello-1.0-manykernels.dkms.tar.gz");
}
