//! What the caller of the tests may set in the environment. Read here only.

use std::path::{Path, PathBuf};

#[allow(clippy::disallowed_methods)] // this is the one place
fn var(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// Which program is tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// Ours: the program at this path.
    Ours(PathBuf),
    /// The classic itself (`DKMS_SUBJECT=classic`): tries the tests, not the program.
    Classic,
    /// There is none yet.
    Missing,
}

/// True if the caller chose what is tried: `$DKMS_BIN` (as `make test` does, after it has built everything), or the
/// classic. Else the tests build it: see [`crate::programs`].
pub fn chosen() -> bool {
    var("DKMS_BIN").is_some() || var("DKMS_SUBJECT").as_deref() == Some("classic")
}

/// The program to try: `$DKMS_BIN`, or the one that [`crate::programs`] has built.
pub fn subject() -> Subject {
    if var("DKMS_SUBJECT").as_deref() == Some("classic") {
        return Subject::Classic;
    }
    let path = var("DKMS_BIN").map_or_else(|| project().join("target/dkms"), PathBuf::from);
    if path.is_file() { Subject::Ours(path) } else { Subject::Missing }
}

/// A program of ours called `name` beside the one to try.
pub fn beside(name: &str) -> Option<PathBuf> {
    let Subject::Ours(program) = subject() else { return None };
    Some(program.with_file_name(name)).filter(|path| path.is_file())
}

/// Where `make deb` leaves our packages, or `$DKMS_DEBS`.
pub fn debs() -> PathBuf {
    var("DKMS_DEBS").map_or_else(|| project().join("target/packages/deb"), PathBuf::from)
}

/// The vendor's own `weak-modules` (package kmod of RHEL), instead of our stand-in: `$DKMS_REAL_WEAK_MODULES`.
pub fn real_weak_modules() -> Option<PathBuf> {
    var("DKMS_REAL_WEAK_MODULES").map(PathBuf::from).filter(|path| path.is_file())
}

/// The vendor's own `weak-modules2` (suse-module-tools), instead of our stand-in: `$DKMS_REAL_WEAK_MODULES2`.
pub fn real_weak_modules2() -> Option<PathBuf> {
    var("DKMS_REAL_WEAK_MODULES2").map(PathBuf::from).filter(|path| path.is_file())
}

/// Where `make rpm` leaves our packages, or `$DKMS_RPMS`.
pub fn rpms() -> PathBuf {
    var("DKMS_RPMS").map_or_else(|| project().join("target/packages/rpm"), PathBuf::from)
}

/// True for `make test-long` (`DKMS_LONG=1`).
pub fn long() -> bool {
    var("DKMS_LONG").is_some()
}

/// How much of the suite `torture` is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effort {
    /// Every point (`make torture`, which sets `DKMS_TORTURE=all`).
    All,
    /// At most so many points of each scenario (`DKMS_TORTURE=40`); without a word, few enough for `make test`.
    Sample(usize),
}

/// How many points the suite `torture` tries.
pub fn torture() -> Effort {
    match var("DKMS_TORTURE").as_deref() {
        Some("all") => Effort::All,
        Some(number) => Effort::Sample(number.parse().unwrap_or(12)),
        None => Effort::Sample(12),
    }
}

/// Only points at these calls are tried, if set (`DKMS_TORTURE_AT=modules.dep.bin`): a part of their text, as the log has it.
pub fn torture_at() -> Option<String> {
    var("DKMS_TORTURE_AT")
}

/// Where beds and downloads are kept between runs: `$DKMS_BED_CACHE`, else `/var/cache/dkms-tests`, else `target/beds`.
pub fn cache() -> PathBuf {
    if let Some(path) = var("DKMS_BED_CACHE") {
        return PathBuf::from(path);
    }
    let system = PathBuf::from("/var/cache/dkms-tests");
    if fs_err::create_dir_all(&system).is_ok() && rustix::fs::access(&system, rustix::fs::Access::WRITE_OK).is_ok() {
        return system;
    }
    project().join("target/beds")
}

/// The directory of the project.
pub fn project() -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().unwrap_or(tests).to_path_buf()
}

/// The directories where programs are looked for: `$PATH`, and where Debian keeps root's.
pub fn program_directories() -> Vec<PathBuf> {
    let path = var("PATH").unwrap_or_default();
    std::env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into()]).collect()
}
