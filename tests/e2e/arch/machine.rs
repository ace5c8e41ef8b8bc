//! A root of pacman's with our package or the classic, and what is asked of it.

use std::cell::RefCell;
use std::path::PathBuf;
use std::sync::Mutex;

use anyhow::{Context, Result, ensure};
use dkms_tests::arch;
use dkms_tests::bed::Bed;
use dkms_tests::settings;

/// Our package for each suite, made once a run.
static PACKAGES: Mutex<Vec<(&str, PathBuf, tempfile::TempDir)>> = Mutex::new(Vec::new());

fn package(suite: &'static str) -> Result<PathBuf> {
    let mut made = PACKAGES.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if let Some((_, path, _)) = made.iter().find(|(other, ..)| *other == suite) {
        return Ok(path.clone());
    }
    let directory = tempfile::tempdir()?;
    let path = arch::package(suite, directory.path())?;
    made.push((suite, path.clone(), directory));
    Ok(path)
}

/// A root of pacman's, and what pacman said last.
pub struct Arch(pub Bed, RefCell<String>);

impl Arch {
    /// With our package.
    pub fn ours(suite: &'static str) -> Result<Self> {
        let arch = Self::bare(suite)?;
        arch.pacman("-Udd --overwrite '*' /srv/dkms.pkg.tar.zst")?;
        Ok(arch)
    }

    /// With our package at hand, not installed.
    pub fn bare(suite: &'static str) -> Result<Self> {
        let bed = Bed::classic(&arch::root(suite)?)?;
        bed.copy_in(&package(suite)?, "/srv/dkms.pkg.tar.zst")?;
        // What Debian's package of the same name has put there.
        bed.ok("rm -rf /usr/sbin/dkms /usr/lib/dkms /etc/dkms /usr/share/man/man8/dkms.8* /usr/share/bash-completion/completions/dkms")?;
        Ok(Self(bed, RefCell::default()))
    }

    /// With the classic program, and hooks that do what Arch's do.
    pub fn classic(suite: &'static str) -> Result<Self> {
        let bed = Bed::classic(&arch::root(suite)?)?;
        let hooks = settings::project().join("tests/scripts/arch-classic-hooks.sh");
        bed.run_with_input(&["bash"], &fs_err::read(hooks)?)?.ok()?;
        Ok(Self(bed, RefCell::default()))
    }

    /// The same as a package: `/srv/classic.pkg.tar` here holds its program, its configuration and those hooks. (Arch's own is
    /// not in Debian's archive.)
    pub fn pack_classic(&self, suite: &'static str) -> Result<()> {
        let classic = Self::classic(suite)?;
        classic.0.ok(
            "mkdir -p /srv/pkg/usr/bin; cd /srv/pkg; cp /usr/sbin/dkms usr/bin/
             { printf 'pkgname = dkms\\npkgbase = dkms\\nxdata = pkgtype=pkg\\npkgver = 3.2.2-1\\npkgdesc = dkms\\n'
               printf 'builddate = 1\\npackager = Nobody <nobody@example.org>\\nsize = 1\\narch = any\\nlicense = GPL\\n'
               printf 'backup = etc/dkms/framework.conf\\n'; } >.PKGINFO
             cp -a --parents /etc/dkms/framework.conf /usr/share/libalpm/scripts/dkms /usr/share/libalpm/hooks/7[01]-dkms-* .
             bsdtar -cf /mnt/classic.pkg.tar --uid 0 --gid 0 .PKGINFO etc usr",
        )?;
        self.0.copy_in(&classic.0.exchange().join("classic.pkg.tar"), "/srv/classic.pkg.tar")
    }

    /// Runs pacman, which has to succeed; gives all that it and the hooks said.
    pub fn pacman(&self, words: &str) -> Result<String> {
        let said = self.0.sh(&format!("pacman --noconfirm {words} 2>&1"))?;
        let text = said.stdout.clone();
        self.1.replace(text.clone());
        said.ok().with_context(|| format!("pacman {words}"))?;
        ensure!(!text.contains("panicked") && !text.contains("failed to execute"), "pacman {words}:\n{text}");
        Ok(text)
    }

    /// What the archive has from now on: packages with their versions.
    pub fn archive(&self, packages: &str) -> Result<()> {
        self.0.ok(&format!("repo {packages}"))?;
        Ok(())
    }

    /// `kernel module version` of each module beside a kernel that depmod knows, a line each.
    pub fn modules(&self) -> Result<String> {
        self.0.ok(
            "for f in /usr/lib/modules/*/updates/dkms/*.ko*; do [ -e \"$f\" ] || continue
             k=${f#/usr/lib/modules/} k=${k%%/*} n=$(basename \"${f%.ko*}\")
             echo $k $n $(modinfo -k $k -F version $n); done | sed 's/ acpi_call .*/ acpi_call/; s/ bbswitch .*/ bbswitch/'",
        )
    }

    pub fn has(&self, modules: &[(&str, &str)]) -> Result<()> {
        let found = self.modules()?;
        let mut wanted: Vec<String> = modules.iter().map(|(kernel, module)| format!("{kernel} {module}")).collect();
        wanted.sort();
        let mut lines: Vec<&str> = found.lines().collect();
        lines.sort_unstable();
        ensure!(
            lines == wanted,
            "the modules are\n{}\ninstead of\n{}\nafter pacman said\n{}",
            lines.join("\n"),
            wanted.join("\n"),
            self.1.borrow()
        );
        Ok(())
    }

    /// What the hooks of other packages saw since the last time.
    pub fn observed(&self) -> Result<String> {
        self.0.ok("[ ! -e /var/log/observed ] || cat /var/log/observed; rm -f /var/log/observed")
    }
}

pub fn says(text: &str, words: &[&str]) -> Result<()> {
    for word in words {
        ensure!(text.contains(word), "{word:?} is missing in\n{text}");
    }
    Ok(())
}

pub fn silent(text: &str, words: &[&str]) -> Result<()> {
    for word in words {
        ensure!(!text.contains(word), "{word:?} should not be in\n{text}");
    }
    Ok(())
}
