//! The facts a plan is made from, read from the system. Cheap when nothing has changed: a directory walk,
//! one manifest a kernel, a few stats; no dkms.conf is evaluated for what is installed and right.

use std::cell::{OnceCell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;

use super::gather_package::Gatherer;
use super::{How, Scope, adopt, stale, twice, vanished};
use crate::conf::holds::Holds;
use crate::context::Context;
use crate::error::Error;
use crate::facts::KernelFacts;
use crate::host::headers_package;
use crate::host::owner::OwnerState;
use crate::install::other_label::is_same_machine;
use crate::install::source_change::Seen;
use crate::kernel::identity::{Match, headers_match};
use crate::kernel::installed;
use crate::kernel::version;
use crate::names::{Kernel, Name, Package, Release};
use crate::parallel;
use crate::plan::{self, HeadersState, PackageState, Presence, Registering, Wish};
use crate::run::Session;
use crate::superseded::{self, Waiting};
use crate::system_error::SystemError;
use crate::tree::identity::Identity;
use crate::tree::manifest::{Installed, InstalledFile, KernelManifest};
use crate::tree::walk::{self, Filter, PackageEntry, Source, Walk};
use crate::weak;

/// What was gathered: the facts for the plan, and the entries that could not be read.
#[derive(Debug)]
pub(super) struct Gathered {
    /// As they are when `before` is done.
    pub(super) facts: plan::PlanInput,
    pub(super) before: Before,
    pub(super) broken: Vec<Broken>,
    /// What a person should know of, and is no failure.
    pub(super) notes: Vec<String>,
    /// Directories of removed kernels that hold nothing but what we and depmod left there.
    pub(super) leftovers: Vec<Release>,
    /// The sources that had to be read, since somebody had touched them.
    pub(super) seen: BTreeMap<Package, Seen>,
}

/// What could not be looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Broken {
    /// The source of a package is gone from this place (inside the root).
    Source(Package, PathBuf),
    /// An entry of the tree (inside the root) can't be read, and why.
    Entry(PathBuf, String),
}

impl std::fmt::Display for Broken {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Source(package, place) => write!(
                out,
                "{package} is broken: its source is gone. Put it back at {}, or run: dkms remove {package} --all",
                place.display()
            ),
            Self::Entry(path, why) => write!(out, "{} was ignored: {why}", path.display()),
        }
    }
}

/// What is set right about packages' registrations before anything is built.
#[derive(Debug, Default)]
pub(super) struct Before {
    /// Forgotten: source and modules are gone.
    pub(super) vanished: Vec<PackageEntry>,
    /// Registered again, with the source at this place (inside the root): only the manifests know them.
    pub(super) forgotten: Vec<(Package, PathBuf)>,
    /// What waits for a successor: taken up again, if it has come back.
    pub(super) waiting: Vec<Waiting>,
    /// Those of them that are taken up again, with the place of their source inside the root, and whether that may be another.
    revived: Vec<(Package, PathBuf, bool)>,
}

impl Before {
    pub(super) fn registering(&self) -> Vec<Registering> {
        let vanished = self.vanished.iter().map(|entry| Registering::Vanished(entry.package.clone()));
        let again = self.sources().into_iter().map(|(package, source)| Registering::Again(package, source));
        vanished.chain(again).collect()
    }

    /// Whether the package goes before anything is built: it waited for a successor, and nobody waits for it.
    fn is_gone(&self, package: &Package) -> bool {
        self.waiting.iter().any(|Waiting { mark, state, .. }| mark.package == *package && *state == OwnerState::Gone)
    }

    /// The packages of `sources` whose source may be another one now.
    fn anew(&self) -> BTreeMap<Package, PathBuf> {
        let revived = self.revived.iter().filter(|(.., anew)| *anew);
        let revived = revived.map(|(package, source, _)| (package.clone(), source.clone()));
        self.forgotten.iter().cloned().chain(revived).collect()
    }

    /// The packages that are registered again, with the place of their source inside the root.
    fn sources(&self) -> BTreeMap<Package, PathBuf> {
        let revived = self.revived.iter().map(|(package, source, _)| (package.clone(), source.clone()));
        self.forgotten.iter().cloned().chain(revived).collect()
    }
}

/// What is to be set right first, and the walk over the tree as it is then. `over`: all files of the transaction that we are
/// part of are in their places.
fn before(ctx: &Context, over: bool) -> Result<(Before, Walk), Error> {
    let mut walk = walk::walk(&ctx.trees, &Filter::default());
    let mut before = Before::default();
    for entry in std::mem::take(&mut walk.packages) {
        let to = if vanished::has_vanished(ctx, &entry)? { &mut before.vanished } else { &mut walk.packages };
        to.push(entry);
    }
    before.forgotten = adopt::forgotten(ctx, &walk);
    for (package, _) in &before.forgotten {
        if let Some(entry) = walk.packages.iter_mut().find(|entry| entry.package == *package) {
            entry.source = Source::Added;
        } else {
            let entry = PackageEntry { package: package.clone(), source: Source::Added, built: Vec::new() };
            walk.packages.push(entry);
        }
    }
    let arriving: Vec<Package> = before.forgotten.iter().map(|(package, _)| package.clone()).collect();
    before.waiting = superseded::waiting(ctx, over, &arriving);
    let comes_back = superseded::revivals(ctx, &before.waiting).map(|Waiting { mark, state, .. }| {
        (mark.package.clone(), mark.source.clone(), *state == OwnerState::Reinstalled)
    });
    before.revived = comes_back.collect();
    walk.packages.retain(|entry| !before.is_gone(&entry.package));
    Ok((before, walk))
}

/// The kernels in `scope` that are there, or are to be. `over`: as for [`before`].
pub(super) fn present(session: &Session<'_>, scope: &Scope, over: bool) -> Result<Vec<Kernel>, Error> {
    if let Scope::Kernels(named) = scope {
        return Ok(named.clone());
    }
    let (_, walk) = before(session.ctx, over)?;
    let kernels = kernels(session, scope, &walk, &mut Vec::new())?.into_iter();
    Ok(kernels.filter(|(_, presence)| *presence != Presence::Gone).map(|(kernel, _)| kernel).collect())
}

/// Reads the facts for the kernels in `scope`. `over`: as for [`before`]. `builds`: what is lacking is built next, so what that asks
/// for is found out meanwhile; who only looks runs no compiler and remembers nothing.
pub(super) fn gather(
    session: &Session<'_>,
    scope: &Scope,
    how: How<'_>,
    over: bool,
    builds: bool,
) -> Result<Gathered, Error> {
    let ctx = session.ctx;
    let (before, mut walk) = before(ctx, over)?;
    let notes = twice::take_out(&ctx.trees, &mut walk);
    let gives_way = |entry: &PackageEntry| how.everything && gives_way(&walk, entry);
    let without_source = walk.packages.iter().filter(|entry| entry.source == Source::Broken && !gives_way(entry));
    let mut broken: Vec<Broken> = without_source
        .map(|entry| Broken::Source(entry.package.clone(), ctx.trees.source_place(&entry.package)))
        .collect();
    let unread = walk.unreadable.iter();
    broken.extend(unread.map(|entry| Broken::Entry(ctx.trees.shown(&entry.path), entry.why.to_string())));
    let holds = Holds::read(&ctx.trees).map_err(SystemError::from)?;
    let sources = before.sources();
    let anew = before.anew();
    let shared = weak::links::shared_when_tidy(&ctx.trees);
    let mut gathered = Gathered {
        facts: plan::PlanInput {
            registered: walk.packages.iter().map(|entry| entry.package.name.clone()).collect(),
            ..plan::PlanInput::default()
        },
        before,
        broken,
        notes,
        leftovers: Vec::new(),
        seen: BTreeMap::new(),
    };
    let marks = superseded::all(&ctx.trees).into_iter();
    let renewed: BTreeSet<Package> = marks.filter(|mark| mark.renewed).map(|mark| mark.package).collect();
    let known_newest = RefCell::default();
    for (kernel, presence) in kernels(session, scope, &walk, &mut gathered.leftovers)? {
        if presence == Presence::Gone {
            let leftovers = active_for(&walk, &kernel);
            gathered.facts.kernels.push(plan::KernelInput {
                kernel,
                presence,
                headers: HeadersState::Ready,
                leftovers,
            });
            continue;
        }
        let facts = session.facts.kernel(&kernel)?;
        let headers = headers(session, &facts);
        let can_build = facts.headers.is_ok() && headers == HeadersState::Ready && ctx.framework.result_cache.is_some();
        gathered.facts.kernels.push(plan::KernelInput {
            kernel: kernel.clone(),
            presence,
            headers,
            leftovers: Vec::new(),
        });
        let mut beside = KernelManifest::beside(&ctx.trees, &kernel.release)?.unwrap_or_default();
        let is_gone = |entry: &Installed| gathered.before.is_gone(&entry.package);
        if beside.installed.iter().any(is_gone) {
            Arc::make_mut(&mut beside).installed.retain(|entry| !is_gone(entry));
        }
        let dir = ctx.trees.modules_dir(&kernel.release);
        let files: Vec<&InstalledFile> = beside.installed.iter().flat_map(|entry| &entry.files).collect();
        let untouched = parallel::map(&files, |file| {
            let path = file.outer(&dir);
            (file.identity.is_some() && file.identity == Identity::of_path(&path).ok()).then_some(path)
        });
        let untouched = untouched.into_iter().flatten().collect();
        let gatherer = Gatherer {
            session,
            facts: &facts,
            beside,
            untouched,
            marked: stale::marked(ctx, &kernel),
            shared: &shared,
            sources: &sources,
            anew: &anew,
            expected_signing: OnceCell::new(),
            how,
            holds: &holds,
            renewed: &renewed,
            newest: &known_newest,
            seen: RefCell::default(),
        };
        gathered.notes.extend(gatherer.replaced());
        thread::scope(|scope| -> Result<(), Error> {
            let mut looks_ahead = !(builds && can_build);
            for (name, entries) in newest(ctx, &walk, &sources, &gives_way) {
                let Some(package) = gatherer.package(name, &entries)? else { continue };
                if !looks_ahead && will_be_built(&package) {
                    looks_ahead = true;
                    // Meanwhile the other packages' dkms.conf are evaluated. Where there is no thread for it, the build asks.
                    let _ = thread::Builder::new().spawn_scoped(scope, || facts.look_ahead(ctx));
                }
                gathered.facts.packages.push(package);
            }
            Ok(())
        })?;
        gathered.seen.extend(gatherer.seen.into_inner());
    }
    Ok(gathered)
}

/// Whether nothing is known that would keep the package from being built.
fn will_be_built(package: &plan::PackageInput) -> bool {
    let lacks = matches!(package.state, PackageState::Absent | PackageState::Stale { .. });
    lacks && package.wish == Wish::Install && package.known_failure.is_none()
}

/// The kernels in scope, and what there is of each.
fn kernels(
    session: &Session<'_>,
    scope: &Scope,
    walk: &Walk,
    leftovers: &mut Vec<Release>,
) -> Result<Vec<(Kernel, Presence)>, Error> {
    let ctx = session.ctx;
    let mut manifests: BTreeMap<Release, BTreeSet<PathBuf>> = BTreeMap::new();
    for entry in fs_err::read_dir(&ctx.trees.install.outer).into_iter().flatten().flatten() {
        let Ok(release) = Release::new(entry.file_name().to_string_lossy()) else { continue };
        if let Ok(Some(beside)) = KernelManifest::beside(&ctx.trees, &release) {
            manifests.insert(release, beside.installed.iter().flat_map(Installed::paths).collect());
        }
    }
    let ours = |release: &Release, path: &Path| {
        crate::tree::paths::is_note(path) || manifests.get(release).is_some_and(|files| files.contains(path))
    };
    let label = |release: &Release| crate::names::Arch::new(ctx.distribution.arch_label(release, &ctx.machine.name));
    let found = installed::scan(&ctx.trees, &ours)?;
    let presence = |release: &Release| found.iter().find(|found| found.release == *release).map(|found| found.presence);
    let mut kernels = Vec::new();
    match scope {
        Scope::Kernels(named) => {
            for kernel in named {
                let presence = match presence(&kernel.release) {
                    Some(installed::Presence::Installed) => Presence::Installed,
                    _ => Presence::Named,
                };
                kernels.push((kernel.clone(), presence));
            }
        }
        Scope::All => {
            for kernel in found.iter().filter(|kernel| kernel.presence == installed::Presence::Installed) {
                // A kernel that is packaged for several architectures at once has an artefact for each.
                let mut arches: BTreeSet<_> = walk
                    .packages
                    .iter()
                    .flat_map(|entry| &entry.built)
                    .filter(|built| built.installed && built.kernel.release == kernel.release)
                    .map(|built| built.kernel.arch.clone())
                    .collect();
                // Another name for the machine's own architecture is no other architecture.
                let own = label(&kernel.release)?;
                if arches.is_empty() || arches.iter().any(|arch| is_same_machine(arch, &own)) {
                    arches.retain(|arch| !is_same_machine(arch, &own));
                    arches.insert(own);
                }
                for arch in arches {
                    kernels.push((Kernel { release: kernel.release.clone(), arch }, Presence::Installed));
                }
            }
            let mut gone: BTreeSet<Kernel> = walk
                .packages
                .iter()
                .flat_map(|entry| &entry.built)
                .filter(|built| built.installed)
                .map(|built| built.kernel.clone())
                .filter(|kernel| match presence(&kernel.release) {
                    None => true,
                    Some(installed::Presence::Leftover) => is_orphan(&found, &kernel.release, &ours),
                    Some(installed::Presence::Installed | installed::Presence::HeadersOnly) => false,
                })
                .collect();
            for orphan in
                found.iter().filter(|found| found.presence == installed::Presence::Leftover && found.is_orphan(&ours))
            {
                leftovers.push(orphan.release.clone());
                if !gone.iter().any(|kernel| kernel.release == orphan.release)
                    && manifests.contains_key(&orphan.release)
                {
                    gone.insert(Kernel { release: orphan.release.clone(), arch: label(&orphan.release)? });
                }
            }
            kernels.extend(gone.into_iter().map(|kernel| (kernel, Presence::Gone)));
        }
    }
    Ok(kernels)
}

fn is_orphan(found: &[installed::Found], release: &Release, ours: &dyn Fn(&Release, &Path) -> bool) -> bool {
    found.iter().any(|found| found.release == *release && found.is_orphan(ours))
}

fn active_for(walk: &Walk, kernel: &Kernel) -> Vec<Package> {
    let active = |entry: &&PackageEntry| entry.built.iter().any(|built| built.installed && built.kernel == *kernel);
    walk.packages.iter().filter(active).map(|entry| entry.package.clone()).collect()
}

fn headers(session: &Session<'_>, facts: &KernelFacts) -> HeadersState {
    let ctx = session.ctx;
    let release = &facts.kernel.release;
    let advice = || headers_package::missing(&ctx.distribution, &ctx.trees, release);
    match &facts.headers {
        // Nothing is built.
        _ if !ctx.framework.share.build_locally => HeadersState::Ready,
        Err(_) => HeadersState::Missing(advice()),
        Ok(headers) if headers_match(facts.identity.as_ref(), &headers.generated()) == Match::No => {
            HeadersState::Mismatch(format!("those installed belong to another build of this kernel; {}", advice()))
        }
        Ok(_) => HeadersState::Ready,
    }
}

/// Whether the source of `entry` has gone and another version has one.
fn gives_way(walk: &Walk, entry: &PackageEntry) -> bool {
    let successor = |other: &&PackageEntry| other.source == Source::Added && other.package.name == entry.package.name;
    entry.source == Source::Broken && walk.packages.iter().any(|other| successor(&other))
}

/// Every package's versions, the newest first; not those that only wait for their successor, but those of `sources`.
fn newest<'a>(
    ctx: &Context,
    walk: &'a Walk,
    sources: &BTreeMap<Package, PathBuf>,
    gives_way: &dyn Fn(&PackageEntry) -> bool,
) -> BTreeMap<&'a Name, Vec<&'a PackageEntry>> {
    let mut packages: BTreeMap<&Name, Vec<&PackageEntry>> = BTreeMap::new();
    let marked: BTreeSet<Package> = superseded::list(&ctx.trees).into_iter().map(|mark| mark.package).collect();
    let counts = |entry: &&PackageEntry| {
        let waits = marked.contains(&entry.package) || gives_way(entry);
        sources.contains_key(&entry.package) || !waits
    };
    for entry in walk.packages.iter().filter(counts) {
        packages.entry(&entry.package.name).or_default().push(entry);
    }
    for entries in packages.values_mut() {
        entries.sort_by(|a, b| version::by_age(b.package.version.as_str(), a.package.version.as_str()));
    }
    packages
}
