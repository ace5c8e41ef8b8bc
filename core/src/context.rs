//! What one run works with: handed to every room, read once by `cli::surroundings`.

use std::time::Duration;

use crate::conf::Framework;
use crate::durable;
use crate::host::Distribution;
use crate::host::caller::{MaintainerScript, RpmScriptlet};
use crate::lock::gate::{self, Closed, Gate};
use crate::lock::{self, Lock, LockError, Patience};
use crate::names::{Arch, Kernel, NameError, Package, Release};
use crate::process::Environment;
use crate::tree::Trees;
use crate::world::World;

/// Facts about the machine and the caller, read once.
#[derive(Debug, Clone, Default)]
pub struct Machine {
    /// The machine's name of its architecture (`uname -m`).
    pub name: String,
    /// The running kernel (`uname -r`): whose that is in another root, nobody knows.
    pub running: Option<Release>,
    /// Which build of its release that is (`uname -v`).
    pub running_build: Option<String>,
    /// How many jobs it is good for: processors, memory and file descriptors considered.
    pub jobs: usize,
    /// Whether we run in a chroot of somebody else's making (not one of our own).
    pub in_chroot: bool,
    /// Whether we are root.
    pub root: bool,
    /// `ADDON_MODULES_DIR` of the caller.
    pub addon_modules_dir: Option<String>,
    /// The maintainer script of dpkg that runs us.
    pub maintainer_script: Option<MaintainerScript>,
    /// The scriptlet of rpm that runs us.
    pub rpm_scriptlet: Option<RpmScriptlet>,
    /// The process whose script called us, as `<pid>-<start time>`: rpm, where `--rpm_safe_upgrade` is given.
    pub grandparent: Option<String>,
    /// Whether a person reads the output: standard output and error are a terminal.
    pub terminal: bool,
    /// How many columns standard output has; no limit unless it is a terminal.
    pub columns: usize,
    /// Whether standard output is a terminal whose character set is UTF-8.
    pub utf8: bool,
    /// Whether standard error is the journal: what is logged would be there twice.
    pub journal: bool,
    /// `NO_WEAK_MODULES` of the caller is set.
    pub no_weak_modules: bool,
}

/// What the command line asks for beyond the verb and its object.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// `--force`.
    pub force: bool,
    /// `--force-version-override`.
    pub force_version_override: bool,
    /// `--no-depmod`.
    pub no_depmod: bool,
    /// `--symlink-modules`, or the framework's option.
    pub symlink_modules: bool,
    /// `--modprobe-on-install`, or the framework's option.
    pub modprobe_on_install: bool,
    /// `--rpm_safe_upgrade`.
    pub rpm_safe_upgrade: bool,
    /// `--verbose`, or the framework's option.
    pub verbose: bool,
    /// `--quiet`.
    pub quiet: bool,
    /// `--dry-run`.
    pub dry_run: bool,
    /// `-c FILE`, as an outer path.
    pub conf: Option<std::path::PathBuf>,
    /// `--directive`s.
    pub directives: Vec<String>,
    /// `--kernelsourcedir`, as an inside path.
    pub kernel_source_dir: Option<std::path::PathBuf>,
    /// `--config`, as an outer path.
    pub kernel_config: Option<std::path::PathBuf>,
    /// How long to wait for another run that builds the same package for the same kernel; `None`: for ever.
    pub lock_patience: Option<Duration>,
}

/// One run's surroundings.
#[derive(Debug, Clone)]
pub struct Context {
    /// The trees.
    pub trees: Trees,
    /// Where the tree would be (inside the root), were that not read-only: `trees` has a place for the time being.
    pub fallback_from: Option<std::path::PathBuf>,
    /// The root's distribution.
    pub distribution: Distribution,
    /// framework.conf.
    pub framework: Framework,
    /// Where programs run.
    pub world: World,
    /// The machine.
    pub machine: Machine,
    /// The options.
    pub options: Options,
    /// The variables that dkms was started with, cleaned; for expanding framework options later.
    pub environment: Environment,
    /// The present time, in seconds since 1970: read once, when the run began.
    pub now: u64,
}

/// How long another run of ours is waited for, where it only holds the lock for a moment.
const TREE_PATIENCE: Duration = Duration::from_secs(120);

/// The file that switches automatic installation off.
pub const NO_AUTOINSTALL: &str = "/etc/dkms/no-autoinstall";

impl Context {
    /// Whether the administrator switched automatic installation off.
    pub fn autoinstall_is_off(&self) -> bool {
        self.trees.outer(NO_AUTOINSTALL).exists()
    }

    /// The present time as our files have it, in seconds since 1970.
    pub fn timestamp(&self) -> i64 {
        i64::try_from(self.now).unwrap_or(i64::MAX)
    }

    /// `release` with the architecture that this system's modules have.
    pub fn kernel(&self, release: &Release) -> Result<Kernel, NameError> {
        let arch = Arch::new(self.distribution.arch_label(release, &self.machine.name))?;
        Ok(Kernel { release: release.clone(), arch })
    }

    /// `SOURCE_DATE_EPOCH` of the caller: the time of everything that is written to be reproduced
    /// (reproducible-builds.org), in seconds since 1970.
    pub fn source_date_epoch(&self) -> Option<i64> {
        self.environment.get(std::ffi::OsStr::new("SOURCE_DATE_EPOCH"))?.to_str()?.parse().ok()
    }

    /// The rpm process whose scriptlet called us, where `--rpm_safe_upgrade` is given.
    pub fn rpm_process(&self) -> Option<&str> {
        self.machine.grandparent.as_deref().filter(|_| self.options.rpm_safe_upgrade)
    }

    /// Takes the tree lock: held around each change, never while a script runs. What others may have changed since this run held
    /// it is forgotten.
    pub fn lock_tree(&self) -> Result<Lock, LockError> {
        let on_wait = |holder: &lock::Holder| log::info!("waiting for {holder}, which changes the DKMS tree");
        let patience = Patience { limit: Some(TREE_PATIENCE), on_wait: &on_wait };
        let mark = format!("{}{}", lock::MARK, durable::unique());
        let (lock, before) = lock::lock_marked(&self.trees.lock(), patience, mark.clone())?;
        self.trees.snapshot().locked(&before, mark.into_bytes());
        Ok(lock)
    }

    /// Takes the lock of a package's build directory, where builds can't have private ones.
    pub fn lock_build(&self, package: &Package, on_wait: &dyn Fn(&lock::Holder)) -> Result<Lock, LockError> {
        let on_wait = others(on_wait);
        let patience = Patience { limit: self.options.lock_patience, on_wait: &on_wait };
        let lock = lock::lock(&self.trees.build_lock(package), patience)?;
        self.trees.forget(&self.trees.name_dir(&package.name));
        Ok(lock)
    }

    /// Takes the lock of a package's build directory together with the other builds that see private ones there.
    pub fn share_build(&self, package: &Package) -> Result<Lock, LockError> {
        let on_wait = |holder: &lock::Holder| log::info!("waiting for {holder}, which uses the build directory");
        let patience = Patience { limit: self.options.lock_patience, on_wait: &on_wait };
        lock::share(&self.trees.build_lock(package), patience)
    }

    /// Takes the lock of a package on a kernel: held during its build. `on_wait` gets the process that we wait for.
    pub fn lock_pair(
        &self,
        package: &Package,
        kernel: &Kernel,
        on_wait: &dyn Fn(&lock::Holder),
    ) -> Result<Lock, LockError> {
        let on_wait = others(on_wait);
        let patience = Patience { limit: self.options.lock_patience, on_wait: &on_wait };
        let lock = lock::lock(&self.trees.pair_lock(package, kernel), patience)?;
        self.trees.forget(&self.trees.name_dir(&package.name));
        Ok(lock)
    }

    /// Opens a kernel's gate: before it is looked at what there is of it. Waits while another run takes everything away from it.
    pub fn open_gate(&self, kernel: &Kernel, on_wait: &dyn Fn(&lock::Holder)) -> Result<Gate, LockError> {
        let on_wait = others(on_wait);
        let patience = Patience { limit: self.options.lock_patience, on_wait: &on_wait };
        Gate::open(&self.trees.kernel_gate(kernel), patience)
    }

    /// Passes a kernel's gate for a change that looks at what there is when it has passed: held during that, after the lock of the
    /// package.
    pub fn pass_gate(&self, kernel: &Kernel, on_wait: &dyn Fn(&lock::Holder)) -> Result<Lock, LockError> {
        loop {
            match self.open_gate(kernel, on_wait)?.pass() {
                // Closed in between: once more.
                Err(LockError::Closed { .. }) => {}
                passed => return passed,
            }
        }
    }

    /// Closes a kernel's gate, to take everything away from it: waits for what others are just putting in its place, not for
    /// what they build.
    pub fn close_gate(&self, kernel: &Kernel, on_wait: &dyn Fn(&lock::Holder)) -> Result<Closed, LockError> {
        let on_wait = others(on_wait);
        let patience = Patience { limit: self.options.lock_patience, on_wait: &on_wait };
        gate::close(&self.trees.kernel_gate(kernel), patience)
    }
}

/// Says nothing of another thread of ours: it will be done soon, and nobody can do anything about it.
fn others(on_wait: &dyn Fn(&lock::Holder)) -> impl Fn(&lock::Holder) + '_ {
    move |holder| {
        if !holder.is_this_process() {
            on_wait(holder);
        }
    }
}
