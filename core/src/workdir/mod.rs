//! The private directory of one build, its log, and the user that it runs as.

pub mod build_log;
pub mod privilege;

use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use fs_err as fs;

use crate::context::Context;
use crate::durable;
use crate::files::copy_tree_for;
use crate::journal;
use crate::lock::{self, Lock, Patience};
use crate::names::{Kernel, Package};
use crate::process::Environment;
use crate::sandbox::beneath::Beneath;
use crate::sandbox::handover;
use crate::sandbox::user::SLOTS;
use crate::sandbox::{Bind, BuildUser, Demotion};
use crate::system_error::SystemError;
use crate::tree::Trees;
use crate::tree::record::Record;
use crate::world::Seclusion;
use build_log::Log;

/// In a scratch directory: the copy of the source, the build's home, and its place for temporary files.
const BUILD: &str = "build";
const HOME: &str = "home";
const TMP: &str = "tmp";

/// A directory that holds a copy of the source while it is built. Scripts and make see it as
/// `<tree>/<m>/<v>/build`, which dkms.conf files hard-code.
#[derive(Debug)]
pub struct WorkDir {
    dir: PathBuf,
    build: PathBuf,
    user: Option<BuildUser>,
    /// Shared by the builds of a package that see their directories at `build`: removing a directory
    /// takes away what is mounted on it, in other mount namespaces too (rename(2), rmdir(2) since Linux 3.18).
    place: Option<Lock>,
    /// Holds `dir`, where that is private, and what else a build has of its own.
    scratch: Option<journal::WorkDir>,
    /// Whether the build has directories for temporary files of its own: names that others have taken, or that another
    /// build takes at the same time (each has a process 1), are then free.
    own_tmp: bool,
    kept: bool,
}

impl WorkDir {
    /// Makes the directory: private when this system allows it, else the build directory itself (the
    /// caller then holds the package's lock, so that no other build of it runs). With a `demotion`, the build
    /// gets a user of its own, shared with no other build.
    /// `own_tmp`: what it needs to see is not among others' temporary files.
    pub fn make(ctx: &Context, package: &Package, demotion: Demotion, own_tmp: bool) -> Result<Self, SystemError> {
        let trees = &ctx.trees;
        let build = trees.build_dir(package);
        let private = ctx.world.has_private_mounts();
        // Under the lock that keeps `remove` away: until then it may have been quicker.
        let still_there = || fs::metadata(trees.package_dir(package));
        let mut work = Self { dir: build.clone(), build, user: None, place: None, scratch: None, own_tmp, kept: true };
        if private || demotion != Demotion::None {
            work.scratch = Some(journal::WorkDir::new(trees)?);
        }
        if let (true, Some(scratch)) = (private, &work.scratch) {
            clear_place(trees, package, &work.build)?;
            work.place = Some(ctx.share_build(package)?);
            still_there()?;
            fs::create_dir_all(&work.build)?;
            work.dir = scratch.path().join(BUILD);
        } else if work.build.exists() {
            fs::remove_dir_all(&work.build)?;
        }
        still_there()?;
        fs::create_dir_all(&work.dir)?;
        // Until now, what is at `build` may be another's.
        work.kept = false;
        work.user = match work.settle(trees, demotion) {
            Ok(user) => user,
            // Some file systems know no other owners.
            Err(error) => {
                log::warn!("builds run as root, since files can't be given to another user: {error}");
                None
            }
        };
        Ok(work)
    }

    /// Finds a user that no other build has, and makes its home and its place for temporary files.
    fn settle(&self, trees: &Trees, demotion: Demotion) -> std::io::Result<Option<BuildUser>> {
        let Some(scratch) = &self.scratch else { return Ok(None) };
        let home = scratch.path().join(HOME);
        // The digits of a name are random.
        let name = scratch.path().to_string_lossy().into_owned();
        let first = name.get(name.len().saturating_sub(4)..).and_then(|end| u32::from_str_radix(end, 16).ok());
        let Some(mut user) = demotion.user(first.unwrap_or_default()) else { return Ok(None) };
        std::fs::DirBuilder::new().mode(0o700).create(&home)?;
        for slot in 0..SLOTS {
            user = demotion.user(first.unwrap_or_default() + slot).unwrap_or(user);
            handover::give_alone(&home, user)?;
            // Two that take the same at once both see it, and go on: the owner of a home is who has the user.
            let taken = fs::read_dir(trees.work())?.flatten().map(|entry| entry.path().join(HOME)).any(|other| {
                other != home && std::fs::symlink_metadata(other).is_ok_and(|meta| meta.uid() == user.base)
            });
            if !taken {
                break;
            }
        }
        let tmp = scratch.path().join(TMP);
        std::fs::DirBuilder::new().mode(0o700).create(&tmp)?;
        for dir in [&tmp, &self.dir] {
            handover::give_alone(dir, user)?;
        }
        // A way through, not a look inside.
        for dir in [trees.own(), trees.work(), scratch.path().to_owned()] {
            fs::set_permissions(dir, std::fs::Permissions::from_mode(0o711))?;
        }
        Ok(Some(user))
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.dir
    }

    /// Where the build sees it.
    pub fn seen_at(&self) -> &Path {
        &self.build
    }

    /// Who the build is; `None`: who we are.
    pub fn user(&self) -> Option<BuildUser> {
        self.user
    }

    /// What of it a task of the build is given; `network`: whether it may have one; `binds`: what else it sees where.
    pub fn seclusion<'a>(&'a self, tmp: &'a Path, network: bool, binds: &'a [Bind]) -> Seclusion<'a> {
        let tmp = self.user.filter(|_| self.own_tmp).map(|_| tmp);
        Seclusion { work: &self.dir, build: &self.build, user: self.user, tmp, network, binds }
    }

    /// The build's directory for temporary files, if it has one.
    pub fn tmp(&self) -> PathBuf {
        self.scratch.as_ref().map(|scratch| scratch.path().join(TMP)).unwrap_or_default()
    }

    /// The directory, which programs call `called`, as it is to be looked at when something of the build has run.
    pub fn contents(&self, called: &Path) -> Result<Beneath, SystemError> {
        Ok(Beneath::new(&self.dir, called, self.user)?)
    }

    /// The environment of this run's programs as the build gets it. The caller's home and temporary directory are not
    /// for another user: it has some of its own (git(1) stops at a home that it can't read, ccache(1) without any).
    pub fn environment(&self, ctx: &Context) -> Environment {
        let mut environment = privilege::environment(ctx, self.user.is_some());
        if let Some(scratch) = self.scratch.as_ref().filter(|_| self.user.is_some()) {
            for (key, name) in [("HOME", HOME), ("TMPDIR", TMP)] {
                let called = ctx.world.called(&ctx.trees, &scratch.path().join(name));
                environment.insert(key.into(), called.into_os_string());
            }
        }
        environment
    }

    /// Copies the package's source into it, and over its patches those of `/etc/dkms/<m>/patches`.
    pub fn fill(&self, trees: &Trees, package: &Package) -> Result<(), SystemError> {
        copy_tree_for(&trees.source_of(package), &self.dir, self.user)?;
        let patches = trees.outer(Path::new("/etc/dkms").join(&package.name).join("patches"));
        if patches.is_dir() {
            copy_tree_for(&patches, &self.dir.join("patches"), self.user)?;
        }
        Ok(())
    }

    /// Leaves it, with its `log`, at `<tree>/<m>/<v>/build` for somebody to look at: what a failed build does. Another one may
    /// be left there a moment later, so the log is kept for the record, too, before that can be.
    pub fn keep(mut self, ctx: &Context, package: &Package, kernel: &Kernel, log: Option<&Log>) {
        let for_record = || {
            // That of an earlier failure would be taken for this one's, where there is no log to keep.
            let _ = durable::remove_any(&ctx.trees.record_log(package, kernel));
            if let Err(error) = Record::keep_log(&ctx.trees, package, kernel) {
                log::warn!("{error}");
            }
        };
        // Best effort: the build has failed already, and says so whatever becomes of its remains. The
        // directory itself stays: other builds may have theirs mounted on it.
        let moved = self.give_back(log).and_then(|()| {
            self.kept = true;
            if self.dir == self.build {
                for_record();
                return Ok(());
            }
            let _lock = ctx.lock_tree()?;
            empty(&self.build)?;
            for entry in fs::read_dir(&self.dir)? {
                let entry = entry?;
                fs::rename(entry.path(), self.build.join(entry.file_name()))?;
            }
            for_record();
            Ok(())
        });
        let Err(error) = moved else { return };
        log::warn!("the build directory is not kept: {error}");
        // The log at least. What the build wrote may be what it has no room for.
        if let (false, Some(log)) = (self.kept, log) {
            self.kept = true;
            let _ = empty(&self.dir);
            let file = self.build.join("make.log");
            if let Err(error) = empty(&self.build).and_then(|()| log.copy_to(&file)) {
                log::warn!("{error}");
            }
            for_record();
        }
    }

    fn give_back(&self, log: Option<&Log>) -> Result<(), SystemError> {
        let Some(user) = self.user else { return Ok(()) };
        handover::take_back(&self.dir, user)?;
        if let Some(log) = log {
            // Whatever the build has put in its place.
            durable::remove_any(log.path())?;
            log.copy_to(log.path())?;
        }
        Ok(())
    }
}

/// Deletes what an earlier failed build of the package left at its build directory.
pub fn forget(ctx: &Context, package: &Package) {
    let build = ctx.trees.build_dir(package);
    if let Err(error) = clear_place(&ctx.trees, package, &build) {
        log::warn!("{error}");
    }
    // Not empty, or not there: another build uses it, or none has failed.
    let _ = std::fs::remove_dir(&build);
}

/// Deletes what an earlier failure left, unless another build uses the place (then it may be its neighbour's).
fn clear_place(trees: &Trees, package: &Package, build: &Path) -> Result<(), SystemError> {
    let at_once = Patience { limit: Some(Duration::ZERO), on_wait: &|_| {} };
    match lock::lock(&trees.build_lock(package), at_once) {
        Ok(_alone) if build.is_dir() => Ok(empty(build)?),
        Ok(_) | Err(lock::LockError::Timeout { .. } | lock::LockError::Nested { .. }) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn empty(dir: &Path) -> std::io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            fs::remove_dir_all(entry.path())?;
        } else {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

impl Drop for WorkDir {
    fn drop(&mut self) {
        let mine = (!self.kept && self.dir == self.build).then_some(self.dir.as_path());
        for dir in self.scratch.as_ref().map(journal::WorkDir::path).into_iter().chain(mine) {
            if let Err(error) = durable::remove_any(dir) {
                log::warn!("{error}");
            }
        }
        if !self.kept && self.place.as_ref().is_some_and(Lock::is_last) {
            // Not empty: a build beside this one failed.
            let _ = std::fs::remove_dir(&self.build);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::surroundings;

    /// Builds of one package for two kernels may fail at the same moment.
    #[test]
    fn the_log_of_a_failure_survives_the_next_one() {
        let dir = tempfile::tempdir().unwrap();
        let mut ctx = surroundings::without_words(false).unwrap();
        ctx.trees = Trees::new(crate::root::Root::at(dir.path()).unwrap());
        let namespaces = Some(crate::sandbox::Namespaces::default());
        ctx.world = crate::world::World::of(&ctx.trees.root, ctx.world.environment().clone(), namespaces);
        let package = Package::new("hello", "1").unwrap();
        fs::create_dir_all(ctx.trees.package_dir(&package)).unwrap();
        let kernels = ["6.1", "6.2"].map(|release| Kernel::new(release, "x86_64").unwrap());
        for kernel in &kernels {
            let work = WorkDir::make(&ctx, &package, Demotion::None, false).unwrap();
            let log = Log::begin(&work.path().join("make.log"), &package, kernel, "today").unwrap();
            work.keep(&ctx, &package, kernel, Some(&log));
        }
        for kernel in &kernels {
            let log = fs::read_to_string(ctx.trees.record_log(&package, kernel)).unwrap();
            assert!(log.contains(&format!("make.log for hello/1 for kernel {kernel}")), "{log}");
        }
        // One that fails before it has a log leaves none, not that of the failure before it.
        WorkDir::make(&ctx, &package, Demotion::None, false).unwrap().keep(&ctx, &package, &kernels[0], None);
        assert!(!ctx.trees.record_log(&package, &kernels[0]).exists());
        assert!(ctx.trees.record_log(&package, &kernels[1]).exists());
    }
}
