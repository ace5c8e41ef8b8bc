//! Who calls us: a maintainer script of dpkg, and with which words; or a scriptlet of rpm.
//!
//! dpkg exports the script's name and package (deb-prerm(5), "ENVIRONMENT") but not the words that it runs the script with.
//! Those are in the command line of a process above us: `/bin/sh /var/lib/dpkg/info/PACKAGE.prerm upgrade VERSION`
//! (or `…/tmp.ci/prerm failed-upgrade VERSION`).

use std::ffi::OsStr;
use std::path::Path;

use crate::process::Environment;
use crate::process::ancestry::above;

/// How many processes above us are looked at: a script may call us through others.
const GENERATIONS: usize = 12;

/// The maintainer script that (perhaps indirectly) runs us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MaintainerScript {
    /// The dpkg package whose script it is.
    pub package: String,
    /// Which of its scripts: `preinst`, `postinst`, `prerm`, `postrm`.
    pub name: String,
    /// What it was called with (`upgrade 1.0-2`); empty if that is not known.
    pub words: Vec<String>,
}

impl MaintainerScript {
    /// The script that process `pid` runs in, by its environment and by `proc` (proc(5)); `None` outside of dpkg.
    pub fn of(environment: &Environment, proc: &Path, pid: u32) -> Option<Self> {
        let text = |key: &str| {
            let value = environment.get(OsStr::new(key))?.to_str()?;
            (!value.is_empty()).then(|| value.to_owned())
        };
        let name = text("DPKG_MAINTSCRIPT_NAME")?;
        let package = text("DPKG_MAINTSCRIPT_PACKAGE")?;
        let words = words(proc, pid, &name).unwrap_or_default();
        Some(Self { package, name, words })
    }

    /// The first word it was called with.
    pub fn action(&self) -> Option<&str> {
        self.words.first().map(String::as_str)
    }

    /// Whether its package's files are about to be replaced or may come back, rather than to go for good. What can't be
    /// told counts as such: keeping too much can be mended later.
    pub fn keeps_package(&self) -> bool {
        self.name == "prerm" && self.action() != Some("remove")
    }
}

/// The scriptlet of an rpm package that (perhaps indirectly) runs us. rpm writes it to a file and runs that with one
/// number: `/bin/sh /var/tmp/rpm-tmp.KG4OvJ 1` (rpm-scriptlets(7); the name is that of rpm's temporary files).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RpmScriptlet {
    /// How many instances of its package there will be when its part of the transaction is done: 0 in the %preun of one
    /// that goes for good, 1 in that of one that was upgraded.
    pub instances: u32,
}

impl RpmScriptlet {
    /// The scriptlet that process `pid` runs in; `proc` is proc(5).
    pub fn of(proc: &Path, pid: u32) -> Option<Self> {
        let words = behind(proc, pid, |word| {
            word.rsplit_once('/').is_some_and(|(dir, name)| dir.ends_with("tmp") && name.starts_with("rpm-tmp."))
        })?;
        Some(Self { instances: words.first()?.parse().ok()? })
    }

    /// Whether its package stays: what it wants removed is only being replaced.
    pub fn keeps_package(self) -> bool {
        self.instances > 0
    }
}

/// The words behind the script's path in the command line of the nearest process that has it.
fn words(proc: &Path, pid: u32, script: &str) -> Option<Vec<String>> {
    behind(proc, pid, |word| is_script(word, script))
}

/// The words behind the script for which `is_script` holds, in the command line of the nearest process that has it.
fn behind(proc: &Path, pid: u32, is_script: impl Fn(&str) -> bool) -> Option<Vec<String>> {
    for pid in std::iter::once(pid).chain(above(proc, pid)).take(GENERATIONS) {
        let line = std::fs::read(proc.join(pid.to_string()).join("cmdline")).ok()?;
        let line: Vec<String> =
            line.split(|byte| *byte == 0).map(|word| String::from_utf8_lossy(word).into_owned()).collect();
        // The interpreter and its options stand before the script.
        let at = line.iter().take(4).position(|word| is_script(word));
        if let Some(at) = at {
            return Some(line[at + 1..].iter().take_while(|word| !word.is_empty()).cloned().collect());
        }
    }
    None
}

/// `/var/lib/dpkg/info/hello-dkms.prerm`, `/var/lib/dpkg/tmp.ci/prerm`.
fn is_script(word: &str, script: &str) -> bool {
    let Some((dir, name)) = word.rsplit_once('/') else { return false };
    (dir.ends_with("/info") && name.strip_suffix(script).is_some_and(|rest| rest.ends_with('.')))
        || (dir.ends_with("/tmp.ci") && name == script)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(proc: &Path, pid: u32, parent: u32, words: &[&str]) {
        let dir = proc.join(pid.to_string());
        fs_err::create_dir_all(&dir).unwrap();
        let line: Vec<u8> = words.iter().flat_map(|word| word.bytes().chain([0])).collect();
        fs_err::write(dir.join("cmdline"), line).unwrap();
        crate::process::ancestry::tests::stat(proc, pid, "x", parent);
    }

    fn environment(name: &str) -> Environment {
        [("DPKG_MAINTSCRIPT_NAME", name), ("DPKG_MAINTSCRIPT_PACKAGE", "hello-dkms")]
            .map(|(key, value)| (key.into(), value.into()))
            .into()
    }

    #[test]
    fn the_words_are_found_above_us() {
        for (line, words, keeps) in [
            (&["/bin/sh", "/var/lib/dpkg/info/hello-dkms.prerm", "upgrade", "2-1"][..], &["upgrade", "2-1"][..], true),
            (&["/bin/sh", "-e", "/var/lib/dpkg/info/hello-dkms:amd64.prerm", "remove"], &["remove"], false),
            (&["/var/lib/dpkg/tmp.ci/prerm", "failed-upgrade", "1-1"], &["failed-upgrade", "1-1"], true),
            (&["/bin/sh", "/usr/sbin/prerm", "remove"], &[], true),
            (&["vi", "/var/lib/dpkg/info/hello-dkms.postrm", "remove"], &[], true),
        ] {
            let proc = tempfile::tempdir().unwrap();
            process(proc.path(), 1, 0, &["init"]);
            process(proc.path(), 7, 1, line);
            process(proc.path(), 8, 7, &["sh", "-c", "dkms remove"]);
            process(proc.path(), 9, 8, &["dkms", "remove", "remove"]);
            let script = MaintainerScript::of(&environment("prerm"), proc.path(), 9).unwrap();
            assert_eq!(script.words, words, "{line:?}");
            assert_eq!(script.package, "hello-dkms");
            assert_eq!(script.keeps_package(), keeps, "{line:?}");
        }
    }

    #[test]
    fn rpm_says_how_many_stay() {
        for (line, expected) in [
            (&["/bin/sh", "/var/tmp/rpm-tmp.KG4OvJ", "1"][..], Some(1)),
            (&["/usr/bin/bash", "-e", "/var/tmp/rpm-tmp.x", "0"], Some(0)),
            (&["/bin/sh", "/var/tmp/rpm-tmp.x"], None),
            (&["/bin/sh", "/var/tmp/other", "1"], None),
            (&["vi", "rpm-tmp.x", "1"], None),
        ] {
            let proc = tempfile::tempdir().unwrap();
            process(proc.path(), 1, 0, &["init"]);
            process(proc.path(), 7, 1, line);
            process(proc.path(), 9, 7, &["dkms", "remove", "hello/1.0", "--all"]);
            let found = RpmScriptlet::of(proc.path(), 9);
            assert_eq!(found.map(|scriptlet| scriptlet.instances), expected, "{line:?}");
            assert_eq!(found.is_some_and(RpmScriptlet::keeps_package), expected == Some(1));
        }
    }

    #[test]
    fn elsewhere_nobody_calls() {
        let proc = tempfile::tempdir().unwrap();
        assert_eq!(MaintainerScript::of(&Environment::new(), proc.path(), 9), None);
        let script = MaintainerScript::of(&environment("postinst"), proc.path(), 9).unwrap();
        assert!(!script.keeps_package() && script.words.is_empty());
    }
}
