//! Weak modules: where a vendor keeps its kernels' symbols the same for years (RHEL's and SUSE's kABI), kernels may share
//! one build through links in `<install tree>/<K>/weak-updates/`. The vendor's program makes and removes the links; we
//! hand it our files, and see to it that no kernel gets a build made for a newer one, which that program would allow:
//! equal symbols do not make equal structures.
//!
//! What we pass to these programs, and when, follows from their source (kmod's `weak-modules` of RHEL 9,
//! suse-module-tools' `weak-modules2`): absolute paths below `/lib/modules`, one a line; new modules when they are in
//! place, removed ones when they are gone, since a link whose target can still be read is taken for one in use.

pub mod links;

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::context::Context;
use crate::host::WeakProgram;
use crate::kernel::version;
use crate::names::Kernel;
use crate::process;
use crate::report::Reporter;
use crate::run::depmod;
use crate::run::session::WeakModules;

/// Where both look for kernels, and expect modules to be: nowhere else.
const PLACES: [&str; 2] = ["/lib/modules", "/usr/lib/modules"];
/// Where SUSE's program makes its temporary directory. When it can't, it goes on and writes to the root directory.
const SUSE_SCRATCH: &str = "/var/tmp";

/// What is done to the links.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    /// Modules were installed.
    Add,
    /// Modules are gone.
    Remove,
}

/// Tells the vendor's program of the modules that a run has installed, once for each kernel, the oldest first: what
/// comes last counts. Then the links that policy does not allow are taken away.
pub fn added(ctx: &Context, pending: WeakModules, reporter: &dyn Reporter) {
    let mut kernels: Vec<_> = pending.into_iter().collect();
    kernels.sort_by(|(a, _), (b, _)| version::by_age(a.release.as_str(), b.release.as_str()));
    let mut has_run = false;
    for (kernel, files) in kernels {
        has_run |= tell(ctx, &kernel, &files, What::Add, reporter);
    }
    if has_run {
        links::tidy(ctx, reporter);
    }
}

/// Tells the vendor's program that `files` (below the kernel's directory) are gone, and sees to it that no link to them is
/// left. `wanted`: the package has weak modules at all.
pub fn removed(ctx: &Context, kernel: &Kernel, files: &[PathBuf], wanted: bool, reporter: &dyn Reporter) {
    let before = links::to(&ctx.trees, &kernel.release, files);
    if wanted && tell(ctx, kernel, files, What::Remove, reporter) || !before.is_empty() {
        depmod::changed(ctx, &kernel.release);
    }
    links::drop_dangling(ctx, &before, reporter);
}

/// Nothing is done where there is no such program, or where the caller's `NO_WEAK_MODULES` does not want it. Its failure
/// is told and no more: the kernel that the modules were built for has them. Gives whether the program was run.
fn tell(ctx: &Context, kernel: &Kernel, files: &[PathBuf], what: What, reporter: &dyn Reporter) -> bool {
    if ctx.machine.no_weak_modules || files.is_empty() {
        return false;
    }
    let install = &ctx.trees.install.inside;
    // The programs know one module tree. Of a root that has no tools we would ask our own system's.
    let known = PLACES.iter().any(|place| install == Path::new(place)) && ctx.world.is_inside();
    let Some(call) = known.then(|| Call::new(ctx, kernel, what)).flatten() else { return false };
    if call.needs.is_some_and(|dir| rustix::fs::access(ctx.trees.outer(dir), rustix::fs::Access::WRITE_OK).is_err()) {
        log::info!("{SUSE_SCRATCH} can't be written: {} is not called", call.argv[0].to_string_lossy());
        return false;
    }
    reporter.line(&match what {
        What::Add => "Adding linked weak modules...",
        What::Remove => "Removing linked weak modules...",
    });
    let mut task = ctx.world.task(&call.argv, Path::new("/"));
    task.env.extend(call.environment.iter().map(|(key, value)| (key.into(), value.into())));
    task.input = Some(list(kernel, files).into_bytes());
    let end = process::run(task);
    // It makes and deletes links beside other kernels' modules.
    ctx.trees.changed(&ctx.trees.install.outer);
    match end {
        Ok(end) if end.status.success() => {}
        Ok(end) => reporter.warning(&[&format!(
            "{} failed for kernel {kernel} (status {}): {}",
            call.argv[0].to_string_lossy(),
            end.code(),
            end.text().trim()
        )]),
        Err(error) => reporter.warning(&[&error]),
    }
    true
}

/// The modules as the programs compare them: by the beginning `/lib/modules/<K>/`, however the tree is reached here.
fn list(kernel: &Kernel, files: &[PathBuf]) -> String {
    let dir = Path::new(PLACES[0]).join(&kernel.release);
    files.iter().map(|file| format!("{}\n", dir.join(file).display())).collect()
}

/// How the vendor's program is called.
#[derive(Debug, PartialEq, Eq)]
struct Call {
    argv: Vec<OsString>,
    environment: &'static [(&'static str, &'static str)],
    /// A directory that it must be able to write to.
    needs: Option<&'static str>,
}

impl Call {
    /// The program of this distribution, if it is there.
    fn new(ctx: &Context, kernel: &Kernel, what: What) -> Option<Self> {
        let whose = ctx.distribution.weak_modules()?;
        let program = whose.places().into_iter().find(|place| ctx.world.has(place))?;
        Some(match whose {
            WeakProgram::Rhel => Self::rhel(program, what),
            WeakProgram::Suse => Self::suse(program, kernel, what),
        })
    }

    /// Images are renewed by us, at the end; without the option it refuses to work where there is no dracut.
    fn rhel(program: &str, what: What) -> Self {
        let verb = if what == What::Add { "--add-modules" } else { "--remove-modules" };
        Self { argv: vec![program.into(), verb.into(), "--no-initramfs".into()], environment: &[], needs: None }
    }

    /// It never links our modules to other kernels: only those of rpm packages called `*-kmp-<flavour>`. What it is
    /// told is that a kernel has other modules than before, as a kernel's subpackages tell it, for which it looks again
    /// which of those packages fit. The variables keep it from making an initramfs for each package: the first when
    /// modules come (it leaves a note for the end of zypper's run), the second also when they go (it would every time).
    fn suse(program: &str, kernel: &Kernel, what: What) -> Self {
        let verb = if what == What::Add { "--add-kernel-modules" } else { "--remove-kernel-modules" };
        Self {
            argv: vec![program.into(), verb.into(), kernel.release.as_str().into()],
            environment: &[("INITRD_IN_POSTTRANS", "1"), ("DRACUT", "/bin/true")],
            needs: Some(SUSE_SCRATCH),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_programs_are_told() {
        let kernel = Kernel::new("6.4.0-1-default", "x86_64").unwrap();
        let words =
            |call: Call| call.argv.iter().map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ");
        assert_eq!(words(Call::rhel("w", What::Add)), "w --add-modules --no-initramfs");
        assert_eq!(words(Call::rhel("w", What::Remove)), "w --remove-modules --no-initramfs");
        assert_eq!(words(Call::suse("w", &kernel, What::Add)), "w --add-kernel-modules 6.4.0-1-default");
        assert_eq!(words(Call::suse("w", &kernel, What::Remove)), "w --remove-kernel-modules 6.4.0-1-default");
        let files = ["updates/a.ko.zst", "updates/deep/b.ko"].map(PathBuf::from);
        assert_eq!(
            list(&kernel, &files),
            "/lib/modules/6.4.0-1-default/updates/a.ko.zst\n/lib/modules/6.4.0-1-default/updates/deep/b.ko\n"
        );
    }
}
