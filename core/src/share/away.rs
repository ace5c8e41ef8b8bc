//! A share that does not answer is left alone for a while: not every package of every run waits for it.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::durable;
use crate::tree::Trees;

/// The directory and the file below `/var/cache/dkms`.
const PLACE: &str = "share";
const FILE: &str = "away.json";
/// For how long, in seconds: the first time, and at most. It doubles.
const FIRST: u64 = 60;
const LONGEST: u64 = 3600;
const LARGEST: u64 = 64 << 10;

/// The note.
#[derive(Debug, Serialize, Deserialize)]
struct Note {
    share: String,
    /// When it was tried, in seconds since 1970.
    since: u64,
    /// For how long it is left alone.
    pause: u64,
    why: String,
}

/// Whether a share is away, as far as this machine knows.
pub(super) struct Away<'a> {
    trees: &'a Trees,
    share: &'a str,
}

impl<'a> Away<'a> {
    pub(super) fn new(trees: &'a Trees, share: &'a str) -> Self {
        Self { trees, share }
    }

    fn path(&self) -> PathBuf {
        self.trees.cache(PLACE).join(FILE)
    }

    fn read(&self) -> Option<Note> {
        if !durable::is_own_dir(&self.trees.cache(PLACE)) {
            return None;
        }
        let note: Note = serde_json::from_slice(&durable::read_at_most(&self.path(), LARGEST).ok()?).ok()?;
        (note.share == self.share).then_some(note)
    }

    /// Why it is not to be asked at the time `now`; `None`: it is. A clock that went back does not keep it away.
    pub(super) fn still(&self, now: u64) -> Option<String> {
        let note = self.read()?;
        let is_away = note.since <= now && now < note.since.saturating_add(note.pause);
        is_away.then(|| {
            let date = crate::clock::date(note.since.saturating_add(note.pause));
            format!("it did not answer ({}); it is asked again after {date}", note.why)
        })
    }

    /// Notes that it did not answer at the time `now`.
    pub(super) fn note(&self, now: u64, why: &str) {
        let before = self.read().map_or(0, |note| note.pause);
        let pause = before.saturating_mul(2).clamp(FIRST, LONGEST);
        let note = Note { share: self.share.to_owned(), since: now, pause, why: why.to_owned() };
        let written = self.trees.own_cache(PLACE).and_then(|dir| {
            let bytes = serde_json::to_vec(&note).unwrap_or_default();
            durable::write_atomic(&dir.join(FILE), &bytes, 0o600)
        });
        if let Err(error) = written {
            log::info!("{error}");
        }
    }

    /// It has answered.
    pub(super) fn forget(&self) {
        if let Err(error) = durable::remove_any(&self.path()) {
            log::debug!("{error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::root::Root;

    #[test]
    fn longer_each_time_and_asked_again() {
        let tmp = tempfile::tempdir().unwrap();
        let trees = Trees::new(Root::at(tmp.path()).unwrap());
        let away = Away::new(&trees, "oci://one/x");
        assert_eq!(away.still(1000), None);
        away.forget();
        away.note(1000, "no route");
        assert!(away.still(1000).unwrap().contains("no route"));
        assert!(away.still(1059).is_some() && away.still(1060).is_none());
        // Of another share, and before it was noted, nobody knows.
        assert!(Away::new(&trees, "oci://two/x").still(1000).is_none() && away.still(999).is_none());
        away.note(1060, "no route");
        assert!(away.still(1179).is_some() && away.still(1180).is_none());
        (0..10).for_each(|_| away.note(2000, "no route"));
        assert!(away.still(5599).is_some() && away.still(5600).is_none());
        away.forget();
        assert_eq!(away.still(2000), None);
        away.note(1000, "no route");
        fs_err::write(trees.cache(PLACE).join(FILE), "x").unwrap();
        assert_eq!(away.still(1000), None);
    }
}
