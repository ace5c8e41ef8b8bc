use super::*;

const MAGIC: &str = "6.1 SMP preempt mod_unload ";

fn whole(vermagic: &str) -> File {
    File::Module { as_built: Some(true), vermagic: vermagic.to_owned(), for_machine: true }
}

fn ask(path: &str, file: File, dep: Option<&str>, built_in: &str) -> Result<(), Why> {
    let release = Release::new("6.1").unwrap();
    let index = dep.map(|dep| Index::parse(dep, built_in));
    let asked = ["/etc/depmod.d/a.conf: override m * extra".to_owned()];
    judge(&Candidate {
        release: &release,
        path: Path::new(path),
        file,
        index: index.as_ref(),
        asked: &asked,
        magic: Some(MAGIC),
    })
}

fn another(path: &str) -> Result<(), Why> {
    Err(Why::Another { path: path.into(), asked: vec!["/etc/depmod.d/a.conf: override m * extra".to_owned()] })
}

/// Index, built-in, path: what modprobe takes.
#[test]
fn the_index_decides() {
    let rest = "kernel/fs/ext4/ext4.ko.xz: kernel/lib/crc16.ko.xz\nkernel/lib/crc16.ko.xz:\n";
    type Case = (&'static str, Option<&'static str>, &'static str, Result<(), Why>);
    let cases: &[Case] = &[
        ("updates/dkms/m.ko", Some("updates/dkms/m.ko:\n"), "", Ok(())),
        ("updates/dkms/m.ko.xz", Some("updates/dkms/m.ko.xz: kernel/a.ko.xz kernel/b.ko.xz\n"), "", Ok(())),
        ("updates/dkms/my-mod.ko.zst", Some("updates/dkms/my-mod.ko.zst:\n"), "", Ok(())),
        // The same module under the other spelling, or compressed otherwise, is another file.
        ("updates/dkms/my-mod.ko", Some("kernel/my_mod.ko:\n"), "", another("kernel/my_mod.ko")),
        ("updates/dkms/m.ko.xz", Some("updates/dkms/m.ko:\n"), "", another("updates/dkms/m.ko")),
        ("updates/dkms/m.ko.xz", Some("kernel/drivers/m.ko.xz:\n"), "", another("kernel/drivers/m.ko.xz")),
        // An override of `updates` does not cover `updates/dkms`.
        ("updates/dkms/m.ko", Some("updates/m.ko:\n"), "", another("updates/m.ko")),
        ("extra/m.ko", Some("extra/m.ko:\nkernel/m.ko:\n"), "", Ok(())),
        ("extra/m.ko", Some("kernel/m.ko:\nextra/m.ko:\n"), "", another("kernel/m.ko")),
        // A name that only begins or ends like it is no other file of it.
        ("extra/m.ko", Some("kernel/mm.ko:\nkernel/m_m.ko:\n"), "", Err(Why::NotListed)),
        // What depends on it does not name it.
        ("extra/m.ko", Some("kernel/x.ko: extra/m.ko\n"), "", Err(Why::NotListed)),
        ("extra/m.ko", Some(""), "", Err(Why::NotListed)),
        ("extra/m.ko", Some("garbage\n\n:\n"), "", Err(Why::NotListed)),
        ("extra/m.ko", None, "", Err(Why::NoIndex)),
        ("extra/m.ko", Some("extra/m.ko:\n"), "kernel/drivers/m.ko\n", Err(Why::BuiltIn)),
        ("extra/my_mod.ko", Some("extra/my_mod.ko:\n"), "kernel/my-mod.ko\n", Err(Why::BuiltIn)),
        ("extra/m.ko", Some("extra/m.ko:\n"), "kernel/mm.ko\nkernel/m/n.ko\n", Ok(())),
        // depmod does not enter these, however deep; a stale index may still name what lies there.
        ("kernel/drivers/source/m.ko", Some(rest), "", Err(Why::Skipped("source"))),
        ("build/m.ko", Some("build/m.ko:\n"), "", Err(Why::Skipped("build"))),
        ("kernel/drivers/sources/m.ko", Some("kernel/drivers/sources/m.ko:\n"), "", Ok(())),
        ("extra/build.ko", Some("extra/build.ko:\n"), "", Ok(())),
    ];
    for (path, dep, built_in, answer) in cases {
        assert_eq!(&ask(path, whole(MAGIC), *dep, built_in), answer, "{path} {dep:?} {built_in:?}");
    }
}

/// The file itself comes first: a right index of a wrong file loads nothing.
#[test]
fn the_file_decides_before_the_index() {
    let module =
        |as_built, vermagic: &str, for_machine| File::Module { as_built, vermagic: vermagic.to_owned(), for_machine };
    let other = |module: &[&str], kernel: &[&str]| -> Result<(), Why> {
        let words = |all: &[&str]| all.iter().map(|word| (*word).to_owned()).collect();
        Err(Why::OtherMagic { module: words(module), kernel: words(kernel) })
    };
    let cases = [
        (File::Missing, Err(Why::Missing)),
        (File::Damaged("cut".into()), Err(Why::Damaged("cut".into()))),
        (module(Some(false), MAGIC, true), Err(Why::Changed)),
        (module(None, MAGIC, true), Ok(())),
        (module(Some(true), MAGIC, false), Err(Why::OtherMachine)),
        (module(Some(true), "6.1", true), other(&[], &["SMP", "preempt", "mod_unload"])),
        (module(Some(true), "6.1 SMP preempt mod_unload", true), Ok(())),
        (module(Some(true), "6.1 SMP preempt_rt mod_unload ", true), other(&["preempt_rt"], &["preempt"])),
        (module(Some(true), "6.1 preempt SMP mod_unload ", true), other(&[], &[])),
        (module(Some(true), "6.10 SMP mod_unload", true), Err(Why::OtherKernel("6.10".into()))),
        (module(Some(true), "6.1-rt SMP", true), Err(Why::OtherKernel("6.1-rt".into()))),
        // Those of a kernel without them are another kind of module.
        (module(Some(true), "6.0 SMP preempt mod_unload modversions ", true), other(&["modversions"], &[])),
        // A kernel asks for a vermagic only where the module has one.
        (module(Some(true), "", true), Ok(())),
    ];
    for (file, answer) in cases {
        assert_eq!(ask("extra/m.ko", file.clone(), Some("extra/m.ko:\n"), ""), answer, "{file:?}");
    }
    // With symbol versions the release does not count.
    let release = Release::new("6.1").unwrap();
    let index = Index::parse("extra/m.ko:\n", "");
    let magic = Some("6.1 SMP preempt mod_unload modversions ");
    let file = module(Some(true), "6.0 SMP preempt mod_unload modversions ", true);
    let path = Path::new("extra/m.ko");
    let facts = Candidate { release: &release, path, file, index: Some(&index), asked: &[], magic };
    assert_eq!(judge(&facts), Ok(()));
    // Of two reasons the one that comes first for modprobe's user: without a file nothing else matters.
    assert_eq!(ask("build/m.ko", File::Missing, None, "m.ko"), Err(Why::Missing));
}

#[test]
fn depmods_configuration_explains() {
    let one = "search updates extra built-in\n# override m * x\noverride m 6.1* extra\noverride other * weak\n";
    let two = "override my-m \\\n  * updates\nmake_map_files no\n";
    let three = "  override   *   *   vendor\nexclude old\n";
    let files = [("/etc/a.conf", one), ("/etc/b.conf", two), ("/etc/c.conf", three)];
    let asked = |name: &str| index::asked(files.iter().map(|(file, text)| (Path::new(*file), *text)), name);
    let all =
        ["/etc/a.conf: search updates extra built-in", "/etc/c.conf: override * * vendor", "/etc/c.conf: exclude old"];
    assert_eq!(asked("none"), all);
    assert_eq!(asked("m"), [all[0], "/etc/a.conf: override m 6.1* extra", all[1], all[2]]);
    assert_eq!(asked("my_m").len(), 4);
}

#[test]
fn each_reason_says_what_and_how() {
    let release = Release::new("6.1").unwrap();
    let reasons = [
        (Why::Missing, true),
        (Why::Damaged("cut".into()), true),
        (Why::Changed, true),
        (Why::OtherMachine, false),
        (Why::OtherKernel("6.0".into()), false),
        (Why::BuiltIn, false),
        (Why::NoIndex, true),
        (Why::NotListed, true),
        (Why::Skipped("build"), false),
        (Why::Needs { symbol: "a".into(), more: 0, module: None }, false),
        (Why::Needs { symbol: "a".into(), more: 1, module: Some("b".into()) }, false),
        (Why::OtherSymbol { symbol: "a".into(), exporter: "b".into() }, true),
        (Why::NotForItsLicence { symbol: "a".into(), licence: "b".into() }, false),
        (Why::OtherMagic { module: vec!["a".into()], kernel: vec!["b".into()] }, true),
        (Why::Command("/etc/a.conf: install m /bin/false".into()), false),
        (Why::Blacklisted("/etc/a.conf".into()), false),
        (Why::NotImported { symbol: "a".into(), namespace: "b".into() }, false),
        (Why::NotImported { symbol: "a".into(), namespace: "module:b".into() }, false),
        (Why::NeedsFile("extra/a.ko".into()), true),
        (Why::Because { path: "extra/a.ko".into(), why: Box::new(Why::Missing) }, false),
        (Why::OldIndex("modules.alias.bin"), true),
        (Why::NotInImage(Some("make it".into())), true),
        (Why::OtherInImage("kernel/m.ko".into(), None), false),
        (Why::Another { path: "kernel/m.ko".into(), asked: vec!["/etc/a.conf: search extra".into()] }, false),
    ];
    let mut texts: Vec<String> = reasons.iter().map(|(why, _)| why.to_string()).collect();
    for (why, mendable) in &reasons {
        assert_eq!(why.mend("a/1", &release).is_some(), *mendable, "{why}");
    }
    assert!(texts.iter().any(|text| text == "modprobe takes kernel/m.ko instead (/etc/a.conf: search extra)"));
    texts.sort();
    texts.dedup();
    assert_eq!(texts.len(), reasons.len());
}

mod on_disk;
