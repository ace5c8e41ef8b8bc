//! What a power cut needs: a file is synced before it gets its name, and its directory afterwards, before the journal that
//! would do it again goes. Read from the record of an undisturbed run.

use std::collections::BTreeSet;

use crate::calls::Kind;
use crate::tracer::Call;

/// Throw-away files: nobody misses them after a power cut.
const THROWN_AWAY: [&str; 9] =
    ["/.dkms/work/", "/.dkms/locks", "/.dkms/lock", "/.dkms/reserve", "/build/", "/tmp/", "/run/", "/var/tmp/", ".log"];

fn matters(path: &str) -> bool {
    !THROWN_AWAY.iter().any(|part| path.contains(part))
}

fn parent(path: &str) -> String {
    path.rsplit_once('/').map_or(String::new(), |(parent, _)| parent.to_owned())
}

/// `/lib` is a link.
fn real(path: &str) -> String {
    if path.starts_with("/lib/") { format!("/usr{path}") } else { path.to_owned() }
}

/// What happened in the wrong order, in words.
pub fn check(calls: &[Call]) -> Vec<String> {
    let mut unsynced: BTreeSet<String> = BTreeSet::new();
    let mut renamed_in: BTreeSet<String> = BTreeSet::new();
    let mut wrong = Vec::new();
    for call in calls.iter().filter(|call| call.result >= 0) {
        let paths: Vec<String> = call.paths.iter().map(|path| real(path)).collect();
        let Some(first) = paths.first() else { continue };
        match call.kind {
            Kind::Create | Kind::Write => {
                unsynced.insert(first.clone());
            }
            Kind::Sync if call.name == "syncfs" => {
                unsynced.clear();
                renamed_in.clear();
            }
            Kind::Sync => {
                unsynced.remove(first);
                renamed_in.remove(first);
            }
            Kind::Rename => {
                let [from, to] = &paths[..] else { continue };
                let below = format!("{from}/");
                let early: Vec<&String> = unsynced
                    .iter()
                    .filter(|path| *path == from || path.starts_with(&below))
                    .filter(|path| matters(to) && matters_inside(path, from))
                    .collect();
                for path in early {
                    wrong.push(format!("{path} is renamed to {to} before it is synced"));
                }
                unsynced.retain(|path| path != from && !path.starts_with(&below));
                if matters(to) {
                    renamed_in.insert(parent(to));
                    // A temporary name that comes back after a power cut is swept away by the next run.
                    if !from.contains("/.dkms-new-") {
                        renamed_in.insert(parent(from));
                    }
                }
            }
            Kind::Remove => {
                if first.contains("/.dkms/journal/") && first.ends_with(".json") {
                    let own = parent(first);
                    for directory in renamed_in.iter().filter(|directory| **directory != own) {
                        wrong.push(format!("{first} goes before {directory} is synced"));
                    }
                    renamed_in.retain(|directory| *directory == own);
                }
                unsynced.remove(first);
                // What was moved aside comes back after a power cut, and nobody knows of it when the journal has gone.
                if first.contains("/.dkms-old-") && matters(first) {
                    renamed_in.insert(parent(first));
                }
                // What is in a directory that is gone needs no sync.
                renamed_in.remove(first);
            }
            _ => {}
        }
    }
    wrong.extend(
        renamed_in
            .iter()
            .filter(|directory| matters(&format!("{directory}/")))
            .map(|directory| format!("{directory} is never synced after a rename in it")),
    );
    wrong
}

/// A log in a directory that is renamed may be lost.
fn matters_inside(path: &str, from: &str) -> bool {
    path.strip_prefix(from).is_none_or(|rest| !rest.ends_with(".log"))
}

/// The reader sees what it is for.
pub fn self_test() -> anyhow::Result<()> {
    let call = |name: &'static str, kind, paths: &[&str]| Call {
        name,
        kind,
        paths: paths.iter().map(|path| (*path).to_owned()).collect(),
        program: String::new(),
        result: 0,
    };
    let write = call("write", Kind::Write, &["/usr/lib/modules/k/.new"]);
    let sync = call("fsync", Kind::Sync, &["/usr/lib/modules/k/.new"]);
    let rename = call("rename", Kind::Rename, &["/lib/modules/k/.new", "/lib/modules/k/a.ko"]);
    let directory = call("fsync", Kind::Sync, &["/usr/lib/modules/k"]);
    let journal = call("unlink", Kind::Remove, &["/var/lib/dkms/.dkms/journal/1.json"]);
    let reserve = call("rename", Kind::Rename, &["/var/lib/dkms/.dkms/.dkms-new-1", "/var/lib/dkms/.dkms/reserve"]);
    anyhow::ensure!(check(&[reserve]).is_empty(), "space that is only kept back needs no sync");
    let elsewhere = call("rename", Kind::Rename, &["/usr/lib/modules/k/a.ko", "/usr/lib/modules/.dkms-old-1"]);
    anyhow::ensure!(check(&[elsewhere]).len() == 2, "both directories of a rename need a sync");
    let aside = call("unlink", Kind::Remove, &["/usr/lib/modules/k/.dkms-old-1"]);
    let left = check(&[aside.clone(), journal.clone()]);
    anyhow::ensure!(left.iter().any(|line| line.contains("goes before")), "what comes back went unnoticed: {left:?}");
    anyhow::ensure!(check(&[aside, directory.clone(), journal.clone()]).is_empty(), "what was synced can't come back");
    let right = [&write, &sync, &rename, &directory, &journal].map(Clone::clone);
    anyhow::ensure!(check(&right).is_empty(), "{:?}", check(&right));
    for (calls, fault) in [
        ([&write, &rename, &directory, &journal], "before it is synced"),
        ([&write, &sync, &rename, &journal], "goes before"),
        ([&write, &sync, &journal, &rename], "never synced"),
    ] {
        let wrong = check(&calls.map(Clone::clone));
        anyhow::ensure!(wrong.iter().any(|line| line.contains(fault)), "{fault} went unnoticed: {wrong:?}");
    }
    Ok(())
}
