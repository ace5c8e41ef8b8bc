//! `make demo` on a fresh Debian 13 that has nothing but make and ca-certificates.

use std::process::ExitCode;

use anyhow::{Result, ensure};
use dkms_tests::needs::Need;
use dkms_tests::run::{command, run};
use dkms_tests::settings;
use dkms_tests::suite::Suite;

fn demo() -> Result<()> {
    let script = settings::project().join("tests/scripts/fresh.sh");
    let said = run(command("bash").arg(script).arg("demo"), b"")?.ok()?;
    ensure!(said.contains("as they were, byte for byte"), "the demo says\n{said}");
    Ok(())
}

fn main() -> ExitCode {
    Suite::new(&[Need::Bed, Need::Ours, Need::Long]).case("demo", demo).main()
}
