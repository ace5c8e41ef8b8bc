//! The result cache, as a build uses it: what is there need not be built, and what was built is kept for the next time. What was
//! built for another kernel need not be built either, if a build would make the same.

use std::path::{Path, PathBuf};

use super::command::for_one_job;
use super::environment::{environment, network, path_is_ours};
use super::error::Error;
use super::taken::{self, Taken, policy};
use crate::context::Context;
use crate::digest::Digest;
use crate::elf::release::with_release;
use crate::finish::{Enter, Harvest};
use crate::inputs;
use crate::kernel::headers_contents;
use crate::kernel::identity::{Match, headers_match};
use crate::names::Release;
use crate::process::Environment;
use crate::report::{Buffer, Reporter};
use crate::results::entry::{Entry, Wanted};
use crate::results::unseen::{self, Allowed, Unseen};
use crate::results::{Kept, Key, Results};
use crate::reuse::{Answer, Policy, Record};
use crate::run::target::Target;
use crate::sandbox::Demotion;
use crate::share::Share;
use crate::sign::signing::Signing;
use crate::tree::manifest::{CachedResult, Differs, How, Manifest, Reused};
use crate::workdir::build_log::Log;
use crate::workdir::{WorkDir, privilege};

/// A link in the source, or in the administrator's patches, that leads out of them.
pub(super) fn stray(ctx: &Context, target: &Target) -> Option<Unseen> {
    let source = ctx.trees.source_of(&target.package);
    let patches = ctx.trees.outer(Path::new("/etc/dkms").join(&target.package.name).join("patches"));
    let source = fs_err::canonicalize(&source).unwrap_or(source);
    [source, patches].iter().filter(|dir| dir.is_dir()).find_map(|dir| unseen::stray(dir))
}

/// Why neither a key nor an outline can say what a build of `target` follows from. `network`: what lets it have one.
pub(super) fn unseen_by_all(ctx: &Context, target: &Target, network: Option<&str>) -> Option<Unseen> {
    let outside = (!ctx.world.is_inside()).then_some(Unseen::Outside);
    outside.or_else(|| unseen::declared(&target.evaluated.recipe.scripts, network)).or_else(|| stray(ctx, target))
}

/// The result of one build, known by what it follows from.
#[derive(Debug)]
pub struct Reuse<'a> {
    ctx: &'a Context,
    target: &'a Target,
    results: Results<'a>,
    environment: Environment,
    place: PathBuf,
    key: Key,
    digest: Digest,
    /// The digest of what it follows from besides its kernel; `None` if it is not to be used for others, nor others for it.
    family: Option<Digest>,
    /// Why what was built for another kernel is not used.
    differs: Option<Differs>,
    /// Why nothing came from the share, if it is more than that there is nothing.
    not_shared: Option<String>,
}

/// Of the kernels that a package was built for, those that are compared with the one it is to be built for: the latest.
const MOST_KERNELS: usize = 8;

impl<'a> Reuse<'a> {
    /// Finds out what a build of `target` follows from; `None` if its result is not to be kept, or that can't be known.
    /// `environment`: that of its commands. `network`: what lets it have one.
    pub fn of(ctx: &'a Context, target: &'a Target, environment: Environment, network: Option<&str>) -> Option<Self> {
        let results = Results::of(ctx)?;
        let place = ctx.world.called(&ctx.trees, &ctx.trees.build_dir(&target.package));
        let key = unseen_by_all(ctx, target, network)
            .map_or_else(|| key_of(ctx, target, &environment, &place).map_err(Unseen::Unknown), Err);
        let key = key.and_then(|key| Ok((key.digest().map_err(|error| Unseen::Unknown(error.to_string()))?, key)));
        match key {
            Ok((digest, key)) => {
                let family = (policy(ctx, target) != Policy::Never).then(|| inputs::family(&key, &environment, &place));
                let family = family.flatten();
                Some(Self {
                    ctx,
                    target,
                    results,
                    environment,
                    place,
                    key,
                    digest,
                    family,
                    differs: None,
                    not_shared: None,
                })
            }
            Err(why) => {
                tell(target, &why);
                None
            }
        }
    }

    /// Makes the artefact of what was built before, and puts it in place; `None` if there is nothing of use.
    pub fn take(
        &mut self,
        signing: &Signing,
        enter: Enter<'_>,
        reporter: &dyn Reporter,
    ) -> Result<Option<Manifest>, Error> {
        let mut whence = "result cache".to_owned();
        let known = match self.known(&self.digest) {
            Some(entry) => Some((entry, None)),
            None => self.of_another_kernel().map(|(entry, reused)| (entry, Some(reused))),
        };
        let (entry, reused) = match known {
            Some(found) => found,
            None => match self.pull(reporter) {
                Some((entry, address)) => {
                    whence = format!("share {address}");
                    (entry, None)
                }
                None => return Ok(None),
            },
        };
        let Self { ctx, target, results, .. } = self;
        taken::put(ctx, target, results, Taken { entry, whence, reused }, signing, enter, reporter)
    }

    /// What is kept under `key`, if it can be used here.
    fn known(&self, key: &Digest) -> Option<Entry> {
        let wanted = Wanted { place: &self.place, outer: &|path| self.ctx.world.outer(path) };
        self.results.take(key, &wanted)
    }

    /// What was built for other kernels, or for other builds of this one, the latest first: how it is used for this one, or why a
    /// build would make something else.
    fn others(&self) -> impl Iterator<Item = (Record, Result<How, String>)> + '_ {
        let records = self.family.as_ref().map(|family| inputs::store::of(&self.ctx.trees, family)).unwrap_or_default();
        let kept = records.into_iter().filter(|record| self.results.has(&record.result)).take(MOST_KERNELS);
        kept.map(|record| {
            let decision = inputs::now::decision(self.ctx, self.target, &record, policy(self.ctx, self.target));
            let how = decision.and_then(|answer| match answer {
                Answer::Reuse(how) => Ok(how),
                Answer::Build(difference) => Err(difference.to_string()),
            });
            (record, how)
        })
    }

    /// What was built for another kernel and is what a build would make now. Notes why the latest of them is not, if none is.
    fn of_another_kernel(&mut self) -> Option<(Entry, Reused)> {
        let target = self.target;
        let (mut differs, mut found) = (None, None);
        for (record, how) in self.others() {
            let from = record.kernel.release;
            let entry = how.and_then(|how| {
                let entry = self.known(&record.result).map(|entry| fitted(entry, how, self.target)).transpose()?;
                Ok(entry.map(|entry| (entry, how)))
            });
            match entry {
                Ok(Some((entry, how))) => {
                    found = Some((entry, Reused { from, how }));
                    break;
                }
                Ok(None) => {}
                Err(why) => {
                    log::info!(
                        "{} for kernel {} is not reused from kernel {from}: {why}",
                        target.package,
                        target.kernel
                    );
                    differs.get_or_insert(Differs { from, why });
                }
            }
        }
        self.differs = differs;
        found
    }

    /// The kernel that was built for and is compared first, or that whose modules are used; and what differs, if something does.
    /// `None`: there is none, or what was built for this very kernel is there.
    fn foresee(&self) -> Option<(Release, Option<String>)> {
        if self.results.has(&self.digest) {
            return None;
        }
        let mut first = None;
        for (record, how) in self.others() {
            let from = record.kernel.release;
            match how {
                Ok(_) => return Some((from, None)),
                Err(why) => first = first.or(Some((from, Some(why)))),
            }
        }
        first
    }

    /// What the share has; and its address.
    fn pull(&mut self, reporter: &dyn Reporter) -> Option<(Entry, &'a str)> {
        let share = Share::of(self.ctx)?;
        if let Err(why) = share.pull(&self.digest, &what(self.target), reporter) {
            self.not_shared = why;
            return None;
        }
        let entry = self.known(&self.digest);
        if entry.is_none() {
            self.not_shared = Some("What was fetched does not fit this machine: see dkms build --debug.".to_owned());
        }
        Some((entry?, share.address()))
    }

    /// Why nothing came from the share, in a line.
    pub fn not_shared(&self) -> Option<&str> {
        self.not_shared.as_deref()
    }

    /// What the manifest of what is built now says of it.
    pub fn note(&self) -> CachedResult {
        CachedResult { key: self.digest.clone(), taken: None, reused: None, differs: self.differs.clone() }
    }

    /// Keeps what was built in `work`. The artefact is in place: whatever goes wrong here is worth a
    /// line in the log, no more.
    pub fn keep(self, work: &WorkDir, harvest: Harvest, log: &Log, reporter: &dyn Reporter) {
        match self.try_keep(work, harvest, log) {
            Ok(Kept::Yes) => {
                if let Some(share) = Share::of(self.ctx) {
                    share.push(&self.digest, &what(self.target), reporter);
                }
            }
            Ok(Kept::No(why)) => tell(self.target, &why),
            Err(why) => tell(self.target, &why),
        }
    }

    fn try_keep(&self, work: &WorkDir, harvest: Harvest, log: &Log) -> Result<Kept, Unseen> {
        let Self { ctx, target, .. } = self;
        let unknown = |error: &dyn std::fmt::Display| Unseen::Unknown(error.to_string());
        let contents = work.contents(&self.place).map_err(|error| unknown(&error))?;
        let compilers = target.facts.compilers(ctx).map_err(|error| unknown(&error))?;
        let is_compiler =
            |word: &str| compilers.all.iter().any(|compiler| compiler.name == word || compiler.path == Path::new(word));
        let allowed = Allowed {
            work: work.path(),
            confined: work.user().is_some(),
            place: &self.place,
            headers: &headers(ctx, target),
            is_compiler: &is_compiler,
            outer: &|path| ctx.world.outer(path),
        };
        let read = unseen::noted(&contents, &allowed)?;
        if !target.facts.origin_is_unchanged(ctx) {
            return Err(Unseen::Changed("something that every build for this kernel follows from"));
        }
        let now = key_of(ctx, target, &self.environment, &self.place).map_err(Unseen::Unknown)?;
        if now != self.key {
            return Err(Unseen::Changed("its source, or what it needs,"));
        }
        let Harvest { modules, exports } = harvest;
        let entry = Entry {
            key: now,
            built_at: ctx.timestamp(),
            place: self.place.clone(),
            read,
            modules,
            symvers: exports,
            log: log.bytes().map_err(|error| unknown(&error))?,
        };
        let kept = self.results.keep(&entry).map_err(|error| unknown(&error))?;
        if let (Kept::Yes, Some(family)) = (&kept, self.family.clone()) {
            let build = inputs::Build {
                work: work.path(),
                contents: &contents,
                place: &self.place,
                modules: &entry.modules,
                exports: entry.symvers.as_deref(),
            };
            let record = inputs::take(ctx, target, &build, family, self.digest.clone());
            if let Err(why) = record.and_then(|record| inputs::store::put(&ctx.trees, &record)) {
                log::info!("{} for kernel {} is not reused for others: {why}", target.package, target.kernel);
            }
        }
        Ok(kept)
    }
}

/// Finds out, without changing anything, whether a build of `target` would use what was built for another kernel: that kernel,
/// and what differs, if something does. `None`: nothing is known of any.
pub fn foresee(ctx: &Context, target: &Target) -> Option<(Release, Option<String>)> {
    let is_demoted = privilege::demotion(ctx, target, &Buffer::default()) != Demotion::None;
    of_build(ctx, target, is_demoted, network(ctx, target).as_deref())?.foresee()
}

/// What the result of a build of `target` is known by, on this machine and others; `None`: it is not kept.
pub fn key(ctx: &Context, target: &Target, reporter: &dyn Reporter) -> Option<Digest> {
    let is_demoted = privilege::demotion(ctx, target, reporter) != Demotion::None;
    Some(of_build(ctx, target, is_demoted, network(ctx, target).as_deref())?.note().key)
}

/// What the result of a build of `target` follows from; `None` if it is not kept.
pub(super) fn of_build<'a>(
    ctx: &'a Context,
    target: &'a Target,
    is_demoted: bool,
    network: Option<&str>,
) -> Option<Reuse<'a>> {
    // Where nothing is built, headers of another build of the kernel stop nobody: what follows from them is not for this one.
    if !ctx.framework.share.build_locally && has_other_headers(target) {
        tell(target, &"its headers are those of another build of the kernel");
        return None;
    }
    let base = environment(target, privilege::environment(ctx, is_demoted));
    if path_is_ours(ctx, &base) { Reuse::of(ctx, target, base, network) } else { None }
}

fn has_other_headers(target: &Target) -> bool {
    let headers = target.facts.headers.as_ref();
    headers.is_ok_and(|headers| headers_match(target.facts.identity.as_ref(), &headers.generated()) == Match::No)
}

/// The modules as they are used for `target`'s kernel.
fn fitted(mut entry: Entry, how: How, target: &Target) -> Result<Entry, String> {
    if how == How::WithItsRelease {
        for module in &mut entry.modules {
            *module = with_release(module, target.kernel.release.as_str()).map_err(|error| error.to_string())?;
        }
    }
    Ok(entry)
}

fn what(target: &Target) -> String {
    format!("{} for kernel {}", target.package, target.kernel)
}

fn tell(target: &Target, why: &dyn std::fmt::Display) {
    log::info!("the result of {} for kernel {} is not kept: {why}", target.package, target.kernel);
}

fn key_of(ctx: &Context, target: &Target, environment: &Environment, place: &Path) -> Result<Key, String> {
    let make = for_one_job(&target.evaluated.recipe.make, &target.kernel.release, target.facts.toolchain.llvm);
    Key::of(ctx, target, &make, environment, place)
}

/// The directories of the headers, by all names that kbuild has for them.
fn headers(ctx: &Context, target: &Target) -> Vec<PathBuf> {
    let mut dirs = vec![target.facts.source_dir.clone()];
    if let Ok(headers) = &target.facts.headers {
        dirs.push(headers.real_inside(&ctx.trees.root));
        let places = headers_contents::places(&ctx.trees.root, headers);
        dirs.extend(places.iter().map(|outer| ctx.world.called(&ctx.trees, outer)));
    }
    dirs
}
