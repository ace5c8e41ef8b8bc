//! Packages and driver disks that `dkms mkpkg` and its sisters make: installed, upgraded and removed by the real package
//! managers, with and without a compiler; looked at by the families' own checkers; read as installers read them.

use std::process::ExitCode;

use anyhow::{Context, Result, bail, ensure};
use dkms_tests::bed::{Base, Bed};
use dkms_tests::compare::fill;
use dkms_tests::hello::package;
use dkms_tests::needs::Need;
use dkms_tests::rpm::{Kind, World, release};
use dkms_tests::suite::Suite;
use dkms_tests::{arch, rpm, settings};

const VENDOR: &str = "export DEBFULLNAME='A Vendor' DEBEMAIL=vendor@example.com";

/// Puts `dkms-mkpkg` where dkms looks for it, and the source of `hello` of these versions into `/usr/src`.
fn equip(bed: &Bed, versions: &[&str]) -> Result<()> {
    let program = settings::beside("dkms-mkpkg").context("there is no dkms-mkpkg")?;
    bed.copy_in(&program, "/usr/lib/dkms/dkms-mkpkg")?;
    let hand = tempfile::tempdir()?;
    for version in versions {
        let source = package("hello").version(version).conf_line("AUTOINSTALL=yes").build_in(hand.path())?;
        bed.copy_in(&source, &format!("/usr/src/hello-{version}"))?;
    }
    Ok(())
}

/// A Debian machine of a vendor's, with a compiler and `dkms-mkpkg`.
fn maker(versions: &[&str]) -> Result<Bed> {
    let bed = Bed::subject(&Base::trixie()?)?;
    equip(&bed, versions)?;
    Ok(bed)
}

fn ok(bed: &Bed, script: &str) -> Result<String> {
    bed.ok(&fill(bed.base(), &format!("{VENDOR}; {script}")))
}

/// Hands what is in `/out` of one bed to `/in` of the other.
fn hand_over(from: &Bed, to: &Bed) -> Result<()> {
    from.ok("rm -rf /mnt/out; cp -r /out /mnt/out")?;
    to.copy_in(&from.exchange().join("out"), "/in")
}

/// No file, link or directory of the packages `hello` is left but those of the test itself.
fn nothing_left(bed: &Bed) -> Result<()> {
    let left = bed.ok(
        "find /usr/src /usr/lib/dkms* /usr/lib/modules /lib/modules/ /var/lib/dkms /etc /usr/share/doc /boot \\( -iname '*hello*' -o \\
             -name '*prebuilt*' \\) -print 2>/dev/null | grep -v -e /doc/gawk/ -e '/.dkms/locks/' || true
         ls -d /lib/modules/*/updates 2>/dev/null || true",
    )?;
    ensure!(left.is_empty(), "left:\n{left}");
    Ok(())
}

/// No compiler, no make, no headers, no dkms.
const WITHOUT_A_COMPILER: &str = "rm -rf /usr/bin/*gcc* /usr/bin/*g++* /usr/bin/cc /usr/bin/make /usr/src/linux-* \
     /usr/src/kernels /usr/sbin/dkms /usr/bin/dkms /lib/modules/*/build /lib/modules/*/source";

/// Built modules as debs, on a machine that can build nothing: a kernel comes and goes, a new version, removal.
fn deb_of_binaries() -> Result<()> {
    let maker = maker(&["1.0", "1.1"])?;
    ok(
        &maker,
        "mkdir /out; dkms build hello/1.0 -k {k} -k {k2}; dkms mkdeb hello/1.0 --binaries --all --archive /out
         dkms build hello/1.1 -k {k}; dkms mkpkg hello/1.1 --format deb --binaries -k {k} --archive /out",
    )?;
    let target = Bed::classic(&Base::trixie()?)?;
    hand_over(&maker, &target)?;
    ok(
        &target,
        &format!(
            "{WITHOUT_A_COMPILER}; dpkg --force-depends --purge dkms >/dev/null 2>&1; rm -rf /var/lib/dkms
             apt-get -q -y install /in/hello-modules-{{k}}_1.0*.deb /in/hello-modules-{{k2}}_*.deb
             for k in {{k}} {{k2}}; do modprobe -S $k -n -v hello | grep updates/prebuilt; modinfo -k $k hello >/dev/null; done
             apt-get -q -y install /in/hello-modules-{{k}}_1.1*.deb
             test $(modinfo -k {{k}} -F version hello) = 1.1
             apt-get -q -y purge linux-image-{{k2}} linux-headers-{{k2}}
             test ! -e /lib/modules/{{k2}} -a ! -e /usr/lib/dkms-prebuilt/hello/{{k2}}
             apt-get -q -y purge hello-modules-{{k}}
             if modinfo -k {{k}} hello 2>/dev/null; then exit 1; fi"
        ),
    )?;
    nothing_left(&target)
}

/// The source as a deb, with the dkms that Debian has.
fn deb_of_the_source() -> Result<()> {
    let maker = maker(&["1.0", "1.1"])?;
    ok(&maker, "mkdir /out; for v in 1.0 1.1; do dkms add hello/$v; dkms mkdeb hello/$v --archive /out; done")?;
    let target = Bed::classic(&Base::trixie()?)?;
    hand_over(&maker, &target)?;
    ok(
        &target,
        "apt-get -q -y install /in/hello-dkms_1.0*.deb
         test $(dkms status hello | grep -c ': installed') = 3; test $(modinfo -k {k2} -F version hello) = 1.0
         apt-get -q -y install /in/hello-dkms_1.1*.deb
         dkms status hello | grep -c '^hello/1.1.*: installed' | grep -x 3; test ! -e /usr/src/hello-1.0
         apt-get -q -y purge hello-dkms",
    )?;
    nothing_left(&target)
}

/// Prebuilt modules are used until DKMS has its own, and again afterwards.
fn prebuilt_steps_aside() -> Result<()> {
    let bed = maker(&["1.0"])?;
    ok(
        &bed,
        "at() { test $(modinfo -k {k} -F filename hello) = /lib/modules/{k}/updates/$1/hello.ko.xz; }
         mkdir /out; dkms build hello/1.0 -k {k}; dkms mkdeb hello/1.0 --binaries -k {k} --archive /out
         dpkg -i /out/*.deb; at prebuilt
         dkms install hello/1.0 -k {k}; at dkms; test ! -e /lib/modules/{k}/updates/prebuilt
         dkms uninstall hello/1.0 -k {k}; at prebuilt
         dkms install hello/1.0 -k {k}; dpkg -i /out/*.deb 2>&1 | grep 'DKMS provides hello'; at dkms
         dpkg --purge hello-modules-{k}; at dkms
         dkms remove hello/1.0 --all; rm -r /usr/src/hello-1.0 /out",
    )?;
    nothing_left(&bed)
}

/// A root with rpm that has none of the packages of Debian's bed for building.
fn bare_rpm(kind: Kind) -> Result<Bed> {
    let bed = Bed::classic(&kind.base()?)?;
    bed.ok(&format!("rpm -i --nodeps --nosignature /srv/rpm/repo/noarch/base-shim-*.rpm; {WITHOUT_A_COMPILER}"))?;
    Ok(bed)
}

/// A Fedora of a vendor's with two kernels.
fn rpm_maker(versions: &[&str]) -> Result<Bed> {
    let bed = Bed::subject(&Kind::Dnf5.base()?)?;
    equip(&bed, versions)?;
    bed.ok("rpm -i --nodeps --nosignature /srv/rpm/repo/noarch/base-shim-*.rpm
            rpm -i --nosignature /srv/rpm/repo/*/kernel-{core,modules,devel}-7.2.1{3,4}-*.rpm")?;
    Ok(bed)
}

/// Built modules as rpms, without a compiler: with dnf5 (or plain rpm), a kernel comes and goes, a new version, removal.
fn rpm_of_binaries(kind: Kind, tool: &'static str) -> Result<()> {
    let (old, new) = (release("7.2.13"), release("7.2.14"));
    let maker = rpm_maker(&["1.0", "1.1"])?;
    ok(
        &maker,
        &format!(
            "mkdir /out; dkms build hello/1.0 -k {old} -k {new}; dkms mkrpm hello/1.0 --binaries --all --archive /out
             dkms build hello/1.1 -k {new}; dkms mkpkg hello/1.1 --binaries -k {new} --archive /out"
        ),
    )?;
    let target = bare_rpm(kind)?;
    hand_over(&maker, &target)?;
    let (install, upgrade, erase) = match tool {
        "rpm" => ("rpm -ivh --nosignature".to_owned(), "rpm -Uvh --nosignature".to_owned(), "rpm -e".to_owned()),
        tool => (format!("{tool} install"), format!("{tool} install"), format!("{tool} remove")),
    };
    let kernel = |version: &str| match tool {
        "rpm" => format!("/srv/rpm/repo/*/kernel-core-{version}-*.rpm /srv/rpm/repo/*/kernel-modules-{version}-*.rpm"),
        _ => format!("kernel-core-{version} kernel-modules-{version}"),
    };
    let erased = if tool == "rpm" { format!("hello-modules-{old}") } else { String::new() };
    ok(
        &target,
        &format!(
            "if rpm -i --nosignature /in/hello-modules-{old}-1.0-1.*.rpm 2>/tmp/said; then exit 1; fi
             grep 'kernel-core-uname-r = {old}' /tmp/said
             {install} {first} 2>&1; {install} /in/hello-modules-{old}-1.0-1.*.rpm 2>&1
             modprobe -S {old} -n -v hello | grep updates/prebuilt
             {install} {second} /in/hello-modules-{new}-1.0-1.*.rpm 2>&1; modprobe -S {new} -n -v hello | grep updates/prebuilt
             {upgrade} /in/hello-modules-{new}-1.1-1.*.rpm 2>&1; test $(modinfo -k {new} -F version hello) = 1.1
             rpm -V hello-modules-{old} hello-modules-{new}
             {erase} {erased} $(rpm -q kernel-core kernel-modules | grep 7.2.13) 2>&1
             test -z \"$(find /lib/modules/{old} -mindepth 1 ! -name 'modules.*')\"; test ! -e /usr/lib/dkms-prebuilt/hello/{old}
             modprobe -S {new} -n hello; {erase} hello-modules-{new} 2>&1
             if modprobe -S {new} -n hello 2>/dev/null; then exit 1; fi",
            first = kernel("7.2.13"),
            second = kernel("7.2.14"),
        ),
    )?;
    nothing_left(&target)
}

/// The source as an rpm, with our own package of dkms: install, upgrade, removal.
fn rpm_of_the_source() -> Result<()> {
    let maker = maker(&["1.0", "1.1"])?;
    ok(&maker, "mkdir /out; for v in 1.0 1.1; do dkms add hello/$v; dkms mkrpm hello/$v --archive /out; done")?;
    let world = World::new(Kind::Dnf5, rpm::DNF5)?;
    hand_over(&maker, &world.bed)?;
    world.ok(&format!("install {} /in/hello-dkms-1.0-1.noarch.rpm", World::kernel("7.2.13", true)))?;
    world.expect_status(&["hello/1.0, {13}: installed"])?;
    world.ok("install /in/hello-dkms-1.1-1.noarch.rpm")?;
    world.expect_status(&["hello/1.1, {13}: installed"])?;
    world.expect_modules("7.2.13", &["hello"])?;
    world.ok(&format!("install {}", World::kernel("7.2.14", true)))?;
    world.expect_status(&["hello/1.1, {13}: installed", "hello/1.1, {14}: installed"])?;
    world.ok("remove hello-dkms")?;
    world.expect_status(&[])?;
    world.expect_modules("7.2.14", &[])?;
    // Plain rpm.
    world.bed.ok("rpm -Uvh --nosignature /in/hello-dkms-1.0-1.noarch.rpm 2>&1; rpm -V hello-dkms")?;
    world.expect_status(&["hello/1.0, {13}: installed", "hello/1.0, {14}: installed"])?;
    world.bed.ok("rpm -e hello-dkms 2>&1")?;
    world.expect_status(&[])?;
    let left = world.bed.ok("find /usr/src /var/lib/dkms /lib/modules/ -iname '*hello*' ! -path '*/.dkms/*'")?;
    ensure!(left.is_empty(), "left:\n{left}");
    Ok(())
}

/// Both kinds with pacman: a kernel upgraded together with its modules, removal.
fn pacman_packages() -> Result<()> {
    let (old, new) = ("7.2.13-arch1-1", "7.2.14-arch1-1");
    let root = arch::root("sid")?;
    let maker = Bed::subject(&root)?;
    maker.ok("rm -rf /etc/dkms; cp /usr/sbin/dkms /usr/bin/dkms")?;
    equip(&maker, &["1.0"])?;
    let pool = "/srv/pool";
    ok(
        &maker,
        &format!(
            "pacman --noconfirm -Udd {pool}/linux-7.2.13.arch1-1-*.tar {pool}/linux-headers-7.2.13.arch1-1-*.tar >/dev/null 2>&1
             mkdir /out; dkms build hello/1.0 -k {old}; dkms mkpkg hello/1.0 --binaries -k {old} --archive /out
             dkms mkpkg hello/1.0 --format arch --archive /out
             pacman --noconfirm -Udd {pool}/linux-7.2.14.arch1-1-*.tar {pool}/linux-headers-7.2.14.arch1-1-*.tar >/dev/null 2>&1
             dkms build hello/1.0 -k {new}; dkms mkpkg hello/1.0 --format arch --binaries -k {new} --archive /out; ls /out"
        ),
    )?;
    let target = Bed::classic(&root)?;
    hand_over(&maker, &target)?;
    let binary =
        |release: &str| format!("/in/hello-modules-linux-1.0_{}-1-x86_64.pkg.tar.zst", release.replace('-', "."));
    ok(
        &target,
        &format!(
            "{WITHOUT_A_COMPILER}; p() {{ pacman --noconfirm \"$@\" 2>&1; }}
             if p -U {first} >/dev/null; then exit 1; fi
             p -U {pool}/linux-7.2.13.arch1-1-*.tar {first}; modprobe -S {old} -n -v hello | grep updates/prebuilt
             pacman -Qkk hello-modules-linux | grep ' 0 altered'
             p -U {pool}/linux-7.2.14.arch1-1-*.tar {second}; modprobe -S {new} -n -v hello | grep updates/prebuilt
             rm -f /usr/lib/modules/{old}/modules.*; rmdir /usr/lib/modules/{old} 2>/dev/null || true
             test ! -e /usr/lib/modules/{old} -a ! -e /usr/lib/dkms-prebuilt/hello/{old}
             p -R hello-modules-linux; if modprobe -S {new} -n hello 2>/dev/null; then exit 1; fi",
            first = binary(old),
            second = binary(new),
        ),
    )?;
    nothing_left(&target)?;
    // The source: what pacman has to know of it; our hooks build it (suite arch).
    ok(
        &target,
        "pacman --noconfirm -Udd /in/hello-dkms-1.0-1-any.pkg.tar.zst 2>&1; pacman -Qkk hello-dkms | grep ' 0 altered'
         pacman -Qi hello-dkms | grep -E '^Depends On +: dkms$'; test -e /usr/src/hello-1.0/dkms.conf
         pacman --noconfirm -R hello-dkms 2>&1",
    )?;
    nothing_left(&target)
}

/// Where packages and disks are only looked at.
fn reader() -> Result<Bed> {
    Bed::classic(&Base::checkers()?)
}

/// What lintian, rpmlint and pacman's own tools say of the packages.
fn checkers() -> Result<()> {
    let maker = maker(&["1.0"])?;
    ok(
        &maker,
        "mkdir /out; dkms build hello/1.0 -k {k}
         for f in deb rpm arch; do dkms mkpkg hello/1.0 --format $f --archive /out
             dkms mkpkg hello/1.0 --format $f --binaries -k {k} --kernel-package linux=6.12 --archive /out; done; ls /out",
    )?;
    let bed = reader()?;
    hand_over(&maker, &bed)?;
    let lintian = bed.sh("lintian --allow-root --fail-on error /in/*.deb")?;
    ensure!(lintian.code == 0, "lintian: {}{}", lintian.stdout, lintian.stderr);
    let rpmlint = bed.sh("rpmlint --permissive /in/*.rpm 2>&1")?;
    let errors: Vec<&str> = rpmlint
        .stdout
        .lines()
        .filter(|line| line.contains(": E: ") && !ACCEPTED.iter().any(|accepted| line.contains(accepted)))
        .collect();
    ensure!(rpmlint.stdout.contains("packages and") && errors.is_empty(), "rpmlint:\n{}", rpmlint.stdout);
    // What namcap looks at: the package's own description is whole, paths are in order, files belong to root.
    bed.ok(
        "cd /in; for p in *.pkg.tar.zst; do
             pacman -Qip $p | grep -E '^(Licenses|Description|Depends On)' | grep -c ': [^N]' | grep -x 3
             bsdtar -xOf $p .PKGINFO | grep -E '^(pkgname|pkgver|pkgdesc|builddate|packager|size|arch|license) = .' | wc -l | grep -x 8
             bsdtar -xOf $p .MTREE | zcat >/tmp/mtree; bsdtar -tf $p | grep -v '^\\.[BMI]' | sed 's,/$,,' | while read f; do
                 grep -q \"^./$f \" /tmp/mtree || { echo \"$f is not in .MTREE\" >&2; exit 1; }; done
             bsdtar -tvf $p | awk '$3 != \"root\" && $3 != 0 { exit 1 }'
         done",
    )?;
    Ok(())
}

/// What rpmlint calls an error of these packages, and why it is none.
const ACCEPTED: &[&str] = &[
    // Signing is the vendor's, with rpmsign.
    "no-signature",
    // A compressed module does not look like one.
    "no-binary",
];

/// Driver disks as their installers read them.
fn driver_disks() -> Result<()> {
    let maker = maker(&["1.0"])?;
    ok(
        &maker,
        "mkdir /out; dkms build hello/1.0 -k {k} -k {k2}
         dkms mkdriverdisk hello/1.0 --all --distro redhat --archive /out
         dkms mkdriverdisk hello/1.0 -k {k} --distro suse -r leap15.6 --archive /out
         dkms mkdriverdisk hello/1.0 -k {k} --distro suse --release tw --media iso --archive /out
         dkms mkdriverdisk hello/1.0 --all --archive /out/debian
         for said in 'hello/1.0 --all --distro suse -r tw' 'hello/1.0 -k {k} --distro suse' 'hello/1.0 -k {k} --distro amiga' \\
                 'hello/1.0 -k {k} --distro suse -r ../x' 'hello/1.0 -k {k3}'; do
             if dkms mkdriverdisk $said --archive /root/x 2>/root/said; then exit 1; fi; grep -c ^Error /root/said | grep -x 1
         done; test ! -e /root/x",
    )?;
    let reader = reader()?;
    hand_over(&maker, &reader)?;
    let (k, k2) = (maker.base().kernels[0].clone(), maker.base().kernels[1].clone());
    // Anaconda: by label; a description; a repository for the architecture; packages that provide kernel-modules.
    reader.ok(&format!(
        "cd /root; mkdir dd repo; blkid -p -s LABEL -o value /in/hello-1.0-dd.iso | grep -x OEMDRV
         bsdtar -C dd -xf /in/hello-1.0-dd.iso
         grep 'Driver Update Disk version 3' dd/rhdd3; ls dd/rpms/x86_64/repodata/repomd.xml
         D='dnf5 --repofrompath=dd,file:///root/dd/rpms/x86_64 --repo=dd --setopt=gpgcheck=0'
         $D repoquery --provides 'hello-modules-{k}' | grep -x 'kernel-modules = {k}'
         $D repoquery --provides 'hello-modules-{k2}' | grep -x 'kernel-modules = {k2}'
         $D repoquery -l 'hello-modules-{k}' | grep -x /lib/modules/{k}/updates/prebuilt/hello.ko.xz
         cd repo; $D download 'hello-modules-{k}' 'hello-modules-{k2}'; rpm -K --nosignature *.rpm; test $(ls | wc -l) = 2"
    ))?;
    // SUSE: the archive as linuxrc and the kernel unpack it; the image as linuxrc finds it.
    for (unpack, release) in
        [("zcat /in/hello-1.0-leap15.6.dud | bsdtar -xf -", "leap15.6"), ("bsdtar -xf /in/hello-1.0-tw-dud.iso", "tw")]
    {
        reader.ok(&format!(
            "mkdir /root/{release}; cd /root/{release}; {unpack}; cd linux/suse/x86_64-{release}
             grep -E '^UpdateID:.[0-9a-f]{{8}}-([0-9a-f]{{4}}-){{3}}[0-9a-f]{{12}}$' dud.config
             grep '^UpdateName:.hello 1.0$' dud.config; grep -x hello modules/module.order
             modinfo -F vermagic ./modules/hello.ko.xz | grep '^{k} '; rpm -K --nosignature install/*.rpm
             rpm -qp --nosignature --requires install/*.rpm | grep -F '/lib/modules/{k}/modules.builtin'"
        ))?;
    }
    reader.ok("blkid -p -s LABEL -o value /in/hello-1.0-tw-dud.iso | grep -x OEMDRV")?;
    // Debian's installer: the late command, with the new system at /target.
    let target = Bed::classic(&Base::trixie()?)?;
    hand_over(&maker, &target)?;
    ok(
        &target,
        "mkdir -p /target /media; ln -s /in/debian /media/drivers; mount --bind / /target
         printf '#!/bin/sh\\nexec chroot /target \"$@\"\\n' >/usr/bin/in-target; chmod 755 /usr/bin/in-target
         sed -n '/late_command/,$p' /in/debian/preseed.cfg | sed '1s/.*string//' >/root/late; rm -rf /lib/modules/{k2}
         sh -e /root/late; umount /target; modinfo -k {k} -F filename hello | grep prebuilt
         if dpkg -s hello-modules-{k2} 2>/dev/null; then exit 1; fi; test ! -e /tmp/drivers",
    )?;
    Ok(())
}

/// A real kernel mounts the images: Debian's, in an emulated machine, with nothing but busybox.
fn images_mount() -> Result<()> {
    let maker = maker(&["1.0"])?;
    ok(
        &maker,
        "mkdir /out; dkms build hello/1.0 -k {k}; dkms mkdriverdisk hello/1.0 -k {k} --distro redhat --archive /out/dd.iso
         dkms mkdriverdisk hello/1.0 -k {k} --distro suse -r tw --media iso --archive /out/dud.iso",
    )?;
    let bed = Bed::classic(&Base::boot()?)?;
    hand_over(&maker, &bed)?;
    let said = ok(
        &bed,
        r"mkdir -p /root/i/bin; cd /root/i; cp /bin/busybox bin/
         for m in virtio_blk cdrom isofs; do xz -dc $(modinfo -k {k} -F filename $m) >$m.ko; done
         cat >init <<'X'
#!/bin/busybox sh
/bin/busybox --install -s /bin; mkdir proc sys dev a b
mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t devtmpfs dev /dev; for m in virtio_blk cdrom isofs; do insmod $m.ko; done
for d in a b; do mount -t iso9660 -o ro /dev/vd$d /$d; (cd $d; find . -type f | sort | xargs sha256sum | sed 's/^/GUEST /'); done
ls -ld /a/rhdd3 /a/rpms | sed 's/^/GUEST /'; dmesg | grep -iE 'iso ?9660|isofs|rock ridge' | sed 's/^/GUEST dmesg: /'
poweroff -f
X
         chmod 755 init; find . | cpio --quiet -o -H newc | gzip -1 >/root/initrd.gz
         timeout 150 qemu-system-x86_64 -machine q35,accel=tcg -cpu max -m 512 -nographic -no-reboot -nic none \
             -kernel /boot/vmlinuz-{k} -initrd /root/initrd.gz -append 'console=ttyS0 quiet panic=-1' \
             -drive file=/in/dd.iso,format=raw,if=virtio,readonly=on -drive file=/in/dud.iso,format=raw,if=virtio,readonly=on \
             </dev/null | grep -a -o 'GUEST .*' | tr -d '\r'",
    )?;
    // The same files, by name and content, as other readers find.
    let reader = reader()?;
    hand_over(&maker, &reader)?;
    for image in ["dd", "dud"] {
        let files = reader.ok(&format!(
            "mkdir /root/{image}; cd /root/{image}; bsdtar -xf /in/{image}.iso; find . -type f | sort | xargs sha256sum"
        ))?;
        ensure!(files.lines().count() >= 4, "{files}");
        for line in files.lines() {
            ensure!(said.lines().any(|guest| guest == format!("GUEST {line}")), "not {line:?} in\n{said}");
        }
    }
    ensure!(said.contains("GUEST -rw-r--r--") && said.contains("GUEST drwxr-xr-x"), "{said}");
    Ok(())
}

/// A vendor's templates, words that are wrong, keys, a program that is not there, bytes that are the same.
fn words_and_templates() -> Result<()> {
    let bed = maker(&["1.0"])?;
    ok(
        &bed,
        "mkdir -p /out /etc/dkms/template-dkms-mkdeb/debian /etc/dkms/template-dkms-mkbmdeb/debian; dkms build hello/1.0 -k {k}
         printf 'Source: DEBIAN_PACKAGE-dkms\\nMaintainer: T <t@x>\\n\\nPackage: DEBIAN_PACKAGE-dkms\\nDepends: dkms, bash\\nDescription: from a template\\n more\\n' \\
             >/etc/dkms/template-dkms-mkdeb/debian/control
         printf 'Package: x\\nDepends: dkms\\nDescription: MODULE_NAME for KERNEL_VERSION\\n' >/etc/dkms/template-dkms-mkbmdeb/debian/control
         printf 'Summary: from a spec\\nLicense: MIT\\nRequires: bash\\n%%description\\nx\\n' >/etc/dkms/template-dkms-mkrpm.spec
         dkms mkdeb hello/1.0 --archive /out; dkms mkdeb hello/1.0 --binaries -k {k} --archive /out; dkms mkrpm hello/1.0 --archive /out
         dpkg-deb -f /out/hello-dkms_*.deb Maintainer Depends Description >/root/said; grep 'T <t@x>' /root/said; grep bash /root/said
         grep 'from a template' /root/said
         dpkg-deb -f /out/hello-modules*.deb Description Depends >/root/said; grep '^Description: hello for {k}' /root/said
         if grep dkms /root/said; then exit 1; fi
         export SOURCE_DATE_EPOCH=1700000000
         for f in deb rpm arch; do dkms mkpkg hello/1.0 --format $f --archive /root/a.$f; sleep 1
             dkms mkpkg hello/1.0 --format $f --archive /root/b.$f; cmp /root/a.$f /root/b.$f; done",
    )?;
    for (words, code, said) in [
        ("mkdeb hello/1.0 --binaries -k {k2}", 6, "No modules built"),
        ("mkdeb hello/2.0", 3, "not"),
        ("mkdeb hello/1.0 --package-release 'a b'", 6, "release"),
        ("mkpkg hello/1.0 --format tgz", 2, "format"),
        ("mkpkg hello/1.0 --format arch --binaries -k {k}", 6, "kernel"),
    ] {
        let outcome = bed.sh(&fill(bed.base(), &format!("cd /root; dkms {words} --archive /root/none")))?;
        let errors = outcome.stderr.lines().filter(|line| line.starts_with("Error! ")).count();
        ensure!(outcome.code == code && errors == 1 && outcome.stderr.contains(said), "{words}: {outcome:?}");
        bed.ok("test ! -e /root/none")?;
    }
    // A key never gets in, however it is called.
    for copy in [
        "cp /var/lib/dkms/mok.key /usr/src/hello-1.0/notes.txt",
        "openssl pkcs8 -topk8 -nocrypt -in /var/lib/dkms/mok.key -outform DER -out /usr/src/hello-1.0/notes.txt",
    ] {
        for verb in ["mkdeb", "mkrpm", "mkpkg --format arch"] {
            let outcome = bed.sh(&format!("{copy}; dkms {verb} hello/1.0 --archive /root/none"))?;
            if outcome.code != 6 || !outcome.stderr.contains("never enter a package") {
                bail!("{verb} after {copy}: {outcome:?}");
            }
            bed.ok("test ! -e /root/none; rm /usr/src/hello-1.0/notes.txt")?;
        }
    }
    let outcome = bed.sh("rm /usr/lib/dkms/dkms-mkpkg; dkms mkpkg hello/1.0 --format deb")?;
    ensure!(outcome.code == 127 && outcome.stderr.contains("dkms mktarball"), "{outcome:?}");
    Ok(())
}

fn main() -> ExitCode {
    Suite::new(&[Need::Bed, Need::Ours, Need::Beside("dkms-mkpkg")])
        .case("deb_of_binaries", deb_of_binaries)
        .case_needing(&[Need::Long], "deb_of_the_source", deb_of_the_source)
        .case("prebuilt_steps_aside", prebuilt_steps_aside)
        .case_needing(&[Need::Long], "rpm_of_binaries_with_dnf5", || rpm_of_binaries(Kind::Dnf5, rpm::DNF5))
        .case_needing(&[Need::Long], "rpm_of_binaries_with_rpm", || rpm_of_binaries(Kind::Old, "rpm"))
        .case_needing(&[Need::Long, Need::Beside("dkms-rpm")], "rpm_of_the_source", rpm_of_the_source)
        .case_needing(&[Need::Long], "pacman_packages", pacman_packages)
        .case_needing(&[Need::Long], "checkers", checkers)
        .case_needing(&[Need::Long], "driver_disks", driver_disks)
        .case_needing(&[Need::Long], "images_mount", images_mount)
        .case("words_and_templates", words_and_templates)
        .main()
}
