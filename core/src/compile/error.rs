//! What keeps a source from being built.

use std::path::PathBuf;

use super::diagnostic::Diagnostic;
use crate::conf::misspelt::Misspelt;
use crate::names::{Kernel, Package};
use crate::system_error::{SystemError, from_system_error};
use crate::{facts, finish};

/// Why a source was not built.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A patch that would leave the patches directory.
    #[error("Patch {0} as specified in dkms.conf contains '..' path component.")]
    PatchPath(String),
    /// A patch that is not there.
    #[error("Patch {patch} as specified in dkms.conf cannot be found in {}.", dir.display())]
    PatchMissing {
        /// Its name.
        patch: String,
        /// Where it should be.
        dir: PathBuf,
    },
    /// A patch that does not apply.
    #[error("Application of patch {patch} failed.{}\nConsult {} for more information.", one_more(why.as_ref()), log.display())]
    PatchFailed {
        /// Its name.
        patch: String,
        /// Which file and hunk, in a line.
        why: Option<String>,
        /// The log.
        log: PathBuf,
    },
    /// A script of the package failed.
    #[error("The {script} script of {package} failed with exit status {code}.{}{}{}", said.iter().map(|line| format!("\n{line}")).collect::<String>(), log.as_ref().map(|log| format!("\nConsult {} for more information.", log.display())).unwrap_or_default(), one_more(advice.as_ref()))]
    Script {
        /// Which script.
        script: &'static str,
        /// The package.
        package: Package,
        /// Its exit status.
        code: i32,
        /// The last lines that it wrote to the log.
        said: Vec<String>,
        /// The log, if its output went there.
        log: Option<PathBuf>,
        /// What may help, in a line.
        advice: Option<String>,
    },
    /// make failed.
    #[error(
        "Bad return status for module build on kernel: {kernel}{}\nConsult {} for more information.{}", diagnostic.as_ref().map(|d| format!("\n{}", d.text)).unwrap_or_default(), log.display(), one_more(advice.as_ref())
    )]
    Make {
        /// The kernel.
        kernel: Kernel,
        /// The first thing that went wrong.
        diagnostic: Option<Diagnostic>,
        /// The log.
        log: PathBuf,
        /// What may help, in a line.
        advice: Option<String>,
    },
    /// A command of a build was ended for taking too long.
    #[error(
        "{command} of {package} for kernel {kernel} was ended after {}: it may never end by itself.\nConsult {} for more information. If it needs longer, set build_time_limit in /etc/dkms/framework.conf.", duration(*.limit), log.display()
    )]
    TooLong {
        /// What was done ("Building module(s)").
        command: String,
        /// The package.
        package: Package,
        /// The kernel.
        kernel: Kernel,
        /// How long it was let.
        limit: std::time::Duration,
        /// The log.
        log: PathBuf,
    },
    /// make succeeded without making a module.
    #[error(
        "Build of {module} failed for: {kernel}\nmake succeeded, but did not produce it. {}\nMake sure the name and location of the generated module are correct,\nor consult {} for more information.{}", instead(produced, slips), log.display(), one_more(advice.as_ref())
    )]
    NotProduced {
        /// The module, relative to the build directory.
        module: String,
        /// The modules that are there instead, relative to the build directory.
        produced: Vec<PathBuf>,
        /// Names in dkms.conf that are nearly a directive's.
        slips: Vec<Misspelt>,
        /// The kernel.
        kernel: Kernel,
        /// The log.
        log: PathBuf,
        /// What may help, in a line.
        advice: Option<String>,
    },
    /// The share lacks it, and this machine does not build.
    #[error("The share has no build of {package} for kernel {kernel}, and build_locally=\"never\" is set in /etc/dkms/framework.conf.{}", one_more(why.as_ref()))]
    NotShared {
        /// The package.
        package: Package,
        /// The kernel.
        kernel: Kernel,
        /// Why nothing came from it, in a line, if it is more than that it has none.
        why: Option<String>,
    },
    /// The modules did not become an artefact.
    #[error(transparent)]
    Finish(#[from] finish::Error),
    /// A fact is not known, or not fit.
    #[error(transparent)]
    Facts(#[from] facts::Error),
    /// What any room may meet.
    #[error(transparent)]
    System(SystemError),
}

from_system_error!(Error);

/// "3 h", "90 min" or "5 s".
fn duration(time: std::time::Duration) -> String {
    match time.as_secs() {
        seconds if seconds % 3600 == 0 => format!("{} h", seconds / 3600),
        seconds if seconds % 60 == 0 => format!("{} min", seconds / 60),
        seconds => format!("{seconds} s"),
    }
}

/// A line more, if there is one.
fn one_more(line: Option<&String>) -> String {
    line.map(|line| format!("\n{line}")).unwrap_or_default()
}

/// What make produced instead of a module that it should have.
fn instead(produced: &[PathBuf], slips: &[Misspelt]) -> String {
    /// More would hide the rest of the message.
    const SHOWN: usize = 5;
    if !slips.is_empty() {
        let slips: Vec<String> = slips.iter().map(ToString::to_string).collect();
        return format!("dkms.conf, {}", slips.join("\ndkms.conf, "));
    }
    if produced.is_empty() {
        return "It produced no module at all: does its Makefile set obj-m for this kernel?".to_owned();
    }
    let names: Vec<String> = produced.iter().take(SHOWN).map(|path| path.display().to_string()).collect();
    let more = if produced.len() > SHOWN { format!(" and {} more", produced.len() - SHOWN) } else { String::new() };
    format!(
        "It produced {}{more}: BUILT_MODULE_NAME and BUILT_MODULE_LOCATION in dkms.conf must say so.",
        names.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::instead;

    #[test]
    fn what_make_produced_instead_is_named() {
        let names = |count: u32| (0..count).map(|n| format!("sub/m{n}.ko").into()).collect::<Vec<std::path::PathBuf>>();
        assert!(instead(&[], &[]).contains("no module at all"));
        assert!(instead(&names(2), &[]).starts_with("It produced sub/m0.ko, sub/m1.ko: "));
        assert!(instead(&names(9), &[]).contains("sub/m4.ko and 4 more: "));
        let slips = crate::conf::misspelt::misspelt("BUILD_MODULE_NAME=x");
        assert!(instead(&names(1), &slips).starts_with("dkms.conf, line 1: BUILD_MODULE_NAME is not a directive"));
    }
}
