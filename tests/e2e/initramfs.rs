//! A module of dkms in the place of the driver of the disk: the images of initramfs-tools and dracut hold it, or there is no
//! new image; an emulated machine boots with it, and with the kernel's own after its removal.

use std::process::ExitCode;

use anyhow::{Context as _, Result, bail, ensure};
use dkms_tests::bed::{Base, Bed};
use dkms_tests::needs::Need;
use dkms_tests::settings::project;
use dkms_tests::suite::Suite;

const HOOK: &str = "/usr/share/initramfs-tools/hooks/dkms";
const DRACUT_MODULE: &str = "/usr/lib/dracut/modules.d/90dkms/module-setup.sh";

/// A bed with our hooks, and the package whose module has the place of virtio_blk, not yet installed.
fn prepare() -> Result<Bed> {
    let bed = Bed::subject(&Base::initramfs()?)?;
    let hooks = project().join("hook-files");
    bed.copy_in(&hooks.join("debian").join(&HOOK[1..]), HOOK)?;
    bed.copy_in(&hooks.join("common").join(&DRACUT_MODULE[1..]), DRACUT_MODULE)?;
    for script in ["disk-driver.sh", "boot-from-disk.sh"] {
        bed.copy_in(&project().join("tests/scripts").join(script), &format!("/root/{script}"))?;
    }
    let kernel = bed.kernel()?.to_owned();
    bed.ok(&format!("update-initramfs -u -k {kernel}; bash /root/disk-driver.sh {kernel}"))?;
    Ok(bed)
}

/// Words of a script: what the image of kernel `$k` at `$1` holds of virtio_blk, file and description.
const HELD: &str = r#"
held() {
    rm -rf /tmp/x; unmkinitramfs "$1" /tmp/x
    find /tmp/x -name 'virtio_blk.ko*' | while read -r file; do
        echo "held ${file#*/"$k"/} $(modinfo -F description "$file")"
    done
    echo "index $(cat $(find /tmp/x -name modules.dep) | grep virtio_blk)"
}
"#;

fn initramfs_tools() -> Result<()> {
    let bed = prepare()?;
    let kernel = bed.kernel()?.to_owned();
    let held = |what: &str| {
        bed.ok(&format!(
            "k={kernel}\n{HELD}\n{what} >/dev/null\nupdate-initramfs -u -k $k >/dev/null\nheld /boot/initrd.img-$k"
        ))
    };
    let expect = |said: &str, place: &str, description: &str| {
        let held = format!("held {place}/virtio_blk.ko.xz {description}\nindex {place}/virtio_blk.ko.xz:");
        ensure!(said.contains(&held), "no {held:?} in\n{said}");
        ensure!(said.matches("held").count() == 1, "more than one virtio_blk in\n{said}");
        Ok(())
    };
    expect(&held("true")?, "kernel/drivers/block", "Virtio block driver")?;
    expect(&held("dkms install vblk/1.0 -k $k --force")?, "updates/dkms", "dkms__ block driver")?;
    // The administrator's word counts from the next look on; reconcile makes the image anew.
    let without = held("echo 'initramfs=\"no\"' >/etc/dkms/vblk.conf; dkms reconcile -k $k")?;
    ensure!(!without.contains("held"), "initramfs=no, and still\n{without}");
    let again = bed.ok(&format!(
        "k={kernel}\n{HELD}\nrm /etc/dkms/vblk.conf; dkms reconcile -k $k >/dev/null\nheld /boot/initrd.img-$k"
    ))?;
    expect(&again, "updates/dkms", "dkms__ block driver")?;
    expect(&held("dkms remove vblk/1.0 --all")?, "kernel/drivers/block", "Virtio block driver")?;
    ensure!(bed.sh(&format!("ls /lib/modules/{kernel}/.dkms-*"))?.code != 0, "a note of ours is left");
    Ok(())
}

/// An image that was made before: whoever asks is told, and the next `reconcile` makes it anew; also if one was killed over it.
fn image_of_before() -> Result<()> {
    let bed = prepare()?;
    let kernel = bed.kernel()?.to_owned();
    let said = bed.ok(&format!(
        "k={kernel}\n{HELD}
         dkms reconcile -k $k --dry-run
         echo installed; dkms install vblk/1.0 -k $k --force 2>&1
         echo long; dkms status --long; dkms reconcile -k $k --dry-run
         printf '#!/bin/sh\nkill -9 $PPID\n' >/usr/local/sbin/update-initramfs; chmod +x /usr/local/sbin/update-initramfs
         (! dkms reconcile -k $k >/dev/null 2>&1); rm /usr/local/sbin/update-initramfs
         held /boot/initrd.img-$k
         echo again; dkms reconcile -k $k; held /boot/initrd.img-$k
         echo after; dkms status --long; dkms reconcile -k $k --dry-run"
    ))?;
    let parts: Vec<&str> = ["installed\n", "long\n", "again\n", "after\n"]
        .iter()
        .try_fold(vec![&*said], |mut parts, mark| {
            let (before, after) = parts.pop()?.split_once(mark)?;
            parts.extend([before, after]);
            Some(parts)
        })
        .with_context(|| said.clone())?;
    let renew = format!("Would renew the initramfs of kernel {kernel}");
    let why = "the kernel's initramfs has another one, at ";
    let mend = format!("To fix it: update-initramfs -u -k {kernel}");
    let stock = "held kernel/drivers/block/virtio_blk.ko.xz Virtio block driver";
    let [nothing, installed, long, again, after] = parts[..] else { bail!("{said}") };
    ensure!(!nothing.contains(&renew) && !after.contains(&renew) && !after.contains(why), "{said}");
    ensure!(installed.contains(why) && installed.contains(&mend), "{said}");
    ensure!(long.contains(why) && long.contains(&mend) && long.contains(&renew) && long.contains(stock), "{said}");
    ensure!(again.contains("held updates/dkms/virtio_blk.ko.xz dkms__ block driver"), "{said}");
    Ok(())
}

/// What the index does not name makes no image, for either generator, and the old one stays.
fn old_image_stays() -> Result<()> {
    let bed = prepare()?;
    let kernel = bed.kernel()?.to_owned();
    let said = bed.ok(&format!(
        "k={kernel} d=/lib/modules/{kernel}
         dkms install vblk/1.0 -k $k --force >/dev/null
         update-initramfs -u -k $k >/dev/null
         mv $d/updates /tmp/updates; depmod $k; mv /tmp/updates $d/updates
         sum=$(sha256sum </boot/initrd.img-$k)
         code=0; update-initramfs -u -k $k || code=$?; echo initramfs-tools: $code
         cp /boot/initrd.img-$k /tmp/d.img
         code=0; dracut --force --quiet --no-hostonly -m 'kernel-modules dkms' /tmp/d.img $k 2>/tmp/said || code=$?
         echo dracut: $code; grep 'To fix it' /tmp/said
         for image in /boot/initrd.img-$k /tmp/d.img; do [ \"$sum\" = \"$(sha256sum <$image)\" ] && echo same; done
         depmod $k; update-initramfs -u -k $k >/dev/null"
    ))?;
    ensure!(said.contains("initramfs-tools: 1\n") && said.contains("dracut: 1\n"), "{said}");
    ensure!(said.matches("same\n").count() == 2, "an image was written:\n{said}");
    ensure!(said.contains(&format!("To fix it: dkms reconcile -k {kernel}")), "{said}");
    Ok(())
}

/// For a machine that has no such device now, dracut takes nothing from `extra/`, where Fedora has its modules.
fn dracut() -> Result<()> {
    let bed = prepare()?;
    let kernel = bed.kernel()?.to_owned();
    let said = bed.ok(&format!(
        "k={kernel} d=/lib/modules/{kernel}
         dkms install vblk/1.0 -k $k --force >/dev/null
         mkdir $d/extra; mv $d/updates/dkms/virtio_blk.ko.xz $d/extra/; rm -r $d/updates; depmod $k
         for mode in --no-hostonly --hostonly; do for modules in kernel-modules 'kernel-modules dkms'; do
             dracut --force --quiet $mode -m \"$modules\" /tmp/d.img $k 2>/dev/null
             echo \"$mode $modules: $(lsinitrd /tmp/d.img 2>/dev/null | grep -o '[^/]*/virtio_blk.ko.*')\"
         done; done"
    ))?;
    for line in [
        "--no-hostonly kernel-modules dkms: extra/virtio_blk.ko.xz",
        "--hostonly kernel-modules: ",
        "--hostonly kernel-modules dkms: extra/virtio_blk.ko.xz",
    ] {
        ensure!(said.lines().any(|said| said == line), "no {line:?} in\n{said}");
    }
    Ok(())
}

/// An image of dracut for any machine, without systemd, which wants more of the root than this guest's has. Its base module is
/// incomplete without these programs of a running system.
const DRACUT: &str = "for name in poweroff reboot halt; do [ -e /sbin/$name ] || ln -s /bin/busybox /sbin/$name; done
dracut --force --quiet --no-hostonly --omit 'systemd systemd-initrd dracut-systemd' /tmp/d.img $k";

/// The guest's disk is found with ours, which the kernel's signature is not on, and with the kernel's own: with the image that
/// `make`, a command, makes at `image` for kernel `$k`.
#[allow(clippy::print_stdout)] // what the guest said is part of the result
fn boots(make: &str, image: &str) -> Result<()> {
    let bed = prepare()?;
    let kernel = bed.kernel()?.to_owned();
    for (what, taint) in [("dkms install vblk/1.0 -k $k --force", "E"), ("dkms remove vblk/1.0 --all", "")] {
        let outcome = bed.sh(&format!(
            "k={kernel}; {what} >/dev/null\n{make} >/dev/null\nbash /root/boot-from-disk.sh $k {image}"
        ))?;
        let said = format!("GUEST root on vda taint={taint}.");
        println!(
            "boots: {image} after {what}: {}",
            outcome.stdout.lines().find(|line| line.contains("GUEST")).unwrap_or("nothing")
        );
        ensure!(outcome.stdout.contains(&said), "the guest did not say {said:?}\n{}", outcome.tail());
    }
    Ok(())
}

fn main() -> ExitCode {
    Suite::new(&[Need::Bed, Need::Subject, Need::Ours])
        .case("initramfs_tools", initramfs_tools)
        .case("image_of_before", image_of_before)
        .case("old_image_stays", old_image_stays)
        .case("dracut", dracut)
        .case("boots", || boots("update-initramfs -u -k $k", "/boot/initrd.img-$k"))
        .case_needing(&[Need::Long], "boots_dracut", || boots(DRACUT, "/tmp/d.img"))
        .main()
}
