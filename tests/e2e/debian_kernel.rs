//! Debian's kernel packages with our package `dkms`: every order of image and headers, upgrade and removal, failures,
//! apt killed in the middle. Real apt and dpkg, no network.

use std::process::ExitCode;

use anyhow::{Result, ensure};
use dkms_tests::debian::{Machine, summary};
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
    ensure!(summary(&said)?.contains(&format!("{new} (x86_64): installed acpi-call")), "not told\n{said}");
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
    let warning = format!("kernel {new} comes without its headers, so it will lack the modules of ");
    let mend = format!("hello/1.0 (to fix it: apt install linux-headers-{new})");
    ensure!(said.contains(&warning) && said.contains(&mend), "no preflight\n{said}");
    let told = summary(&said)?;
    ensure!(
        told.contains(") is missing") && told.contains(&format!("apt install linux-headers-{new}")),
        "not told\n{said}"
    );
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
    ensure!(code != 0 && summary(&said)?.contains("not for the new kernel"), "apt did not fail\n{said}");
    ensure!(said.contains("lacks a module that it must have"), "not clear\n{said}");
    machine.has("picky/1.0", &old)?;
    machine.bed.ok("rm /etc/dkms/picky.conf; dpkg --configure -a 2>&1")?;
    machine.dpkg_is_clean()?;
    has_both(&machine, &new)?;

    let other = machine.bed.base().kernels[1].clone();
    machine.bed.ok(&format!("apt-get -q -y purge linux-image-{new} linux-headers-{new}"))?;
    let said = machine.apt(&format!("install linux-image-{new} linux-headers-{new}"))?;
    let last = summary(&said)?;
    ensure!(last.contains("picky/1.0: build failed") && last.contains("not for the new kernel"), "not told\n{said}");
    // The image's hook and the headers' are two: what failed in one is not compiled again in the other.
    let builds = said.matches(&format!("Build and install picky/1.0 for kernel {new}")).count();
    ensure!(builds == 1, "it was compiled {builds} times\n{said}");
    has_both(&machine, &new)?;
    machine.has_not("picky/1.0", &new)?;
    machine.has("picky/1.0", &old)?;
    machine.dpkg_is_clean()?;

    // What vendors' hooks still call: 1 where a module is missing, 0 where there is nothing to do or to build with.
    machine.bed.ok(&format!(
        "want() {{
            local want=$1 code=0; shift; /usr/lib/dkms/dkms_autoinstaller \"$@\" >/run/said 2>&1 || code=$?
            [ $code = $want ] || {{ echo \"$* ends with $code\"; cat /run/said; exit 1; }}
        }}
        want 1 start {new}; want 0 start {old}; want 0 start 9.9.9-none; grep 'headers do not seem to be installed' /run/said
        want 0 stop; want 0 status; want 2 nonsense; want 2; grep '^Usage: dkms_autoinstaller' /run/said"
    ))?;

    // The same kernel once more, as in an upgrade under one release: what failed before is said beforehand.
    let said = machine.apt(&format!("install --reinstall linux-image-{new} linux-headers-{new}"))?;
    ensure!(said.contains(&format!("picky/1.0 could not be built for kernel {new} before")), "no preflight\n{said}");
    summary(&said)?;
    has_both(&machine, &new)?;
    machine.dpkg_is_clean()?;

    // Nor does a later kernel that has no headers, or the removal of this one, trip over it.
    machine.apt(&format!("install linux-image-{other}"))?;
    machine.apt(&format!("purge linux-image-{other} linux-image-{new} linux-headers-{new}"))?;
    machine.dpkg_is_clean()
}

/// Ubuntu: kernels run their hooks from a trigger of their own, and twice; modules are signed with shim's key, which shim's
/// own program makes, and by kmodsign where that is asked for. (Debian has neither program: kmodsign is the kernel's sign-file here, and the other
/// makes a key by openssl as Ubuntu's does.)
fn ubuntu() -> Result<()> {
    let machine = Machine::ours("trixie")?;
    let (old, new) = (machine.installed_kernel()?, machine.bed.base().kernels[1].clone());
    machine.make_module("hello", "1.0", 1, "")?;
    machine.bed.ok(&format!(
        "rm /etc/os-release; printf 'ID=ubuntu\\nID_LIKE=debian\\n' >/etc/os-release; rm -f /var/lib/dkms/mok.*
         cat >/usr/bin/kmodsign <<'END'
#!/bin/sh
echo \"$*\" >>/root/kmodsign.log
exec $(ls /usr/lib/linux-kbuild-*/scripts/sign-file | tail -n 1) \"$@\"
END
         cat >/usr/sbin/update-secureboot-policy <<'END'
#!/bin/sh
echo \"$* notrigger=$SHIM_NOTRIGGER\" >>/root/policy.log
[ \"$1\" = --new-key ] || exit 0
mkdir -p /var/lib/shim-signed/mok; cd /var/lib/shim-signed/mok; umask 077
openssl req -new -x509 -newkey rsa:2048 -nodes -days 36500 -subj '/CN=an Ubuntu machine' -outform DER -out MOK.der -keyout MOK.priv
END
         chmod 755 /usr/bin/kmodsign /usr/sbin/update-secureboot-policy
         cd /srv; dpkg-deb -R /var/cache/apt/archives/linux-image-{new}_*.deb image
         echo 'interest-noawait linux-update-{new}' >image/DEBIAN/triggers
         cat >image/DEBIAN/postinst <<'END'
#!/bin/sh
set -e
case $1 in
triggered)
	for again in 1 2; do
		DEB_MAINT_PARAMS=\"configure \" run-parts --report --exit-on-error --arg={new} --arg=/boot/vmlinuz-{new} /etc/kernel/postinst.d
	done
	;;
configure)
	depmod {new}
	dpkg-trigger --no-await linux-update-{new}
	;;
esac
END
         chmod 755 image/DEBIAN/postinst; dpkg-deb -b image image.deb >/dev/null"
    ))?;
    machine.apt("install /srv/hello-dkms_1.0-1_all.deb")?;
    machine.has("hello/1.0", &old)?;
    let said = machine.apt(&format!("install /srv/image.deb linux-headers-{new}"))?;
    machine.has("hello/1.0", &new)?;
    ensure!(said.contains("Processing triggers for linux-image"), "no trigger\n{said}");
    summary(&said)?;
    // Signing needs no program, unless one is asked for.
    machine.bed.ok(&format!(
        "test -e /boot/initrd.img-{new}; test ! -e /var/lib/dkms/mok.key
         signed() {{ test \"$(modinfo -k $1 -F signer hello)\" = 'an Ubuntu machine'; }}
         signed {old}; signed {new}; test ! -e /root/kmodsign.log
         test \"$(cat /root/policy.log)\" = \"$(printf -- '--new-key notrigger=y\\n--enroll-key notrigger=y')\"
         echo 'sign_file=/usr/bin/kmodsign' >/etc/dkms/framework.conf.d/kmodsign.conf
         dkms unbuild hello/1.0 -k {new}; /etc/kernel/postinst.d/dkms {new}
         signed {new}; grep -q 'sha.* /var/lib/shim-signed/mok/MOK.priv /var/lib/shim-signed/mok/MOK.der ' /root/kmodsign.log"
    ))?;
    machine.has("hello/1.0", &new)?;
    machine.dpkg_is_clean()
}

/// A module package that goes leaves no module in an initramfs; one that was not in there costs no new image.
fn removal_and_initramfs() -> Result<()> {
    let machine = machine("trixie")?;
    let kernel = machine.installed_kernel()?;
    let holds = format!("lsinitramfs /boot/initrd.img-{kernel} | grep -c '/hello\\.ko'");
    machine
        .bed
        .ok(&format!("echo hello >>/etc/initramfs-tools/modules; update-initramfs -u -k {kernel} >/dev/null"))?;
    ensure!(machine.bed.sh(&holds)?.stdout.trim() == "1", "the test is wrong: hello is not in the initramfs");
    let said = machine.apt("purge hello-dkms")?;
    ensure!(said.matches("Renewing the initramfs").count() == 1, "not renewed, or twice\n{said}");
    ensure!(machine.bed.sh(&holds)?.stdout.trim() == "0", "it is still in the initramfs\n{said}");
    let said = machine.apt("purge acpi-call-dkms")?;
    ensure!(!said.contains("Renewing the initramfs"), "renewed for nothing\n{said}");
    machine.bed.ok("test -z \"$(ls -A /var/lib/dkms/.dkms/initramfs)\"")?;
    machine.dpkg_is_clean()
}

/// Before anything is unpacked: what will go wrong is said, and with `policy=fail`, or where a package is required, apt
/// stops.
fn preflight_stops() -> Result<()> {
    let machine = machine("trixie")?;
    let new = machine.bed.base().kernels[1].clone();
    let policy = "/etc/dkms/framework.conf.d/policy.conf";
    let both = format!("install linux-image-{new} linux-headers-{new}");
    machine.bed.write(policy, "policy=fail\n")?;
    let excluded = "printf 'BUILD_EXCLUSIVE_KERNEL=\"^5\"\\n' >/etc/dkms/hello.conf";
    let without = format!("install linux-image-{new}");
    let reason = format!("kernel {new} comes without its headers");
    let required = "DKMS_POLICY=required in /etc/dkms/hello.conf";
    for (apt, before, why, setting) in [
        (&without, "true".to_owned(), reason.as_str(), "policy=fail in /etc/dkms/framework.conf"),
        (&without, format!("rm {policy}; echo DKMS_POLICY=required >/etc/dkms/hello.conf"), &reason, required),
        (
            &both,
            format!("{excluded}; echo 'DKMS_POLICY=required # at any price' >>/etc/dkms/hello.conf"),
            "hello/1.0 is not meant for kernel",
            required,
        ),
    ] {
        let end = machine.bed.sh(&format!("exec 2>&1; {before}; apt-get -q -y {apt}"))?;
        let said = end.stdout;
        ensure!(end.code != 0 && said.contains(why) && said.contains(setting), "{why}: not stopped\n{said}");
        machine.bed.ok(&format!("test ! -e /lib/modules/{new} && test ! -e /boot/vmlinuz-{new}"))?;
        machine.dpkg_is_clean()?;
    }
    Ok(())
}

/// What its author excludes, and a guess about room, are said; they stop nothing, with policy=fail neither. Nor does a
/// preflight that is missing or broken.
fn preflight_goes_on() -> Result<()> {
    let machine = machine("trixie")?;
    let (newest, new) = (machine.bed.base().kernels[0].clone(), machine.bed.base().kernels[1].clone());
    let policy = "/etc/dkms/framework.conf.d/policy.conf";
    let both = format!("install linux-image-{new} linux-headers-{new}");
    let excluded = "printf 'BUILD_EXCLUSIVE_KERNEL=\"^5\"\\n' >/etc/dkms/hello.conf";
    machine.bed.write(policy, "policy=fail\n")?;
    let said = machine.bed.ok(&format!(
        "exec 2>&1; {excluded}; mount -t tmpfs -o size=59m tmpfs /boot; apt-get -q -y {both}
         cp -a /boot /srv/; umount /boot; cp -a /srv/boot/. /boot/"
    ))?;
    ensure!(said.contains("hello/1.0 is not meant for kernel"), "not said\n{said}");
    ensure!(said.contains("/boot has 59 MiB free, and the kernels that come take about 60 MiB"), "not said\n{said}");
    machine.has_not("hello/1.0", &new)?;
    machine.bed.ok("rm /etc/dkms/hello.conf; dkms reconcile --all-kernels 2>&1")?;
    has_both(&machine, &new)?;

    // Missing, or broken in any way that is not our code 10.
    machine.bed.ok(&format!("rm {policy}; mv /usr/lib/dkms/apt-preflight /root/"))?;
    machine.apt(&format!("install linux-image-{newest} linux-headers-{newest}"))?;
    has_both(&machine, &newest)?;
    for program in ["#!/bin/sh\nexit 1\n", "#!/bin/sh\nkill -9 $$\n", "#!/no/such/shell\n"] {
        machine.bed.write("/usr/lib/dkms/apt-preflight", program)?;
        machine.apt("install --reinstall linux-base")?;
    }
    machine.bed.ok("mv /root/apt-preflight /usr/lib/dkms/apt-preflight")?;
    machine.dpkg_is_clean()
}

/// A kernel that nobody wants any more goes by itself, with all that was built for it.
fn autoremove() -> Result<()> {
    let machine = machine("trixie")?;
    let old = machine.installed_kernel()?;
    let (newest, new) = (machine.bed.base().kernels[0].clone(), machine.bed.base().kernels[1].clone());
    machine
        .apt(&format!("install linux-image-{new} linux-headers-{new} linux-image-{newest} linux-headers-{newest}"))?;
    for kernel in [&old, &new, &newest] {
        has_both(&machine, kernel)?;
    }
    machine.bed.ok(&format!("apt-mark auto linux-image-{old} linux-headers-{old}"))?;
    let said = machine.apt("autoremove --purge")?;
    ensure!(said.contains(&format!("Removing linux-image-{old}")) && !said.contains("not empty"), "{said}");
    machine.bed.ok(&format!("test ! -e /lib/modules/{old}; test -z \"$(find /var/lib/dkms -name '{old}*')\""))?;
    for kernel in [&new, &newest] {
        has_both(&machine, kernel)?;
    }
    machine.has_not("hello/1.0", &old)?;
    machine.dpkg_is_clean()
}

/// An image under construction: the running kernel is the host's, and nothing is ever built for it.
fn never_the_hosts_kernel() -> Result<()> {
    let machine = Machine::ours("trixie")?;
    let (old, new) = (machine.installed_kernel()?, machine.bed.base().kernels[1].clone());
    let host = machine.bed.ok("uname -r")?.trim().to_owned();
    ensure!(!machine.bed.base().kernels.contains(&host), "this host runs a kernel of the bed");
    machine.make_module("hello", "1.0", 1, "")?;
    machine.make_module("hello", "2.0", 1, "")?;
    machine.apt(&format!("install linux-image-{new} linux-headers-{new}"))?;
    machine.bed.ok("rm /etc/dkms/framework.conf.d/autoinstall_all_kernels.conf")?;
    // First: all that are there.
    machine.apt("install /srv/hello-dkms_1.0-1_all.deb")?;
    machine.has("hello/1.0", &old)?;
    machine.has("hello/1.0", &new)?;
    // Upgrade: the newest gets the new one, and no other loses what it has.
    machine.apt("install /srv/hello-dkms_2.0-1_all.deb")?;
    machine.has("hello/2.0", &new)?;
    ensure!(
        machine.has("hello/1.0", &old).is_ok() || machine.has("hello/2.0", &old).is_ok(),
        "{:?}",
        machine.status()?
    );
    machine.bed.ok("/usr/lib/dkms/dkms_autoinstaller start")?;
    machine.bed.ok(&format!(
        "test ! -e /lib/modules/{host}; test -z \"$(find /var/lib/dkms -name '{host}*')\"; (! dkms status | grep -F '{host}')"
    ))?;
    machine.apt("purge hello-dkms")?;
    ensure!(machine.status()?.is_empty(), "left: {}", machine.status()?.join("\n"));
    machine.nothing_kept()?;
    machine.dpkg_is_clean()
}

/// apt is killed while a hook builds, and while a module package is configured: dpkg ends well.
fn killed() -> Result<()> {
    let machine = machine("trixie")?;
    let (old, new) = (machine.installed_kernel()?, machine.bed.base().kernels[1].clone());
    machine.make_module("slow", "1.0", 1, "")?;
    machine.make_module("slow", "1.0", 2, "")?;
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
        ("/srv/slow-dkms_1.0-1_all.deb".to_owned(), "grep -q Unpacking /tmp/log"),
        ("/srv/slow-dkms_1.0-1_all.deb".to_owned(), working),
        // Its upgrade, between the old prerm and the new files.
        ("/srv/slow-dkms_1.0-2_all.deb".to_owned(), "grep -q Keeping /tmp/log"),
    ] {
        let end = kill(&words, when)?;
        ensure!(end.stdout.contains("137"), "not killed: {}", end.tail());
        // What was killed while its files were unpacked is none to configure: dpkg wants it installed again.
        let again = "dpkg-query -W -f '${db:Status-Eflag}' slow-dkms | grep -qx reinstreq";
        let mended = machine
            .bed
            .sh(&format!("exec 2>&1; dpkg --configure -a || {again} && apt-get -q -y -f install {words}"))?;
        ensure!(mended.code == 0, "not mended\n{}", mended.stdout);
        machine.dpkg_is_clean()?;
        has_both(&machine, &old)?;
        has_both(&machine, &new)?;
        if words.contains("slow") {
            machine.has("slow/1.0", &new)?;
            machine.has("slow/1.0", &old)?;
            // There again, as if for the first time; the last one is an upgrade.
            if when == working {
                machine.nothing_kept()?;
            } else {
                machine.apt("purge slow-dkms")?;
            }
        }
        machine.bed.ok("test -z \"$(ls -A /var/lib/dkms/.dkms/journal /var/lib/dkms/.dkms/work | grep -v :)\"")?;
    }
    Ok(())
}

fn main() -> ExitCode {
    let long = [Need::Long];
    Suite::new(&[Need::Bed, Need::Ours, Need::Packages])
        .case("install_and_remove_trixie", || install_and_remove("trixie"))
        .case_needing(&long, "install_and_remove_bookworm", || install_and_remove("bookworm"))
        .case_needing(&long, "headers_later", headers_later)
        .case_needing(&long, "headers_first", headers_first)
        .case_needing(&long, "kernel_and_module_at_once", kernel_and_module_at_once)
        .case_needing(&long, "one_module_fails", one_module_fails)
        .case_needing(&long, "ubuntu", ubuntu)
        .case_needing(&long, "removal_and_initramfs", removal_and_initramfs)
        .case("preflight_stops", preflight_stops)
        .case_needing(&long, "preflight_goes_on", preflight_goes_on)
        .case_needing(&long, "autoremove", autoremove)
        .case_needing(&long, "never_the_hosts_kernel", never_the_hosts_kernel)
        .case_needing(&long, "killed", killed)
        .main()
}
