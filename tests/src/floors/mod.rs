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
    let arrows = modules
        .arrows()
        .into_iter()
        .filter(|arrow| !arrow.from.starts_with(&arrow.to) || arrow.to.is_empty())
        .collect();
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

    /// A crate of these files.
    fn planted(files: &[(&str, &str)]) -> Modules {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = dir.path().join(name);
            fs_err::create_dir_all(path.parent().unwrap()).unwrap();
            fs_err::write(path, text).unwrap();
        }
        Modules::read(&dir.path().join("lib.rs")).unwrap()
    }

    /// What the check says of a crate with the rooms `low` (floor 1) and `high` (floor 2), whose `low.rs` is this.
    fn on_two_floors(low: &str) -> Vec<String> {
        let modules = planted(&[
            ("lib.rs", "pub mod high; pub mod low;"),
            ("high/mod.rs", "mod part; pub use part::Thing; pub fn call() { crate::low::f() }"),
            ("high/part.rs", "pub struct Thing;"),
            ("low.rs", low),
        ]);
        let (there, arrows) = rooms(&modules);
        let floors = [("low".to_owned(), 1), ("high".to_owned(), 2)].into();
        faults(&floors, &there, &arrows)
    }

    #[test]
    fn an_arrow_upwards_is_found_in_every_form() {
        for text in [
            "use crate::high::Thing;",
            "use crate::{high::{self}};",
            "use super::high::call as other;",
            "pub use crate::high::Thing;",
            "use crate::high::*;",
            "fn f() { crate::high::call() }",
            "fn f(it: &Option<crate::high::Thing>) {}",
            "fn f() { println!(\"{}\", [crate::high::call()]); }",
            "mod inner { fn f() { super::super::high::call() } }",
        ] {
            let faults = on_two_floors(text);
            assert!(
                faults.len() == 1 && faults[0].contains("low (floor 1) must not import high"),
                "{text}: {faults:?}"
            );
        }
    }

    #[test]
    fn what_is_no_arrow_upwards_is_none() {
        for text in [
            "pub fn f() {}",
            "use std::high::call;",
            "// use crate::high::Thing;",
            "#[cfg(test)] mod tests { use crate::high::Thing; }",
            "#[cfg(test)] use crate::high::Thing;",
            "const TEXT: &str = \"crate::high::call\";",
        ] {
            assert_eq!(on_two_floors(text), Vec::<String>::new(), "{text}");
        }
    }

    #[test]
    fn a_room_that_is_missing_here_or_there_is_found() {
        let there = ["known".to_owned(), "new".to_owned()];
        let floors = [("known".to_owned(), 1), ("old".to_owned(), 1)].into();
        assert_eq!(faults(&floors, &there, &[]), ["new has no floor", "old does not exist"]);
        let sideways = [("known".to_owned(), "old".to_owned(), "x.rs".to_owned())];
        assert!(faults(&floors, &there, &sideways).iter().any(|fault| fault.starts_with("x.rs: known (floor 1)")));
    }

    #[test]
    fn a_cycle_of_files_is_found_whatever_it_leads_through() {
        let found = |files: &[(&str, &str)]| cycles(&planted(files)).len();
        let root = ("lib.rs", "mod a; mod b; mod c;");
        assert_eq!(found(&[root, ("a.rs", "use crate::b;"), ("b.rs", "use crate::c;"), ("c.rs", "")]), 0);
        assert_eq!(
            found(&[root, ("a.rs", "use crate::b;"), ("b.rs", "use crate::c;"), ("c.rs", "fn f() { crate::a::g() }")]),
            1
        );
        // The name is passed on by `b`; the file that has it is `c`, which takes from `a`.
        let through = [root, ("a.rs", "use crate::b::T;"), ("b.rs", "pub use crate::c::T;"), ("c.rs", "use crate::a;")];
        assert_eq!(found(&through), 1);
        // Two files below one `mod.rs`, which itself may share with them.
        let room = ("a/mod.rs", "mod x; mod y; pub fn shared() { x::f() }");
        let root = ("lib.rs", "mod a;");
        assert_eq!(found(&[root, room, ("a/x.rs", "use super::shared;"), ("a/y.rs", "use super::x;")]), 0);
        assert_eq!(found(&[root, room, ("a/x.rs", "use super::y;"), ("a/y.rs", "use super::x;")]), 1);
        // A name of the crate's root is the root's.
        assert_eq!(found(&[("lib.rs", "mod a; fn f() { a::g() }"), ("a.rs", "use crate::f; pub fn g() {}")]), 1);
    }

    #[test]
    fn the_table_is_read_and_a_name_in_it_twice_is_refused() {
        let text = "x\n## Rooms\n| floor | room |\n|---|---|\n| 2 | `a`, `b` | of `c` |\n| 1 | `d` | |\n## Other\n| 3 | `e` | |\n";
        let expected = [("a", 2), ("b", 2), ("d", 1)].map(|(name, floor)| (name.to_owned(), floor));
        assert_eq!(table(text, "## Rooms").unwrap(), expected.into());
        assert!(table(text, "## Halls").is_err());
        assert!(table("\n## Rooms\n| 2 | `a` | |\n| 1 | `a` | |\n", "## Rooms").is_err());
    }
}
