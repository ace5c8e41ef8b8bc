//! Making modules.dep and its companions anew: depmod(8), once per kernel and run.
//!
//! Between a change beside a kernel's modules and its depmod a run may be killed. So before the change a note
//! is left in `<tree>/.dkms/depmod/`, which depmod's success removes; the next run finds those of dead runs.

use std::ffi::OsString;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use fs_err as fs;

use crate::context::Context;
use crate::durable::{self, FileError};
use crate::error::Error;
use crate::journal::{Change, JournalError};
use crate::names::Release;
use crate::process::{self, Task};

/// The files that depmod writes, besides `modules.*.bin`.
const PRODUCTS: &[&str] =
    &["modules.alias", "modules.dep", "modules.devname", "modules.softdep", "modules.symbols", "modules.weakdep"];

/// What running depmod came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Depmod {
    /// It was run.
    Done,
    /// `modules.dep` is missing: a kernel that is not installed, or half gone.
    Skipped,
    /// It failed; what it said.
    Failed(String),
}

/// Commits a change beside the modules of `release`, after a durable note that this kernel is owed a depmod; no note
/// with `--no-depmod`, whose caller sees to it. A change that was not made leaves none.
pub fn commit(ctx: &Context, release: &Release, change: Change<'_>) -> Result<(), JournalError> {
    let note = if ctx.options.no_depmod { None } else { note(ctx, release)? };
    let done = change.commit();
    if let (Some(note), Err(error)) = (note, &done) {
        if !matches!(error, JournalError::Stuck { .. }) {
            let _ = durable::remove_any(&note);
        }
    }
    done
}

/// The note's path, if it was not there already.
fn note(ctx: &Context, release: &Release) -> Result<Option<PathBuf>, FileError> {
    let dir = notes_dir(ctx);
    durable::own_dirs(&dir)?;
    let path = dir.join(format!("{release}@{}", std::process::id()));
    if path.exists() {
        return Ok(None);
    }
    durable::write_atomic(&path, b"", 0o600)?;
    Ok(Some(path))
}

/// The kernels that runs which are no more owe a depmod.
pub fn owed(ctx: &Context) -> Vec<Release> {
    notes(ctx).into_iter().filter(Note::is_dead).map(|note| note.release).collect()
}

struct Note {
    path: PathBuf,
    release: Release,
    pid: u32,
}

impl Note {
    fn is_dead(&self) -> bool {
        !Path::new("/proc").join(self.pid.to_string()).exists()
    }
}

fn notes_dir(ctx: &Context) -> PathBuf {
    ctx.trees.own().join("depmod")
}

fn notes(ctx: &Context) -> Vec<Note> {
    let read = |path: PathBuf| {
        let name = path.file_name()?.to_str()?;
        let (release, pid) = name.rsplit_once('@')?;
        let (release, pid) = (Release::new(release).ok()?, pid.parse().ok()?);
        Some(Note { path, release, pid })
    };
    std::fs::read_dir(notes_dir(ctx)).into_iter().flatten().flatten().filter_map(|entry| read(entry.path())).collect()
}

/// Runs depmod for the kernel `release`, and clears its products away when no module is left.
pub fn run(ctx: &Context, release: &Release) -> Result<Depmod, Error> {
    // Listed before: what another run notes from now on, this depmod may have missed.
    let settled: Vec<Note> = notes(ctx)
        .into_iter()
        .filter(|note| note.release == *release && (note.pid == std::process::id() || note.is_dead()))
        .collect();
    let done = run_now(ctx, release)?;
    if !matches!(done, Depmod::Failed(_)) {
        for note in settled {
            durable::remove_any(&note.path).map_err(JournalError::File)?;
        }
    }
    Ok(done)
}

fn run_now(ctx: &Context, release: &Release) -> Result<Depmod, Error> {
    let dir = ctx.trees.modules_dir(release);
    if !dir.join("modules.dep").exists() {
        return Ok(Depmod::Skipped);
    }
    let (base, _guard) = base_for(ctx)?;
    let mut argv: Vec<OsString> = vec!["depmod".into(), "-a".into()];
    if let Some(base) = &base {
        argv.extend(["-b".into(), base.clone()]);
    }
    let map = ctx.trees.outer(format!("/boot/System.map-{release}"));
    if map.exists() {
        argv.extend(["-F".into(), map.into()]);
    }
    argv.push(release.as_str().into());
    // Our own depmod serves every root: its files are the same, and a root of another architecture can't run its own.
    let mut env = ctx.world.environment().clone();
    env.insert("PATH".into(), crate::process::DEFAULT_PATH.into());
    let end = process::run(Task::new(argv, Path::new("/"), &env))?;
    if !end.status.success() {
        let text = end.text();
        let text = text.trim();
        return Ok(Depmod::Failed(if text.is_empty() {
            format!("it exited with status {}", end.code())
        } else {
            text.to_owned()
        }));
    }
    clear_products(&dir)?;
    Ok(Depmod::Done)
}

/// Whether depmod must be told a base directory: the one that holds `lib/modules`. For a module tree
/// that has another name, a temporary base with a link to it is made.
fn base_for(ctx: &Context) -> Result<(Option<OsString>, Option<TemporaryBase>), Error> {
    let install = &ctx.trees.install.outer;
    if install == Path::new("/lib/modules") || install == Path::new("/usr/lib/modules") {
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
fn clear_products(dir: &Path) -> Result<(), Error> {
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

/// A kernel without modules of its own (all built in) is no removed kernel.
fn is_installed(dir: &Path) -> bool {
    ["kernel", "vmlinuz", "modules.order", "modules.builtin"].iter().any(|name| dir.join(name).exists())
}
