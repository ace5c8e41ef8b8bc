//! What `cargo metadata` says of the crates that this project is built from (cargo-metadata(1)).

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::Deserialize;

/// All crates that a build for some Linux needs, and what needs what.
#[derive(Debug, Deserialize)]
pub struct Metadata {
    packages: Vec<Package>,
    resolve: Resolve,
}

/// One crate.
#[derive(Debug, Deserialize)]
pub struct Package {
    id: String,
    pub name: String,
    pub version: String,
    /// An SPDX expression.
    pub license: Option<String>,
    #[serde(default)]
    pub authors: Vec<String>,
    manifest_path: PathBuf,
    /// Where it comes from; `None` for the members of the workspace.
    source: Option<String>,
    targets: Vec<Target>,
}

#[derive(Debug, Deserialize)]
struct Target {
    kind: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Resolve {
    nodes: Vec<Node>,
}

#[derive(Debug, Deserialize)]
struct Node {
    id: String,
    deps: Vec<Dependency>,
}

#[derive(Debug, Deserialize)]
struct Dependency {
    pkg: String,
    dep_kinds: Vec<Kind>,
}

#[derive(Debug, Deserialize)]
struct Kind {
    /// `None` for what is linked, else `dev` or `build`.
    kind: Option<String>,
}

impl Metadata {
    /// Reads what `cargo metadata --format-version 1` printed.
    ///
    /// # Errors
    /// If it is something else.
    pub fn read(from: impl std::io::Read) -> Result<Self> {
        serde_json::from_reader(from).context("read what `cargo metadata` says from standard input")
    }

    /// The crates that are not ours, by name and version.
    pub fn foreign(&self) -> Vec<&Package> {
        let mut all: Vec<_> = self.packages.iter().filter(|package| package.source.is_some()).collect();
        all.sort_by_key(|package| (&package.name, &package.version));
        all
    }

    /// The crates that are linked into the member `name`, itself among them: not what only builds or tests it, nor what
    /// runs in the compiler.
    ///
    /// # Errors
    /// If there is no such member.
    pub fn linked(&self, name: &str) -> Result<Vec<&Package>> {
        let packages: BTreeMap<&str, &Package> =
            self.packages.iter().map(|package| (package.id.as_str(), package)).collect();
        let nodes: BTreeMap<&str, &Node> = self.resolve.nodes.iter().map(|node| (node.id.as_str(), node)).collect();
        let member = self.packages.iter().find(|package| package.source.is_none() && package.name == name);
        let mut open = vec![member.with_context(|| format!("{name} is no member of the workspace"))?.id.as_str()];
        let mut reached = BTreeSet::new();
        while let Some(id) = open.pop() {
            if packages.get(id).is_some_and(|package| package.in_compiler()) || !reached.insert(id) {
                continue;
            }
            let deps = nodes.get(id).map(|node| node.deps.as_slice()).unwrap_or_default();
            let linked = |dependency: &&Dependency| dependency.dep_kinds.iter().any(|kind| kind.kind.is_none());
            open.extend(deps.iter().filter(linked).map(|dependency| dependency.pkg.as_str()));
        }
        Ok(reached.into_iter().filter_map(|id| packages.get(id).copied()).collect())
    }
}

impl Package {
    /// Its directory below `vendor`, as `cargo vendor --versioned-dirs` names it.
    pub fn directory(&self) -> String {
        format!("{}-{}", self.name, self.version)
    }

    /// Where its source lies on this machine.
    pub fn source_directory(&self) -> &Path {
        self.manifest_path.parent().unwrap_or(&self.manifest_path)
    }

    fn in_compiler(&self) -> bool {
        self.targets.iter().any(|target| target.kind.iter().any(|kind| kind == "proc-macro"))
    }
}

/// `Provides: bundled(crate(NAME)) = VERSION`, a line for each foreign crate linked into one of `members`, as the guidelines
/// of rpm distributions ask of packages that bring their crates.
///
/// # Errors
/// If one is no member.
pub fn bundled(members: &[String], metadata: &Metadata) -> Result<String> {
    let mut lines = BTreeSet::new();
    for member in members {
        for package in metadata.linked(member)?.into_iter().filter(|package| package.source.is_some()) {
            // rpm has no `+` in versions with a meaning of its own, and `-` divides the release.
            let version = package.version.split('+').next().unwrap_or_default().replace('-', "~");
            lines.insert(format!("Provides:       bundled(crate({})) = {version}\n", package.name));
        }
    }
    Ok(lines.into_iter().collect())
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// A member `prog` that links `a`, which links `b`; `m` runs in the compiler and is built with `c`; `t` tests.
    pub fn small() -> Metadata {
        let package = |name: &str, source: &str, kind: &str| {
            format!(
                r#"{{"id":"{name}","name":"{name}","version":"1.0.0+x","license":"MIT","manifest_path":"/x/{name}/Cargo.toml",
                     "source":{source},"targets":[{{"kind":["{kind}"]}}]}}"#
            )
        };
        let node = |name: &str, deps: &[(&str, &str)]| {
            let deps: Vec<_> =
                deps.iter().map(|(to, kind)| format!(r#"{{"pkg":"{to}","dep_kinds":[{{"kind":{kind}}}]}}"#)).collect();
            format!(r#"{{"id":"{name}","deps":[{}]}}"#, deps.join(","))
        };
        let text = format!(
            r#"{{"packages":[{}],"resolve":{{"nodes":[{}]}}}}"#,
            [
                package("prog", "null", "bin"),
                package("a", "\"r\"", "lib"),
                package("b", "\"r\"", "lib"),
                package("c", "\"r\"", "lib"),
                package("m", "\"r\"", "proc-macro"),
                package("t", "\"r\"", "lib")
            ]
            .join(","),
            [
                node("prog", &[("a", "null"), ("m", "null"), ("t", "\"dev\"")]),
                node("a", &[("b", "null"), ("c", "\"build\"")]),
                node("m", &[("c", "null")])
            ]
            .join(",")
        );
        Metadata::read(text.as_bytes()).unwrap()
    }

    /// What `cargo metadata` says of this project, asked as the Makefile asks it.
    #[allow(clippy::disallowed_methods)] // the way through dkms-core is for the program, not for its tests
    pub fn ours() -> Metadata {
        let makefile = concat!(env!("CARGO_MANIFEST_DIR"), "/../../Makefile");
        let makefile = fs_err::read_to_string(makefile).unwrap();
        let words = |name: &str| {
            let line = makefile.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            line.split_whitespace().map(str::to_owned).collect::<Vec<_>>()
        };
        let mut cargo = std::process::Command::new(env!("CARGO"));
        cargo.args(words("METADATA = cargo ")).current_dir(env!("CARGO_MANIFEST_DIR"));
        for system in words("SYSTEMS = ") {
            cargo.args(["--filter-platform", &system]);
        }
        let end = cargo.output().unwrap();
        assert!(end.status.success(), "{}", String::from_utf8_lossy(&end.stderr));
        Metadata::read(end.stdout.as_slice()).unwrap()
    }

    #[test]
    fn only_what_is_linked_is_bundled() {
        let metadata = small();
        assert_eq!(
            bundled(&["prog".into()], &metadata).unwrap(),
            "Provides:       bundled(crate(a)) = 1.0.0\nProvides:       bundled(crate(b)) = 1.0.0\n"
        );
        assert!(bundled(&["other".into()], &metadata).is_err());
        assert_eq!(metadata.foreign().len(), 5);
    }
}
