//! What is a question, and what an answer is worth.

use std::ffi::OsString;

use super::answer::{Answer, Said};
use super::question::{Command, Heard, OUTPUT, Question};

const HEARD: Heard = Heard { any: true };
const UNHEARD: Heard = Heard { any: false };

fn words(line: &str) -> Vec<OsString> {
    line.split_whitespace().map(OsString::from).collect()
}

fn env(pairs: &[(&str, &str)]) -> Vec<(OsString, OsString)> {
    pairs.iter().map(|(key, value)| (OsString::from(key), OsString::from(value))).collect()
}

fn question(line: &str, input: Option<&str>) -> Option<Question> {
    Command::read(&words(line))?.question("gcc", input.map(str::as_bytes), env(&[]), UNHEARD)
}

/// As kbuild asks (scripts/Makefile.compiler of Linux 6.12).
const KBUILD: &str = "-Werror -D__KERNEL__ -std=gnu11 -fshort-wchar -funsigned-char -fno-common -fno-PIE -m64 -O2 \
    -mindirect-branch=thunk-extern -fpatchable-function-entry=16,16 --param=allow-store-data-races=0 \
    -Wframe-larger-than=2048 -c -x c /dev/null -o /build/.tmp_411/tmp";

#[test]
fn what_kbuild_asks_is_a_question() {
    let asked = Command::read(&words(KBUILD)).unwrap();
    assert_eq!(asked.output.as_deref(), Some(std::path::Path::new("/build/.tmp_411/tmp")));
    assert!(!asked.reads);
    // The name of the output file is none of its business.
    let other = KBUILD.replace("411", "412");
    assert_eq!(question(KBUILD, None).unwrap().key(), question(&other, None).unwrap().key());
    assert_ne!(question(KBUILD, None).unwrap().key(), question(&KBUILD.replace("-O2", "-O3"), None).unwrap().key());
    // Nor is where the kernel's headers are.
    let mapped = |dir: &str| question(&format!("-fmacro-prefix-map=/usr/src/{dir}/= {KBUILD}"), None).unwrap().key();
    assert_eq!(mapped("linux-headers-6.12.1-common"), mapped("linux-headers-6.12.2-common"));
    let assembler = "-Werror -D__ASSEMBLY__ -Wa,--fatal-warnings -c -x assembler-with-cpp -o t.o -";
    assert!(Command::read(&words(assembler)).unwrap().reads);
    assert!(question(assembler, Some("\tclflushopt (%rax)\n")).is_some());
    for fact in ["--version", "-dumpmachine", "-E -P -x c -", "-E -dM -x c /dev/null", "-S -x c -O0 - -o -"] {
        assert!(question(fact, Some("int x;")).is_some(), "{fact}");
    }
}

/// Each with what it could read, write or depend on that is not in the question.
#[test]
fn everything_else_is_none() {
    let added = [
        "-fplugin=evil.so",
        "-fplugin=/tmp/evil.so",
        "-B/tmp",
        "-B .",
        "-specs=/tmp/specs",
        "-specs=specs",
        "-include /etc/shadow",
        "-imacros x.h",
        "-I.",
        "-I /usr/include",
        "-isystem x",
        "-iplugindir=x",
        "-wrapper /bin/sh",
        "@arguments",
        "-save-temps",
        "-fdump-tree-all",
        "-fstack-usage",
        "-fprofile-use",
        "-fauto-profile",
        "-fbranch-probabilities",
        "-ftest-coverage",
        "-fprofile-arcs",
        "-flto",
        "-gsplit-dwarf",
        "-march=native",
        "-mtune=native",
        "-Wp,-MMD,x.d",
        "-MMD",
        "-MF x",
        "-Wl,-T,x",
        "-Wa,-a=listing",
        "-Wa,@x",
        "-Wa,-I.",
        "-Wa,--MD,x",
        "-Xassembler x",
        "-Xclang -load",
        "-mllvm -load=x",
        "-fpass-plugin=x",
        "-fsanitize-blacklist=x",
        "-fexec-charset=x",
        "-fdiagnostics-format=sarif-file",
        "-fdiagnostics-color=always",
        "--sysroot=/x",
        "-v",
        "-###",
        "x.c",
        "-",
        "-l m",
        "-o other",
        "-DX=__has_include(\"/etc/shadow\")",
        "-fmacro-prefix-map=x",
        "-Wno-\u{fc}",
    ];
    for more in added {
        assert_eq!(question(&format!("{more} {KBUILD}"), Some("")), None, "{more}");
    }
    for line in [
        "",
        "-c -x c /dev/null",
        "-x c /dev/null -o x",
        "-c /dev/null -o x",
        "-c -x c++ /dev/null -o x",
        "-c -x c /dev/null -o",
        "-c -x c /dev/null -o -x",
        "-print-file-name=plugin",
        "-v",
        "-g -ffile-prefix-map=/a/= -c -x c /dev/null -o x",
    ] {
        assert_eq!(question(line, None), None, "{line}");
    }
}

#[test]
fn a_source_that_reaches_out_is_none() {
    let line = "-c -x c - -o x";
    assert!(question(line, Some("int main(void) { return 0; }\n")).is_some());
    for text in [
        "#include <x.h>",
        "#inc\\\nlude <x.h>",
        "%:include <x.h>",
        "??=include <x.h>",
        "asm(\".incbin \\\"/etc/shadow\\\"\");",
        ".include \"x\"",
        ".macro a b\n.inc\\()bin b\n.endm",
        "#embed \"x\"",
        "#import <x.h>",
        "#pragma GCC dependency \"x\"",
        "_Pragma(\"x\")",
        "#if __has_include(<x.h>)",
        "char t[] = __TIME__ __DATE__;",
        "\u{e4}",
        "\0",
    ] {
        assert_eq!(question(line, Some(text)), None, "{text}");
    }
    assert_eq!(question(line, Some(&"x".repeat(1 << 20))), None);
    assert_eq!(Command::read(&words(line)).unwrap().question("gcc", None, env(&[]), HEARD), None);
}

#[test]
fn the_environment_counts_as_far_as_it_is_heard() {
    let asked =
        |pairs: &[(&str, &str)], heard| Command::read(&words(KBUILD)).unwrap().question("gcc", None, env(pairs), heard);
    let key = |pairs: &[(&str, &str)], heard| asked(pairs, heard).map(|question| question.key());
    for (name, value) in [
        ("CPATH", "/tmp"),
        ("C_INCLUDE_PATH", "."),
        ("COMPILER_PATH", "/tmp"),
        ("GCC_EXEC_PREFIX", "/tmp"),
        ("GCC_COMPARE_DEBUG", "1"),
        ("DEPENDENCIES_OUTPUT", "x"),
        ("LD_PRELOAD", "x"),
        ("LD_LIBRARY_PATH", "x"),
        ("CCC_OVERRIDE_OPTIONS", "x"),
        ("GLIBC_TUNABLES", "x"),
        ("SOURCE_DATE_EPOCH", "no number"),
    ] {
        assert_eq!(key(&[(name, value)], UNHEARD), None, "{name}");
    }
    assert_eq!(key(&[("PATH", "/a"), ("HOME", "/b"), ("M", "/c")], UNHEARD), key(&[], UNHEARD));
    assert_ne!(key(&[("SOURCE_DATE_EPOCH", "1")], UNHEARD), key(&[], UNHEARD));
    // Nobody sees in which language nothing is said.
    let german = [("LANG", "de_DE.UTF-8"), ("LANGUAGE", "de")];
    assert_eq!(key(&german, UNHEARD), key(&[], UNHEARD));
    assert_eq!(key(&german, HEARD), None);
    assert_eq!(key(&[("LANG", "de_DE.UTF-8"), ("LC_ALL", "C")], HEARD), key(&[], HEARD));
    assert_ne!(key(&[("LC_ALL", "C.UTF-8")], HEARD), key(&[], HEARD));
    assert_eq!(key(&[("LC_MESSAGES", "C"), ("LC_CTYPE", "C.UTF-8")], HEARD), None);
    assert_ne!(key(&[("COLUMNS", "40")], HEARD), key(&[], HEARD));
}

/// What comes over the socket is checked as a command is.
#[test]
fn a_question_in_a_builds_own_words_is_checked() {
    let honest = question(KBUILD, None).unwrap();
    assert_eq!(Question::parse(honest.text().as_bytes()), Some(honest.clone()));
    let mapped = question(&format!("-fmacro-prefix-map=/usr/src/x/= {KBUILD}"), None).unwrap();
    assert_eq!(Question::parse(mapped.text().as_bytes()), Some(mapped));
    let text = honest.text();
    for (from, to) in [
        ("-O2", "-fplugin=x"),
        ("\"gcc\"", "\"../gcc\""),
        ("\"gcc\"", "\"\""),
        ("\"LC_ALL\"", "\"LD_PRELOAD\""),
        ("\"LC_ALL\"", "\"TMPDIR\""),
        ("/dev/null", "/etc/shadow"),
        ("\"input\":null", "\"input\":\"#include <x>\""),
        ("\"format\":1", "\"format\":2"),
        (OUTPUT, "/etc/passwd"),
        (OUTPUT, "x"),
    ] {
        assert!(text.contains(from), "{from} is not in {text}");
        assert_eq!(Question::parse(text.replace(from, to).as_bytes()), None, "{from} -> {to}");
    }
    assert_eq!(Question::parse(b"{}"), None);
    assert_eq!(Question::parse(&text.as_bytes()[1..]), None);
}

#[test]
fn a_damaged_answer_is_none() {
    let asked = question(KBUILD, None).unwrap();
    let other = question(&KBUILD.replace("-O2", "-O3"), None).unwrap();
    let said = Said { code: 1, stdout: Some(Vec::new()), stderr: None, output: Some(b"\x7fELF".to_vec()) };
    for answer in [Answer::Unfit, Answer::Said(said)] {
        let kept = answer.keep(&asked);
        assert_eq!(Answer::read(&kept, &asked), Some(answer.clone()));
        assert_eq!(Answer::read(&kept, &other), None);
        for at in 0..kept.len() {
            let mut damaged = kept.clone();
            damaged[at] ^= 1;
            assert_eq!(Answer::read(&damaged, &asked), None, "byte {at}");
            assert_eq!(Answer::read(&kept[..at], &asked), None, "{at} bytes");
        }
    }
}
