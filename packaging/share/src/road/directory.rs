//! A directory: on this machine, or of a file server.
//!
//! `manifests/TAG`, `blobs/sha256/DIGEST` and `tags/list`, which is for those who see it through a web server. Everything
//! appears as a whole. Several machines may write at once.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use dkms_core::digest::Digest;
use dkms_core::durable;
use rustix::fs::{FlockOperation, Timespec, Timestamps, UTIME_NOW, futimens};
use rustix::io::Errno;

use crate::artefact::{self, Manifest};
use crate::error::Error;
use crate::share::{LONGEST_MANIFEST, Limits, Road, Tags, checked};

/// How often a lock is tried that another machine has.
const PAUSE: Duration = Duration::from_millis(20);

pub struct Directory {
    dir: PathBuf,
    limits: Limits,
}

impl Directory {
    pub fn new(dir: &Path, limits: Limits) -> Self {
        Self { dir: dir.to_owned(), limits }
    }

    fn manifests(&self) -> PathBuf {
        self.dir.join("manifests")
    }

    fn blobs(&self) -> PathBuf {
        self.dir.join("blobs/sha256")
    }

    /// What is in a file of the share's; `None` if it is not there.
    fn read(&self, path: &Path, most: u64) -> Result<Option<Vec<u8>>, Error> {
        match durable::read_at_most(path, most) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if durable::missing(&error) => {
                // What was not mounted has nothing in it; that is no answer.
                if self.dir.is_dir() {
                    Ok(None)
                } else {
                    Err(Error::Away(format!("{} is not there", self.dir.display())))
                }
            }
            Err(error) if error.kind() == std::io::ErrorKind::FileTooLarge => {
                Err(Error::Refused(format!("{}: {error}", path.display())))
            }
            Err(error) => Err(Error::Away(format!("{}: {error}", path.display()))),
        }
    }

    /// The names in one of its directories.
    fn names(dir: &Path) -> Vec<String> {
        let names = std::fs::read_dir(dir).into_iter().flatten().flatten();
        let mut names: Vec<String> = names.filter_map(|entry| entry.file_name().into_string().ok()).collect();
        names.retain(|name| !name.starts_with('.'));
        names.sort();
        names
    }

    /// Writes the list of tags anew.
    fn list(&self) -> Result<(), Error> {
        let dir = self.dir.join("tags");
        durable::make_dirs(&dir, 0o755)?;
        let away = |error: &dyn std::fmt::Display| Error::Away(error.to_string());
        let alone = fs_err::File::create(dir.join(".lock")).map_err(|error| away(&error))?;
        // A machine that hangs with the lock must not stop all the others: a server may keep it for as long as it likes.
        let ends = self.limits.ends.min(Instant::now() + self.limits.answer);
        loop {
            match rustix::fs::flock(&alone, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => break,
                Err(Errno::WOULDBLOCK | Errno::INTR) if Instant::now() < ends => std::thread::sleep(PAUSE),
                Err(Errno::WOULDBLOCK | Errno::INTR) => {
                    return Err(Error::Away(format!("{}: another machine has the lock", dir.display())));
                }
                Err(error) => return Err(away(&error)),
            }
        }
        let tags = Tags { name: "dkms".to_owned(), tags: Some(Self::names(&self.manifests())) };
        let bytes = serde_json::to_vec(&tags).map_err(|error| away(&error))?;
        Ok(durable::write_atomic(&dir.join("list"), &bytes, 0o644)?)
    }
}

impl Road for Directory {
    fn manifest(&self, tag: &str) -> Result<Option<Vec<u8>>, Error> {
        self.read(&self.manifests().join(tag), LONGEST_MANIFEST)
    }

    fn blob(&self, digest: &Digest, size: u64) -> Result<Vec<u8>, Error> {
        let found = self.read(&self.blobs().join(digest.to_string()), size)?;
        checked(found.ok_or_else(|| artefact::incomplete(digest))?, digest)
    }

    fn put_blob(&self, digest: &Digest, bytes: &[u8]) -> Result<(), Error> {
        let path = self.blobs().join(digest.to_string());
        // One that is damaged is put in its place again. One that nothing needed may be old enough to be swept before the manifest
        // comes that needs it now: it is as young as one that is written.
        let is_whole = Digest::of_file(&path).is_ok_and(|there| there == *digest);
        if is_whole && renew(&path).is_ok() && path.exists() {
            return Ok(());
        }
        durable::make_dirs(&self.blobs(), 0o755)?;
        Ok(durable::write_atomic(&path, bytes, 0o644)?)
    }

    fn has_blob(&self, digest: &Digest) -> Result<bool, Error> {
        Ok(self.blobs().join(digest.to_string()).is_file())
    }

    fn put_manifest(&self, tag: &str, bytes: &[u8]) -> Result<(), Error> {
        durable::make_dirs(&self.manifests(), 0o755)?;
        durable::write_atomic(&self.manifests().join(tag), bytes, 0o644)?;
        self.list()
    }

    fn tags(&self) -> Result<Vec<String>, Error> {
        if !self.dir.is_dir() {
            return Err(Error::Away(format!("{} is not there", self.dir.display())));
        }
        Ok(Self::names(&self.manifests()))
    }

    fn delete(&self, _: &[u8], tags: &[String]) -> Result<(), Error> {
        for tag in tags {
            durable::remove_any(&self.manifests().join(tag))?;
        }
        self.list()
    }

    fn sweep(&self) -> Result<usize, Error> {
        let mut needed = BTreeSet::new();
        for tag in self.tags()? {
            let Some(bytes) = self.manifest(&tag)? else { continue };
            // What can't be read may need anything.
            let manifest = Manifest::parse(&bytes)?;
            needed.extend(manifest.blobs().map(|blob| blob.to_string()));
        }
        let mut deleted = 0;
        durable::sweep(&self.blobs());
        for name in Self::names(&self.blobs()) {
            if !needed.contains(&name) && is_old(&self.blobs().join(&name)) {
                durable::remove_any(&self.blobs().join(&name))?;
                deleted += 1;
            }
        }
        Ok(deleted)
    }
}

/// Gives a file the present time.
fn renew(path: &Path) -> std::io::Result<()> {
    const NOW: Timespec = Timespec { tv_sec: 0, tv_nsec: UTIME_NOW };
    let file = fs_err::OpenOptions::new().append(true).open(path)?;
    Ok(futimens(&file, &Timestamps { last_access: NOW, last_modification: NOW })?)
}

/// Whether a blob has been there for a day: the manifest of a younger one may just be coming.
fn is_old(path: &Path) -> bool {
    let age = fs_err::metadata(path).ok().and_then(|meta| meta.modified().ok()).and_then(|time| time.elapsed().ok());
    age.is_some_and(|age| age > Duration::from_secs(24 * 3600))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory(dir: &Path) -> Directory {
        let answer = Duration::from_millis(50);
        Directory::new(dir, Limits { answer, ends: Instant::now() + Duration::from_secs(60) })
    }

    #[test]
    fn a_blob_that_is_needed_again_is_young() {
        let tmp = tempfile::tempdir().unwrap();
        let share = directory(tmp.path());
        let (one, two) = (Digest::of(b"one"), Digest::of(b"two"));
        let old = |digest: &Digest| {
            let file = fs_err::OpenOptions::new().append(true).open(share.blobs().join(digest.to_string())).unwrap();
            file.file().set_modified(std::time::UNIX_EPOCH + Duration::from_secs(1)).unwrap();
        };
        for (digest, bytes) in [(&one, b"one"), (&two, b"two")] {
            share.put_blob(digest, bytes).unwrap();
            old(digest);
        }
        share.put_blob(&one, b"one").unwrap();
        assert_eq!(share.sweep().unwrap(), 1);
        assert!(share.has_blob(&one).unwrap() && !share.has_blob(&two).unwrap());
    }

    #[test]
    fn a_lock_of_another_machine_is_not_waited_for_without_end() {
        let tmp = tempfile::tempdir().unwrap();
        let share = directory(tmp.path());
        share.put_manifest("tag", b"{}").unwrap();
        let other = fs_err::File::open(tmp.path().join("tags/.lock")).unwrap();
        rustix::fs::flock(&other, FlockOperation::LockExclusive).unwrap();
        assert!(matches!(share.put_manifest("tag", b"{}"), Err(Error::Away(_))));
        drop(other);
        share.put_manifest("tag", b"{}").unwrap();
    }
}
