//! Real module packages of the Debian archive.

use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::bed::{Base, Bed, STALE};
use crate::run::{command, run};
use crate::settings;

/// The unpacked contents of `package` of the suite of `base`, fetched at most once a fortnight.
pub fn unpacked(base: &Base, package: &str) -> Result<PathBuf> {
    let bed = base.root.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let suite = bed.split('-').next().unwrap_or(&bed);
    let debs = settings::cache().join("debs").join(suite);
    fs_err::create_dir_all(&debs)?;
    let kept = debs.join(package);
    let lock = fs_err::File::create(debs.join(format!("{package}.lock")))?;
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive)?;
    let age = fs_err::metadata(&kept).and_then(|m| m.modified()).ok().and_then(|made| made.elapsed().ok());
    if age.is_none_or(|age| age > STALE) {
        let bed = Bed::classic(base)?;
        // The bed's lists may be older than the archive: look again if the file has gone.
        bed.ok(&format!(
            "cd /mnt; mkdir new; chown _apt . ; apt-get -q download {package} || {{ apt-get -q update; apt-get -q download {package}; }}
             dpkg-deb -x {package}_*.deb new"
        ))
        .with_context(|| format!("fetch {package}"))?;
        if kept.exists() {
            fs_err::remove_dir_all(&kept)?;
        }
        run(command("cp").arg("-a").arg(bed.exchange().join("new")).arg(&kept), b"")?.ok()?;
        run(command("touch").arg(&kept), b"")?.ok()?;
    }
    Ok(kept)
}

/// The `name-version` directories below `usr/src` of `package`: normally one.
pub fn sources(base: &Base, package: &str) -> Result<Vec<PathBuf>> {
    let mut found: Vec<PathBuf> = fs_err::read_dir(unpacked(base, package)?.join("usr/src"))?
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<Vec<_>>>()?
        .into_iter()
        .filter(|path| path.join("dkms.conf").is_file())
        .collect();
    found.sort();
    Ok(found)
}
