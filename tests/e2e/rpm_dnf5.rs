//! dnf5 and rpm 6: real transactions on kernels in Fedora's layout.

use std::process::ExitCode;

use anyhow::Result;
use dkms_tests::needs::Need;
use dkms_tests::rpm::{DNF5, Kind, World};
use dkms_tests::suite::Suite;

fn world() -> Result<World> {
    World::new(Kind::Dnf5, DNF5)
}

fn kernels_and_modules_come_and_go() -> Result<()> {
    let w = world()?;
    // Everything at once: the modules are in the first initramfs.
    let out = w.ok(&format!("install {} hello-dkms-1.0-1 world-dkms-1.0", World::kernel("7.2.13", true)))?;
    eprintln!("{out}\n{}", w.bed.ok("cat /var/log/seen; ls /lib/modules/* /etc/kernel/install.d; dkms reconcile --all-kernels 2>&1; dkms status")?);
    w.expect_status(&["hello/1.0, {13}: installed", "world/1.0, {13}: installed"])?;
    w.expect_modules("7.2.13", &["hello", "world"])?;
    Ok(())
}

fn main() -> ExitCode {
    Suite::new(&[Need::Bed, Need::Ours]).case("kernels and modules come and go", kernels_and_modules_come_and_go).main()
}
