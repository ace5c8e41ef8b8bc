//! The index of a kernel's modules before some of them go: made from a view of the kernel's directory in which they are gone
//! already. A line of `modules.dep` whose file is missing ends dracut without an image, so there must be none at any moment,
//! also when a run is killed between removing a file and depmod.

use std::cell::Cell;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use super::depmod::{self, Depmod, PRODUCTS};
use super::follow_up::Note;
use super::own_index::{self, Maker};
use super::which_depmod;
use crate::context::Context;
use crate::durable::{self, NEW};
use crate::journal::{self, Change, JournalError, WorkDir};
use crate::lock::Lock;
use crate::names::Release;
use crate::plan::FollowUp;
use crate::process;
use crate::system_error::SystemError;

/// Commits a change beside the modules of `release`, after a durable note that this kernel needs a depmod; no note
/// with `--no-depmod`, whose caller sees to it. A change that was not made leaves none.
pub fn commit(ctx: &Context, release: &Release, change: Change<'_>) -> Result<(), JournalError> {
    // Without space for a note a full disk could not be emptied by a removal.
    change.make_room();
    let is_new = !ctx.options.no_depmod && FollowUp::Depmod.note(&ctx.trees, release, "")?;
    let early = Cell::new(false);
    // Until the files have gone: who made the index in between, for another tree, would list them again.
    let turn = Cell::new(None);
    let done = change.commit_after(&|release, going| {
        let made = without(ctx, release, going);
        early.set(made.is_some());
        turn.set(made.and_then(|made| made.turn));
    });
    drop(turn.take());
    let is_done = match &done {
        // The index is right already.
        Ok(()) if early.get() => {
            depmod::right().insert(ctx.trees.modules_dir(release));
            true
        }
        Ok(()) | Err(JournalError::Stuck { .. }) => false,
        // It was made for a change that was undone.
        Err(_) if early.get() => restored(ctx, release),
        Err(_) => true,
    };
    if is_new && is_done {
        forget_own(ctx, release);
    }
    done
}

/// Makes the index of what is there, again. If that fails, the next run has to.
fn restored(ctx: &Context, release: &Release) -> bool {
    match depmod::run_early(ctx, release) {
        Ok(Depmod::Failed(why)) => log::warn!("depmod for kernel {release}: {why}"),
        Err(error) => log::warn!("depmod for kernel {release}: {error}"),
        Ok(Depmod::Done(_) | Depmod::Skipped) => return true,
    }
    false
}

/// Of what a dead run noted, nothing has been done.
fn forget_own(ctx: &Context, release: &Release) {
    for note in FollowUp::Depmod.notes(&ctx.trees, release).into_iter().filter(Note::is_own) {
        if let Err(error) = note.forget() {
            log::warn!("{error}");
        }
    }
}

/// That the index was made.
#[must_use]
#[derive(Debug)]
pub struct Made {
    /// Held, nobody else makes it; `None` if the turn could not be had.
    turn: Option<Lock>,
}

/// Makes the index of `release` as it will be when the files `going` have gone; everything that comes is in place. Gives
/// that it was made: where none of them is in it, or nobody needs it, it need not be. If it can't be made, they go all the same: a
/// removal does not fail for it, and depmod, which comes after it, will.
pub fn without(ctx: &Context, release: &Release, going: &[&Path]) -> Option<Made> {
    let dir = ctx.trees.modules_dir(release);
    if ctx.options.no_depmod || !depmod::is_installed(&dir) || depmod::unreadable(ctx, release).is_some() {
        return None;
    }
    // The index would take the space that is kept back for the removal itself.
    if !journal::has_space(&ctx.trees) {
        log::warn!("until depmod has run, the index of kernel {release} names modules that are gone: the disk is full");
        return None;
    }
    let made = make(ctx, release, &dir, going);
    made.unwrap_or_else(|error| {
        log::warn!("until depmod has run, the index of kernel {release} names modules that are gone: {error}");
        None
    })
}

fn make(ctx: &Context, release: &Release, dir: &Path, going: &[&Path]) -> Result<Option<Made>, SystemError> {
    let index = durable::text(&dir.join("modules.dep")).unwrap_or_default();
    let listed: Vec<&str> = index.lines().filter_map(|line| Some(line.split_once(':')?.0)).collect();
    let goes = |line: &&&str| going.iter().any(|path| dir.join(line) == **path);
    let count = listed.iter().filter(goes).count();
    if count == 0 {
        return Ok(None);
    }
    let made = Made { turn: own_index::turn(ctx, release) };
    let maker = Maker::of(ctx);
    let own = if maker == Maker::Real { None } else { own_index::made(ctx, release, going) };
    if let Some(index) = own.as_ref().filter(|_| maker == Maker::Own) {
        match own_index::put(dir, index) {
            Ok(()) => return Ok(Some(made)),
            Err(error) => log::warn!("depmod makes the index of kernel {release}: {error}"),
        }
    }
    let work = WorkDir::new(&ctx.trees)?;
    let view = work.path().join("lib/modules").join(release);
    let called = |path: &Path| if which_depmod::is_roots_own(ctx) { ctx.trees.shown(path) } else { path.to_owned() };
    mirror(dir, &view, going, &called, true)?;
    // Where else a depmod may look for modules.
    fs::create_dir(work.path().join("usr"))?;
    symlink("../lib", work.path().join("usr/lib"))?;
    let end = process::run(depmod::task(ctx, release, Some(&called(work.path()).into_os_string()), true))?;
    let length = fs::metadata(view.join("modules.dep")).map_or(0, |meta| meta.len());
    if !end.status.success() || (length == 0 && count < listed.len()) {
        return Err(std::io::Error::other(format!("depmod: {}", end.text().trim())).into());
    }
    for entry in fs::read_dir(&view)? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            let temp = dir.join(format!("{NEW}{}", durable::unique()));
            let copy = durable::copy_new(&entry.path(), &temp, 0o644)?;
            durable::put_in_place(&copy, &temp, &dir.join(entry.file_name()))?;
        }
    }
    durable::sync(dir)?;
    work.remove();
    if let Some(index) = own.filter(|_| maker == Maker::Check) {
        for line in own_index::differences(dir, &index) {
            log::error!("{line}");
        }
    }
    Ok(Some(made))
}

/// Makes `view` show what is in `dir`, by links to it, but for the files `going`, and, at the `top`, what depmod makes or
/// does not look at.
fn mirror(
    dir: &Path,
    view: &Path,
    going: &[&Path],
    called: &dyn Fn(&Path) -> PathBuf,
    top: bool,
) -> Result<(), SystemError> {
    fs::create_dir_all(view)?;
    for entry in fs::read_dir(dir)? {
        let (path, name) = entry.map(|entry| (entry.path(), entry.file_name()))?;
        if going.contains(&path.as_path()) || (top && is_no_module(&name)) {
            continue;
        }
        if going.iter().any(|file| file.starts_with(&path)) {
            mirror(&path, &view.join(name), going, called, false)?;
        } else {
            symlink(called(&path), view.join(name))?;
        }
    }
    Ok(())
}

fn is_no_module(name: &OsStr) -> bool {
    let Some(name) = name.to_str() else { return false };
    let made = PRODUCTS.contains(&name) || (name.starts_with("modules.") && name.ends_with(".bin"));
    made || name.starts_with('.') || ["build", "source"].contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_view_shows_all_but_what_goes() {
        let tmp = tempfile::tempdir().unwrap();
        let (dir, view) = (tmp.path().join("6.1"), tmp.path().join("view"));
        for file in ["kernel/a.ko", "updates/dkms/b.ko", "updates/dkms/c.ko", "updates/d.ko"] {
            fs::create_dir_all(dir.join(file).parent().unwrap()).unwrap();
            fs::write(dir.join(file), file).unwrap();
        }
        for file in ["modules.dep", "modules.dep.bin", "modules.order", ".dkms-manifest.json"] {
            fs::write(dir.join(file), "").unwrap();
        }
        let going = dir.join("updates/dkms/b.ko");
        mirror(&dir, &view, &[&going], &|path: &Path| path.to_owned(), true).unwrap();
        for (file, is_there) in [
            ("kernel/a.ko", true),
            ("updates/dkms/b.ko", false),
            ("updates/dkms/c.ko", true),
            ("updates/d.ko", true),
            ("modules.order", true),
            ("modules.dep", false),
            ("modules.dep.bin", false),
            (".dkms-manifest.json", false),
        ] {
            assert_eq!(view.join(file).exists(), is_there, "{file}");
        }
        assert!(going.exists());
    }
}
