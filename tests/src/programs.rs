//! Builds what is tried, so that a run never tries yesterday's program.
//!
//! `make test` builds all programs and packages before the first suite, and names the program in `$DKMS_BIN`: nothing
//! is built here then. A suite that was started by `cargo test` has `make` build what its cases need; that takes about
//! a second when nothing has changed.

use std::path::PathBuf;
use std::process::Stdio;

use anyhow::{Context, Result, ensure};

use crate::needs::Need;
use crate::run::{command, run};
use crate::settings;

/// The targets of the Makefile that make what `need` asks for.
fn targets(need: Need) -> &'static [&'static str] {
    match need {
        Need::Subject | Need::Ours => &["target/dkms-now"],
        Need::Beside("dkms-mkpkg") => &["mkpkg-now"],
        Need::Beside("dkms-share") => &["share-now"],
        Need::Beside("dkms-alpm") => &["target/dkms-alpm-now", "documents-now"],
        Need::Beside("dkms-rpm") => &["target/dkms-rpm-now", "documents-now"],
        Need::Beside(_) => &["deb-programs"],
        Need::Packages => &["documents-now", "deb-programs", "deb-now"],
        Need::Rpms => {
            &["documents-now", "target/dkms-now", "target/dkms-rpm-now", "mkpkg-now", "share-now", "rpm-prebuilt"]
        }
        Need::Bed | Need::Long | Need::Program(_) => &[],
    }
}

/// Builds what these needs ask for, unless the caller of the tests chose what is tried.
///
/// # Errors
/// If `make` fails: then nothing may be tried, since what lies in `target` is older than the sources.
#[allow(clippy::print_stderr)] // this is a test runner
pub fn build(needs: &[Need]) -> Result<()> {
    if settings::chosen() {
        return Ok(());
    }
    let mut wanted: Vec<&str> = Vec::new();
    for target in needs.iter().flat_map(|need| targets(*need)) {
        if !wanted.contains(target) {
            wanted.push(target);
        }
    }
    if wanted.is_empty() {
        return Ok(());
    }
    let words = wanted.join(" ");
    eprintln!("building what is tried: make {words}");
    // One at a time: the packages are made of the programs.
    let mut make = command("make");
    make.args(["--no-print-directory", "-j1"]).args(&wanted).current_dir(settings::project());
    let ended = make.stdin(Stdio::null()).status().context("start make, which builds what is tried")?;
    ensure!(ended.success(), "nothing was tried, since `make {words}` failed: mend that, or set DKMS_BIN to a program");
    Ok(())
}

/// The test `name` of the core as a program, to be copied into beds: static, since they are older than the machine, or newer.
///
/// # Errors
/// If it can't be compiled.
pub fn core_test(name: &str, optimised: bool) -> Result<PathBuf> {
    let host = run(command("rustc").arg("-vV"), b"")?.ok()?;
    let host = host.lines().find_map(|line| line.strip_prefix("host: ")).context("rustc does not say its host")?;
    let words = ["test", "--locked", "-p", "dkms-core", "--test", name, "--no-run", "--message-format=json"];
    let mut cargo = command("cargo");
    cargo.args(words).args(optimised.then_some("--release"));
    cargo.args(["--target", host]).env("RUSTFLAGS", "-C target-feature=+crt-static");
    let said = run(cargo.current_dir(settings::project()), b"")?.ok()?;
    said.lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .find_map(|message| Some(message.get("executable")?.as_str()?.into()))
        .context("cargo names no program")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The Makefile has every target that is asked for here.
    #[test]
    fn the_makefile_has_them() {
        let makefile = fs_err::read_to_string(settings::project().join("Makefile")).unwrap();
        let makefile = makefile.replace("$(PROGRAM)", "target/dkms").replace("$(RPM_HOOKS)", "target/dkms-rpm");
        let beside = ["dkms-mkpkg", "dkms-share", "dkms-alpm", "dkms-rpm", "dkms-apt"].map(Need::Beside);
        for need in [Need::Subject, Need::Ours, Need::Packages, Need::Rpms].into_iter().chain(beside) {
            assert!(!targets(need).is_empty(), "{need:?}");
            for target in targets(need) {
                let rule = format!("{target}:");
                assert!(makefile.lines().any(|line| line.starts_with(&rule)), "no rule for {target}");
            }
        }
    }
}
