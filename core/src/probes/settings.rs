//! What root tells the stub of a build: a file beside it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::launchers::Launched;
use crate::tree::identity::Identity;

/// The directory of the stubs, and what marks a program that is started from there as one of them.
pub const DIRECTORY: &str = "compilers";
/// In it: the program, whose scripts the stubs are.
pub const PROGRAM: &str = "dkms-program";
/// In it: these settings.
pub const FILE: &str = "settings.json";
/// In it: the cache of a launcher.
pub const CACHE: &str = "cache";
/// In it: where root is asked.
pub const SOCKET: &str = "socket";

/// The settings. All paths are as programs call them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// The compilers behind the stubs.
    pub compilers: BTreeMap<String, PathBuf>,
    /// The files of which they consist. If one has changed, no answer holds, and no launcher's cache.
    pub parts: Vec<(PathBuf, Option<Identity>)>,
    /// Where the answers are; `None`: every compiler is asked itself.
    pub answers: Option<PathBuf>,
    /// What compiles in their place.
    pub launched: Option<Launched>,
}

impl Settings {
    /// Reads the settings in the stubs' directory; `None`: they are not there.
    pub fn read(dir: &Path) -> Option<Self> {
        serde_json::from_slice(&crate::durable::bytes(&dir.join(FILE)).ok()?).ok()
    }

    /// Whether the compilers are still those that the answers are of.
    pub fn hold(&self) -> bool {
        self.parts.iter().all(|(path, identity)| Identity::of_path(path).ok() == *identity)
    }
}
