//! What this run has read of one kernel's headers. Packages include the same ones by the hundred: each is read once.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use crate::durable;
use crate::reuse::header::Header;

/// In bytes; no header has more (amdgpu's register headers have 15 MB).
const LONGEST: u64 = 32 << 20;

/// Headers by name.
#[derive(Debug, Default)]
pub struct HeadersRead {
    read: Mutex<HashMap<String, Arc<Header>>>,
    looked_for: Mutex<HashMap<String, bool>>,
}

impl HeadersRead {
    /// The header called `name`, as it was when first asked for in this run. `path`: where it is.
    ///
    /// # Errors
    /// In words, if it can't be read.
    pub fn get(&self, name: &str, path: &Path) -> Result<Arc<Header>, String> {
        if let Some(known) = self.read.lock().unwrap_or_else(PoisonError::into_inner).get(name) {
            return Ok(Arc::clone(known));
        }
        let bytes = durable::read_at_most(path, LONGEST).map_err(|error| error.to_string())?;
        let header = Arc::new(Header::of(&bytes));
        self.read.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned(), Arc::clone(&header));
        Ok(header)
    }

    /// Whether there is a header called `name`, as it was when first asked for in this run.
    pub fn has(&self, name: &str, path: &Path) -> bool {
        if let Some(known) = self.looked_for.lock().unwrap_or_else(PoisonError::into_inner).get(name) {
            return *known;
        }
        let there = path.is_file();
        self.looked_for.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned(), there);
        there
    }
}
