//! What the program says with `--json` is as the schema says, whatever comes of it; and the files that it names are there.

#![allow(clippy::unwrap_used, clippy::panic, clippy::disallowed_methods)]

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

const SCHEMA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../hook-files/common/usr/share/dkms/json-1.schema.json");

/// A root with one registered package, for which nothing is built.
fn root() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join("usr/src/hello-1.0");
    fs_err::create_dir_all(&source).unwrap();
    fs_err::create_dir(dir.path().join("etc")).unwrap();
    fs_err::write(dir.path().join("etc/os-release"), "ID=test\n").unwrap();
    let conf = "PACKAGE_NAME=hello\nPACKAGE_VERSION=1.0\nBUILT_MODULE_NAME=hello\nDEST_MODULE_LOCATION=/updates\nAUTOINSTALL=yes\n";
    fs_err::write(source.join("dkms.conf"), conf).unwrap();
    fs_err::write(source.join("Makefile"), "obj-m := hello.o\n").unwrap();
    let package = dir.path().join("var/lib/dkms/hello/1.0");
    fs_err::create_dir_all(&package).unwrap();
    symlink("/usr/src/hello-1.0", package.join("source")).unwrap();
    fs_err::create_dir(dir.path().join("out")).unwrap();
    dir
}

/// Runs it; gives the exit code, and the events, each of which is as the schema says.
fn run(root: &Path, line: &str) -> (i32, Vec<Value>) {
    let end = Command::new(env!("CARGO_BIN_EXE_dkms-mkpkg"))
        .args(line.split(' '))
        .args(["--json", "--root"])
        .arg(root)
        .arg("--archive")
        .arg(root.join("out"))
        .output()
        .unwrap();
    let (out, err) = (String::from_utf8(end.stdout).unwrap(), String::from_utf8(end.stderr).unwrap());
    assert!(err.is_empty(), "{line}: {err}");
    let schema: Value = serde_json::from_str(&fs_err::read_to_string(SCHEMA).unwrap()).unwrap();
    let schema = json!({ "$ref": "#/$defs/document.event", "$defs": schema["$defs"] });
    let validator = jsonschema::validator_for(&schema).unwrap();
    let events: Vec<Value> = out.lines().map(|text| serde_json::from_str(text).unwrap()).collect();
    for event in &events {
        assert!(validator.is_valid(event), "{line}: {event}");
    }
    let code = end.status.code().unwrap();
    assert_eq!(events.last().unwrap()["code"], json!(code), "{line}: {out}");
    (code, events)
}

/// The files that are named, and whether they are there.
fn files(root: &Path, events: &[Value]) -> Vec<(PathBuf, bool)> {
    let named = events.iter().filter(|event| event["event"] == "file");
    // They are named as they are inside the root.
    let paths = named.map(|event| root.join(event["path"].as_str().unwrap().trim_start_matches('/')));
    paths.map(|path| (path.clone(), path.is_file())).collect()
}

#[test]
fn every_verb_says_what_it_made() {
    let root = root();
    for (line, suffix) in [
        ("mkdeb hello/1.0", ".deb"),
        ("mkrpm hello/1.0", ".rpm"),
        ("mkpkg hello/1.0 --format deb", ".deb"),
        ("mkpkg hello/1.0 --format rpm", ".rpm"),
        ("mkpkg hello/1.0 --format arch", ".pkg.tar.zst"),
    ] {
        for (more, is_written) in [(" --dry-run", false), ("", true)] {
            let (code, events) = run(root.path(), &format!("{line}{more}"));
            let files = files(root.path(), &events);
            assert_eq!((code, files.len(), &events.last().unwrap()["changed"]), (0, 1, &json!(is_written)), "{line}");
            assert!(files[0].0.to_str().unwrap().ends_with(suffix), "{line}: {files:?}");
            assert_eq!(files[0].1, is_written, "{line}{more}: {files:?}");
            if is_written {
                fs_err::remove_file(&files[0].0).unwrap();
            }
        }
    }
}

#[test]
fn what_fails_and_what_is_refused_ends_with_the_last_line_too() {
    let root = root();
    for (line, expected) in [
        ("mkdriverdisk hello/1.0 --distro redhat -k 6.1 -a x86_64", 6),
        ("mkdeb nothing/1", 3),
        ("mkpkg hello/1.0 --format tgz", 2),
        ("mkpkg hello/1.0 --froce", 2),
        ("mkpkg hello/1.0 --format deb --package-release a/b", 6),
    ] {
        let (code, events) = run(root.path(), line);
        assert_eq!(code, expected, "{line}: {events:#?}");
        assert!(events.iter().any(|event| event["event"] == "error"), "{line}: {events:#?}");
        assert!(files(root.path(), &events).is_empty(), "{line}: {events:#?}");
    }
    assert_eq!(fs_err::read_dir(root.path().join("out")).unwrap().count(), 0);
}
