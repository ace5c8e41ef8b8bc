//! Kernels, headers and packages come and go.

use anyhow::{Result, ensure};
use dkms_tests::compare::fill;
use dkms_tests::hello::{Package, module, package};
use dkms_tests::observe::difference;

use super::scene::{Scene, says};

/// Eight names, nine versions: three in a chain, two plain, two versions of one, one that is excluded everywhere, one
/// that fails on the second kernel.
fn eight(k2: &str) -> Vec<Package> {
    let numbers: Vec<&str> = k2.split(['.', '+', '-']).take(3).collect();
    let picky = format!(
        "#include <linux/version.h>\n#if LINUX_VERSION_CODE == KERNEL_VERSION({})\n#error not on this one\n#endif\n",
        numbers.join(",")
    );
    vec![
        package("base").module(module("base").code("int base_value(void) { return 1; }\nEXPORT_SYMBOL_GPL(base_value);\n")),
        package("user")
            .module(module("user").code("int base_value(void);\nint user_value(void) { return base_value(); }\nEXPORT_SYMBOL_GPL(user_value);\n"))
            .depends_on("base"),
        package("zchain").depends_on("user"),
        package("plain"),
        package("twin").module(module("twin_a")).module(module("twin_b")),
        package("two"),
        package("two").version("2.0"),
        package("excluded").conf_line("BUILD_EXCLUSIVE_KERNEL=^2\\\\."),
        package("picky").module(module("picky").code(&picky)),
    ]
}

const IDS: &[&str] =
    &["base/1.0", "user/1.0", "zchain/1.0", "plain/1.0", "twin/1.0", "two/1.0", "two/2.0", "excluded/1.0", "picky/1.0"];

/// What it comes to, whatever the order: every package on every kernel, but for what can't be.
fn end_state() -> Vec<String> {
    let mut lines = vec!["excluded/1.0: added".to_owned()];
    for id in ["base/1.0", "user/1.0", "zchain/1.0", "plain/1.0", "twin/1.0", "two/2.0"] {
        lines.extend(["{k}", "{k2}", "{k3}"].map(|k| format!("{id}, {k}, {{a}}: installed")));
    }
    lines.extend(["{k}", "{k3}"].map(|k| format!("picky/1.0, {k}, {{a}}: installed")));
    lines
}

fn check_end(scene: &Scene) -> Result<()> {
    let lines: Vec<String> = end_state().iter().map(|line| fill(scene.bed.base(), line)).collect();
    let status = scene.status()?;
    // The older version is history: where it was installed before the newer one came, its artefact is kept.
    let found: Vec<String> = status.lines().filter(|line| !line.starts_with("two/1.0")).map(str::to_owned).collect();
    ensure!(
        status.contains("two/1.0") && !status.lines().any(|l| l.starts_with("two/1.0") && l.ends_with("installed"))
    );
    let mut expected = lines;
    expected.sort();
    let mut sorted = found;
    sorted.sort();
    let told = difference(&expected, &sorted);
    ensure!(told.is_empty(), "the end state differs:\n{told}");
    Ok(())
}

pub fn all_at_once() -> Result<()> {
    let base = dkms_tests::bed::Base::trixie()?;
    let k2 = base.kernels.get(1).cloned().unwrap_or_default();

    // Everything is there, and is looked at once.
    let scene = Scene::on(&base, &eight(&k2))?;
    scene.add(IDS)?;
    let said = scene.exits(0, "dkms reconcile")?;
    says(
        &said,
        &[
            "DKMS summary",
            ") is missing",
            "picky.c",
            "not on this one",
            "look for a newer version",
            "dkms install picky/1.0 -k",
        ],
    )?;
    check_end(&scene)?;
    ensure!(scene.calls("depmod")?.len() == 3, "depmod did not run once per kernel");
    // Nothing to do: nothing done but the failure tried again, nothing changed beside the modules.
    scene.ok("rm -rf /usr/src/picky-1.0; dkms remove picky/1.0 --all >/dev/null; [ ! -e /var/lib/dkms/picky ]")?;
    scene.calls("depmod")?;
    let before = scene.digest()?;
    let said = scene.exits(0, "dkms reconcile; dkms autoinstall -k {k}; dkms kernel_postinst -k {k2}")?;
    let after = scene.digest()?;
    ensure!(without_own(&before) == without_own(&after), "idle runs changed something\n{said}");
    ensure!(scene.calls("depmod")?.is_empty(), "idle runs called depmod");
    Ok(())
}

/// The same end, one thing after the other, each event reported as some front would: dependants first, headers late.
pub fn one_after_another() -> Result<()> {
    let base = dkms_tests::bed::Base::trixie()?;
    let k2 = base.kernels.get(1).cloned().unwrap_or_default();
    let scene = Scene::on(&base, &eight(&k2))?;
    scene.hide_kernel("k3")?;
    scene.hide_headers("k2")?;
    scene.add(&["zchain/1.0", "two/1.0", "excluded/1.0"])?;
    let said = scene.exits(0, "dkms autoinstall -k {k}")?;
    says(&said, &["zchain/1.0 autoinstall deferred: BUILD_DEPENDS not registered with DKMS: user."])?;
    let said = scene.exits(21, "dkms autoinstall -k {k2}")?;
    says(&said, &["headers"])?;
    scene.add(&["plain/1.0", "user/1.0", "picky/1.0"])?;
    let said = scene.exits(0, "dkms reconcile")?;
    says(&said, &["waiting for headers"])?;
    scene.add(&["two/2.0", "base/1.0", "twin/1.0"])?;
    scene.exits(0, "dkms reconcile -k {k}")?;
    scene.kernel_comes("k3")?;
    scene.exits(0, "dkms kernel_postinst -k {k3}")?;
    scene.headers_come("k2")?;
    let said = scene.exits(11, "dkms autoinstall -k {k2}")?;
    says(&said, &["failed for module(s) picky(10)", "succeeded for module(s) base", "skipped for module(s) excluded"])?;
    check_end(&scene)
}

/// Records and marks are history, and may be written again.
fn without_own(digest: &str) -> String {
    digest.lines().filter(|line| !line.contains("/.dkms")).collect::<Vec<_>>().join("\n")
}

pub fn same_name() -> Result<()> {
    const FILE: &str = "stat -c '%i %Y' /lib/modules/{k}/updates/dkms/hello.ko.xz";
    const OTHER_IMAGE: &str =
        "LC_ALL=C sed -i 's/Debian 6\\.12\\.\\([0-9]*\\)-1 (/Debian 6.12.\\1-9 (/' /boot/vmlinuz-{k}";
    const OTHER_HEADERS: &str = "sed -i 's/-1 (/-9 (/' /usr/src/linux-headers-{k}/include/generated/utsversion.h; touch /usr/src/linux-headers-{k}/include/generated/utsversion.h";
    let scene = Scene::new(&[package("hello")])?;
    scene.exits(0, "dkms install hello/1.0 -k {k}")?;
    let first = scene.ok(FILE)?;

    // The kernel's package is about to be replaced: marks, and deletes nothing.
    let said = scene.exits(0, "dkms kernel_preinst -k {k}")?;
    says(&said, &["hello/1.0 will be rebuilt"])?;
    ensure!(scene.ok(FILE)? == first, "kernel_preinst touched the module");
    // It was the same again: nothing to do.
    scene.exits(0, "dkms reconcile -k {k} --initramfs=never")?;
    ensure!(scene.ok(FILE)? == first, "rebuilt for the same kernel");

    // Another image, the headers not yet: waits, the old module stays.
    scene.exits(0, "dkms kernel_preinst -k {k}")?;
    scene.ok(OTHER_IMAGE)?;
    let said = scene.exits(0, "dkms reconcile -k {k} --initramfs=never")?;
    says(&said, &["belong to another build of this kernel"])?;
    scene.exits(21, "dkms autoinstall -k {k} --initramfs=never")?;
    ensure!(scene.ok(FILE)? == first, "the old module did not stay");
    // The headers come.
    scene.ok(OTHER_HEADERS)?;
    let said = scene.exits(0, "dkms autoinstall -k {k} --initramfs=never")?;
    says(&said, &["Autoinstall of module hello/1.0", "succeeded for module(s) hello"])?;
    let second = scene.ok(FILE)?;
    ensure!(second != first, "not rebuilt for the other kernel");
    scene.status_is(&["hello/1.0, {k}, {a}: installed"])?;

    // Only the configuration changes.
    scene.ok("echo '#define CONFIG_SOMETHING_NEW 1' >>/usr/src/linux-headers-{k}/include/generated/autoconf.h")?;
    says(&scene.exits(0, "dkms reconcile -k {k} --dry-run")?, &["headers have changed"])?;
    scene.exits(0, "dkms reconcile -k {k} --initramfs=never")?;
    let third = scene.ok(FILE)?;
    ensure!(third != second, "not rebuilt for other headers");

    // A failed rebuild keeps the old module, and is told.
    scene.ok("echo 'broken' >>/usr/src/hello-1.0/hello.c; echo '#define CONFIG_MORE 1' >>/usr/src/linux-headers-{k}/include/generated/autoconf.h")?;
    let said = scene.exits(11, "dkms autoinstall -k {k} --initramfs=never")?;
    says(&said, &["hello.c"])?;
    ensure!(scene.ok(FILE)? == third, "a failed rebuild took the module away");
    scene.status_is(&["hello/1.0, {k}, {a}: installed"])?;
    scene.ok("modinfo -k {k} hello >/dev/null")?;
    Ok(())
}

pub fn leaves() -> Result<()> {
    let scene = Scene::new(&[
        package("hello").module(module("hello")).module(module("other").destination("/kernel/drivers/other")),
        package("plain"),
    ])?;
    scene.exits(0, "dkms install hello/1.0 -k {k} -k {k2} -k {k3} && dkms install plain/1.0 -k {k} -k {k2} -k {k3}")?;
    // What was installed is no longer what dkms.conf says, nor is the source there.
    scene.ok(
        "sed -i 's/other/renamed/; s/\"hello\"/\"goodbye\"/2' /usr/src/hello-1.0/dkms.conf; rm -r /usr/src/plain-1.0",
    )?;
    let ours = "find /lib/modules/{k2} -name '*hello*' -o -name '*other*.ko*' -o -name '*plain*' -o -name '.dkms*' -o -name updates -o -path '*/drivers/other'";
    scene.ok(&format!("[ $({ours} | wc -l) -ge 5 ]"))?;

    scene.exits(0, "dkms kernel_prerm -k {k2}")?;
    let left = scene.ok(ours)?;
    ensure!(left.is_empty(), "left behind: {left}");
    let k2 = &scene.bed.base().kernels[1];
    ensure!(!scene.status()?.contains(k2.as_str()), "status still knows the kernel");

    // A kernel that went without a word: what we and depmod left is cleared away, others' files are not.
    scene.ok("cd /lib/modules/{k3}; rm -r kernel modules.order modules.builtin* build source; rm /boot/*-{k3}")?;
    let said = scene.exits(0, "dkms reconcile")?;
    says(&said, &["removing module hello/1.0"])?;
    scene.ok("[ ! -e /lib/modules/{k3} ]")?;
    let status = scene.status()?;
    ensure!(!status.contains(scene.bed.base().kernels[2].as_str()), "status still knows the third kernel\n{status}");
    scene.ok("mkdir -p /lib/modules/9.9.9/misc; touch /lib/modules/9.9.9/misc/vmmon.ko")?;
    scene.exits(0, "dkms reconcile")?;
    scene.ok("[ -e /lib/modules/9.9.9/misc/vmmon.ko ]")?;
    // The kernel that stays keeps its modules.
    scene.ok("ls /lib/modules/{k}/updates/dkms/hello.ko.xz /lib/modules/{k}/updates/dkms/plain.ko.xz >/dev/null")?;
    Ok(())
}

pub fn once_per_kernel() -> Result<()> {
    let scene = Scene::new(&[package("one"), package("two"), package("three")])?;
    scene.add(&["one/1.0", "two/1.0", "three/1.0"])?;
    scene.ok("rm /boot/initrd.img-{k3}")?;
    // Missing when the image was made: may belong into it. A kernel without an image gets none.
    scene.exits(0, "dkms reconcile -k {k} -k {k3}")?;
    let calls = scene.calls("update-initramfs")?;
    let k = scene.bed.kernel()?.to_owned();
    ensure!(calls == [format!("-u -k {k}")], "update-initramfs was called with {calls:?}");
    let depmods = scene.calls("depmod")?;
    ensure!(depmods.len() == 2, "depmod was called with {depmods:?}");
    // Another version of what the image does not hold, then of what it holds.
    let touch =
        |n: u32| format!("echo '#define CONFIG_N{n} 1' >>/usr/src/linux-headers-{{k}}/include/generated/autoconf.h");
    scene.ok(&touch(1))?;
    scene.exits(0, "dkms reconcile -k {k}")?;
    ensure!(scene.calls("lsinitramfs")?.len() == 1, "lsinitramfs was not asked once");
    ensure!(scene.calls("update-initramfs")?.is_empty(), "the image was renewed for nothing");
    scene.ok("echo usr/lib/modules/x/updates/dkms/two.ko.xz >/root/initramfs")?;
    scene.ok(&touch(2))?;
    scene.exits(0, "dkms reconcile -k {k}")?;
    ensure!(scene.calls("update-initramfs")?.len() == 1, "the image was not renewed once");
    // A later hook does it.
    scene.ok(&touch(3))?;
    scene.exits(0, "dkms reconcile -k {k} --initramfs=later")?;
    ensure!(scene.calls("update-initramfs")?.is_empty(), "the image was renewed although a hook will");
    ensure!(scene.calls("depmod")?.len() == 3, "depmod did not run once a time");
    // Before all modules of a kernel go, and after them.
    scene.exits(0, "dkms kernel_prerm -k {k3}")?;
    let depmods = scene.calls("depmod")?;
    ensure!(depmods.len() == 2, "kernel_prerm called depmod with {depmods:?}");
    // A tool that fails is told, counts where strictness is asked for, and is called again by the next run.
    scene.ok("mv $(command -v update-initramfs) /root/tool; printf '#!/bin/sh\\necho no room; exit 1\\n' >/usr/local/sbin/update-initramfs; chmod +x /usr/local/sbin/update-initramfs")?;
    scene.ok(&touch(4))?;
    let said = scene.exits(11, "dkms reconcile -k {k} --strict")?;
    says(&said, &["is not renewed", "no room"])?;
    scene.ok("mv /root/tool /usr/local/sbin/update-initramfs")?;
    scene.exits(0, "dkms reconcile -k {k} --strict")?;
    ensure!(scene.calls("update-initramfs")?.len() == 1, "what failed was not made up for");
    scene.exits(0, "dkms reconcile -k {k} --strict")?;
    ensure!(scene.calls("update-initramfs")?.is_empty(), "what was made up for was made again");
    Ok(())
}
