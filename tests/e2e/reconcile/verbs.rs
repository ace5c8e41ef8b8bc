//! The verbs' exit codes, `--dry-run`, `match`, `--root`.

use anyhow::{Result, ensure};
use dkms_tests::hello::package;

use super::scene::{Scene, says};

pub fn dry_run() -> Result<()> {
    let scene = Scene::new(&[package("there"), package("added"), package("fresh")])?;
    scene.exits(0, "dkms install there/1.0 -k {k}; dkms add added/1.0")?;
    let before = scene.digest()?;
    for (command, word) in [
        ("add fresh/1.0", "Would add"),
        ("build added/1.0 -k {k}", "Would build"),
        ("install added/1.0 -k {k}", "Would install"),
        ("install fresh/1.0 -k {k}", "Would add"),
        ("uninstall there/1.0 -k {k}", "Would uninstall"),
        ("unbuild there/1.0 --all", "Would delete the build of"),
        ("remove there/1.0 --all", "Would delete there/1.0 from the DKMS tree"),
        ("autoinstall -k {k}", "build and install added/1.0"),
        ("reconcile", "build and install added/1.0"),
        ("kernel_preinst -k {k}", "Would mark the modules"),
        ("kernel_postinst -k {k}", "build and install added/1.0"),
        ("kernel_prerm -k {k}", "Would remove there/1.0"),
        ("match --templatekernel {k} -k {k2}", "Would install there/1.0"),
    ] {
        says(&scene.exits(0, &format!("dkms {command} --dry-run"))?, &[word])?;
        ensure!(scene.digest()? == before, "`dkms {command} --dry-run` changed something");
    }
    let plan = scene.ok("dkms reconcile -k {k} --dry-run --format json")?;
    says(&plan, &["\"action\": \"build\"", "\"reason\": \"missing\"", "\"name\": \"added\""])
}

pub fn exit_codes() -> Result<()> {
    let scene = Scene::new(&[
        package("good"),
        package("bad").script("PRE_BUILD", "exit 1"),
        package("needs").depends_on("absent"),
        package("excluded").conf_line("BUILD_EXCLUSIVE_KERNEL=^2\\\\."),
        package("manual").conf_line("AUTOINSTALL=no"),
    ])?;
    scene.exits(0, "dkms autoinstall -k {k}")?;
    scene.add(&["excluded/1.0", "manual/1.0"])?;
    scene.exits(0, "dkms autoinstall -k {k}")?;
    scene.exits(77, "dkms install excluded/1.0 -k {k}")?;
    scene.exits(13, "dkms install needs/1.0 -k {k}")?;
    scene.exits(0, "dkms remove needs/1.0 --all; dkms add good/1.0")?;
    scene.exits(21, "dkms autoinstall -k 9.9.9")?;
    scene.exits(1, "dkms kernel_postinst || [ $? != 0 ] && exit 1")?;

    // Switched off.
    scene.ok("touch /etc/dkms/no-autoinstall")?;
    for verb in ["autoinstall", "kernel_postinst", "reconcile"] {
        let said = scene.exits(0, &format!("dkms {verb} -k {{k}}"))?;
        says(&said, &["Automatic installation of modules has been disabled."])?;
    }
    ensure!(!scene.status()?.contains("installed"));
    scene.ok("rm /etc/dkms/no-autoinstall")?;

    // After the transaction.
    scene.ok("echo 'post_transaction=\"echo after >>/root/after\"' >/etc/dkms/framework.conf.d/post.conf")?;
    let said = scene.exits(0, "dkms kernel_postinst -k {k}")?;
    says(
        &said,
        &[
            "Autoinstall of module good/1.0 for kernel",
            "succeeded for module(s) good.",
            "skipped for module(s) excluded.",
        ],
    )?;
    scene.ok("[ ! -e /root/after ]")?;
    scene.exits(0, "dkms autoinstall -k {k2}")?;
    scene.ok("[ $(wc -l </root/after) = 1 ]")?;
    let said = scene.exits(0, "dkms autoinstall -k {k2}")?;
    ensure!(said.trim().is_empty() || said.contains("skipped"), "{said}");
    scene.ok("[ $(wc -l </root/after) = 1 ]")?;
    ensure!(!scene.status()?.contains("manual/1.0, "), "AUTOINSTALL=no was installed");

    scene.exits(11, "dkms add bad/1.0 >/dev/null; dkms autoinstall -k {k}")?;

    // A module that the kernel has in a newer version is installed when a distribution says so.
    scene.lay(&[package("dummy").version("0.1")])?;
    let own = "dkms install dummy/0.1 -k {k}";
    scene.exits(0, own)?;
    scene.ok("dkms remove dummy/0.1 --all >/dev/null; mkdir -p /usr/share/dkms/modules_to_force_install
              echo 'dummy dummy_version-override' >/usr/share/dkms/modules_to_force_install/x")?;
    says(&scene.exits(0, own)?, &["Forcing installation of dummy", "Forcing version override of dummy"])?;

    // What can't be removed.
    let said = scene.exits(
        14,
        "mount --bind /lib/modules/{k} /lib/modules/{k}; mount -o remount,bind,ro /lib/modules/{k}; dkms kernel_prerm -k {k}",
    )?;
    says(&said, &["failed for module(s)", "good/1.0("])?;
    scene.exits(0, "dkms kernel_prerm -k {k}")?;
    let left = scene.status()?;
    let k = scene.bed.kernel()?;
    ensure!(!left.contains(&format!("{k}, ")), "{left}");
    Ok(())
}

pub fn matching() -> Result<()> {
    let scene = Scene::new(&[package("one"), package("two"), package("other")])?;
    scene.exits(0, "dkms install one/1.0 -k {k}; dkms install two/1.0 -k {k}; dkms add other/1.0")?;
    scene.exits(1, "dkms match -k {k2}")?;
    scene.exits(2, "dkms match --templatekernel {k} -k {k}")?;
    scene.exits(3, "dkms match --templatekernel {k} -k {k2} nothing")?;
    says(
        &scene.exits(0, "dkms match --templatekernel {k3} -k {k2}")?,
        &["There is nothing to be done for this match."],
    )?;
    scene.exits(0, "dkms match --templatekernel {k} -k {k2} one")?;
    let said = scene.exits(0, "dkms match --templatekernel {k} -k {k2}")?;
    says(&said, &["to the configuration of kernel: ", "Module:  two"])?;
    scene.status_is(&[
        "one/1.0, {k}, {a}: installed",
        "one/1.0, {k2}, {a}: installed",
        "two/1.0, {k}, {a}: installed",
        "two/1.0, {k2}, {a}: installed",
        "other/1.0: added",
    ])
}

/// An image root, none of whose kernels runs here.
pub fn another_root() -> Result<()> {
    let scene = Scene::new(&[package("hello"), package("picky").depends_on("hello")])?;
    let said = scene.exits(
        0,
        "set -e
        mkdir -p /srv/root /run/u /run/w
        mount -t overlay overlay -o lowerdir=/,upperdir=/run/u,workdir=/run/w /srv/root
        outer() { find /lib/modules /var/lib/dkms /etc/dkms -printf '%p %s %T@ %i\\n' | sort | sha256sum; }
        before=$(outer)
        d='dkms --root /srv/root'
        $d add hello/1.0; $d add picky/1.0
        $d reconcile --strict --initramfs=never
        $d reconcile --strict
        echo; $d status
        [ \"$before\" = \"$(outer)\" ] || { echo the outer system has changed >&2; exit 50; }
        [ $($d status | grep -c ': installed') = 6 ]
        for k in {k} {k2} {k3}; do [ \"$(modinfo -F vermagic /srv/root/lib/modules/$k/updates/dkms/picky.ko.xz | cut -d' ' -f1)\" = $k ]; done
        (! dkms --root /srv/root reconcile --event boot --dry-run | grep .)",
    )?;
    says(&said, &["hello/1.0, ", "picky/1.0, ", "DKMS summary"])
}
