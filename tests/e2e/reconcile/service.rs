//! The boot unit.

use anyhow::{Result, ensure};
use dkms_tests::bed::{Base, Bed};
use dkms_tests::settings;

const UNIT: &str = "packaging/systemd/dkms.service";

/// systemd finds nothing to complain of: no cycle, no unknown line, no program that is not there. And it comes before
/// nothing, so that it can delay nothing.
pub fn boot_unit() -> Result<()> {
    let bed = Bed::subject(&Base::trixie()?)?;
    bed.copy_in(&settings::project().join(UNIT), "/usr/lib/systemd/system/dkms.service")?;
    let said = bed.ok("mkdir -p /etc/systemd/system/multi-user.target.wants
         ln -s /usr/lib/systemd/system/dkms.service /etc/systemd/system/multi-user.target.wants/
         SYSTEMD_LOG_LEVEL=warning systemd-analyze verify --man=no dkms.service multi-user.target 2>&1")?;
    let ours: Vec<&str> = said.lines().filter(|line| line.contains("dkms") || line.contains("cycle")).collect();
    ensure!(ours.is_empty(), "systemd-analyze says\n{said}");
    let unit = fs_err::read_to_string(settings::project().join(UNIT))?;
    ensure!(!unit.contains("Before="), "the unit orders itself before something");
    ensure!(unit.contains("RemainAfterExit=yes\n"), "a second start would build again what failed");
    ensure!(unit.contains("ExecStart=/usr/sbin/dkms reconcile --event boot\n"));
    Ok(())
}
