//! What goes into the package: dkms.conf, the relation, the snippets. Doing it twice changes nothing.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::error::Error;
use crate::input::Conf;
use crate::options::Options;
use crate::packages::Package;

const POSTINST: &str = include_str!("../autoscripts/postinst-dkms");
const PRERM: &str = include_str!("../autoscripts/prerm-dkms");

/// Puts `conf` into `package`, in the source package at `dir`.
pub fn write(dir: &Path, package: &Package, conf: &Conf, options: &Options) -> Result<(), Error> {
    let top = options.tmpdir.clone().unwrap_or_else(|| format!("debian/{}", package.name));
    let target = PathBuf::from(top).join(format!("usr/src/{}-{}/dkms.conf", conf.name, conf.version));
    tell(options, &format!("install -m 0644 dkms.conf {}", target.display()));
    if !options.no_act {
        let target = dir.join(target);
        if let Some(parent) = target.parent() {
            fs_err::create_dir_all(parent)?;
        }
        fs_err::write(&target, &conf.text)?;
        fs_err::set_permissions(&target, std::fs::Permissions::from_mode(0o644))?;
    }
    let needed = if conf.needs_exclusive { "dkms (>= 3.0.11)" } else { "dkms (>= 2.1.0.0)" };
    let file = dir.join(format!("debian/{}.substvars", package.name));
    change(&file, options, |text| substitution(text, "misc:Depends", needed))?;
    if options.no_scripts {
        return Ok(());
    }
    for (script, snippet) in [("postinst", POSTINST), ("prerm", PRERM)] {
        let snippet = snippet.replace("#MODULE_NAME#", &conf.name).replace("#MODULE_VERSION#", &conf.version);
        let file = dir.join(format!("debian/{}.{script}.debhelper", package.name));
        change(&file, options, |text| with_snippet(text, script, &snippet))?;
    }
    Ok(())
}

/// Notes that this command has run, where dh goes by that: compatibility levels up to 9.
pub fn log(dir: &Path, packages: &[Package], compat: Option<u32>, options: &Options) -> Result<(), Error> {
    if compat.is_none_or(|compat| compat > 9) || options.no_act {
        return Ok(());
    }
    for package in packages {
        let file = dir.join(format!("debian/{}.debhelper.log", package.name));
        change(&file, options, |text| {
            if text.lines().any(|line| line == "dh_dkms") { text.to_owned() } else { format!("{text}dh_dkms\n") }
        })?;
    }
    Ok(())
}

fn change(file: &Path, options: &Options, edit: impl FnOnce(&str) -> String) -> Result<(), Error> {
    let before = if file.exists() { fs_err::read_to_string(file)? } else { String::new() };
    let after = edit(&before);
    if before == after {
        return Ok(());
    }
    tell(options, &format!("edit {}", file.display()));
    if !options.no_act {
        fs_err::write(file, after)?;
    }
    Ok(())
}

/// The substvars file with `relation` in the list of `variable` (deb-substvars(5)).
fn substitution(text: &str, variable: &str, relation: &str) -> String {
    let prefix = format!("{variable}=");
    let mut found = false;
    let mut lines: Vec<String> = Vec::new();
    for line in text.lines() {
        let Some(list) = line.strip_prefix(&prefix) else {
            lines.push(line.to_owned());
            continue;
        };
        found = true;
        let mut relations: Vec<&str> = list.split(',').map(str::trim).filter(|item| !item.is_empty()).collect();
        if !relations.contains(&relation) {
            relations.push(relation);
        }
        lines.push(format!("{prefix}{}", relations.join(", ")));
    }
    if !found {
        lines.push(format!("{prefix}{relation}"));
    }
    lines.join("\n") + "\n"
}

/// The file of snippets with `snippet` in it, framed as debhelper's own (`autoscript` in Debian::Debhelper::Dh_Lib): at
/// the end, or, in scripts that take things down, at the beginning.
fn with_snippet(text: &str, script: &str, snippet: &str) -> String {
    let framed = format!(
        "# Automatically added by dh_dkms/{}\n{}\n# End automatically added section\n",
        env!("CARGO_PKG_VERSION"),
        snippet.trim_end()
    );
    if text.contains(&framed) {
        return text.to_owned();
    }
    if matches!(script, "prerm" | "postrm") { framed + text } else { text.to_owned() + &framed }
}

fn tell(options: &Options, text: &str) {
    if options.verbose || options.no_act {
        // debhelper prints what it does with a tab in front.
        let _ = writeln!(std::io::stdout(), "\t{text}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn twice_is_as_once() {
        let tmp = tempfile::tempdir().unwrap();
        fs_err::create_dir(tmp.path().join("debian")).unwrap();
        let read = |name: &str| fs_err::read_to_string(tmp.path().join("debian").join(name)).unwrap_or_default();
        fs_err::write(tmp.path().join("debian/x.substvars"), "misc:Pre-Depends=\nmisc:Depends=debconf\n").unwrap();
        fs_err::write(tmp.path().join("debian/x.prerm.debhelper"), "other\n").unwrap();
        let package = Package { name: "x".into(), indep: true };
        let conf = Conf { name: "hello".into(), version: "1.0".into(), text: "A=1\n".into(), needs_exclusive: true };
        let options = Options::default();
        write(tmp.path(), &package, &conf, &options).unwrap();
        let first = (read("x.substvars"), read("x.postinst.debhelper"), read("x.prerm.debhelper"));
        write(tmp.path(), &package, &conf, &options).unwrap();
        assert_eq!((read("x.substvars"), read("x.postinst.debhelper"), read("x.prerm.debhelper")), first);
        assert_eq!(first.0, "misc:Pre-Depends=\nmisc:Depends=debconf, dkms (>= 3.0.11)\n");
        assert!(first.1.contains("common.postinst") && first.1.contains("hello 1.0"));
        assert!(first.2.ends_with("# End automatically added section\nother\n"), "{}", first.2);
        assert_eq!(read("x/usr/src/hello-1.0/dkms.conf"), "A=1\n");
        log(tmp.path(), std::slice::from_ref(&package), Some(9), &options).unwrap();
        log(tmp.path(), &[package], Some(13), &options).unwrap();
        assert_eq!(read("x.debhelper.log"), "dh_dkms\n");
    }

    #[test]
    fn no_act_acts_not() {
        let tmp = tempfile::tempdir().unwrap();
        fs_err::create_dir(tmp.path().join("debian")).unwrap();
        let package = Package { name: "x".into(), indep: true };
        let conf = Conf { name: "hello".into(), version: "1.0".into(), text: String::new(), needs_exclusive: false };
        write(tmp.path(), &package, &conf, &Options { no_act: true, ..Options::default() }).unwrap();
        assert_eq!(fs_err::read_dir(tmp.path().join("debian")).unwrap().count(), 0);
    }
}
