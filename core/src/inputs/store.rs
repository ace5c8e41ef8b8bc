//! Where records are kept: `/var/cache/dkms/inputs/<family>.<result>`, beside the result cache that has their modules. Each is the
//! SHA-256 digest of what follows and an end of line, then zstd of the JSON.

use std::path::PathBuf;
use std::time::SystemTime;

use crate::compress::{self, Compression};
use crate::digest::Digest;
use crate::durable;
use crate::reuse::{FORMAT, Record};
use crate::tree::Trees;

const PLACE: &str = "inputs";
/// No package known has a record of a tenth of it.
const LONGEST: u64 = 4 << 20;
/// How many are kept: the oldest written go first. A record has some 40 KB.
const MOST: usize = 512;

/// Keeps a record.
///
/// # Errors
/// In words, if it can't be written, or is too large.
pub fn put(trees: &Trees, record: &Record) -> Result<(), String> {
    let dir = trees.own_cache(PLACE).map_err(|error| error.to_string())?;
    let json = serde_json::to_vec(record).map_err(|error| error.to_string())?;
    let packed = compress::compress(&json, Compression::Zstd, &compress::Options::default(), &dir);
    let packed = packed.map_err(|error| error.to_string())?.bytes;
    if packed.len() as u64 > LONGEST {
        return Err("its record is too large".to_owned());
    }
    let bytes = [format!("{}\n", Digest::of(&packed)).into_bytes(), packed].concat();
    durable::sweep(&dir);
    let mut all = files(trees, "");
    all.sort();
    let surplus = (all.len() + 1).saturating_sub(MOST);
    for (_, path) in all.into_iter().take(surplus) {
        durable::remove_any(&path).map_err(|error| error.to_string())?;
    }
    let path = dir.join(format!("{}.{}", record.family, record.result));
    durable::write_atomic(&path, &bytes, 0o600).map_err(|error| error.to_string())
}

/// The records of one family, the newest first.
pub fn of(trees: &Trees, family: &Digest) -> Vec<Record> {
    let mut all = files(trees, &format!("{family}."));
    all.sort();
    let read = |path: PathBuf| {
        let record = durable::read_at_most(&path, LONGEST + 100).map_err(|error| error.to_string());
        let record = record
            .and_then(|bytes| parse(&bytes))
            .and_then(|record| if record.family == *family { Ok(record) } else { Err("it is another's".to_owned()) });
        if let Err(why) = &record {
            log::warn!("{} is passed over: {why}", path.display());
        }
        record.ok()
    };
    all.into_iter().rev().filter_map(|(_, path)| read(path)).collect()
}

fn parse(bytes: &[u8]) -> Result<Record, String> {
    let at = bytes.iter().position(|byte| *byte == b'\n').ok_or("it has no lines")?;
    let (sum, packed) = (&bytes[..at], &bytes[at + 1..]);
    if sum != Digest::of(packed).to_string().as_bytes() {
        return Err("it is damaged".to_owned());
    }
    let json = compress::decompress(packed, Compression::Zstd).map_err(|error| error.to_string())?;
    let record: Record = serde_json::from_slice(&json).map_err(|error| error.to_string())?;
    if record.format == FORMAT { Ok(record) } else { Err(format!("it has format {}", record.format)) }
}

/// The files whose names begin so, with the times when they were written.
fn files(trees: &Trees, begin: &str) -> Vec<(SystemTime, PathBuf)> {
    let dir = trees.cache(PLACE);
    if !durable::is_own_dir(&dir) {
        return Vec::new();
    }
    let found = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let file = |entry: std::fs::DirEntry| {
        let is_one = entry.file_name().to_str().is_some_and(|name| name.len() == 129 && name.starts_with(begin));
        let written = entry.metadata().ok()?.modified().ok()?;
        is_one.then(|| (written, entry.path()))
    };
    found.filter_map(file).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::time::Duration;

    use super::*;
    use crate::names::{Kernel, Package};
    use crate::reuse::Facts;
    use crate::root::Root;

    fn digest(text: &str) -> Digest {
        Digest::of(text.as_bytes())
    }

    fn record(family: &str, result: &str) -> Record {
        Record {
            format: FORMAT,
            package: Package::new("driver", "1").unwrap(),
            kernel: Kernel::new("6.12.115-a", "x86_64").unwrap(),
            family: digest(family),
            result: digest(result),
            facts: Facts::default(),
            comparisons: None,
            searches: BTreeSet::new(),
            quoted: BTreeSet::new(),
            exports: BTreeSet::new(),
        }
    }

    fn world() -> (tempfile::TempDir, Trees) {
        let tmp = tempfile::tempdir().unwrap();
        let trees = Trees::new(Root::at(tmp.path()).unwrap());
        (tmp, trees)
    }

    /// As if it had been written so many seconds after 1970.
    fn date(path: &std::path::Path, seconds: u64) {
        let file = std::fs::File::options().write(true).open(path).unwrap();
        file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)).unwrap();
    }

    fn path(trees: &Trees, record: &Record) -> PathBuf {
        trees.cache(PLACE).join(format!("{}.{}", record.family, record.result))
    }

    #[test]
    fn records_are_found_by_family_the_newest_first() {
        let (_tmp, trees) = world();
        assert!(of(&trees, &digest("a")).is_empty());
        let all = [record("a", "1"), record("a", "2"), record("b", "3")];
        for (record, time) in all.iter().zip([200, 100, 300]) {
            put(&trees, record).unwrap();
            date(&path(&trees, record), time);
        }
        assert_eq!(of(&trees, &digest("a")), all[..2]);
        assert_eq!(of(&trees, &digest("b")), all[2..]);
    }

    #[test]
    fn what_is_damaged_or_of_others_is_passed_over() {
        let (_tmp, trees) = world();
        let (one, other) = (record("a", "1"), record("b", "2"));
        put(&trees, &one).unwrap();
        put(&trees, &other).unwrap();
        let bytes = fs_err::read(path(&trees, &other)).unwrap();
        fs_err::write(path(&trees, &one), bytes).unwrap();
        assert!(of(&trees, &one.family).is_empty());
        let mut bytes = fs_err::read(path(&trees, &other)).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        fs_err::write(path(&trees, &other), bytes).unwrap();
        assert!(of(&trees, &other.family).is_empty());
        let old = Record { format: FORMAT + 1, ..record("c", "3") };
        put(&trees, &old).unwrap();
        assert!(of(&trees, &old.family).is_empty());
    }

    #[test]
    fn the_oldest_written_go_first() {
        let (_tmp, trees) = world();
        let all: Vec<Record> = (0..=MOST).map(|n| record("a", &n.to_string())).collect();
        let (last, former) = all.split_last().unwrap();
        trees.own_cache(PLACE).unwrap();
        for (record, time) in former.iter().zip(1..) {
            fs_err::write(path(&trees, record), "").unwrap();
            date(&path(&trees, record), time);
        }
        put(&trees, last).unwrap();
        let there: Vec<bool> = all.iter().map(|record| path(&trees, record).exists()).collect();
        assert!(!there[0] && there[1..].iter().all(|there| *there));
    }
}
