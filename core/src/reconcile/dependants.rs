//! BUILD_DEPENDS_REBUILD: packages that are built anew because one that they were built against has changed.

use std::collections::BTreeMap;

use crate::conf::holds::Holds;
use crate::context::Context;
use crate::error::Error;
use crate::execute::work::installed_version;
use crate::install::{self, artefact};
use crate::names::{Kernel, Name, Package, names_in};
use crate::system_error::SystemError;
use crate::tree::manifest::{KernelManifest, Manifest};
use crate::tree::walk::{self, Filter};

/// What is to be built anew for one kernel.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Dependants {
    /// The packages, each with those before it (by index) that it needs.
    pub packages: Vec<(Package, Vec<usize>)>,
    /// Packages that need each other, each by way of the next, and the first again; nothing can be done for those.
    pub cycles: Vec<Vec<Name>>,
}

/// The packages to be built anew for `kernel`, after `installed` was installed for it, or as if it were.
pub fn find(ctx: &Context, kernel: &Kernel, installed: &Package) -> Result<Dependants, Error> {
    let beside = KernelManifest::beside(&ctx.trees, &kernel.release)?;
    let beside = beside.unwrap_or_default();
    let holds = Holds::read(&ctx.trees).map_err(SystemError::from)?;
    let mut followers: BTreeMap<Name, Follower> = BTreeMap::new();
    for entry in walk::walk(&ctx.trees, &Filter::default()).packages {
        let name = &entry.package.name;
        let here = entry.built.iter().any(|built| built.kernel == *kernel);
        if !here || installed.name == *name || holds.holds(name, &kernel.release) {
            continue;
        }
        let Some(manifest) = artefact::manifest(ctx, &entry.package, kernel)? else { continue };
        let known = followers.contains_key(name) && !install::is_installed(ctx, &entry.package, kernel);
        if !manifest.build_depends_rebuild || known {
            continue;
        }
        let needs = names_in(&manifest.provenance.build_depends).collect();
        let outdated = outdated(ctx, &beside, &manifest, Some(installed)).is_some();
        followers.insert(name.clone(), Follower { package: entry.package, needs, outdated });
    }
    Ok(order(&followers))
}

/// The first dependency of an artefact of which another version is installed than the one it was built against; `coming`
/// counts as installed.
pub fn outdated(ctx: &Context, beside: &KernelManifest, manifest: &Manifest, coming: Option<&Package>) -> Option<Name> {
    names_in(&manifest.provenance.build_depends).find(|name| {
        let then = manifest.dependency_versions.get(name.as_str());
        let coming = coming.filter(|package| package.name == *name).map(|package| package.version.to_string());
        let now = coming.or_else(|| installed_version(ctx, beside, name, &manifest.kernel));
        now.is_some_and(|now| Some(&now) != then)
    })
}

/// A package that follows its dependencies.
#[derive(Debug)]
struct Follower {
    package: Package,
    needs: Vec<Name>,
    outdated: bool,
}

/// Those that are outdated, and those that follow them, each after what it needs.
fn order(followers: &BTreeMap<Name, Follower>) -> Dependants {
    let mut concerned: BTreeMap<&Name, &Follower> =
        followers.iter().filter(|(_, follower)| follower.outdated).collect();
    loop {
        let next = followers.iter().find(|(name, follower)| {
            !concerned.contains_key(name) && follower.needs.iter().any(|need| concerned.contains_key(need))
        });
        let Some((name, follower)) = next else { break };
        concerned.insert(name, follower);
    }
    let mut found = Dependants::default();
    let mut places: BTreeMap<&Name, usize> = BTreeMap::new();
    loop {
        let ready = concerned.iter().find(|(name, follower)| {
            !places.contains_key(*name)
                && follower.needs.iter().all(|need| places.contains_key(need) || !concerned.contains_key(need))
        });
        let Some((name, follower)) = ready else { break };
        let before = follower.needs.iter().filter_map(|need| places.get(need).copied()).collect();
        places.insert(name, found.packages.len());
        found.packages.push((follower.package.clone(), before));
    }
    concerned.retain(|name, _| !places.contains_key(name));
    while let Some(start) = concerned.keys().next().copied() {
        let cycle = cycle_from(&concerned, start);
        concerned.retain(|name, _| *name != start && !cycle.contains(name));
        found.cycles.push(cycle);
    }
    found
}

/// Follows needs from `start` until a name comes again. Everybody here needs somebody who is, or was, here.
fn cycle_from(among: &BTreeMap<&Name, &Follower>, start: &Name) -> Vec<Name> {
    let mut path: Vec<Name> = vec![start.clone()];
    loop {
        let follower = path.last().and_then(|name| among.get(name));
        let Some(next) = follower.and_then(|f| f.needs.iter().find(|need| among.contains_key(need))) else {
            return path;
        };
        let seen = path.iter().position(|name| name == next);
        path.push(next.clone());
        if let Some(from) = seen {
            return path.split_off(from);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ordered(table: &[(&str, &[&str], bool)]) -> (Vec<String>, Vec<String>) {
        let name = |name: &str| Name::new(name).unwrap();
        let follower = |(own, needs, outdated): &(&str, &[&str], bool)| {
            let package = Package::new(own, "1").unwrap();
            (name(own), Follower { package, needs: needs.iter().map(|n| name(n)).collect(), outdated: *outdated })
        };
        let found = order(&table.iter().map(follower).collect());
        let words = |names: &[Name]| names.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
        for (index, (_, before)) in found.packages.iter().enumerate() {
            assert!(before.iter().all(|before| *before < index));
        }
        (
            found.packages.iter().map(|(package, _)| package.name.to_string()).collect(),
            found.cycles.iter().map(|cycle| words(cycle)).collect(),
        )
    }

    #[test]
    fn those_that_follow_come_after_what_they_need() {
        let (order, cycles) = ordered(&[
            ("a", &["b"], false),
            ("b", &["base"], true),
            ("c", &["base"], false),
            ("d", &["a", "b"], false),
        ]);
        assert_eq!((order.join(" ").as_str(), cycles.len()), ("b a d", 0));
    }

    #[test]
    fn cycles_are_named() {
        let (order, cycles) =
            ordered(&[("a", &["b"], true), ("b", &["c"], true), ("c", &["b"], false), ("x", &["base"], true)]);
        assert_eq!(order, ["x"]);
        assert_eq!(cycles, ["b c b"]);
        let (order, cycles) = ordered(&[("a", &["b"], true), ("b", &["a"], true)]);
        assert_eq!((order.len(), cycles), (0, vec!["a b a".to_owned()]));
    }
}
