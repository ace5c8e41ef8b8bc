//! The facts a plan is made from, read from the system. Cheap when nothing has changed: a directory walk,
//! one manifest a kernel, a few stats; no dkms.conf is evaluated for what is installed and right.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::{How, Scope, adopt, dependants, stale, twice, vanished};
use crate::context::Context;
use crate::error::Error;
use crate::facts::KernelFacts;
use crate::host::headers_package;
use crate::host::owner::OwnerState;
use crate::install::other_label::is_same_machine;
use crate::install::{self, artefact, weak};
use crate::kernel::identity::{Match, headers_match};
use crate::kernel::installed;
use crate::kernel::version;
use crate::names::{Kernel, Name, Package, Release};
use crate::plan::{self, HeadersState, KnownFailure, PackageInput, PackageState, Presence, Registering, Stale, Wish};
use crate::reconcile::superseded::{self, Mark};
use crate::run::Session;
use crate::sign::state::{ExpectedSigning, Verdict, judge};
use crate::sign::will_load;
use crate::tree::manifest::{Installed, InstalledFile, KernelManifest, Manifest, Provenance};
use crate::tree::record::{Outcome, Record};
use crate::tree::walk::{self, Built, Filter, PackageEntry, Source, Walk};

/// What was gathered: the facts for the plan, and the entries that could not be read.
#[derive(Debug)]
pub(super) struct Gathered {
    /// As they are when `before` is done.
    pub(super) facts: plan::PlanInput,
    pub(super) before: Before,
    /// Packages whose source is gone, and entries that can't be read, in words.
    pub(super) broken: Vec<String>,
    /// What a person should know of, and is no failure.
    pub(super) notes: Vec<String>,
    /// Directories of removed kernels that hold nothing but what we and depmod left there.
    pub(super) leftovers: Vec<Release>,
}

/// What is set right about packages' registrations before anything is built.
#[derive(Debug, Default)]
pub(super) struct Before {
    /// Forgotten: source and modules are gone.
    pub(super) vanished: Vec<PackageEntry>,
    /// Registered again, with the source at this place (inside the root): only the manifests know them.
    pub(super) forgotten: Vec<(Package, PathBuf)>,
    /// Taken up again: they waited for a successor, and have come back.
    pub(super) revived: Vec<(Mark, OwnerState)>,
}

impl Before {
    pub(super) fn registering(&self) -> Vec<Registering> {
        let vanished = self.vanished.iter().map(|entry| Registering::Vanished(entry.package.clone()));
        let again = self.sources().into_iter().map(|(package, source)| Registering::Again(package, source));
        vanished.chain(again).collect()
    }

    /// The packages of `sources` whose source may be another one now.
    fn anew(&self) -> BTreeMap<Package, PathBuf> {
        let revived = self.revived.iter().filter(|(_, state)| *state == OwnerState::Reinstalled);
        let revived = revived.map(|(mark, _)| (mark.package.clone(), mark.source.clone()));
        self.forgotten.iter().cloned().chain(revived).collect()
    }

    /// The packages that are registered again, with the place of their source inside the root.
    fn sources(&self) -> BTreeMap<Package, PathBuf> {
        let revived = self.revived.iter().map(|(mark, _)| (mark.package.clone(), mark.source.clone()));
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
    before.revived = superseded::revivals(ctx, over);
    Ok((before, walk))
}

/// Reads the facts for the kernels in `scope`. `over`: as for [`before`].
pub(super) fn gather(session: &Session<'_>, scope: &Scope, how: How<'_>, over: bool) -> Result<Gathered, Error> {
    let ctx = session.ctx;
    let (before, mut walk) = before(ctx, over)?;
    let notes = twice::take_out(&ctx.trees, &mut walk);
    let mut broken = Vec::new();
    let gives_way = |entry: &PackageEntry| how.everything && gives_way(&walk, entry);
    for entry in walk.packages.iter().filter(|entry| entry.source == Source::Broken && !gives_way(entry)) {
        let package = &entry.package;
        let source = ctx.trees.source.inside.join(format!("{}-{}", package.name, package.version));
        broken.push(format!(
            "{package} is broken: its source is gone. Put it back at {}, or run: dkms remove {package} --all",
            source.display()
        ));
    }
    broken.extend(
        walk.unreadable
            .iter()
            .map(|entry| format!("{} was ignored: {}", ctx.trees.shown(&entry.path).display(), entry.why)),
    );
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
    };
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
        gathered.facts.kernels.push(plan::KernelInput {
            kernel: kernel.clone(),
            presence,
            headers: headers(session, &facts),
            leftovers: Vec::new(),
        });
        let looker = Gatherer {
            session,
            facts: &facts,
            beside: KernelManifest::beside(&ctx.trees, &kernel.release)?.unwrap_or_default(),
            marked: stale::marked(ctx, &kernel),
            shared: &shared,
            sources: &sources,
            anew: &anew,
            expected_signing: std::cell::OnceCell::new(),
            how,
        };
        gathered.notes.extend(looker.replaced());
        for (name, entries) in newest(ctx, &walk, &sources, &gives_way) {
            if let Some(package) = looker.package(name, &entries)? {
                gathered.facts.packages.push(package);
            }
        }
    }
    Ok(gathered)
}

/// The kernels in scope, and what there is of each.
fn kernels(
    session: &Session<'_>,
    scope: &Scope,
    walk: &Walk,
    leftovers: &mut Vec<Release>,
) -> Result<Vec<(Kernel, Presence)>, Error> {
    let ctx = session.ctx;
    let mut manifests: BTreeMap<Release, BTreeSet<std::path::PathBuf>> = BTreeMap::new();
    for entry in fs_err::read_dir(&ctx.trees.install.outer).into_iter().flatten().flatten() {
        let Ok(release) = Release::new(entry.file_name().to_string_lossy()) else { continue };
        if let Ok(Some(beside)) = KernelManifest::beside(&ctx.trees, &release) {
            let files = beside.installed.iter().flat_map(|entry| &entry.files).map(|file| file.path.join(&file.file));
            manifests.insert(release, files.collect());
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
    let counts = |entry: &&PackageEntry| {
        let waits = superseded::is_marked(&ctx.trees, &entry.package) || gives_way(entry);
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

/// Looks at the packages of one kernel.
struct Gatherer<'a> {
    session: &'a Session<'a>,
    facts: &'a KernelFacts,
    beside: KernelManifest,
    marked: BTreeSet<Package>,
    /// The kernels that use the build for another, by package.
    shared: &'a BTreeMap<Package, BTreeSet<(Kernel, Release)>>,
    /// The source, inside the root, of packages that are about to be registered again.
    sources: &'a BTreeMap<Package, PathBuf>,
    /// Those of them that a package manager has brought anew, perhaps with another content.
    anew: &'a BTreeMap<Package, PathBuf>,
    /// How modules for this kernel are signed, once somebody asks.
    expected_signing: std::cell::OnceCell<ExpectedSigning>,
    how: How<'a>,
}

impl Gatherer<'_> {
    /// The facts of the newest usable version of `name`; `None` if there is none.
    fn package(&self, name: &Name, entries: &[&PackageEntry]) -> Result<Option<PackageInput>, Error> {
        let kernel = &self.facts.kernel;
        let built_here = |entry: &PackageEntry| entry.built.iter().find(|built| built.kernel == *kernel).cloned();
        let usable = |entry: &&&PackageEntry| entry.source == Source::Added || built_here(entry).is_some();
        let Some(entry) = entries.iter().find(usable) else { return Ok(None) };
        let package = &entry.package;
        let other = entries
            .iter()
            .filter(|other| other.package != *package)
            .find(|other| built_here(other).is_some_and(|built| built.installed))
            .map(|other| other.package.version.clone())
            .or_else(|| self.beside.find_name(name, &kernel.arch).map(|entry| entry.package.version.clone()))
            .filter(|version| *version != package.version);
        let (state, known) = self.state(package, built_here(entry).as_ref())?;
        let mut facts = PackageInput {
            package: package.clone(),
            kernel: kernel.clone(),
            state,
            other,
            wish: Wish::Content,
            depends: Vec::new(),
            follows: false,
            known_failure: None,
        };
        if facts.state == PackageState::Installed {
            if let Some(known) = known.filter(|known| !known.provenance.build_depends.is_empty()) {
                facts.depends =
                    known.provenance.build_depends.iter().filter_map(|name| Name::new(name.as_str()).ok()).collect();
                let manifest = artefact::manifest(self.session.ctx, package, kernel)?;
                if let Some(manifest) = manifest.filter(|manifest| manifest.build_depends_rebuild) {
                    facts.follows = true;
                    if let Some(name) = dependants::outdated(self.session.ctx, &self.beside, &manifest, None) {
                        facts.state = PackageState::Stale { why: Stale::Dependency(name), installed: true };
                    }
                }
            }
        }
        if facts.state == PackageState::Installed {
            return Ok(Some(facts));
        }
        self.ask(&mut facts, entry.source == Source::Added);
        if self.how.spare_known_failures {
            facts.known_failure = self.known_failure(package);
        }
        Ok(Some(facts))
    }

    /// What is to be said of modules of ours in whose place somebody has put another: they are that somebody's affair.
    fn replaced(&self) -> Vec<String> {
        let trees = &self.session.ctx.trees;
        let release = &self.facts.kernel.release;
        let dir = trees.modules_dir(release);
        let of = |entry: &Installed| {
            let files = entry.files.iter().map(|file| (file, file.outer(&dir)));
            let theirs = files.filter(|(file, path)| {
                install::damage::is_another(file, path) && !install::is_replaced_by_the_kernels(file, path)
            });
            let package = entry.package.clone();
            let told = theirs.map(|(_, path)| {
                format!(
                    "{} is not the module of {package}, and is left alone. To replace it: dkms install {package} -k {release}",
                    trees.shown(&path).display()
                )
            });
            told.collect::<Vec<_>>()
        };
        self.beside.installed.iter().filter(|entry| entry.arch == self.facts.kernel.arch).flat_map(of).collect()
    }

    /// Asks dkms.conf what it wants.
    fn ask(&self, facts: &mut PackageInput, added: bool) {
        if !added {
            facts.wish = Wish::Manual;
            return;
        }
        let conf = self.sources.get(&facts.package).map(|source| source.join("dkms.conf"));
        match self.session.facts.evaluate(&facts.package, self.facts, conf.as_deref(), false) {
            Ok(evaluated) => {
                let conf = &evaluated.conf;
                facts.depends = conf.build_depends.iter().filter_map(|name| Name::new(name.as_str()).ok()).collect();
                facts.follows = conf.build_depends_rebuild;
                let by_hand_too =
                    self.how.everything && self.how.by_hand_too.is_none_or(|names| names.contains(&facts.package.name));
                facts.wish = if !conf.autoinstall && !by_hand_too {
                    Wish::Manual
                } else if evaluated.recipe.is_excluded() {
                    let reasons = evaluated.recipe.excluded_wholly.iter().map(ToString::to_string);
                    Wish::Excluded(reasons.collect::<Vec<_>>().join("; "))
                } else {
                    Wish::Install
                };
            }
            Err(error) => facts.wish = Wish::Unusable(Error::from(error).lines().join(" ")),
        }
    }

    fn state(&self, package: &Package, built: Option<&Built>) -> Result<(PackageState, Option<&Installed>), Error> {
        let ctx = self.session.ctx;
        let kernel = &self.facts.kernel;
        let known = self.beside.find(package, &kernel.arch);
        let Some(built) = built else {
            // Where /var is not part of the system (image-based), what lies beside the modules is proof.
            let there = known.filter(|known| !known.files.is_empty() && self.files_are_there(known));
            let shared = || self.shared.get(package)?.iter().find(|(shares, _)| shares == kernel);
            let state = match (there, shared()) {
                (Some(there), _) => match self.staleness(&there.provenance, self.marked.contains(package)) {
                    Some(why) => PackageState::Stale { why, installed: true },
                    // Where it can't be built, it is better than none.
                    None => match self.signature(there)?.filter(|_| self.facts.headers.is_ok()) {
                        Some(why) => PackageState::Stale { why: Stale::Unsigned(why), installed: true },
                        None => PackageState::Installed,
                    },
                },
                (None, Some((_, from))) => PackageState::Shared(from.clone()),
                (None, None) => PackageState::Absent,
            };
            return Ok((state, known));
        };
        let installed = built.installed;
        let anew = self.anew.get(package).map(|source| ctx.trees.outer(source));
        let outdated = anew.is_some_and(|source| superseded::is_of_other(ctx, package, kernel, &source));
        if outdated || superseded::is_outdated(ctx, package, kernel) {
            return Ok((PackageState::Stale { why: Stale::Source, installed }, known));
        }
        let marked = self.marked.contains(package);
        if installed {
            if let Some(known) = known {
                let why = self.staleness(&known.provenance, marked);
                return Ok((
                    match why {
                        Some(why) => PackageState::Stale { why, installed },
                        None if !self.files_are_there(known) => PackageState::Built,
                        None => match self.signature(known)? {
                            Some(why) => PackageState::Stale { why: Stale::Signature(why), installed },
                            None => PackageState::Installed,
                        },
                    },
                    Some(known),
                ));
            }
        }
        let Some(manifest) = artefact::manifest(ctx, package, kernel)? else {
            // The classic's: nothing tells whether it is stale but what its kernel's upgrade left.
            return Ok(match (marked, installed) {
                (true, _) => (PackageState::Stale { why: Stale::Kernel, installed }, None),
                (false, true) => (PackageState::Installed, None),
                (false, false) => (PackageState::Built, None),
            });
        };
        let why = self.staleness(&manifest.provenance, marked);
        Ok(match why {
            Some(why) => (PackageState::Stale { why, installed }, None),
            // Another /lib/modules than the one that the tree speaks of has none of it: after a rollback, for one.
            None if installed && self.modules_are_there(&manifest) => (PackageState::Installed, None),
            None => (PackageState::Built, None),
        })
    }

    /// Why the installed modules' signatures are not those that would be made now. A key that would have to
    /// be made first is no reason: where that fails, it would fail at every look.
    fn signature(&self, known: &Installed) -> Result<Option<String>, Error> {
        if self.expected_signing.get().is_none() {
            let _ = self.expected_signing.set(will_load::of_kernel(&self.session.facts, &self.facts.kernel)?);
        }
        Ok(match self.expected_signing.get() {
            Some(expected_signing @ ExpectedSigning::Key { .. }) => {
                match judge(known.provenance.signer.as_ref(), expected_signing) {
                    Verdict::Resign(why) => Some(why),
                    Verdict::Fine => None,
                }
            }
            _ => None,
        })
    }

    fn modules_are_there(&self, manifest: &Manifest) -> bool {
        let dir = self.session.ctx.trees.modules_dir(&self.facts.kernel.release);
        manifest.modules.iter().all(|module| {
            let mut places = [&module.location, &module.own_location].into_iter();
            places.any(|place| std::fs::symlink_metadata(dir.join(place).join(&module.file)).is_ok())
        })
    }

    fn files_are_there(&self, known: &Installed) -> bool {
        let dir = self.session.ctx.trees.modules_dir(&self.facts.kernel.release);
        let leads_somewhere = |file: &InstalledFile| {
            let trees = &self.session.ctx.trees;
            !file.symlink || trees.root.outer(&trees.shown(&file.outer(&dir))).exists()
        };
        known.files.iter().all(|file| {
            let path = file.outer(&dir);
            !install::damage::is_damaged(file, &path)
                && leads_somewhere(file)
                && !install::is_replaced_by_the_kernels(file, &path)
        })
    }

    /// Why an artefact made for this kernel is not for this kernel any more. The cheap questions come first.
    fn staleness(&self, then: &Provenance, marked: bool) -> Option<Stale> {
        let ctx = self.session.ctx;
        match (&then.kernel_identity, self.facts.identity.as_ref().map(ToString::to_string)) {
            (Some(then), Some(now)) if *then != now => return Some(Stale::Kernel),
            (Some(_), Some(_)) => {}
            _ if marked => return Some(Stale::Kernel),
            _ => {}
        }
        let now = self.facts.headers_stamp(ctx)?.to_string();
        if then.headers_stamp.as_ref() == Some(&now) {
            return None;
        }
        let (then, now) = (then.headers_digest.as_ref()?, self.facts.headers_digest(ctx)?);
        (then != now.digest()).then_some(Stale::Headers)
    }

    fn known_failure(&self, package: &Package) -> Option<KnownFailure> {
        let kernel = &self.facts.kernel;
        let record = Record::load(&self.session.ctx.trees, package, kernel).ok()??;
        let Outcome::Failed { code, diagnostic, remembered_key: Some(key), .. } = record.outcome else { return None };
        let now = crate::execute::work::inputs(self.session, package, kernel)?;
        (now == key)
            .then(|| KnownFailure { code: u8::try_from(code).unwrap_or(1), why: diagnostic.unwrap_or_default() })
    }
}
