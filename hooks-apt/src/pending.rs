//! What is left to be done at the end of dpkg's run: kernels by name, as empty files in `<tree>/.dkms/pending`. Written
//! before a kernel's turn begins, so that a killed run is taken up by the next one.

use std::path::PathBuf;

use dkms_core::context::Context;
use dkms_core::durable;
use dkms_core::host::dpkg;
use dkms_core::names::Release;
use dkms_core::reconcile::Initramfs;
use dkms_core::tree::Trees;

fn dir(trees: &Trees) -> PathBuf {
    trees.state("pending")
}

/// Notes that `release` is to be looked at again.
pub fn note(trees: &Trees, release: &Release) {
    let path = dir(trees).join(release.as_str());
    let noted = durable::own_dirs(&dir(trees)).and_then(|()| durable::write_atomic(&path, b"", 0o644));
    if let Err(error) = noted {
        log::warn!("{error}");
    }
}

/// Asks dpkg to call our package at the end of its run. Outside of maintainer scripts there is nobody to ask.
pub fn ask_for_end_of_run(ctx: &Context) {
    if ctx.machine.maintainer_script.is_some() {
        dpkg::ask_for_end_of_run(&ctx.world);
    }
}

/// Who renews the images of kernels whose modules change now: [`crate::end_of_run`], for all packages of dpkg's run at once. Outside of
/// maintainer scripts there is no such end.
pub fn initramfs(ctx: &Context) -> Initramfs {
    if ctx.machine.maintainer_script.is_some() { Initramfs::AtEnd } else { Initramfs::Auto }
}

/// Forgets `release`.
pub fn forget(trees: &Trees, release: &Release) {
    if let Err(error) = durable::remove_any(&dir(trees).join(release.as_str())) {
        log::warn!("{error}");
    }
}

/// The kernels to look at again.
pub fn list(trees: &Trees) -> Vec<Release> {
    let Ok(entries) = fs_err::read_dir(dir(trees)) else { return Vec::new() };
    let mut found: Vec<Release> = entries
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| !name.starts_with('.'))
        .filter_map(|name| Release::new(name).ok())
        .collect();
    found.sort();
    found
}

/// Whether dpkg has configured our own package: until then, and after it was taken out of use, hooks only take notes.
pub fn is_ready(trees: &Trees) -> bool {
    ready(trees).exists()
}

/// Says so.
pub fn set_ready(trees: &Trees, is_ready: bool) {
    let path = ready(trees);
    let done = if is_ready {
        durable::own_dirs(&trees.own()).and_then(|()| durable::write_atomic(&path, b"", 0o644))
    } else {
        durable::remove_any(&path)
    };
    if let Err(error) = done {
        log::warn!("{error}");
    }
}

fn ready(trees: &Trees) -> PathBuf {
    trees.state("dpkg-configured")
}

#[cfg(test)]
mod tests {
    use super::*;
    use dkms_core::root::Root;

    #[test]
    fn notes_outlive_the_run() {
        let tmp = tempfile::tempdir().unwrap();
        let trees = Trees::new(Root::at(tmp.path()).unwrap());
        fs_err::create_dir_all(&trees.dkms.outer).unwrap();
        assert!(list(&trees).is_empty() && !is_ready(&trees));
        let [one, two] = ["6.1.0-9-amd64", "6.12.1+deb13"].map(|name| Release::new(name).unwrap());
        note(&trees, &two);
        note(&trees, &one);
        note(&trees, &two);
        assert_eq!(list(&trees), [one.clone(), two.clone()]);
        forget(&trees, &one);
        assert_eq!(list(&trees), [two]);
        set_ready(&trees, true);
        assert!(is_ready(&trees));
        set_ready(&trees, false);
        set_ready(&trees, false);
        assert!(!is_ready(&trees));
    }
}
