//! Where pacman keeps its things (pacman.conf(5)).

use std::path::{Path, PathBuf};

use dkms_core::root::Root;

/// Inside paths.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Places {
    /// `DBPath`.
    pub db: PathBuf,
    /// `CacheDir`, in the order in which they are looked through.
    pub caches: Vec<PathBuf>,
}

impl Places {
    /// What the pacman.conf of `root` says, or the defaults.
    pub fn of(root: &Root) -> Self {
        Self::parse(&std::fs::read_to_string(root.outer(Path::new("/etc/pacman.conf"))).unwrap_or_default())
    }

    fn parse(conf: &str) -> Self {
        let mut places = Self { db: PathBuf::from("/var/lib/pacman"), caches: Vec::new() };
        for (key, value) in conf.lines().filter_map(|line| line.split_once('=')) {
            match key.trim() {
                "DBPath" => places.db = PathBuf::from(value.trim()),
                "CacheDir" => places.caches.extend(value.split_whitespace().map(PathBuf::from)),
                _ => {}
            }
        }
        if places.caches.is_empty() {
            places.caches.push(PathBuf::from("/var/cache/pacman/pkg"));
        }
        places
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_places_can_be_configured() {
        let places = Places::parse("#DBPath = /no\n[options]\nDBPath   = /srv/db/\nCacheDir = /a /b\nCacheDir=/c\n");
        assert_eq!(places.db, Path::new("/srv/db/"));
        assert_eq!(places.caches, ["/a", "/b", "/c"].map(PathBuf::from));
        let places = Places::parse("[options]\n");
        assert_eq!(places.db, Path::new("/var/lib/pacman"));
        assert_eq!(places.caches, [Path::new("/var/cache/pacman/pkg")]);
    }
}
