//! What a package consists of, before any format.

use std::collections::BTreeMap;
use std::io;

use dkms_core::archive::secret;
use dkms_core::digest::Digest;

/// The three families of package formats.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// `.deb` (deb(5), Debian Policy).
    Deb,
    /// `.rpm`.
    Rpm,
    /// `.pkg.tar.zst` (alpm).
    Arch,
}

/// A package. Names, dependencies and scripts are in the words of the family it was planned for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// Its name.
    pub name: String,
    /// Its version, without the release.
    pub version: String,
    /// The packaging's own revision: `1`.
    pub release: String,
    /// The family's word for its architecture; `None` if it fits all.
    pub arch: Option<String>,
    /// One line without a full stop.
    pub summary: String,
    /// Paragraphs, separated by empty lines.
    pub description: String,
    /// The licence, as SPDX writes it.
    pub licence: String,
    /// `Name <address>`.
    pub maintainer: String,
    /// Dependencies in the family's syntax: `dkms (>= 3.0.11)`, `dkms >= 3.0.11`, `dkms>=3.0.11`.
    pub depends: Vec<String>,
    /// What it provides, in the same syntax.
    pub provides: Vec<String>,
    /// What it can't be installed with, in the same syntax.
    pub conflicts: Vec<String>,
    /// Its files, by absolute path. Directories that only lead to files need not be listed.
    pub files: BTreeMap<String, File>,
    /// What is run.
    pub scripts: Scripts,
    /// What changed, one line each.
    pub changelog: Vec<String>,
    /// The time of everything in it, in seconds since 1970.
    pub mtime: i64,
    /// Digests of files that must not be in it, such as the signing key's.
    pub forbidden: Vec<Digest>,
}

/// One file of a package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Permission bits, normally 0644 or 0755.
    pub mode: u32,
    /// What it is.
    pub node: Node,
}

/// What a file is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Node {
    /// A regular file with this content.
    Regular(Vec<u8>),
    /// A symbolic link.
    Link(String),
    /// A directory that the package owns.
    Directory,
}

/// Bodies of scripts for /bin/sh; empty ones are left out.
/// Debian's get their own first line and `$1` as Policy chapter 6 says; rpm's `$1` is the count of instances.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scripts {
    /// Debian: postinst. rpm: `%post`. Arch: `post_install` and `post_upgrade`.
    pub post_install: String,
    /// rpm: `%posttrans`. Others: none.
    pub post_transaction: String,
    /// Debian: prerm. rpm: `%preun`. Arch: `pre_remove`.
    pub pre_remove: String,
    /// Debian: postrm. rpm: `%postun`. Arch: `post_remove`.
    pub post_remove: String,
}

/// Why a package could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PackageError {
    /// Reading or compressing failed.
    #[error("the package cannot be written: {0}")]
    Io(#[from] io::Error),
    /// The rpm crate's word for it.
    #[error("the rpm package cannot be written: {0}")]
    Rpm(#[from] ::rpm::Error),
    /// A word that the format does not allow.
    #[error("the package's {what} {text:?} is not usable: {why}")]
    Word {
        /// Which.
        what: &'static str,
        /// The word.
        text: String,
        /// What is wrong.
        why: &'static str,
    },
    /// A private key.
    #[error("{path} is not packaged because it is {what}; private keys never enter a package")]
    PrivateKey {
        /// The file.
        path: String,
        /// How it was recognised.
        what: &'static str,
    },
    /// A file of the source that can't be packaged.
    #[error("{path} cannot be packaged: {why}")]
    File {
        /// The file.
        path: String,
        /// What is wrong with it.
        why: &'static str,
    },
}

impl Plan {
    /// Adds a regular file; `path` is absolute.
    pub fn file(&mut self, path: impl Into<String>, content: impl Into<Vec<u8>>, mode: u32) {
        self.files.insert(path.into(), File { mode, node: Node::Regular(content.into()) });
    }

    /// Fails if a word is not one of the format's or a private key is among the files.
    pub fn check(&self, family: Family) -> Result<(), PackageError> {
        let word = |what, text: &str, allowed: &str, why| {
            let good = |c: char| c.is_ascii_alphanumeric() || allowed.contains(c);
            if text.starts_with(|c: char| c.is_ascii_alphanumeric()) && text.chars().all(good) {
                return Ok(());
            }
            Err(PackageError::Word { what, text: text.to_owned(), why })
        };
        // deb-control(5), rpm's "Dependencies and versions", PKGBUILD(5).
        let (names, versions) = match family {
            Family::Deb => ("+-.", "+-.~:"),
            Family::Rpm => ("+-._", "+._~^"),
            Family::Arch => ("@._+-", "._+~"),
        };
        word("name", &self.name, names, "it has a character that names can't have")?;
        word("version", &self.version, versions, "it has a character that versions can't have")?;
        word("release", &self.release, "+.~_", "it has a character that releases can't have")?;
        if family == Family::Deb && (self.name.len() < 2 || self.name.chars().any(|c| c.is_ascii_uppercase())) {
            let why = "names are lower case and of two characters at least";
            return Err(PackageError::Word { what: "name", text: self.name.clone(), why });
        }
        let lines = [("summary", &self.summary), ("maintainer", &self.maintainer), ("licence", &self.licence)];
        for (what, text) in lines.into_iter().chain(self.relations()) {
            if text.is_empty() || text.chars().any(char::is_control) {
                return Err(PackageError::Word { what, text: text.clone(), why: "it is empty or not one line" });
            }
        }
        for (path, file) in &self.files {
            let bad = !path.starts_with('/') || path.split('/').skip(1).any(|p| ["", ".", ".."].contains(&p));
            if bad || path.chars().any(char::is_control) {
                return Err(PackageError::File { path: path.clone(), why: "its path is not absolute and plain" });
            }
            let Node::Regular(content) = &file.node else {
                continue;
            };
            let known = || self.forbidden.contains(&Digest::of(content)).then_some("the signing key");
            if let Some(what) = secret::private_key(content).or_else(known) {
                return Err(PackageError::PrivateKey { path: path.clone(), what });
            }
        }
        Ok(())
    }

    fn relations(&self) -> impl Iterator<Item = (&'static str, &String)> {
        let depends = self.depends.iter().map(|d| ("dependency", d));
        let provides = self.provides.iter().map(|d| ("provided name", d));
        depends.chain(provides).chain(self.conflicts.iter().map(|d| ("conflict", d)))
    }

    /// The sum of the files' sizes.
    pub fn size(&self) -> u64 {
        self.files.values().map(|f| if let Node::Regular(c) = &f.node { c.len() as u64 } else { 0 }).sum()
    }

    pub(crate) fn time(&self) -> u64 {
        u64::try_from(self.mtime).unwrap_or(0)
    }
}
