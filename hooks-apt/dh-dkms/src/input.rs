//! The dkms.conf of a package: found, its version filled in, and evaluated by the core, so that computed values count.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use dkms_core::conf::{Evaluator, Kind, Launcher, Request};
use dkms_core::world::clean_environment;

use crate::error::Error;
use crate::options::Options;
use crate::packages::{Package, Sources};

/// What stands for the version in a dkms.conf.
const PLACEHOLDER: &str = "#MODULE_VERSION#";

/// A dkms.conf, ready to be installed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conf {
    /// PACKAGE_NAME.
    pub name: String,
    /// PACKAGE_VERSION.
    pub version: String,
    /// The contents.
    pub text: String,
    /// It relies on BUILD_EXCLUSIVE_CONFIG, _KERNEL_MIN or _KERNEL_MAX, which older versions do not know.
    pub needs_exclusive: bool,
}

/// The dkms.conf files of `package` in the source package at `dir`; none if it is no module package.
pub fn confs(dir: &Path, sources: &Sources, package: &Package, options: &Options) -> Result<Vec<Conf>, Error> {
    files(dir, sources, package, options)?.iter().map(|file| conf(file, sources, options)).collect()
}

fn files(dir: &Path, sources: &Sources, package: &Package, options: &Options) -> Result<Vec<PathBuf>, Error> {
    if !options.files.is_empty() {
        let named = PathBuf::from("the command line");
        return options.files.iter().map(|file| find(dir, &named, file, options)).collect();
    }
    let own = dir.join(format!("debian/{}.dkms", package.name));
    let main = dir.join("debian/dkms");
    let list = if own.is_file() {
        own
    } else if package.name == sources.main && main.is_file() {
        main
    } else {
        return Ok(Vec::new());
    };
    let text = fs_err::read_to_string(&list)?;
    if text.lines().any(|line| line.trim_start().starts_with("PACKAGE_NAME=")) {
        return Ok(vec![list]);
    }
    text.lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(|line| find(dir, &list, line, options))
        .collect()
}

fn find(dir: &Path, list: &Path, file: &str, options: &Options) -> Result<PathBuf, Error> {
    let places = options.source_dirs.iter().map(String::as_str).chain(["", "debian/tmp"]);
    places
        .map(|place| dir.join(place).join(file))
        .find(|path| path.is_file())
        .ok_or_else(|| Error::NoFile { list: list.to_owned(), file: file.to_owned() })
}

fn conf(file: &Path, sources: &Sources, options: &Options) -> Result<Conf, Error> {
    let mut text = fs_err::read_to_string(file)?;
    if options.version.is_some() || text.contains(PLACEHOLDER) {
        let given = options.version.as_deref().filter(|version| !version.is_empty());
        let version =
            given.map_or(sources.upstream(), |version| version.split_once(':').map_or(version, |(_, rest)| rest));
        text = text.replace(PLACEHOLDER, version);
    }
    let values = evaluate(file, &text)?;
    let value = |directive: &'static str| {
        let value = values.get(directive).filter(|value| !value.is_empty());
        let value = value.ok_or_else(|| Error::Lacks { file: file.to_owned(), directive })?;
        let good = |c: char| c.is_ascii_alphanumeric() || "-+.~:_".contains(c);
        if value.chars().all(good) {
            return Ok(value.clone());
        }
        Err(Error::BadValue { file: file.to_owned(), directive, value: value.clone() })
    };
    Ok(Conf {
        name: value("PACKAGE_NAME")?,
        version: value("PACKAGE_VERSION")?,
        needs_exclusive: values.keys().any(|key| key.starts_with("BUILD_EXCLUSIVE_")),
        text,
    })
}

/// The directives that matter here, as bash sees them for no kernel in particular.
fn evaluate(file: &Path, text: &str) -> Result<BTreeMap<&'static str, String>, Error> {
    // Beside the original nothing may be written: the contents come by a file of our own.
    let bad = |why: String| Error::Conf { file: file.to_owned(), why };
    let copy = tempfile::NamedTempFile::new()?;
    fs_err::write(copy.path(), text)?;
    let mut launcher = Launcher::new(environment());
    launcher.dir = std::path::absolute(".").ok();
    let variables =
        [("kernelver", "0"), ("arch", ""), ("kernel_source_dir", ""), ("dkms_tree", ""), ("source_tree", "/usr/src")];
    let request = Request {
        kind: Kind::Package,
        files: vec![copy.path().to_owned()],
        variables: variables.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
        directives: Vec::new(),
        kernel: None,
    };
    let answer = Evaluator::new(launcher).evaluate(&request).map_err(|error| bad(error.to_string()))?;
    let names = [
        "PACKAGE_NAME",
        "PACKAGE_VERSION",
        "BUILD_EXCLUSIVE_CONFIG",
        "BUILD_EXCLUSIVE_KERNEL_MIN",
        "BUILD_EXCLUSIVE_KERNEL_MAX",
    ];
    let mut values = BTreeMap::new();
    for name in names {
        let first = answer.raw.all(name).map(|(_, value)| value).find(|value| !value.is_empty());
        if let Some(value) = first {
            values.insert(name, value.to_owned());
        }
    }
    Ok(values)
}

#[allow(clippy::disallowed_methods)] // dkms.conf may use what the package's build has set
fn environment() -> dkms_core::process::Environment {
    clean_environment(std::env::vars_os())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sources() -> Sources {
        let package = Package { name: "x-dkms".into(), indep: true };
        Sources { packages: vec![package], main: "x-dkms".into(), version: "1:2.0-3".into(), compat: Some(13) }
    }

    fn confs_of(files: &[(&str, &str)], options: &Options) -> Result<Vec<Conf>, Error> {
        let tmp = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let file = tmp.path().join(name);
            fs_err::create_dir_all(file.parent().unwrap()).unwrap();
            fs_err::write(file, text).unwrap();
        }
        let sources = sources();
        confs(tmp.path(), &sources, &sources.packages[0], options)
    }

    #[test]
    fn computed_values_count() {
        let text = "n=hel\nPACKAGE_NAME=\"${n}lo\"\nPACKAGE_VERSION=$(echo 1.5)\nBUILD_EXCLUSIVE_CONFIG=\"CONFIG_X\"\n";
        let conf = &confs_of(&[("debian/x-dkms.dkms", text)], &Options::default()).unwrap()[0];
        assert_eq!((conf.name.as_str(), conf.version.as_str(), conf.needs_exclusive), ("hello", "1.5", true));
        assert_eq!(conf.text, text);
    }

    #[test]
    fn the_version_of_the_package_is_filled_in() {
        let file = ("debian/dkms", "PACKAGE_NAME=hello\nPACKAGE_VERSION=#MODULE_VERSION#\n");
        let conf = &confs_of(&[file], &Options::default()).unwrap()[0];
        assert_eq!(conf.text, "PACKAGE_NAME=hello\nPACKAGE_VERSION=2.0\n");
        let options = Options { version: Some("1:9.9".into()), ..Options::default() };
        assert_eq!(confs_of(&[file], &options).unwrap()[0].version, "9.9");
    }

    #[test]
    fn a_list_names_files() {
        let conf = "PACKAGE_NAME=a\nPACKAGE_VERSION=1\n";
        let files = [("debian/x-dkms.dkms", "# where it is\nsrc/dkms.conf\n"), ("src/dkms.conf", conf)];
        assert_eq!(confs_of(&files, &Options::default()).unwrap()[0].name, "a");
        let error = confs_of(&files[..1], &Options::default()).unwrap_err().to_string();
        assert!(error.contains("src/dkms.conf") && error.contains("x-dkms.dkms"), "{error}");
        assert!(confs_of(&[], &Options::default()).unwrap().is_empty());
    }

    #[test]
    fn bad_values_are_named() {
        for (text, part) in [
            ("PACKAGE_NAME=a\n", "PACKAGE_VERSION"),
            ("PACKAGE_NAME='a b'\nPACKAGE_VERSION=1\n", "a b"),
            ("PACKAGE_NAME=a\nexit 3\n", "evaluated"),
        ] {
            let error = confs_of(&[("debian/dkms", text)], &Options::default()).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
    }
}
