//! `modprobe_on_install`: loading what matches this machine's devices, once new modules are in place.

use std::collections::BTreeSet;
use std::path::Path;

use crate::context::Context;
use crate::durable;
use crate::names::Release;
use crate::process::{self, Output};

/// How many aliases one modprobe gets: a command line holds 128 KiB at least (execve(2)).
const AT_ONCE: usize = 500;

/// Loads the modules that match the devices of this machine, if `installed` holds its running kernel and this is `wanted`,
/// here or by the options. Nothing of it can fail an installation.
pub fn load_matching<'a>(ctx: &Context, wanted: bool, installed: impl IntoIterator<Item = &'a Release>) {
    let running = ctx.machine.running.as_ref();
    let wanted = wanted || ctx.options.modprobe_on_install;
    let here = wanted && ctx.trees.root.is_host() && !ctx.machine.in_chroot;
    if !here || !installed.into_iter().any(|release| Some(release) == running) {
        return;
    }
    let aliases: Vec<String> = aliases(&ctx.trees.outer("/sys/devices")).into_iter().collect();
    for some in aliases.chunks(AT_ONCE) {
        quietly(ctx, ["modprobe", "-a", "-b", "-q"].into_iter().chain(some.iter().map(String::as_str)));
    }
    if ctx.trees.outer("/lib/systemd/system/systemd-modules-load.service").exists() {
        quietly(ctx, ["systemctl", "restart", "systemd-modules-load.service"]);
    }
}

fn quietly<'a>(ctx: &Context, argv: impl IntoIterator<Item = &'a str>) {
    let mut task = ctx.world.task(argv, Path::new("/"));
    task.output = Output::Null;
    if let Err(error) = process::run(task) {
        log::warn!("{error}");
    }
}

/// Every `modalias` below `dir` (sysfs.txt of the kernel's documentation), each once.
fn aliases(dir: &Path) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut dirs = vec![dir.to_owned()];
    while let Some(dir) = dirs.pop() {
        // Devices come and go while we look.
        for entry in std::fs::read_dir(&dir).into_iter().flatten().flatten() {
            let Ok(kind) = entry.file_type() else { continue };
            if kind.is_dir() {
                dirs.push(entry.path());
            } else if entry.file_name() == "modalias" {
                let text = durable::text(&entry.path()).unwrap_or_default();
                found.extend(Some(text.trim().to_owned()).filter(|text| !text.is_empty()));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_alias_once_and_links_not_followed() {
        let tmp = tempfile::tempdir().unwrap();
        for (dir, alias) in [("pci/0", "pci:v1"), ("pci/1", "pci:v1"), ("usb", "usb:v2"), ("none", "")] {
            fs_err::create_dir_all(tmp.path().join(dir)).unwrap();
            fs_err::write(tmp.path().join(dir).join("modalias"), format!("{alias}\n")).unwrap();
        }
        std::os::unix::fs::symlink(tmp.path(), tmp.path().join("loop")).unwrap();
        assert_eq!(aliases(tmp.path()).into_iter().collect::<Vec<_>>(), ["pci:v1", "usb:v2"]);
    }
}
