//! Debian's kernel packages with our package `dkms`: every order of image and headers, upgrade and removal, failures,
//! apt killed in the middle. Real apt and dpkg, no network.

use std::process::ExitCode;

use anyhow::{Result, ensure};
use dkms_tests::debian::Machine;
use dkms_tests::needs::Need;
use dkms_tests::suite::Suite;

/// Ours, with two module packages.
fn machine(suite: &str) -> Result<Machine> {
    let machine = Machine::ours(suite)?;
    machine.make_module("hello", "1.0", 1, "")?;
    machine.apt("install acpi-call-dkms /srv/hello-dkms_1.0-1_all.deb")?;
    Ok(machine)
}

fn has_both(machine: &Machine, kernel: &str) -> Result<()> {
    let acpi = machine.bed.ok("dkms status acpi-call | sed -n '1s/,.*//p'")?;
    machine.has("hello/1.0", kernel)?;
    let status = machine.status()?.join("\n");
    ensure!(status.contains(&format!("{}, {kernel}, x86_64: installed", acpi.trim())), "{status}");
    Ok(())
}

/// Image and headers at once, then the old kernel goes: right modules, nothing left.
fn install_and_remove(suite: &str) -> Result<()> {
    let machine = machine(suite)?;
    let (old, new) = (machine.installed_kernel()?, machine.bed.base().kernels[0].clone());
    has_both(&machine, &old)?;
    let said = machine.apt(&format!("install linux-image-{new} linux-headers-{new}"))?;
    has_both(&machine, &new)?;
    has_both(&machine, &old)?;
    let (dkms, initramfs) = (said.find("postinst.d/dkms"), said.find("update-initramfs: Generating"));
    ensure!(dkms.is_some() && dkms < initramfs, "the modules were not built before the initramfs\n{said}");
    ensure!(said.contains(&format!("{new} (x86_64): installed acpi-call")), "no summary\n{said}");
    machine.dpkg_is_clean()?;
    // The same hooks again find nothing to do.
    let again = machine
        .bed
        .sh(&format!("for hook in postinst.d header_postinst.d; do /etc/kernel/$hook/dkms {new} || exit; done"))?;
    ensure!(again.code == 0 && again.stdout.is_empty() && !again.stderr.contains("Building"), "{}", again.tail());

    let said = machine.apt(&format!("purge linux-image-{old} linux-headers-{old}"))?;
    ensure!(!said.contains("not empty so not removed"), "{said}");
    machine.has_not("hello/1.0", &old)?;
    has_both(&machine, &new)?;
    machine.bed.ok(&format!("test ! -e /lib/modules/{old}; test ! -e /var/lib/dkms/hello/1.0/{old}"))?;
    ensure!(
        machine.bed.sh("ls /lib/modules")?.stdout.trim() == new,
        "left: {}",
        machine.bed.sh("ls -R /lib/modules | head")?.stdout
    );
    machine.dpkg_is_clean()
}

/// The kernel first: told, waiting, no failure. Then its headers: built, and the initramfs renewed.
fn headers_later() -> Result<()> {
    let machine = machine("trixie")?;
    let new = machine.bed.base().kernels[1].clone();
    let said = machine.apt(&format!("install linux-image-{new}"))?;
    ensure!(said.contains(&format!("kernel {new} comes without linux-headers-{new}")), "no preflight\n{said}");
    ensure!(said.contains("LACKS") && said.contains(&format!("apt install linux-headers-{new}")), "not told\n{said}");
    machine.has_not("hello/1.0", &new)?;
    machine.dpkg_is_clean()?;
    let before = machine.bed.ok(&format!("stat -c %Y%i /boot/initrd.img-{new}"))?;
    machine.apt(&format!("install linux-headers-{new}"))?;
    has_both(&machine, &new)?;
    let after = machine.bed.ok(&format!("stat -c %Y%i /boot/initrd.img-{new}"))?;
    ensure!(before != after, "the initramfs was not renewed");
    machine.bed.ok("test -z \"$(ls -A /var/lib/dkms/.dkms/pending)\"")?;
    machine.dpkg_is_clean()
}

/// The headers first, then the kernel.
fn headers_first() -> Result<()> {
    let machine = machine("trixie")?;
    let new = machine.bed.base().kernels[1].clone();
    machine.apt(&format!("install linux-headers-{new}"))?;
    machine.apt(&format!("install linux-image-{new}"))?;
    has_both(&machine, &new)?;
    // The image alone would be replaced by its unsigned twin: the headers depend on either.
    machine.apt(&format!("remove linux-image-{new} linux-headers-{new}"))?;
    machine.bed.ok(&format!("test ! -e /lib/modules/{new}/updates"))?;
    machine.has_not("hello/1.0", &new)?;
    machine.dpkg_is_clean()
}

/// A kernel and a module package in one transaction.
fn kernel_and_module_at_once() -> Result<()> {
    let machine = Machine::ours("trixie")?;
    let (old, new) = (machine.installed_kernel()?, machine.bed.base().kernels[1].clone());
    machine.make_module("hello", "1.0", 1, "")?;
    machine.apt(&format!("install linux-image-{new} linux-headers-{new} /srv/hello-dkms_1.0-1_all.deb"))?;
    machine.has("hello/1.0", &old)?;
    machine.has("hello/1.0", &new)?;
    machine.dpkg_is_clean()
}

/// One module does not compile on the new kernel: the kernel's installation completes, the other module is there, the
/// user is told. If it is required, apt fails at our hook, and works once that is mended.
fn one_module_fails() -> Result<()> {
    let machine = machine("trixie")?;
    let (old, new) = (machine.installed_kernel()?, machine.bed.base().kernels[0].clone());
    let patch: u32 = new.split(['.', '+']).nth(2).and_then(|text| text.parse().ok()).unwrap_or(0);
    let code = format!("#if LINUX_VERSION_CODE >= KERNEL_VERSION(6,12,{patch})\n#error not for the new kernel\n#endif");
    machine.make_module("picky", "1.0", 1, &code)?;
    machine.apt("install /srv/picky-dkms_1.0-1_all.deb")?;
    machine.has("picky/1.0", &old)?;

    machine.bed.write("/etc/dkms/picky.conf", "DKMS_POLICY=required\n")?;
    let (code, said) = machine.try_apt(&format!("install linux-image-{new} linux-headers-{new}"))?;
    ensure!(code != 0 && said.contains("not for the new kernel"), "apt did not fail\n{said}");
    machine.has("picky/1.0", &old)?;
    machine.bed.ok("rm /etc/dkms/picky.conf; dpkg --configure -a 2>&1")?;
    machine.dpkg_is_clean()?;
    has_both(&machine, &new)?;

    let other = machine.bed.base().kernels[1].clone();
    machine.bed.ok(&format!("apt-get -q -y purge linux-image-{new} linux-headers-{new}"))?;
    let said = machine.apt(&format!("install linux-image-{new} linux-headers-{new}"))?;
    let last = said.lines().rev().take(3).collect::<Vec<_>>().join("\n");
    ensure!(
        last.contains("picky/1.0: build failed") && last.contains("not for the new kernel"),
        "not told at the end\n{said}"
    );
    has_both(&machine, &new)?;
    machine.has_not("picky/1.0", &new)?;
    machine.has("picky/1.0", &old)?;
    machine.dpkg_is_clean()?;

    // Nor does a later kernel that has no headers, or the removal of this one, trip over it.
    machine.apt(&format!("install linux-image-{other}"))?;
    machine.apt(&format!("purge linux-image-{other} linux-image-{new} linux-headers-{new}"))?;
    machine.dpkg_is_clean()
}

/// Kernels that run their hooks from a trigger of their own, as Ubuntu's do, and hooks that run twice.
fn hooks_from_a_trigger() -> Result<()> {
    let machine = machine("trixie")?;
    let new = machine.bed.base().kernels[1].clone();
    machine.bed.ok(&format!(
        "cd /srv; dpkg-deb -R /var/cache/apt/archives/linux-image-{new}_*.deb image
         echo 'interest-noawait linux-update-{new}' >image/DEBIAN/triggers
         cat >image/DEBIAN/postinst <<'END'
#!/bin/sh
set -e
case $1 in
triggered)
	DEB_MAINT_PARAMS=\"configure \" run-parts --report --exit-on-error --arg={new} --arg=/boot/vmlinuz-{new} /etc/kernel/postinst.d
	;;
configure)
	depmod {new}
	dpkg-trigger --no-await linux-update-{new}
	;;
esac
END
         chmod 755 image/DEBIAN/postinst; dpkg-deb -b image image.deb >/dev/null"
    ))?;
    let said = machine.apt(&format!("install /srv/image.deb linux-headers-{new}"))?;
    has_both(&machine, &new)?;
    ensure!(said.contains("Processing triggers for linux-image"), "no trigger\n{said}");
    machine.bed.ok(&format!("test -e /boot/initrd.img-{new}"))?;
    machine.dpkg_is_clean()
}

/// apt is killed while a hook builds, and while a module package is configured: dpkg ends well.
fn killed() -> Result<()> {
    let machine = machine("trixie")?;
    let (old, new) = (machine.installed_kernel()?, machine.bed.base().kernels[1].clone());
    machine.make_module("slow", "1.0", 1, "")?;
    // The shell is process 1 of the bed: all else dies.
    let kill = |words: &str, when: &str| {
        machine.bed.sh(&format!(
            "apt-get -q -y install {words} >/tmp/log 2>&1 & apt=$!
             for i in $(seq 3000); do {when} && break; kill -0 $apt 2>/dev/null || break; sleep 0.02; done
             kill -9 -1; wait $apt; echo $?"
        ))
    };
    let working = "test -n \"$(ls -A /var/lib/dkms/.dkms/work 2>/dev/null)\"";
    for (words, when) in [
        (format!("linux-image-{new} linux-headers-{new}"), working),
        ("/srv/slow-dkms_1.0-1_all.deb".to_owned(), working),
        ("/srv/slow-dkms_1.0-1_all.deb".to_owned(), "grep -q Unpacking /tmp/log"),
    ] {
        let end = kill(&words, when)?;
        ensure!(end.stdout.contains("137"), "not killed: {}", end.tail());
        let mended = machine.bed.sh(&format!(
            "exec 2>&1; dpkg --configure -a; apt-get -q -y -f install && apt-get -q -y install {words}"
        ))?;
        ensure!(mended.code == 0, "not mended\n{}", mended.stdout);
        machine.dpkg_is_clean()?;
        has_both(&machine, &old)?;
        has_both(&machine, &new)?;
        if words.contains("slow") {
            machine.has("slow/1.0", &new)?;
            machine.has("slow/1.0", &old)?;
            machine.apt("purge slow-dkms")?;
        }
        machine.bed.ok("test -z \"$(ls -A /var/lib/dkms/.dkms/journal /var/lib/dkms/.dkms/work | grep -v :)\"")?;
    }
    Ok(())
}

fn main() -> ExitCode {
    Suite::new(&[Need::Bed, Need::Ours, Need::Long, Need::Packages])
        .case("install_and_remove_trixie", || install_and_remove("trixie"))
        .case("install_and_remove_bookworm", || install_and_remove("bookworm"))
        .case("headers_later", headers_later)
        .case("headers_first", headers_first)
        .case("kernel_and_module_at_once", kernel_and_module_at_once)
        .case("one_module_fails", one_module_fails)
        .case("hooks_from_a_trigger", hooks_from_a_trigger)
        .case("killed", killed)
        .main()
}
