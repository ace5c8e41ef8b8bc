//! The last word of a run of apt or dpkg: what it came to for each kernel, said once, when all is over.
//!
//! Hooks and maintainer scripts only add to what is kept in `<tree>/.dkms/summary.json`. apt has it said after its last
//! call of dpkg (`DPkg::Post-Invoke`); where dpkg is run by hand, our trigger is the end.

use std::path::PathBuf;

use dkms_core::context::Context;
use dkms_core::diagnosis::summary::Summary;
use dkms_core::durable;
use dkms_core::event;
use dkms_core::host::boot_loader;
use dkms_core::names::Release;
use dkms_core::tree::Trees;

use crate::streams;

fn path(trees: &Trees) -> PathBuf {
    trees.state("summary.json")
}

/// Keeps `summary` until the end, for which the caller asks; outside of dpkg this is the end.
pub fn keep(ctx: &Context, summary: Summary) {
    if ctx.machine.maintainer_script.is_none() {
        print(&ctx.trees, &summary);
        return;
    }
    let mut all = load(&ctx.trees);
    all.merge(summary);
    if let Err(error) = store(&ctx.trees, &all) {
        log::warn!("{error}");
        print(&ctx.trees, &all);
    }
}

/// The end of dpkg's run, unless apt has the last word.
pub fn end_of_dpkg(ctx: &Context) {
    // apt-pkg sets it for the dpkg that it runs (dpkg(1), "ENVIRONMENT").
    if streams::variable("DPKG_FRONTEND_LOCKED").is_none() {
        say(&ctx.trees);
    }
}

/// The end of apt's run. Never fails: apt would stop.
pub fn run() -> u8 {
    if let Ok(ctx) = event::surroundings(false) {
        say(&ctx.trees);
    }
    0
}

/// Says what was kept, once.
fn say(trees: &Trees) {
    if !path(trees).exists() {
        return;
    }
    let mut summary = load(trees);
    summary.retain(|release| trees.modules_dir(release).is_dir());
    print(trees, &summary);
    // Where apt has no terminal (PackageKit), this is all that remains of what was said.
    summary.log(trees, boot_loader::next(trees).as_ref());
    if let Err(error) = durable::remove_any(&path(trees)) {
        log::warn!("{error}");
    }
}

fn print(trees: &Trees, summary: &Summary) {
    let lines = summary.lines(boot_loader::next(trees).as_ref());
    if !lines.is_empty() {
        streams::say(format!("\n{}", lines.join("\n")));
    }
}

/// Whether `release` had its turn in this run.
pub fn has(trees: &Trees, release: &Release) -> bool {
    load(trees).has(release)
}

/// What was kept; nothing if that is of no use.
fn load(trees: &Trees) -> Summary {
    let text = std::fs::read(path(trees)).unwrap_or_default();
    serde_json::from_slice(&text).unwrap_or_default()
}

fn store(trees: &Trees, summary: &Summary) -> Result<(), Box<dyn std::error::Error>> {
    durable::own_dirs(&trees.own())?;
    durable::write_atomic(&path(trees), &serde_json::to_vec(summary)?, 0o644)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixDatagram;

    use super::*;
    use dkms_core::root::Root;

    #[test]
    fn what_is_kept_is_said_once() {
        let tmp = tempfile::tempdir().unwrap();
        let trees = Trees::new(Root::at(tmp.path()).unwrap());
        fs_err::create_dir_all(&trees.dkms.outer).unwrap();
        let mut summary = Summary::default();
        summary.note("one".to_owned());
        store(&trees, &summary).unwrap();
        assert_eq!(load(&trees), summary);
        fs_err::create_dir(tmp.path().join("dev")).unwrap();
        let log = UnixDatagram::bind(tmp.path().join("dev/log")).unwrap();
        say(&trees);
        let mut bytes = [0; 99];
        let heading = log.recv(&mut bytes).unwrap();
        assert_eq!(&bytes[..heading], b"<29>dkms: DKMS summary");
        assert!(!path(&trees).exists());
        fs_err::write(path(&trees), "rubbish").unwrap();
        assert_eq!(load(&trees), Summary::default());
    }
}
