//! Which packages the source package builds, and which of them are meant.

use std::path::Path;

use debian_control::lossless::control::{Binary, Control};
use dkms_core::process;

use crate::error::Error;
use crate::options::Options;

/// What debian/ says of the source package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sources {
    /// Its binary packages that are built on this architecture and with these profiles, in order.
    pub packages: Vec<Package>,
    /// The first package of debian/control: `debian/dkms` is its file.
    pub main: String,
    /// The version in debian/changelog.
    pub version: String,
    /// The debhelper compatibility level, if it is told.
    pub compat: Option<u32>,
}

/// A binary package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// It is the same on every architecture.
    pub indep: bool,
}

impl Sources {
    /// Reads debian/ below `dir`.
    pub fn read(dir: &Path, variable: &dyn Fn(&str) -> Option<String>) -> Result<Self, Error> {
        let file = dir.join("debian/control");
        let text = fs_err::read_to_string(&file)?;
        let (control, _) = Control::read_relaxed(text.as_bytes())
            .map_err(|error| Error::Bad { file: file.clone(), why: error.to_string() })?;
        let binaries: Vec<Binary> = control.binaries().collect();
        let main = binaries
            .first()
            .and_then(Binary::name)
            .ok_or_else(|| Error::Bad { file: file.clone(), why: "no Package is described".to_owned() })?;
        let profiles = variable("DEB_BUILD_PROFILES").unwrap_or_default();
        let profiles: Vec<&str> = profiles.split_whitespace().collect();
        let packages = binaries
            .iter()
            .filter(|binary| {
                let wanted = binary.as_deb822().get("Build-Profiles").unwrap_or_default();
                fits_profiles(&wanted, &profiles)
            })
            .filter_map(|binary| {
                let architecture = binary.architecture().unwrap_or_else(|| "all".to_owned());
                let name = binary.name()?;
                (fits_host(&architecture, &is_host)).then(|| Package { name, indep: architecture.trim() == "all" })
            })
            .collect();
        let build_depends = control.source().map(|source| {
            let fields = ["Build-Depends", "Build-Depends-Indep", "Build-Depends-Arch"];
            fields.iter().filter_map(|field| source.as_deb822().get(field)).collect::<Vec<_>>().join(",")
        });
        let compat = variable("DH_COMPAT")
            .or_else(|| fs_err::read_to_string(dir.join("debian/compat")).ok())
            .and_then(|text| text.trim().parse().ok())
            .or_else(|| compat_of(&build_depends.unwrap_or_default()));
        Ok(Self { packages, main, version: version(&dir.join("debian/changelog"))?, compat })
    }

    /// The packages that the options mean.
    pub fn choose(&self, options: &Options) -> Vec<Package> {
        let by_kind = |package: &&Package| {
            (options.arch && !package.indep) || (options.indep && package.indep) || !(options.arch || options.indep)
        };
        // Named packages add to -a and -i; alone, they are all that is meant.
        let named = |package: &&Package| options.packages.contains(&package.name);
        let only_named = !options.packages.is_empty() && !options.arch && !options.indep;
        self.packages
            .iter()
            .filter(|package| named(package) || (!only_named && by_kind(package)))
            .filter(|package| !options.excluded.contains(&package.name))
            .cloned()
            .collect()
    }

    /// The upstream part of the version: without epoch and Debian revision.
    pub fn upstream(&self) -> &str {
        let version = self.version.split_once(':').map_or(self.version.as_str(), |(_, rest)| rest);
        version.rsplit_once('-').map_or(version, |(upstream, _)| upstream)
    }
}

/// The version of the newest entry: `name (1:2.3-4) unstable; urgency=low`.
fn version(changelog: &Path) -> Result<String, Error> {
    let text = fs_err::read_to_string(changelog)?;
    let entry = text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
    entry
        .split_once('(')
        .and_then(|(_, rest)| rest.split_once(')'))
        .map(|(version, _)| version.trim().to_owned())
        .ok_or_else(|| Error::Bad { file: changelog.to_owned(), why: "its first line has no version".to_owned() })
}

/// `debhelper-compat (= 13)`.
fn compat_of(build_depends: &str) -> Option<u32> {
    let relation = build_depends.split(',').find(|relation| relation.trim().starts_with("debhelper-compat"))?;
    let digits: String =
        relation.chars().skip_while(|c| !c.is_ascii_digit()).take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

/// Whether a package of this `Architecture` is built here.
fn fits_host(architecture: &str, is_host: &dyn Fn(&str) -> bool) -> bool {
    let words: Vec<&str> = architecture.split_whitespace().collect();
    if words.iter().any(|word| word.starts_with('!')) {
        return words.iter().all(|word| word.strip_prefix('!').is_none_or(|word| !is_host(word)));
    }
    words.iter().any(|word| matches!(*word, "all" | "any") || is_host(word))
}

/// Whether an architecture or wildcard means the architecture that is built for.
fn is_host(word: &str) -> bool {
    process::command("dpkg-architecture").args(["-i", word]).status().is_ok_and(|status| status.success())
}

/// `<a !b> <c>`: any of the lists, of which every term holds (Debian Policy 7.1).
fn fits_profiles(wanted: &str, active: &[&str]) -> bool {
    let lists: Vec<&str> = wanted.split('<').filter_map(|part| part.split_once('>')).map(|(list, _)| list).collect();
    let holds = |term: &str| match term.strip_prefix('!') {
        Some(term) => !active.contains(&term),
        None => active.contains(&term),
    };
    lists.is_empty() || lists.iter().any(|list| list.split_whitespace().all(holds))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sources(names: &[(&str, bool)], version: &str) -> Sources {
        Sources {
            packages: names.iter().map(|(name, indep)| Package { name: (*name).to_owned(), indep: *indep }).collect(),
            main: names[0].0.to_owned(),
            version: version.to_owned(),
            compat: None,
        }
    }

    #[test]
    fn who_is_meant() {
        let all = sources(&[("one", false), ("two-dkms", true), ("three", true)], "1");
        for (options, chosen) in [
            (Options::default(), "one two-dkms three"),
            (Options { arch: true, ..Options::default() }, "one"),
            (Options { indep: true, excluded: vec!["three".into()], ..Options::default() }, "two-dkms"),
            (Options { packages: vec!["three".into()], ..Options::default() }, "three"),
            (Options { packages: vec!["three".into()], arch: true, ..Options::default() }, "one three"),
        ] {
            let names: Vec<String> = all.choose(&options).into_iter().map(|package| package.name).collect();
            assert_eq!(names.join(" "), chosen, "{options:?}");
        }
    }

    #[test]
    fn upstream_versions() {
        for (version, upstream) in
            [("1:2.3-4", "2.3"), ("2.3", "2.3"), ("1.2-rc1-3", "1.2-rc1"), ("0~git1-1", "0~git1")]
        {
            assert_eq!(sources(&[("a", true)], version).upstream(), upstream);
        }
    }

    #[test]
    fn architectures_and_profiles() {
        let amd64 = |word: &str| matches!(word, "amd64" | "linux-any" | "any-amd64");
        for (text, fits) in [
            ("all", true),
            ("any", true),
            ("amd64 arm64", true),
            ("arm64", false),
            ("linux-any", true),
            ("!amd64", false),
            ("!i386", true),
        ] {
            assert_eq!(fits_host(text, &amd64), fits, "{text}");
        }
        for (text, active, fits) in
            [("", &[][..], true), ("<!nodoc>", &["nodoc"], false), ("<a> <!b>", &[], true), ("<a b>", &["a"], false)]
        {
            assert_eq!(fits_profiles(text, active), fits, "{text} {active:?}");
        }
    }

    #[test]
    fn a_source_package() {
        let tmp = tempfile::tempdir().unwrap();
        fs_err::create_dir(tmp.path().join("debian")).unwrap();
        let write = |name: &str, text: &str| fs_err::write(tmp.path().join("debian").join(name), text).unwrap();
        write(
            "control",
            "Source: x\nBuild-Depends: debhelper-compat (= 13),\n dh-sequence-dkms\n# a comment\n\nPackage: x-dkms\nArchitecture: all\n\
             Depends: ${misc:Depends}\n\nPackage: x-doc\nBuild-Profiles: <!nodoc>\nArchitecture: all\n",
        );
        write("changelog", "x (1:2.0-3) unstable; urgency=low\n\n  * x\n");
        let nodoc = |name: &str| (name == "DEB_BUILD_PROFILES").then(|| "nodoc".to_owned());
        let sources = Sources::read(tmp.path(), &nodoc).unwrap();
        assert_eq!(sources.packages, [Package { name: "x-dkms".into(), indep: true }]);
        assert_eq!((sources.main.as_str(), sources.version.as_str(), sources.compat), ("x-dkms", "1:2.0-3", Some(13)));
    }
}
