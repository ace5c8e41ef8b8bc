//! Modules of distribution packages that `dkms mkpkg --binaries` made: links below the kernel's `updates/prebuilt/`
//! into `/usr/lib/dkms-prebuilt/NAME/K/`. They step aside where DKMS installs the package NAME itself, since two copies
//! below `updates/` would leave it to chance which of them depmod takes, and come back when DKMS takes its own out.

use std::path::{Path, PathBuf};

use crate::archive::layout::module_name;
use crate::context::Context;
use crate::journal::Change;
use crate::names::{Kernel, Name};
use crate::report::Reporter;

/// Where the links are, below the kernel's modules directory.
pub const LINKS: &str = "updates/prebuilt";
/// Where the modules are, as an inside path.
pub const STORE: &str = "/usr/lib/dkms-prebuilt";

/// The directory of the modules that such a package brings for `kernel`, as an inside path.
fn store(name: &Name, kernel: &Kernel) -> PathBuf {
    Path::new(STORE).join(name).join(&kernel.release)
}

/// Whether `path` (below the kernel's modules directory) is the link of such a package of the same name.
pub fn is_link(ctx: &Context, name: &Name, kernel: &Kernel, path: &Path) -> bool {
    let target = std::fs::read_link(ctx.trees.modules_dir(&kernel.release).join(path));
    path.starts_with(LINKS) && target.is_ok_and(|target| target.starts_with(store(name, kernel)))
}

/// Stages the removal of the links.
pub fn step_aside(ctx: &Context, change: &mut Change<'_>, name: &Name, kernel: &Kernel, reporter: &dyn Reporter) {
    let modules = ctx.trees.modules_dir(&kernel.release);
    let links = modules.join(LINKS);
    for leaf in names(&links) {
        if is_link(ctx, name, kernel, &Path::new(LINKS).join(&leaf)) {
            let shown = ctx.trees.shown(&links.join(&leaf));
            reporter.line(&format!("The prebuilt module {} steps aside", shown.display()));
            change.remove_file(&links.join(&leaf));
        }
    }
    change.prune_empty_dirs(&links, &modules);
}

/// Stages the links again.
pub fn come_back(ctx: &Context, change: &mut Change<'_>, name: &Name, kernel: &Kernel, reporter: &dyn Reporter) {
    let store = store(name, kernel);
    let links = ctx.trees.modules_dir(&kernel.release).join(LINKS);
    for leaf in names(&ctx.trees.outer(&store)).into_iter().filter(|leaf| module_name(leaf).is_some()) {
        let to = links.join(&leaf);
        if !to.exists() {
            reporter.line(&format!("The prebuilt module {} takes its place", ctx.trees.shown(&to).display()));
            change.stage_symlink(store.join(&leaf), &to);
        }
    }
}

/// The names in a directory, sorted; none if it can't be read.
fn names(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort();
    names
}
