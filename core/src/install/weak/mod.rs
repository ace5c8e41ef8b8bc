//! Weak modules: where a vendor keeps its kernels' symbols the same for years (RHEL's and SUSE's kABI), kernels may share
//! one build through links in `<install tree>/<K>/weak-updates/`. The vendor's program makes and removes the links; we
//! hand it our files, and see to it that no kernel gets a build made for a newer one, which that program would allow:
//! equal symbols do not make equal structures.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::{Component, Path, PathBuf};

use crate::context::Context;
use crate::host::Distribution;
use crate::kernel::version;
use crate::names::{Kernel, Package, Release};
use crate::process;
use crate::report::Reporter;
use crate::tree::Trees;
use crate::tree::manifest::KernelManifest;

/// The directory of links, below a kernel's.
const DIR: &str = "weak-updates";

/// Where SUSE keeps its program (suse-module-tools).
const SUSE: [&str; 2] = ["/usr/lib/module-init-tools/weak-modules2", "/usr/sbin/weak-modules2"];
/// RHEL's (package kmod).
const RHEL: [&str; 2] = ["/usr/sbin/weak-modules", "/sbin/weak-modules"];

/// What is done to the links.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// Modules were installed.
    Add,
    /// Modules are about to go.
    Remove,
}

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

/// Tells the vendor's program of `files` (below the kernel's directory) of `kernel`. Nothing is done where there is no
/// such program, or where the package (`wanted`) or the caller's `NO_WEAK_MODULES` does not want it. Its failure is told
/// and no more: the kernel that the modules were built for has them.
pub fn tell(
    ctx: &Context,
    kernel: &Kernel,
    files: impl IntoIterator<Item = PathBuf>,
    what: What,
    wanted: bool,
    reporter: &dyn Reporter,
) {
    if !wanted || ctx.machine.no_weak_modules {
        return;
    }
    let files: Vec<PathBuf> = files.into_iter().collect();
    let Some(argv) = program(ctx, kernel, what).filter(|_| !files.is_empty()) else { return };
    reporter.line(&match what {
        What::Add => "Adding linked weak modules...",
        What::Remove => "Removing linked weak modules...",
    });
    let dir = ctx.trees.install.inside.join(&kernel.release);
    let mut task = ctx.world.task(&argv, Path::new("/"));
    let list: Vec<String> = files.iter().map(|file| dir.join(file).display().to_string()).collect();
    task.input = Some(format!("{}\n", list.join("\n")).into_bytes());
    match process::run(task) {
        Ok(end) if end.status.success() => {}
        Ok(end) => reporter.warning(&[&format!(
            "{} failed for kernel {kernel} (status {}): {}",
            argv[0].to_string_lossy(),
            end.code(),
            end.text().trim()
        )]),
        Err(error) => reporter.warning(&[&error]),
    }
    if what == What::Add {
        drop_links_from_older(ctx, kernel, &files.into_iter().collect(), reporter);
    }
}

/// The program of this distribution with its arguments, if it is there. Fedora has RHEL's and no kABI.
fn program(ctx: &Context, kernel: &Kernel, what: What) -> Option<Vec<OsString>> {
    let there = |places: [&'static str; 2]| places.into_iter().find(|place| ctx.world.has(place));
    let verb = if what == What::Add { "--add" } else { "--remove" };
    if is_rhel(&ctx.distribution) {
        return Some(vec![there(RHEL)?.into(), format!("{verb}-modules").into(), "--no-initramfs".into()]);
    }
    if ctx.distribution.is_like(&["sles", "suse", "opensuse"]) {
        return Some(vec![
            there(SUSE)?.into(),
            format!("{verb}-kernel-modules").into(),
            kernel.release.as_str().into(),
        ]);
    }
    None
}

/// RHEL itself (whose `ID_LIKE` is only `fedora`), CentOS, and their rebuilds.
fn is_rhel(distribution: &Distribution) -> bool {
    let words = || distribution.family.split_whitespace().chain([distribution.id.as_str()]);
    words().any(|word| matches!(word, "rhel" | "centos"))
}

/// Takes away the links to these files of `kernel` that older kernels have got.
fn drop_links_from_older(ctx: &Context, kernel: &Kernel, files: &BTreeSet<PathBuf>, reporter: &dyn Reporter) {
    let mut changed = BTreeSet::new();
    for link in links(&ctx.trees) {
        let older = version::by_age(link.kernel.as_str(), link.from.as_str()).is_lt();
        if older && link.from == kernel.release && files.contains(&link.file) {
            match std::fs::remove_file(&link.link) {
                Ok(()) => {
                    reporter.line(&format!("Kernel {} gets no link: it is older than {}.", link.kernel, link.from));
                    changed.insert(link.kernel);
                }
                Err(error) => reporter.warning(&[&format!("cannot remove {}: {error}", link.link.display())]),
            }
        }
    }
    for release in changed {
        match super::depmod::run(ctx, &release) {
            Ok(super::depmod::Depmod::Failed(why)) => {
                reporter.warning(&[&format!("depmod failed for kernel {release}: {why}")]);
            }
            Ok(_) => {}
            Err(error) => reporter.warning(&[&error]),
        }
    }
}

/// The kernels among `links` that use a build that `package` has installed for another: which, and whose.
pub fn of_package(trees: &Trees, links: &[WeakLink], package: &Package) -> BTreeSet<(Kernel, Release)> {
    let mut found = BTreeSet::new();
    for link in links {
        let Ok(Some(beside)) = KernelManifest::load(&trees.kernel_manifest(&link.from)) else { continue };
        let entry = beside.installed.iter().find(|entry| {
            entry.package == *package && entry.files.iter().any(|file| file.path.join(&file.file) == link.file)
        });
        if let Some(entry) = entry {
            found.insert((Kernel { release: link.kernel.clone(), arch: entry.arch.clone() }, link.from.clone()));
        }
    }
    found
}

/// Every link from one kernel's directory into another's, in order.
pub fn links(trees: &Trees) -> Vec<WeakLink> {
    let Ok(kernels) = std::fs::read_dir(&trees.install.outer) else { return Vec::new() };
    let mut links = Vec::new();
    for entry in kernels.flatten() {
        let Some(kernel) = entry.file_name().to_str().and_then(|name| Release::new(name).ok()) else { continue };
        collect(trees, &kernel, &entry.path().join(DIR), &mut links);
    }
    links.sort();
    links
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::root::Root;

    #[test]
    fn whose_family_has_them() {
        for (text, rhel) in [
            ("ID=rhel\nID_LIKE=fedora\n", true),
            ("ID=almalinux\nID_LIKE=\"rhel centos fedora\"\n", true),
            ("ID=centos\nID_LIKE=\"rhel fedora\"\n", true),
            ("ID=fedora\n", false),
            ("ID=nobara\nID_LIKE=fedora\n", false),
            ("ID=debian\n", false),
        ] {
            assert_eq!(is_rhel(&Distribution::parse(text)), rhel, "{text}");
        }
    }

    #[test]
    fn links_are_found_and_read() {
        let tmp = tempfile::tempdir().unwrap();
        let trees = Trees::new(Root::at(tmp.path()).unwrap());
        let dir = trees.install.outer.join("5.14.0-9/weak-updates/hello");
        fs_err::create_dir_all(&dir).unwrap();
        for (name, target) in [
            ("a.ko", "/lib/modules/5.14.0-1/extra/a.ko"),
            ("b.ko", "/usr/lib/modules/5.14.0-1/extra/deep/b.ko"),
            ("c.ko", "/somewhere/else.ko"),
        ] {
            std::os::unix::fs::symlink(target, dir.join(name)).unwrap();
        }
        fs_err::write(dir.join("d.ko"), "").unwrap();
        let found: Vec<_> = links(&trees)
            .into_iter()
            .map(|link| (link.kernel.to_string(), link.from.to_string(), link.file.display().to_string()))
            .collect();
        let expected =
            ["extra/a.ko", "extra/deep/b.ko"].map(|file| ("5.14.0-9".into(), "5.14.0-1".into(), file.into()));
        assert_eq!(found, expected);
    }
}
