use std::path::Path;

use super::*;

/// What the assembler makes of `text`.
pub(crate) fn assembled(text: &str) -> Vec<u8> {
    let tmp = tempfile::tempdir().unwrap();
    fs_err::write(tmp.path().join("a.s"), text).unwrap();
    let status = crate::process::command("as").current_dir(tmp.path()).args(["a.s", "-o", "a.o"]).status().unwrap();
    assert!(status.success(), "{text}");
    fs_err::read(tmp.path().join("a.o")).unwrap()
}

/// A module that needs and exports these symbols, as kbuild and the kernel's include/linux/export.h lay it down: each with its checksum.
/// `modinfo`: fields of its modinfo.
pub(crate) fn module(needs: &[(&str, u32)], offers: &[(&str, Option<u32>)], modinfo: &[&str]) -> Vec<u8> {
    let mut text = String::new();
    for (name, crc) in needs {
        text += &format!(".data\n.quad {name}\n.section __versions,\"a\"\n.quad {crc}\n.ascii \"{name}\"\n");
        text += &format!(".zero {}\n", 56 - name.len());
    }
    for (name, crc) in offers {
        text += &format!(
            ".data\n.globl {name}\n{name}: .quad 7\n.section __ksymtab_strings,\"a\"\n.asciz \"{name}\"\n.asciz \"\"\n"
        );
        if let Some(crc) = crc {
            text += &format!(".section __kcrctab,\"a\"\n__crc_{name}: .long {crc}\n");
        }
    }
    for field in modinfo {
        text += &format!(".section .modinfo,\"a\"\n.asciz \"{field}\"\n");
    }
    assembled(&text)
}

fn list(all: &BTreeMap<String, Option<u32>>) -> Vec<(&str, Option<u32>)> {
    all.iter().map(|(name, crc)| (name.as_str(), *crc)).collect()
}

#[test]
fn what_is_needed_and_offered() {
    let bytes = module(&[("_printk", 0x8765_4321), ("kfree", 0)], &[("mine", Some(0x1234_5678)), ("plain", None)], &[]);
    let symbols = Symbols::parse(&bytes).unwrap();
    assert_eq!(list(&symbols.needs), [("_printk", Some(0x8765_4321)), ("kfree", Some(0))]);
    assert_eq!(list(&symbols.offers), [("mine", Some(0x1234_5678)), ("plain", None)]);
    assert_eq!(symbols.layout, None);
    // Weak ones may be absent; some are the linker's; an older kernel's checksum is the symbol's own value.
    let bytes = assembled(
        ".weak maybe\n.data\n.quad maybe\n.quad _GLOBAL_OFFSET_TABLE_\n.quad must
.section __ksymtab_strings,\"a\"\n.asciz \"old\"\n.globl __crc_old\n.set __crc_old, 0x90abcdef
.section __versions,\"a\"\n.quad 5\n.asciz \"module_layout\"\n.zero 42\n",
    );
    let symbols = Symbols::parse(&bytes).unwrap();
    assert_eq!(list(&symbols.needs), [("must", None)]);
    assert_eq!(list(&symbols.offers), [("old", Some(0x90ab_cdef))]);
    assert_eq!(symbols.layout, Some(5));
}

/// Linux 6.13 and later, for the long names of Rust.
#[test]
fn names_of_any_length() {
    let long = "r".repeat(200);
    let bytes = assembled(&format!(
        ".data\n.quad {long}\n.quad other\n.section __version_ext_names,\"a\"\n.asciz \"other\"\n.asciz \"{long}\"
.section __version_ext_crcs,\"a\"\n.long 1\n.long 2\n"
    ));
    assert_eq!(list(&Symbols::parse(&bytes).unwrap().needs), [("other", Some(1)), (&long, Some(2))]);
}

/// Names that no kernel has cost nothing: many symbols may share one of a megabyte.
#[test]
fn names_are_bounded() {
    let mut text = format!(".data\n.quad {}\n", "a".repeat(LONGEST_NAME + 1));
    text += &format!(".quad {}\n", "b".repeat(LONGEST_NAME));
    let symbols = Symbols::parse(&assembled(&text)).unwrap();
    assert_eq!(symbols.needs.len(), 1);
    for bytes in [&b""[..], b"\x7fELF", b"#!/bin/sh"] {
        assert!(Symbols::parse(bytes).is_err() && content(bytes).is_err());
    }
}

/// Signatures, debug information and what a module says of itself do not count; each byte and each call that runs does.
#[test]
fn what_a_module_does() {
    let text = |call: &str, value: u32, modinfo: &str| {
        format!(".data\n.long {value}\n.quad {call}\n.section .modinfo,\"a\"\n.asciz \"{modinfo}\"\n")
    };
    let one = assembled(&text("kfree", 1, "a=b"));
    let digest = content(&one).unwrap();
    let same = [
        [&one[..], b"~Module signature appended~\n"].concat(),
        assembled(&text("kfree", 1, "intree=Y")),
        assembled(
            &(text("kfree", 1, "")
                + ".section .debug_info,\"\"\n.long 5\n.section .note.gnu.build-id,\"a\"\n.long 6\n"),
        ),
    ];
    for bytes in same {
        assert_eq!(content(&bytes).unwrap(), digest);
    }
    for bytes in [text("kfree", 2, ""), text("vfree", 1, ""), text("kfree+1", 1, "")] {
        assert_ne!(content(&assembled(&bytes)).unwrap(), digest, "{bytes}");
    }
    let module = fs_err::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/sign/module.ko")).unwrap();
    let tmp = tempfile::tempdir().unwrap();
    fs_err::write(tmp.path().join("m.ko"), &module).unwrap();
    let strip = crate::process::command("strip").current_dir(tmp.path()).args(["-g", "m.ko"]).status().unwrap();
    assert!(strip.success());
    let stripped = fs_err::read(tmp.path().join("m.ko")).unwrap();
    assert!(stripped.len() < module.len());
    assert_eq!(content(&stripped).unwrap(), content(&module).unwrap());
}
