//! For unit tests: what this machine can't try is listed, not passed over.

use std::io::Write;

/// True for root. For anybody else the running test is listed as left out (`tests/scripts/test.sh` collects those
/// lines, and CI fails for them).
pub(crate) fn is_root() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        let thread = std::thread::current();
        let test = thread.name().unwrap_or("a test");
        // Not by `eprintln!`: what a passing test prints by that is not shown. The first line end is for a test
        // runner that is in the middle of a line.
        let line = format!("\nleft out: {} {test}: because not root\n", env!("CARGO_PKG_NAME"));
        assert!(std::io::stderr().write_all(line.as_bytes()).is_ok());
    }
    root
}
