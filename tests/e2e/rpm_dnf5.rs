//! dnf5 and rpm 6: real transactions on kernels in Fedora's layout.

use std::process::ExitCode;

use anyhow::{Result, ensure};
use dkms_tests::needs::Need;
use dkms_tests::rpm::{DNF5, Kind, World, release};
use dkms_tests::suite::Suite;

fn world() -> Result<World> {
    World::new(Kind::Dnf5, DNF5)
}

fn kernels_and_modules_come_and_go() -> Result<()> {
    let w = world()?;
    // Everything at once: the modules are in the first initramfs.
    let said = w.ok(&format!("install {} hello-dkms-1.0-1 world-dkms-1.0", World::kernel("7.2.13", true)))?;
    ensure!(said.contains("installed hello/1.0, world/1.0"), "no summary:\n{said}");
    w.expect_status(&["hello/1.0, {13}: installed", "world/1.0, {13}: installed"])?;
    w.expect_modules("7.2.13", &["hello", "world"])?;
    w.expect_initramfs("7.2.13", &["hello", "world"])?;
    // A kernel and both module packages, upgraded in one transaction.
    w.ok(&format!("install {} hello-dkms-2.0 world-dkms-2.0", World::kernel("7.2.14", true)))?;
    w.expect_status(&[
        "hello/2.0, {13}: installed",
        "hello/2.0, {14}: installed",
        "world/2.0, {13}: installed",
        "world/2.0, {14}: installed",
    ])?;
    w.expect_initramfs("7.2.14", &["hello", "world"])?;
    // A third kernel pushes the first one out.
    w.ok(&format!("install --setopt=installonly_limit=2 {}", World::kernel("7.2.15", true)))?;
    w.expect_modules("7.2.15", &["hello", "world"])?;
    w.expect_initramfs("7.2.15", &["hello", "world"])?;
    w.expect_gone("7.2.13")?;
    // A module package goes, its kernels stay.
    w.ok("remove world-dkms")?;
    w.expect_status(&["hello/2.0, {14}: installed", "hello/2.0, {15}: installed"])?;
    w.expect_modules("7.2.14", &["hello"])?;
    w.ok(&format!("remove {}", World::kernel("7.2.15", true)))?;
    w.expect_gone("7.2.15")?;
    w.ok("remove hello-dkms")?;
    w.expect_status(&[])?;
    w.expect_modules("7.2.14", &[])
}

fn headers_that_are_missing() -> Result<()> {
    let w = world()?;
    w.ok(&format!("install {} hello-dkms-1.0-1", World::kernel("7.2.13", false)))?;
    w.expect_status(&["hello/1.0: added"])?;
    w.expect_initramfs("7.2.13", &[])?;
    // Policy warn: said before and after, and the transaction goes on.
    let said = w.ok(&format!("install {}", World::kernel("7.2.14", false)))?;
    let warning = format!("dkms: kernel {} comes without its headers", release("7.2.14"));
    ensure!(said.contains(&warning), "no warning {warning:?}:\n{said}");
    ensure!(said.contains("waiting for headers"), "no summary:\n{said}");
    w.expect_initramfs("7.2.14", &[])?;
    // They come: what waited is built.
    w.ok("install kernel-devel-7.2.13 kernel-devel-7.2.14")?;
    w.expect_status(&["hello/1.0, {13}: installed", "hello/1.0, {14}: installed"])?;
    w.expect_modules("7.2.14", &["hello"])?;
    // Policy fail: nothing is touched, and the reason is given.
    w.bed.write("/etc/dkms/framework.conf", "policy=fail\n")?;
    w.seen()?;
    let stopped = w.run(&format!("install {}", World::kernel("7.2.15", false)))?;
    ensure!(stopped.code != 0, "the transaction was not stopped: {}", stopped.tail());
    ensure!(stopped.stderr.contains("kernel-devel-7.2.15-100.fc99"), "no reason: {}", stopped.tail());
    ensure!(w.seen()?.is_empty(), "a scriptlet ran");
    w.expect_gone("7.2.15")?;
    // With headers, it goes on.
    w.ok(&format!("install {}", World::kernel("7.2.15", true)))?;
    w.expect_initramfs("7.2.15", &["hello"])
}

fn a_module_that_fails() -> Result<()> {
    let w = world()?;
    w.ok(&format!("install {} hello-dkms-1.0-1 world-dkms-1.0", World::kernel("7.2.13", true)))?;
    w.expect_initramfs("7.2.13", &["hello", "world"])?;
    // Both successors fail to build: whether the old %preun asks for removal or not, what worked stays.
    let said = w.ok("upgrade hello-dkms world-dkms")?;
    ensure!(said.contains("hello/3.0") && said.contains("no_such_thing"), "no last words:\n{said}");
    w.expect_modules("7.2.13", &["hello", "world"])?;
    let versions = w.bed.ok(&format!("modinfo -k {} -F version hello world", release("7.2.13")))?;
    ensure!(versions == "1.0\n1.0\n", "the modules are of version {versions:?}");
    // A kernel that it fails on is installed all the same, with initramfs and boot entry.
    w.ok(&format!("install {}", World::kernel("7.2.14", true)))?;
    w.expect_initramfs("7.2.14", &[])?;
    // Who can't do without says so.
    w.bed.write("/etc/dkms/hello.conf", "DKMS_POLICY=required\n")?;
    let stopped = w.run(&format!("install {}", World::kernel("7.2.15", true)))?;
    let seen = w.seen()?;
    ensure!(!seen.contains("50-dracut add"), "kernel-install went on: {seen}\n{}", stopped.tail());
    Ok(())
}

fn plain_rpm() -> Result<()> {
    let w = world()?;
    // Scriptlets of rpm 6 see nothing in /tmp, and no network.
    w.bed.write(
        "/etc/kernel/install.d/10-look.install",
        "#!/bin/sh\necho \"tmp: $(ls -A /tmp) links: $(ls /sys/class/net | grep -cv lo)\" >>/var/log/look\n",
    )?;
    let repo = "/srv/rpm/repo/*";
    w.bed.ok(&format!("touch /tmp/marker; rpm -ivh --nosignature {repo}/kernel-*-7.2.13-*.rpm 2>&1"))?;
    let look = w.bed.ok("cat /var/log/look")?;
    ensure!(look.starts_with("tmp:  "), "scriptlets are not secluded here: {look}");
    let modules = "/srv/rpm/modules";
    w.bed.ok(&format!(
        "rpm -Uvh --nosignature {modules}/hello-dkms-1.0-1.*.rpm {modules}/careful-dkms-1.0-1.*.rpm 2>&1"
    ))?;
    w.expect_status(&["careful/1.0, {13}: installed", "hello/1.0, {13}: installed"])?;
    // The same version packaged anew: both kinds of old %preun leave it installed, and what is installed is the new one.
    w.bed.ok(&format!(
        "rpm -Uvh --nosignature {modules}/hello-dkms-1.0-2.*.rpm {modules}/careful-dkms-1.0-2.*.rpm 2>&1"
    ))?;
    w.expect_status(&["careful/1.0, {13}: installed", "hello/1.0, {13}: installed"])?;
    let packaged = w.bed.ok(&format!("modinfo -k {} -F packaged hello careful", release("7.2.13")))?;
    ensure!(packaged == "2\n2\n", "installed are the releases {packaged:?}");
    w.bed.ok(&format!(
        "rpm -Uvh --nosignature {modules}/hello-dkms-2.0-1.*.rpm {modules}/careful-dkms-2.0-1.*.rpm 2>&1"
    ))?;
    w.expect_status(&["careful/2.0, {13}: installed", "hello/2.0, {13}: installed"])?;
    w.bed.ok("rpm -e hello-dkms 2>&1")?;
    w.expect_status(&["careful/2.0, {13}: installed"])?;
    w.expect_modules("7.2.13", &["careful"])?;
    w.bed.ok("rpm -e careful-dkms kernel-core kernel-modules kernel-devel 2>&1")?;
    w.expect_status(&[])?;
    w.expect_gone("7.2.13")
}

fn main() -> ExitCode {
    Suite::new(&[Need::Bed, Need::Ours, Need::Long])
        .case("kernels and modules come and go", kernels_and_modules_come_and_go)
        .case("headers that are missing", headers_that_are_missing)
        .case("a module that fails", a_module_that_fails)
        .case("plain rpm", plain_rpm)
        .main()
}
