//! dnf4 and rpm 4.18: real transactions on kernels in Fedora's layout.

use std::process::ExitCode;

use anyhow::{Result, ensure};
use dkms_tests::needs::Need;
use dkms_tests::rpm::{DNF4, Kind, World, release};
use dkms_tests::rpm_classic;
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
    let seen = w.seen()?;
    World::check_initramfs(&seen, "7.2.15", &["hello", "world"])?;
    World::check_initramfs_gone(&seen, "7.2.13")?;
    w.expect_gone("7.2.13")?;
    w.ok("remove world-dkms")?;
    w.expect_status(&["hello/2.0, {14}: installed", "hello/2.0, {15}: installed"])?;
    // What fails leaves what works.
    let said = w.ok("upgrade hello-dkms")?;
    ensure!(said.contains("hello/3.0") && said.contains("no_such_thing"), "no last words:\n{said}");
    w.expect_modules("7.2.14", &["hello"])?;
    w.expect_modules("7.2.15", &["hello"])?;
    // A kernel that it fails on has its initramfs and boot entry all the same, and goes whole.
    w.ok(&format!("remove {}", World::kernel("7.2.15", true)))?;
    World::check_initramfs_gone(&w.seen()?, "7.2.15")?;
    w.expect_gone("7.2.15")?;
    w.ok(&format!("install {}", World::kernel("7.2.15", true)))?;
    w.expect_initramfs("7.2.15", &[])
}

fn preflight() -> Result<()> {
    let w = world()?;
    w.ok(&format!("install {} hello-dkms-1.0-1", World::kernel("7.2.13", true)))?;
    let said = w.ok(&format!("install {}", World::kernel("7.2.14", false)))?;
    let warning = format!("dkms: kernel {} comes without its headers", release("7.2.14"));
    // There are two looks, which say it once.
    ensure!(said.matches(&warning).count() == 1, "no warning {warning:?}, or two:\n{said}");
    ensure!(said.contains("waiting for headers"), "no summary:\n{said}");
    World::check_initramfs(&w.seen()?, "7.2.14", &[])?;
    w.bed.write("/etc/dkms/framework.conf", "policy=fail\n")?;
    stopped(&w, &format!("install {}", World::kernel("7.2.15", false)), "comes without its headers")?;
    // Of a kernel whose packages are called as nobody can guess, a file that the user names tells, or one downloaded.
    let reason = format!("kernel {} comes without its headers", release("7.2.15"));
    stopped(&w, "install /srv/rpm/modules/vendor-linux-1-9.*.rpm", &reason)?;
    stopped(&w, "install vendor-linux", &reason)?;
    stopped(&w, "install vendor-linux world-dkms-1.0", "it will lack the modules of hello/1.0, world/1.0")?;
    w.expect_gone("7.2.15")?;
    let said = w.ok("install vendor-linux vendor-linux-extras")?;
    ensure!(!said.contains("without its headers"), "it has headers:\n{said}");
    w.expect_initramfs("7.2.15", &["hello"])
}

/// What is known to fail, and where there is no room.
fn preflight_by_records_and_room() -> Result<()> {
    let w = world()?;
    w.ok(&format!("install {} hello-dkms-3.0", World::kernel("7.2.13", true)))?;
    let said = w.ok("reinstall kernel-core-7.2.13")?;
    let known = format!("dkms: hello/3.0 could not be built for kernel {} before: ", release("7.2.13"));
    ensure!(said.matches(&known).count() == 1, "not said once {known:?}:\n{said}");
    w.expect_initramfs("7.2.13", &[])?;
    w.bed.write("/etc/dkms/framework.conf", "policy=fail\n")?;
    stopped(&w, "reinstall kernel-core-7.2.13", "could not be built")?;
    let with_little_room = |policy: &str| {
        let kernel = World::kernel("7.2.14", true);
        w.bed.sh(&format!(
            "echo policy={policy} >/etc/dkms/framework.conf; cp -a /var/lib/dkms /srv/kept; mount -t tmpfs -o size=8m tmpfs /var/lib/dkms
             cp -a /srv/kept/. /var/lib/dkms/; rm -rf /srv/kept; {DNF4} install {kernel}"
        ))
    };
    let room = "dkms: /var/lib/dkms has 7 MiB free, and building modules takes about 16 MiB";
    let outcome = with_little_room("fail")?;
    ensure!(outcome.code != 0 && outcome.stderr.contains(room), "{}: {}", outcome.code, outcome.tail());
    w.expect_gone("7.2.14")?;
    let outcome = with_little_room("warn")?;
    ensure!(outcome.code == 0 && outcome.stderr.contains(room), "{}: {}", outcome.code, outcome.tail());
    Ok(())
}

/// Fails unless the transaction is stopped, with this reason, and has touched nothing.
fn stopped(w: &World, words: &str, reason: &str) -> Result<()> {
    w.seen()?;
    let outcome = w.run(words)?;
    ensure!(outcome.code != 0, "{words} was not stopped: {}", outcome.tail());
    ensure!(outcome.stderr.contains("Error: dkms:"), "{words}: {}", outcome.tail());
    ensure!(outcome.stderr.contains(reason), "{words}: no reason {reason:?}: {}", outcome.tail());
    ensure!(w.seen()?.is_empty(), "{words}: a scriptlet ran");
    Ok(())
}

fn upgrade_from_the_classic() -> Result<()> {
    rpm_classic::upgrade(&World::without_dkms(Kind::Old, DNF4)?, "upgrade dkms")
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
        .case("preflight by records and room", preflight_by_records_and_room)
        .case("upgrade from the classic", upgrade_from_the_classic)
        .case("weak modules", weak_modules)
        .case("common.postinst", common_postinst)
        .main()
}
