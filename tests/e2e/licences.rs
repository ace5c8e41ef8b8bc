//! The licences of all crates that are linked into what we ship: each is in a list, and those that only the GPL 3 goes
//! with are in the one program that is under it.
//!
//! `cargo deny` would say as much; it is not in Debian, and compiling it takes longer than all our own code.

#![allow(clippy::unwrap_used, clippy::panic)] // a test

use std::collections::{BTreeMap, BTreeSet};

use dkms_tests::run::{command, run};
use dkms_tests::settings::project;
use serde_json::Value;

/// Licences that a program under GPL-2.0-or-later may link, by their names in SPDX. (Apache-2.0 alone makes the whole
/// one under the GPL 3, which "or later" allows.)
const ALLOWED: &[&str] = &[
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "GPL-2.0-or-later",
    "ISC",
    "MIT",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
    "bzip2-1.0.6",
];

/// Licences that only the GPL 3 goes with, and the one crate whose program may link them.
const THREE: &[&str] = &["GPL-3.0", "GPL-3.0-only", "GPL-3.0-or-later"];
const UNDER_THREE: &str = "dkms-hooks-pacman-preflight";

/// Whether the SPDX `expression` can be met with `licences`: AND binds closer than OR, as in SPDX; `/` is an old OR.
fn met(expression: &str, licences: &[&str]) -> bool {
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut rest = words.as_slice();
    let met = either(&mut rest, licences);
    met && rest.is_empty()
}

fn either(rest: &mut &[&str], licences: &[&str]) -> bool {
    let mut met = both(rest, licences);
    while let ["OR", tail @ ..] = *rest {
        *rest = tail;
        met |= both(rest, licences);
    }
    met
}

fn both(rest: &mut &[&str], licences: &[&str]) -> bool {
    let mut met = one(rest, licences);
    while let ["AND", tail @ ..] = *rest {
        *rest = tail;
        met &= one(rest, licences);
    }
    met
}

fn one(rest: &mut &[&str], licences: &[&str]) -> bool {
    match *rest {
        ["(", tail @ ..] => {
            *rest = tail;
            let met = either(rest, licences);
            let closed = rest.first() == Some(&")");
            *rest = rest.get(1..).unwrap_or_default();
            met && closed
        }
        [name, "WITH", exception, tail @ ..] => {
            *rest = tail;
            licences.contains(&format!("{name} WITH {exception}").as_str())
        }
        [name, tail @ ..] => {
            *rest = tail;
            licences.contains(name)
        }
        [] => false,
    }
}

#[test]
fn expressions() {
    for (expression, expected) in [
        ("MIT", true),
        ("MIT/GPL-9", true),
        ("GPL-9 OR MIT AND ISC", true),
        ("GPL-9 AND MIT OR ISC", true),
        ("(GPL-9 OR MIT) AND ISC", true),
        ("MIT AND GPL-9", false),
        ("(MIT OR ISC) AND GPL-9", false),
        ("GPL-9 WITH exception", false),
        ("MIT WITH exception OR ISC", true),
        ("(MIT", false),
        ("", false),
    ] {
        assert_eq!(met(expression, &["MIT", "ISC"]), expected, "{expression}");
    }
}

#[test]
fn every_crate() {
    let host = run(command("rustc").arg("-vV"), b"").unwrap().ok().unwrap();
    let host = host.lines().find_map(|line| line.strip_prefix("host: ")).unwrap();
    let mut cargo = command("cargo");
    cargo.args(["metadata", "--locked", "--format-version=1", "--all-features", "--filter-platform", host]);
    let metadata = run(cargo.current_dir(project()), b"").unwrap().ok().unwrap();
    let metadata: Value = serde_json::from_str(&metadata).unwrap();
    let text = |value: &Value, key: &str| value[key].as_str().unwrap_or_default().to_owned();
    let list = |value: &Value, key: &str| value[key].as_array().cloned().unwrap_or_default();

    // By package: its name and its licence; what it links (not what builds or tests it).
    let packages: BTreeMap<String, (String, String)> = list(&metadata, "packages")
        .iter()
        .map(|package| (text(package, "id"), (text(package, "name"), text(package, "license"))))
        .collect();
    let links: BTreeMap<String, Vec<String>> = list(&metadata["resolve"], "nodes")
        .iter()
        .map(|node| {
            let linked = |dep: &&Value| list(dep, "dep_kinds").iter().any(|kind| kind["kind"].is_null());
            let deps = list(node, "deps");
            (text(node, "id"), deps.iter().filter(linked).map(|dep| text(dep, "pkg")).collect())
        })
        .collect();

    let mut bad = BTreeSet::new();
    let mut seen = BTreeSet::new();
    for member in list(&metadata, "workspace_members") {
        let member = member.as_str().unwrap().to_owned();
        let program = packages[&member].0.clone();
        let (mut open, mut reached) = (vec![member], BTreeSet::new());
        while let Some(id) = open.pop() {
            if reached.insert(id.clone()) {
                open.extend(links[&id].iter().cloned());
            }
        }
        for id in &reached {
            let (name, licence) = &packages[id];
            seen.insert(name.clone());
            let allowed = if program == UNDER_THREE { [ALLOWED, THREE].concat() } else { ALLOWED.to_vec() };
            if !met(licence, &allowed) {
                bad.insert(format!("{program} links {name}, which is under {licence:?}"));
            }
        }
    }
    assert!(bad.is_empty(), "{bad:#?}");
    // The graph was really read.
    for name in ["dkms-core", "serde", "alpm"] {
        assert!(seen.contains(name), "{name} was not seen among {seen:?}");
    }
}
