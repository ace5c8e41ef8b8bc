//! Our own package comes, goes, or makes room for an older program: modules that are installed stay.

use std::collections::{BTreeMap, BTreeSet};

use crate::context::Context;
use crate::error::Error;
use crate::host::initramfs;
use crate::initramfs::list;
use crate::kernel::installed;
use crate::names::Package;
use crate::notice;
use crate::system_error::SystemError;
use crate::tree::beside;
use crate::tree::paths::{IMAGE_LIST, KERNEL_MANIFEST};
use crate::tree::walk::{self, Filter};

/// What is to be said when dkms goes: which modules stay, and how to remove them. Their places in images are seen to.
pub fn going(ctx: &Context) -> Result<Vec<String>, Error> {
    let filter = Filter::default();
    let walk = walk::walk(&ctx.trees, &filter);
    let mut staying: BTreeMap<Package, Vec<String>> = BTreeMap::new();
    for found in beside::unknown_to(&ctx.trees, &filter, &walk) {
        staying.entry(found.package).or_default().push(found.kernel.to_string());
    }
    for entry in walk.packages {
        for built in entry.built.iter().filter(|built| built.installed) {
            staying.entry(entry.package.clone()).or_default().push(built.kernel.to_string());
        }
    }
    let mut lines = Vec::new();
    if !staying.is_empty() {
        lines.push("These modules stay installed, and no later kernel will have them:".to_owned());
        lines.extend(staying.iter().map(|(package, kernels)| format!("    {package}: {}", kernels.join(", "))));
        lines.push("To remove them, install dkms again and run:".to_owned());
        lines.extend(staying.keys().map(|package| format!("    dkms remove {package} --all")));
    }
    let left = leave_images(ctx)?;
    if !left.is_empty() {
        let files = left.iter().map(|file| file.display().to_string()).collect::<Vec<_>>().join(", ");
        lines
            .push(format!("Images for booting need some of them; {files} puts them in. Delete it when they are gone."));
    }
    Ok(lines)
}

/// Takes our files beside the modules away: a program that knows nothing of them does not remove them, and they would keep the
/// directories of removed kernels. What can't be deleted is logged.
pub fn forget_notes(ctx: &Context) {
    for entry in fs_err::read_dir(&ctx.trees.install.outer).into_iter().flatten().flatten() {
        for note in [KERNEL_MANIFEST, IMAGE_LIST] {
            if let Err(error) = crate::durable::remove_any(&entry.path().join(note)) {
                log::warn!("{error}");
            }
        }
    }
}

/// Whether a version of the package `dkms` is a classic one: before 4. An epoch in front does not count.
pub fn is_classic(version: &str) -> bool {
    let upstream = version.split_once(':').map_or(version, |(_, rest)| rest).trim_start();
    let major: String = upstream.chars().take_while(char::is_ascii_digit).collect();
    major.parse::<u32>().is_ok_and(|major| major < 4)
}

/// Has the modules that images need put into them without our hooks; gives the files that do so. Notices name a command that
/// will not be there: they go.
pub fn leave_images(ctx: &Context) -> Result<Vec<std::path::PathBuf>, Error> {
    notice::put(&ctx.trees, None).map_err(SystemError::from)?;
    let kernels = installed::scan(&ctx.trees, &|_, _| false)?;
    let modules: BTreeSet<String> = kernels.iter().flat_map(|kernel| list::read(&ctx.trees, &kernel.release)).collect();
    Ok(initramfs::leave_behind(&ctx.trees.root, &modules)?)
}

/// dkms is there, with its hooks.
pub fn here(ctx: &Context) -> Result<(), Error> {
    Ok(initramfs::take_back(&ctx.trees.root)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn which_program_takes_over() {
        for (version, classic) in [
            ("3.2.2-1~deb13u1", true),
            ("1:2.8-1", true),
            ("dkms: 2.8.4", true),
            ("4.0.0-2", false),
            ("10.1", false),
            ("x", false),
        ] {
            assert_eq!(is_classic(version), classic, "{version}");
        }
    }
}
