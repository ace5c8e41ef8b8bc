//! What modprobe.d says about a module (modprobe.d(5)): a command that runs in its place, or that its devices do not load it.

use std::path::{Path, PathBuf};

use super::Why;
use crate::durable;
use crate::tree::Trees;
use crate::tree::glob;

/// Where modprobe looks (modprobe.d(5) of kmod 34); of two files of one name the first counts.
const DIRS: [&str; 5] =
    ["/etc/modprobe.d", "/run/modprobe.d", "/usr/local/lib/modprobe.d", "/usr/lib/modprobe.d", "/lib/modprobe.d"];

/// Commands that load nothing, without their directory.
const LOADS_NOTHING: [&str; 4] = ["true", "false", ":", "exit"];

/// The lines of a system's modprobe.d that keep modules from being loaded.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct ModprobeD {
    /// `install` lines: the names (a pattern), the command, `FILE: LINE`.
    installs: Vec<(String, String, String)>,
    /// `blacklist` lines: the name, the file.
    blacklist: Vec<(String, PathBuf)>,
}

impl ModprobeD {
    /// Reads that of `trees`' root. Files that can't be read say nothing.
    pub fn read(trees: &Trees) -> Self {
        let texts = conf_files(trees, &DIRS);
        Self::parse(texts.iter().map(|(file, text)| (file.as_path(), text.as_str())))
    }

    /// From files, with what they are called, in modprobe's order.
    pub fn parse<'t>(files: impl IntoIterator<Item = (&'t Path, &'t str)>) -> Self {
        let mut found = Self::default();
        for (file, text) in files {
            let text = text.replace("\\\n", " ");
            for line in text.lines() {
                let words: Vec<&str> = line.split_whitespace().collect();
                match words[..] {
                    ["install", name, ref command @ ..] if !command.is_empty() => {
                        let line = format!("{}: {}", file.display(), words.join(" "));
                        found.installs.push((same(name), command.join(" "), line));
                    }
                    ["blacklist", name, ..] => found.blacklist.push((same(name), file.to_owned())),
                    _ => {}
                }
            }
        }
        found
    }

    /// Why `modprobe NAME` loads nothing. What a command does that is not known to do nothing is not judged: most such
    /// commands end with a modprobe of their own. Of several lines the first counts.
    pub fn replaces(&self, name: &str) -> Option<Why> {
        let (_, command, line) = self.installs.iter().find(|(pattern, ..)| glob::matches(pattern, name))?;
        let first = command.split_whitespace().next().unwrap_or_default();
        let program = first.rsplit('/').next().unwrap_or_default();
        let is_alone = !command.contains([';', '&', '|', '`', '$', '(']);
        (is_alone && LOADS_NOTHING.contains(&program)).then(|| Why::Command(line.clone()))
    }

    /// Why the devices of the module `name` do not load it.
    pub fn hides(&self, name: &str) -> Option<Why> {
        let (_, file) = self.blacklist.iter().find(|(found, _)| found == name)?;
        Some(Why::Blacklisted(file.clone()))
    }
}

/// The `.conf` files of `dirs` (inside the root) and what is in them, in the order of their names; of two of one name that of the
/// first directory. A link leads where it leads in that root; what is no regular file says nothing.
pub(super) fn conf_files(trees: &Trees, dirs: &[&str]) -> Vec<(PathBuf, String)> {
    let mut files: Vec<PathBuf> = Vec::new();
    for dir in dirs {
        for entry in std::fs::read_dir(trees.outer(dir)).into_iter().flatten().flatten() {
            let path = Path::new(dir).join(entry.file_name());
            let is_new = !files.iter().any(|file| file.file_name() == path.file_name());
            if is_new && path.extension().is_some_and(|end| end == "conf") {
                files.push(path);
            }
        }
    }
    files.sort_by(|a, b| a.file_name().cmp(&b.file_name()));
    let text =
        |file: &Path| durable::read(&trees.outer(file)).ok()?.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    files.into_iter().filter_map(|file| text(&file).map(|text| (file, text))).collect()
}

/// A module's name as modprobe compares it.
fn same(name: &str) -> String {
    name.replace('-', "_")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::root::Root;

    fn parsed(text: &str) -> ModprobeD {
        ModprobeD::parse([(Path::new("/etc/modprobe.d/a.conf"), text)])
    }

    #[test]
    fn commands_that_load_nothing() {
        let cases = [
            ("install m /bin/false", true),
            ("install m /bin/true", true),
            ("  install \t m   :", true),
            ("install m exit 1", true),
            ("install m \\\n /usr/bin/false", true),
            ("install my-m /bin/false", false),
            ("install m*  /bin/false", true),
            ("# install m /bin/false", false),
            ("install m", false),
            ("options m a=1\nremove m /bin/false", false),
            // They may load it.
            ("install m /sbin/modprobe --ignore-install m $CMDLINE_OPTS", false),
            ("install m /bin/true; /sbin/modprobe --ignore-install m", false),
            ("install m /usr/local/bin/start-m", false),
            // The first line counts.
            ("install m /sbin/modprobe -i m\ninstall m /bin/false", false),
        ];
        for (text, stops) in cases {
            assert_eq!(parsed(text).replaces("m").is_some(), stops, "{text:?}");
        }
        let why = parsed("install my-mod   /bin/false").replaces("my_mod");
        assert_eq!(why, Some(Why::Command("/etc/modprobe.d/a.conf: install my-mod /bin/false".to_owned())));
    }

    #[test]
    fn names_that_are_blacklisted() {
        let conf = parsed("blacklist my-mod\n#blacklist other\nblacklist\n");
        assert_eq!(conf.hides("my_mod"), Some(Why::Blacklisted("/etc/modprobe.d/a.conf".into())));
        assert_eq!((conf.hides("other"), conf.hides("my")), (None, None));
    }

    #[test]
    fn the_first_file_of_a_name_counts() {
        let tmp = tempfile::tempdir().unwrap();
        let trees = Trees::new(Root::at(tmp.path()).unwrap());
        for (file, text) in [
            ("/etc/modprobe.d/b.conf", ""),
            ("/lib/modprobe.d/b.conf", "install m /bin/false\n"),
            ("/run/modprobe.d/a.conf", "blacklist m\n"),
            ("/etc/modprobe.d/note.txt", "install m /bin/false\n"),
        ] {
            fs_err::create_dir_all(trees.outer(file).parent().unwrap()).unwrap();
            fs_err::write(trees.outer(file), text).unwrap();
        }
        // A pipe that nobody writes to, and a link that leads elsewhere on this machine.
        let away = tempfile::tempdir().unwrap();
        let other = away.path().join("other.conf");
        fs_err::write(&other, "blacklist m\ninstall m /bin/false\n").unwrap();
        std::os::unix::fs::symlink(&other, trees.outer("/etc/modprobe.d/0.conf")).unwrap();
        let mode = rustix::fs::Mode::from_raw_mode(0o644);
        rustix::fs::mkfifoat(rustix::fs::CWD, trees.outer("/etc/modprobe.d").join("1.conf"), mode).unwrap();
        let read = ModprobeD::read(&trees);
        assert_eq!(read.replaces("m"), None);
        assert_eq!(read.hides("m"), Some(Why::Blacklisted("/run/modprobe.d/a.conf".into())));
    }
}
