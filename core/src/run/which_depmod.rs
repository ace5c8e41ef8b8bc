//! Which depmod makes the index of a root's kernels, and what it goes by.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use crate::context::Context;
use crate::process::{self, Output, Task};

/// Where depmod finds what it is to prefer (depmod.d(5)).
pub(super) const CONFIGURATION: [&str; 5] =
    ["/etc/depmod.d", "/run/depmod.d", "/usr/local/lib/depmod.d", "/usr/lib/depmod.d", "/lib/depmod.d"];

/// A task in the world of that depmod.
pub(super) fn in_its_world(ctx: &Context, argv: Vec<OsString>, is_its_own: bool) -> Task {
    let path = crate::process::DEFAULT_PATH.into();
    if is_its_own {
        let mut task = ctx.world.task(argv, Path::new("/"));
        task.env.insert("PATH".into(), path);
        return task;
    }
    let mut env = ctx.world.environment().clone();
    env.insert("PATH".into(), path);
    Task::new(argv, Path::new("/"), &env)
}

/// What `depmod --version` says, and whether it is the root's own depmod. Asked once a process and root.
pub(super) fn version(ctx: &Context) -> Option<(bool, String)> {
    static KNOWN: Mutex<BTreeMap<PathBuf, (bool, String)>> = Mutex::new(BTreeMap::new());
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    let root = ctx.trees.root.dir();
    if let Some(answer) = known.get(root) {
        return Some(answer.clone());
    }
    let is_its_own = is_roots_own(ctx);
    let end = process::run(in_its_world(ctx, vec!["depmod".into(), "--version".into()], is_its_own)).ok()?;
    known.insert(root.to_owned(), (is_its_own, end.text()));
    known.get(root).cloned()
}

/// Whether a depmod of another root's own makes its index. One of another architecture can't run here, and says so at once.
pub(super) fn is_roots_own(ctx: &Context) -> bool {
    if ctx.trees.root.is_host()
        || !is_usual(&ctx.trees.install.inside)
        || !ctx.world.is_inside()
        || !ctx.world.has("depmod")
    {
        return false;
    }
    let mut task = in_its_world(ctx, vec!["depmod".into(), "--version".into()], true);
    task.output = Output::Null;
    process::run(task).is_ok_and(|end| end.status.success())
}

/// Whether kernels have their modules where depmod looks for them.
pub(super) fn is_usual(install: &Path) -> bool {
    [Path::new("/lib/modules"), Path::new("/usr/lib/modules")].contains(&install)
}
