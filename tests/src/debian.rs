//! Debian roots with real package managers, for the suites of the Debian family.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};

use crate::bed::{Base, Bed};
use crate::run::{command, run};
use crate::settings;

/// The bed of `suite` that `tests/scripts/make-debian-bed.sh` makes: kept, or made now. Its kernels are listed newest
/// first; only the oldest is installed, the others' packages are in apt's cache.
pub fn base(suite: &str) -> Result<Base> {
    let script = settings::project().join("tests/scripts/make-debian-bed.sh");
    let mut hasher = DefaultHasher::new();
    for script in ["make-debian-bed.sh", "make-bed.sh"] {
        fs_err::read(settings::project().join("tests/scripts").join(script))?.hash(&mut hasher);
    }
    let name = format!("{suite}-{:08x}", hasher.finish() >> 32);
    Base::kept(&settings::cache().join("debian"), &name, |new| {
        run(command("bash").arg(&script).arg(suite).arg(new), b"")?.ok()?;
        Ok(())
    })
}

/// What a fresh Debian has besides what is essential, as far as kernel modules go.
const FRESH: &[&str] = &["dkms", "initramfs-tools", "xz-utils", "zstd", "openssl", "file", "libc6-dev"];

/// Debian 13 as an installation leaves it: its general kernel with headers, initramfs-tools, the classic dkms with its hooks.
/// Nothing of a later test needs a network: the `packages` and the classic are in apt's cache.
pub fn fresh(packages: &[&str]) -> Result<Base> {
    let scripts = settings::project().join("tests/scripts");
    let script = scripts.join("make-bed.sh");
    let mut hasher = DefaultHasher::new();
    (FRESH, packages, fs_err::read_to_string(&script)?).hash(&mut hasher);
    let name = format!("fresh-trixie-{:08x}", hasher.finish() >> 32);
    Base::kept(&settings::cache().join("debian"), &name, |new| {
        run(command("bash").arg(&script).arg("trixie").arg(new).args(["1", "full"]).args(FRESH), b"")?.ok()?;
        let fetch = format!(
            "mkdir -p /usr/share/dkms-bed; dpkg-query -W -f '${{Version}}' dkms >/usr/share/dkms-bed/classic
             apt-get -q -y install --download-only --reinstall dkms >/dev/null
             apt-get -q -y install --download-only {} >/dev/null",
            packages.join(" ")
        );
        run(command(scripts.join("in-bed.sh")).arg(new).args(["sh", "-ec", &fetch]), b"")?.ok()?;
        Ok(())
    })
}

/// Our packages, as `make deb` leaves them; `None` if it has not run.
pub fn our_packages() -> Option<PathBuf> {
    let dir = settings::debs();
    let entries = fs_err::read_dir(&dir).ok()?;
    let found = entries.flatten().any(|entry| entry.file_name().to_string_lossy().starts_with("dkms_"));
    found.then_some(dir)
}

/// The summary at the end of what apt said: there is one, and nothing comes after it.
pub fn summary(said: &str) -> Result<&str> {
    ensure!(said.matches("DKMS summary").count() == 1, "not one summary\n{said}");
    let summary = said.split("DKMS summary").nth(1).unwrap_or_default();
    // apt's own complaint about a failed dpkg is said by another process.
    let after = |line: &&str| {
        ["Setting up", "Processing", "Unpacking", "Renewing", "Running"].iter().any(|w| line.starts_with(w))
    };
    ensure!(summary.lines().find(after).is_none(), "the summary is not the last word\n{said}");
    Ok(summary)
}

/// A clone of a Debian bed, and what is done in it again and again.
#[derive(Debug)]
pub struct Machine {
    /// The bed.
    pub bed: Bed,
}

impl Machine {
    /// A clone of the bed of `suite`, with the classic dkms.
    pub fn classic(suite: &str) -> Result<Self> {
        Self::on(&base(suite)?)
    }

    /// A clone of `base`, with our packages at hand.
    pub fn on(base: &Base) -> Result<Self> {
        let bed = Bed::classic(base)?;
        let packages = our_packages().context("there are no packages of ours: run `make deb`")?;
        bed.copy_in(&packages, "/srv/ours")?;
        bed.copy_in(&settings::project().join("tests/scripts/module-deb.sh"), "/usr/local/bin/module-deb")?;
        Ok(Self { bed })
    }

    /// The same, after our package was installed over the classic's.
    pub fn ours(suite: &str) -> Result<Self> {
        let machine = Self::classic(suite)?;
        machine.install_ours()?;
        Ok(machine)
    }

    /// Installs our package `dkms`.
    pub fn install_ours(&self) -> Result<()> {
        self.apt("install --allow-downgrades /srv/ours/dkms_*.deb")?;
        Ok(())
    }

    /// Puts the classic's package back.
    pub fn install_classic(&self) -> Result<()> {
        self.bed.ok("apt-get -q -y --allow-downgrades install \"dkms=$(cat /usr/share/dkms-bed/classic)\"")?;
        Ok(())
    }

    /// Makes `NAME-dkms` VERSION-REVISION with `code` in its module; its .deb is `/srv/NAME-dkms_VERSION-REVISION_all.deb`.
    pub fn make_module(&self, name: &str, version: &str, revision: u32, code: &str) -> Result<()> {
        let revision = revision.to_string();
        self.bed.run(&["module-deb", "/srv", name, version, &revision, code])?.ok().context("make a module package")?;
        Ok(())
    }

    /// apt-get with these words, which has to succeed; what it said, both streams.
    pub fn apt(&self, words: &str) -> Result<String> {
        let (code, said) = self.try_apt(words)?;
        ensure!(code == 0, "apt-get {words}: exit code {code}\n{said}");
        Ok(said)
    }

    /// apt-get with these words: its exit code, and what it said.
    pub fn try_apt(&self, words: &str) -> Result<(i32, String)> {
        let out = self.bed.sh(&format!("exec 2>&1; apt-get -q -y {words}"))?;
        Ok((out.code, out.stdout))
    }

    /// The states of what dkms knows, without architecture and sorted: `hello/1.0 6.1 installed`.
    pub fn status(&self) -> Result<Vec<String>> {
        let text = self.bed.ok("dkms status")?;
        Ok(text.lines().map(str::to_owned).collect())
    }

    /// Whether `dkms status` says that `package` is installed for `kernel`, and its module is there and loadable there.
    pub fn has(&self, package: &str, kernel: &str) -> Result<()> {
        let name = package.split('/').next().unwrap_or(package);
        let line = format!("{package}, {kernel}, x86_64: installed");
        let status = self.status()?;
        ensure!(
            status.iter().any(|l| l.starts_with(&line)),
            "{package} is not installed for {kernel}:\n{}",
            status.join("\n")
        );
        let said = self.bed.sh(&format!(
            "f=$(modinfo -k {kernel} -F filename {name}) && case $f in */updates/dkms/*) ;; *) echo \"$f\"; exit 1 ;; esac &&
             v=$(modinfo -k {kernel} -F vermagic {name}) && [ \"${{v%% *}}\" = {kernel} ]"
        ))?;
        ensure!(said.code == 0, "{name} is not where modprobe finds it for {kernel}: {}", said.tail());
        Ok(())
    }

    /// Nothing of `package` is there for `kernel`.
    pub fn has_not(&self, package: &str, kernel: &str) -> Result<()> {
        let line = format!("{package}, {kernel}, ");
        let status = self.status()?;
        ensure!(
            !status.iter().any(|l| l.starts_with(&line)),
            "{package} is there for {kernel}:\n{}",
            status.join("\n")
        );
        Ok(())
    }

    /// The kernel that is installed from the start.
    pub fn installed_kernel(&self) -> Result<String> {
        self.bed.base().kernels.last().cloned().context("the bed has no kernel")
    }

    /// No version waits for its successor.
    pub fn nothing_kept(&self) -> Result<()> {
        let kept = self.bed.sh("find /var/lib/dkms/.dkms/superseded 2>/dev/null")?.stdout;
        ensure!(kept.is_empty(), "still kept:\n{kept}");
        Ok(())
    }

    /// dpkg has nothing half done, and no trigger is left.
    pub fn dpkg_is_clean(&self) -> Result<()> {
        let audit = self.bed.ok(
            "dpkg --audit; dpkg-query -W -f '${db:Status-Abbrev}${Package}\\n' | grep -vE '^(ii|rc|un) ' || true",
        )?;
        ensure!(audit.trim().is_empty(), "dpkg is not content:\n{audit}");
        Ok(())
    }

    /// The version of the module that is installed for `kernel`: its description, which names the package's revision.
    pub fn revision(&self, name: &str, kernel: &str) -> Result<String> {
        Ok(self.bed.ok(&format!("modinfo -k {kernel} -F description {name}"))?.trim().to_owned())
    }
}
