//! dnf4 and rpm 4.18: real transactions on kernels in Fedora's layout.

use std::process::ExitCode;

use anyhow::{Result, ensure};
use dkms_tests::needs::Need;
use dkms_tests::rpm::{DNF4, Kind, World, release};
use dkms_tests::suite::Suite;

fn world() -> Result<World> {
    let world = World::new(Kind::Old, DNF4)?;
    world.bed.ok("rpm -i --nosignature /srv/rpm/modules/dkms-dnf4-*.rpm 2>&1")?;
    Ok(world)
}

fn kernels_and_modules_come_and_go() -> Result<()> {
    let w = world()?;
    w.ok(&format!("install {} hello-dkms-1.0-1 world-dkms-1.0", World::kernel("7.2.13", true)))?;
    w.expect_status(&["hello/1.0, {13}: installed", "world/1.0, {13}: installed"])?;
    w.expect_initramfs("7.2.13", &["hello", "world"])?;
    w.ok(&format!("install {} hello-dkms-2.0 world-dkms-2.0", World::kernel("7.2.14", true)))?;
    w.expect_initramfs("7.2.14", &["hello", "world"])?;
    w.ok(&format!("install --setopt=installonly_limit=2 {}", World::kernel("7.2.15", true)))?;
    w.expect_initramfs("7.2.15", &["hello", "world"])?;
    w.expect_gone("7.2.13")?;
    w.ok("remove world-dkms")?;
    w.expect_status(&["hello/2.0, {14}: installed", "hello/2.0, {15}: installed"])?;
    // What fails leaves what works.
    let said = w.ok("upgrade hello-dkms")?;
    ensure!(said.contains("hello/3.0") && said.contains("no_such_thing"), "no last words:\n{said}");
    w.expect_modules("7.2.14", &["hello"])?;
    w.expect_modules("7.2.15", &["hello"])
}

fn preflight() -> Result<()> {
    let w = world()?;
    w.ok(&format!("install {} hello-dkms-1.0-1", World::kernel("7.2.13", true)))?;
    let said = w.ok(&format!("install {}", World::kernel("7.2.14", false)))?;
    let warning = format!("dkms: kernel {} comes without its headers", release("7.2.14"));
    ensure!(said.contains(&warning), "no warning {warning:?}:\n{said}");
    ensure!(said.contains("waiting for headers"), "no summary:\n{said}");
    w.bed.write("/etc/dkms/framework.conf", "policy=fail\n")?;
    w.seen()?;
    let stopped = w.run(&format!("install {}", World::kernel("7.2.15", false)))?;
    ensure!(stopped.code != 0, "the transaction was not stopped: {}", stopped.tail());
    ensure!(stopped.stderr.contains("Error: dkms:"), "no reason: {}", stopped.tail());
    ensure!(w.seen()?.is_empty(), "a scriptlet ran");
    w.expect_gone("7.2.15")
}

fn main() -> ExitCode {
    Suite::new(&[Need::Bed, Need::Ours])
        .case("kernels and modules come and go", kernels_and_modules_come_and_go)
        .case("preflight", preflight)
        .main()
}
