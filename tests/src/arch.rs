//! Roots that pacman manages as on Arch, made of Debian beds (see `scripts/arch-root.sh`), and our package for them.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use crate::bed::{Base, Bed, Flavour};
use crate::debs;
use crate::run::{command, run};
use crate::settings;

/// The packages of a bed that make it pacman's.
const PACKAGES: &[&str] = &["pacman-package-manager", "makepkg", "libarchive-tools", "mount"];
/// Two real module packages, which are made into packages of pacman's.
const REAL: &[&str] = &["acpi-call-dkms", "bbswitch-dkms"];

/// The plain bed of `suite` that has pacman.
pub fn debian(suite: &str) -> Result<Base> {
    Base::get(suite, 1, Flavour::Cloud, PACKAGES)
}

/// The root of pacman made of the bed of `suite`: the kept one, or a new one.
pub fn root(suite: &str) -> Result<Base> {
    let debian = debian(suite)?;
    let scripts = settings::project().join("tests/scripts");
    let script = scripts.join("arch-root.sh");
    let tree = scripts.join("make-kernel-tree.sh");
    let stamp = fs_err::metadata(debian.root.join("etc/dkms-bed-kernels"))?.modified()?;
    // One of its kernels calls itself as the running one.
    let running = fs_err::read("/proc/sys/kernel/osrelease")?;
    let mut hasher = DefaultHasher::new();
    (fs_err::read(&script)?, fs_err::read(&tree)?, stamp, &debian.root, REAL, running).hash(&mut hasher);
    let root = settings::cache().join("beds").join(format!("arch-{suite}-{:08x}", hasher.finish() >> 32));
    let lock = fs_err::File::create(root.with_extension("lock"))?;
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive)?;
    if !root.is_dir() {
        let new = root.with_extension(format!("new-{}", std::process::id()));
        let made = make(&debian, &script, &tree, &new);
        if made.is_err() {
            let _ = fs_err::remove_dir_all(&new);
        }
        made.with_context(|| format!("make {}", root.display()))?;
        fs_err::rename(&new, &root)?;
    }
    Ok(Base { root, kernels: Vec::new() })
}

fn make(debian: &Base, script: &Path, tree: &Path, new: &Path) -> Result<()> {
    run(command("cp").args(["-a", "--reflink=auto"]).arg(&debian.root).arg(new), b"")?.ok()?;
    let exchange = tempfile::tempdir()?;
    fs_err::create_dir(exchange.path().join("sources"))?;
    // The newest sources serve every suite's kernels.
    let newest = self::debian("sid")?;
    for package in REAL {
        for source in debs::sources(&newest, package)? {
            run(command("cp").arg("-a").arg(source).arg(exchange.path().join("sources/")), b"")?.ok()?;
        }
    }
    for file in [script, tree] {
        fs_err::copy(file, exchange.path().join(file.file_name().unwrap_or_default()))?;
    }
    let in_bed = settings::project().join("tests/scripts/in-bed.sh");
    run(command(in_bed).arg(new).args(["bash", "/mnt/arch-root.sh"]).env("BED_BIND", exchange.path()), b"")?.ok()?;
    Ok(())
}

/// What is needed to make our package, beside the program under test: `dkms-alpm`, which is built beside it.
pub fn hook_program() -> Option<PathBuf> {
    let settings::Subject::Ours(dkms) = settings::subject() else { return None };
    Some(dkms.with_file_name("dkms-alpm")).filter(|path| path.is_file())
}

/// Makes our packages for the root `base` of `suite`, with the PKGBUILD and makepkg; gives the file of `dkms`.
pub fn package(suite: &str, into: &Path) -> Result<PathBuf> {
    let settings::Subject::Ours(dkms) = settings::subject() else { anyhow::bail!("no program to package") };
    let alpm = hook_program().context("there is no dkms-alpm beside the program under test")?;
    let packaging = settings::project().join("packaging/arch");
    let debian = debian(suite)?;
    let preflight = into.join("preflight");
    run(command("bash").arg(packaging.join("build-preflight.sh")).arg(&debian.root).arg(&preflight), b"")?
        .ok()
        .context("build dkms-alpm-preflight")?;
    let bed = Bed::classic(&debian)?;
    let stage = bed.exchange().join("build");
    run(command("bash").arg(packaging.join("stage.sh")).arg(&stage).args([&dkms, &alpm, &preflight]), b"")?.ok()?;
    fs_err::copy(packaging.join("repackage.sh"), bed.exchange().join("repackage.sh"))?;
    bed.ok("bash /mnt/repackage.sh /mnt/build")?;
    let mut found = fs_err::read_dir(&stage)?.filter_map(|entry| Some(entry.ok()?.path())).filter(|path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.contains(".pkg.tar") && !["dkms-mkpkg-", "dkms-share-"].iter().any(|other| name.starts_with(other))
    });
    let package = found.next().context("makepkg left no package")?;
    ensure!(found.next().is_none(), "makepkg left several packages");
    let kept = into.join(package.file_name().unwrap_or_default());
    fs_err::copy(&package, &kept)?;
    Ok(kept)
}
