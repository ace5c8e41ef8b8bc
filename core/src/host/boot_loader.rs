//! Which kernel the boot loader starts next, from its own configuration: GRUB and systemd-boot order kernels each in their
//! way (release candidates above their release, for example), and an administrator may have chosen another.
//!
//! What it says is said to people, and decides nothing.

use std::cmp::Ordering;
use std::path::{Path, PathBuf};

use super::headers_package::pkgbase;
use crate::durable;
use crate::kernel::version;
use crate::names::Release;
use crate::tree::Trees;

/// The kernel that boots next; `None` if no configuration is found, or it starts something else.
pub fn next(trees: &Trees) -> Option<Release> {
    let chosen = grub(trees).or_else(|| systemd_boot(trees))?;
    release(trees, &chosen)
}

fn read(path: &Path) -> Option<String> {
    durable::bytes(path).ok().map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}

/// The release of the kernel that an entry names: its own, or that of its image.
fn release(trees: &Trees, entry: &Entry) -> Option<Release> {
    let is_here = |release: &Release| trees.modules_dir(release).is_dir();
    let named = entry.version.as_deref().and_then(|version| Release::new(version).ok()).filter(|name| is_here(name));
    let image = || {
        let (_, name) = entry.image.rsplit_once('/').unwrap_or(("", &entry.image));
        let word = ["vmlinuz-", "vmlinux-", "Image-"].iter().find_map(|prefix| name.strip_prefix(prefix));
        // `/<machine-id>/<release>/linux` (kernel-install(8), "layout=bls").
        let dir = entry.image.rsplit('/').nth(1);
        let mut words = word.into_iter().chain(dir);
        words.find_map(|word| Release::new(word).ok().filter(|name| is_here(name))).or_else(|| of_base(trees, word?))
    };
    named.or_else(image)
}

/// The release of the kernel whose package is called `base`: Arch's images are named after it.
fn of_base(trees: &Trees, base: &str) -> Option<Release> {
    let entries = std::fs::read_dir(&trees.install.outer).ok()?;
    let releases = entries.flatten().filter_map(|entry| Release::new(entry.file_name().to_str()?).ok());
    releases.into_iter().find(|release| pkgbase(&trees.modules_dir(release)).as_deref() == Some(base))
}

/// An entry of a boot menu.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Entry {
    /// What it may be called by.
    names: Vec<String>,
    /// The path of its kernel.
    image: String,
    /// The release that it names.
    version: Option<String>,
    /// What systemd-boot sorts by first.
    sort_key: Option<String>,
}

/// What GRUB starts: the entry that `grubenv` or `set default` chooses in grub.cfg, or among the entries of the Boot
/// Loader Specification that grub.cfg reads (`blscfg`).
fn grub(trees: &Trees) -> Option<Entry> {
    let dir =
        ["/boot/grub", "/boot/grub2"].iter().map(|dir| trees.outer(dir)).find(|dir| dir.join("grub.cfg").exists())?;
    let text = read(&dir.join("grub.cfg"))?;
    let saved = read(&dir.join("grubenv")).unwrap_or_default();
    let variable = |name: &str| {
        let value = saved.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='))?;
        (!value.is_empty()).then(|| value.to_owned())
    };
    let chosen = variable("next_entry").unwrap_or_else(|| match default_of(&text) {
        Some(default) if default.contains("saved_entry") => variable("saved_entry").unwrap_or_default(),
        default => default.unwrap_or_default(),
    });
    if text.lines().any(|line| line.trim() == "blscfg") {
        let mut entries = bls(&trees.outer("/boot/loader/entries"));
        entries.sort_by(|a, b| compare(&b.names, &a.names));
        return choose(entries, &chosen);
    }
    pick(&menu(&mut text.lines()), &chosen).cloned()
}

/// The value of the last `set default=` that is no answer to a menu of its own (`next_entry` comes first in grub.cfg).
fn default_of(text: &str) -> Option<String> {
    let values = text.lines().filter_map(|line| line.trim().strip_prefix("set default="));
    let mut values = values.map(|value| value.trim_matches(['"', '\'']).to_owned());
    values.rfind(|value| !value.contains("next_entry"))
}

/// A part of GRUB's menu.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Item {
    Entry(Entry),
    Submenu(Vec<String>, Vec<Item>),
}

impl Item {
    fn names(&self) -> &[String] {
        match self {
            Self::Entry(entry) => &entry.names,
            Self::Submenu(names, _) => names,
        }
    }
}

/// Reads menu entries until the brace that closes the block.
fn menu<'a>(lines: &mut impl Iterator<Item = &'a str>) -> Vec<Item> {
    let mut items = Vec::new();
    // Braces of functions and conditions.
    let mut depth = 0_usize;
    while let Some(line) = lines.next() {
        let line = line.trim();
        if let Some(rest) = line.strip_prefix("menuentry ").filter(|_| line.ends_with('{')) {
            let mut entry = Entry { names: titles(rest), ..Entry::default() };
            for line in lines.by_ref().map(str::trim).take_while(|line| *line != "}") {
                let mut words = line.split_whitespace();
                if matches!(words.next(), Some("linux" | "linux16" | "linuxefi")) {
                    words.next().unwrap_or_default().clone_into(&mut entry.image);
                }
            }
            items.push(Item::Entry(entry));
        } else if let Some(rest) = line.strip_prefix("submenu ").filter(|_| line.ends_with('{')) {
            let names = titles(rest);
            items.push(Item::Submenu(names, menu(lines)));
        } else if line == "}" && depth == 0 {
            break;
        } else if line.ends_with('{') && !line.starts_with('#') {
            depth += 1;
        } else if line == "}" {
            depth -= 1;
        }
    }
    items
}

/// The title of a menu entry, and its id.
fn titles(text: &str) -> Vec<String> {
    let quoted = |text: &str| {
        let quote = text.chars().next().filter(|c| matches!(c, '\'' | '"'))?;
        Some(text[1..].split(quote).next().unwrap_or_default().to_owned())
    };
    let mut names: Vec<String> = quoted(text).into_iter().collect();
    for option in ["$menuentry_id_option ", "--id "] {
        names.extend(text.split_once(option).and_then(|(_, rest)| quoted(rest.trim_start())));
    }
    names
}

/// The entry that `chosen` (a number, a title, an id; `SUBMENU>ENTRY`) stands for; the first one if it stands for none.
fn pick<'a>(items: &'a [Item], chosen: &str) -> Option<&'a Entry> {
    let (head, rest) = chosen.split_once('>').unwrap_or((chosen, ""));
    let by_number = || items.get(head.trim().parse::<usize>().ok()?);
    let by_name = || items.iter().find(|item| item.names().iter().any(|name| name == head));
    match by_number().or_else(by_name).or_else(|| items.first())? {
        Item::Entry(entry) => Some(entry),
        Item::Submenu(_, items) => pick(items, rest),
    }
}

/// What systemd-boot starts: the entry that `default` in loader.conf names by a pattern, or the first in its order
/// (loader.conf(5); <https://uapi-group.org/specifications/specs/boot_loader_specification/>, "Sorting").
fn systemd_boot(trees: &Trees) -> Option<Entry> {
    let places: Vec<PathBuf> = ["/boot", "/efi", "/boot/efi"].iter().map(|dir| trees.outer(dir)).collect();
    let conf = places.iter().find_map(|dir| read(&dir.join("loader/loader.conf")))?;
    let mut entries: Vec<Entry> = places.iter().flat_map(|dir| bls(&dir.join("loader/entries"))).collect();
    entries.sort_by(|a, b| match (&a.sort_key, &b.sort_key) {
        (Some(one), Some(other)) => one.cmp(other).then_with(|| compare(b.version.as_slice(), a.version.as_slice())),
        (Some(_), None) => Ordering::Less,
        (None, Some(_)) => Ordering::Greater,
        (None, None) => compare(&b.names, &a.names),
    });
    let default = conf.lines().filter_map(|line| line.trim().strip_prefix("default")).next_back();
    choose(entries, default.unwrap_or_default().trim())
}

fn compare(a: &[String], b: &[String]) -> Ordering {
    let first = |names: &[String]| names.first().cloned().unwrap_or_default();
    version::compare(&first(a), &first(b))
}

/// The first of `entries` whose name fits the pattern; the first of all if none does.
fn choose(entries: Vec<Entry>, pattern: &str) -> Option<Entry> {
    let pattern = pattern.strip_suffix(".conf").unwrap_or(pattern);
    let fits = |entry: &Entry| entry.names.iter().any(|name| crate::tree::glob::matches(pattern, name));
    let by_number = pattern.parse().ok().filter(|number: &usize| *number < entries.len());
    let index = entries.iter().position(fits).or(by_number).unwrap_or(0);
    entries.into_iter().nth(index)
}

/// The entries of the Boot Loader Specification in a directory.
fn bls(dir: &Path) -> Vec<Entry> {
    let files = std::fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path());
    let conf = files.filter(|path| path.extension().is_some_and(|kind| kind == "conf"));
    conf.filter_map(|path| {
        let name = path.file_stem()?.to_str()?;
        // `NAME+LEFT-DONE`: attempts to boot it are counted (systemd-boot(7), "Boot Counting").
        let is_count = |text: &str| !text.is_empty() && text.chars().all(|c| c.is_ascii_digit() || c == '-');
        let name = name.rsplit_once('+').filter(|(_, count)| is_count(count)).map_or(name, |(name, _)| name);
        let mut entry = Entry { names: vec![name.to_owned()], ..Entry::default() };
        for line in read(&path)?.lines() {
            let Some((key, value)) = line.trim().split_once([' ', '\t']) else { continue };
            let value = value.trim().to_owned();
            match key {
                "linux" => entry.image = value,
                "version" => entry.version = Some(value),
                "sort-key" => entry.sort_key = Some(value),
                "title" => entry.names.push(value),
                _ => {}
            }
        }
        (!entry.image.is_empty()).then_some(entry)
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::root::Root;

    const RELEASES: [&str; 4] = ["6.12.1-amd64", "6.12.1-rc1-amd64", "6.1.0-9-amd64", "6.13.2-arch1-1"];

    fn with(files: &[(&str, &str)]) -> Option<String> {
        let tmp = tempfile::tempdir().unwrap();
        let trees = Trees::new(Root::at(tmp.path()).unwrap());
        for release in RELEASES {
            fs_err::create_dir_all(trees.modules_dir(&Release::new(release).unwrap())).unwrap();
        }
        fs_err::write(tmp.path().join("lib/modules/6.13.2-arch1-1/pkgbase"), "linux\n").unwrap();
        for (path, text) in files {
            let path = tmp.path().join(path);
            fs_err::create_dir_all(path.parent().unwrap()).unwrap();
            fs_err::write(path, text).unwrap();
        }
        next(&trees).map(|release| release.to_string())
    }

    /// As grub-mkconfig of Debian 13 writes it, shortened.
    fn grub(default: &str) -> String {
        let entry = |release: &str, id: &str| {
            format!(
                "menuentry 'Debian, with Linux {release}' --class os $menuentry_id_option '{id}' {{\n\tif [ x = x ]; then\n\t\tinsmod gzio\n\tfi\n\tlinux\t/boot/vmlinuz-{release} root=UUID=1 ro\n\tinitrd\t/boot/initrd.img-{release}\n}}\n"
            )
        };
        format!(
            "if [ \"${{next_entry}}\" ] ; then\n   set default=\"${{next_entry}}\"\n   set next_entry=\nelse\n   set default=\"{default}\"\nfi\nfunction savedefault {{\n  if [ -z x ]; then\n    saved_entry=\"${{chosen}}\"\n  fi\n}}\n{}submenu 'Advanced options' $menuentry_id_option 'advanced' {{\n{}{}}}\n",
            entry("6.12.1-rc1-amd64", "simple"),
            entry("6.12.1-amd64", "plain"),
            entry("6.1.0-9-amd64", "old"),
        )
    }

    #[test]
    fn what_grub_starts() {
        let cfg = "boot/grub/grub.cfg";
        for (default, env, expected) in [
            ("0", "", "6.12.1-rc1-amd64"),
            ("1>1", "", "6.1.0-9-amd64"),
            ("advanced>old", "", "6.1.0-9-amd64"),
            ("Advanced options>Debian, with Linux 6.12.1-amd64", "", "6.12.1-amd64"),
            ("${saved_entry}", "saved_entry=advanced>plain\n", "6.12.1-amd64"),
            ("${saved_entry}", "", "6.12.1-rc1-amd64"),
            ("0", "next_entry=advanced>old\n", "6.1.0-9-amd64"),
            ("there is no such thing", "", "6.12.1-rc1-amd64"),
        ] {
            let found = with(&[(cfg, &grub(default)), ("boot/grub/grubenv", env)]);
            assert_eq!(found.as_deref(), Some(expected), "{default} {env}");
        }
        let arch = "menuentry 'Arch Linux' {\n\tlinux\t/vmlinuz-linux root=x\n}\n";
        assert_eq!(with(&[(cfg, arch)]).as_deref(), Some("6.13.2-arch1-1"));
        assert_eq!(with(&[(cfg, "menuentry 'Memory test' {\n\tlinux16 /boot/memtest\n}\n")]), None);
        assert_eq!(with(&[(cfg, "")]), None);
        assert_eq!(with(&[]), None);
    }

    #[test]
    fn entries_of_the_boot_loader_specification() {
        let entry = |release: &str, more: &str| {
            format!("title Linux\nversion {release}\nlinux /m/{release}/linux\ninitrd /m/{release}/initrd\n{more}")
        };
        let one = ("boot/loader/entries/m-6.12.1-amd64.conf", entry("6.12.1-amd64", ""));
        let candidate = ("boot/loader/entries/m-6.12.1-rc1-amd64+3-0.conf", entry("6.12.1-rc1-amd64", ""));
        let old = ("boot/loader/entries/m-6.1.0-9-amd64.conf", entry("6.1.0-9-amd64", ""));
        let keyed = (old.0, entry("6.1.0-9-amd64", "sort-key debian\n"));
        for (conf, env, entries, expected) in [
            ("timeout 3\n", None, vec![&one, &candidate, &old], "6.12.1-rc1-amd64"),
            ("default m-6.12.1-amd64.conf\n", None, vec![&one, &candidate, &old], "6.12.1-amd64"),
            ("default m-6.1.*\n", None, vec![&one, &candidate, &old], "6.1.0-9-amd64"),
            ("", None, vec![&one, &candidate, &keyed], "6.1.0-9-amd64"),
            ("", Some("saved_entry=m-6.1.0-9-amd64\n"), vec![&one, &old], "6.1.0-9-amd64"),
            ("", Some(""), vec![&one, &old], "6.12.1-amd64"),
        ] {
            let mut files: Vec<(&str, &str)> = entries.iter().map(|(path, text)| (*path, text.as_str())).collect();
            match env {
                Some(env) => files.extend([
                    ("boot/grub2/grub.cfg", "set default=\"${saved_entry}\"\nblscfg\n"),
                    ("boot/grub2/grubenv", env),
                ]),
                None => files.push(("boot/loader/loader.conf", conf)),
            }
            assert_eq!(with(&files).as_deref(), Some(expected), "{conf} {env:?}");
        }
    }
}
