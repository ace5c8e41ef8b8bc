//! dnf4 and rpm 4.18: real transactions on kernels in Fedora's layout.

use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use dkms_tests::needs::Need;
use dkms_tests::rpm::{DNF4, KERNELS, Kind, World, release};
use dkms_tests::rpm_classic;
use dkms_tests::settings;
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
    w.stopped(&format!("install {}", World::kernel("7.2.15", false)), "comes without its headers")?;
    // Of a kernel whose packages are called as nobody can guess, a file that the user names tells, or one downloaded.
    let reason = format!("kernel {} comes without its headers", release("7.2.15"));
    w.stopped("install /srv/rpm/modules/vendor-linux-1-9.*.rpm", &reason)?;
    w.stopped("install vendor-linux", &reason)?;
    w.stopped("install vendor-linux world-dkms-1.0", "it will lack the modules of hello/1.0, world/1.0")?;
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
    w.stopped("reinstall kernel-core-7.2.13", "could not be built")?;
    w.expect_word_of_little_room(["7.2.14", "7.2.15"])
}

fn from_the_classic_and_back() -> Result<()> {
    rpm_classic::upgrade(&World::without_dkms(Kind::Old, DNF4)?, "upgrade dkms", "downgrade dkms")
}

/// What the vendor's program is told; then the program itself.
const TOLD: &str = r#"#!/bin/bash
input=$(cat)
printf '%s\n' "$*" ${input:+"$input"} >>/var/log/weak
exec /usr/libexec/the-weak-modules "$@" <<<"$input"
"#;

/// A system of RHEL's family: an old kernel and a new one without headers, one with them between the two, each with the
/// lists of symbols that the vendor's program goes by; hello's source, not registered.
fn rhel() -> Result<World> {
    let w = world()?;
    w.bed.write("/usr/sbin/weak-modules", TOLD)?;
    match settings::real_weak_modules() {
        Some(real) => w.bed.copy_in(&real, "/usr/libexec/the-weak-modules")?,
        None => w.bed.write("/usr/libexec/the-weak-modules", include_str!("../scripts/weak-modules.sh"))?,
    }
    w.bed.ok(
        "printf 'ID=rhel\nID_LIKE=fedora\nVERSION_ID=10\n' >/etc/os-release
         rpm -i --nosignature /srv/rpm/repo/*/kernel-{core,modules}-7.2.1{3,5}-*.rpm /srv/rpm/repo/*/kernel-*-7.2.14-*.rpm 2>&1
         symvers=$(echo /usr/src/kernels/*/Module.symvers)
         for dir in /lib/modules/*/; do
             gzip -c $symvers >$dir/symvers.gz
             awk '{ print \"ffffffff81000000 r __ksymtab_\" $2 }' $symvers >$dir/System.map
         done
         cd /tmp; rpm2cpio /srv/rpm/modules/hello-dkms-1.0-1.*.rpm | cpio -idm 2>/dev/null; cp -a usr/src/hello-1.0 /usr/src/",
    )?;
    Ok(w)
}

/// Fails unless the kernels with a link are these, and the lists of each of the three know what it has.
fn expect_links(w: &World, linked: &[&str]) -> Result<()> {
    for version in KERNELS {
        let kernel = release(version);
        let is_linked = linked.contains(&version);
        w.bed
            .ok(&format!(
                "cd /lib/modules/{kernel}
             [ \"$(find weak-updates -name 'hello.ko*' 2>/dev/null | wc -l)\" = {} ]
             listed=$(grep -o '^[^:]*/hello\\.ko[^:]*' modules.dep || true)
             for file in $listed; do [ -e \"$file\" ] || exit 1; done
             have=$(find extra weak-updates -name 'hello.ko*' 2>/dev/null | head -n 1)
             [ -z \"$have\" ] || [ -n \"$listed\" ]",
                u8::from(is_linked)
            ))
            .with_context(|| format!("links of {version}: {linked:?} should have one"))?;
    }
    Ok(())
}

fn weak_modules() -> Result<()> {
    let w = rhel()?;
    let kernel = release("7.2.14");
    w.bed.ok(&format!("dkms install hello/1.0 -k {kernel}"))?;
    let told = w.bed.ok("cat /var/log/weak; : >/var/log/weak")?;
    let module = w.bed.ok(&format!("ls /lib/modules/{kernel}/extra/hello.ko*"))?;
    ensure!(told == format!("--add-modules --no-initramfs\n{module}"), "it was told: {told}");
    // The newer kernel shares the build; the older one does not, whatever the program thinks.
    w.expect_status(&["hello/1.0, {14}: installed", "hello/1.0, {15}: installed-weak from [14]"])?;
    expect_links(&w, &["7.2.15"])?;
    // As long as it has no headers, that is all it needs; the older one waits for its own.
    let said = w.bed.ok("dkms reconcile --all-kernels 2>&1; dkms reconcile --all-kernels --dry-run --long")?;
    let shares = format!(
        "keep hello/1.0 for kernel {}: it has no headers, and shares the build for {kernel}",
        w.named("7.2.15")
    );
    ensure!(said.contains(&shares) && !said.contains(&format!("{}: waiting", w.named("7.2.15"))), "{said}");
    // A build of its own takes the link's place, and nothing is taken for somebody else's original.
    w.bed.ok("rpm -i --nosignature /srv/rpm/repo/*/kernel-devel-7.2.15-*.rpm 2>&1")?;
    w.expect_status(&["hello/1.0, {14}: installed", "hello/1.0, {15}: installed"])?;
    expect_links(&w, &[])?;
    w.bed.ok("[ ! -e /var/lib/dkms/hello/original_module ]; : >/var/log/weak")?;
    // What is gone has no links, and the program is asked when it is gone.
    w.bed.ok(&format!(
        "dkms uninstall hello/1.0 -k {}; weak-modules --no-initramfs --add-kernel {}",
        release("7.2.15"),
        release("7.2.15")
    ))?;
    expect_links(&w, &["7.2.15"])?;
    w.bed.ok(": >/var/log/weak")?;
    let said = w.bed.ok(&format!("dkms remove hello/1.0 -k {kernel}"))?;
    let told = w.bed.ok("cat /var/log/weak; : >/var/log/weak")?;
    ensure!(told == format!("--remove-modules --no-initramfs\n{module}"), "it was told: {told}");
    let lost = format!("Kernel {} shared this build, and has it no more.", release("7.2.15"));
    ensure!(said.contains(&lost), "dkms remove: {said}");
    expect_links(&w, &[])?;
    w.expect_status(&["hello/1.0, {15}: built"])
}

/// Kernels that come later: RHEL's kernel packages call the program themselves, which links them to older and newer builds.
fn kernels_link_themselves() -> Result<()> {
    let w = rhel()?;
    w.bed.ok(&format!("NO_WEAK_MODULES=1 dkms install hello/1.0 -k {}; [ ! -e /var/log/weak ]", release("7.2.14")))?;
    expect_links(&w, &[])?;
    for version in ["7.2.13", "7.2.15"] {
        w.bed.ok(&format!("weak-modules --no-initramfs --add-kernel {}", release(version)))?;
    }
    expect_links(&w, &["7.2.13", "7.2.15"])?;
    let said = w.bed.ok("dkms reconcile --all-kernels 2>&1")?;
    let older = format!("Kernel {} gets no link to hello/1.0", release("7.2.13"));
    ensure!(said.contains(&older), "{said}");
    expect_links(&w, &["7.2.15"])?;
    // Built for it by hand: the link is neither in the way nor archived.
    w.bed.ok("rpm -i --nosignature --noscripts --notriggers /srv/rpm/repo/*/kernel-devel-7.2.15-*.rpm 2>&1")?;
    w.bed.ok(&format!("NO_WEAK_MODULES=1 dkms install hello/1.0 -k {}", release("7.2.15")))?;
    expect_links(&w, &[])?;
    w.bed.ok("[ ! -e /var/lib/dkms/hello/original_module ]")?;
    // A kernel that goes takes the build with it that another one shared.
    w.bed.ok(&format!(
        "dkms unbuild hello/1.0 -k {0}; rpm -e --noscripts --notriggers kernel-devel-7.2.15 2>&1
         weak-modules --no-initramfs --add-kernel {0}",
        release("7.2.15")
    ))?;
    expect_links(&w, &["7.2.15"])?;
    let said = w.bed.ok("rpm -e kernel-core-7.2.14 kernel-modules-7.2.14 kernel-devel-7.2.14 2>&1")?;
    ensure!(said.contains("shared this build, and has it no more"), "{said}");
    w.expect_status(&["hello/1.0: added"])?;
    // What a kernel package would have brought, and taken along.
    w.bed.ok(&format!(
        "rm /lib/modules/{0}/System.map /lib/modules/{0}/symvers.gz; dkms reconcile --all-kernels",
        release("7.2.14")
    ))?;
    w.expect_gone("7.2.14")
}

/// No link where symbols differ, and none to a package that does not want any.
fn weak_modules_refused() -> Result<()> {
    let w = rhel()?;
    let kernel = release("7.2.14");
    w.bed.ok(&format!(
        "cd /lib/modules/{}; zcat symvers.gz | sed 's,^0x[0-9a-f]*,0x12345678,' | gzip >new; mv new symvers.gz
         dkms install hello/1.0 -k {kernel}",
        release("7.2.15")
    ))?;
    expect_links(&w, &[])?;
    w.expect_status(&["hello/1.0, {14}: installed"])?;
    w.bed.ok(&format!("dkms remove hello/1.0 -k {kernel} >/dev/null; : >/var/log/weak"))?;
    w.bed.ok(&format!(
        "gzip -c /usr/src/kernels/*/Module.symvers >/lib/modules/{}/symvers.gz
         echo 'NO_WEAK_MODULES=yes' >>/usr/src/hello-1.0/dkms.conf; dkms install hello/1.0 -k {kernel}",
        release("7.2.15")
    ))?;
    ensure!(w.bed.ok("cat /var/log/weak")?.is_empty(), "it was told although the package does not want that");
    w.bed.ok(&format!("weak-modules --no-initramfs --add-kernel {}", release("7.2.15")))?;
    expect_links(&w, &["7.2.15"])?;
    w.bed.ok("dkms reconcile --all-kernels 2>&1")?;
    expect_links(&w, &[])
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
    Suite::new(&[Need::Bed, Need::Ours, Need::Long, Need::Beside("dkms-rpm")])
        .case("kernels and modules come and go", kernels_and_modules_come_and_go)
        .case("preflight", preflight)
        .case("preflight by records and room", preflight_by_records_and_room)
        .case("from the classic and back", from_the_classic_and_back)
        .case("weak modules", weak_modules)
        .case("weak modules: kernels link themselves", kernels_link_themselves)
        .case("weak modules refused", weak_modules_refused)
        .case("common.postinst", common_postinst)
        .main()
}
