//! A fresh Debian 13 that has nothing but make and ca-certificates: `make demo`, and the unit tests with its compiler,
//! which is the oldest that the core promises to build with.

use std::process::ExitCode;

use anyhow::{Result, ensure};
use dkms_tests::needs::Need;
use dkms_tests::run::{command, run};
use dkms_tests::settings;
use dkms_tests::suite::Suite;

/// What `make TARGET` says there.
fn fresh(target: &str) -> Result<String> {
    let script = settings::project().join("tests/scripts/fresh.sh");
    run(command("bash").arg(script).arg(target), b"")?.ok()
}

fn demo() -> Result<()> {
    let said = fresh("demo")?;
    ensure!(said.contains("as they were, byte for byte"), "the demo says\n{said}");
    Ok(())
}

fn oldest_compiler() -> Result<()> {
    let said = fresh("test-unit")?;
    ensure!(said.contains("test result: ok.") && !said.contains("FAILED"), "the unit tests say\n{said}");
    Ok(())
}

fn main() -> ExitCode {
    Suite::new(&[Need::Bed, Need::Ours, Need::Long]).case("demo", demo).case("oldest compiler", oldest_compiler).main()
}
