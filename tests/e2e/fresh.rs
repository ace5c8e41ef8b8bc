//! A fresh Debian 13 that has nothing but make and ca-certificates: `make demo`, and the tests of root and of an ordinary
//! user with its compiler. (That the core and hooks-apt build with it in every run: `source_packages`.)

use std::process::ExitCode;

use anyhow::{Result, ensure};
use dkms_tests::needs::Need;
use dkms_tests::run::{command, run};
use dkms_tests::settings;
use dkms_tests::suite::Suite;

/// What `make TARGET` says there; the words are TARGET and who runs it.
fn fresh(words: &[&str]) -> Result<String> {
    let script = settings::project().join("tests/scripts/fresh.sh");
    run(command("bash").arg(script).args(words), b"")?.ok()
}

fn demo() -> Result<()> {
    let said = fresh(&["demo"])?;
    ensure!(said.contains("as they were, byte for byte"), "the demo says\n{said}");
    Ok(())
}

/// What needs no root is run; what does is named. With Debian's compiler, the oldest that is promised.
fn an_ordinary_user() -> Result<()> {
    let said = fresh(&["test", "ordinary"])?;
    ensure!(said.contains("test result: ok.") && !said.contains("FAILED"), "the tests say\n{said}");
    for left_out in ["lifecycle every_verb: because not root", "dkms-mkpkg: needs Rust 1.88"] {
        ensure!(said.contains(left_out), "no word of {left_out}:\n{said}");
    }
    Ok(())
}

/// Root needs nothing more than that: beds are made in there, kernels booted.
fn root() -> Result<()> {
    let said = fresh(&["test"])?;
    ensure!(said.contains("test result: ok.") && !said.contains("FAILED"), "the tests say\n{said}");
    // The rest of what is left out is for `make test-long`.
    let left_out: Vec<&str> = said.lines().filter_map(|line| line.strip_prefix("left out: ")).collect();
    ensure!(!left_out.is_empty(), "nothing was left out:\n{said}");
    for line in left_out {
        ensure!(line.contains("make test-long") || line.contains("needs Rust 1.88"), "left out: {line}");
    }
    Ok(())
}

fn main() -> ExitCode {
    let long = [Need::Long];
    Suite::new(&[Need::Bed])
        .case_needing(&long, "demo", demo)
        .case_needing(&long, "an_ordinary_user", an_ordinary_user)
        .case_needing(&long, "root", root)
        .main()
}
