//! The same questions of files beside a kernel's modules.

use super::super::gather::Loadable;
use super::*;
use crate::digest::Digest;
use crate::names::{Kernel, Package};
use crate::root::Root;
use crate::tree::Trees;
use crate::tree::manifest::KernelManifest;

const RELEASE: &str = "6.12.117+deb13-amd64";

/// A kernel with one module of ours, indexed.
fn bed() -> (tempfile::TempDir, Trees, Kernel) {
    let tmp = tempfile::tempdir().unwrap();
    let trees = Trees::new(Root::at(tmp.path()).unwrap());
    let kernel = Kernel::new(RELEASE, "x86_64").unwrap();
    let dir = trees.modules_dir(&kernel.release);
    fs_err::create_dir_all(dir.join("updates/dkms")).unwrap();
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/sign/module.ko");
    let bytes = fs_err::read(fixture).unwrap();
    fs_err::write(dir.join("updates/dkms/tiny.ko"), &bytes).unwrap();
    fs_err::write(dir.join("modules.dep"), "updates/dkms/tiny.ko:\n").unwrap();
    let text = format!(
        r#"{{"format":1,"installed":[{{"package":{{"name":"a","version":"1"}},"arch":"x86_64","installed_at":1,
        "files":[{{"path":"updates/dkms","name":"tiny","file":"tiny.ko","digest":"{}"}}]}}]}}"#,
        Digest::of(&bytes)
    );
    let mut manifest = KernelManifest::parse(text.as_bytes()).unwrap();
    assert!(manifest.seal(&trees, &kernel.release, true));
    fs_err::write(trees.kernel_manifest(&kernel.release), manifest.to_bytes().unwrap()).unwrap();
    (tmp, trees, kernel)
}

fn ask(trees: &Trees, kernel: &Kernel) -> Result<(), Why> {
    let answers = Loadable::new(trees).package(&Package::new("a", "1").unwrap(), kernel);
    assert_eq!((answers.len(), answers[0].module.as_str()), (1, "tiny"));
    answers[0].answer.clone()
}

/// Each thing that may happen to a module beside the kernel's, and back.
#[test]
fn every_mishap_is_seen() {
    let (_tmp, trees, kernel) = bed();
    assert_eq!(ask(&trees, &kernel), Ok(()));
    let dir = trees.modules_dir(&kernel.release);
    let file = dir.join("updates/dkms/tiny.ko");
    let whole = fs_err::read(&file).unwrap();
    let dep = dir.join("modules.dep");

    for bytes in [&b""[..], b"#!/bin/sh\n", &whole[..whole.len() / 2]] {
        fs_err::write(&file, bytes).unwrap();
        assert!(matches!(ask(&trees, &kernel), Err(Why::Damaged(_))), "{} bytes", bytes.len());
    }
    fs_err::write(&file, [&whole[..], b"garbage~Module signature appended~\n"].concat()).unwrap();
    let answer = ask(&trees, &kernel);
    assert!(matches!(&answer, Err(Why::Damaged(why)) if why.contains("signature")), "{answer:?}");
    let mut changed = whole.clone();
    let at = changed.windows(8).position(|some| some == b"1.2-test").unwrap();
    changed[at] = b'7';
    fs_err::write(&file, &changed).unwrap();
    assert_eq!(ask(&trees, &kernel), Err(Why::Changed));
    fs_err::remove_file(&file).unwrap();
    assert_eq!(ask(&trees, &kernel), Err(Why::Missing));
    // The same bytes again, by another hand.
    fs_err::write(&file, &whole).unwrap();
    assert_eq!(ask(&trees, &kernel), Ok(()));

    fs_err::write(&dep, "kernel/other.ko:\n").unwrap();
    assert_eq!(ask(&trees, &kernel), Err(Why::NotListed));
    fs_err::remove_file(&dep).unwrap();
    assert_eq!(ask(&trees, &kernel), Err(Why::NoIndex));
    fs_err::write(&dep, "kernel/tiny.ko:\n").unwrap();
    for (conf, text) in [("/etc/depmod.d/z.conf", "search built-in updates\n"), ("/lib/depmod.d/z.conf", "search x\n")]
    {
        let conf = trees.outer(conf);
        fs_err::create_dir_all(conf.parent().unwrap()).unwrap();
        fs_err::write(conf, text).unwrap();
    }
    let asked = vec!["/etc/depmod.d/z.conf: search built-in updates".to_owned()];
    assert_eq!(ask(&trees, &kernel), Err(Why::Another { path: "kernel/tiny.ko".into(), asked }));
    fs_err::write(&dep, "updates/dkms/tiny.ko:\n").unwrap();
    fs_err::write(dir.join("modules.builtin"), "kernel/drivers/tiny.ko\n").unwrap();
    assert_eq!(ask(&trees, &kernel), Err(Why::BuiltIn));
}

/// An index of before, or of after, calls for depmod; one that only another's rules make differ is not.
#[test]
fn a_stale_index_is_found() {
    let (_tmp, trees, kernel) = bed();
    let dir = trees.modules_dir(&kernel.release);
    let dep = dir.join("modules.dep");
    let ours = "updates/dkms/tiny.ko:\n";
    for (text, is_stale) in [
        (ours, false),
        ("", true),
        ("kernel/other.ko:\n", true),
        ("kernel/tiny.ko:\n", false),
        ("updates/dkms/tiny.ko:\nupdates/dkms/gone.ko:\n", true),
        ("updates/dkms/tiny.ko:\nkernel/gone.ko:\n", false),
    ] {
        fs_err::write(&dep, text).unwrap();
        assert_eq!(gather::stale(&trees) == [kernel.release.clone()], is_stale, "{text:?}");
    }
    // Nothing that depmod could mend.
    fs_err::write(&dep, "").unwrap();
    let conf = trees.outer("/etc/depmod.d/x.conf");
    fs_err::create_dir_all(conf.parent().unwrap()).unwrap();
    fs_err::write(&conf, "exclude dkms\n").unwrap();
    assert_eq!(gather::stale(&trees), []);
    fs_err::remove_file(&conf).unwrap();
    fs_err::write(dir.join("updates/dkms/tiny.ko"), "").unwrap();
    assert_eq!(gather::stale(&trees), []);
    fs_err::remove_file(&dep).unwrap();
    assert_eq!(gather::stale(&trees), [], "no kernel is there");
    fs_err::write(dir.join("modules.builtin"), "").unwrap();
    assert_eq!(gather::stale(&trees), [kernel.release]);
}

#[test]
fn nothing_is_said_of_what_nobody_knows() {
    let (_tmp, trees, kernel) = bed();
    assert_eq!(Loadable::new(&trees).package(&Package::new("b", "1").unwrap(), &kernel), []);
}

/// Lays down a module that needs `needs` and exports `offers`, as package `name`, and gives its path below the kernel's directory.
fn put(trees: &Trees, kernel: &Kernel, name: &str, bytes: &[u8]) {
    let dir = trees.modules_dir(&kernel.release);
    fs_err::write(dir.join(format!("updates/dkms/{name}.ko")), bytes).unwrap();
    let manifest = KernelManifest::beside(trees, &kernel.release).unwrap().unwrap();
    let mut manifest = std::sync::Arc::unwrap_or_clone(manifest);
    let text = format!(
        r#"{{"format":1,"installed":[{{"package":{{"name":"{name}","version":"1"}},"arch":"x86_64","installed_at":1,
        "files":[{{"path":"updates/dkms","name":"{name}","file":"{name}.ko","digest":"{}"}}]}}]}}"#,
        Digest::of(bytes)
    );
    manifest.put(KernelManifest::parse(text.as_bytes()).unwrap().installed.remove(0));
    assert!(manifest.seal(trees, &kernel.release, true));
    fs_err::write(trees.kernel_manifest(&kernel.release), manifest.to_bytes().unwrap()).unwrap();
}

/// What a module needs comes from the kernel, from its modules or from another package's, with the checksum it was built
/// against: who upgrades an exporter is told whose modules that breaks.
#[test]
fn symbols_of_kernel_and_other_packages() {
    let (_tmp, trees, kernel) = bed();
    let dir = trees.modules_dir(&kernel.release);
    let headers = dir.join("build");
    fs_err::create_dir_all(headers.join("include/config")).unwrap();
    fs_err::write(headers.join("include/config/auto.conf"), "").unwrap();
    let symvers =
        "0x00000007\t_printk\tvmlinux\tEXPORT_SYMBOL\t\n0x00000008\tusb_get\tdrivers/usb/usbcore\tEXPORT_SYMBOL\t\n";
    fs_err::write(headers.join("Module.symvers"), symvers).unwrap();
    // The fixture needs _printk, and has no checksums.
    assert_eq!(ask(&trees, &kernel), Ok(()));

    let info = [&*format!("vermagic={RELEASE} SMP modversions "), "license=GPL"];
    let module = |needs: &[(&str, u32)], offers: &[(&str, Option<u32>)]| {
        crate::elf::symbols::tests::module(needs, offers, &info)
    };
    let dep = |line: &str| {
        let text = format!("updates/dkms/tiny.ko:\nupdates/dkms/giver.ko:\nupdates/dkms/taker.ko:{line}\n");
        fs_err::write(dir.join("modules.dep"), text).unwrap();
    };
    let of = |name: &str| {
        let answers = Loadable::new(&trees).package(&Package::new(name, "1").unwrap(), &kernel);
        answers[0].answer.clone()
    };
    let broken = || {
        let found = Loadable::new(&trees).dependants(&Package::new("giver", "1").unwrap(), &kernel);
        found
            .into_iter()
            .filter_map(|(package, answer)| Some((package.to_string(), answer.answer.err()?)))
            .collect::<Vec<_>>()
    };
    put(&trees, &kernel, "giver", &module(&[("_printk", 7)], &[("given", Some(0x51))]));
    put(&trees, &kernel, "taker", &module(&[("_printk", 7), ("given", 0x51), ("usb_get", 8)], &[]));
    dep(" updates/dkms/giver.ko kernel/usb/usbcore.ko");
    assert_eq!(of("taker"), Err(Why::NeedsFile("kernel/usb/usbcore.ko".into())));
    fs_err::create_dir_all(dir.join("kernel/usb")).unwrap();
    fs_err::write(dir.join("kernel/usb/usbcore.ko"), "").unwrap();
    assert_eq!((of("giver"), of("taker")), (Ok(()), Ok(())));
    assert_eq!(broken(), []);
    dep(" updates/dkms/giver.ko");
    let lacks = |symbol: &str, module: Option<&str>| -> Result<(), Why> {
        Err(Why::Needs { symbol: symbol.into(), more: 0, module: module.map(str::to_owned) })
    };
    assert_eq!(of("taker"), lacks("usb_get", Some("usbcore")));
    dep(" kernel/usb/usbcore.ko");
    assert_eq!(of("taker"), lacks("given", None));
    // The exporter comes anew, and its symbol has another type.
    dep(" updates/dkms/giver.ko kernel/usb/usbcore.ko");
    put(&trees, &kernel, "giver", &module(&[("_printk", 7)], &[("given", Some(0x52))]));
    let other = Why::OtherSymbol { symbol: "given".into(), exporter: "giver".into() };
    assert_eq!((of("giver"), of("taker")), (Ok(()), Err(other.clone())));
    assert_eq!(broken(), [("taker/1".to_owned(), other)]);
    // What is loaded before it must itself be loadable.
    put(&trees, &kernel, "giver", &module(&[("_printk", 7), ("nowhere", 1)], &[("given", Some(0x51))]));
    let why = Box::new(lacks("nowhere", None).unwrap_err());
    assert_eq!(of("taker"), Err(Why::Because { path: "updates/dkms/giver.ko".into(), why }));
    put(&trees, &kernel, "giver", &module(&[("_printk", 7)], &[("given", Some(0x52))]));
    // A kernel of the same release with another ABI.
    fs_err::write(headers.join("Module.symvers"), symvers.replace("7\t_printk", "9\t_printk")).unwrap();
    let other = Why::OtherSymbol { symbol: "_printk".into(), exporter: "the kernel".into() };
    assert_eq!(of("giver"), Err(other));
    // Nobody knows what the kernel exports.
    fs_err::remove_dir_all(&headers).unwrap();
    put(&trees, &kernel, "giver", &module(&[("_printk", 7)], &[("given", Some(0x51))]));
    assert_eq!((of("giver"), of("taker")), (Ok(()), Ok(())));
}

/// What the administrator keeps from being loaded is said, and is no fault.
#[test]
fn modprobe_d_counts() {
    let (_tmp, trees, kernel) = bed();
    let conf = trees.outer("/etc/modprobe.d/a.conf");
    fs_err::create_dir_all(conf.parent().unwrap()).unwrap();
    for (text, answer) in [
        ("options tiny a=1\ninstall other /bin/false\n", Ok(())),
        ("install tiny /bin/false\n", Err(Why::Command("/etc/modprobe.d/a.conf: install tiny /bin/false".into()))),
        ("install tiny /sbin/modprobe --ignore-install tiny\n", Ok(())),
        ("blacklist tiny\n", Err(Why::Blacklisted("/etc/modprobe.d/a.conf".into()))),
    ] {
        fs_err::write(&conf, text).unwrap();
        let found = ask(&trees, &kernel);
        assert!(found.as_ref().err().is_none_or(Why::is_meant), "{text}");
        assert_eq!(found, answer, "{text}");
    }
}

/// The kernel's own modules tell what a vermagic has to say; of one that somebody else has put there nobody learns anything.
#[test]
fn the_kernels_own_modules_tell_its_vermagic() {
    let (_tmp, trees, kernel) = bed();
    let dir = trees.modules_dir(&kernel.release);
    fs_err::create_dir_all(dir.join("kernel")).unwrap();
    let tiny = crate::elf::Module::read(&dir.join("updates/dkms/tiny.ko")).unwrap();
    let magic = tiny.field("vermagic").unwrap().to_owned();
    let stock = |name: &str, magic: &str| {
        let bytes = crate::elf::symbols::tests::module(&[], &[], &[&*format!("vermagic={magic}")]);
        fs_err::write(dir.join("kernel").join(name), bytes).unwrap();
    };
    fs_err::write(dir.join("modules.dep"), "updates/dkms/tiny.ko:\nkernel/a.ko:\nkernel/b.ko:\n").unwrap();
    assert_eq!(ask(&trees, &kernel), Ok(()), "files that are not there tell nothing");
    stock("a.ko", &magic);
    assert_eq!(ask(&trees, &kernel), Ok(()));
    let other = format!("{magic} other");
    stock("a.ko", &other);
    assert_eq!(ask(&trees, &kernel), Err(Why::OtherMagic { module: vec![], kernel: vec!["other".into()] }));
    stock("b.ko", &magic);
    assert_eq!(ask(&trees, &kernel), Ok(()), "they do not agree");
}

/// kmod's modprobe reads the binary index alone, and loads by devices what the one of aliases names.
#[test]
fn the_binary_index_counts() {
    use crate::depmod::trie::tests::file;
    let (_tmp, trees, kernel) = bed();
    let dir = trees.modules_dir(&kernel.release);
    let bin = |name: &str, entries: &[(&str, &str)]| fs_err::write(dir.join(name), file(entries)).unwrap();
    fs_err::create_dir_all(trees.outer("/usr/bin")).unwrap();
    fs_err::write(trees.outer("/usr/bin/kmod"), "").unwrap();
    assert_eq!(ask(&trees, &kernel), Err(Why::NoIndex));
    bin("modules.dep.bin", &[("other", "kernel/other.ko:")]);
    assert_eq!(ask(&trees, &kernel), Err(Why::NotListed));
    assert_eq!(gather::stale(&trees), std::slice::from_ref(&kernel.release));
    bin("modules.dep.bin", &[("tiny", "updates/dkms/tiny.ko: kernel/gone.ko"), ("tinyx", "updates/tinyx.ko:")]);
    assert_eq!(ask(&trees, &kernel), Err(Why::NeedsFile("kernel/gone.ko".into())));
    bin("modules.dep.bin", &[("tiny", "updates/dkms/tiny.ko:")]);
    fs_err::write(dir.join("modules.dep"), "kernel/tiny.ko:\n").unwrap();
    assert_eq!(ask(&trees, &kernel), Ok(()));
    assert_eq!(gather::stale(&trees), []);
    bin("modules.builtin.bin", &[("tiny", "")]);
    assert_eq!(ask(&trees, &kernel), Err(Why::BuiltIn));
    bin("modules.builtin.bin", &[("tinyx", "")]);

    let module = crate::elf::Module::read(&dir.join("updates/dkms/tiny.ko")).unwrap();
    let aliases: Vec<String> = module.fields("alias").map(|alias| index::alias(alias).unwrap()).collect();
    let all: Vec<(&str, &str)> = aliases.iter().map(|alias| (alias.as_str(), "tiny")).collect();
    bin("modules.alias.bin", &all);
    assert_eq!(ask(&trees, &kernel), Ok(()));
    bin("modules.alias.bin", &all[1..]);
    assert_eq!(ask(&trees, &kernel), Err(Why::OldIndex("modules.alias.bin")));
    bin("modules.alias.bin", &[(all[0].0, "another"), all[1]]);
    assert_eq!(ask(&trees, &kernel), Err(Why::OldIndex("modules.alias.bin")));
}

/// The index by symbols names somebody for each symbol that a module exports.
#[test]
fn the_index_of_symbols_counts() {
    use crate::depmod::trie::tests::file;
    let (_tmp, trees, kernel) = bed();
    let dir = trees.modules_dir(&kernel.release);
    let info = [&*format!("vermagic={RELEASE} SMP "), "license=GPL"];
    let bytes = crate::elf::symbols::tests::module(&[], &[("given", None), ("taken", None)], &info);
    put(&trees, &kernel, "giver", &bytes);
    fs_err::write(dir.join("modules.dep"), "updates/dkms/tiny.ko:\nupdates/dkms/giver.ko:\n").unwrap();
    let of = |entries: &[(&str, &str)]| {
        fs_err::write(dir.join("modules.symbols.bin"), file(entries)).unwrap();
        Loadable::new(&trees).package(&Package::new("giver", "1").unwrap(), &kernel)[0].answer.clone()
    };
    let (given, taken) = ("symbol:given", "symbol:taken");
    assert_eq!(of(&[(given, "giver"), (taken, "giver")]), Ok(()));
    assert_eq!(of(&[(given, "giver"), (taken, "another")]), Ok(()), "it has another exporter");
    assert_eq!(of(&[(given, "giver"), ("symbol:take", "giver")]), Err(Why::OldIndex("modules.symbols.bin")));
    // One that exports nothing is not asked.
    assert_eq!(ask(&trees, &kernel), Ok(()));
}

/// The initramfs: of before, without the module, with the kernel's own in its place.
#[test]
fn what_the_initramfs_holds() {
    use super::super::image::tests::cpio;
    use std::time::Duration;
    let (_tmp, trees, kernel) = bed();
    let dir = trees.modules_dir(&kernel.release);
    let whole = fs_err::read(dir.join("updates/dkms/tiny.ko")).unwrap();
    let at = format!("usr/lib/modules/{RELEASE}/updates/dkms/tiny.ko");
    let image = trees.outer(format!("/boot/initrd.img-{RELEASE}"));
    fs_err::create_dir_all(image.parent().unwrap()).unwrap();
    fs_err::create_dir_all(trees.outer("/usr/sbin")).unwrap();
    for tool in ["update-initramfs", "mkinitramfs"] {
        fs_err::write(trees.outer("/usr/sbin").join(tool), "").unwrap();
    }
    let package = Package::new("a", "1").unwrap();
    let changed = fs_err::metadata(trees.kernel_manifest(&kernel.release)).unwrap().modified().unwrap();
    let make = |files: &[(&str, &[u8])], age: Duration| {
        fs_err::write(&image, cpio(files)).unwrap();
        let file = fs_err::OpenOptions::new().append(true).open(&image).unwrap();
        file.into_parts().0.set_modified(changed - age).unwrap();
    };
    let answers = || {
        let loadable = Loadable::new(&trees);
        let answers: Vec<_> = loadable.in_image(&package, &kernel).into_iter().map(|answer| answer.answer).collect();
        (answers, loadable.has_old_image(&kernel.release))
    };
    let command = Some(format!("update-initramfs -u -k {RELEASE}"));
    let old = Duration::from_secs(3600);
    assert_eq!(answers(), (vec![], false), "there is no image");
    make(&[("init", b"")], old);
    assert_eq!(answers(), (vec![Ok(())], false), "it does not belong into it");
    make(&[(&at, &whole)], old);
    assert_eq!(answers(), (vec![Ok(())], false));
    let other = whole.iter().map(|byte| if *byte == b'7' { b'8' } else { *byte }).collect::<Vec<_>>();
    make(&[(&at, &other)], old);
    let another = || Err(Why::OtherInImage(PathBuf::from(&at), command.clone()));
    assert_eq!(answers(), (vec![another()], true));
    make(&[(&at, &other)], Duration::ZERO);
    assert_eq!(answers(), (vec![], false), "made since, as the administrator wants it");
    fs_err::write(trees.image_list(&kernel.release), "tiny\n").unwrap();
    assert_eq!(answers(), (vec![another()], false));
    make(&[("usr/lib/modules/x/kernel/tiny.ko", &other), (&at, &whole)], old);
    assert_eq!(answers(), (vec![Ok(())], false));
    make(&[("init", b"")], old);
    assert_eq!(answers(), (vec![Err(Why::NotInImage(command.clone()))], true));
    fs_err::write(&image, b"of a kind that nobody knows").unwrap();
    assert_eq!(answers(), (vec![], false));
}
