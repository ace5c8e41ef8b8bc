//! The Arch family: real pacman (7 and 6), real transactions, in roots of their own.

mod life;
mod machine;

use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use dkms_tests::needs::Need;
use dkms_tests::observe::Observation;
use dkms_tests::suite::Suite;
use dkms_tests::transcript::Transcript;
use life::life;
use machine::{Arch, says, silent};

const NEW: &str = "7.2.14-arch1-1";
const OLD: &str = "7.2.13-arch1-1";
const LTS: &str = "6.12.95-1-lts";

const BASE: &str = "linux-7.2.13.arch1-1 linux-headers-7.2.13.arch1-1 linux-lts-6.12.95-1 linux-lts-headers-6.12.95-1";
const NEXT: &str = "linux-7.2.14.arch1-1 linux-headers-7.2.14.arch1-1 linux-lts-6.12.95-1 linux-lts-headers-6.12.95-1";
const REAL: &str = "acpi-call-dkms-* bbswitch-dkms-*";

/// Globs of the pool, for `repo`.
fn with_real(arch: &Arch, packages: &str) -> Result<()> {
    let real = arch.0.ok(&format!("cd /srv/pool; for f in {REAL}; do echo ${{f%-x86_64.pkg.tar}}; done"))?;
    arch.archive(&format!("{packages} {}", real.replace('\n', " ")))
}

/// What the package holds; and that what rebuilds needs no library that a transaction could replace.
fn packaged(arch: &Arch) -> Result<()> {
    let files = arch.pacman("-Ql dkms")?;
    for file in [
        "/usr/bin/dkms",
        "/usr/share/libalpm/scripts/dkms",
        "/usr/share/libalpm/hooks/00-dkms-preflight.hook",
        "/usr/share/libalpm/hooks/70-dkms-install.hook",
        "/usr/share/libalpm/hooks/70-dkms-upgrade.hook",
        "/usr/share/libalpm/hooks/71-dkms-remove.hook",
        "/usr/share/libalpm/hooks/zz-dkms-summary.hook",
        "/usr/lib/dkms/dkms-alpm-preflight",
        "/usr/lib/systemd/system/dkms.service",
        "/usr/share/man/man8/dkms.8.gz",
        "/usr/share/man/man5/dkms.conf.5.gz",
        "/usr/share/bash-completion/completions/dkms",
        "/usr/share/zsh/site-functions/_dkms",
        "/usr/share/fish/vendor_completions.d/dkms.fish",
        "/etc/dkms/framework.conf",
    ] {
        ensure!(files.lines().any(|line| line == format!("dkms {file}")), "{file} is missing in\n{files}");
    }
    let needed = arch
        .0
        .ok("readelf -d /usr/bin/dkms /usr/share/libalpm/scripts/dkms | sed -n 's/.*NEEDED.*\\[\\(.*\\)\\]/\\1/p'")?;
    let libc = |library: &str| ["libc.so", "libgcc_s.so", "libm.so", "ld-linux"].iter().any(|l| library.starts_with(l));
    ensure!(needed.lines().all(libc), "needed libraries:\n{needed}");
    Ok(())
}

/// What replaces a module: a version that comes with a new kernel, one that builds nowhere, its mended successor.
fn upgrades(suite: &'static str) -> Result<()> {
    let arch = Arch::ours(suite)?;
    arch.archive(&format!("{BASE} hello-dkms-1.0-1 worse-dkms-1.0-1"))?;
    arch.pacman("-Sy linux linux-headers linux-lts linux-lts-headers hello-dkms worse-dkms")?;
    arch.has(&[(OLD, "hello 1.0"), (OLD, "worse 1.0"), (LTS, "hello 1.0"), (LTS, "worse 1.0")])?;
    arch.observed()?;

    // A kernel and a module in one transaction.
    arch.archive(&format!("{NEXT} hello-dkms-2.0-1 worse-dkms-1.0-1"))?;
    let said = arch.pacman("-Syu")?;
    arch.has(&[(NEW, "hello 2.0"), (NEW, "worse 1.0"), (LTS, "hello 2.0"), (LTS, "worse 1.0")])?;
    silent(&said, &[") is missing", "stays installed"])?;
    let observed = arch.observed()?;
    says(&observed, &[&format!("60 {OLD} hello 1.0"), &format!("pre {LTS} hello 1.0")])?;
    for hook in ["90", "dracut"] {
        says(&observed, &[&format!("{hook} {NEW} hello 2.0"), &format!("{hook} {LTS} hello 2.0")])?;
    }
    silent(&observed, &["unknown-to-depmod", &format!("90 {OLD}")])?;
    silent(&arch.0.ok("dkms status; ls /usr/lib/modules")?, &[OLD, "hello/1.0", "broken"])?;

    // A version that builds nowhere: what it replaces goes on serving, and that is said.
    arch.archive(&format!("{NEXT} hello-dkms-2.0-1 worse-dkms-2.0-1"))?;
    let said = arch.pacman("-Syu")?;
    says(
        &said,
        &[&format!("{NEW} (x86_64) is missing"), "worse/2.0", "this version is broken", "worse/1.0 stays installed"],
    )?;
    let after = [(NEW, "hello 2.0"), (NEW, "worse 1.0"), (LTS, "hello 2.0"), (LTS, "worse 1.0")];
    arch.has(&after)?;
    arch.0.ok(&format!("grep failed /var/lib/dkms/.dkms/records/worse/2.0/{NEW}/x86_64.json"))?;
    // It is the last thing that pacman says.
    let summary = said.rfind("DKMS summary").context("no summary")?;
    ensure!(!said[summary..].contains("Running post-transaction hooks"), "{said}");
    // Nor does a transaction about something else take it away, or try in vain again.
    arch.archive(&format!("{NEXT} hello-dkms-2.0-2 worse-dkms-2.0-1"))?;
    arch.pacman("-Syu")?;
    arch.has(&after)?;
    // The mended version takes the place of both.
    arch.archive(&format!("{NEXT} hello-dkms-2.0-2 worse-dkms-3.0-1"))?;
    let said = arch.pacman("-Syu")?;
    silent(&said, &[") is missing", "stays installed"])?;
    arch.has(&[(NEW, "hello 2.0"), (NEW, "worse 3.0"), (LTS, "hello 2.0"), (LTS, "worse 3.0")])?;
    silent(&arch.0.ok("dkms status")?, &["worse/1.0", "worse/2.0", "broken"])
}

/// Headers that don't come with their kernel are named before and after; they may come later.
fn headers(suite: &'static str) -> Result<()> {
    let arch = Arch::ours(suite)?;
    arch.archive(&format!("{BASE} hello-dkms-1.0-1"))?;
    let said = arch.pacman("-Sy linux-lts hello-dkms")?;
    says(&said, &["comes without its headers", "pacman -S linux-lts-headers", ") is missing"])?;
    arch.has(&[])?;
    // No hook of the initramfs looks for headers: it is renewed by us. Not if there is none.
    arch.0.write("/usr/bin/mkinitcpio", "#!/bin/sh\necho \"$@\" >>/var/log/images\n")?;
    arch.0.ok("touch /boot/initramfs-linux-lts.img")?;
    let said = arch.pacman("-S linux-lts-headers")?;
    arch.has(&[(LTS, "hello 1.0")])?;
    silent(&said, &[") is missing", "without its headers"])?;
    ensure!(arch.0.read("/var/log/images")? == format!("-k {LTS} -g /boot/initramfs-linux-lts.img\n"));
    // Headers that go take no module with them.
    let said = arch.pacman("-R linux-lts-headers")?;
    silent(&said, &[") is missing"])?;
    arch.has(&[(LTS, "hello 1.0")])?;
    arch.pacman("-S linux-lts-headers")?;

    // A partial upgrade: headers of the old kernel only.
    arch.pacman("-S linux linux-headers")?;
    arch.archive(&format!("{NEXT} hello-dkms-1.0-1"))?;
    let said = arch.pacman("-Sy linux")?;
    says(
        &said,
        &["linux-headers 7.2.13.arch1-1 is installed, which is for another kernel", "pacman -Syu linux-headers"],
    )?;
    let said = arch.pacman("-S linux-headers")?;
    silent(&said, &[") is missing"])?;
    arch.has(&[(LTS, "hello 1.0"), (NEW, "hello 1.0")])?;
    ensure!(arch.0.read("/var/log/images")?.lines().count() == 1, "{}", arch.0.read("/var/log/images")?);
    Ok(())
}

/// The newcomer's way, as the guide shows it.
fn as_the_guide_shows(suite: &'static str) -> Result<()> {
    let arch = Arch::bare(suite)?;
    arch.archive(&format!("{BASE} hello-dkms-1.0-1"))?;
    Transcript::read("docs/guide/first-upgrade.md", "Arch", &[])?.replay(&arch.0)
}

/// Policy decides whether what is foreseen stops the transaction; a preflight that does not work never does.
fn preflight(suite: &'static str) -> Result<()> {
    let arch = Arch::ours(suite)?;
    arch.archive(&format!("{BASE} old-dkms-1.0-1 byhand-dkms-1.0-1"))?;
    // A package that does not ask for AUTOINSTALL is installed all the same, as it always was on Arch.
    arch.pacman("-Sy linux linux-headers old-dkms byhand-dkms")?;
    arch.has(&[(OLD, "old 1.0"), (OLD, "byhand 1.0")])?;
    arch.archive(&format!("{NEXT} old-dkms-1.0-1 byhand-dkms-1.0-1"))?;
    arch.observed()?;
    // Who can't do without a package that is not meant for the kernel says so.
    arch.0.write("/etc/dkms/old.conf", "DKMS_POLICY=required\n")?;
    let refused = arch.0.sh("pacman --noconfirm -Syu 2>&1")?;
    says(
        &refused.stdout,
        &[
            "old/1.0 is not meant for kernel",
            "DKMS refuses this transaction: stopped by DKMS_POLICY=required in /etc/dkms/old.conf",
        ],
    )?;
    ensure!(refused.code != 0, "pacman went on:\n{}", refused.stdout);
    arch.has(&[(OLD, "old 1.0"), (OLD, "byhand 1.0")])?;
    // No other hook has run by then: some take away the images of the kernel that is to be replaced.
    ensure!(arch.observed()?.is_empty(), "a hook ran before the transaction was refused");
    arch.0.ok("rm /etc/dkms/old.conf")?;
    arch.0.write("/etc/dkms/framework.conf.d/policy.conf", "policy=fail\n")?;
    let refused = arch.0.sh("pacman --noconfirm -S linux-lts 2>&1")?;
    says(&refused.stdout, &["pacman -S linux-lts-headers", "DKMS refuses this transaction: stopped by policy=fail"])?;
    ensure!(refused.code != 0 && arch.0.sh(&format!("test -e /usr/lib/modules/{LTS}"))?.code == 1, "pacman went on");

    // Linked to a libalpm that is not there.
    let program = "/usr/lib/dkms/dkms-alpm-preflight";
    arch.0.ok(&format!("sed -i 's/libalpm[.]so[.]1/libalpm.so.9/' {program}; (! {program} </dev/null 2>/dev/null)"))?;
    let said = arch.pacman("-S linux-lts linux-lts-headers")?;
    says(&said, &["DKMS did not check this transaction beforehand"])?;
    arch.has(&[(OLD, "old 1.0"), (OLD, "byhand 1.0"), (LTS, "old 1.0"), (LTS, "byhand 1.0")])?;

    // Missing altogether; and by policy warn the upgrade goes on, without the module that is not for that kernel.
    arch.0.ok(&format!("rm {program} /etc/dkms/framework.conf.d/policy.conf"))?;
    arch.pacman("-Syu")?;
    arch.has(&[(NEW, "byhand 1.0"), (LTS, "old 1.0"), (LTS, "byhand 1.0")])
}

/// A package is what its directory is called, whatever its dkms.conf says; copies that an earlier version of ours made of such
/// a directory go, and what nobody's package brought stays.
fn directories(suite: &'static str) -> Result<()> {
    let arch = Arch::ours(suite)?;
    arch.archive(&format!("{BASE} odd-dkms-1.0-1"))?;
    arch.pacman("-Sy linux linux-headers odd-dkms")?;
    let is = |release: &str, package: &str, module: &str| -> Result<()> {
        arch.has(&[(release, module)])?;
        let found = arch.0.ok("dkms status; ls -d /usr/src/odd-*; readlink /var/lib/dkms/odd/*/source")?;
        let (name, version) = package.split_once(" in ").unwrap_or((package, ""));
        let source = format!("/usr/src/odd-{}", if version.is_empty() { &name[4..] } else { version });
        ensure!(found == format!("{name}, {release}, x86_64: installed\n{source}\n{source}\n"), "{found}");
        Ok(())
    };
    is(OLD, "odd/1.0", "odd 1.0")?;
    arch.archive(&format!("{BASE} odd-dkms-1.1-1"))?;
    arch.pacman("-Syu")?;
    is(OLD, "odd/1.1", "odd 1.1")?;

    // As it was registered once: from a copy, which an upgrade or a removal of the package does not reach.
    let as_once = |number: &str, release: &str| {
        arch.0.ok(&format!(
            "dkms remove odd/{number} --all; dkms add /usr/src/odd-1.1; echo '#error old' >/usr/src/odd-9/odd.c
             dkms status odd | grep -q odd/9 && cp -a /usr/src/odd-1.1/odd.c /tmp/ && cp /tmp/odd.c /usr/src/odd-9/
             dkms install odd/9 -k {release}; echo '#error old' >/usr/src/odd-9/odd.c"
        ))
    };
    as_once("1.1", OLD)?;
    arch.archive(&format!("{NEXT} odd-dkms-1.1-1"))?;
    arch.pacman("-Syu")?;
    is(NEW, "odd/9 in 1.1", "odd 1.1")?;
    as_once("9", NEW)?;
    // An administrator's own.
    arch.0.ok("cp -a /usr/src/odd-1.1 /usr/src/mine-2; sed -i 's/odd/mine/; s/=\"9\"/=2/' /usr/src/mine-2/dkms.conf
               sed -i 's/odd/mine/' /usr/src/mine-2/Makefile; mv /usr/src/mine-2/odd.c /usr/src/mine-2/mine.c; dkms add mine/2")?;
    arch.pacman("-R odd-dkms")?;
    let left = arch.0.ok("dkms status; ls /usr/src; ls /usr/lib/modules/*/updates/dkms || true")?;
    ensure!(!left.contains("odd") && left.contains("mine/2: added"), "left: {left}");
    Ok(())
}

/// Names are compared whole, and what another package of ours has installed is nobody's original.
fn another_package_s_module(suite: &'static str) -> Result<()> {
    let arch = Arch::ours(suite)?;
    arch.archive(&format!("{BASE} nv-dkms-1.0-1"))?;
    arch.pacman("-Sy linux linux-headers nv-dkms")?;
    arch.has(&[(OLD, "nv 1.0")])?;
    // It does not look as if nv came in another version: its modules and its source go before the transaction.
    arch.archive(&format!("{BASE} nv-ng-dkms-2.0-1"))?;
    arch.pacman("-Syu --ask 4")?;
    arch.has(&[(OLD, "nv 2.0")])?;
    let status = arch.0.ok("dkms status; find /var/lib/dkms -name original_module")?;
    ensure!(status == format!("nv-ng/2.0, {OLD}, x86_64: installed\n"), "{status}");
    arch.pacman("-R nv-ng-dkms")?;
    arch.has(&[])?;

    // The same by hand, with both registered; once more where the classic or an earlier version of ours has archived it.
    arch.0.ok("for number in 1.0 2.0; do bsdtar -C / -xf /srv/pool/nv*-dkms-$number-1-x86_64.pkg.tar usr/src; done")?;
    for archived in [false, true] {
        arch.0.ok(&format!(
            "k={OLD} d=/var/lib/dkms/nv-ng/original_module/{OLD}/x86_64
             dkms install nv/1.0 -k $k; dkms install nv-ng/2.0 -k $k; [ ! -e $d ]
             if {archived}; then mkdir -p $d; cp /var/lib/dkms/nv/1.0/$k/x86_64/module/*.ko* $d/
                 for f in $d/*; do echo /usr/lib/modules/$k/updates/dkms/${{f##*/}} >$f.origin; done; fi
             [ \"$(modinfo -k $k -F version nv)\" = 2.0 ]
             dkms remove nv/1.0 --all; [ ! -e $d ]"
        ))?;
        arch.has(&[(OLD, "nv 2.0")])?;
        arch.0.ok("dkms remove nv-ng/2.0 --all")?;
        arch.has(&[])?;
    }
    Ok(())
}

/// libalpm itself is replaced in the transaction that brings a kernel.
fn libalpm(suite: &'static str) -> Result<()> {
    let arch = Arch::ours(suite)?;
    arch.archive(&format!("{BASE} hello-dkms-1.0-1"))?;
    arch.pacman("-Sy linux linux-headers hello-dkms")?;
    arch.pacman("-U --overwrite '*' /srv/pool/libalpm-1-1-x86_64.pkg.tar")?;
    arch.archive(&format!("{NEXT} hello-dkms-1.0-1 libalpm-2-1"))?;
    arch.pacman("-Syu")?;
    ensure!(arch.0.sh("pacman --version")?.code == 127, "libalpm is still there");
    arch.has(&[(NEW, "hello 1.0")])
}

/// The kernel that runs: when its files go, the user is told. What failed for it, the boot unit knows.
fn running(suite: &'static str) -> Result<()> {
    let arch = Arch::ours(suite)?;
    let packages = "linux-running-1-1 linux-running-headers-1-1";
    arch.archive(&format!("{packages} hello-dkms-1.0-1 worse-dkms-2.0-1"))?;
    let release = arch.0.ok("uname -r")?.trim().to_owned();
    // It fails as long as something is missing.
    let boot = |code: i32| {
        let unit = arch.0.sh("$(sed -n 's/^ExecStart=//p' /usr/lib/systemd/system/dkms.service) 2>&1")?;
        ensure!(unit.code == code, "the boot unit: {} instead of {code}\n{}", unit.code, unit.tail());
        Ok::<_, anyhow::Error>(unit.stdout)
    };
    let said = arch.pacman("-Sy linux-running hello-dkms")?;
    says(&said, &[") is missing", "pacman -S linux-running-headers"])?;
    says(&boot(11)?, &[") is missing", "hello/1.0", "linux-running-headers"])?;
    // Headers that came behind the back of the hooks.
    arch.0.ok("cd /usr/share/libalpm; mv hooks away; mkdir hooks")?;
    arch.pacman("-S linux-running-headers")?;
    arch.0.ok("cd /usr/share/libalpm; rmdir hooks; mv away hooks")?;
    arch.has(&[])?;
    says(&boot(0)?, &["installed hello/1.0"])?;
    arch.has(&[(&release, "hello 1.0")])?;
    // What failed is told at the boot, and not tried again while nothing has changed.
    says(&arch.pacman("-S worse-dkms")?, &[") is missing", "worse/2.0"])?;
    let said = boot(11)?;
    says(&said, &[") is missing", "worse/2.0", "this version is broken"])?;
    silent(&said, &["Building module"])?;

    let said = arch.pacman("-R linux-running linux-running-headers")?;
    says(&said, &[&format!("The running kernel {release} has been removed"), "Reboot"])?;
    ensure!(arch.0.sh(&format!("test -e /usr/lib/modules/{release}"))?.code == 1, "it is still there");
    silent(&arch.0.ok("dkms status")?, &[&release])?;
    // Nothing is built for it any more.
    arch.archive("hello-dkms-2.0-1")?;
    let said = arch.pacman("-Syu")?;
    silent(&said, &[") is missing", &release])?;
    ensure!(arch.0.sh(&format!("test -e /usr/lib/modules/{release}"))?.code == 1, "it is there again");
    arch.has(&[])
}

/// From outside (`--root`, `--sysroot`), as pacstrap does it: dkms, a kernel and a module in one transaction. The
/// kernel that runs is somebody else's.
fn outside(suite: &'static str) -> Result<()> {
    let root = "--root /target --hookdir /target/usr/share/libalpm/hooks";
    // pacman itself mounts nothing in there.
    for (words, mounts) in [("--sysroot /target", "dev proc sys"), (root, "dev proc sys"), (root, "")] {
        let arch = Arch::bare(suite)?;
        let release = arch.0.ok("uname -r")?.trim().to_owned();
        arch.0.ok("zstd -q -d /srv/dkms.pkg.tar.zst -o /srv/pool/dkms-4-1-x86_64.pkg.tar; mkdir -p /target")?;
        arch.archive(&format!("{BASE} hello-dkms-1.0-1 linux-running-1-1 linux-running-headers-1-1 dkms-4-1"))?;
        // Another root that has the same tools: what changes in it is kept in the bed's exchange directory.
        let inside = |script: &str| {
            arch.0
                .ok(&format!(
                    "mkdir -p /mnt/upper /mnt/work
                     mount -t overlay overlay -o lowerdir=/,upperdir=/mnt/upper,workdir=/mnt/work /target
                     for name in {mounts}; do mount --rbind /$name /target/$name; done
                     [ -e /target/dev/null ] || mknod -m 666 /target/dev/null c 1 3
                     {script}"
                ))
                .with_context(|| format!("with {words}, and mounted: {mounts}"))
        };
        let pacman = |operation: &str| inside(&format!("pacman --noconfirm {words} {operation} 2>&1"));
        let modules = || {
            inside("cd /target/usr/lib/modules; ls -d */updates/dkms/*.ko* | sed 's,/updates/dkms/, ,; s,[.]ko.*,,'")
        };
        let tools: String = ["gcc", "make", "kmod", "patch", "bash", "coreutils", "binutils"]
            .map(|tool| format!("--assume-installed {tool}=99 "))
            .concat();
        let said = pacman(&format!("-Sy {tools} --overwrite '*' dkms linux linux-headers hello-dkms"))?;
        if mounts.is_empty() {
            // Nothing can be built without /proc; it is said, and made up for when there is one.
            says(&said, &["No modules are built", "/proc"])?;
            let (_, mend) = said.rsplit_once("run there: ").context("no advice")?;
            inside(&format!("mount -t proc proc /target/proc; chroot /target bash -ec '{}' 2>&1", mend.trim()))?;
        }
        ensure!(modules()? == format!("{OLD} hello\n"), "{}\n{said}", modules()?);
        silent(&inside("ls /target/usr/lib/modules /target/var/lib/dkms/hello/1.0")?, &[&release])?;
        // A kernel that happens to be called as the running one is not the running one.
        pacman("-S linux-running linux-running-headers")?;
        silent(&pacman("-R linux-running linux-running-headers")?, &["Reboot"])?;
        ensure!(modules()? == format!("{OLD} hello\n"), "{}", modules()?);
        // Nothing was done outside.
        ensure!(arch.modules()?.is_empty(), "{}", arch.modules()?);
    }
    Ok(())
}

/// The classic takes our place and finds everything; ours comes back, and finds it too.
fn to_the_classic_and_back(suite: &'static str) -> Result<()> {
    let arch = Arch::ours(suite)?;
    arch.pack_classic(suite)?;
    arch.archive(&format!("{BASE} hello-dkms-1.0-1"))?;
    arch.pacman("-Sy linux linux-headers hello-dkms")?;
    arch.0.ok("echo '# mine' >>/etc/dkms/framework.conf; echo REMAKE_INITRD=no >/etc/dkms/hello.conf")?;
    let state = || {
        arch.0.ok(
            "find /usr/lib/modules/ -name 'hello.ko*' -exec sha256sum {} +; grep -x '# mine' /etc/dkms/framework.conf
             cat /etc/dkms/hello.conf; dkms status",
        )
    };
    let before = state()?;
    ensure!(before.contains(&format!("hello/1.0, {OLD}, x86_64: installed")), "{before}");

    arch.pacman("-Udd /srv/classic.pkg.tar")?;
    says(&arch.0.ok("dkms --version; pacman -Q dkms")?, &["dkms-3.", "dkms 3.2.2-1"])?;
    arch.0.ok("test ! -e /usr/lib/dkms/dkms-alpm && test ! -e /usr/share/libalpm/hooks/zz-dkms-summary.hook")?;
    ensure!(state()? == before, "the classic has\n{}\ninstead of\n{before}", state()?);
    // The next kernel is the classic's work, the one after it ours.
    arch.archive(&format!("{BASE} hello-dkms-1.0-1"))?;
    arch.pacman("-Sy linux-lts linux-lts-headers")?;
    arch.has(&[(OLD, "hello 1.0"), (LTS, "hello 1.0")])?;
    arch.pacman("-Udd /srv/dkms.pkg.tar.zst")?;
    says(&arch.0.ok("dkms --version")?, &["dkms-4."])?;
    says(
        &state()?,
        &["# mine", &format!("hello/1.0, {LTS}, x86_64: installed"), before.lines().next().unwrap_or("?")],
    )?;
    arch.archive(&format!("{NEXT} hello-dkms-1.0-1"))?;
    arch.pacman("-Syu")?;
    arch.has(&[(NEW, "hello 1.0"), (LTS, "hello 1.0")])?;
    arch.pacman("-R hello-dkms")?;
    arch.has(&[])
}

/// What the packaged hooks leave (docs/contract.md 9.4), ours leave too, after each transaction.
fn as_the_classic(suite: &'static str) -> Result<()> {
    let ours = Arch::ours(suite)?;
    let classic = Arch::classic(suite)?;
    // One key for both.
    let key =
        ours.0.ok("dkms generate_mok >/dev/null 2>&1; tar -C /var/lib/dkms -cf - mok.key mok.pub | base64 -w0")?;
    classic.0.ok(&format!("mkdir -p /var/lib/dkms; base64 -d <<<{key} | tar -C /var/lib/dkms -xf -"))?;
    let both = |archive: &str, words: &str| -> Result<()> {
        for arch in [&ours, &classic] {
            if !archive.is_empty() {
                with_real(arch, archive)?;
            }
            arch.pacman(&format!("--assume-installed dkms=3 {words}"))?;
        }
        Ok(())
    };
    let alike = |after: &str| -> Result<()> {
        let (mut theirs, mut mine) = (Observation::of(&classic.0)?, Observation::of(&ours.0)?);
        if suite == "bookworm" {
            // Its classic is 3.0, which kept other files in its tree.
            theirs.forget("tree");
            mine.forget("tree");
        }
        let difference = theirs.difference(&mine);
        ensure!(difference.is_empty(), "after {after} classic (-) and ours (+) differ\n{difference}");
        Ok(())
    };
    both(
        &format!("{BASE} hello-dkms-1.0-1 byhand-dkms-1.0-1 worse-dkms-1.0-1"),
        "-Sy linux linux-headers linux-lts linux-lts-headers hello-dkms byhand-dkms worse-dkms acpi-call-dkms bbswitch-dkms",
    )?;
    alike("installing")?;
    both(&format!("{NEXT} hello-dkms-2.0-1 byhand-dkms-1.0-1 worse-dkms-1.0-1"), "-Syu")?;
    alike("a new kernel and a new module")?;
    both(&format!("{NEXT} hello-dkms-2.0-2 byhand-dkms-1.0-1 worse-dkms-1.0-1"), "-Syu")?;
    alike("the same version repackaged")?;
    both("", "-R linux-lts linux-lts-headers")?;
    alike("removing a kernel")?;
    both("", "-R byhand-dkms")?;
    alike("removing a module")?;
    // Where the classic loses the working module to a version that does not build, ours has all that it has, and more.
    both(&format!("{NEXT} hello-dkms-2.0-2 worse-dkms-2.0-1"), "-Syu")?;
    let (theirs, mine) = (classic.modules()?, ours.modules()?);
    let missing: Vec<&str> = theirs.lines().filter(|line| !mine.contains(line)).collect();
    ensure!(missing.is_empty() && mine.contains("worse 1.0"), "classic has\n{theirs}\nours has\n{mine}");
    Ok(())
}

fn main() -> ExitCode {
    let mut suite = Suite::new(&[
        Need::Bed,
        Need::Ours,
        Need::Beside("dkms-alpm"),
        Need::Program("pkg-config"),
        Need::Program("cargo"),
    ]);
    type Case = (&'static str, fn(&'static str) -> Result<()>);
    let cases: [Case; 12] = [
        ("as_the_guide_shows", as_the_guide_shows),
        ("life", life),
        ("upgrades", upgrades),
        ("headers", headers),
        ("preflight", preflight),
        ("directories", directories),
        ("another_package_s_module", another_package_s_module),
        ("libalpm", libalpm),
        ("running", running),
        ("outside", outside),
        ("as_the_classic", as_the_classic),
        ("to_the_classic_and_back", to_the_classic_and_back),
    ];
    for (name, case) in cases {
        for (debian, pacman) in [("sid", "7"), ("bookworm", "6")] {
            // One bed, and the cases that say most, are what there is time for always.
            let always = pacman == "7" && ["life", "directories", "another_package_s_module"].contains(&name);
            let needs: &[Need] = if always { &[] } else { &[Need::Long] };
            suite = suite.case_needing(needs, format!("{name}_pacman_{pacman}"), move || case(debian));
        }
    }
    suite.main()
}
