//! The links themselves: which there are, whose modules they lead to, and which of them policy does not allow.
//!
//! The vendor's programs also make links when a kernel arrives, without asking us: to every module that lies below
//! `extra/` (RHEL) or belongs to a package of theirs (SUSE), for older and newer kernels alike.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};

use crate::context::Context;
use crate::durable;
use crate::kernel::version;
use crate::names::{Kernel, Name, Package, Release};
use crate::plan::{Action, Step, Unlink, Unlinked};
use crate::report::Reporter;
use crate::tree::Trees;
use crate::tree::manifest::{Installed, KernelManifest};

/// The directory of links, below a kernel's.
const DIR: &str = "weak-updates";

/// A kernel that uses another's build.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct WeakLink {
    /// The kernel that has the link.
    pub kernel: Release,
    /// The kernel that the module was built for.
    pub from: Release,
    /// The module, below the directory of `from`.
    pub file: PathBuf,
    /// The link, as an outer path.
    pub link: PathBuf,
}

impl WeakLink {
    /// Whether the module that it leads to is there.
    fn leads_somewhere(&self, trees: &Trees) -> bool {
        std::fs::symlink_metadata(trees.modules_dir(&self.from).join(&self.file)).is_ok()
    }

    fn goes(&self, trees: &Trees, why: Unlinked) -> Unlink {
        Unlink { kernel: self.kernel.clone(), link: trees.shown(&self.link), why }
    }
}

/// Every link from one kernel's directory into another's, in order.
pub fn all(trees: &Trees) -> Vec<WeakLink> {
    let Ok(kernels) = std::fs::read_dir(&trees.install.outer) else { return Vec::new() };
    let mut links = Vec::new();
    for entry in kernels.flatten() {
        let Some(kernel) = entry.file_name().to_str().and_then(|name| Release::new(name).ok()) else { continue };
        collect(trees, &kernel, &entry.path().join(DIR), &mut links);
    }
    links.sort();
    links
}

/// The links that lead to one of these `files` of the kernel `from`.
pub fn to(trees: &Trees, from: &Release, files: &[PathBuf]) -> Vec<WeakLink> {
    all(trees).into_iter().filter(|link| link.from == *from && files.contains(&link.file)).collect()
}

fn collect(trees: &Trees, kernel: &Release, dir: &Path, links: &mut Vec<WeakLink>) {
    let Ok(entries) = std::fs::read_dir(dir) else { return };
    for entry in entries.flatten() {
        let Ok(kind) = entry.file_type() else { continue };
        if kind.is_dir() {
            collect(trees, kernel, &entry.path(), links);
        } else if kind.is_symlink() {
            let target = std::fs::read_link(entry.path()).unwrap_or_default();
            if let Some((from, file)) = split(&trees.install.inside, &target) {
                links.push(WeakLink { kernel: kernel.clone(), from, file, link: entry.path() });
            }
        }
    }
}

/// `/lib/modules/K/extra/x.ko`: K and `extra/x.ko`.
fn split(install: &Path, target: &Path) -> Option<(Release, PathBuf)> {
    let places = [install, Path::new("/lib/modules"), Path::new("/usr/lib/modules")];
    let rest = places.into_iter().find_map(|place| target.strip_prefix(place).ok())?;
    let mut parts = rest.components();
    let Component::Normal(release) = parts.next()? else { return None };
    Some((Release::new(release.to_str()?).ok()?, parts.as_path().to_owned()))
}

/// The installation that the link's module is part of; `None`: it is none of ours.
fn owner(trees: &Trees, link: &WeakLink) -> Option<Installed> {
    let is_it = |entry: &&Installed| entry.files.iter().any(|file| file.path.join(&file.file) == link.file);
    KernelManifest::known(trees, &link.from).installed.iter().find(is_it).cloned()
}

/// Whether the kernel has a build of its own of some version of the package.
fn has_own(trees: &Trees, release: &Release, name: &Name) -> bool {
    let dir = trees.modules_dir(release);
    KernelManifest::known(trees, release).installed.iter().any(|entry| {
        entry.package.name == *name
            && entry.files.iter().any(|file| std::fs::symlink_metadata(file.outer(&dir)).is_ok())
    })
}

/// The kernels that use what one of our packages has installed for another, and have nothing of their own of it: which,
/// and whose.
pub fn shared(trees: &Trees) -> BTreeMap<Package, BTreeSet<(Kernel, Release)>> {
    sharing(trees, |_, _| true)
}

/// The same, as it is without those that are [`unwanted`].
pub fn shared_when_tidy(trees: &Trees) -> BTreeMap<Package, BTreeSet<(Kernel, Release)>> {
    sharing(trees, |link, owner| refusal(trees, link, owner).is_none())
}

fn sharing(
    trees: &Trees,
    counts: impl Fn(&WeakLink, &Installed) -> bool,
) -> BTreeMap<Package, BTreeSet<(Kernel, Release)>> {
    let mut found: BTreeMap<Package, BTreeSet<(Kernel, Release)>> = BTreeMap::new();
    for link in all(trees) {
        let Some(owner) = owner(trees, &link) else { continue };
        if link.leads_somewhere(trees) && counts(&link, &owner) && !has_own(trees, &link.kernel, &owner.package.name) {
            let kernel = Kernel { release: link.kernel, arch: owner.arch };
            found.entry(owner.package).or_default().insert((kernel, link.from));
        }
    }
    found
}

/// The links in the directory of `release` to builds of some version of `name` for other kernels: ours, whoever made
/// them, and in nobody's way.
pub fn of_name(trees: &Trees, release: &Release, name: &Name) -> Vec<WeakLink> {
    let mut links = Vec::new();
    collect(trees, release, &trees.modules_dir(release).join(DIR), &mut links);
    links.retain(|link| owner(trees, link).is_some_and(|owner| owner.package.name == *name));
    links
}

/// The links to modules of ours that policy does not allow: of a kernel older than the one that the module was built for; of
/// a kernel that has a build of its own; to a package that says `NO_WEAK_MODULES`.
pub fn unwanted(trees: &Trees) -> Vec<Unlink> {
    let mut unwanted = Vec::new();
    for link in all(trees) {
        let Some(owner) = owner(trees, &link) else { continue };
        if let Some(why) = refusal(trees, &link, &owner) {
            unwanted.push(link.goes(trees, Unlinked::Unwanted(why)));
        }
    }
    unwanted
}

/// The links that go with `steps`: to modules that they take away, and of kernels that they give a build of their own.
pub fn going<'a>(trees: &Trees, steps: impl Iterator<Item = &'a Step>) -> Vec<Unlink> {
    let mut going = Vec::new();
    for Step { package, kernel, action, .. } in steps {
        let (links, why) = match action {
            Action::Uninstall | Action::Remove => {
                let beside = KernelManifest::known(trees, &kernel.release);
                let files = beside.find(package, &kernel.arch).map(Installed::paths).unwrap_or_default();
                (to(trees, &kernel.release, &files), Unlinked::Dangling)
            }
            Action::Build | Action::Install => (of_name(trees, &kernel.release, &package.name), Unlinked::OwnBuild),
            _ => continue,
        };
        going.extend(links.into_iter().map(|link| link.goes(trees, why.clone())));
    }
    going
}

/// Takes the links away that policy does not allow.
pub(super) fn tidy(ctx: &Context, reporter: &dyn Reporter) {
    take_away(ctx, &unwanted(&ctx.trees), reporter);
}

/// Why policy does not allow a link.
fn refusal(trees: &Trees, link: &WeakLink, owner: &Installed) -> Option<String> {
    let WeakLink { kernel, from, .. } = link;
    let package = &owner.package;
    if version::by_age(kernel.as_str(), from.as_str()).is_lt() {
        Some(format!("Kernel {kernel} gets no link to {package}: it is older than {from}."))
    } else if has_own(trees, kernel, &package.name) {
        let name = &package.name;
        Some(format!("Kernel {kernel} has a build of {name} of its own, and needs no link to that for {from}."))
    } else if owner.provenance.no_weak_modules {
        Some(format!("Kernel {kernel} gets no link to {package}, which does not want that."))
    } else {
        None
    }
}

/// Takes those of `links` away that lead nowhere any more, and tells which kernels have lost a module that they shared.
pub(super) fn drop_dangling(ctx: &Context, links: &[WeakLink], reporter: &dyn Reporter) {
    let trees = &ctx.trees;
    let gone = links.iter().filter(|link| !link.leads_somewhere(trees));
    let mut lost = BTreeSet::new();
    let mut away = Vec::new();
    for link in gone {
        let line = format!("Kernel {} shared this build, and has it no more.", link.kernel);
        if lost.insert(link.kernel.clone()) {
            reporter.line(&line);
        }
        if link.link.is_symlink() {
            away.push(link.goes(trees, Unlinked::Dangling));
        }
    }
    take_away(ctx, &away, reporter);
}

/// Takes links away, and runs depmod for the kernels that had them.
pub fn take_away(ctx: &Context, links: &[Unlink], reporter: &dyn Reporter) {
    let mut changed = BTreeSet::new();
    for Unlink { kernel, link, why } in links {
        let outer = ctx.trees.root.outer_nofollow(link);
        match std::fs::remove_file(&outer) {
            Ok(()) => {
                if let Unlinked::Unwanted(why) = why {
                    reporter.line(why);
                }
                let dir = ctx.trees.modules_dir(kernel);
                let parent = outer.parent().unwrap_or(&dir);
                if let Err(error) = durable::prune(parent, &dir) {
                    log::info!("{error}");
                }
                ctx.trees.changed(&outer);
                changed.insert(kernel.clone());
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => {
                reporter.warning(&[&format!("cannot remove {}: {error}", link.display())]);
            }
        }
    }
    for release in changed {
        match crate::run::depmod::run(ctx, &release) {
            Ok(crate::run::depmod::Depmod::Failed(why)) => {
                reporter.warning(&[&format!("depmod failed for kernel {release}: {why}")]);
            }
            Ok(_) => {}
            Err(error) => reporter.warning(&[&error]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::root::Root;
    use std::os::unix::fs::symlink;

    fn trees(tmp: &tempfile::TempDir) -> Trees {
        Trees::new(Root::at(tmp.path()).unwrap())
    }

    /// `hello/1` installed for `release` as `extra/hello.ko`.
    fn install(trees: &Trees, release: &str) {
        let dir = trees.install.outer.join(release);
        fs_err::create_dir_all(dir.join("extra")).unwrap();
        fs_err::write(dir.join("extra/hello.ko"), "").unwrap();
        let text = r#"{"format":1,"installed":[{"package":{"name":"hello","version":"1"},"arch":"x","installed_at":1,
            "files":[{"path":"extra","name":"hello","file":"hello.ko","digest":"0"}]}]}"#;
        fs_err::write(dir.join(".dkms-manifest.json"), text).unwrap();
    }

    fn link(trees: &Trees, kernel: &str, name: &str, target: &str) {
        let dir = trees.install.outer.join(kernel).join(DIR);
        fs_err::create_dir_all(&dir).unwrap();
        symlink(target, dir.join(name)).unwrap();
    }

    #[test]
    fn links_are_found_and_read() {
        let tmp = tempfile::tempdir().unwrap();
        let trees = trees(&tmp);
        fs_err::create_dir_all(trees.install.outer.join("5.14.0-9/weak-updates/hello")).unwrap();
        link(&trees, "5.14.0-9", "hello/a.ko", "/lib/modules/5.14.0-1/extra/a.ko");
        link(&trees, "5.14.0-9", "hello/b.ko", "/usr/lib/modules/5.14.0-1/extra/deep/b.ko");
        link(&trees, "5.14.0-9", "hello/c.ko", "/somewhere/else.ko");
        fs_err::write(trees.install.outer.join("5.14.0-9/weak-updates/d.ko"), "").unwrap();
        let found: Vec<_> = all(&trees)
            .into_iter()
            .map(|link| (link.kernel.to_string(), link.from.to_string(), link.file.display().to_string()))
            .collect();
        let expected =
            ["extra/a.ko", "extra/deep/b.ko"].map(|file| ("5.14.0-9".into(), "5.14.0-1".into(), file.into()));
        assert_eq!(found, expected);
    }

    #[test]
    fn only_our_modules_are_shared_and_only_where_there_is_no_build() {
        let tmp = tempfile::tempdir().unwrap();
        let trees = trees(&tmp);
        install(&trees, "5.14.0-2");
        install(&trees, "5.14.0-3");
        for kernel in ["5.14.0-3", "5.14.0-4"] {
            link(&trees, kernel, "hello.ko", "/lib/modules/5.14.0-2/extra/hello.ko");
            link(&trees, kernel, "vendor.ko", "/lib/modules/5.14.0-2/extra/vendor.ko");
        }
        let found: Vec<String> = shared(&trees)
            .into_iter()
            .flat_map(|(package, kernels)| {
                kernels.into_iter().map(move |(kernel, from)| format!("{package} {kernel} {from}"))
            })
            .collect();
        assert_eq!(found, ["hello/1 5.14.0-4 (x) 5.14.0-2"]);
        let name = Name::new("hello").unwrap();
        let own = of_name(&trees, &Release::new("5.14.0-3").unwrap(), &name);
        assert_eq!(own.len(), 1);
        assert!(own[0].link.ends_with("weak-updates/hello.ko"));
        // A link that leads nowhere serves nobody.
        fs_err::remove_file(trees.install.outer.join("5.14.0-2/extra/hello.ko")).unwrap();
        assert!(shared(&trees).is_empty());
    }
}
