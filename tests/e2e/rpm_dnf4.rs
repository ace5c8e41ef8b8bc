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

/// The vendor's program is a stand-in (Debian has none): it links every kernel to what it is told of, as the real one does
/// with kernels whose symbols agree.
const WEAK_MODULES: &str = r#"#!/bin/bash
echo "$*" >>/var/log/weak
while read -r module; do
	echo "$module" >>/var/log/weak
	rest=${module#/lib/modules/*/} built=${module#/lib/modules/} built=${built%%/*}
	for dir in /lib/modules/*/; do
		[ "$dir" = "/lib/modules/$built/" ] && continue
		link=${dir}weak-updates/${rest#extra/}
		case $1 in
		--add-modules) mkdir -p "${link%/*}"; ln -sf "$module" "$link" ;;
		--remove-modules) rm -f "$link" ;;
		esac
	done
done
"#;

fn weak_modules() -> Result<()> {
    let w = world()?;
    w.bed.write("/usr/sbin/weak-modules", WEAK_MODULES)?;
    w.bed.ok(
        "printf 'ID=rhel\nID_LIKE=fedora\nVERSION_ID=10\n' >/etc/os-release
         rpm -i --nosignature /srv/rpm/repo/*/kernel-{core,modules}-7.2.1{3,5}-*.rpm /srv/rpm/repo/*/kernel-*-7.2.14-*.rpm 2>&1
         cd /tmp; rpm2cpio /srv/rpm/modules/hello-dkms-1.0-1.*.rpm | cpio -idm 2>/dev/null; cp -a usr/src/hello-1.0 /usr/src/",
    )?;
    let kernel = release("7.2.14");
    w.bed.ok(&format!("dkms install hello/1.0 -k {kernel}"))?;
    let told = w.bed.ok("cat /var/log/weak; : >/var/log/weak")?;
    let module = format!("/lib/modules/{kernel}/extra/hello.ko");
    ensure!(told.starts_with(&format!("--add-modules --no-initramfs\n{module}")), "it was told: {told}");
    // The newer kernel shares the build; the older one does not, whatever the program thinks.
    let machine = w.bed.ok("uname -m")?;
    let line = format!("hello/1.0, {}, {}: installed-weak from {kernel}", release("7.2.15"), machine.trim());
    let status = w.status()?;
    ensure!(status.len() == 2 && status[1] == line, "dkms status: {status:?}");
    w.bed.ok(&format!("[ ! -e /lib/modules/{}/weak-updates/hello.ko* ]", release("7.2.13")))?;
    w.bed.ok(&format!("dkms remove hello/1.0 -k {kernel}"))?;
    let told = w.bed.ok("cat /var/log/weak; : >/var/log/weak")?;
    ensure!(told.starts_with(&format!("--remove-modules --no-initramfs\n{module}")), "it was told: {told}");
    w.expect_status(&[])?;
    // Neither the package's nor the caller's refusal is overheard.
    w.bed.ok(&format!(
        "NO_WEAK_MODULES=1 dkms install hello/1.0 -k {kernel}; dkms remove hello/1.0 -k {kernel} >/dev/null"
    ))?;
    let told = w.bed.ok("cat /var/log/weak; : >/var/log/weak")?;
    ensure!(!told.contains("--add"), "it was told: {told}");
    w.bed.ok(&format!(
        "echo 'NO_WEAK_MODULES=yes' >>/usr/src/hello-1.0/dkms.conf; dkms install hello/1.0 -k {kernel}"
    ))?;
    ensure!(w.bed.ok("cat /var/log/weak")?.is_empty(), "it was told although the package does not want that");
    Ok(())
}

/// What the scriptlets of some vendors' packages call.
fn common_postinst() -> Result<()> {
    let w = world()?;
    w.bed.ok("rpm -i --nosignature /srv/rpm/repo/*/kernel-*-7.2.13-*.rpm 2>&1
         cd /tmp; rpm2cpio /srv/rpm/modules/hello-dkms-1.0-1.*.rpm | cpio -idm 2>/dev/null; cp -a usr/src/hello-1.0 /usr/src/")?;
    // The second call finds it registered.
    for _ in 0..2 {
        w.bed.ok("/usr/lib/dkms/common.postinst hello 1.0 /usr/share/hello-dkms '' '' 2>&1")?;
        w.expect_status(&["hello/1.0, {13}: installed"])?;
        w.expect_modules("7.2.13", &["hello"])?;
    }
    ensure!(w.bed.sh("/usr/lib/dkms/common.postinst hello")?.code == 1, "a version is needed");
    Ok(())
}

fn main() -> ExitCode {
    Suite::new(&[Need::Bed, Need::Ours, Need::Long])
        .case("kernels and modules come and go", kernels_and_modules_come_and_go)
        .case("preflight", preflight)
        .case("weak modules", weak_modules)
        .case("common.postinst", common_postinst)
        .main()
}
