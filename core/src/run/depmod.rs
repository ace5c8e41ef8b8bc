//! Making modules.dep and its companions anew: depmod(8), once per kernel and run.
//!
//! Between a change beside a kernel's modules and its depmod a run may be killed: before the change it is noted that one is to come
//! ([`super::follow_up`]).

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use fs_err as fs;

use super::follow_up::Note;
use super::own_index::{self, Maker};
use super::which_depmod::{CONFIGURATION, in_its_world, is_roots_own, is_usual, version};
use crate::compress::Compression;
use crate::context::Context;
use crate::durable;
use crate::kernel::{self, find::ModuleIndex};
use crate::names::Release;
use crate::plan::FollowUp;
use crate::process::{self, Task};
use crate::system_error::SystemError;

/// The files that depmod writes, besides `modules.*.bin`.
pub(super) const PRODUCTS: &[&str] =
    &["modules.alias", "modules.dep", "modules.devname", "modules.softdep", "modules.symbols", "modules.weakdep"];

/// What running depmod came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Depmod {
    /// It was run. The errors that it names and passes over: of files that it can't read, for one.
    Done(Vec<String>),
    /// There is no kernel in the directory, or it is half gone.
    Skipped,
    /// It failed; what it said.
    Failed(String),
}

/// The directories of kernels whose index this run has made together with its last change there.
pub(super) fn right() -> MutexGuard<'static, BTreeSet<PathBuf>> {
    static RIGHT: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());
    RIGHT.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Somebody else (a package's script, a vendor's program) may have changed something beside the modules of `release`.
pub fn changed(ctx: &Context, release: &Release) {
    right().remove(&ctx.trees.modules_dir(release));
}

/// Runs depmod for the kernel `release`, and clears its products away when no module is left.
pub fn run(ctx: &Context, release: &Release) -> Result<Depmod, SystemError> {
    // Listed before: what another run notes from now on, this depmod may have missed.
    let notes = FollowUp::Depmod.notes(&ctx.trees, release);
    let dir = ctx.trees.modules_dir(release);
    if right().remove(&dir) && notes.is_empty() {
        clear_products(&dir)?;
        return Ok(Depmod::Done(Vec::new()));
    }
    let done = run_now(ctx, release)?;
    if !matches!(done, Depmod::Failed(_)) {
        notes.into_iter().try_for_each(Note::forget)?;
    }
    Ok(done)
}

/// Runs depmod in the middle of a run, for scripts that ask modprobe: its notes stay, since more modules come.
pub fn run_early(ctx: &Context, release: &Release) -> Result<Depmod, SystemError> {
    run_now(ctx, release)
}

fn run_now(ctx: &Context, release: &Release) -> Result<Depmod, SystemError> {
    let dir = ctx.trees.modules_dir(release);
    if !lacks_index(&dir) {
        return Ok(Depmod::Skipped);
    }
    // Such a one ends with 0 and leaves an empty index.
    if let Some(why) = unreadable(ctx, release) {
        return Ok(Depmod::Failed(why));
    }
    let _turn = own_index::turn(ctx, release);
    durable::sweep(&dir);
    let maker = Maker::of(ctx);
    let own = if maker == Maker::Real { None } else { own_index::made(ctx, release, &[]) };
    if let Some(index) = own.as_ref().filter(|_| maker == Maker::Own) {
        match own_index::put(&dir, index) {
            Ok(()) => {
                ctx.trees.snapshot().act();
                return Ok(Depmod::Done(Vec::new()));
            }
            Err(error) => log::warn!("depmod makes the index of kernel {release}: {error}"),
        }
    }
    let (base, _guard) = base_for(ctx)?;
    let end = process::run(task(ctx, release, base.as_ref(), false))?;
    let text = end.text();
    let text = text.trim();
    if !end.status.success() {
        return Ok(Depmod::Failed(if text.is_empty() {
            format!("it exited with status {}", end.code())
        } else {
            text.to_owned()
        }));
    }
    if fs::metadata(dir.join("modules.dep")).is_ok_and(|meta| meta.len() == 0) {
        let left = ModuleIndex::load(&dir).map_or(0, |index| index.len());
        if left > 0 {
            return Ok(Depmod::Failed(one_line(&format!("it lists none of {left} modules\n{text}"))));
        }
    }
    clear_products(&dir)?;
    ctx.trees.snapshot().act();
    let mut errors: Vec<String> = text.lines().filter(|line| line.contains("ERROR:")).map(str::to_owned).collect();
    if let Some(index) = own.filter(|_| maker == Maker::Check) {
        errors.extend(own_index::differences(&dir, &index));
    }
    Ok(Depmod::Done(errors))
}

fn one_line(text: &str) -> String {
    text.trim().replace('\n', ": ")
}

/// The task that makes the index: with the root's own depmod, where that runs and its modules are where it looks; else with
/// ours, by the root's configuration. `view`: `base` is not where this kernel's modules are, and the root's own depmod needs it as an argument.
pub(super) fn task(ctx: &Context, release: &Release, base: Option<&OsString>, view: bool) -> Task {
    let mut argv: Vec<OsString> = vec!["depmod".into(), "-a".into()];
    let map = ctx.trees.outer(format!("/boot/System.map-{release}"));
    let is_its_own = is_roots_own(ctx);
    if is_its_own {
        if let Some(base) = base.filter(|_| view) {
            argv.extend(["-b".into(), base.clone()]);
        }
        if map.exists() {
            argv.extend(["-F".into(), ctx.trees.shown(&map).into()]);
        }
    } else {
        if let Some(base) = base {
            argv.extend(["-b".into(), base.clone()]);
        }
        if !ctx.trees.root.is_host() {
            for dir in CONFIGURATION {
                argv.extend(["-C".into(), ctx.trees.outer(dir).into()]);
            }
        }
        if map.exists() {
            argv.extend(["-F".into(), map.into()]);
        }
    }
    argv.push(release.as_str().into());
    let mut task = in_its_world(ctx, argv, is_its_own);
    task.undisturbed = true;
    task
}

/// Why depmod can't make the index of `release`, if it can't: it does not know how the kernel's modules are compressed. One
/// that does not say what it knows (busybox's) is believed.
pub fn unreadable(ctx: &Context, release: &Release) -> Option<String> {
    let kind = kernel::compression::of_kernel(&ctx.trees.modules_dir(release));
    let feature = match kind {
        Compression::None => return None,
        Compression::Gzip => "ZLIB",
        Compression::Xz => "XZ",
        Compression::Zstd => "ZSTD",
    };
    let (is_its_own, version) = version(ctx)?;
    let whose = if is_its_own { "The depmod of this root" } else { "The depmod of this system" };
    lacks(&version, feature).then(|| format!("{whose} can not read modules compressed by {kind}"))
}

/// Whether the text of `depmod --version` says that `feature` is left out (kmod 23 and later: `+XZ` or `-XZ`).
fn lacks(version: &str, feature: &str) -> bool {
    version.split_whitespace().any(|word| word.strip_prefix('-') == Some(feature))
}

/// Whether depmod needs a base directory as an argument: the one that holds `lib/modules`. For a module tree
/// that has another name, a temporary base with a link to it is made.
fn base_for(ctx: &Context) -> Result<(Option<OsString>, Option<TemporaryBase>), SystemError> {
    let install = &ctx.trees.install.outer;
    if is_usual(install) {
        return Ok((None, None));
    }
    if install.ends_with("lib/modules") {
        let base = install.parent().and_then(Path::parent).unwrap_or(install);
        return Ok((Some(base.into()), None));
    }
    let base = ctx.trees.own().join(format!("depmod-{}", std::process::id()));
    fs::create_dir_all(base.join("lib"))?;
    let guard = TemporaryBase(base.clone());
    let link = base.join("lib/modules");
    if !link.is_symlink() {
        symlink(install, &link)?;
    }
    Ok((Some(base.into()), Some(guard)))
}

struct TemporaryBase(PathBuf);

impl Drop for TemporaryBase {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Deletes what depmod writes when it found no module: a removed kernel leaves nothing behind.
fn clear_products(dir: &Path) -> Result<(), SystemError> {
    if fs::metadata(dir.join("modules.dep")).map_or(true, |meta| meta.len() > 0) || is_installed(dir) {
        return Ok(());
    }
    for entry in fs::read_dir(dir)? {
        let name = entry?.file_name();
        let text = name.to_string_lossy();
        if PRODUCTS.contains(&text.as_ref()) || (text.starts_with("modules.") && text.ends_with(".bin")) {
            fs::remove_file(dir.join(&name))?;
        }
    }
    // Anything else in there is somebody else's.
    let _ = std::fs::remove_dir(dir);
    Ok(())
}

/// Whether the modules in `dir` are to have an index: they had one, or they are an installed kernel's that has lost it.
pub fn lacks_index(dir: &Path) -> bool {
    dir.join("modules.dep").exists() || is_installed(dir)
}

/// A kernel without modules of its own (all built in) is no removed kernel.
pub(super) fn is_installed(dir: &Path) -> bool {
    ["kernel", "vmlinuz", "modules.order", "modules.builtin"].iter().any(|name| dir.join(name).exists())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_depmod_leaves_out() {
        let with = "kmod version 30\n+ZSTD +XZ +ZLIB +LIBCRYPTO -EXPERIMENTAL\n";
        let without = "kmod version 34\n-ZSTD +XZ -ZLIB +OPENSSL\n";
        for (text, feature, is_lacking) in [
            (with, "ZSTD", false),
            (with, "XZ", false),
            (without, "ZSTD", true),
            (without, "XZ", false),
            (without, "ZLIB", true),
            ("BusyBox v1.37", "XZ", false),
            ("", "ZSTD", false),
        ] {
            assert_eq!(lacks(text, feature), is_lacking, "{feature} in {text:?}");
        }
    }
}
