//! A smaller `vendor` directory: without what only other systems need, and without binary files.
//!
//! cargo wants every crate of Cargo.lock in the directory, also those that it won't compile: they stay as a manifest and an
//! empty library. Without that, Windows' import libraries alone would be half of the source package.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use fs_err as fs;
use serde_json::{Map, Value};

use crate::crates::Metadata;

/// What cargo compares the files of a vendored crate with.
const CHECKSUMS: &str = ".cargo-checksum.json";
/// Endings of files that nobody needs: objects, what crates try themselves with, manifests as they were before they were
/// published (which dh_clean(1) would delete).
const NEEDLESS: &[&str] =
    &["a", "bin", "dll", "exe", "gz", "lib", "o", "obj", "orig", "rpm", "so", "wasm", "xz", "zst"];
/// Directories that hold the crate's own tests. Nothing that is built here reads them. (Examples are in some crates' documentation.)
const TESTS: &[&str] = &["benches", "fuzz", "tests"];
/// Sections of a manifest that name files to be compiled.
const TARGETS: &[&str] = &["[lib]", "[[bin]]", "[[bench]]", "[[example]]", "[[test]]"];

/// Prunes `vendor`, which `cargo vendor --versioned-dirs` made: what `metadata` does not name becomes a stub.
///
/// # Errors
/// If a crate that is needed is missing there, or a file can't be read or written.
pub fn prune(vendor: &Path, metadata: &Metadata) -> Result<()> {
    let needed: BTreeSet<String> = metadata.foreign().iter().map(|package| package.directory()).collect();
    let mut seen = BTreeSet::new();
    for entry in fs::read_dir(vendor)? {
        let directory = entry?.path();
        let name = directory.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let (mut sums, mut files) = read(&directory)?;
        if needed.contains(&name) {
            for (file, _) in files.clone() {
                let path = Path::new(&file);
                let of = |list: &[&str], word: Option<&std::ffi::OsStr>| {
                    word.is_some_and(|word| list.iter().any(|other| word == *other))
                };
                let first = path.components().next().map(std::path::Component::as_os_str);
                if of(NEEDLESS, path.extension()) || (path.components().count() > 1 && of(TESTS, first)) {
                    fs::remove_file(directory.join(path))?;
                    files.remove(&file);
                }
            }
            let manifest = fs::read_to_string(directory.join("Cargo.toml"))?;
            let manifest = without(&manifest, &["[[bench]]", "[[test]]"]);
            fs::write(directory.join("Cargo.toml"), manifest)?;
            // It is no more the one that the sum is of.
            files.remove("Cargo.toml");
        } else {
            let manifest = fs::read_to_string(directory.join("Cargo.toml"))?;
            fs::remove_dir_all(&directory)?;
            fs::create_dir_all(directory.join("src"))?;
            fs::write(directory.join("Cargo.toml"), stub(&manifest))?;
            fs::write(directory.join("src/lib.rs"), "")?;
            files = Map::new();
        }
        sums.insert("files".into(), Value::Object(files));
        fs::write(directory.join(CHECKSUMS), Value::Object(sums).to_string())?;
        empty_directories(&directory)?;
        seen.insert(name);
    }
    let missing: Vec<_> = needed.difference(&seen).collect();
    ensure!(missing.is_empty(), "{} lacks {missing:?}", vendor.display());
    Ok(())
}

/// The checksums of a crate, and those of its files.
fn read(directory: &Path) -> Result<(Map<String, Value>, Map<String, Value>)> {
    let sums: Map<String, Value> = serde_json::from_str(&fs::read_to_string(directory.join(CHECKSUMS))?)?;
    let files = sums.get("files").and_then(Value::as_object).cloned();
    let files = files.with_context(|| format!("{} has no checksums of files", directory.display()))?;
    Ok((sums, files))
}

/// The manifest of a crate that has only an empty library. Its dependencies and features stay, because Cargo.lock has them.
fn stub(manifest: &str) -> String {
    let kept = without(manifest, TARGETS);
    let lines = kept.lines().map(|line| match line.split_once(" = ") {
        Some(("build", _)) => "build = false",
        // cargo allows it only with a build script.
        Some(("links", _)) => "",
        _ => line,
    });
    let text: String = lines.flat_map(|line| [line, "\n"]).collect();
    format!("{text}\n[lib]\npath = \"src/lib.rs\"\n")
}

/// A manifest, as cargo writes it when it publishes a crate, without these sections.
fn without(manifest: &str, sections: &[&str]) -> String {
    let mut skip = false;
    let mut kept = String::new();
    for line in manifest.lines() {
        if line.starts_with('[') {
            skip = sections.contains(&line);
        }
        if !skip {
            kept.push_str(line);
            kept.push('\n');
        }
    }
    kept
}

fn empty_directories(directory: &Path) -> Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            empty_directories(&entry.path())?;
            if fs::read_dir(entry.path())?.next().is_none() {
                fs::remove_dir(entry.path())?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_linux_needs_becomes_a_stub() {
        let tmp = tempfile::tempdir().unwrap();
        let manifest = "[package]\nname = \"X\"\nbuild = \"build.rs\"\nlinks = \"x\"\n\n[lib]\npath = \"lib.rs\"\n\n\
                        [[test]]\nname = \"t\"\n\n[features]\nf = []\n";
        for name in ["a", "b", "c", "m", "t", "windows"] {
            let directory = tmp.path().join(format!("{name}-1.0.0+x"));
            fs::create_dir_all(directory.join("tests")).unwrap();
            fs::write(directory.join("Cargo.toml"), manifest).unwrap();
            let mut files = Map::new();
            for file in ["lib.rs", "x.o", "tests/t.rs", "Cargo.toml", "Cargo.toml.orig"] {
                fs::write(directory.join(file), manifest).unwrap();
                files.insert(file.into(), "sum".into());
            }
            let sums = serde_json::json!({"files": files, "package": "whole"});
            fs::write(directory.join(CHECKSUMS), sums.to_string()).unwrap();
        }
        prune(tmp.path(), &crate::crates::tests::small()).unwrap();
        let read = |file: &str| fs::read_to_string(tmp.path().join(file)).unwrap();
        assert_eq!(
            read("windows-1.0.0+x/Cargo.toml"),
            "[package]\nname = \"X\"\nbuild = false\n\n\n[features]\nf = []\n\n[lib]\npath = \"src/lib.rs\"\n"
        );
        assert_eq!(read("windows-1.0.0+x/src/lib.rs"), "");
        assert_eq!(read("windows-1.0.0+x/.cargo-checksum.json"), r#"{"files":{},"package":"whole"}"#);
        assert_eq!(read("a-1.0.0+x/.cargo-checksum.json"), r#"{"files":{"lib.rs":"sum"},"package":"whole"}"#);
        assert!(read("a-1.0.0+x/Cargo.toml").contains("links") && !read("a-1.0.0+x/Cargo.toml").contains("[[test]]"));
        assert!(!tmp.path().join("a-1.0.0+x/tests").exists() && !tmp.path().join("a-1.0.0+x/x.o").exists());

        fs::remove_dir_all(tmp.path().join("b-1.0.0+x")).unwrap();
        assert!(prune(tmp.path(), &crate::crates::tests::small()).is_err(), "a crate is missing");
    }
}
