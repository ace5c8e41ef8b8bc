//! pacman's database of installed packages, read without libalpm: `<DBPath>/local/<name>-<version>-<release>/` with
//! the files `desc` and `files`, each a list of `%FIELD%` blocks that end with an empty line
//! (pacman's `be_local.c` writes them; the format has been 9 since pacman 4.2, see `ALPM_DB_VERSION` beside them).

use std::path::{Path, PathBuf};

use dkms_core::root::Root;

/// An installed package, as far as we need it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Installed {
    /// `%NAME%`.
    pub name: String,
    /// `%VERSION%`, with epoch and release.
    pub version: String,
    /// `%BASE%`: what its PKGBUILD is called; its name, if there is none.
    pub base: String,
}

/// The database of one root.
#[derive(Debug, Clone)]
pub struct LocalDb {
    dir: PathBuf,
}

impl LocalDb {
    /// The database of `root`.
    pub fn of(root: &Root) -> Self {
        Self { dir: root.outer(&Places::of(root).db).join("local") }
    }

    /// Every installed package, with the directory that describes it.
    fn packages(&self) -> Vec<PathBuf> {
        let mut dirs: Vec<PathBuf> =
            std::fs::read_dir(&self.dir).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
        dirs.sort();
        dirs
    }

    /// The package called `name`, if it is installed.
    pub fn package(&self, name: &str) -> Option<Installed> {
        self.packages()
            .iter()
            .filter(|dir| dir.file_name().is_some_and(|file| file.to_string_lossy().starts_with(name)))
            .find_map(|dir| describe(dir).filter(|package| package.name == name))
    }

    /// The package that `path` (without a leading slash) came with, if one did. `likely` names packages that are looked
    /// at first; the file lists of a whole system are some 50 MB.
    pub fn owner(&self, path: &str, likely: &str) -> Option<Installed> {
        let (first, rest): (Vec<_>, Vec<_>) = self
            .packages()
            .into_iter()
            .partition(|dir| dir.file_name().is_some_and(|file| file.to_string_lossy().contains(likely)));
        first.iter().chain(&rest).find(|dir| lists(dir, path)).and_then(|dir| describe(dir))
    }
}

/// Where pacman keeps its things (pacman.conf(5)), as inside paths.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Places {
    /// `DBPath`.
    pub db: PathBuf,
    /// `CacheDir`, in the order in which they are looked through.
    pub caches: Vec<PathBuf>,
}

impl Places {
    /// What the pacman.conf of `root` says, or the defaults.
    pub fn of(root: &Root) -> Self {
        Self::parse(&std::fs::read_to_string(root.outer(Path::new("/etc/pacman.conf"))).unwrap_or_default())
    }

    fn parse(conf: &str) -> Self {
        let mut places = Self { db: PathBuf::from("/var/lib/pacman"), caches: Vec::new() };
        for (key, value) in conf.lines().filter_map(|line| line.split_once('=')) {
            match key.trim() {
                "DBPath" => places.db = PathBuf::from(value.trim()),
                "CacheDir" => places.caches.extend(value.split_whitespace().map(PathBuf::from)),
                _ => {}
            }
        }
        if places.caches.is_empty() {
            places.caches.push(PathBuf::from("/var/cache/pacman/pkg"));
        }
        places
    }
}

fn describe(dir: &Path) -> Option<Installed> {
    let text = std::fs::read_to_string(dir.join("desc")).ok()?;
    let name = field(&text, "NAME")?.to_owned();
    let base = field(&text, "BASE").unwrap_or(&name).to_owned();
    Some(Installed { version: field(&text, "VERSION")?.to_owned(), base, name })
}

fn lists(dir: &Path, path: &str) -> bool {
    let Ok(text) = std::fs::read(dir.join("files")) else { return false };
    // A file list may hold any bytes but newlines.
    text.split(|byte| *byte == b'\n').any(|line| line == path.as_bytes())
}

/// The first line of a block.
fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let mut lines = text.lines();
    lines.find(|line| line.strip_prefix('%').and_then(|l| l.strip_suffix('%')) == Some(name))?;
    lines.next().filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn install(root: &Path, name: &str, version: &str, base: Option<&str>, files: &str) {
        let dir = root.join(format!("var/lib/pacman/local/{name}-{version}"));
        fs_err::create_dir_all(&dir).unwrap();
        let base = base.map_or(String::new(), |base| format!("%BASE%\n{base}\n\n"));
        let desc = format!("%NAME%\n{name}\n\n%VERSION%\n{version}\n\n{base}%DESC%\nx\n\n%DEPENDS%\na\nb\n\n");
        fs_err::write(dir.join("desc"), desc).unwrap();
        fs_err::write(dir.join("files"), format!("%FILES%\n{files}\n\n%BACKUP%\netc/x\tabc\n")).unwrap();
    }

    #[test]
    fn packages_and_owners() {
        let tmp = tempfile::tempdir().unwrap();
        install(tmp.path(), "linux-lts", "6.12.9-1", Some("linux-lts"), "usr/\nusr/lib/modules/6.12.9-1-lts/vmlinuz");
        install(tmp.path(), "linux-lts-headers", "6.12.9-1", Some("linux-lts"), "usr/lib/modules/6.12.9-1-lts/build/");
        install(tmp.path(), "hello-dkms", "1.0-1", None, "usr/src/hello-1.0/dkms.conf");
        let db = LocalDb::of(&Root::at(tmp.path()).unwrap());
        let lts = db.package("linux-lts").unwrap();
        assert_eq!((lts.name.as_str(), lts.version.as_str()), ("linux-lts", "6.12.9-1"));
        assert_eq!(db.package("linux"), None);
        let owner = |path| db.owner(path, "dkms").map(|package| (package.name, package.base));
        assert_eq!(owner("usr/src/hello-1.0/dkms.conf"), Some(("hello-dkms".into(), "hello-dkms".into())));
        assert_eq!(
            owner("usr/lib/modules/6.12.9-1-lts/build/"),
            Some(("linux-lts-headers".into(), "linux-lts".into()))
        );
        assert_eq!(owner("usr/src/hello-1.0"), None);
    }

    #[test]
    fn the_places_can_be_configured() {
        let places = Places::parse("#DBPath = /no\n[options]\nDBPath   = /srv/db/\nCacheDir = /a /b\nCacheDir=/c\n");
        assert_eq!(places.db, Path::new("/srv/db/"));
        assert_eq!(places.caches, ["/a", "/b", "/c"].map(PathBuf::from));
        let places = Places::parse("[options]\n");
        assert_eq!(places.db, Path::new("/var/lib/pacman"));
        assert_eq!(places.caches, [Path::new("/var/cache/pacman/pkg")]);
    }
}
