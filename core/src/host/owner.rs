//! The package of a package manager's that a version of ours came with, and what becomes of it.

use std::ffi::OsStr;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::caller::MaintainerScript;
use super::dpkg;
use crate::process::{self, Output, ProcessError};
use crate::world::World;

/// Whose files a version's source was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "manager", rename_all = "lowercase")]
pub enum Owner {
    /// A package of dpkg's.
    Dpkg {
        /// Its name.
        package: String,
        /// Its version at that time.
        version: String,
    },
    /// A package of rpm's, which must not be asked from within its transactions.
    Rpm,
    /// A package of pacman's, which is not asked.
    Alpm,
}

/// What has become of an [`Owner`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OwnerState {
    /// That is not known yet.
    Undecided,
    /// It is installed as it was: its replacement came to nothing.
    Unchanged,
    /// It is there, and its files may be others.
    Reinstalled,
    /// It is being replaced, or its replacement is at work.
    Replaced,
    /// There is no such package any more.
    Gone,
}

/// What is known without the package manager.
#[derive(Debug, Clone, Copy)]
pub struct Signs {
    /// All files of the transaction that we may be part of are in their places.
    pub over: bool,
    /// Another version is registered, and waits for nothing.
    pub successor: bool,
    /// The source is where it was.
    pub source: bool,
}

impl Owner {
    /// Whose `script` is.
    pub fn of(world: &World, script: &MaintainerScript) -> Result<Self, ProcessError> {
        let version = dpkg::status(world, &script.package)?.map(|status| status.version).unwrap_or_default();
        Ok(Self::Dpkg { package: script.package.clone(), version })
    }

    /// What has become of it.
    pub fn owner_state(&self, world: &World, signs: Signs) -> OwnerState {
        match self {
            Self::Dpkg { package, version } => match dpkg::status(world, package) {
                Ok(None) => OwnerState::Gone,
                Ok(Some(status)) if !status.has_files() => OwnerState::Gone,
                Ok(Some(status)) if status.state == "installed" && status.version == *version => OwnerState::Unchanged,
                // Without an answer, nothing is taken for gone.
                Err(_) | Ok(Some(_)) => OwnerState::Replaced,
            },
            Self::Rpm | Self::Alpm => of_rpm(signs),
        }
    }
}

/// The package of the package manager that has `path` (inside), as it says; `None` if none has, or it can't be asked.
pub fn package_of(world: &World, path: &Path) -> Option<String> {
    // dpkg-query(1) prints `PACKAGE: FILE`, rpm(8) and pacman(8) the package.
    let ways: [&[&str]; 3] =
        [&["dpkg-query", "--search"], &["rpm", "--query", "--file"], &["pacman", "--query", "--quiet", "--owns"]];
    ways.into_iter().filter(|argv| world.has(argv[0])).find_map(|argv| {
        let mut task = world.task(argv.iter().map(OsStr::new).chain([path.as_os_str()]), Path::new("/"));
        task.output = Output::Capture;
        let end = process::run(task).ok().filter(|end| end.status.success())?;
        let text = end.text();
        let name = text.lines().next()?;
        Some(name.split_once(": ").map_or(name, |(name, _)| name).trim().to_owned())
    })
}

/// rpm removes a package's old files after its scriptlets: with a successor registered, the version is on its way out.
/// Without one, its own files tell, once the transaction is over: until then nothing is decided.
fn of_rpm(signs: Signs) -> OwnerState {
    match signs {
        Signs { successor: true, .. } => OwnerState::Replaced,
        Signs { over: false, .. } => OwnerState::Undecided,
        Signs { source: true, .. } => OwnerState::Reinstalled,
        Signs { source: false, .. } => OwnerState::Gone,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_tells_without_rpm() {
        for (successor, over, source, state) in [
            (true, false, true, OwnerState::Replaced),
            (true, true, false, OwnerState::Replaced),
            (false, false, false, OwnerState::Undecided),
            (false, false, true, OwnerState::Undecided),
            (false, true, true, OwnerState::Reinstalled),
            (false, true, false, OwnerState::Gone),
        ] {
            assert_eq!(of_rpm(Signs { over, successor, source }), state, "{successor} {over} {source}");
        }
    }
}
