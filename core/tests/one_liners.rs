//! The jq commands of dkms(8) are typed as they stand there, by a real shell with a real jq.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods)]

use std::io::Write;
use std::process::Command;

mod bed;

use bed::{Bed, KERNELS};

const MANUAL: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../packaging/man/dkms.8"));

/// The lines of the manual that a reader types with jq, without prompts.
fn one_liners() -> Vec<String> {
    let lines = MANUAL.lines().filter_map(|line| line.strip_prefix("$ ").or_else(|| line.strip_prefix("# ")));
    let typed = lines.map(|line| line.replace("\\-", "-").replace("\\(aq", "'").replace("\\e", "\\"));
    typed.filter(|line| line.contains("| jq ")).collect()
}

/// Has the program do something, which must succeed.
fn done(bed: &Bed, line: &str) {
    let words = line.replace("{k2}", KERNELS[1]);
    let end = Command::new(env!("CARGO_BIN_EXE_dkms")).args(words.split(' ')).arg("--root").arg(bed.path("")).output();
    let end = end.unwrap();
    assert!(end.status.success(), "{line}: {end:?}");
}

/// What the command prints, on the system in `bed`. Where the reader means the running kernel, it is the first one here.
fn typed(bed: &Bed, line: &str) -> Vec<String> {
    let script = format!(
        "set -o pipefail
         dkms() {{
             case $1 in why | install) set -- \"$@\" -k {} ;; esac
             {} \"$@\" --root {}
         }}
         {line}",
        KERNELS[0],
        env!("CARGO_BIN_EXE_dkms"),
        bed.path("").display()
    );
    let end = Command::new("bash").args(["-c", &script]).output().unwrap();
    // 1: what was asked for by `doctor` is that something is wrong.
    assert!(matches!(end.status.code(), Some(0 | 1)), "{line}: {end:?}");
    let text = String::from_utf8(end.stdout).unwrap().replace(KERNELS[0], "K1").replace(KERNELS[1], "K2");
    text.lines().map(str::to_owned).collect()
}

#[test]
fn every_one_liner_of_the_manual_says_what_it_promises() {
    if Command::new("jq").arg("--version").output().is_err() {
        // Not by `eprintln!`: what a passing test prints by that is not shown. CI fails for this line.
        std::io::stderr().write_all(b"\nleft out: dkms-core one_liners: because jq is missing\n").unwrap();
        return;
    }
    let bed = Bed::new();
    bed.write("etc/os-release", "ID=fedora\n");
    bed.write("boot/grub/grub.cfg", &format!("menuentry 'next' {{\n linux /boot/vmlinuz-{}\n}}\n", KERNELS[1]));
    bed.source("usr/src/hello-1.0", "hello", "1.0", "");
    done(&bed, "add one/1.0");
    done(&bed, "install hello/1.0 -k {k2}");
    done(&bed, "uninstall hello/1.0 -k {k2}");
    bed.delete("lib/modules/{k2}/build");
    let headers = "kernel-deb13-amd62-devel-6.12.117";
    let headers = format!("K2: install the package {headers}: dnf install {headers}");
    let expected: &[(&str, &[&str])] = &[
        ("doctor", &["hello/1.0: it is missing", "one/1.0: waiting for headers"]),
        ("why hello", &["it was never built for this kernel", "dkms install hello/1.0 -k K1"]),
        ("has(\"headers\")", &[headers.as_str()]),
        ("reconcile", &["install hello K2", "build hello K1", "build one K1"]),
        ("install", &["true"]),
    ];
    let lines = one_liners();
    assert_eq!(lines.len(), expected.len(), "{lines:#?}");
    for (line, (about, said)) in lines.iter().zip(expected) {
        assert!(line.contains(about), "{line}");
        assert_eq!(typed(&bed, line), *said, "{line}");
    }
    // There is nothing left to change.
    assert_eq!(typed(&bed, &lines[lines.len() - 1]), ["false"]);
}
