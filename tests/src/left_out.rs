//! What a run left out, and why.

use std::sync::{Mutex, PoisonError};

/// What was left out so far, and why.
pub(crate) static LEFT_OUT: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Adds to the list at the end of a run, which `tests/scripts/test.sh` collects: what was left out, and why.
pub(crate) fn left_out(what: &str, reason: &str) {
    // One line, whatever a program has printed.
    let reason = reason.lines().collect::<Vec<_>>().join("; ");
    LEFT_OUT.lock().unwrap_or_else(PoisonError::into_inner).push(format!("{what}: because {reason}"));
}
