//! What a set of files holds, remembered by who the files are: thousands of headers are read once, and looked at from then on.
//!
//! What is remembered lies in `/var/cache/dkms/contents`: one file for a set, named after the identities of its members
//! (size, inode, times of change: [`Identity`]). Nothing sets the time of an inode's change back, so a file that was replaced or
//! written to gives the set another name. Images that are only read (squashfs, erofs) know no such time, and another image may
//! have another file with the same number, size and time: of sets with such a file nothing is remembered. The memory may be
//! deleted at any time.

use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::digest::{Digest, Hasher};
use crate::durable::{self, FileError};
use crate::parallel;
use crate::tree::Trees;
use crate::tree::identity::Identity;

/// How many sets are remembered: some for each kernel, some for each compiler.
const MOST: usize = 64;
/// Files change again within the same tick of the kernel's clock without a new time. What is older than this, in seconds, does
/// not.
const SETTLED: i64 = 2;

/// One file of a set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// What it counts as, wherever the set lies.
    pub label: PathBuf,
    /// Where it is, as an outer path.
    pub path: PathBuf,
    /// Who it is.
    pub identity: Identity,
}

impl Member {
    /// The file at `path`, links followed.
    ///
    /// # Errors
    /// If it can't be looked at.
    pub fn of(label: impl Into<PathBuf>, path: impl Into<PathBuf>) -> io::Result<Self> {
        let path = path.into();
        let identity = Identity::of(&fs_err::metadata(&path)?);
        Ok(Self { label: label.into(), path, identity })
    }

    /// The digest of what it holds.
    fn read(&self) -> io::Result<Digest> {
        let read = Digest::of_file(&self.path)?;
        if Identity::of(&fs_err::metadata(&self.path)?) != self.identity {
            return Err(io::Error::other(format!("{} is being changed", self.path.display())));
        }
        Ok(read)
    }
}

/// The digest of the labels and contents of `members`, in their order. `now`: the time when the run began, in seconds since
/// 1970.
///
/// # Errors
/// If one of them can't be read, or is written to at this moment.
pub fn digest(trees: &Trees, members: &[Member], now: u64) -> io::Result<Digest> {
    let name = name_of(members);
    let is_told = members.iter().all(|member| tells_changes(&member.identity));
    if let Some(known) = recall(trees, &name).filter(|_| is_told) {
        return Ok(known);
    }
    let mut hasher = Hasher::default();
    for (member, read) in members.iter().zip(parallel::map(members, Member::read)) {
        hasher.field(member.label.as_os_str().as_bytes());
        hasher.field(read?.to_string().as_bytes());
    }
    let digest = hasher.finish();
    let newest = members.iter().map(|member| member.identity.ctime_ns / 1_000_000_000).max().unwrap_or_default();
    if is_told && newest.saturating_add(SETTLED) <= i64::try_from(now).unwrap_or(i64::MAX) {
        if let Err(error) = remember(trees, &name, &digest) {
            log::debug!("{error}");
        }
    }
    Ok(digest)
}

/// Whether the time of a file's change is one, and not a copy of that of its content. Also below an overlay an image has whole seconds
/// and one time for both; a package manager sets the content's time, and the system the other.
fn tells_changes(identity: &Identity) -> bool {
    identity.ctime_ns != identity.mtime_ns || identity.mtime_ns % 1_000_000_000 != 0
}

fn name_of(members: &[Member]) -> Digest {
    let mut hasher = Hasher::default();
    for Member { label, identity, .. } in members {
        hasher.field(label.as_os_str().as_bytes());
        hasher.update(&identity.size.to_le_bytes());
        hasher.update(&identity.ino.to_le_bytes());
        hasher.update(&identity.mtime_ns.to_le_bytes());
        hasher.update(&identity.ctime_ns.to_le_bytes());
    }
    hasher.finish()
}

/// A line of the memory: what the set holds, and a digest of that together with the set's name.
fn line(name: &Digest, digest: &Digest) -> String {
    format!("{digest} {}\n", Digest::of(format!("{name} {digest}").as_bytes()))
}

fn recall(trees: &Trees, name: &Digest) -> Option<Digest> {
    let dir = trees.cache("contents");
    if !durable::is_own_dir(&dir) {
        return None;
    }
    let text = String::from_utf8(durable::read(&dir.join(name.to_string())).ok()??).ok()?;
    let digest: Digest = text.split(' ').next()?.parse().ok()?;
    (line(name, &digest) == text).then_some(digest)
}

fn remember(trees: &Trees, name: &Digest, digest: &Digest) -> Result<(), FileError> {
    let dir = trees.own_cache("contents")?;
    durable::write_atomic(&dir.join(name.to_string()), line(name, digest).as_bytes(), 0o600)?;
    forget_the_oldest(&dir);
    Ok(())
}

/// Keeps the memory small. Best effort: the next that is remembered tries again.
fn forget_the_oldest(dir: &Path) {
    durable::sweep(dir);
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let mut known: Vec<(i64, PathBuf)> =
        entries.filter_map(|entry| Some((Identity::of(&entry.metadata().ok()?).mtime_ns, entry.path()))).collect();
    known.sort();
    for (_, path) in known.iter().rev().skip(MOST) {
        if let Err(error) = durable::remove_any(path) {
            log::debug!("{error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::root::Root;

    /// As if the run had begun then: everything has settled.
    const LATE: u64 = 1 << 40;

    #[test]
    fn nothing_is_remembered_of_an_image() {
        let tmp = tempfile::tempdir().unwrap();
        let trees = Trees::new(Root::at(tmp.path()).unwrap());
        let file = tmp.path().join("file");
        fs_err::write(&file, "one").unwrap();
        let mut member = Member::of("file", &file).unwrap();
        assert!(tells_changes(&member.identity));
        digest(&trees, std::slice::from_ref(&member), LATE).unwrap();
        assert!(recall(&trees, &name_of(std::slice::from_ref(&member))).is_some());
        // As squashfs has it.
        member.identity.mtime_ns = 1_700_000_000_000_000_000;
        member.identity.ctime_ns = member.identity.mtime_ns;
        remember(&trees, &name_of(std::slice::from_ref(&member)), &Digest::of(b"another image's")).unwrap();
        assert!(digest(&trees, std::slice::from_ref(&member), LATE).is_err(), "it was not believed, but read");
    }

    #[test]
    fn files_that_nobody_touched_are_not_read_again() {
        let tmp = tempfile::tempdir().unwrap();
        let trees = Trees::new(Root::at(tmp.path()).unwrap());
        let file = tmp.path().join("a");
        fs_err::write(&file, "1").unwrap();
        let member = || Member::of("a", &file).unwrap();
        let first = digest(&trees, &[member()], LATE).unwrap();
        let memory = trees.cache("contents").join(name_of(&[member()]).to_string());
        assert!(memory.is_file());
        // Only whoever reads the memory gives this answer.
        let other = Digest::of(b"other");
        fs_err::write(&memory, line(&name_of(&[member()]), &other)).unwrap();
        assert_eq!(digest(&trees, &[member()], LATE).unwrap(), other);
        // What was damaged, or belongs to another set, does not count.
        for text in [line(&other, &other), format!("{other}\n"), "x".repeat(64), String::new()] {
            fs_err::write(&memory, text).unwrap();
            assert_eq!(digest(&trees, &[member()], LATE).unwrap(), first);
        }
        // Nor does a memory that others may write to.
        fs_err::write(&memory, line(&name_of(&[member()]), &other)).unwrap();
        let mode = |mode| std::os::unix::fs::PermissionsExt::from_mode(mode);
        fs_err::set_permissions(trees.cache("contents"), mode(0o777)).unwrap();
        assert_eq!(digest(&trees, &[member()], LATE).unwrap(), first);
    }

    #[test]
    fn another_content_of_the_same_size_and_time_shows() {
        let tmp = tempfile::tempdir().unwrap();
        let trees = Trees::new(Root::at(tmp.path()).unwrap());
        let file = tmp.path().join("a");
        let time = std::time::UNIX_EPOCH;
        let write = |text: &str| {
            fs_err::write(&file, text).unwrap();
            std::fs::File::options().write(true).open(&file).unwrap().set_modified(time).unwrap();
            digest(&trees, &[Member::of("a", &file).unwrap()], LATE).unwrap()
        };
        let first = write("1");
        // As a package manager does.
        fs_err::remove_file(&file).unwrap();
        assert_ne!(write("2"), first);
        fs_err::remove_file(&file).unwrap();
        assert_eq!(write("1"), first);
    }

    /// A file may change once more without a new time.
    #[test]
    fn what_has_just_been_written_is_not_remembered() {
        let tmp = tempfile::tempdir().unwrap();
        let trees = Trees::new(Root::at(tmp.path()).unwrap());
        let file = tmp.path().join("a");
        fs_err::write(&file, "1").unwrap();
        let member = Member::of("a", &file).unwrap();
        let then = u64::try_from(member.identity.ctime_ns / 1_000_000_000).unwrap();
        digest(&trees, std::slice::from_ref(&member), then + 1).unwrap();
        assert!(!trees.cache("contents").exists());
        digest(&trees, std::slice::from_ref(&member), then + 2).unwrap();
        assert_eq!(fs_err::read_dir(trees.cache("contents")).unwrap().count(), 1);
        let stranger = Member { identity: Identity { ino: 0, ..member.identity }, ..member };
        digest(&trees, &[stranger], LATE).unwrap_err();
    }

    #[test]
    fn the_memory_is_bounded() {
        let tmp = tempfile::tempdir().unwrap();
        for index in 0..MOST + 3 {
            let file = tmp.path().join(index.to_string());
            fs_err::write(&file, "").unwrap();
            let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(index as u64);
            std::fs::File::options().write(true).open(&file).unwrap().set_modified(time).unwrap();
        }
        forget_the_oldest(tmp.path());
        assert_eq!(fs_err::read_dir(tmp.path()).unwrap().count(), MOST);
        assert!(!tmp.path().join("2").exists() && tmp.path().join("3").exists());
    }
}
