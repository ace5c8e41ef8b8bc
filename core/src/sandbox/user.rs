//! Who a build is: the user that a confined task becomes, which owns nothing on this system.
//!
//! With a user namespace the task still sees itself as root (`id -u`, chown(1), `install -o root` and tar(1) work on its
//! own files), and is an unused user for everybody else (user_namespaces(7)). Without one it becomes that user plainly.

use std::io;
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::process::{Gid, Uid};
use serde::{Deserialize, Serialize};

/// The first user and group of builds. 2130706432 to 2139095039 is nobody's: systemd calls all between its containers'
/// (up to 1879048191) and 2147483647 unused but for 65536 from 2147352576 (systemd.io/UIDS-GIDS), SSSD gives the users
/// of a directory numbers up to 2000200000 (sssd-ldap(5), `ldap_idmap_range_max`), useradd subordinate ones up to
/// 600100000 (login.defs(5), `SUB_UID_MAX`); from 2147483648 on some programs see negative numbers.
pub(super) const FIRST: u32 = 0x7f00_0000;
/// How many users one build has: as many as a container, so that files of `nobody` (65534) can be made, too.
pub(super) const WIDTH: u32 = 0x1_0000;
/// How many builds can run side by side with a range each.
pub const SLOTS: u32 = 0x80;

/// The first user of those that only look: behind those of builds, and as unused.
const FIRST_READER: u32 = FIRST + SLOTS * WIDTH;

/// The user that a task becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct BuildUser {
    /// Its number, as user and group, outside of any user namespace.
    pub base: u32,
    /// Whether it sees itself as root, in a user namespace of its own.
    pub mapped: bool,
}

/// How a build can be kept from being root.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Demotion {
    /// Not at all.
    #[default]
    None,
    /// It becomes another user.
    Plain,
    /// It becomes another user, and root in a user namespace.
    Mapped,
}

impl Demotion {
    /// The user of a build that has this slot, a number below [`SLOTS`].
    pub fn user(self, slot: u32) -> Option<BuildUser> {
        let base = FIRST + (slot % SLOTS) * WIDTH;
        (self != Self::None).then_some(BuildUser { base, mapped: self == Self::Mapped })
    }
}

impl BuildUser {
    /// A user of one number for a task that owns nothing at all: not the one that such a task has which runs beside it, whether
    /// this process or another started it.
    pub fn reader() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        // Numbers of processes that run side by side are rarely a multiple of 2^12 apart: then one has too much of the other's.
        let number = (std::process::id() << 4).wrapping_add(COUNT.fetch_add(1, Ordering::Relaxed)) % WIDTH;
        Self { base: FIRST_READER + number, mapped: false }
    }

    /// Whether a file of the user `owner` is one that this build may have made.
    pub fn has(self, owner: u32) -> bool {
        (self.base..self.base + WIDTH).contains(&owner)
    }

    /// Makes a descriptor's file its own, so that it can open it again by way of `/dev/stderr` and the like.
    pub fn give(self, file: impl std::os::fd::AsFd) -> io::Result<()> {
        Ok(rustix::fs::fchown(file, Some(Uid::from_raw(self.base)), Some(Gid::from_raw(self.base)))?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_slot_is_a_range_of_its_own_that_nobody_uses() {
        let users: Vec<BuildUser> = (0..SLOTS).filter_map(|slot| Demotion::Mapped.user(slot)).collect();
        assert_eq!(users.len(), 128);
        for pair in users.windows(2) {
            assert_eq!(pair[0].base + WIDTH, pair[1].base);
            assert!(pair[0].has(pair[1].base - 1) && !pair[0].has(pair[1].base) && !pair[1].has(pair[0].base));
        }
        assert!(users[0].base > 2_000_200_000 && users[127].has(2_139_095_039) && 2_139_095_039 < 2_147_352_576);
        let readers = [BuildUser::reader(), BuildUser::reader()];
        assert!(
            readers[0] != readers[1] && readers.iter().all(|one| one.base > 2_139_095_039 && one.base < 2_147_352_576)
        );
        assert_eq!(Demotion::Mapped.user(SLOTS + 3), Demotion::Mapped.user(3));
        assert!(Demotion::Plain.user(0).is_some_and(|user| !user.mapped) && Demotion::None.user(0).is_none());
    }
}
