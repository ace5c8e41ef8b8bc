//! The `License` tag of an rpm package: everything that is linked into its programs, as the guidelines of rpm distributions
//! ask (<https://docs.fedoraproject.org/en-US/packaging-guidelines/Rust/>,
//! <https://docs.fedoraproject.org/en-US/legal/license-field/>): no choice among alternatives, nothing left out, each once.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use fs_err as fs;

use crate::crates::Metadata;

/// What the whole of each program is under, by what it is made of besides crates.
const OURS: &str = "GPL-2.0-or-later";
/// What stands for every program in the file `linked`.
const ALWAYS: &str = "*";

/// `License: …`, a line, for a package with the programs of these `members`. `licences` holds the file `linked`: what crates
/// and all programs bring of others', which no manifest names.
///
/// # Errors
/// If one is no member, a crate names no licence or one of a form that is not known here, or `linked` names a crate that is not
/// there.
pub fn line(licences: &Path, members: &[String], metadata: &Metadata) -> Result<String> {
    let linked = fs::read_to_string(licences.join("linked"))?;
    let brought = read(&linked)?;
    for (of, _) in &brought {
        let known = *of == ALWAYS || metadata.foreign().iter().any(|package| package.name == *of);
        ensure!(known, "packaging/licences/linked names {of}, which no crate is called");
    }
    let mut parts = BTreeSet::new();
    let mut add = |of: &str| -> Result<()> {
        for (_, expression) in brought.iter().filter(|(name, _)| *name == of) {
            parts.extend(conjuncts(expression)?);
        }
        Ok(())
    };
    add(ALWAYS)?;
    let mut packages = Vec::new();
    for member in members {
        packages.extend(metadata.linked(member)?);
    }
    for package in &packages {
        add(&package.name)?;
    }
    for package in packages {
        let of = || package.directory();
        let expression = package.license.as_deref().with_context(|| format!("{} names no licence", of()))?;
        parts.extend(conjuncts(expression).with_context(|| format!("the licence of {}", of()))?);
    }
    parts.remove(OURS);
    let all: Vec<&str> = std::iter::once(OURS).chain(parts.iter().map(String::as_str)).collect();
    Ok(format!("License:        {}\n", all.join(" AND ")))
}

/// The lines `CRATE: EXPRESSION` of the file `linked`; `#` begins a comment.
fn read(text: &str) -> Result<Vec<(&str, &str)>> {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(|line| line.split_once(": ").with_context(|| format!("packaging/licences/linked: {line:?}"))).collect()
}

/// What an SPDX expression asks for at once: single licences, and alternatives in parentheses, sorted, so that the same ones are
/// written in the same way.
fn conjuncts(expression: &str) -> Result<Vec<String>> {
    let unknown = || format!("{expression:?} is nested in a way that this does not know");
    // A slash is an old OR, and the GPL 3 had another name.
    let text = expression.replace('/', " OR ");
    let (mut parts, mut depth, mut part, mut either) = (Vec::new(), 0_i32, String::new(), false);
    for word in text.replace('(', "( ").replace(')', " )").split_whitespace() {
        match word {
            "(" => depth += 1,
            ")" => depth -= 1,
            "AND" if depth == 0 => {
                parts.push(std::mem::take(&mut part));
                continue;
            }
            "AND" => ensure!(false, unknown()),
            "OR" if depth == 0 => either = true,
            _ => {}
        }
        ensure!((0..=1).contains(&depth), unknown());
        if !["(", ")"].contains(&word) {
            part = format!("{part} {}", if word == "GPL-3.0" { "GPL-3.0-only" } else { word });
        }
    }
    parts.push(part);
    // AND binds closer than OR: `A OR B AND C` is no list of what is asked for at once.
    ensure!(depth == 0 && (parts.len() == 1 || !either), unknown());
    parts
        .iter()
        .map(|part| {
            let mut names: Vec<&str> = part.trim().split(" OR ").collect();
            names.sort_unstable();
            names.dedup();
            ensure!(names.iter().all(|name| !name.is_empty()), unknown());
            Ok(if names.len() == 1 { names.concat() } else { format!("({})", names.join(" OR ")) })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_expression_asks_for() {
        for (from, to) in [
            ("MIT", "MIT"),
            ("MIT OR Apache-2.0", "(Apache-2.0 OR MIT)"),
            ("Apache-2.0/MIT", "(Apache-2.0 OR MIT)"),
            ("Apache-2.0 AND ISC", "Apache-2.0 + ISC"),
            ("(MIT OR Apache-2.0) AND Unicode-3.0", "(Apache-2.0 OR MIT) + Unicode-3.0"),
            ("Apache-2.0 WITH LLVM-exception OR MIT", "(Apache-2.0 WITH LLVM-exception OR MIT)"),
            ("(MIT)", "MIT"),
            ("GPL-3.0", "GPL-3.0-only"),
        ] {
            assert_eq!(conjuncts(from).unwrap().join(" + "), to);
        }
        for bad in ["MIT OR ISC AND Zlib", "(MIT AND ISC) OR Zlib", "((MIT))", "(MIT", "MIT)", "", "MIT AND "] {
            assert!(conjuncts(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_a_program_brings() {
        let licences = tempfile::tempdir().unwrap();
        let metadata = crate::crates::tests::small();
        let of = |linked: &str| {
            fs::write(licences.path().join("linked"), linked).unwrap();
            line(licences.path(), &["prog".into()], &metadata)
        };
        let made = of("# text\n*: LGPL-2.1-or-later\nb: ISC OR 0BSD\n\nc: Zlib\n").unwrap();
        assert_eq!(made, "License:        GPL-2.0-or-later AND (0BSD OR ISC) AND LGPL-2.1-or-later AND MIT\n");
        assert!(of("d: Zlib\n").is_err(), "no such crate");
        assert!(of("b Zlib\n").is_err(), "no line of it");
    }
}
