//! What there is of one package on one kernel, and what its dkms.conf wants there.

use std::cell::{OnceCell, RefCell};
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::PathBuf;
use std::sync::Arc;

use super::{How, dependants};
use crate::conf::framework::BuildAs;
use crate::conf::holds::Holds;
use crate::error::Error;
use crate::facts::KernelFacts;
use crate::install::source_change::{Newest, Seen};
use crate::install::{self, artefact};
use crate::names::{Kernel, Name, Package, Release, names_in};
use crate::plan::{KnownFailure, PackageInput, PackageState, Stale, Wish};
use crate::run::Session;
use crate::sign::state::{ExpectedSigning, Verdict, judge};
use crate::sign::will_load;
use crate::superseded;
use crate::tree::manifest::{Installed, InstalledFile, KernelManifest, Manifest, Provenance};
use crate::tree::record::{Outcome, Record};
use crate::tree::walk::{Built, PackageEntry, Source};

/// Looks at the packages of one kernel.
pub(super) struct Gatherer<'a> {
    pub(super) session: &'a Session<'a>,
    pub(super) facts: &'a KernelFacts,
    pub(super) beside: Arc<KernelManifest>,
    /// Its files that are just as we left them.
    pub(super) untouched: HashSet<PathBuf>,
    pub(super) marked: BTreeSet<Package>,
    /// The kernels that use the build for another, by package.
    pub(super) shared: &'a BTreeMap<Package, BTreeSet<(Kernel, Release)>>,
    /// The source, inside the root, of packages that are about to be registered again.
    pub(super) sources: &'a BTreeMap<Package, PathBuf>,
    /// Those of them that a package manager has brought anew, perhaps with another content.
    pub(super) anew: &'a BTreeMap<Package, PathBuf>,
    /// The versions that have arrived anew while they waited for a successor ([`superseded::Mark::renewed`]).
    pub(super) renewed: &'a BTreeSet<Package>,
    /// When each source was last changed, once somebody asks; for all kernels.
    pub(super) newest: &'a RefCell<Newest>,
    /// How modules for this kernel are signed, once somebody asks.
    pub(super) expected_signing: OnceCell<ExpectedSigning>,
    pub(super) how: How<'a>,
    pub(super) holds: &'a Holds,
    /// The sources that had to be read.
    pub(super) seen: RefCell<BTreeMap<Package, Seen>>,
}

impl Gatherer<'_> {
    /// The facts of the newest usable version of `name`; `None` if there is none.
    pub(super) fn package(&self, name: &Name, entries: &[&PackageEntry]) -> Result<Option<PackageInput>, Error> {
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
        if self.holds.holds(name, &kernel.release) {
            facts.wish = Wish::Held;
            return Ok(Some(facts));
        }
        if facts.state == PackageState::Installed {
            if let Some(known) = known.filter(|known| !known.provenance.build_depends.is_empty()) {
                facts.depends = names_in(&known.provenance.build_depends).collect();
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
    pub(super) fn replaced(&self) -> Vec<String> {
        let trees = &self.session.ctx.trees;
        let release = &self.facts.kernel.release;
        let dir = trees.modules_dir(release);
        let of = |entry: &Installed| {
            let files = entry.files.iter().map(|file| (file, file.outer(&dir)));
            let touched = files.filter(|(_, path)| !self.untouched.contains(path));
            let theirs = touched.filter(|(file, path)| {
                install::damage::is_another(file, path) && !install::is_replaced_by_the_kernels(file, path)
            });
            let package = entry.package.clone();
            let lines = theirs.map(|(_, path)| {
                format!(
                    "{} is not the module of {package}, and is left alone. To replace it: dkms install {package} -k {release}",
                    trees.shown(&path).display()
                )
            });
            lines.collect::<Vec<_>>()
        };
        self.beside.installed.iter().filter(|entry| entry.arch == self.facts.kernel.arch).flat_map(of).collect()
    }

    /// Asks dkms.conf what it wants.
    fn ask(&self, facts: &mut PackageInput, added: bool) {
        let has_arrived = self.how.arrived.map(|names| names.contains(&facts.package.name));
        // Without its source (an archive of binaries): nobody's affair, but when it has just been brought.
        let is_asked = added || has_arrived == Some(true) && facts.state == PackageState::Built;
        if !is_asked {
            facts.wish = Wish::Manual;
            return;
        }
        let conf = self.sources.get(&facts.package).map(|source| source.join("dkms.conf"));
        match self.session.facts.evaluate(&facts.package, self.facts, conf.as_deref(), false) {
            Ok(evaluated) => {
                let conf = &evaluated.conf;
                facts.depends = names_in(&conf.build_depends).collect();
                facts.follows = conf.build_depends_rebuild;
                let by_hand_too = self.how.everything && has_arrived.unwrap_or(true);
                facts.wish = if !conf.autoinstall && !by_hand_too {
                    Wish::Manual
                } else if let Some(why) = evaluated.recipe.exclusion() {
                    Wish::Excluded(why)
                } else {
                    Wish::Install
                };
            }
            Err(error) => facts.wish = Wish::Unusable(Error::from(error).cause()),
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
        let outdated = anew.is_some_and(|source| superseded::is_of_other_at(ctx, package, kernel, &source));
        let is_renewed = self.renewed.contains(package) && superseded::is_outdated(ctx, package, kernel);
        if outdated || is_renewed || self.source_has_changed(package) {
            return Ok((PackageState::Stale { why: Stale::Source, installed }, known));
        }
        let marked = self.marked.contains(package);
        if installed {
            if let Some(known) = known {
                let why = self.staleness(&known.provenance, marked);
                return Ok((
                    match why {
                        Some(why) => PackageState::Stale { why, installed },
                        None if !self.files_are_there(known) || artefact::differs_in_source(ctx, known, kernel) => {
                            self.built(package)
                        }
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
            None => (self.built(package), None),
        })
    }

    /// The state of what is built and not installed: an artefact that is no module any more is none.
    fn built(&self, package: &Package) -> PackageState {
        let torn = install::damage::artefact(self.session.ctx, package, &self.facts.kernel);
        if torn { PackageState::Absent } else { PackageState::Built }
    }

    /// Whether somebody has changed the source in its place. Builds as root may do so themselves, each for its kernel: what
    /// they leave is no reason to build again.
    fn source_has_changed(&self, package: &Package) -> bool {
        let ctx = self.session.ctx;
        let look = install::source_change::look(ctx, package, &self.facts.kernel, &mut self.newest.borrow_mut());
        self.seen.borrow_mut().extend(look.seen.map(|seen| (package.clone(), seen)));
        look.has_changed
            && self
                .session
                .facts
                .evaluate_as_is(package, &self.facts.kernel)
                .is_ok_and(|evaluated| evaluated.conf.build_as.unwrap_or(ctx.framework.build_as) != BuildAs::Root)
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
            let is_right = self.untouched.contains(&path)
                || (!install::damage::is_damaged(file, &path) && !install::is_replaced_by_the_kernels(file, &path));
            is_right && leads_somewhere(file)
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
