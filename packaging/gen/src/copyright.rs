//! Debian's copyright file, which is the list of licences of all our packages: ours, those of all crates, and of what
//! crates bring of others'. Its form is the machine-readable one,
//! <https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/>.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use fs_err as fs;

use crate::crates::{Metadata, Package};

/// The names of files in which a crate says whose it is, in capitals, without what may follow.
const NOTICES: &[&str] = &["LICENSE", "LICENCE", "COPYING", "COPYRIGHT", "NOTICE", "UNLICENSE"];
/// Words of lines that begin as a copyright notice does, and are a part of a licence's text.
const NO_NOTICE: &[&str] = &[
    "[yyyy]",
    "{yyyy}",
    "<year>",
    "Free Software Foundation",
    "copyright notice",
    "owner",
    "HOLDERS",
    "license",
    "License",
    "statement",
    "law",
    "interest",
    "You must retain",
];

/// The whole file. `licences` holds `ours` (its beginning), `inside-crates` (paragraphs after those of the crates), and
/// `texts/NAME` for each licence.
///
/// # Errors
/// If a crate names no licence, or one whose text is not there; or a file can't be read.
pub fn text(licences: &Path, metadata: &Metadata) -> Result<String> {
    let mut all = fs::read_to_string(licences.join("ours"))?;
    for package in metadata.foreign() {
        let of = || package.directory();
        let licence = package.license.as_deref().with_context(|| format!("{} names no licence", of()))?;
        let licence = translated(licence).with_context(|| format!("the licence of {}", of()))?;
        let holders = holders(package)?.join("\n ");
        all += &format!("\nFiles: vendor/{}/*\nCopyright: {holders}\nLicense: {licence}\n", of());
    }
    all += &format!("\n{}", fs::read_to_string(licences.join("inside-crates"))?);
    for name in names(&all) {
        let text = fs::read_to_string(licences.join("texts").join(&name))
            .with_context(|| format!("packaging/licences has no text of {name}"))?;
        all += &format!("\nLicense: {name}\n{}", indented(&text));
    }
    Ok(all)
}

/// An SPDX expression in the words of Debian's format: `A or B`, `A and B`, `A or B, and C`.
fn translated(expression: &str) -> Result<String> {
    let text = expression.replace('/', " OR ").replace(" WITH LLVM-exception", " with LLVM exception");
    // The one nesting that is in use; a comma divides what binds less.
    let text = match text.strip_prefix('(') {
        Some(rest) => rest.replacen(") AND ", ", AND ", 1),
        None => text,
    };
    ensure!(!text.contains(['(', ')']), "{expression:?} is nested in a way that this does not know");
    let words = text.split_whitespace().map(|word| match word {
        "OR" => "or",
        "AND" => "and",
        "GPL-3.0" | "GPL-3.0-only" => "GPL-3",
        "GPL-3.0-or-later" => "GPL-3+",
        "GPL-2.0-or-later" => "GPL-2+",
        other => other,
    });
    Ok(words.collect::<Vec<_>>().join(" "))
}

/// The licences that the paragraphs of `text` name, each once.
fn names(text: &str) -> BTreeSet<String> {
    let lines = text.lines().filter_map(|line| line.strip_prefix("License: "));
    lines
        .flat_map(|line| line.split(" or ").flat_map(|part| part.split(" and ")))
        .map(|name| name.trim_end_matches(',').trim().to_owned())
        .collect()
}

/// Who holds the copyright of a crate: by the notices in it, else by its manifest.
fn holders(package: &Package) -> Result<Vec<String>> {
    let mut files: Vec<_> =
        fs::read_dir(package.source_directory())?.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
    files.sort();
    let mut holders = Vec::new();
    for file in files {
        let name = file.file_name().unwrap_or_default().to_string_lossy().to_uppercase();
        if !NOTICES.iter().any(|start| name.starts_with(start)) || !file.is_file() {
            continue;
        }
        for line in String::from_utf8_lossy(&fs::read(&file)?).lines() {
            if let Some(holder) = notice(line) {
                if !holders.contains(&holder) {
                    holders.push(holder);
                }
            }
        }
    }
    if holders.is_empty() {
        let name = |author: &String| author.split(" <").next().unwrap_or(author).to_owned();
        holders = package.authors.iter().map(name).collect();
    }
    if holders.is_empty() {
        holders.push(format!("The authors of {}", package.name));
    }
    Ok(holders)
}

/// What a copyright notice says, without the word; `None` if the line is none.
fn notice(line: &str) -> Option<String> {
    let line = line.trim().trim_start_matches(['/', '#', '*', '-', ' ']);
    let lower = line.to_lowercase();
    if !(lower.starts_with("copyright") || lower.starts_with("(c)") || lower.starts_with('©'))
        || !(lower.contains("(c)") || line.contains('©') || line.contains(|c: char| c.is_ascii_digit()))
        || NO_NOTICE.iter().any(|word| line.contains(word))
    {
        return None;
    }
    let mut rest = line;
    loop {
        let shorter = rest.trim_start_matches([' ', ':', ',']);
        let word = ["Copyright", "COPYRIGHT", "copyright", "(c)", "(C)", "©"]
            .iter()
            .find_map(|word| shorter.strip_prefix(word));
        match word {
            Some(after) => rest = after,
            None => {
                return shorter
                    .contains(char::is_alphabetic)
                    .then(|| shorter.trim_end().trim_end_matches("All rights reserved.").trim_end().to_owned());
            }
        }
    }
}

/// A text as the continuation of a field: each line after a space, empty ones as a dot.
fn indented(text: &str) -> String {
    let line = |line: &str| if line.trim().is_empty() { " .\n".to_owned() } else { format!(" {}\n", line.trim_end()) };
    text.trim_end().lines().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_in_debian_s_words() {
        for (from, to) in [
            ("MIT OR Apache-2.0", "MIT or Apache-2.0"),
            ("MIT/Apache-2.0", "MIT or Apache-2.0"),
            ("(MIT OR Apache-2.0) AND Unicode-3.0", "MIT or Apache-2.0, and Unicode-3.0"),
            ("Apache-2.0 WITH LLVM-exception OR MIT", "Apache-2.0 with LLVM exception or MIT"),
            ("GPL-3.0", "GPL-3"),
        ] {
            assert_eq!(translated(from).unwrap(), to);
        }
        assert!(translated("MIT AND (ISC OR Zlib)").is_err());
        let found =
            names("License: MIT or Apache-2.0, and Unicode-3.0\nx\nLicense: Apache-2.0 with LLVM exception or MIT\n");
        assert_eq!(
            found.iter().map(String::as_str).collect::<Vec<_>>(),
            ["Apache-2.0", "Apache-2.0 with LLVM exception", "MIT", "Unicode-3.0"]
        );
    }

    #[test]
    fn notices() {
        for (line, holder) in [
            ("Copyright (c) 2014 A B", Some("2014 A B")),
            ("// Copyright 2015-2016 A B.", Some("2015-2016 A B.")),
            ("Copyright © 1991-2023 Unicode, Inc.", Some("1991-2023 Unicode, Inc.")),
            ("(C) 2024 A Foundation ", Some("2024 A Foundation")),
            ("Copyright (c) 2015", None),
            ("Copyright (c) The Rust Project Contributors", Some("The Rust Project Contributors")),
            ("Copyright [yyyy] [name of copyright owner]", None),
            ("copyright notice, this list of conditions and the following disclaimer", None),
            ("COPYRIGHT HOLDERS OR CONTRIBUTORS BE LIABLE (c)", None),
            ("Copyright (C) 2007 Free Software Foundation, Inc. <https://fsf.org/>", None),
            ("(c) You must retain, in the Source form of any Derivative Works", None),
            ("The copyright of 2014", None),
        ] {
            assert_eq!(notice(line).as_deref(), holder, "{line}");
        }
    }

    /// What is committed is what `make copyright` would write: a crate that came, went or changed its licence shows here.
    #[test]
    fn the_committed_files_are_up_to_date() {
        let packaging = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let metadata = crate::crates::tests::ours();
        let made = text(&packaging.join("licences"), &metadata).unwrap();
        let committed = fs::read_to_string(packaging.join("debian/copyright")).unwrap();
        assert!(
            made == committed,
            "packaging/debian/copyright is not what `make copyright` writes: run it, and look at the difference"
        );
        let spec = fs::read_to_string(packaging.join("rpm/dkms-rs.spec")).unwrap();
        let licences = packaging.join("licences");
        for (of, members) in [
            ("dkms", ["dkms-core", "dkms-hooks-dnf"].as_slice()),
            ("dkms-mkpkg", &["dkms-mkpkg"]),
            ("dkms-share", &["dkms-share"]),
        ] {
            let members: Vec<_> = members.iter().map(|member| (*member).to_owned()).collect();
            let made = crate::license_tag::line(&licences, &members, &metadata).unwrap()
                + &crate::crates::bundled(&members, &metadata).unwrap();
            assert!(
                spec.contains(&format!(": begin\n{made}# bundled")),
                "the licence and the bundled crates of {of} in dkms-rs.spec are not what `make copyright` prints:\n{made}"
            );
        }
        let all = ["dkms-core", "dkms-hooks-dnf", "dkms-mkpkg", "dkms-share"].map(str::to_owned);
        let made = crate::license_tag::line(&licences, &all, &metadata).unwrap();
        let pacman = ["dkms-core", "dkms-hooks-pacman", "dkms-hooks-pacman-preflight", "dkms-mkpkg", "dkms-share"];
        let arch = crate::license_tag::line(&licences, &pacman.map(str::to_owned), &metadata).unwrap();
        let arch = format!("\n# license: begin\nlicense=('{}')\n# license: end\n", arch["License:".len()..].trim());
        let pkgbuild = fs::read_to_string(packaging.join("arch/PKGBUILD")).unwrap();
        assert!(pkgbuild.contains(&arch), "the PKGBUILD's license is not\n{arch}");
        assert!(
            spec.contains(&format!("\n# license: begin\n{made}# license: end\n")),
            "the spec's License is not\n{made}"
        );
    }
}
