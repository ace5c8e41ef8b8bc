//! `dkms mkdriverdisk`.

use std::path::{Path, PathBuf};

use dkms_core::elf::Module;
use dkms_core::host::distro::Distribution;
use dkms_core::names::Kernel;
use dkms_mkpkg::driverdisk::{self, Update};
use dkms_mkpkg::{Family, binary, write};
use fs_err as fs;

use crate::error::Error;
use crate::job::Job;

/// Where disks go in the package's directory, as with the classic.
const PLACE: &str = "driver_disk";

/// Makes the disk for the installer that `--distro` names; gives where it is.
pub(crate) fn make(job: &Job<'_>) -> Result<PathBuf, Error> {
    let distribution = &job.ctx.distribution;
    let default = match distribution {
        _ if distribution.is_like(&["debian", "ubuntu"]) => "debian",
        _ if job.for_suse() => "suse",
        _ => "redhat",
    };
    match job.args.value("distro").unwrap_or(default) {
        "redhat" => redhat(job),
        "suse" => suse(job),
        "debian" | "ubuntu" => debian(job),
        other => Err(Error::Usage(format!(
            "There are no driver disks for {other:?}: --distro is redhat, suse, debian or ubuntu."
        ))),
    }
}

fn redhat(job: &Job<'_>) -> Result<PathBuf, Error> {
    let mut packages = Vec::new();
    for kernel in job.kernels()? {
        let (file, bytes) = write(Family::Rpm, &job.binary_plan(Family::Rpm, &kernel, true)?)?;
        packages.push((binary::arch_word(Family::Rpm, kernel.arch.as_str()), file, bytes));
    }
    let image = driverdisk::redhat(&packages, job.about.mtime)?;
    job.put(PLACE, (format!("{}-{}-dd.iso", job.package.name, job.package.version), image))
}

fn suse(job: &Job<'_>) -> Result<PathBuf, Error> {
    let release = job.args.value("release").map(str::to_owned).or_else(|| suse_release(&job.ctx.distribution));
    let Some(release) = release else {
        let text = "For which release? A driver update of SUSE's is for one: --release leap15.6, sle15, sle16 or tw";
        return Err(Error::Usage(text.to_owned()));
    };
    let mut updates = Vec::new();
    for kernel in job.kernels()? {
        let mut modules = Vec::new();
        for path in in_order(job, &kernel)? {
            let leaf = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            modules.push((leaf, fs::read(&path)?));
        }
        let packages = vec![write(Family::Rpm, &job.binary_plan(Family::Rpm, &kernel, false)?)?];
        updates.push(Update { arch: binary::arch_word(Family::Rpm, kernel.arch.as_str()), modules, packages });
    }
    let (name, version) = (&job.package.name, &job.package.version);
    let files = driverdisk::suse(&format!("{name} {version}"), &release, &updates)?;
    match job.args.value("media").unwrap_or("dud") {
        "dud" | "cpio" => {
            let bytes = driverdisk::dud(&files, job.about.mtime)?;
            job.put(PLACE, (format!("{name}-{version}-{release}.dud"), bytes))
        }
        "iso" => {
            let bytes = driverdisk::dud_image(&files, job.about.mtime)?;
            job.put(PLACE, (format!("{name}-{version}-{release}-dud.iso"), bytes))
        }
        other => Err(Error::Usage(format!("A driver update of SUSE's is no {other:?}: --media is dud or iso."))),
    }
}

/// How SUSE's driver updates call a release of theirs.
fn suse_release(distribution: &Distribution) -> Option<String> {
    let major = distribution.version.split('.').next().unwrap_or_default();
    match distribution.id.as_str() {
        "opensuse-tumbleweed" | "opensuse-slowroll" => Some("tw".to_owned()),
        "opensuse-leap" => Some(format!("leap{}", distribution.version)),
        "sles" | "sled" | "sles_sap" => Some(format!("sle{major}")),
        _ => None,
    }
}

/// The modules built for `kernel`, each after those that it depends on.
fn in_order(job: &Job<'_>, kernel: &Kernel) -> Result<Vec<PathBuf>, Error> {
    let mut left: Vec<(String, Vec<String>, PathBuf)> = Vec::new();
    for path in job.modules(kernel)? {
        let needs = Module::read(&path).map_err(|error| Error::Usage(format!("{}: {error}", path.display())))?;
        let needs = needs.depends().into_iter().map(|name| name.replace('-', "_")).collect();
        left.push((module_of(&path), needs, path));
    }
    let mut ordered = Vec::new();
    while !left.is_empty() {
        let ready = |needs: &[String]| !left.iter().any(|(name, ..)| needs.contains(name));
        // In a circle, which depmod would refuse, the first goes first.
        let next = left.iter().position(|(_, needs, _)| ready(needs)).unwrap_or(0);
        ordered.push(left.remove(next).2);
    }
    Ok(ordered)
}

fn module_of(path: &Path) -> String {
    let leaf = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    leaf.split(".ko").next().unwrap_or_default().replace('-', "_")
}

/// A directory of packages with a piece of preseed file that installs them.
fn debian(job: &Job<'_>) -> Result<PathBuf, Error> {
    let dir = match job.args.path("archive") {
        Some(dir) => dir,
        None => job.ctx.trees.package_dir(&job.package).join(PLACE).join("debian"),
    };
    let mut made = Vec::new();
    for kernel in job.kernels()? {
        made.push(write(Family::Deb, &job.binary_plan(Family::Deb, &kernel, false)?)?);
    }
    made.push(("preseed.cfg".to_owned(), PRESEED.as_bytes().to_vec()));
    for (file, bytes) in made {
        job.put_at(&dir.join(file), &bytes)?;
    }
    Ok(dir)
}

/// debian-installer runs this at the end of an installation, with the new system at /target; the directory is
/// expected on a medium mounted at /cdrom or /media (Debian Installation Guide, appendix B.5). What fits no kernel
/// of the new system is left out: dpkg would leave it unconfigured.
const PRESEED: &str = r#"# Put this directory on a medium of the installer as /drivers and add to the preseed file:
d-i preseed/late_command string \
    mkdir -p /target/tmp/drivers; \
    cp /cdrom/drivers/*.deb /media/drivers/*.deb /target/tmp/drivers/ 2>/dev/null || true; \
    in-target sh -c 'for deb in /tmp/drivers/*.deb; do k=$(dpkg-deb -c "$deb" | sed -n "s,.*/usr/lib/dkms-prebuilt/[^/]*/\([^/]*\)/$,\1,p"); if [ -d "/lib/modules/$k" ]; then dpkg --install "$deb"; fi; done; rm -r /tmp/drivers'
"#;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_as_driver_updates_call_them() {
        for (text, release) in [
            ("ID=\"opensuse-leap\"\nVERSION_ID=\"15.6\"\n", Some("leap15.6")),
            ("ID=opensuse-tumbleweed\nVERSION_ID=20261101\n", Some("tw")),
            ("ID=sles\nVERSION_ID=15.7\n", Some("sle15")),
            ("ID=fedora\nVERSION_ID=43\n", None),
        ] {
            assert_eq!(suse_release(&Distribution::parse(text)).as_deref(), release, "{text}");
        }
    }
}
