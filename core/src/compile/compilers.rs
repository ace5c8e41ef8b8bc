//! What stands before the compilers of one build: answers that are kept, and a launcher with its cache.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::environment::network;
use super::reuse::stray;
use crate::context::Context;
use crate::digest::{Digest, Hasher};
use crate::durable;
use crate::launchers::cache::Cache;
use crate::launchers::{Error, Launched, Launcher};
use crate::probes::Service;
use crate::process::{self, Environment, Output, Task};
use crate::report::Reporter;
use crate::run::target::Target;
use crate::workdir::WorkDir;

/// The source that a launcher is tried with, in its cache; and what comes of it.
const TRIAL: &str = "dkms-trial.c";
const OBJECT: &str = "dkms-trial.o";

/// A launcher that takes longer for it is of no use.
const TRIAL_LIMIT: Duration = Duration::from_secs(30);

/// The launchers' programs that were tried in this run, and whether they could compile.
static TRIED: Mutex<BTreeMap<PathBuf, bool>> = Mutex::new(BTreeMap::new());

/// What stands before the compilers of one build. Ends with this, when all of the build's processes have.
#[derive(Debug)]
pub(super) struct Before<'a> {
    ctx: &'a Context,
    target: &'a Target,
    service: Service,
    /// The cache of the launcher, and what it is of.
    cache: Option<(Cache, Digest)>,
}

impl<'a> Before<'a> {
    /// Sets it up for a build in `work` with this environment, and puts it there in front of the PATH. `None`: the compilers
    /// do all of it themselves. `source`: that which was copied there ([`source`]).
    pub fn begin(
        ctx: &'a Context,
        target: &'a Target,
        work: &WorkDir,
        source: Option<&Digest>,
        environment: &mut Environment,
        reporter: &dyn Reporter,
    ) -> Option<Self> {
        if !ctx.machine.root || !ctx.world.has_private_mounts() {
            return None;
        }
        let found = target.facts.compilers(ctx).inspect_err(|error| log::debug!("{error}")).ok()?;
        let service = |launched| {
            let service =
                Service::begin(&ctx.world, &ctx.trees, &found, work.user(), ctx.framework.probe_cache, launched);
            service.inspect_err(|error| log::debug!("nothing stands before the compilers: {error}")).ok()?
        };
        let mut before = None;
        if let Some((launched, cache)) = launcher(ctx, target, work, source, reporter) {
            let name = launched.launcher.name();
            let mut tried = Self { ctx, target, service: service(Some(launched))?, cache: Some(cache) };
            match tried.trial(work, environment) {
                Ok(()) => before = Some(tried),
                Err(why) => {
                    tell(name, &why, reporter);
                    // It may be what it failed by.
                    tried.cache = None;
                }
            }
        }
        if before.is_none() && ctx.framework.probe_cache {
            before = service(None).map(|service| Self { ctx, target, service, cache: None });
        }
        if let Some(before) = &before {
            before.service.enter(environment);
        }
        before
    }

    /// What is to be seen where in the build's world.
    pub fn binds(&self) -> &[crate::sandbox::Bind] {
        &self.service.binds
    }

    /// The name of the launcher that is used.
    pub fn launcher(&self) -> Option<&'static str> {
        self.service.launched.as_ref().map(|launched| launched.launcher.name())
    }

    /// Has the launcher compile something, as the build would; once a run for each program.
    fn trial(&self, work: &WorkDir, environment: &Environment) -> Result<(), Error> {
        let (Some(launched), Some((cache, _))) = (&self.service.launched, &self.cache) else { return Ok(()) };
        let mut tried = TRIED.lock().unwrap_or_else(PoisonError::into_inner);
        match tried.get(&launched.program) {
            Some(true) => return Ok(()),
            Some(false) => return Err(Error::Trial("it could not earlier".to_owned())),
            None => {}
        }
        let done = self.try_out(launched, cache, work, environment);
        tried.insert(launched.program.clone(), done.is_ok());
        done
    }

    fn try_out(
        &self,
        launched: &Launched,
        cache: &Cache,
        work: &WorkDir,
        environment: &Environment,
    ) -> Result<(), Error> {
        let Self { ctx, target, .. } = self;
        let failed = |error: &dyn std::fmt::Display| Error::Trial(error.to_string());
        let compilers = target.facts.compilers(ctx).map_err(|error| failed(&error))?;
        let compiler = compilers.all.first().ok_or_else(|| failed(&"there is no compiler"))?;
        let (source, object) = (cache.path().join(TRIAL), cache.path().join(OBJECT));
        // What an earlier build has left there is of no use.
        for file in [&source, &object] {
            durable::remove_any(file).map_err(|error| failed(&error))?;
        }
        durable::write_atomic(&source, b"int dkms_trial;\n", 0o644).map_err(|error| failed(&error))?;
        let mut environment = environment.clone();
        launched.enter(&mut environment);
        let called = |name: &str| launched.cache.join(name).into_os_string();
        let mut argv = vec![launched.program.clone().into_os_string(), compiler.path.clone().into_os_string()];
        argv.extend(["-c".into(), called(TRIAL), "-o".into(), called(OBJECT)]);
        let mut task = Task::new(argv, &ctx.world.called(&ctx.trees, work.seen_at()), &environment);
        ctx.world.seclude(&ctx.trees, &mut task, &work.seclusion(&work.tmp(), false, self.binds()));
        task.output = Output::Capture;
        task.limit = Some(TRIAL_LIMIT);
        let end = process::run(task).map_err(|error| failed(&error))?;
        let there = std::fs::symlink_metadata(&object).is_ok_and(|meta| meta.is_file() && meta.len() > 0);
        for file in [&source, &object] {
            durable::remove_any(file).map_err(|error| failed(&error))?;
        }
        if end.status.success() && there { Ok(()) } else { Err(Error::Trial(end.text().trim().to_owned())) }
    }
}

impl Drop for Before<'_> {
    fn drop(&mut self) {
        let Some((cache, key)) = self.cache.take() else { return };
        // What came meanwhile may be in it. Of headers it knows the content of each one by itself.
        let holds = self.target.facts.compilers(self.ctx).is_ok_and(|compilers| compilers.are_unchanged())
            && source(self.ctx, self.target)
                .is_some_and(|source| key_of(self.ctx, self.target, &source).is_ok_and(|now| now == key));
        if !holds {
            log::info!("a launcher's cache is deleted: what it is of has changed");
        } else if let Err(error) = cache.put_back(self.ctx.now) {
            log::info!("a launcher's cache is deleted: {error}");
        }
    }
}

/// The digest of the source, if a launcher is to have a cache of it. Taken before the source is copied: what comes in its place
/// meanwhile is then seen afterwards.
pub(super) fn source(ctx: &Context, target: &Target) -> Option<Digest> {
    Launcher::wanted(ctx.framework.compiler_launcher, &ctx.world, &ctx.trees).ok()??;
    let dir = ctx.trees.source_of(&target.package);
    if dir.is_dir() { Digest::of_tree(&dir).ok() } else { None }
}

/// The launcher that a build is to have, with the outer path of its cache.
fn launcher(
    ctx: &Context,
    target: &Target,
    work: &WorkDir,
    source: Option<&Digest>,
    reporter: &dyn Reporter,
) -> Option<(Launched, (Cache, Digest))> {
    let (launcher, program) = match Launcher::wanted(ctx.framework.compiler_launcher, &ctx.world, &ctx.trees) {
        Ok(wanted) => wanted?,
        Err(why) => {
            tell("The compiler_launcher of framework.conf", &why, reporter);
            return None;
        }
    };
    // Its cache is no worse for that.
    if TRIED.lock().unwrap_or_else(PoisonError::into_inner).get(&program) == Some(&false) {
        return None;
    }
    // What comes from elsewhere may have been in an earlier build, and is no part of what a cache is of.
    if network(ctx, target).is_some() || !ctx.world.is_inside() || stray(ctx, target).is_some() {
        return None;
    }
    let key = key_of(ctx, target, source?).inspect_err(|why| log::debug!("{}: {why}", launcher.name())).ok()?;
    match Cache::take(&ctx.trees, key.clone(), work.user()) {
        Ok(cache) => {
            let launched = Launched { launcher, program, cache: cache.path().to_owned() };
            Some((launched, (cache, key)))
        }
        Err(error) => {
            tell(launcher.name(), &error.into(), reporter);
            None
        }
    }
}

/// The digest of what all builds have in common that use one cache: the source, what of its kernel decides, and the compilers.
fn key_of(ctx: &Context, target: &Target, source: &Digest) -> Result<Digest, String> {
    const FORMAT: &[u8] = b"launcher's cache 1";
    let origin = target.facts.origin(ctx)?;
    let mut hasher = Hasher::default();
    hasher.field(FORMAT);
    for digest in [source, &origin.headers, &origin.compilers, &origin.distribution] {
        hasher.field(digest.to_string().as_bytes());
    }
    Ok(hasher.finish())
}

/// Warns, once a run, that builds go without.
fn tell(name: &str, why: &Error, reporter: &dyn Reporter) {
    static SAID: std::sync::Once = std::sync::Once::new();
    SAID.call_once(|| {
        reporter.warning(&[&format!(
            "{name} is not used: {why}. Builds go on without it (compiler_launcher in framework.conf)."
        )]);
    });
}
