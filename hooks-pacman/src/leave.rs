//! Before a transaction: modules whose source goes for good are removed while the source is still there (their scripts
//! are in it, and dkms itself may go with it). What is replaced stays until its replacement is in place.

use std::collections::BTreeSet;

use dkms_core::error::Error;
use dkms_core::report::Reporter;
use dkms_core::tree::Trees;

use crate::targets::Targets;
use crate::{core, sources};

/// Removes the packages of `targets` that `incoming` does not replace; gives an exit code.
pub fn leave(
    trees: &Trees,
    targets: &Targets,
    incoming: &BTreeSet<String>,
    no_depmod: bool,
    reporter: &dyn Reporter,
) -> Result<u8, Error> {
    let mut worst = 0;
    for (directory, entry) in sources::registered(trees) {
        if !targets.sources.contains(&directory) || sources::replaces(incoming, &entry.package) {
            continue;
        }
        let package = entry.package.to_string();
        reporter.line(&format!("==> dkms remove {package} --all"));
        let mut words = vec!["remove", &package, "--all"];
        if no_depmod {
            words.push("--no-depmod");
        }
        worst = worst.max(core::dkms(&words, reporter));
    }
    Ok(worst)
}
