//! Making a kernel's image anew with the system's generator, and looking into it with the generator's own lister.

use std::path::{Path, PathBuf};

use super::list;
use crate::context::Context;
use crate::host::headers_package::pkgbase;
use crate::host::initramfs::{Tool, image};
use crate::kernel::installed;
use crate::names::{Release, is_same_module};
use crate::process::{self, Output};
use crate::tree::manifest::KernelManifest;

/// The image of an installed kernel. A generator would make one for a kernel that is gone, too (update-initramfs ends with 0).
pub fn of(ctx: &Context, release: &Release) -> Option<PathBuf> {
    let is_there = installed::is_there(&ctx.trees, release);
    is_there.then(|| image(&ctx.trees.root, release, pkgbase(&ctx.trees.modules_dir(release)).as_deref()))?
}

/// Why an image was not made anew.
pub enum Failure {
    /// The generator failed.
    Generator(String),
    /// The new image lacks what belongs into it.
    Content(String),
}

/// Makes one image anew. Where the new one lacks what belongs into it, the old one comes back: an image without the driver of
/// the disk is worse than an old one. A generator may end with 0 all the same.
pub fn renew(ctx: &Context, tool: Tool, release: &Release, image: &Path) -> Result<(), Failure> {
    let listed = list::read(&ctx.trees, release);
    if listed.is_empty() {
        return run(ctx, tool, release, image).map_err(Failure::Generator);
    }
    // A copy: some generators write into the old file.
    let aside = Aside::of(image);
    run(ctx, tool, release, image).map_err(Failure::Generator)?;
    let beside = KernelManifest::known(&ctx.trees, release);
    let files = beside.installed.iter().flat_map(|entry| &entry.files).filter(|file| listed.contains(&file.name));
    let paths: Vec<PathBuf> = files.map(|file| file.path.join(&file.file)).collect();
    let Some(held) = modules_in(ctx, tool, image) else { return Ok(()) };
    let lacking: Vec<&str> = paths.iter().filter_map(|path| lacks(tool, &held, path)).collect();
    if lacking.is_empty() {
        return Ok(());
    }
    let back = match aside.map(|aside| aside.put_back(image)) {
        Some(Ok(())) => "the old image was put back",
        Some(Err(_)) | None => "the old image could not be kept",
    };
    Err(Failure::Content(format!("the new image lacks {}; {back}", lacking.join(", "))))
}

/// Prints the paths of the modules in what `$0 $1` lists; none is no failure.
const LIST: &str = r#"set -o pipefail; "$0" "$1" | { grep -oE '[^ ]+\.ko(\.[a-z]+)?' || [ $? = 1 ]; }"#;

/// A copy of an image beside it, gone when dropped.
struct Aside(PathBuf);

impl Aside {
    /// `None` if there is no room for one.
    fn of(image: &Path) -> Option<Self> {
        let path = image.with_file_name(format!("{}{}", crate::durable::OLD, crate::durable::unique()));
        let aside = Self(path);
        crate::durable::copy_as_is(image, &aside.0).and_then(|()| crate::durable::sync_tree(&aside.0)).ok()?;
        Some(aside)
    }

    fn put_back(self, image: &Path) -> std::io::Result<()> {
        std::fs::rename(&self.0, image)?;
        self.sync();
        Ok(())
    }

    /// So that a power cut does not bring it back: nothing looks for it.
    fn sync(&self) {
        if let Err(error) = crate::durable::sync(self.0.parent().unwrap_or(Path::new("/"))) {
            log::debug!("{error}");
        }
    }
}

impl Drop for Aside {
    fn drop(&mut self) {
        if std::fs::remove_file(&self.0).is_ok() {
            self.sync();
        }
    }
}

/// `path` without the end of a module's file, if it is not among the modules that an image holds: by its name only where the
/// generator puts modules elsewhere (mkinitcpio). Compressed or not: generators change that.
fn lacks<'a>(tool: Tool, held: &[String], path: &'a Path) -> Option<&'a str> {
    let module = path.to_str()?.split(".ko").next()?;
    let sought = if tool == Tool::Mkinitcpio { module.rsplit('/').next()? } else { module };
    let end = format!("/{sought}");
    let there = held.iter().filter_map(|file| file.split(".ko").next()).any(|file| format!("/{file}").ends_with(&end));
    (!there).then_some(module)
}

/// Whether the image holds a module of one of these names. In doubt: yes.
pub fn lists(ctx: &Context, tool: Tool, image: &Path, names: &[String]) -> bool {
    let same = |file: &str, name: &str| {
        let file = file.rsplit('/').next().unwrap_or_default();
        file.split(".ko").next().is_some_and(|module| is_same_module(module, name))
    };
    modules_in(ctx, tool, image).is_none_or(|files| files.iter().any(|file| names.iter().any(|name| same(file, name))))
}

/// The paths of the modules in an image, as the generator's own lister prints them; `None` if that can't tell.
fn modules_in(ctx: &Context, tool: Tool, image: &Path) -> Option<Vec<String>> {
    let lister = match tool {
        Tool::InitramfsTools => "lsinitramfs",
        Tool::Dracut => "lsinitrd",
        Tool::Mkinitcpio => "lsinitcpio",
    };
    let called = ctx.world.called(&ctx.trees, image);
    let mut task = ctx.world.task([Path::new(lister), &called], Path::new("/"));
    // The list of a large image is longer than what Capture keeps, that of its modules is not.
    task.argv = ["bash", "--norc", "--noprofile", "-c", LIST]
        .map(Into::into)
        .into_iter()
        .chain([lister.into(), called.into_os_string()])
        .collect();
    task.output = Output::Capture;
    let end = process::run(task).ok().filter(|end| end.status.success())?;
    Some(end.text().lines().map(str::to_owned).collect())
}

fn run(ctx: &Context, tool: Tool, release: &Release, image: &Path) -> Result<(), String> {
    let argv = tool.command(release, &ctx.world.called(&ctx.trees, image));
    let end = process::run(ctx.world.task(argv.iter(), Path::new("/"))).map_err(|error| error.to_string())?;
    if end.status.success() {
        ctx.trees.snapshot().act();
        return Ok(());
    }
    let text = end.text();
    let last = text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default();
    Err(format!("{} exited with status {}: {last}", argv.join(" "), end.code()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_image_lacks() {
        let held = [
            "usr/lib/modules/6.1/kernel/drivers/block/virtio_blk.ko.xz",
            "usr/lib/modules/6.1/updates/dkms/nvme.ko",
            "usr/lib/modules/6.1/updates/dkms/not_sd_mod.ko.zst",
        ]
        .map(str::to_owned);
        for (tool, path, lacking) in [
            (Tool::InitramfsTools, "updates/dkms/virtio_blk.ko.xz", Some("updates/dkms/virtio_blk")),
            (Tool::Dracut, "updates/dkms/nvme.ko.zst", None),
            (Tool::Dracut, "updates/dkms/sd_mod.ko.zst", Some("updates/dkms/sd_mod")),
            (Tool::Mkinitcpio, "updates/dkms/virtio_blk.ko.zst", None),
            (Tool::Mkinitcpio, "updates/dkms/sd_mod.ko.zst", Some("updates/dkms/sd_mod")),
        ] {
            assert_eq!(lacks(tool, &held, Path::new(path)), lacking, "{tool:?} {path}");
        }
    }

    #[test]
    fn the_old_image_comes_back_and_leaves_nothing() {
        let tmp = tempfile::tempdir().unwrap();
        let image = tmp.path().join("initrd.img");
        fs_err::write(&image, "old").unwrap();
        let aside = Aside::of(&image).unwrap();
        // As dracut does: into the same file.
        fs_err::write(&image, "new").unwrap();
        aside.put_back(&image).unwrap();
        assert_eq!(fs_err::read_to_string(&image).unwrap(), "old");
        drop(Aside::of(&image));
        assert_eq!(fs_err::read_dir(tmp.path()).unwrap().count(), 1);
    }
}
