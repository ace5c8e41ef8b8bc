//! Runs that are killed or asked to end before they are done.

use anyhow::{Result, ensure};
use dkms_tests::hello::package;

use super::scene::{Scene, says};

/// Killed while it renews the initramfs, at the latest: the next run, whoever starts it, renews it, once. Until then everybody
/// who looks is told.
pub fn left_undone() -> Result<()> {
    let scene = Scene::new(&[package("hello")])?;
    scene.add(&["hello/1.0"])?;
    scene.ok("cp /usr/local/sbin/update-initramfs /root/tool
         printf '#!/bin/sh\nkill -9 $PPID\n' >/usr/local/sbin/update-initramfs")?;
    // Not as the first process of the bed, which nobody inside can kill.
    scene.exits(137, "dkms reconcile -k {k}; exit $?")?;
    scene.ok("cp /root/tool /usr/local/sbin/update-initramfs; rm -f /root/calls.*")?;
    scene.ok("dkms status --long | grep 'interrupted run left initramfs undone'
         dkms status --long --format json | grep -A1 '\"overdue\"' | grep '\"initramfs\"'
         dkms reconcile --dry-run | grep 'Would renew the initramfs of kernel {k}'
         dkms reconcile --dry-run --format json | grep -A3 '\"overdue\"' | grep '\"kernel\": \"{k}\"'
         dkms reconcile --dry-run --initramfs=never | (! grep initramfs)")?;
    // Not this run's business.
    scene.exits(0, "dkms reconcile -k {k} --initramfs=never")?;
    ensure!(scene.calls("update-initramfs")?.is_empty(), "the image was renewed by who should not");
    scene.exits(0, "dkms reconcile --event=headers-installed -k {k}")?;
    let calls = scene.calls("update-initramfs")?;
    ensure!(calls.len() == 1, "update-initramfs was called with {calls:?}");
    scene.exits(0, "dkms reconcile -k {k}")?;
    ensure!(scene.calls("update-initramfs")?.is_empty(), "what was done is done again");
    scene.ok("[ -z \"$(find /var/lib/dkms/.dkms/owed -type f)\" ]; (! dkms status --long | grep undone)")?;
    // Of an image that holds nothing of ours, and of a kernel that is gone, nothing is overdue.
    scene.ok("mkdir -p /var/lib/dkms/.dkms/owed/initramfs; cd /var/lib/dkms/.dkms/owed/initramfs
         echo hello >'{k}@1-0'; echo '*' >9.9.9@1-0; touch /boot/initrd.img-9.9.9")?;
    scene.exits(0, "dkms reconcile -k {k}")?;
    let calls = scene.calls("update-initramfs")?;
    ensure!(calls.is_empty(), "update-initramfs was called with {calls:?}");
    scene.ok("[ -z \"$(find /var/lib/dkms/.dkms/owed -type f)\" ]")?;
    Ok(())
}

/// Asked to end: builds end, what is installed is indexed, nothing is remembered as a failure, and the next run goes on.
pub fn asked() -> Result<()> {
    let waits = "touch /srv/told/started; while [ ! -e /srv/told/go ]; do read -rt 0.1 <> <(:); done; true";
    let slow = package("slow").depends_on("hello").script("PRE_BUILD", waits);
    let scene = Scene::new(&[package("hello"), slow])?;
    scene.add(&["hello/1.0", "slow/1.0"])?;
    // Without job control, a shell's background processes ignore SIGINT.
    let begin = "set -m; rm -f /srv/told/*; until_true() { for ((n = 0; n < 1200; n++)); do ! \"$@\" || return 0; \
                 read -rt 0.1 <> <(:) || :; done; echo never: \"$@\" >&2; exit 1; }
                 ended() { (! grep -sqa '/slow/1[.]0/build' /proc/[0-9]*/cmdline); }";
    for (name, code) in [("INT", 130), ("TERM", 143), ("HUP", 129)] {
        let said = scene.ok(&format!(
            "{begin}
             dkms reconcile -k {{k}} >/tmp/said 2>&1 & run=$!; until_true test -e /srv/told/started
             kill -{name} $run; wait $run || code=$?; [ $code = {code} ] || {{ cat /tmp/said; echo ended with $code; exit 1; }} >&2
             until_true ended; grep -q updates/dkms/hello /lib/modules/{{k}}/modules.dep
             dkms status slow -k {{k}} --long | (! grep -E 'failed|installed'); [ -z \"$(ls /var/lib/dkms/.dkms/work)\" ]
             dkms status --long | grep 'left initramfs undone' >&2
             cat /tmp/said; dkms uninstall hello/1.0 -k {{k}} >&2"
        ))?;
        let interrupted = format!("Interrupted by SIG{name} after 1 of 2");
        says(&said, &[&interrupted, "Not done: slow/1.0 for kernel", "is still to be renewed"])?;
        ensure!(scene.calls("update-initramfs")?.is_empty(), "an image was made after SIG{name}");
    }
    // Who waits for a lock is no different.
    let said = scene.ok(&format!(
        "{begin}
         dkms install slow/1.0 -k {{k}} --force >/tmp/first 2>&1 & first=$!; until_true test -e /srv/told/started
         dkms install slow/1.0 -k {{k}} --force >/tmp/said 2>&1 & run=$!; until_true grep -q 'Waiting for process' /tmp/said
         kill -TERM $run; wait $run || code=$?; [ $code = 143 ]; cat /tmp/said
         touch /srv/told/go; wait $first"
    ))?;
    says(&said, &["was interrupted by SIGTERM"])?;
    // nohup(1) has SIGHUP ignored, and it stays so.
    scene.ok(&format!(
        "{begin}
         nohup dkms reconcile -k {{k2}} >/tmp/said 2>&1 & run=$!; until_true test -e /srv/told/started
         kill -HUP $run; touch /srv/told/go; wait $run; dkms status slow -k {{k2}} | grep -q ': installed'"
    ))?;
    scene.exits(0, "dkms reconcile -k {k}")?;
    ensure!(scene.status()?.matches(": installed").count() == 4, "not all was made up for");
    Ok(())
}
