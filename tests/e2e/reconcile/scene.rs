//! A bed with packages in it, and stand-ins that count how often the slow system tools are called.

use anyhow::{Context, Result, ensure};
use dkms_tests::bed::{Base, Bed};
use dkms_tests::compare::fill;
use dkms_tests::hello::Package;
use dkms_tests::run::Outcome;

/// Writes its arguments to `/root/calls.NAME`; then does what `then` says.
fn counting(name: &str, then: &str) -> String {
    format!("#!/bin/sh\necho \"$*\" >>/root/calls.{name}\n{then}\n")
}

/// A bed that is played with.
pub struct Scene {
    pub bed: Bed,
}

impl Scene {
    /// Debian 13 with three kernels, and these packages' sources in `/usr/src`.
    pub fn new(packages: &[Package]) -> Result<Self> {
        Self::on(&Base::trixie()?, packages)
    }

    pub fn on(base: &Base, packages: &[Package]) -> Result<Self> {
        let scene = Self { bed: Bed::subject(base)? };
        // Where builds, which are nobody of this system, can leave a word.
        scene.ok("mkdir -m 0777 /srv/told")?;
        // Signing is another suite's matter, and takes time.
        scene.ok(
            "mkdir -p /etc/dkms/framework.conf.d; echo 'try_sign_modules=false' >/etc/dkms/framework.conf.d/t.conf",
        )?;
        scene.bed.write("/usr/local/sbin/depmod", counting("depmod", "exec /usr/sbin/depmod \"$@\""))?;
        scene.bed.write("/usr/local/sbin/update-initramfs", counting("update-initramfs", ""))?;
        scene
            .bed
            .write("/usr/local/sbin/lsinitramfs", counting("lsinitramfs", "cat /root/initramfs 2>/dev/null; true"))?;
        scene.lay(packages)?;
        Ok(scene)
    }

    /// Puts packages' sources into `/usr/src`.
    pub fn lay(&self, packages: &[Package]) -> Result<()> {
        let hand = tempfile::tempdir()?;
        for package in packages {
            package.build_in(hand.path())?;
        }
        self.bed.copy_in(hand.path(), "/root/hand")?;
        self.ok("cp -a /root/hand/. /usr/src/; rm -r /root/hand")?;
        Ok(())
    }

    /// Registers them.
    pub fn add(&self, ids: &[&str]) -> Result<()> {
        for id in ids {
            self.ok(&format!("dkms add {id} >/dev/null"))?;
        }
        Ok(())
    }

    /// Runs a shell script with `{k}`, `{k2}`, `{k3}` and `{a}` filled in.
    pub fn run(&self, script: &str) -> Result<Outcome> {
        self.bed.sh(&fill(self.bed.base(), script))
    }

    /// A script that has to end with `code`; gives both streams.
    pub fn exits(&self, code: i32, script: &str) -> Result<String> {
        let outcome = self.run(script)?.exits(code).with_context(|| format!("`{script}`"))?;
        Ok(outcome.stdout + &outcome.stderr)
    }

    /// A script that has to succeed; gives its standard output.
    pub fn ok(&self, script: &str) -> Result<String> {
        self.bed.ok(&fill(self.bed.base(), script))
    }

    /// What `dkms status` says.
    pub fn status(&self) -> Result<String> {
        self.ok("dkms status")
    }

    /// Fails unless `dkms status` has exactly these lines (with `{k}` and so on), in any order.
    pub fn status_is(&self, lines: &[&str]) -> Result<()> {
        let mut expected: Vec<String> = lines.iter().map(|line| fill(self.bed.base(), line)).collect();
        let text = self.status()?;
        let mut found: Vec<&str> = text.lines().collect();
        expected.sort();
        found.sort_unstable();
        ensure!(found == expected, "status is\n{}\ninstead of\n{}", found.join("\n"), expected.join("\n"));
        Ok(())
    }

    /// Everything that dkms could have changed, as one text.
    pub fn digest(&self) -> Result<String> {
        self.ok("for d in /lib/modules/*/ /var/lib/dkms /etc/dkms /boot; do
               find $d -printf '%p %y %m %s %i %T@ %l\\n'; done | sort
             find /usr/src -maxdepth 2 -printf '%p %y %s %T@ %l\\n' | sort")
    }

    /// The arguments of every call of a counted tool since the last time. Asking for its version does not count.
    pub fn calls(&self, tool: &str) -> Result<Vec<String>> {
        let text =
            self.ok(&format!("[ ! -e /root/calls.{tool} ] || cat /root/calls.{tool}; rm -f /root/calls.{tool}"))?;
        Ok(text.lines().filter(|line| line.trim() != "--version").map(str::to_owned).collect())
    }

    /// The kernel `k`, `k2` or `k3` is not there until it comes.
    pub fn hide_kernel(&self, k: &str) -> Result<()> {
        self.ok(&format!("mkdir -p /root/hidden; mv /lib/modules/{{{k}}} /root/hidden/"))?;
        Ok(())
    }

    pub fn kernel_comes(&self, k: &str) -> Result<()> {
        self.ok(&format!("mv /root/hidden/{{{k}}} /lib/modules/"))?;
        Ok(())
    }

    pub fn hide_headers(&self, k: &str) -> Result<()> {
        self.ok(&format!("mv /lib/modules/{{{k}}}/build /root/build-{k}"))?;
        Ok(())
    }

    pub fn headers_come(&self, k: &str) -> Result<()> {
        self.ok(&format!("mv /root/build-{k} /lib/modules/{{{k}}}/build"))?;
        Ok(())
    }
}

/// Fails unless `text` contains every one of these.
pub fn says(text: &str, words: &[&str]) -> Result<()> {
    for word in words {
        ensure!(text.contains(word), "it does not say {word:?} but\n{text}");
    }
    Ok(())
}
