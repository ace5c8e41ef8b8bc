use super::*;
use crate::names::Release;

fn digest(text: &str) -> Digest {
    Digest::of(text.as_bytes())
}

/// What a driver that imports two symbols has read of a kernel with checksums.
fn record() -> Record {
    let texts = |all: &[(&str, &str)]| all.iter().map(|(name, text)| ((*name).to_owned(), digest(text))).collect();
    let import = |crc: u32, module: Option<&str>| Import {
        crc: Some(crc),
        module: module.map(str::to_owned),
        gpl: false,
        namespace: String::new(),
    };
    let config = [("CONFIG_MODVERSIONS", "y"), ("CONFIG_SMP", "y"), ("CONFIG_HZ", "250")];
    let facts = Facts {
        headers: texts(&[
            ("{source}/include/linux/fs.h", "struct file { int a; int b; };"),
            ("{source}/include/linux/gfp.h", "static inline int gfp(void) { return 1; }"),
            ("{build}/include/generated/randstruct_hash.h", "seed"),
            ("{build}/include/generated/uapi/linux/version.h", "KERNEL_VERSION"),
        ]),
        version: Some(0x06_0c_73),
        earlier: BTreeSet::new(),
        config: config.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        looked_at: ["CONFIG_MODVERSIONS", "CONFIG_SMP", "CONFIG_HZ", "CONFIG_DEBUG_LIST"].map(str::to_owned).into(),
        kbuild: texts(&[("{source}/Makefile", "-O2"), ("{build}/tools/objtool/objtool", "\0")]),
        imports: [
            ("module_layout".to_owned(), import(1, None)),
            ("register_filesystem".to_owned(), import(2, None)),
            ("usb_submit_urb".to_owned(), import(3, Some("drivers/usb/core/usbcore"))),
        ]
        .into(),
        types: Some(digest("types")),
        salt: Some(10),
    };
    Record {
        format: FORMAT,
        package: Package::new("driver", "1").unwrap(),
        kernel: Kernel::new("6.12.115-a", "x86_64").unwrap(),
        family: digest("family"),
        result: digest("result"),
        facts,
        comparisons: version::comparisons("#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 12, 117)\n"),
        searches: BTreeSet::new(),
        quoted: BTreeSet::new(),
        exports: ["driver_hook".to_owned()].into(),
    }
}

fn decided(change: impl FnOnce(&mut Facts), policy: Policy) -> Answer {
    let record = record();
    let mut now = record.facts.clone();
    change(&mut now);
    decide(&record, &Kernel::new("6.12.116-b", "x86_64").unwrap(), &now, |_| None, policy)
}

#[test]
fn what_is_the_same_is_used() {
    assert_eq!(decided(|_| (), Policy::Proven), Answer::Reuse(How::AsTheyAre));
    // A newer version that the source does not tell from the older one.
    assert_eq!(decided(|now| now.version = Some(0x06_0c_74), Policy::Proven), Answer::Reuse(How::AsTheyAre));
    // Without checksums a kernel takes nothing but its own release.
    let mut record = record();
    record.facts.config.remove("CONFIG_MODVERSIONS");
    for (release, how) in [("6.12.116-b", How::WithItsRelease), ("6.12.115-a", How::AsTheyAre)] {
        let kernel = Kernel { release: Release::new(release).unwrap(), ..record.kernel.clone() };
        let found = decide(&record, &kernel, &record.facts, |_| None, Policy::Proven);
        assert_eq!(found, Answer::Reuse(how), "{release}");
    }
}

#[test]
fn each_input_that_differs_is_a_reason_to_build() {
    type Change = fn(&mut Facts);
    let changes: [(Change, &str); 18] = [
        (
            |now| {
                now.headers.insert("{source}/include/linux/fs.h".into(), digest("struct file { int b; int a; };"));
            },
            "the header include/linux/fs.h differs",
        ),
        (
            |now| drop(now.headers.insert("{source}/include/linux/gfp.h".into(), digest("return 2"))),
            "the header include/linux/gfp.h differs",
        ),
        (
            |now| drop(now.headers.insert("{build}/include/generated/randstruct_hash.h".into(), digest("2"))),
            "the header include/generated/randstruct_hash.h differs",
        ),
        (|now| drop(now.headers.remove("{source}/include/linux/gfp.h")), "the header include/linux/gfp.h differs"),
        (
            |now| {
                now.earlier.insert("{build}/arch/x86/include/generated/asm/fs.h".into());
            },
            "the header arch/x86/include/generated/asm/fs.h was not there",
        ),
        (|now| drop(now.config.insert("CONFIG_HZ".into(), "1000".into())), "CONFIG_HZ was 250, and is 1000"),
        (|now| drop(now.config.remove("CONFIG_SMP")), "CONFIG_SMP was y, and is not set"),
        (
            |now| drop(now.config.insert("CONFIG_DEBUG_LIST".into(), "y".into())),
            "CONFIG_DEBUG_LIST was not set, and is y",
        ),
        (|now| drop(now.kbuild.insert("{source}/Makefile".into(), digest("-O3"))), "kbuild's Makefile differs"),
        (|now| drop(now.kbuild.insert("{build}/scripts/new".into(), digest(""))), "kbuild's scripts/new differs"),
        (
            |now| now.version = Some(0x06_0c_75),
            "the source tells the two kernels apart: LINUX_VERSION_CODE >= KERNEL_VERSION(6, 12, 117)",
        ),
        (|now| now.version = None, "the header include/generated/uapi/linux/version.h differs"),
        (|now| now.salt = Some(12), "CONFIG_BUILD_SALT has another length, so type information (BTF) differs"),
        (|now| now.types = None, "the kernel's type information (BTF) differs"),
        (|now| drop(now.imports.remove("usb_submit_urb")), "the symbol usb_submit_urb is gone"),
        (
            |now| now.imports.get_mut("register_filesystem").unwrap().crc = Some(9),
            "the symbol register_filesystem has another checksum",
        ),
        (
            |now| now.imports.get_mut("usb_submit_urb").unwrap().gpl = true,
            "the symbol usb_submit_urb is exported to others",
        ),
        (
            |now| now.imports.get_mut("usb_submit_urb").unwrap().module = None,
            "the symbol usb_submit_urb is exported by another module",
        ),
    ];
    for (change, why) in changes {
        match decided(change, Policy::Proven) {
            Answer::Build(difference) => assert_eq!(difference.to_string(), why),
            Answer::Reuse(_) => panic!("reused, although {why}"),
        }
    }
    let record = record();
    let exported = |all: &BTreeSet<String>| all.first().cloned();
    let found = decide(&record, &record.kernel, &record.facts, exported, Policy::Proven);
    assert_eq!(found, Answer::Build(Difference::Export("driver_hook".to_owned())));
}

#[test]
fn those_who_go_by_checksums_ask_for_nothing_else() {
    let header = |now: &mut Facts| drop(now.headers.insert("{source}/include/linux/fs.h".into(), digest("")));
    assert_eq!(decided(header, Policy::Symbols), Answer::Reuse(How::AsTheyAre));
    assert_eq!(
        decided(|now| drop(now.config.insert("CONFIG_HZ".into(), "9".into())), Policy::Symbols),
        Answer::Reuse(How::AsTheyAre)
    );
    let crc = |now: &mut Facts| now.imports.get_mut("module_layout").unwrap().crc = Some(9);
    assert_eq!(
        decided(crc, Policy::Symbols),
        Answer::Build(Difference::Import("module_layout".to_owned(), "has another checksum"))
    );
    // Made by another program: two checksums that are not comparable.
    let other = |now: &mut Facts| drop(now.config.insert("CONFIG_GENDWARFKSYMS".into(), "y".into()));
    assert!(matches!(decided(other, Policy::Symbols), Answer::Build(Difference::Config(..))));
    let none = |now: &mut Facts| drop(now.config.remove("CONFIG_MODVERSIONS"));
    assert_eq!(decided(none, Policy::Symbols), Answer::Build(Difference::NoChecksums));
}

#[test]
fn a_record_is_written_and_read() {
    let record = record();
    let bytes = serde_json::to_vec(&record).unwrap();
    assert_eq!(serde_json::from_slice::<Record>(&bytes).unwrap(), record);
}
