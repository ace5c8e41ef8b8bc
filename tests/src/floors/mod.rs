//! The floors that ARCHITECTURE.md gives the rooms of the core, and the crates, against what the sources import.
//!
//! A room is a module of the core's root; a crate is a directory. Something may import only what has a lower number. No
//! file may import itself by way of others, in any crate. The tests below check this repository, and that the check finds
//! what it is for.

mod imports;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use imports::{Arrow, Modules, circles};

/// The headings of ARCHITECTURE.md above the two tables.
const ROOMS: &str = "## Rooms of the core";
const CRATES: &str = "## Crates";

/// Floors by name: the table below `heading`, whose rows are `| floor | `name` | …`.
fn table(document: &str, heading: &str) -> Result<BTreeMap<String, u32>> {
    let (_, section) = document.split_once(&format!("\n{heading}\n")).with_context(|| format!("no {heading:?}"))?;
    let section = section.split("\n## ").next().unwrap_or_default();
    let mut floors = BTreeMap::new();
    for row in section.lines().filter_map(|line| line.strip_prefix("| ")) {
        let mut cells = row.split(" | ");
        let (Some(floor), Some(names)) = (cells.next(), cells.next()) else { continue };
        let Ok(floor) = floor.parse() else { continue };
        // Every second piece is in backquotes.
        for name in names.split('`').skip(1).step_by(2) {
            anyhow::ensure!(floors.insert(name.to_owned(), floor).is_none(), "{name} is in the table twice");
        }
    }
    Ok(floors)
}

/// What is wrong with `arrows` between rooms, or crates, on these floors.
fn faults(floors: &BTreeMap<String, u32>, there: &[String], arrows: &[(String, String, String)]) -> Vec<String> {
    let mut faults: Vec<String> =
        there.iter().filter(|room| !floors.contains_key(*room)).map(|room| format!("{room} has no floor")).collect();
    faults.extend(floors.keys().filter(|room| !there.contains(room)).map(|room| format!("{room} does not exist")));
    for (from, to, whence) in arrows {
        if let (Some(above), Some(below)) = (floors.get(from), floors.get(to)) {
            if from != to && above <= below {
                faults.push(format!("{whence}: {from} (floor {above}) must not import {to} (floor {below})"));
            }
        }
    }
    faults
}

/// The rooms of a crate and the arrows between them; the root itself is no room.
fn rooms(modules: &Modules) -> (Vec<String>, Vec<(String, String, String)>) {
    let mut there: Vec<String> = modules.paths().filter_map(|path| path.first().cloned()).collect();
    there.dedup();
    let of = |arrow: &Arrow| {
        let (from, to) = (arrow.from.first()?, arrow.to.first()?);
        let whence = format!("{} imports {}", modules.file(&arrow.from).display(), modules.file(&arrow.to).display());
        Some((from.clone(), to.clone(), whence))
    };
    (there, modules.arrows().iter().filter_map(of).collect())
}

/// The files that import themselves by way of others. A directory's `mod.rs` may call its files, and they may use what
/// they share in it: that is one unit.
fn cycles(modules: &Modules) -> Vec<String> {
    let arrows =
        modules.arrows().into_iter().filter(|arrow| !arrow.from.starts_with(&arrow.to) || arrow.to.is_empty()).collect();
    let names = |circle: Vec<Vec<String>>| {
        let files: Vec<String> = circle.iter().map(|path| modules.file(path).display().to_string()).collect();
        format!("these import each other: {}", files.join(", "))
    };
    circles(&arrows).into_iter().map(names).collect()
}

/// A workspace member: its directory, its name, and what it depends on among the members, tests left out.
struct Member {
    dir: String,
    name: String,
    needs: Vec<String>,
}

/// The members of the workspace at `top`.
fn members(top: &Path) -> Result<Vec<Member>> {
    let parse = |path: PathBuf| -> Result<toml::Table> { Ok(fs_err::read_to_string(path)?.parse()?) };
    let workspace = parse(top.join("Cargo.toml"))?;
    let dirs = workspace.get("workspace").and_then(|it| it.get("members")).and_then(toml::Value::as_array);
    let dirs = dirs.context("a workspace has members")?;
    let mut members = Vec::new();
    for dir in dirs.iter().filter_map(toml::Value::as_str) {
        let manifest = parse(top.join(dir).join("Cargo.toml"))?;
        let name = manifest.get("package").and_then(|it| it.get("name")).and_then(toml::Value::as_str);
        let needs = ["dependencies", "build-dependencies"].iter().filter_map(|kind| manifest.get(*kind)?.as_table());
        members.push(Member {
            dir: dir.to_owned(),
            name: name.context("a crate has a name")?.to_owned(),
            needs: needs.flat_map(|table| table.keys().cloned()).collect(),
        });
    }
    Ok(members)
}

/// The arrows between members, by their directories.
fn needed(members: &[Member]) -> Vec<(String, String, String)> {
    let dir = |name: &String| members.iter().find(|member| member.name == *name).map(|member| member.dir.clone());
    let of = |member: &Member| {
        let arrow = |to: String| (member.dir.clone(), to, format!("{}/Cargo.toml", member.dir));
        member.needs.iter().filter_map(dir).map(arrow).collect::<Vec<_>>()
    };
    members.iter().flat_map(of).collect()
}

/// The crate roots of a member: its library, then its main program.
fn roots(top: &Path, member: &Member) -> Vec<PathBuf> {
    let roots = ["src/lib.rs", "src/main.rs"].map(|file| top.join(&member.dir).join(file));
    roots.into_iter().filter(|root| root.is_file()).collect()
}

#[cfg(test)]
mod checks {
    use super::*;

    fn top() -> &'static Path {
        Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
    }

    fn architecture() -> String {
        fs_err::read_to_string(top().join("ARCHITECTURE.md")).unwrap()
    }

    #[test]
    fn the_rooms_of_the_core_import_downwards_only() {
        let modules = Modules::read(&top().join("core/src/lib.rs")).unwrap();
        let (there, arrows) = rooms(&modules);
        assert!(there.len() > 30 && arrows.len() > 300, "{} rooms, {} arrows", there.len(), arrows.len());
        let faults = faults(&table(&architecture(), ROOMS).unwrap(), &there, &arrows);
        assert!(faults.is_empty(), "{}", faults.join("\n"));
    }

    #[test]
    fn the_crates_depend_downwards_only() {
        let members = members(top()).unwrap();
        let there: Vec<String> = members.iter().map(|member| member.dir.clone()).collect();
        let arrows = needed(&members);
        assert!(arrows.len() > 4, "{arrows:?}");
        let faults = faults(&table(&architecture(), CRATES).unwrap(), &there, &arrows);
        assert!(faults.is_empty(), "{}", faults.join("\n"));
    }

    #[test]
    fn no_file_imports_itself_by_way_of_others() {
        let mut found = Vec::new();
        for member in members(top()).unwrap() {
            for root in roots(top(), &member) {
                found.extend(cycles(&Modules::read(&root).unwrap()));
            }
        }
        assert!(found.is_empty(), "{}", found.join("\n"));
    }
}
