//! Lines for people.

use std::io::Write;

/// A line on standard error: standard output is a protocol nearly everywhere here.
pub(crate) fn say(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}
