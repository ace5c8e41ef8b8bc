//! zypper and rpm 4.18: each package is installed by an rpm run of its own, %posttrans scripts are run by zypper, and
//! rpm's transaction file triggers miss packages that have one.

use std::process::ExitCode;

use anyhow::Result;
use dkms_tests::needs::Need;
use dkms_tests::rpm::{Kind, World, ZYPPER};
use dkms_tests::suite::Suite;

fn world() -> Result<World> {
    World::new(Kind::Old, ZYPPER)
}

/// `kernel-core=7.2.13 …`, as zypper wants versions.
fn kernel(version: &str) -> String {
    ["core", "modules", "devel"].map(|name| format!("kernel-{name}={version}-100.fc99")).join(" ")
}

fn kernels_and_modules_come_and_go() -> Result<()> {
    let w = world()?;
    w.bed.ok("mkdir -p /etc/zypp; echo 'multiversion = provides:installonlypkg(kernel), provides:installonlypkg(kernel-module)' >>/etc/zypp/zypp.conf")?;
    w.ok(&format!("install --oldpackage hello-dkms=1.0-1 world-dkms=1.0-1 {}", kernel("7.2.13")))?;
    w.expect_status(&["hello/1.0, {13}: installed", "world/1.0, {13}: installed"])?;
    w.expect_modules("7.2.13", &["hello", "world"])?;
    w.expect_initramfs("7.2.13", &["hello", "world"])?;
    w.ok(&format!("install --oldpackage hello-dkms=2.0-1 {}", kernel("7.2.14")))?;
    w.expect_modules("7.2.14", &["hello", "world"])?;
    w.expect_initramfs("7.2.14", &["hello", "world"])?;
    w.ok("remove world-dkms")?;
    w.expect_modules("7.2.14", &["hello"])?;
    w.ok(&format!("remove {}", kernel("7.2.14")))?;
    World::check_initramfs_gone(&w.seen()?, "7.2.14")?;
    w.expect_gone("7.2.14")?;
    // Without headers, and where a module fails, initramfs and boot entry are made all the same.
    w.ok(&format!("install --oldpackage {}", kernel("7.2.14").rsplit_once(' ').unwrap_or_default().0))?;
    w.expect_initramfs("7.2.14", &[])?;
    w.ok("install --oldpackage kernel-devel=7.2.14-100.fc99")?;
    w.expect_modules("7.2.14", &["hello"])?;
    w.ok("install hello-dkms=3.0-1")?;
    w.expect_modules("7.2.14", &["hello"])?;
    w.ok(&format!("install --oldpackage {}", kernel("7.2.15")))?;
    w.expect_initramfs("7.2.15", &[])
}

/// Where kernel packages do not call kernel-install, as SUSE's do not, their headers' arrival is what wakes us up.
fn without_kernel_install() -> Result<()> {
    let w = world()?;
    w.bed.ok("touch /etc/no-kernel-install")?;
    w.ok(&format!("install --oldpackage hello-dkms=1.0-1 {}", kernel("7.2.13")))?;
    w.expect_status(&["hello/1.0, {13}: installed"])?;
    w.expect_modules("7.2.13", &["hello"])
}

fn main() -> ExitCode {
    Suite::new(&[Need::Bed, Need::Ours, Need::Long])
        .case("kernels and modules come and go", kernels_and_modules_come_and_go)
        .case("without kernel-install", without_kernel_install)
        .main()
}
