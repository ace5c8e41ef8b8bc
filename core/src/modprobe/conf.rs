//! What a package wants modprobe and the boot to know (`MODULES_CONF…`, `MODULES_LOAD`): one file of its
//! own in each of `/etc/modprobe.d` and `/etc/modules-load.d`, there while the package is installed for any
//! kernel. Nobody else's file is touched. `modprobe_conf="no"` in framework.conf turns it off.
//!
//! The classic up to 2.8 edited shared files; what its directives mean today is told in [`compose`].
//! Syntax: modprobe.d(5), modules-load.d(5).

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use crate::conf::Conf;
use crate::context::Context;
use crate::durable;
use crate::facts::Evaluated;
use crate::journal::Change;
use crate::names::{Kernel, Name, is_same_module};
use crate::report::Reporter;

const MODPROBE: &str = "/etc/modprobe.d";
const MODULES_LOAD: &str = "/etc/modules-load.d";
/// Where modprobe looks, besides.
const OTHERS: [&str; 4] = [MODPROBE, "/run/modprobe.d", "/usr/lib/modprobe.d", "/lib/modprobe.d"];

/// The two files' lines, without their head; empty: no file.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Lines {
    /// For modprobe.d.
    pub modprobe: String,
    /// For modules-load.d.
    pub load: String,
}

/// An `alias` of somebody else's: the alias and the module it stands for.
pub type Alias = (String, String);

/// What `conf` asks for, given the aliases in other files.
///
/// - `MODULES_CONF[i]`: a line for modprobe.d as it stands.
/// - `MODULES_CONF_OBSOLETES[i]`: the names of modules that module i replaces. They are blacklisted (they
///   don't load by themselves any more), and their aliases stand for module i, too.
/// - `MODULES_CONF_ALIAS_TYPE[i]`: `eth` makes module i the next free of `eth0`, `eth1`, …, unless it
///   replaces the alias of an obsolete module; with `MODULES_CONF_OBSOLETE_ONLY[i]="yes"` only then.
/// - `MODULES_LOAD[i]` (ours): a module to be loaded at boot.
pub fn compose(conf: &Conf, others: &[Alias]) -> Lines {
    let mut lines = Lines::default();
    // One element is one line: bash has made blanks of newlines already, other control characters go.
    let texts = |name: &str| -> Vec<String> {
        let clean = |text: &str| text.chars().filter(|c| !c.is_control()).collect::<String>().trim().to_owned();
        conf.raw.all(name).map(|(_, text)| clean(text)).filter(|text| !text.is_empty()).collect()
    };
    for text in texts("MODULES_CONF") {
        let _ = writeln!(lines.modprobe, "{text}");
    }
    let mut taken: Vec<String> = others.iter().map(|(alias, _)| alias.clone()).collect();
    for (index, record) in conf.records.iter().enumerate() {
        let module = &record.dest_name;
        let obsolete: Vec<&str> = conf
            .raw
            .text("MODULES_CONF_OBSOLETES", index)
            .into_iter()
            .flat_map(|list| list.split([',', ' ', '\t']))
            .filter(|name| is_word(name) && !is_same_module(name, module))
            .collect();
        let mut inherited = false;
        for old in obsolete {
            let _ = writeln!(lines.modprobe, "blacklist {old}");
            for (alias, _) in others.iter().filter(|(_, target)| is_same_module(target, old)) {
                let _ = writeln!(lines.modprobe, "alias {alias} {module}");
                inherited = true;
            }
        }
        let only = conf.raw.text("MODULES_CONF_OBSOLETE_ONLY", index).is_some_and(|text| text.starts_with(['y', 'Y']));
        let kind = conf.raw.text("MODULES_CONF_ALIAS_TYPE", index).filter(|kind| is_word(kind));
        if let (Some(kind), false) = (kind, inherited || only) {
            let alias = (0..=u32::MAX).map(|n| format!("{kind}{n}")).find(|alias| !taken.contains(alias));
            if let Some(alias) = alias {
                let _ = writeln!(lines.modprobe, "alias {alias} {module}");
                taken.push(alias);
            }
        }
    }
    for name in texts("MODULES_LOAD").into_iter().filter(|name| is_word(name)) {
        let _ = writeln!(lines.load, "{name}");
    }
    lines
}

fn is_word(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || "_-.".contains(c))
}

/// Stages the package's files as its dkms.conf wants them: written, renewed, or removed.
pub fn stage(ctx: &Context, change: &mut Change<'_>, name: &Name, evaluated: &Evaluated, reporter: &dyn Reporter) {
    if !ctx.framework.modprobe_conf {
        return;
    }
    let lines = compose(&evaluated.conf, &aliases(ctx, name));
    for (dir, text) in [(MODPROBE, lines.modprobe), (MODULES_LOAD, lines.load)] {
        let path = ctx.trees.outer(file(dir, name));
        let found = durable::text(&path).ok();
        let occupied = std::fs::symlink_metadata(&path).is_ok();
        let whole = format!("{}\n# Put your own settings into another file.\n{text}", head(name));
        if occupied && !found.as_deref().is_some_and(|found| is_ours(found, name)) {
            if !text.is_empty() {
                let shown = ctx.trees.shown(&path);
                reporter.warning(&[&format!(
                    "{} does not belong to dkms: the settings of {name} are not written there.",
                    shown.display()
                )]);
            }
        } else if text.is_empty() {
            change.remove_file(&path);
        } else if found.as_ref() != Some(&whole) {
            reporter.line(&format!("Writing {}", ctx.trees.shown(&path).display()));
            change.stage_bytes(whole.into_bytes(), 0o644, &path);
        }
    }
}

/// Stages the removal of the package's files, if `kernel` is the last one that has it.
pub fn stage_removal(ctx: &Context, change: &mut Change<'_>, name: &Name, kernel: &Kernel, reporter: &dyn Reporter) {
    let own = ctx.trees.active_link(name, kernel);
    let links = std::fs::read_dir(ctx.trees.name_dir(name)).into_iter().flatten().flatten();
    let others = links.filter(|entry| {
        entry.file_name().to_string_lossy().starts_with("kernel-") && entry.path() != own && entry.path().exists()
    });
    if others.count() > 0 {
        return;
    }
    for dir in [MODPROBE, MODULES_LOAD] {
        let path = ctx.trees.outer(file(dir, name));
        if durable::text(&path).is_ok_and(|text| is_ours(&text, name)) {
            reporter.line(&format!("Deleting {}", ctx.trees.shown(&path).display()));
            change.remove_file(&path);
        }
    }
}

fn file(dir: &str, name: &Name) -> PathBuf {
    Path::new(dir).join(format!("dkms-{name}.conf"))
}

fn head(name: &Name) -> String {
    format!("# Written by dkms for {name}, and removed with it.")
}

fn is_ours(text: &str, name: &Name) -> bool {
    text.lines().next() == Some(&head(name))
}

/// The aliases in all files but the package's own one.
fn aliases(ctx: &Context, name: &Name) -> Vec<Alias> {
    let own = file("", name);
    let mut found = Vec::new();
    for dir in OTHERS {
        for entry in std::fs::read_dir(ctx.trees.outer(dir)).into_iter().flatten().flatten() {
            if Path::new(&entry.file_name()) == own || entry.path().extension().is_none_or(|end| end != "conf") {
                continue;
            }
            for line in durable::text(&entry.path()).unwrap_or_default().lines() {
                let words: Vec<&str> = line.split_whitespace().collect();
                if let ["alias", alias, module, ..] = words[..] {
                    found.push((alias.to_owned(), module.to_owned()));
                }
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conf::directive::Raw;
    use crate::conf::typed::Record;

    fn conf(directives: &[(&str, usize, &str)]) -> Conf {
        let mut raw = Raw::default();
        for (name, index, text) in directives {
            raw.set(name, *index, text);
        }
        let record = |name: &str| Record {
            built_name: name.to_owned(),
            built_location: String::new(),
            dest_name: name.to_owned(),
            dest_location: "/extra".to_owned(),
            strip: true,
        };
        Conf { records: vec![record("one"), record("two")], raw, ..Conf::default() }
    }

    fn lines(directives: &[(&str, usize, &str)], others: &[(&str, &str)]) -> String {
        let others: Vec<Alias> = others.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect();
        compose(&conf(directives), &others).modprobe
    }

    #[test]
    fn nothing_asked_for_is_no_file() {
        assert_eq!(compose(&conf(&[("CLEAN", 0, "x")]), &[]), Lines::default());
    }

    #[test]
    fn static_lines_stay_as_they_are_and_one_line() {
        let asked = [("MODULES_CONF", 0, "options one a=1"), ("MODULES_CONF", 3, "softdep one pre:\ntwo")];
        assert_eq!(lines(&asked, &[]), "options one a=1\nsoftdep one pre:two\n");
        assert_eq!(compose(&conf(&[("MODULES_LOAD", 0, "one"), ("MODULES_LOAD", 1, "../x y")]), &[]).load, "one\n");
    }

    #[test]
    fn aliases_get_the_next_free_number() {
        let asked = [("MODULES_CONF_ALIAS_TYPE", 0, "eth"), ("MODULES_CONF_ALIAS_TYPE", 1, "eth")];
        assert_eq!(lines(&asked, &[("eth0", "e1000")]), "alias eth1 one\nalias eth2 two\n");
    }

    #[test]
    fn obsolete_modules_step_back() {
        let mut asked = vec![("MODULES_CONF_OBSOLETES", 0, "old, older,one"), ("MODULES_CONF_ALIAS_TYPE", 0, "eth")];
        assert_eq!(lines(&asked, &[]), "blacklist old\nblacklist older\nalias eth0 one\n");
        let reference = [("eth3", "o-ld"), ("eth4", "old")];
        assert_eq!(lines(&asked, &reference), "blacklist old\nalias eth4 one\nblacklist older\n");
        asked.push(("MODULES_CONF_OBSOLETE_ONLY", 0, "yes"));
        assert_eq!(lines(&asked, &[]), "blacklist old\nblacklist older\n");
    }
}
