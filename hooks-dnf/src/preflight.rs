//! What will go wrong with the kernels of a transaction, told before it begins.

use std::fmt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use dkms_core::cli::args::Args;
use dkms_core::cli::surroundings;
use dkms_core::conf::framework::Policy;
use dkms_core::conf::typed::Wish;
use dkms_core::context::Context;
use dkms_core::error::Error;
use dkms_core::facts::Facts;
use dkms_core::kernel::version;
use dkms_core::names::{self, Arch, Package, Release};
use dkms_core::tree::record::{Outcome, Record};
use dkms_core::tree::walk::{self, Filter, Source};

use crate::transaction::{self, Coming};

/// One thing that will go wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// A kernel comes without headers: nothing can be built for it.
    NoHeaders {
        /// The kernel.
        kernel: String,
        /// What would bring them.
        headers: String,
        /// The packages that will lack modules.
        packages: Vec<String>,
    },
    /// A package says that the kernel is not for it.
    Excluded {
        /// The package.
        package: String,
        /// The kernel.
        kernel: String,
        /// Its rule.
        why: String,
    },
    /// A package failed to build for this very kernel before.
    FailedBefore {
        /// The package.
        package: String,
        /// The kernel.
        kernel: String,
        /// The first error then.
        why: String,
    },
    /// A file system has not the room that builds take.
    NoRoom {
        /// Where.
        dir: PathBuf,
        /// How much is free there, in bytes.
        free: u64,
        /// How much is needed, in bytes.
        needed: u64,
        /// How much of that the packages themselves take.
        packages: u64,
    },
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoHeaders { kernel, headers, packages } => write!(
                f,
                "kernel {kernel} comes without its headers, so it will lack the modules of {}: install {headers} with it",
                packages.join(", ")
            ),
            Self::Excluded { package, kernel, why } => {
                write!(f, "{package} is not meant for kernel {kernel}, which will lack its modules: {why}")
            }
            Self::FailedBefore { package, kernel, why } => {
                write!(f, "{package} could not be built for kernel {kernel} before: {why}")
            }
            Self::NoRoom { dir, free, needed, packages } => write!(
                f,
                "{} has {} MiB free, and {} about {} MiB",
                dir.display(),
                free >> 20,
                if *packages == 0 { "building modules takes" } else { "the transaction and building modules take" },
                needed >> 20
            ),
        }
    }
}

/// What was found, and what policy makes of it.
#[derive(Debug, Default)]
pub struct Verdict {
    /// Everything worth a warning, the gravest first.
    pub findings: Vec<Finding>,
    /// Whether the transaction must not go on.
    pub stop: bool,
}

/// A package that a kernel should have modules of.
struct Wanted {
    package: Package,
    /// The version that is registered; `None` if the transaction brings the first.
    registered: Option<Package>,
    /// Whether the transaction brings it, or its name says that it may, and its dkms.conf can't be read yet.
    comes: bool,
}

/// Looks at the transaction that brings `packages`. Without a kernel among them, or without a package that wants modules,
/// nothing is found, at once. `last`: it is not looked again, and all that can be known of the packages is.
pub fn look(packages: &[transaction::Package], last: bool) -> Result<Verdict, Error> {
    let coming = Coming::of(packages);
    if coming.kernels.is_empty() {
        return Ok(Verdict::default());
    }
    let args = Args::parse(["status".into()]).map_err(Error::Usage)?;
    judge(&surroundings::context(&args)?, &coming, last)
}

/// The same, of what is known to come.
pub fn judge(ctx: &Context, coming: &Coming, last: bool) -> Result<Verdict, Error> {
    let mut verdict = Verdict::default();
    // Nothing is to be built by itself: the administrator says so.
    if ctx.trees.outer(NO_AUTOINSTALL).exists() {
        return Ok(verdict);
    }
    let wanted = wanted(registered(ctx), coming);
    if wanted.is_empty() {
        return Ok(verdict);
    }
    // What a registered version has to say for itself is void if another one comes, and any package that has not been
    // looked into may bring it: the last look will know.
    let certain = last || coming.unread.is_empty();
    // Whether anything will be built, and whether the system can't do without it.
    let (mut builds, mut builds_needed) = (false, false);
    let facts = Facts::new(ctx);
    let system_fails = ctx.framework.policy == Policy::Fail;
    for kernel in &coming.kernels {
        let Ok(release) = Release::new(kernel.release.as_str()) else { continue };
        let arch = Arch::new(ctx.distribution.arch_label(&release, &ctx.machine.name))?;
        let pair = names::Kernel { release, arch };
        let known = facts.kernel(&pair)?;
        let mut wanting = Vec::new();
        for Wanted { package, registered, comes } in &wanted {
            let Some(registered) = registered else {
                wanting.push((package.to_string(), system_fails));
                continue;
            };
            // A dkms.conf that can't be read is the build's to complain about.
            let Ok(evaluated) = facts.evaluate(registered, &known, None, false) else { continue };
            if !evaluated.conf.autoinstall {
                continue;
            }
            let stops = match evaluated.conf.policy {
                Some(Wish::Required) => true,
                Some(Wish::Optional) => false,
                Some(Wish::Wanted) | None => system_fails,
            };
            if *comes {
                // What comes anew may be meant for the kernel, and build.
                wanting.push((package.to_string(), stops));
                continue;
            }
            if evaluated.recipe.is_excluded() {
                let why: Vec<_> = evaluated.recipe.excluded_wholly.iter().map(ToString::to_string).collect();
                verdict.findings.push(Finding::Excluded {
                    package: package.to_string(),
                    kernel: kernel.release.clone(),
                    why: why.join("; "),
                });
                // That is its author's word, no failure; only who can't do without the package wants to stop.
                verdict.stop |= certain && evaluated.conf.policy == Some(Wish::Required);
                continue;
            }
            wanting.push((package.to_string(), stops));
            if let Ok(Some(Record { outcome: Outcome::Failed { diagnostic, step, .. }, .. })) =
                Record::load(&ctx.trees, package, &pair)
            {
                verdict.findings.push(Finding::FailedBefore {
                    package: package.to_string(),
                    kernel: kernel.release.clone(),
                    why: diagnostic.unwrap_or_else(|| format!("{step} failed")),
                });
                verdict.stop |= certain && stops;
            }
        }
        let needed = wanting.iter().any(|(_, stops)| *stops);
        if wanting.is_empty() {
            continue;
        }
        if kernel.with_headers || has_headers(ctx, &kernel.release) {
            builds = true;
            builds_needed |= needed;
        } else {
            verdict.stop |= needed;
            verdict.findings.insert(
                0,
                Finding::NoHeaders {
                    kernel: kernel.release.clone(),
                    headers: kernel.headers_package.clone(),
                    packages: wanting.into_iter().map(|(name, _)| name).collect(),
                },
            );
        }
    }
    if builds {
        for finding in room(ctx, coming) {
            verdict.stop |= system_fails && builds_needed;
            verdict.findings.push(finding);
        }
    }
    Ok(verdict)
}

/// The file that switches automatic installation off.
const NO_AUTOINSTALL: &str = "/etc/dkms/no-autoinstall";

/// Each package once: what the transaction brings takes the place of what is registered, and what it takes out is wanted
/// no more.
fn wanted(registered: Vec<Package>, coming: &Coming) -> Vec<Wanted> {
    let of = |package: Package| {
        let comes = coming.may_bring(package.name.as_str());
        Wanted { package: package.clone(), registered: Some(package), comes }
    };
    let stays = |package: &Package| !coming.takes_out(package.name.as_str());
    let mut wanted: Vec<Wanted> = registered.into_iter().filter(stays).map(of).collect();
    for package in coming.sources.iter().cloned() {
        match wanted.iter_mut().find(|known| known.package.name == package.name) {
            Some(known) => known.package = package,
            None => wanted.push(Wanted { package, registered: None, comes: true }),
        }
    }
    wanted
}

/// The newest version of each registered package.
fn registered(ctx: &Context) -> Vec<Package> {
    let mut newest: Vec<Package> = Vec::new();
    for entry in walk::walk(&ctx.trees, &Filter::default()).packages {
        if entry.source != Source::Added {
            continue;
        }
        match newest.iter_mut().find(|known| known.name == entry.package.name) {
            Some(known) if version::by_age(known.version.as_str(), entry.package.version.as_str()).is_lt() => {
                *known = entry.package;
            }
            Some(_) => {}
            None => newest.push(entry.package),
        }
    }
    newest
}

/// Whether the headers are there although the kernel is not: rpm distributions keep them below /usr/src.
fn has_headers(ctx: &Context, release: &str) -> bool {
    let places = [format!("/usr/src/kernels/{release}/include"), format!("/lib/modules/{release}/build/include")];
    places.iter().any(|place| ctx.trees.outer(place).is_dir())
}

/// What a build's work directory takes beside what comes of it: objects with debug information, the source.
const WORK_FACTOR: u64 = 4;
/// What is never asked for less than.
const LEAST: u64 = 16 << 20;

/// The file systems that lack room for the modules of the kernels that come, by what those of the fullest kernel take,
/// and for the packages: those go to the file system that has the modules.
fn room(ctx: &Context, coming: &Coming) -> Vec<Finding> {
    let mut sizes: Vec<(names::Kernel, u64)> = Vec::new();
    for entry in walk::walk(&ctx.trees, &Filter::default()).packages {
        if coming.takes_out(entry.package.name.as_str()) {
            continue;
        }
        for built in entry.built.iter().filter(|built| built.installed) {
            let size = size_of(&ctx.trees.artefact_modules(&entry.package, &built.kernel));
            match sizes.iter_mut().find(|(kernel, _)| *kernel == built.kernel) {
                Some((_, sum)) => *sum += size,
                None => sizes.push((built.kernel.clone(), size)),
            }
        }
    }
    let kernels = u64::try_from(coming.kernels.len()).unwrap_or(1);
    let modules = sizes.into_iter().map(|(_, size)| size).max().unwrap_or(0) * kernels;
    let device = |dir: &Path| std::fs::metadata(existing(dir)).map(|meta| meta.dev()).ok();
    let install = &ctx.trees.install.outer;
    [(&ctx.trees.dkms.outer, modules * WORK_FACTOR + LEAST), (install, modules + LEAST)]
        .into_iter()
        .filter_map(|(dir, needed)| {
            let stat = rustix::fs::statvfs(existing(dir)).ok()?;
            let free = stat.f_bavail.saturating_mul(stat.f_frsize);
            let packages = if device(dir) == device(install) { coming.bytes } else { 0 };
            let needed = needed.saturating_add(packages);
            (free < needed).then(|| Finding::NoRoom { dir: ctx.trees.shown(dir), free, needed, packages })
        })
        .collect()
}

fn existing(dir: &Path) -> &Path {
    dir.ancestors().find(|dir| dir.exists()).unwrap_or(dir)
}

/// The size of the files in `dir`, in bytes.
fn size_of(dir: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(dir) else { return 0 };
    entries.flatten().filter_map(|entry| entry.metadata().ok()).map(|meta| meta.len()).sum()
}

#[cfg(test)]
mod tests {
    use dkms_core::root::Root;
    use dkms_core::sandbox::Namespaces;
    use dkms_core::tree::Trees;
    use dkms_core::world::World;

    use super::*;

    #[test]
    fn what_comes_takes_the_place_of_what_is_there() {
        let package = |text: &str| {
            let (name, version) = text.split_once('/').unwrap();
            Package::new(name, version).unwrap()
        };
        let sources = ["a/2", "c/1"].map(package).into();
        let found = wanted(vec![package("a/1"), package("b/1")], &Coming { sources, ..Coming::default() });
        let found: Vec<_> = found
            .iter()
            .map(|wanted| {
                (wanted.package.to_string(), wanted.registered.as_ref().map(ToString::to_string), wanted.comes)
            })
            .collect();
        let expected = [("a/2", Some("a/1"), true), ("b/1", Some("b/1"), false), ("c/1", None, true)];
        assert_eq!(found, expected.map(|(name, old, comes)| (name.to_owned(), old.map(str::to_owned), comes)));
    }

    #[test]
    fn findings_name_what_to_do() {
        let finding = Finding::NoHeaders {
            kernel: "6.12.9-200.fc41.x86_64".into(),
            headers: "kernel-devel-6.12.9-200.fc41".into(),
            packages: vec!["a/1".into(), "b/2".into()],
        };
        let text = finding.to_string();
        assert!(text.contains("a/1, b/2") && text.contains("install kernel-devel-6.12.9-200.fc41"), "{text}");
        let room = |packages| {
            Finding::NoRoom { dir: "/var/lib/dkms".into(), free: 3 << 20, needed: 16 << 20, packages }.to_string()
        };
        assert_eq!(room(0), "/var/lib/dkms has 3 MiB free, and building modules takes about 16 MiB");
        assert!(room(1).contains("and the transaction and building modules take about 16 MiB"), "{}", room(1));
    }

    /// Kernel 7.2 and its headers, and the packages that are named as `(name, direction)`: none has been looked into.
    fn coming(others: &[(&str, &str)]) -> Coming {
        let kernel = [("kernel-core", "IN"), ("kernel-devel", "IN")];
        let package = |(name, direction): &(&str, &str)| transaction::Package {
            name: (*name).into(),
            version: "7.2".into(),
            release: "1".into(),
            arch: "x86_64".into(),
            direction: (*direction).into(),
            ..transaction::Package::default()
        };
        Coming::of(&kernel.iter().chain(others).map(package).collect::<Vec<_>>())
    }

    fn read(mut coming: Coming, sources: &[&str]) -> Coming {
        coming.unread.clear();
        coming.sources = sources.iter().map(|name| Package::new(name, "2").unwrap()).collect();
        coming
    }

    /// A system of its own, with policy fail and the module package zfs/1, of this `conf`.
    fn system(dir: &Path, conf: &str) -> Context {
        let mut ctx = surroundings::context(&Args::parse(["status".into()]).unwrap()).unwrap();
        ctx.trees = Trees::new(Root::at(dir).unwrap());
        // bash sees the files where this process does.
        ctx.world = World::of(&ctx.trees.root, ctx.world.environment().clone(), Namespaces::default());
        ctx.framework.policy = Policy::Fail;
        let source = ctx.trees.outer("/usr/src/zfs-1");
        let package = ctx.trees.outer("/var/lib/dkms/zfs/1");
        for dir in [&source, &package] {
            fs_err::create_dir_all(dir).unwrap();
        }
        let text = format!(
            "PACKAGE_NAME=zfs\nPACKAGE_VERSION=1\nBUILT_MODULE_NAME=zfs\nDEST_MODULE_LOCATION=/extra\nAUTOINSTALL=yes\n{conf}\n"
        );
        fs_err::write(source.join("dkms.conf"), text).unwrap();
        fs_err::os::unix::fs::symlink("/usr/src/zfs-1", package.join("source")).unwrap();
        ctx
    }

    /// A system on which zfs is not meant for kernel 7.2 and required, and one on which it failed for it before.
    fn systems(dir: &Path) -> [Context; 2] {
        let [excluded, failed] = ["excluded", "failed"].map(|name| dir.join(name));
        fs_err::create_dir_all(&excluded).unwrap();
        fs_err::create_dir_all(&failed).unwrap();
        let excluded = system(&excluded, "BUILD_EXCLUSIVE_KERNEL='^6[.]'\nDKMS_POLICY=required");
        let failed = system(&failed, "");
        let release = Release::new("7.2-1.x86_64").unwrap();
        let arch = Arch::new(failed.distribution.arch_label(&release, &failed.machine.name)).unwrap();
        let outcome = Outcome::Failed {
            step: "make".into(),
            code: 10,
            diagnostic: Some("no_such_thing".into()),
            log: None,
            remembered_key: None,
        };
        let kernel = names::Kernel { release, arch };
        let record = Record { package: Package::new("zfs", "1").unwrap(), kernel, outcome, at: 1 };
        record.store(&failed.trees).unwrap();
        [excluded, failed]
    }

    #[test]
    fn an_old_versions_account_stops_only_when_no_other_can_come() {
        let dir = tempfile::TempDir::new().unwrap();
        for ctx in systems(dir.path()) {
            let judged = |coming: Coming, last| {
                let verdict = judge(&ctx, &coming, last).unwrap();
                let told = verdict.findings.iter().any(|f| !matches!(f, Finding::NoRoom { .. }));
                (told, verdict.stop)
            };
            let (nothing, warned, stopped) = ((false, false), (true, false), (true, true));
            // What has not been downloaded may bring another version under any name.
            assert_eq!(judged(coming(&[]), false), warned);
            assert_eq!(judged(coming(&[("vendor", "IN")]), false), warned);
            assert_eq!(judged(coming(&[("vendor", "IN")]), true), stopped);
            // All is there and has been looked into, at any look.
            assert_eq!(judged(read(coming(&[("zfs-dkms", "IN")]), &[]), false), stopped);
            assert_eq!(judged(read(coming(&[("vendor", "IN")]), &["zfs"]), true), nothing);
            // Nothing is ever looked into: names tell.
            for name in ["zfs-dkms", "dkms-zfs", "zfs", "akmod-zfs"] {
                for last in [false, true] {
                    assert_eq!(judged(coming(&[(name, "IN"), (name, "OUT")]), last), nothing, "{name}");
                }
            }
        }
    }

    #[test]
    fn what_goes_is_not_missed() {
        let dir = tempfile::TempDir::new().unwrap();
        for ctx in systems(dir.path()) {
            let mut without_headers = coming(&[("zfs-dkms", "OUT")]);
            without_headers.kernels[0].with_headers = false;
            for coming in [coming(&[("zfs-dkms", "OUT")]), without_headers.clone()] {
                let verdict = judge(&ctx, &coming, true).unwrap();
                assert!(verdict.findings.is_empty() && !verdict.stop, "{:?}", verdict.findings);
            }
            without_headers.going = ["zfs-utils".to_owned()].into();
            assert!(judge(&ctx, &without_headers, true).unwrap().stop);
        }
    }

    #[test]
    fn nothing_is_missed_where_nothing_is_installed_by_itself() {
        let dir = tempfile::TempDir::new().unwrap();
        for ctx in systems(dir.path()) {
            assert!(judge(&ctx, &coming(&[]), true).unwrap().stop);
            fs_err::create_dir_all(ctx.trees.outer("/etc/dkms")).unwrap();
            fs_err::write(ctx.trees.outer(NO_AUTOINSTALL), "").unwrap();
            let verdict = judge(&ctx, &coming(&[]), true).unwrap();
            assert!(verdict.findings.is_empty() && !verdict.stop, "{:?}", verdict.findings);
        }
    }

    #[test]
    fn no_room_is_needed_where_nothing_is_built() {
        let dir = tempfile::TempDir::new().unwrap();
        let [excluded, failed] = systems(dir.path());
        let mut much = coming(&[]);
        much.bytes = u64::MAX / 2;
        let told = |ctx: &Context, coming: &Coming| {
            let verdict = judge(ctx, coming, false).unwrap();
            (verdict.findings.iter().any(|f| matches!(f, Finding::NoRoom { .. })), verdict.stop)
        };
        assert_eq!(told(&excluded, &much), (false, false));
        assert_eq!(told(&failed, &much), (true, true));
        much.kernels[0].with_headers = false;
        assert_eq!(told(&failed, &much), (false, true));
        // Who can do without the package is not stopped.
        much.kernels[0].with_headers = true;
        let optional = dir.path().join("optional");
        fs_err::create_dir_all(&optional).unwrap();
        assert_eq!(told(&system(&optional, "DKMS_POLICY=optional"), &much), (true, false));
    }
}
