//! Modules that are not what was built: reported before they replace anything, and mended where they are in place.

use std::path::Path;

use super::error::Error;
use crate::context::Context;
use crate::digest::Digest;
use crate::elf::{Module, Signature};
use crate::names::{Kernel, Package, is_same_module};
use crate::report::Reporter;
use crate::tree::identity::Identity;
use crate::tree::manifest::{BuiltModule, InstalledFile, KernelManifest, Manifest};

/// Compares the artefact's files with what was built, before anything that works is replaced by them. `recorded`: their
/// digests are a manifest's. With `force`, somebody's own change of a module is taken as it is, if it is a module still.
pub fn check(
    ctx: &Context,
    package: &Package,
    kernel: &Kernel,
    modules: &mut [BuiltModule],
    recorded: bool,
    force: bool,
    reporter: &dyn Reporter,
) -> Result<(), Error> {
    let dir = ctx.trees.artefact_modules(package, kernel);
    for module in modules {
        let path = dir.join(&module.file);
        // What the classic built has no digest: it is to be a module, at least.
        let found = if recorded { Digest::of_file(&path)? } else { module.digest.clone() };
        if found == module.digest && (recorded || !is_empty(&path)) {
            continue;
        }
        let damaged = |why: String| Error::DamagedModule {
            file: ctx.trees.shown(&path),
            why,
            package: package.clone(),
            kernel: kernel.clone(),
        };
        match Module::read(&path) {
            Err(error) => return Err(damaged(format!("it is damaged ({error})"))),
            Ok(changed)
                if !force
                    && !is_signed_anew(
                        module.srcversion.as_deref(),
                        changed.field("srcversion"),
                        matches!(changed.signature, Signature::Signed(_)),
                    ) =>
            {
                return Err(damaged("somebody has changed it".to_owned()));
            }
            Ok(_) => {}
        }
        let shown = ctx.trees.shown(&path);
        reporter.warning(&[&format!("{} is not what was built; it is installed as it is.", shown.display())]);
        module.digest = found;
    }
    Ok(())
}

/// Whether what was built (of this srcversion) has only been signed since: that may be done before the installation.
fn is_signed_anew(built: Option<&str>, found: Option<&str>, is_signed: bool) -> bool {
    is_signed && built.is_some() && built == found
}

fn is_empty(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|meta| meta.len() == 0)
}

/// Whether the installed `file`, which is at `path`, can't be a module any more: it is gone, or torn, or emptied. One that
/// somebody has changed, to sign it for example, is not damaged.
pub fn is_damaged(file: &InstalledFile, path: &Path) -> bool {
    match Identity::of_path(path) {
        Err(_) => true,
        Ok(found) if file.symlink || file.identity == Some(found) => false,
        // The digest is cheaper than decompressing, and right for what was only moved.
        Ok(_) => !Digest::of_file(path).is_ok_and(|digest| digest == file.digest) && Module::read(path).is_err(),
    }
}

/// Whether the file at `path` is a module, but not the one that `file` says we put there: it has another source. One that
/// was only signed or stripped anew is ours.
pub fn is_another(file: &InstalledFile, path: &Path) -> bool {
    if super::is_ours(file, path) {
        return false;
    }
    Module::read(path).is_ok_and(|found| {
        let theirs = found.field("srcversion");
        let is_other_source = file.srcversion.is_some() && theirs.is_some() && theirs != file.srcversion.as_deref();
        let is_other_name = found.field("name").is_some_and(|name| !is_same_module(name, &file.name));
        is_other_source || is_other_name
    })
}

/// Whether a module of the artefact of `package` for `kernel` can't be one any more: it is gone, or torn, or emptied.
pub fn artefact(ctx: &Context, package: &Package, kernel: &Kernel) -> bool {
    let Ok(Some(manifest)) = Manifest::of(&ctx.trees, package, kernel) else { return false };
    let dir = ctx.trees.artefact_modules(package, kernel);
    manifest.modules.iter().any(|module| {
        let path = dir.join(&module.file);
        !Digest::of_file(&path).is_ok_and(|found| found == module.digest) && Module::read(&path).is_err()
    })
}

/// Whether something of `package` that is installed for `kernel` is damaged, or has given way to another module.
pub fn any(ctx: &Context, package: &Package, kernel: &Kernel) -> bool {
    let beside = KernelManifest::known(&ctx.trees, &kernel.release);
    let dir = ctx.trees.modules_dir(&kernel.release);
    beside.find(package, &kernel.arch).is_some_and(|entry| {
        entry.files.iter().any(|file| {
            let path = file.outer(&dir);
            is_damaged(file, &path) || is_another(file, &path)
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::layout::tests::fake_module;

    fn file(bytes: &[u8], path: &Path) -> InstalledFile {
        InstalledFile {
            path: "updates".into(),
            name: "a".into(),
            file: "a.ko".into(),
            srcversion: None,
            digest: Digest::of(bytes),
            identity: Identity::of_path(path).ok(),
            tree_identity: None,
            symlink: false,
        }
    }

    /// Only a signature may come between a build and its installation.
    #[test]
    fn what_was_signed_after_the_build_is_what_was_built() {
        for (built, found, is_signed, same) in [
            (Some("1"), Some("1"), true, true),
            (Some("1"), Some("1"), false, false),
            (Some("1"), Some("2"), true, false),
            (Some("1"), None, true, false),
            (None, None, true, false),
        ] {
            assert_eq!(is_signed_anew(built, found, is_signed), same, "{built:?} {found:?} {is_signed}");
        }
    }

    /// What has another source is not what we installed; what was signed or stripped anew is.
    #[test]
    fn another_module_in_the_place_of_ours() {
        let tmp = tempfile::tempdir().unwrap();
        let path = tmp.path().join("a.ko");
        let module = |more: &str| fake_module(62, 1, &format!("6.1\0{more}\0x="));
        let whole = module("name=a\0srcversion=1");
        fs_err::write(&path, &whole).unwrap();
        let known = InstalledFile { srcversion: Some("1".to_owned()), ..file(&whole, &path) };
        let signed = [whole.as_slice(), b"a signature"].concat();
        for (what, bytes, another) in [
            ("the same", whole.clone(), false),
            ("signed anew", signed, false),
            ("another source", module("name=a\0srcversion=2"), true),
            ("another module", module("name=dummy"), true),
            ("nobody knows", module("name=a"), false),
            ("emptied", Vec::new(), false),
        ] {
            fs_err::remove_file(&path).unwrap();
            fs_err::write(&path, bytes).unwrap();
            assert_eq!(is_another(&known, &path), another, "{what}");
        }
    }

    #[test]
    fn torn_files_are_damaged_and_changed_ones_are_not() {
        let tmp = tempfile::tempdir().unwrap();
        let path = tmp.path().join("a.ko");
        let whole = fake_module(62, 1, "6.1");
        fs_err::write(&path, &whole).unwrap();
        let known = file(&whole, &path);
        assert!(!is_damaged(&known, &path));
        let mut signed = whole.clone();
        signed.extend(b"a signature");
        for (what, bytes, damaged) in [
            ("the same in another file", whole.clone(), false),
            ("signed anew", signed, false),
            ("emptied", Vec::new(), true),
            ("cut", whole[..whole.len() / 2].to_vec(), true),
            ("zeros", vec![0; whole.len()], true),
        ] {
            fs_err::remove_file(&path).unwrap();
            fs_err::write(&path, bytes).unwrap();
            assert_eq!(is_damaged(&known, &path), damaged, "{what}");
        }
        fs_err::remove_file(&path).unwrap();
        assert!(is_damaged(&known, &path), "gone");
        // Nobody who looks is stopped by what is no file.
        rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR, 0).unwrap();
        assert!(is_damaged(&known, &path), "a pipe");
    }
}
