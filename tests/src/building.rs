//! Roots in which distributions build packages, with their own compilers and without a network; and the source that they
//! build from.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::bed::{Base, Bed};
use crate::run::{command, run};
use crate::settings;

/// What Debian's source package needs (debian/control), what judges it, and headers for its autopkgtest.
const DEBIAN: &[&str] = &[
    "build-essential",
    "debhelper",
    "cargo",
    "rustc",
    "libstd-rust-dev",
    "binutils",
    "file",
    "kmod",
    "openssl",
    "patch",
    "xz-utils",
    "zstd",
    "passwd",
    "lintian",
    "mandoc",
    "man-db",
    "groff",
    "autopkgtest",
    "linux-headers-amd64",
];
/// What the spec needs.
const RPM: &[&str] =
    &["rpm", "make", "gcc", "libc6-dev", "kmod", "openssl", "patch", "xz-utils", "zstd", "binutils", "file", "passwd"];
/// What the PKGBUILD needs besides, and a Rust; what judges the spec.
const SID: &[&str] = &[
    "cargo",
    "rustc",
    "libstd-rust-dev",
    "makepkg",
    "pacman-package-manager",
    "libalpm-dev",
    "libarchive-tools",
    "pkgconf",
    // What libalpm.pc asks for: pkgconf looks for it even if only libalpm is linked.
    "libssl-dev",
    "libarchive-dev",
    "libcurl4-openssl-dev",
    "libgpgme-dev",
    "rpmlint",
];

/// A root of Debian 13 that builds Debian's source package.
pub fn debian() -> Result<Base> {
    root("trixie", DEBIAN)
}

/// The same of Debian unstable.
pub fn debian_unstable() -> Result<Base> {
    root("sid", DEBIAN)
}

/// A root of Debian unstable with rpm 6, pacman's makepkg, and a Rust that is new enough for everything.
pub fn unstable() -> Result<Base> {
    root("sid", &[RPM, SID].concat())
}

/// A root of Debian 12 with rpm 4.18. Its Rust is too old: [`with_our_rust`].
pub fn oldest_rpm() -> Result<Base> {
    root("bookworm", RPM)
}

fn root(suite: &str, packages: &[&str]) -> Result<Base> {
    let script = settings::project().join("tests/scripts/make-bed.sh");
    let mut hasher = DefaultHasher::new();
    (packages, fs_err::read_to_string(&script)?).hash(&mut hasher);
    let name = format!("building-{suite}-{:08x}", hasher.finish() >> 32);
    Base::kept(&settings::cache().join("beds"), &name, |new| {
        run(command("bash").arg(&script).arg(suite).arg(new).args(["0", "cloud"]).args(packages), b"")?.ok()?;
        Ok(())
    })
}

/// What `make dist` and `make debian-source` make of the source as it is in this checkout: the directory with it.
///
/// # Errors
/// If make fails.
pub fn source() -> Result<PathBuf> {
    made_of_source(&["dist", "debian-source-now"])
}

/// The same without Debian's source package.
///
/// # Errors
/// If make fails.
pub fn tarball() -> Result<PathBuf> {
    made_of_source(&["dist"])
}

fn made_of_source(targets: &[&str]) -> Result<PathBuf> {
    let project = settings::project();
    // Nothing if nothing is changed, or outside of a repository, where all is packed that is there.
    let changed = run(command("git").args(["stash", "create"]).current_dir(&project), b"");
    let changed = changed.ok().filter(|end| end.code == 0).map(|end| end.stdout.trim().to_owned()).unwrap_or_default();
    let of = if changed.is_empty() { "HEAD" } else { &changed };
    let mut make = command("make");
    make.arg("--no-print-directory").args(targets).arg("DIST_XZ=xz -0").arg(format!("DIST_OF={of}"));
    // `make test` has built it; else cargo does.
    if let Some(program) = settings::beside("dkms-gen").filter(|_| settings::chosen()) {
        make.arg(format!("GEN={}", program.display()));
    }
    run(make.current_dir(&project), b"")?.ok().with_context(|| format!("make {}", targets.join(" ")))?;
    Ok(project.join("target/dist"))
}

/// A clone of `base` with the source in /srv/dist, and `tests/scripts/SCRIPT` as /srv/build.
pub fn bed(base: &Base, source: &std::path::Path, script: &str) -> Result<Bed> {
    let bed = Bed::classic(base)?;
    bed.copy_in(source, "/srv/dist")?;
    bed.copy_in(&settings::project().join("tests/scripts").join(script), "/srv/build")?;
    Ok(bed)
}

/// Puts this machine's Rust into the clone, as /usr/local.
pub fn with_our_rust(bed: &Bed) -> Result<()> {
    let place = run(command("rustc").args(["--print", "sysroot"]), b"")?.ok()?;
    let place = PathBuf::from(place.trim());
    for part in ["bin/cargo", "bin/rustc", "lib"] {
        bed.copy_in(&place.join(part), &format!("/usr/local/{part}"))?;
    }
    Ok(())
}
