//! A kernel's index made by ourselves ([`crate::depmod`]), and put in place: what is done instead of depmod, where it can be.
//!
//! `DKMS_DEPMOD=real` in the environment leaves everything to depmod; with `check` it runs too, and what differs is an error.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::follow_up::Note;
use super::which_depmod::{CONFIGURATION, is_usual, version};
use crate::context::Context;
use crate::depmod::{Index, Request, Time, Unusual, index};
use crate::durable::{self, FileError, NEW};
use crate::kernel::symvers::Symvers;
use crate::lock::{Holder, Lock, Patience, lock};
use crate::names::Release;
use crate::plan::FollowUp;
use crate::tree::manifest::KernelManifest;

/// More than a tick of any kernel's clock of files (CONFIG_HZ is at least 100).
const TICK: Duration = Duration::from_millis(20);

/// Who makes a kernel's index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Maker {
    /// We do, and depmod where we can't.
    Own,
    /// depmod does.
    Real,
    /// Both do; depmod's counts.
    Check,
}

impl Maker {
    /// What the environment asks for.
    pub fn of(ctx: &Context) -> Self {
        match ctx.environment.get(OsStr::new("DKMS_DEPMOD")).and_then(|value| value.to_str()) {
            Some("real") => Self::Real,
            Some("check") => Self::Check,
            None | Some("" | "own") => Self::Own,
            Some(other) => {
                log::warn!("DKMS_DEPMOD={other} is none of own, real and check: depmod runs");
                Self::Real
            }
        }
    }
}

/// The index of `release` as depmod would make it now, but without the files `going` (outer). `None` where depmod itself has to.
pub(super) fn made(ctx: &Context, release: &Release, going: &[&Path]) -> Option<Index> {
    match try_to_make(ctx, release, going) {
        Ok(index) => {
            log::info!("the index of kernel {release}: {} modules read", index.read);
            Some(index)
        }
        Err(why) => {
            log::info!("depmod makes the index of kernel {release}: {why}");
            None
        }
    }
}

fn try_to_make(ctx: &Context, release: &Release, going: &[&Path]) -> Result<Index, Unusual> {
    let nobody = || Unusual::Version("it is not kmod's".to_owned());
    let (is_roots_own, version) = version(ctx).ok_or_else(nobody)?;
    let program = program(ctx, is_roots_own).ok_or_else(nobody)?;
    let depmod_d = CONFIGURATION.map(|dir| ctx.trees.outer(dir));
    let manifest =
        KernelManifest::beside(&ctx.trees, release).map_err(|error| Unusual::Io(std::io::Error::other(error)))?;
    let installed = manifest.iter().flat_map(|manifest| &manifest.installed).flat_map(|entry| &entry.files);
    let foreign = installed.filter_map(|file| Some(file.path.join(&file.file).to_str()?.to_owned())).collect();
    // What was changed after a note, another run's depmod may have missed.
    let since = FollowUp::Depmod
        .notes(&ctx.trees, release)
        .iter()
        .filter_map(Note::made)
        .map(|meta| Time::modified(&meta))
        .min();
    index(&Request {
        is_host: ctx.trees.root.is_host() && is_usual(&ctx.trees.install.outer),
        dir: &ctx.trees.modules_dir(release),
        release: release.as_str(),
        depmod_d: &depmod_d,
        program: &program,
        version: &version,
        going: &going.iter().map(|path| (*path).to_owned()).collect::<BTreeSet<PathBuf>>(),
        since,
        foreign: &foreign,
        symvers: &|| Symvers::of(&ctx.trees, release),
    })
}

/// The file of the depmod that runs; `None` if it is not kmod's: somebody's script may do more.
fn program(ctx: &Context, is_roots_own: bool) -> Option<PathBuf> {
    let place = |path: &Path| if is_roots_own { ctx.trees.outer(path) } else { path.to_owned() };
    let dirs = crate::process::DEFAULT_PATH.split(':').map(Path::new);
    let link = dirs.map(|dir| dir.join("depmod")).find(|path| place(path).exists() || place(path).is_symlink())?;
    let target = std::fs::read_link(place(&link)).ok()?;
    let program = place(&link.parent()?.join(target));
    (program.file_name() == Some(OsStr::new("kmod"))).then_some(program)
}

/// Waits until no other run makes the index of `release`, and keeps others waiting: also those for another DKMS tree, with
/// which this one shares nothing but the kernel. The lock's file is where only root gets. Where it can't be had, the index is made
/// all the same: a depmod that somebody else runs waits for nobody either.
pub(super) fn turn(ctx: &Context, release: &Release) -> Option<Lock> {
    /// More than any depmod takes.
    const LIMIT: Duration = Duration::from_secs(120);
    let on_wait = |holder: &Holder| log::info!("waiting for {holder}, which makes the index of kernel {release}");
    let dir = ctx.trees.own_cache("turns").inspect_err(|error| log::info!("{error}")).ok()?;
    let held = lock(&dir.join(release), Patience { limit: Some(LIMIT), on_wait: &on_wait });
    held.inspect_err(|error| log::warn!("the index of kernel {release}: {error}")).ok()
}

/// Puts the files of an index into `dir`, unless what it was made from is no longer there: all are written, and durable,
/// before the first gets its name; then they get their names one right after the other, in depmod's order. What
/// a kill leaves in between is found by their times, and made anew.
pub(super) fn put(dir: &Path, index: &Index) -> Result<(), FileError> {
    let mut written = Vec::new();
    for (name, bytes) in &index.files {
        let temp = dir.join(format!("{NEW}{}", durable::unique()));
        match durable::write_new(&temp, bytes, 0o644) {
            Ok(file) => {
                // It counts from when it was begun; the clock of files is coarser than ours.
                if *name == "modules.dep" {
                    let _ = file.set_modified(index.begun - TICK);
                }
                written.push((file, temp, dir.join(name)));
            }
            Err(error) => {
                forget(written);
                return Err(error);
            }
        }
    }
    let synced = written.iter().try_for_each(|(file, temp, _)| file.sync_all().map_err(durable::at("write", temp)));
    if let Err(error) = synced {
        forget(written);
        return Err(error);
    }
    if !index.is_current(dir) {
        forget(written);
        return Err(durable::at("replace the index in", dir)(std::io::Error::other(
            "somebody else has made it anew meanwhile",
        )));
    }
    let mut written = written.into_iter();
    while let Some((_, temp, path)) = written.next() {
        if let Err(error) = durable::name(&temp, &path) {
            forget(written);
            return Err(error);
        }
    }
    durable::sync(dir)
}

/// Deletes temporary files that are not needed.
fn forget(written: impl IntoIterator<Item = (std::fs::File, PathBuf, PathBuf)>) {
    for (_, temp, _) in written {
        if let Err(error) = durable::remove_any(&temp) {
            log::warn!("{error}");
        }
    }
}

/// The files in `dir` that are not as we would have made them, each as a message.
pub(super) fn differences(dir: &Path, index: &Index) -> Vec<String> {
    let differs = |(name, bytes): &&(&str, Vec<u8>)| durable::bytes(&dir.join(name)).ok().as_ref() != Some(bytes);
    let files = index.files.iter().filter(differs);
    let shown = |name: &str| {
        format!("ERROR: DKMS_DEPMOD=check: {} is not what dkms would have made of it", dir.join(name).display())
    };
    files.map(|(name, _)| shown(name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::test_system::System;

    #[test]
    fn one_makes_an_index_at_a_time_and_only_root_can_hold_it_up() {
        use std::os::unix::fs::PermissionsExt;
        let system = System::new();
        let release = Release::new("6.1").unwrap();
        let held = turn(&system.ctx, &release);
        assert!(held.is_some());
        let path = system.ctx.trees.cache("turns").join(&release);
        let mode = |path: &Path| fs_err::metadata(path).unwrap().permissions().mode() & 0o077;
        assert_eq!((mode(&path), mode(path.parent().unwrap())), (0, 0));
        let at_once = || lock(&path, Patience { limit: Some(Duration::ZERO), on_wait: &|_| {} });
        assert!(at_once().is_err());
        // That of another kernel is another's.
        assert!(turn(&system.ctx, &Release::new("6.2").unwrap()).is_some());
        drop(held);
        assert!(at_once().is_ok());
    }
}
