//! Where answers are kept: one file each, below `/var/cache/dkms/probes`, in a directory for the identity of the compilers.
//!
//! Root writes there, everybody may read. A file is whole or not there, and holds the digest of what it says: what a power
//! loss or a failing disk makes of it is no answer. All of it may be deleted at any time.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use fs_err as fs;

use super::answer::Answer;
use super::question::Question;
use crate::digest::Digest;
use crate::durable;
use crate::tree::Trees;

/// The directory, inside the root.
const DIRECTORY: &str = "/var/cache/dkms/probes";
/// How many answers are kept (a kernel's build asks 35 questions), and how many are left when there are more.
const MOST: usize = 8192;
const FEWER: usize = 6144;
/// How much room they may take on the disk, in bytes, and how much is left when they take more.
const LARGEST: u64 = 64 << 20;
const SMALLER: u64 = 48 << 20;

/// The answers of some compilers.
#[derive(Debug, Clone)]
pub struct Store {
    all: PathBuf,
    /// Where they are, as an outer path.
    pub dir: PathBuf,
}

/// The file of the answer to the question of this digest.
pub fn place(answers: &Path, key: &Digest) -> PathBuf {
    answers.join(key.to_string())
}

impl Store {
    /// The store of the root's compilers with this identity. Its directory is made.
    pub fn open(trees: &Trees, identity: &Digest) -> io::Result<Self> {
        let all = trees.outer(DIRECTORY);
        let dir = all.join(identity.to_string());
        durable::own_dirs(&dir).map_err(io::Error::other)?;
        Ok(Self { all, dir })
    }

    /// The answer to `question`, if it is there and whole.
    pub fn get(&self, question: &Question) -> Option<Answer> {
        let kept = durable::read_at_most(&place(&self.dir, &question.key()), super::answer::LONGEST as u64 * 8).ok()?;
        Answer::read(&kept, question)
    }

    /// Keeps an answer, in the place of a damaged one.
    pub fn put(&self, question: &Question, answer: &Answer) -> io::Result<()> {
        let new = self.dir.join(format!("{}{}", durable::NEW, durable::unique()));
        durable::write_new(&new, &answer.keep(question), 0o644).map_err(io::Error::other)?;
        let done = fs::rename(&new, place(&self.dir, &question.key()));
        if done.is_err() {
            let _ = fs::remove_file(&new);
        }
        done
    }

    /// Deletes the oldest answers, of whatever compilers, when there are too many.
    pub fn collect(&self) {
        self.collect_to(MOST, FEWER, (LARGEST, SMALLER));
    }

    fn collect_to(&self, most: usize, fewer: usize, (largest, smaller): (u64, u64)) {
        let mut files: Vec<(SystemTime, u64, PathBuf)> = Vec::new();
        for compilers in fs::read_dir(&self.all).into_iter().flatten().flatten() {
            for file in fs::read_dir(compilers.path()).into_iter().flatten().flatten() {
                if let Ok(meta) = file.metadata() {
                    let time = meta.modified().unwrap_or(SystemTime::UNIX_EPOCH);
                    files.push((time, meta.blocks() * 512, file.path()));
                }
            }
        }
        let mut room: u64 = files.iter().map(|(_, size, _)| size).sum();
        let mut count = files.len();
        if count <= most && room <= largest {
            return;
        }
        files.sort();
        for (_, size, file) in files {
            if count <= fewer && room <= smaller {
                break;
            }
            // Another run may have been quicker.
            let _ = fs::remove_file(&file);
            room = room.saturating_sub(size);
            count -= 1;
        }
        for compilers in fs::read_dir(&self.all).into_iter().flatten().flatten() {
            if compilers.path() != self.dir {
                // Not empty: it has answers.
                let _ = std::fs::remove_dir(compilers.path());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::root::Root;

    #[test]
    fn the_oldest_go_first() {
        let tmp = tempfile::tempdir().unwrap();
        let trees = Trees::new(Root::at(tmp.path()).unwrap());
        let old = Store::open(&trees, &Digest::of(b"old")).unwrap();
        let new = Store::open(&trees, &Digest::of(b"new")).unwrap();
        for (store, days, count) in [(&old, 9, 3), (&new, 1, 3)] {
            for number in 0..count {
                let file = store.dir.join(number.to_string());
                fs::write(&file, "answer").unwrap();
                let time = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(100 * 86400 - days * 86400 + number);
                fs::File::options().write(true).open(file).unwrap().file().set_modified(time).unwrap();
            }
        }
        let left = |store: &Store| fs::read_dir(&store.dir).map_or(0, Iterator::count);
        new.collect_to(6, 2, (1 << 20, 1 << 20));
        assert_eq!((left(&old), left(&new)), (3, 3));
        new.collect_to(5, 2, (1 << 20, 1 << 20));
        assert_eq!(left(&new), 2);
        assert!(!old.dir.exists());
        new.collect_to(5, 5, (4096, 4096));
        assert_eq!(left(&new), 1);
        assert!(new.dir.join("2").exists());
    }
}
