//! What the jobs of one run share.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::budget::Budget;
use super::foresight::without;
use crate::context::Context;
use crate::facts::{self, Facts, KernelFacts};
use crate::journal;
use crate::names::{Kernel, Release};
use crate::plan::FollowUp;
use crate::report::Reporter;
use crate::sign::signing::Signing;
use crate::system_error::SystemError;

/// Files below the kernels' directories that were installed in this run and may serve other kernels, too.
pub type WeakModules = BTreeMap<Kernel, Vec<PathBuf>>;

/// One run's shared state.
#[derive(Debug)]
pub struct Session<'a> {
    /// Its surroundings.
    pub ctx: &'a Context,
    /// What it has learnt.
    pub facts: Facts<'a>,
    /// Its jobs.
    pub budget: Budget,
    signing: Mutex<HashMap<Kernel, Arc<Signing>>>,
    must_sign: AtomicBool,
    /// Kernels beside whose modules something changed.
    changed: Mutex<BTreeSet<Release>>,
    /// What the vendor's program for weak modules is still to be given.
    weak: Mutex<WeakModules>,
}

impl<'a> Session<'a> {
    /// A session in `ctx`.
    pub fn new(ctx: &'a Context) -> Result<Self, SystemError> {
        Ok(Self {
            ctx,
            facts: Facts::new(ctx),
            budget: Budget::new(ctx.machine.jobs),
            signing: Mutex::default(),
            must_sign: AtomicBool::new(false),
            changed: Mutex::default(),
            weak: Mutex::default(),
        })
    }

    /// Finishes or undoes what a killed run left; what every command does that changes something.
    /// Gives what was finished, in words.
    pub fn heal(&self, reporter: &dyn Reporter) -> Result<Vec<String>, SystemError> {
        if !self.ctx.trees.own().is_dir() {
            return Ok(Vec::new());
        }
        let _lock = self.ctx.lock_tree()?;
        let healed = journal::recover(&self.ctx.trees, &|release, going| {
            without(self.ctx, release, going);
        })?;
        for what in &healed.finished {
            reporter.warning(&[&format!("An earlier run was interrupted; its change ({what}) has been completed.")]);
        }
        for what in &healed.undone {
            reporter.warning(&[&format!("An earlier run was interrupted; its change ({what}) has been undone.")]);
        }
        for (what, why) in &healed.stuck {
            reporter.warning(&[
                &format!("An earlier run was interrupted; its change ({what}) can't be completed yet: {why}"),
                &"Mend that. Every dkms command that changes something tries again; until then it leaves those files alone.",
            ]);
        }
        let mut changed = self.changed.lock().unwrap_or_else(PoisonError::into_inner);
        changed.extend(healed.kernels);
        changed.extend(FollowUp::Depmod.left(&self.ctx.trees).into_iter().map(|note| note.release));
        Ok(healed.finished)
    }

    /// From now on, a module that should be signed and can't be is an error, and not only a warning.
    pub fn require_signatures(&self) {
        self.must_sign.store(true, Ordering::Relaxed);
    }

    /// How this kernel's modules are signed. Decided, and said, before the first build for it.
    pub fn signing(&self, kernel: &KernelFacts, reporter: &dyn Reporter) -> Result<Arc<Signing>, facts::Error> {
        let mut known = self.signing.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(signing) = known.get(&kernel.kernel) {
            return Ok(Arc::clone(signing));
        }
        let must = self.must_sign.load(Ordering::Relaxed);
        let signing = Arc::new(Signing::prepare(self.ctx, kernel, &self.facts.signing_options(kernel)?, must));
        for event in signing.said() {
            reporter.report(event.clone());
        }
        if !signing.said().is_empty() {
            reporter.line(&"");
        }
        known.insert(kernel.kernel.clone(), Arc::clone(&signing));
        Ok(signing)
    }

    /// Notes that this kernel needs a depmod.
    pub fn touched(&self, release: &Release) {
        self.changed.lock().unwrap_or_else(PoisonError::into_inner).insert(release.clone());
    }

    /// Notes that these files, below the kernel's directory, may serve other kernels, too.
    pub fn tell_weak(&self, kernel: &Kernel, files: Vec<PathBuf>) {
        let mut weak = self.weak.lock().unwrap_or_else(PoisonError::into_inner);
        weak.entry(kernel.clone()).or_default().extend(files);
    }

    /// What was noted of such files, which is then forgotten.
    pub fn take_weak(&self) -> WeakModules {
        std::mem::take(&mut self.weak.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The kernels that need a depmod.
    pub fn touched_so_far(&self) -> BTreeSet<Release> {
        self.changed.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The kernels that need a depmod, which are then forgotten.
    pub fn take_touched(&self) -> BTreeSet<Release> {
        std::mem::take(&mut self.changed.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
