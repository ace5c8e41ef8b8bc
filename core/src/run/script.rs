//! The scripts of a package (docs/contract.md 4.6).

use std::ffi::OsString;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::context::Context;
use crate::error::Error;
use crate::names::Package;
use crate::process::{self, Environment, Output};
use crate::report::{Event, Reporter};

/// A script that can be run.
#[derive(Debug)]
pub struct Script {
    /// Its directory, which is also the working directory (outer path).
    pub dir: PathBuf,
    /// The directive's text: a file name and arguments.
    pub line: String,
}

/// Finds the script that `line` names: in `/etc/dkms/<m>/` if it is executable there, else in `dir`.
/// `None`, after a warning, if it is not executable or not there: that is no failure.
pub fn find(
    ctx: &Context,
    package: &Package,
    which: &str,
    line: &str,
    dir: &Path,
    reporter: &dyn Reporter,
) -> Option<Script> {
    let file = line.split_whitespace().next()?;
    let runs = |dir: &Path| {
        std::fs::metadata(dir.join(file)).is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
    };
    let local = ctx.trees.outer(Path::new("/etc/dkms").join(&package.name));
    for dir in [&local, dir] {
        if runs(dir) {
            return Some(Script { dir: dir.to_owned(), line: line.to_owned() });
        }
    }
    reporter.report(Event::Line(String::new()));
    reporter.warning(&[&format!("The {which} script is not executable.")]);
    None
}

/// What build and install hand to scripts, besides the environment of this program.
pub fn environment(package: &Package, kernel: &crate::names::Kernel) -> Environment {
    [
        ("kernelver", kernel.release.as_str()),
        ("arch", kernel.arch.as_str()),
        ("module", package.name.as_str()),
        ("module_version", package.version.as_str()),
    ]
    .into_iter()
    .map(|(key, value)| (key.into(), value.into()))
    .collect()
}

/// Runs one of the scripts whose output goes to the terminal, in the source directory; gives its exit status.
pub fn run(
    ctx: &Context,
    package: &Package,
    which: &'static str,
    line: &str,
    extra: &Environment,
    reporter: &dyn Reporter,
) -> Result<i32, Error> {
    let source = ctx.trees.source_of(package);
    let Some(script) = find(ctx, package, which, line, &source, reporter) else { return Ok(0) };
    reporter.line(&format!("\nRunning the {which} script:"));
    // In the source directory by way of the tree's link: what a script's `pwd` says.
    let link = ctx.trees.source_link(package);
    let through_link = script.dir == source && ctx.world.is_inside();
    let called = ctx.world.called(&ctx.trees, if through_link { &link } else { &script.dir });
    let mut words = script.line.split_whitespace();
    let program = called.join(words.next().unwrap_or_default());
    let argv: Vec<OsString> = std::iter::once(program.into_os_string()).chain(words.map(OsString::from)).collect();
    let mut task = ctx.world.task(argv, &called);
    task.env.extend(extra.clone());
    task.env.insert("PWD".into(), called.into_os_string());
    task.output = if ctx.options.quiet { Output::Null } else { Output::Inherit };
    match process::run(task) {
        Ok(end) => Ok(end.code()),
        // As a shell has it: there was a script, and it did not succeed.
        Err(error @ process::ProcessError::Start { .. }) => {
            reporter.warning(&[&format!("The {which} script can't be run: {error}")]);
            Ok(126)
        }
        Err(error) => Err(error.into()),
    }
}
