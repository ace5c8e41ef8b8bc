//! Debian's module packages with our package `dkms`: replacement of the classic and back, upgrades that work and that
//! fail, removal, autopkgtest verdicts. Real apt and dpkg, no network.

use std::process::ExitCode;

use anyhow::{Result, ensure};
use dkms_tests::debian::{self, Machine, summary};
use dkms_tests::needs::Need;
use dkms_tests::suite::Suite;
use dkms_tests::transcript::Transcript;

/// The classic is replaced by ours and comes back; each understands what the other left.
fn replacement(suite: &str) -> Result<()> {
    let machine = Machine::classic(suite)?;
    machine.make_module("hello", "1.0", 1, "")?;
    // One that replaces a module of the kernel's own.
    machine.make_module("dummy", "99.0", 1, "")?;
    let kernel = machine.installed_kernel()?;
    let stock = machine.bed.ok(&format!("sha256sum $(modinfo -k {kernel} -F filename dummy)"))?;
    machine.apt("install bbswitch-dkms /srv/hello-dkms_1.0-1_all.deb /srv/dummy-dkms_99.0-1_all.deb")?;
    let before = machine.status()?;
    ensure!(before.len() == 3, "the classic installed\n{}", before.join("\n"));

    machine.install_ours()?;
    ensure!(machine.bed.ok("dkms --version")?.starts_with("dkms-4"), "ours is not there");
    ensure!(machine.status()? == before, "our status is\n{}", machine.status()?.join("\n"));
    machine.dpkg_is_clean()?;
    // Something of ours, for the classic to find: rebuilt, with our manifests.
    machine.bed.ok(&format!(
        "dkms unbuild hello/1.0 -k {kernel} && dkms install hello/1.0 -k {kernel} && test -e /lib/modules/{kernel}/.dkms-manifest.json"
    ))?;
    ensure!(machine.status()? == before, "after a rebuild our status is\n{}", machine.status()?.join("\n"));

    machine.install_classic()?;
    ensure!(machine.bed.ok("dkms --version")?.starts_with("dkms-3"), "the classic is not back");
    ensure!(machine.status()? == before, "its status is\n{}", machine.status()?.join("\n"));
    machine.dpkg_is_clean()?;
    machine.bed.ok("test -z \"$(find /lib/modules/ -name '.dkms-*')\"")?;
    machine.bed.ok(&format!(
        "dkms unbuild hello/1.0 -k {kernel}; dkms install hello/1.0 -k {kernel}; dkms uninstall dummy/99.0 -k {kernel}"
    ))?;
    let restored = machine.bed.ok(&format!("sha256sum $(modinfo -k {kernel} -F filename dummy)"))?;
    ensure!(restored == stock, "the kernel's own dummy did not come back: {restored}{stock}");
    machine.apt("purge hello-dkms dummy-dkms bbswitch-dkms")?;
    ensure!(machine.status()?.is_empty(), "left: {}", machine.status()?.join("\n"));
    Ok(())
}

/// Packages of the archive: what `dkms status` calls them, and how many modules each has.
const ARCHIVE: &[(&str, &str, usize)] = &[
    ("v4l2loopback-dkms", "v4l2loopback/", 1),
    ("acpi-call-dkms", "acpi-call/", 1),
    ("tp-smapi-dkms", "tp_smapi/", 3),
    ("ddcci-dkms", "ddcci/", 2),
    ("xtables-addons-dkms", "xtables-addons/", 20),
];

/// A fresh Debian 13: ours in place of the classic, then packages of the archive, as apt has them (one replaces a module of the
/// kernel's own); the classic comes back to the same modules, and takes them away.
fn archive_packages() -> Result<()> {
    let names: Vec<&str> = ARCHIVE.iter().map(|(name, ..)| *name).collect();
    let machine = Machine::on(&debian::fresh(&names)?)?;
    let kernel = machine.installed_kernel()?;
    // Every module, with what its file is made of; depmod knows each, and takes ours.
    let modules = || {
        machine.bed.ok(&format!(
            "cd /lib/modules/{kernel}/updates/dkms; for file in *.ko*; do name=${{file%%.ko*}}
                 [ \"$(modinfo -k {kernel} -F filename $name)\" = $PWD/$file ]
                 modinfo -k {kernel} -F vermagic $name | grep -q '^{kernel} '; sha256sum $file; done"
        ))
    };
    let kernels_own =
        |kernel: &str| machine.bed.ok(&format!("cd /lib/modules/{kernel}/kernel; find . -name '*.ko*' | sort"));
    let stock = kernels_own(&kernel)?;
    machine.install_ours()?;
    let said = machine.apt(&format!("install {}", names.join(" ")))?;
    let told = summary(&said)?;
    let before = machine.status()?;
    ensure!(before.len() == ARCHIVE.len(), "the status is\n{}\nafter\n{said}", before.join("\n"));
    for (_, id, _) in ARCHIVE {
        let installed =
            |line: &&String| line.starts_with(id) && line.contains(&format!(", {kernel}, x86_64: installed"));
        ensure!(before.iter().filter(installed).count() == 1, "no {id} in\n{}", before.join("\n"));
        ensure!(told.contains(id), "the summary has no {id}\n{told}");
    }
    let made = modules()?;
    let least: usize = ARCHIVE.iter().map(|(.., count)| count).sum();
    ensure!(made.lines().count() >= least, "fewer than {least} modules:\n{made}");
    machine.dpkg_is_clean()?;

    machine.install_classic()?;
    ensure!(machine.bed.ok("dkms --version")?.starts_with("dkms-3"), "the classic is not back");
    ensure!(machine.status()? == before, "the classic's status is\n{}", machine.status()?.join("\n"));
    ensure!(modules()? == made, "the modules have changed:\n{}\nfrom\n{made}", modules()?);
    machine.dpkg_is_clean()?;
    machine.apt(&format!("purge {}", names.join(" ")))?;
    ensure!(machine.status()?.is_empty(), "left: {}", machine.status()?.join("\n"));
    machine.bed.ok(&format!("test ! -e /lib/modules/{kernel}/updates/dkms"))?;
    ensure!(kernels_own(&kernel)? == stock, "the kernel's own modules have changed");
    machine.dpkg_is_clean()
}

/// A new revision, a new version, and back: the kernel always has a module, in the end the right one.
fn upgrades() -> Result<()> {
    let machine = Machine::ours("trixie")?;
    let kernel = machine.installed_kernel()?;
    for (version, revision) in [("1.0", 1), ("1.0", 2), ("2.0", 1)] {
        machine.make_module("hello", version, revision, "")?;
    }
    machine.make_module("hello", "3.0", 1, "#error this is no good")?;
    machine.apt("install /srv/hello-dkms_1.0-1_all.deb")?;
    machine.has("hello/1.0", &kernel)?;
    machine.apt("install /srv/hello-dkms_1.0-2_all.deb")?;
    machine.has("hello/1.0", &kernel)?;
    ensure!(machine.revision("hello", &kernel)? == "revision 2", "the new revision was not built");
    machine.apt("install /srv/hello-dkms_2.0-1_all.deb")?;
    machine.has("hello/2.0", &kernel)?;
    ensure!(machine.status()?.len() == 1, "the old version is still there:\n{}", machine.status()?.join("\n"));
    machine.nothing_kept()?;

    // One that builds nowhere: told, and no reason for every later run of apt to fail.
    let said = machine.apt("install /srv/hello-dkms_3.0-1_all.deb")?;
    let told = summary(&said)?;
    ensure!(told.contains("hello/3.0: build failed") && told.contains("hello/2.0 stays installed"), "not told\n{said}");
    machine.has("hello/2.0", &kernel)?;
    machine.dpkg_is_clean()?;
    let said = machine.apt("install --reinstall /srv/hello-dkms_3.0-1_all.deb")?;
    ensure!(!said.contains("Building module"), "the same was compiled again\n{said}");
    machine.has("hello/2.0", &kernel)?;
    machine.apt("install --allow-downgrades /srv/hello-dkms_2.0-1_all.deb")?;
    machine.has("hello/2.0", &kernel)?;
    machine.nothing_kept()?;

    // The same where the administrator wants failures to count.
    machine.bed.write("/etc/dkms/hello.conf", "DKMS_POLICY=required\n")?;
    let (code, said) = machine.try_apt("install /srv/hello-dkms_3.0-1_all.deb")?;
    ensure!(code != 0 && said.contains("this is no good"), "exit code {code}\n{said}");
    ensure!(said.contains("dpkg --configure -a"), "nothing says how to go on\n{said}");
    machine.has("hello/2.0", &kernel)?;
    let (code, said) = machine.try_apt("-f install")?;
    ensure!(code != 0, "the second try can't be any better\n{said}");
    machine.has("hello/2.0", &kernel)?;
    machine.apt("install --allow-downgrades /srv/hello-dkms_2.0-1_all.deb")?;
    machine.has("hello/2.0", &kernel)?;
    ensure!(machine.status()?.len() == 1, "something is left:\n{}", machine.status()?.join("\n"));
    machine.dpkg_is_clean()?;
    machine.nothing_kept()?;

    machine.apt("remove hello-dkms")?;
    ensure!(machine.status()?.is_empty(), "left: {}", machine.status()?.join("\n"));
    machine.bed.ok(&format!(
        "test ! -e /lib/modules/{kernel}/updates && test ! -e /lib/modules/{kernel}/.dkms-manifest.json"
    ))?;
    machine.dpkg_is_clean()
}

/// preinst fails, unpacking fails: the old package is what is installed, and so is its module.
fn failing_upgrades() -> Result<()> {
    let machine = Machine::ours("trixie")?;
    let kernel = machine.installed_kernel()?;
    machine.make_module("hello", "1.0", 1, "")?;
    machine.make_module("hello", "2.0", 1, "")?;
    machine.apt("install /srv/hello-dkms_1.0-1_all.deb")?;
    machine.bed.ok("cd /srv; for kind in preinst unpack; do
            rm -rf x; dpkg-deb -R hello-dkms_2.0-1_all.deb x
            case $kind in
            preinst) printf '#!/bin/sh\\nexit 1\\n' >x/DEBIAN/preinst; chmod 755 x/DEBIAN/preinst ;;
            unpack) mkdir -p x/usr/bin; echo >x/usr/bin/make ;; # somebody else's file
            esac
            dpkg-deb -b x bad-$kind.deb >/dev/null
         done")?;
    for kind in ["preinst", "unpack"] {
        let (code, said) = machine.try_apt(&format!("install /srv/bad-{kind}.deb"))?;
        ensure!(code != 0, "{kind} did not fail\n{said}");
        machine.has("hello/1.0", &kernel)?;
        // apt stops at the failure, and leaves our trigger to the next run.
        machine.bed.ok("dpkg --configure -a 2>&1")?;
        machine.dpkg_is_clean()?;
        machine.has("hello/1.0", &kernel)?;
        machine.bed.ok("test \"$(dpkg-query -W -f '${Version}' hello-dkms)\" = 1.0-1")?;
        machine.bed.ok("test \"$(readlink /var/lib/dkms/hello/1.0/source)\" = /usr/src/hello-1.0")?;
        machine.nothing_kept()?;
    }
    machine.apt("install /srv/hello-dkms_2.0-1_all.deb")?;
    machine.has("hello/2.0", &kernel)?;
    ensure!(machine.status()?.len() == 1, "the old version is still there:\n{}", machine.status()?.join("\n"));
    machine.dpkg_is_clean()
}

/// A package whose source is gone and one whose dkms.conf can't be evaluated harm nobody else.
fn bad_neighbours() -> Result<()> {
    let machine = Machine::ours("trixie")?;
    let kernel = machine.installed_kernel()?;
    machine.make_module("hello", "1.0", 1, "")?;
    machine.bed.ok(
        "mkdir -p /usr/src/gone-1 /usr/src/exits-1
         printf 'PACKAGE_NAME=gone\\nPACKAGE_VERSION=1\\nBUILT_MODULE_NAME=gone\\nDEST_MODULE_LOCATION=/updates\\nAUTOINSTALL=yes\\n' >/usr/src/gone-1/dkms.conf
         sed s/gone/exits/ /usr/src/gone-1/dkms.conf >/usr/src/exits-1/dkms.conf
         dkms add gone/1; dkms add exits/1
         rm -r /usr/src/gone-1; echo 'exit 3' >>/usr/src/exits-1/dkms.conf",
    )?;
    let said = machine.apt("install /srv/hello-dkms_1.0-1_all.deb")?;
    machine.has("hello/1.0", &kernel)?;
    ensure!(said.contains("hello/1.0 is installed for kernel"), "{said}");
    machine.apt("remove hello-dkms")?;
    let left = machine.status()?.join("\n");
    ensure!(left.contains("gone/1: broken") && left.contains("exits/1: added") && !left.contains("hello"), "{left}");
    machine.dpkg_is_clean()
}

/// After `apt remove dkms` our conffiles are there, and neither kernels nor apt notice. Modules that stay are named; one in the
/// place of the kernel's own goes on to be in images, also after a purge, until dkms is back.
fn removed_but_not_purged() -> Result<()> {
    let machine = Machine::ours("trixie")?;
    let kernel = machine.installed_kernel()?;
    machine.make_module("dummy", "99.0", 1, "")?;
    machine.bed.ok(&format!("dpkg -x /srv/dummy-dkms_99.0-1_all.deb / && dkms install dummy/99.0 -k {kernel}"))?;
    let said = machine.apt("remove dkms")?;
    for line in [
        "dkms: These modules stay installed, and no later kernel will have them:".to_owned(),
        format!("dkms:     dummy/99.0: {kernel} (x86_64)"),
        "dkms:     dkms remove dummy/99.0 --all".to_owned(),
    ] {
        ensure!(said.contains(&line), "no {line:?} in\n{said}");
    }
    machine.bed.ok("test -e /etc/kernel/postinst.d/dkms && test -e /etc/apt/apt.conf.d/50dkms")?;
    let said = machine.apt(&format!("install --reinstall linux-image-{}", machine.bed.base().kernels[1]))?;
    ensure!(!said.contains("not found") && !said.to_lowercase().contains("dkms:"), "{said}");
    let said = machine.bed.sh(&format!("for hook in /etc/kernel/*.d/dkms; do $hook {kernel} || exit; done 2>&1"))?;
    ensure!(said.code == 0 && said.stdout.is_empty(), "{}", said.tail());
    let in_image = || {
        machine.bed.ok(&format!(
            "update-initramfs -u -k {kernel} >&2; lsinitramfs /boot/initrd.img-{kernel} | grep -o '[a-z]*/dkms/dummy.ko'"
        ))
    };
    in_image()?;
    machine.apt("purge dkms")?;
    machine.bed.ok("test ! -e /etc/apt/apt.conf.d/50dkms && test ! -e /var/lib/dkms/.dkms")?;
    in_image()?;
    machine.dpkg_is_clean()?;

    machine.install_ours()?;
    machine.bed.ok("test ! -e /etc/initramfs-tools/hooks/dkms-left && dkms remove dummy/99.0 --all")?;
    ensure!(machine.status()?.is_empty(), "left: {}", machine.status()?.join("\n"));
    machine.bed.ok(&format!("modinfo -k {kernel} -F filename dummy | grep /kernel/"))?;
    ensure!(!machine.apt("remove dkms")?.contains("stay installed"), "nothing stays, and something is named");
    Ok(())
}

/// Whatever comes in one run of apt, each kernel's image is made once at its end; one that comes in it makes its own besides.
fn one_image() -> Result<()> {
    let machine = Machine::ours("trixie")?;
    let (old, newer, new) =
        (machine.installed_kernel()?, machine.bed.base().kernels[1].clone(), machine.bed.base().kernels[0].clone());
    machine.make_module("hello", "1.0", 1, "")?;
    machine.make_module("other", "1.0", 1, "")?;
    machine.make_module("third", "1.0", 1, "")?;
    machine.make_module("hello", "2.0", 1, "")?;
    machine.bed.write(
        "/etc/initramfs-tools/hooks/count",
        "#!/bin/sh\n[ \"$1\" = prereqs ] || echo \"$version $(ls /lib/modules/$version/updates/dkms | wc -l)\" >>/var/log/images\n",
    )?;
    machine.bed.ok("chmod 755 /etc/initramfs-tools/hooks/count")?;
    // The kernels whose image was made, with the number of modules that there were then.
    let made = |words: &str| -> Result<Vec<String>> {
        machine.bed.ok("rm -f /var/log/images")?;
        machine.apt(words)?;
        machine.dpkg_is_clean()?;
        let mut lines: Vec<String> =
            machine.bed.ok("cat /var/log/images 2>/dev/null || true")?.lines().map(str::to_owned).collect();
        lines.sort();
        Ok(lines)
    };
    let found = made("install /srv/hello-dkms_1.0-1_all.deb /srv/other-dkms_1.0-1_all.deb")?;
    ensure!(found == [format!("{old} 2")], "one kernel, two packages: {found:?}");
    machine.apt(&format!("install linux-image-{newer} linux-headers-{newer}"))?;
    let found = made("install /srv/hello-dkms_2.0-1_all.deb /srv/third-dkms_1.0-1_all.deb")?;
    let mut wanted = [format!("{old} 3"), format!("{newer} 3")];
    wanted.sort();
    ensure!(found == wanted, "two kernels, an upgrade and a package: {found:?}");
    let found = made(&format!("install --reinstall linux-image-{new} linux-headers-{new}"))?;
    ensure!(found.iter().all(|line| *line == format!("{new} 3")) && !found.is_empty(), "a kernel: {found:?}");
    machine.apt("purge third-dkms")?;
    machine.apt(&format!("purge linux-image-{new} linux-headers-{new}"))?;
    let found = made(&format!("install linux-image-{new} linux-headers-{new} /srv/third-dkms_1.0-1_all.deb"))?;
    let of = |kernel: &str| found.iter().filter(|line| line.starts_with(kernel)).collect::<Vec<_>>();
    ensure!(of(&old) == [&wanted[0]] || of(&old) == [&wanted[1]], "all at once: {found:?}");
    ensure!((1..=2).contains(&of(&new).len()) && of(&new).contains(&&format!("{new} 3")), "all at once: {found:?}");
    Ok(())
}

/// dkms-autopkgtest says the same of five packages with the classic and with ours: one is not meant for the kernel (it
/// needs a subsystem that small kernels lack), one can't be built.
fn autopkgtest() -> Result<()> {
    let packages =
        ["acpi-call-dkms", "bbswitch-dkms", "v4l2loopback-dkms", "lime-forensics-dkms", "/srv/bad-dkms_1.0-1_all.deb"];
    let verdicts = |ours: bool| -> Result<Vec<String>> {
        let machine = if ours { Machine::ours("trixie")? } else { Machine::classic("trixie")? };
        machine.make_module("bad", "1.0", 1, "#error this is no good")?;
        packages
            .iter()
            .map(|package| {
                let end = machine.bed.sh(&format!("cd /root; /usr/lib/dkms/dkms-autopkgtest {package} 2>&1"))?;
                let name = package.rsplit('/').next().unwrap_or(package).split('_').next().unwrap_or(package);
                let name = name.trim_end_matches("-dkms");
                let status: Vec<_> = machine.status()?.into_iter().filter(|line| line.starts_with(name)).collect();
                Ok(format!("{package}: {} {}\n", end.code, status.join("; ")))
            })
            .collect()
    };
    let (classic, ours) = (verdicts(false)?, verdicts(true)?);
    ensure!(classic == ours, "classic:\n{}\nours:\n{}", classic.join(""), ours.join(""));
    let good = ours.iter().filter(|verdict| verdict.contains(": 0 ") && verdict.contains("installed")).count();
    ensure!(good == 3, "not three good ones:\n{}", ours.join(""));
    Ok(())
}

/// unattended-upgrades has the summary in its log, from which it makes its mails.
fn unattended_upgrades() -> Result<()> {
    let machine = Machine::ours("trixie")?;
    let kernel = machine.installed_kernel()?;
    machine.make_module("hello", "1.0", 1, "")?;
    machine.make_module("hello", "2.0", 1, "")?;
    machine.apt("install unattended-upgrades /srv/hello-dkms_1.0-1_all.deb")?;
    machine.bed.ok(
        "mkdir /srv/repo; cd /srv/repo; mv ../hello-dkms_2.0-1_all.deb .; dpkg-scanpackages . 2>/dev/null >Packages
         { printf 'Origin: tests\\nLabel: tests\\nSuite: tests\\nDate: %s\\nSHA256:\\n' \"$(date -uR)\"
           echo \" $(sha256sum Packages | cut -d' ' -f1) $(stat -c %s Packages) Packages\"; } >Release
         rm -f /etc/apt/sources.list /etc/apt/sources.list.d/*
         echo 'deb [trusted=yes] file:/srv/repo ./' >/etc/apt/sources.list.d/tests.list
         apt-get -q update >/dev/null
         echo 'Unattended-Upgrade::Origins-Pattern { \"origin=tests\"; };' >/etc/apt/apt.conf.d/51tests
         unattended-upgrade",
    )?;
    machine.has("hello/2.0", &kernel)?;
    let log = machine.bed.read("/var/log/unattended-upgrades/unattended-upgrades-dpkg.log")?;
    ensure!(summary(&log)?.contains("installed hello/2.0"), "{log}");
    machine.dpkg_is_clean()
}

/// The newcomer's way, as the guide shows it: install, lose the headers, be told, mend it with the command shown.
fn as_the_guide_shows() -> Result<()> {
    let machine = Machine::classic("trixie")?;
    let old = machine.installed_kernel()?;
    let new = machine.bed.kernel()?.to_owned();
    machine.bed.ok("cp /srv/ours/dkms_*.deb /root/")?;
    let names = [("6.12.1-old", old.as_str()), ("6.12.2-new", new.as_str())];
    Transcript::read("docs/guide/first-upgrade.md", "Debian", &names)?.replay(&machine.bed)
}

/// What is held stays as it is, whatever apt does; afterwards it is taken up again, and what nothing needs goes.
fn hold_and_prune() -> Result<()> {
    let machine = Machine::ours("trixie")?;
    let kernel = machine.installed_kernel()?;
    for name in ["hello", "other"] {
        for version in ["1.0", "2.0"] {
            machine.make_module(name, version, 1, "")?;
        }
    }
    machine.apt("install /srv/hello-dkms_1.0-1_all.deb /srv/other-dkms_1.0-1_all.deb")?;
    machine.bed.ok("dkms hold hello")?;
    machine.apt("install /srv/hello-dkms_2.0-1_all.deb /srv/other-dkms_2.0-1_all.deb")?;
    machine.dpkg_is_clean()?;
    machine.has("other/2.0", &kernel)?;
    machine.bed.ok(&format!("[ \"$(modinfo -k {kernel} -F version hello)\" = 1.0 ]"))?;
    let health = machine.bed.ok("dkms doctor")?;
    ensure!(health.contains("it is held") && health.starts_with("Healthy"), "doctor says\n{health}");
    machine.bed.ok("dkms prune --yes >/root/pruned; dkms unhold hello; dkms reconcile")?;
    machine.has("hello/2.0", &kernel)?;
    // A version that somebody has added by hand, and never installed.
    machine.bed.ok("cp -a /usr/src/hello-2.0 /usr/src/hello-1.5; sed -i s/2.0/1.5/ /usr/src/hello-1.5/dkms.conf; dkms add hello/1.5")?;
    let shown = machine.bed.ok("dkms prune")?;
    ensure!(shown.contains("Would delete hello/1.5") && shown.contains("dkms prune --yes"), "prune says\n{shown}");
    machine.bed.ok("dkms prune --yes")?;
    machine.has("hello/2.0", &kernel)?;
    ensure!(machine.status()?.len() == 2, "left: {}", machine.status()?.join("\n"));
    machine.apt("purge hello-dkms other-dkms")?;
    ensure!(machine.status()?.is_empty(), "left: {}", machine.status()?.join("\n"));
    machine.dpkg_is_clean()
}

fn main() -> ExitCode {
    let long = [Need::Long];
    Suite::new(&[Need::Bed, Need::Ours, Need::Packages])
        .case_needing(&long, "replacement_trixie", || replacement("trixie"))
        .case_needing(&long, "replacement_bookworm", || replacement("bookworm"))
        .case_needing(&long, "archive_packages", archive_packages)
        .case("as_the_guide_shows", as_the_guide_shows)
        .case("upgrades", upgrades)
        .case_needing(&long, "failing_upgrades", failing_upgrades)
        .case_needing(&long, "one_image", one_image)
        .case("bad_neighbours", bad_neighbours)
        .case_needing(&long, "removed_but_not_purged", removed_but_not_purged)
        .case_needing(&long, "hold_and_prune", hold_and_prune)
        .case_needing(&long, "autopkgtest", autopkgtest)
        .case_needing(&long, "unattended_upgrades", unattended_upgrades)
        .main()
}
