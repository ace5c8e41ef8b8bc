//! A word from one hook of a transaction to the next: which sources come with it. `<tree>/.dkms/alpm-incoming`.
//!
//! alpm tells a hook the paths that match, not whether they come or go. Two hooks see the two halves; this is how the
//! second knows that a source which goes is being replaced. The note bears pacman's process id: one that a failed
//! transaction left behind is not believed.

use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;

use dkms_core::tree::Trees;

fn path(trees: &Trees) -> PathBuf {
    trees.state("alpm-incoming")
}

/// Notes that the directories `sources` of `/usr/src` come with the transaction of process `pacman`.
pub fn write(trees: &Trees, pacman: i32, sources: &BTreeSet<String>) -> io::Result<()> {
    if sources.is_empty() {
        return Ok(());
    }
    fs_err::create_dir_all(trees.own())?;
    let lines: Vec<&str> = sources.iter().map(String::as_str).collect();
    fs_err::write(path(trees), format!("{pacman}\n{}\n", lines.join("\n")))
}

/// What was noted for the transaction of process `pacman`.
pub fn read(trees: &Trees, pacman: i32) -> BTreeSet<String> {
    let text = std::fs::read_to_string(path(trees)).unwrap_or_default();
    let mut lines = text.lines();
    if lines.next().and_then(|first| first.parse().ok()) != Some(pacman) {
        return BTreeSet::new();
    }
    lines.filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

/// Throws the note away.
pub fn forget(trees: &Trees) {
    let _ = std::fs::remove_file(path(trees));
}

#[cfg(test)]
mod tests {
    use super::*;
    use dkms_core::root::Root;

    #[test]
    fn only_the_same_transaction_reads_it() {
        let tmp = tempfile::tempdir().unwrap();
        let trees = Trees::new(Root::at(tmp.path()).unwrap());
        let sources = BTreeSet::from(["hello-2.0".to_owned(), "x-1".to_owned()]);
        write(&trees, 42, &sources).unwrap();
        assert_eq!(read(&trees, 42), sources);
        assert!(read(&trees, 43).is_empty());
        forget(&trees);
        assert!(read(&trees, 42).is_empty());
        write(&trees, 42, &BTreeSet::new()).unwrap();
        assert!(!path(&trees).exists());
    }
}
