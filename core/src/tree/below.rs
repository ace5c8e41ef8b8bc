//! Paths in our files: checked when they are read, so that what a file says can't lead out of where it counts.
//!
//! For serde's `deserialize_with`. A file with such a path in it is one that can't be understood.

use std::path::{Component, Path, PathBuf};

use serde::de::{Deserialize, Deserializer, Error};

/// Whether `path` leads nowhere but down: relative, without `..`. The empty path is the directory itself.
pub fn leads_down(path: &Path) -> bool {
    path.components().all(|part| matches!(part, Component::Normal(_))) && !has_nul(path)
}

fn has_nul(path: &Path) -> bool {
    path.as_os_str().as_encoded_bytes().contains(&0)
}

/// Whether `path` is absolute and has no `..` in it.
pub fn is_straight(path: &Path) -> bool {
    path.is_absolute()
        && path.components().all(|part| matches!(part, Component::Normal(_) | Component::RootDir))
        && !has_nul(path)
}

/// A path below the directory that the field belongs to.
pub fn path<'de, D: Deserializer<'de>>(from: D) -> Result<PathBuf, D::Error> {
    let path = PathBuf::deserialize(from)?;
    if leads_down(&path) { Ok(path) } else { Err(refused::<D>(&path.to_string_lossy())) }
}

/// Several of them.
pub fn paths<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<PathBuf>, D::Error> {
    let paths = Vec::<PathBuf>::deserialize(from)?;
    paths.iter().find(|path| !leads_down(path)).map_or(Ok(()), |bad| Err(refused::<D>(&bad.to_string_lossy())))?;
    Ok(paths)
}

/// The name of one file.
pub fn name<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    let name = String::deserialize(from)?;
    if name.is_empty() || name.contains('/') || !leads_down(Path::new(&name)) {
        return Err(refused::<D>(&name));
    }
    Ok(name)
}

fn refused<'de, D: Deserializer<'de>>(path: &str) -> D::Error {
    D::Error::custom(format!("the path {path:?} leads out of its directory"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_leads_down() {
        for good in ["", "a", "updates/dkms", "a//b/"] {
            assert!(leads_down(Path::new(good)), "{good}");
        }
        for bad in ["..", "../a", "a/../../b", "a/..", "/a", "/", "./a", "a\0b"] {
            assert!(!leads_down(Path::new(bad)), "{bad}");
        }
        assert!(is_straight(Path::new("/var/lib/dkms")));
        for bad in ["var", "/a/../b", "/..", "", "/a\0b"] {
            assert!(!is_straight(Path::new(bad)), "{bad}");
        }
    }
}
