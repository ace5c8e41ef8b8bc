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
use crate::lock::gate::Gate;
use crate::lock::{Holder, Lock, LockError};
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
    /// The kernels that this run looks at, from before it looked.
    gates: Mutex<HashMap<Kernel, Arc<Gate>>>,
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
            gates: Mutex::default(),
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
            drop(without(self.ctx, release, going));
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

    /// Says, before anything is planned, for which kernels this run will build or install. Waits while another run takes
    /// everything away from one of them: what is planned then holds for what is left. What another takes away from now on is not
    /// built up again by this run.
    pub fn begin(&self, kernels: &[Kernel], on_wait: &dyn Fn(&Holder)) -> Result<(), LockError> {
        kernels.iter().try_for_each(|kernel| self.gate(kernel, on_wait).map(drop))
    }

    fn gate(&self, kernel: &Kernel, on_wait: &dyn Fn(&Holder)) -> Result<Arc<Gate>, LockError> {
        let known = || self.gates.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(gate) = known().get(kernel) {
            return Ok(Arc::clone(gate));
        }
        // Whoever waits keeps nobody else from going on.
        let gate = self.ctx.open_gate(kernel, on_wait)?;
        Ok(Arc::clone(known().entry(kernel.clone()).or_insert(Arc::new(gate))))
    }

    /// Passes the kernel's gate: needed for whatever puts something of a package in its place for the kernel.
    /// [`LockError::Closed`] if another run has taken everything away from the kernel since [`Self::begin`], or is about to.
    pub fn pass(&self, kernel: &Kernel) -> Result<Lock, LockError> {
        self.gate(kernel, &|holder| log::info!("waiting for {holder}"))?.pass()
    }

    /// Whether what this run knows of the kernel still holds: to be asked before anything is recorded of it, which then happens
    /// while the lock is held. Of a kernel that nothing was begun for, nobody knows better.
    pub fn still(&self, kernel: &Kernel) -> Result<Option<Lock>, LockError> {
        let known = self.gates.lock().unwrap_or_else(PoisonError::into_inner).get(kernel).map(Arc::clone);
        known.map(|gate| gate.pass()).transpose()
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
