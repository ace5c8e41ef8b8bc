//! The rpm family's front: it turns what kernel-install, rpm's file triggers, dnf5's actions and dnf4's plugin say into
//! events for the core, and tells them what they have to know before a transaction. It decides nothing about building.
//!
//! | room | called by | does |
//! |---|---|---|
//! | [`kernel_install`] | `40-dkms.install` | a kernel comes or goes |
//! | [`trigger`] | rpm's file triggers, once a transaction | wakes the core up |
//! | [`postinst`] | `common.postinst`, which some packages' scriptlets call | registers a package, wakes the core up |
//! | [`own_package`] | our own package's scriptlets | modules that stay when it goes |
//! | [`dnf5`] | the actions file, in JSON mode | preflight, and the summary |
//! | [`dnf4`] | the Python plugin | the same |
//! | [`files`], [`contents`] | both | what the packages' files say, where they are there |
//! | [`transaction`] | both | which kernels, headers and module packages come |
//! | [`preflight`] | both | what will go wrong with them |

pub mod contents;
pub mod dnf4;
pub mod dnf5;
pub mod files;
pub mod kernel_install;
pub mod own_package;
pub mod postinst;
pub mod preflight;
#[cfg(test)]
#[path = "../../tests/fronts/preflight_table.rs"]
mod preflight_table;
mod run;
mod say;
pub mod transaction;
pub mod trigger;

use std::process::ExitCode;

use dkms_core::cli::surroundings;
use dkms_core::probes;

use say::say;

/// How this program is used.
const USAGE: &str = "usage: dkms-rpm kernel-install add|remove KERNEL...
       dkms-rpm postinst NAME VERSION [TARBALL_ROOT]
       dkms-rpm trigger | package-installed | package-going | package-replaced VERSION
       dkms-rpm dnf5 goal-resolved|pre-transaction|post-transaction
       dkms-rpm dnf4 preflight|summary";

/// The whole program.
pub fn main() -> ExitCode {
    let words = surroundings::words();
    if let Some(code) = probes::stage(&words) {
        return code;
    }
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    let words: Vec<String> = words.iter().map(|word| word.to_string_lossy().into_owned()).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    ExitCode::from(match words.as_slice() {
        ["kernel-install", rest @ ..] => kernel_install::main(rest),
        ["postinst", rest @ ..] => postinst::main(rest),
        ["trigger", ..] => trigger::main(),
        ["package-installed"] => own_package::installed(),
        ["package-going"] => own_package::going(),
        ["package-replaced", now] => own_package::replaced(now),
        ["dnf5", "goal-resolved", ..] => dnf5::look(false),
        ["dnf5", "pre-transaction", ..] => dnf5::look(true),
        ["dnf5", "post-transaction", ..] => dnf5::post_transaction(),
        ["dnf4", "preflight", ..] => dnf4::preflight(),
        ["dnf4", "summary", ..] => dnf4::summary(),
        _ => {
            say(USAGE);
            2
        }
    })
}
