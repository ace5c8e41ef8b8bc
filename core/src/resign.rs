//! Signing modules that are built, and perhaps installed, with the key of today.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use fs_err as fs;

use crate::compress::{self, CompressError, Compression};
use crate::context::Context;
use crate::digest::Digest;
use crate::install::{Error, artefact, is_installed};
use crate::journal::{Change, WorkDir};
use crate::lock::Holder;
use crate::names::{Kernel, Package};
use crate::report::Reporter;
use crate::run::Session;
use crate::sign;
use crate::sign::signing::Signing;
use crate::tree::compare::same_bytes;
use crate::tree::manifest::{BuiltModule, Installed, InstalledFile, KernelManifest, Manifest};

/// How it went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resigned {
    /// Every module was signed with this key already.
    Already,
    /// So many modules were signed.
    Done(usize),
    /// Modules are not signed here; why was said.
    NotHere,
    /// Some could not be signed; why was said. The others were.
    Incomplete,
}

/// Signs the artefact of `package` for `kernel`, and what is installed of it, with the present key: one change, in
/// which the files in the tree, the installed ones and both manifests are replaced together. Modules that this key has
/// signed are left alone, as are files that are not what was built.
pub fn resign(
    session: &Session<'_>,
    package: &Package,
    kernel: &Kernel,
    reporter: &dyn Reporter,
) -> Result<Resigned, Error> {
    let ctx = session.ctx;
    let waiting = |holder: &Holder| log::info!("waiting for {holder}");
    let _locks = (ctx.lock_pair(package, kernel, &waiting)?, ctx.pass_gate(kernel, &waiting)?);
    let facts = session.facts.kernel(kernel)?;
    let signing = session.signing(&facts, reporter)?;
    signing.check()?;
    let Some(signer) = signing.signer() else { return Ok(Resigned::NotHere) };
    let manifest = artefact::manifest(ctx, package, kernel)?;
    let modules = if let Some(manifest) = &manifest {
        manifest.modules.clone()
    } else {
        artefact::modules_by_conf(ctx, package, kernel, &session.facts.evaluate_as_is(package, kernel)?)?
    };
    let work = WorkDir::new(&ctx.trees)?;
    let made = modules
        .iter()
        .map(|module| one(ctx, package, kernel, module, manifest.is_some(), &signing, work.path(), reporter))
        .collect::<Result<Vec<_>, _>>();
    let made = made.and_then(|made| {
        let made = catch_up(ctx, package, kernel, &modules, made)?;
        let done = made.iter().filter(|made| matches!(made, Made::Signed(_))).count();
        if done > 0 {
            let whole = !made.contains(&Made::Refused);
            put(
                ctx,
                package,
                kernel,
                manifest.map(Arc::unwrap_or_clone),
                &modules,
                &made,
                whole.then_some(&signer),
                reporter,
            )?;
        }
        Ok(if made.contains(&Made::Refused) {
            Resigned::Incomplete
        } else if done == 0 {
            Resigned::Already
        } else {
            Resigned::Done(done)
        })
    });
    work.remove();
    made
}

#[derive(Debug, PartialEq, Eq)]
enum Made {
    /// Nothing to do.
    Already,
    /// It can't be signed.
    Refused,
    /// The new file's bytes, compressed like the old one.
    Signed(Vec<u8>),
}

/// Of modules that are signed in the tree, and installed as they were before that, signs what is installed, too: an earlier
/// run was stopped half way.
fn catch_up(
    ctx: &Context,
    package: &Package,
    kernel: &Kernel,
    modules: &[BuiltModule],
    mut made: Vec<Made>,
) -> Result<Vec<Made>, Error> {
    if !is_installed(ctx, package, kernel) {
        return Ok(made);
    }
    let dir = ctx.trees.modules_dir(&kernel.release);
    let beside = KernelManifest::beside(&ctx.trees, &kernel.release)?;
    let entry = beside.as_ref().and_then(|beside| beside.find(package, &kernel.arch));
    for (module, made) in modules.iter().zip(&mut made).filter(|(_, made)| **made == Made::Already) {
        let file = entry.and_then(|entry| entry.files.iter().find(|file| file.file == module.file && !file.symlink));
        let Some(path) = file.map(|file| file.outer(&dir)) else { continue };
        let built = ctx.trees.artefact_modules(package, kernel).join(&module.file);
        if comparison(&path, &built)? == Comparison::OtherSignature {
            *made = Made::Signed(fs::read(&built)?);
        }
    }
    Ok(made)
}

/// What an installed module is, beside the built one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Comparison {
    /// The same bytes.
    Same,
    /// The same module, with another signature or none.
    OtherSignature,
    /// Something else, or nothing.
    Other,
}

/// An error means that a file can't be read: that is no answer.
fn comparison(installed: &Path, built: &Path) -> Result<Comparison, Error> {
    if std::fs::symlink_metadata(installed).is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound) {
        return Ok(Comparison::Other);
    }
    if same_bytes(installed, built)? {
        return Ok(Comparison::Same);
    }
    let read = |path: &Path| match compress::read_module(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(CompressError::Read(error)) => Err(error),
        // It is no module any more.
        Err(_) => Ok(None),
    };
    let (Some(one), Some(other)) = (read(installed)?, read(built)?) else { return Ok(Comparison::Other) };
    let same = sign::strip_signature(&one) == sign::strip_signature(&other);
    Ok(if same { Comparison::OtherSignature } else { Comparison::Other })
}

#[allow(clippy::too_many_arguments)]
fn one(
    ctx: &Context,
    package: &Package,
    kernel: &Kernel,
    module: &BuiltModule,
    recorded: bool,
    signing: &Signing,
    work: &Path,
    reporter: &dyn Reporter,
) -> Result<Made, Error> {
    let path = ctx.trees.artefact_modules(package, kernel).join(&module.file);
    let shown = ctx.trees.shown(&path);
    // A signature vouches for the bytes: those that somebody changed get none.
    if recorded && Digest::of_file(&path)? != module.digest {
        reporter.warning(&[
            &format!("{} is not what was built; it is not signed.", shown.display()),
            &format!("Build it again: dkms build --force {package} -k {}", kernel.release),
        ]);
        return Ok(Made::Refused);
    }
    let bytes = compress::read_module(&path).map_err(std::io::Error::other)?;
    let by_us = |bytes: &[u8]| match signing.certificate() {
        Some(cert) => sign::facts(bytes).is_ok_and(|message| message.names(&cert)),
        None => false,
    };
    if by_us(&bytes) {
        return Ok(Made::Already);
    }
    let plain = work.join(format!("{}.ko", module.name));
    // sign-file, too, appends: what is there comes off first.
    fs::write(&plain, sign::strip_signature(&bytes))?;
    if !signing.sign(&plain, &shown, reporter)? {
        return Ok(Made::Refused);
    }
    let kind = Compression::of_file(&path).unwrap_or(Compression::None);
    let options = compress::Options {
        gzip: ctx.framework.compress_gzip_opts.clone(),
        xz: ctx.framework.compress_xz_opts.clone(),
        zstd: ctx.framework.compress_zstd_opts.clone(),
    };
    let compressed = compress::compress(&fs::read(&plain)?, kind, &options, work).map_err(std::io::Error::other)?;
    if let Some(why) = &compressed.fell_back {
        reporter.warning(&[why]);
    }
    Ok(Made::Signed(compressed.bytes))
}

#[allow(clippy::too_many_arguments)]
fn put(
    ctx: &Context,
    package: &Package,
    kernel: &Kernel,
    manifest: Option<Manifest>,
    modules: &[BuiltModule],
    made: &[Made],
    signer: Option<&crate::tree::manifest::Signer>,
    reporter: &dyn Reporter,
) -> Result<(), Error> {
    let dir = ctx.trees.modules_dir(&kernel.release);
    let built = ctx.trees.artefact_modules(package, kernel);
    let path = ctx.trees.kernel_manifest(&kernel.release);
    let _lock = ctx.lock_tree()?;
    let mut beside = KernelManifest::load(&path)?;
    let installed = is_installed(ctx, package, kernel);
    let mut entry = beside.as_mut().and_then(|beside| entry_of(beside, package, kernel)).filter(|_| installed);
    let mut change = Change::new(&ctx.trees, format!("sign {package} for {kernel}"));
    let mut updated = manifest;
    for (index, (module, made)) in modules.iter().zip(made).enumerate() {
        let Made::Signed(bytes) = made else { continue };
        let in_tree = built.join(&module.file);
        let digest = Digest::of(bytes);
        let file = entry.as_mut().and_then(|entry| entry.files.iter_mut().find(|file| file.file == module.file));
        let put: Option<PathBuf> = match &file {
            Some(file) if file.symlink => None,
            Some(file) => Some(file.outer(&dir)),
            // The classic's: where it would have put it.
            None if installed => [&module.location, &module.own_location]
                .into_iter()
                .map(|place| dir.join(place).join(&module.file))
                .find(|path| path.is_file() && !path.is_symlink()),
            None => None,
        };
        // Before anything changes, it is what was built.
        let is_ours =
            put.as_ref().map(|path| comparison(path, &in_tree)).transpose()?.map(|is| is != Comparison::Other);
        if let (Some(path), Some(false)) = (&put, is_ours) {
            let shown = ctx.trees.shown(path);
            reporter.warning(&[
                &format!("{} is not what was built; it is left as it is.", shown.display()),
                &format!("Put the built one back: dkms install --force {package} -k {}", kernel.release),
            ]);
        }
        let put = put.filter(|_| is_ours == Some(true));
        if let Some(file) = file {
            if put.is_some() || file.symlink {
                file.digest = digest.clone();
                file.identity = None;
            }
            file.tree_identity = None;
        }
        if let Some(recorded) = updated.as_mut().and_then(|manifest| manifest.modules.get_mut(index)) {
            recorded.digest = digest;
            recorded.identity = None;
        }
        if let Some(path) = &put {
            change.stage_bytes(bytes.clone(), 0o644, path);
        }
        change.stage_bytes(bytes.clone(), 0o644, &in_tree);
    }
    if let Some(mut manifest) = updated {
        manifest.provenance.signer = signer.cloned();
        let bytes = manifest.to_bytes()?;
        change.stage_bytes(bytes, 0o644, &ctx.trees.manifest(package, kernel));
    }
    if let Some(entry) = entry {
        entry.provenance.signer = signer.cloned();
        entry.artefact_digest = Some(InstalledFile::digest_of(&entry.files));
        if let Some(beside) = &beside {
            change.stage_kernel_manifest(&kernel.release, beside);
            change.seal(&kernel.release);
        }
    }
    Ok(change.commit()?)
}

fn entry_of<'a>(beside: &'a mut KernelManifest, package: &Package, kernel: &Kernel) -> Option<&'a mut Installed> {
    beside.installed.iter_mut().find(|entry| entry.package == *package && entry.arch == kernel.arch)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compress::Options;

    /// What can't be read is an error, and not "somebody has changed it".
    #[test]
    fn what_is_installed_is_compared_or_it_is_an_error() {
        let tmp = tempfile::tempdir().unwrap();
        let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/sign");
        let unsigned = fs::read(data.join("module.ko")).unwrap();
        let signed = fs::read(data.join("rsa4096.sha384.signed")).unwrap();
        let put = |name: &str, bytes: &[u8]| {
            let kind = Compression::of_file(Path::new(name)).unwrap();
            let path = tmp.path().join(name);
            let packed = compress::compress(bytes, kind, &Options::default(), tmp.path()).unwrap();
            fs::write(&path, packed.bytes).unwrap();
            path
        };
        let built = put("built.ko.xz", &signed);
        assert_eq!(comparison(&put("same.ko.xz", &signed), &built).unwrap(), Comparison::Same);
        assert_eq!(comparison(&put("unsigned.ko.xz", &unsigned), &built).unwrap(), Comparison::OtherSignature);
        assert_eq!(comparison(&put("plain.ko", &unsigned), &built).unwrap(), Comparison::OtherSignature);
        assert_eq!(comparison(&put("else.ko", b"else"), &built).unwrap(), Comparison::Other);
        assert_eq!(comparison(&tmp.path().join("none.ko"), &built).unwrap(), Comparison::Other);
        let torn = tmp.path().join("torn.ko.xz");
        fs::write(&torn, &fs::read(&built).unwrap()[..100]).unwrap();
        assert_eq!(comparison(&torn, &built).unwrap(), Comparison::Other);
        // As a disk that answers with EIO, for whoever runs this: what is there and can't be read.
        fs::create_dir(tmp.path().join("dir.ko")).unwrap();
        for (one, other) in [(&tmp.path().join("dir.ko"), &built), (&built, &tmp.path().join("dir.ko"))] {
            let error = comparison(one, other).unwrap_err();
            assert!(error.to_string().contains("dir.ko"), "{error}");
        }
    }
}
