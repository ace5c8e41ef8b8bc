//! Before dpkg unpacks anything: what will go wrong with the kernels that come, said while it can still be avoided.
//!
//! apt runs `/usr/lib/dkms/apt-preflight 2>/dev/null || test $? -ne 10`: a missing program never stops it, and stays
//! silent; so what we say goes to standard output, which is apt's own here, and only exit code 10 stops apt.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::path::Path;

use dkms_core::conf::framework::Policy;
use dkms_core::context::Context;
use dkms_core::error::Error;
use dkms_core::facts::Facts;
use dkms_core::names::{Package, Release};
use dkms_core::reconcile::superseded;
use dkms_core::tree::record::{Outcome, Record};
use dkms_core::tree::walk::{self, Filter, Source};

use crate::protocol::{self, Action, Step};
use crate::{core, hooks, pending};

/// Stop: the only code that apt heeds.
const STOP: u8 = 10;

/// Room that a build and its artefact may take below /var, in bytes: a guess on the safe side.
const BUILD_ROOM: u64 = 100 << 20;
/// Room that a kernel and its initramfs take in /boot, in bytes, where there is none yet to be measured.
const BOOT_ROOM: u64 = 60 << 20;

/// Reads apt's list; says what is wrong; gives 10 if policy wants apt to stop.
pub fn run() -> u8 {
    let mut text = String::new();
    if std::io::stdin().read_to_string(&mut text).is_err() {
        return 0;
    }
    let Some(steps) = protocol::parse(&text) else { return 0 };
    let kernels = incoming(&steps);
    if kernels.is_empty() {
        return 0;
    }
    match look(&steps, &kernels) {
        Ok((said, policy)) if !said.is_empty() => {
            let mut out = std::io::stdout();
            for line in &said {
                let _ = writeln!(out, "{line}");
            }
            if policy == Policy::Fail {
                let _ = writeln!(out, "dkms: stopped, as policy=fail in /etc/dkms/framework.conf says.");
                return STOP;
            }
            0
        }
        // What can't be told is no reason to stop apt.
        Ok(_) | Err(_) => 0,
    }
}

/// The releases of kernels that are unpacked and were not there before.
fn incoming(steps: &[Step]) -> Vec<Release> {
    let mut found = BTreeSet::new();
    for step in steps {
        if !matches!(step.action, Action::Unpack(_)) {
            continue;
        }
        let name = step.name.strip_prefix("linux-image-").map(|rest| rest.strip_prefix("unsigned-").unwrap_or(rest));
        // Metapackages (linux-image-amd64) bring no kernel of their own.
        let release = name.filter(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
        found.extend(release.and_then(|release| Release::new(release).ok()));
    }
    found.into_iter().collect()
}

fn look(steps: &[Step], kernels: &[Release]) -> Result<(Vec<String>, Policy), Error> {
    let (ctx, _) = core::context(&["status"])?;
    let policy = ctx.framework.policy;
    if !pending::is_ready(&ctx.trees) || hooks::is_disabled(&ctx) {
        return Ok((Vec::new(), policy));
    }
    let packages: Vec<Package> = walk::walk(&ctx.trees, &Filter::default())
        .packages
        .into_iter()
        .filter(|entry| entry.source == Source::Added && !superseded::is_marked(&ctx.trees, &entry.package))
        .map(|entry| entry.package)
        .collect();
    let comes = steps.iter().any(|step| step.name.ends_with("-dkms") && matches!(step.action, Action::Unpack(_)));
    if packages.is_empty() && !comes {
        return Ok((Vec::new(), policy));
    }
    let mut said = Vec::new();
    for release in kernels {
        if !has_headers(&ctx, steps, release) {
            said.push(format!(
                "dkms: warning: kernel {release} comes without linux-headers-{release}: no modules can be built for it."
            ));
        }
        for package in &packages {
            said.extend(known_trouble(&ctx, package, release)?);
        }
    }
    let builds = (packages.len() * kernels.len()) as u64;
    said.extend(room(&ctx, "/var/lib/dkms", builds * BUILD_ROOM / 4 + BUILD_ROOM));
    said.extend(room(&ctx, "/boot", boot_need(&ctx) * kernels.len() as u64));
    Ok((said, policy))
}

fn has_headers(ctx: &Context, steps: &[Step], release: &Release) -> bool {
    let build = ctx.trees.install.inside.join(release).join("build");
    let name = format!("linux-headers-{release}");
    ctx.trees.outer(build).is_dir()
        || steps.iter().any(|step| step.name == name && step.action != Action::Remove && step.new_version.is_some())
}

/// Why `package` will not be there for a kernel that comes: it says so itself, or it was tried before.
fn known_trouble(ctx: &Context, package: &Package, release: &Release) -> Result<Option<String>, Error> {
    let kernel = core::kernel(ctx, release)?;
    // A kernel of the same release was there before.
    let before = Record::load(&ctx.trees, package, &kernel).ok().flatten().map(|record| record.outcome);
    if let Some(Outcome::Failed { step, diagnostic, .. }) = before {
        let why = diagnostic.map(|text| format!(": {text}")).unwrap_or_default();
        return Ok(Some(format!("dkms: warning: {package} has failed for kernel {release} before ({step}){why}")));
    }
    let facts = Facts::new(ctx);
    let Ok(evaluated) = facts.evaluate(package, &*facts.kernel(&kernel)?, None, false) else {
        return Ok(Some(format!("dkms: warning: the dkms.conf of {package} can't be used.")));
    };
    if !evaluated.conf.autoinstall || !evaluated.recipe.is_excluded() {
        return Ok(None);
    }
    let why = evaluated.recipe.excluded_wholly.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
    Ok(Some(format!("dkms: warning: {package} is not meant for kernel {release}: {why}")))
}

/// A warning if fewer than `need` bytes are free below `inside`.
fn room(ctx: &Context, inside: &str, need: u64) -> Option<String> {
    let free = free(&ctx.trees.outer(inside))?;
    (free < need)
        .then(|| format!("dkms: warning: {inside} has {} MB left; about {} MB may be needed.", free >> 20, need >> 20))
}

fn free(dir: &Path) -> Option<u64> {
    let stat = rustix::fs::statvfs(dir).ok()?;
    Some(stat.f_bavail * stat.f_frsize)
}

/// What the largest kernel takes in /boot now: its image and its initramfs.
fn boot_need(ctx: &Context) -> u64 {
    let largest = |prefix: &str| {
        let entries = fs_err::read_dir(ctx.trees.outer("/boot")).into_iter().flatten().flatten();
        entries
            .filter(|entry| entry.file_name().to_string_lossy().starts_with(prefix))
            .filter_map(|entry| entry.metadata().ok())
            .map(|meta| meta.len())
            .max()
    };
    match (largest("vmlinuz-"), largest("initrd.img-")) {
        (None, _) => BOOT_ROOM,
        (Some(image), initramfs) => image + initramfs.unwrap_or(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn which_kernels_come() {
        let text = "VERSION 3\n\n\
            linux-image-6.12.1-amd64 - - none < 6.12.1-1 amd64 none /a.deb\n\
            linux-image-6.12.1-amd64 - - none < 6.12.1-1 amd64 none **CONFIGURE**\n\
            linux-image-amd64 6.1 amd64 none < 6.12.1-1 amd64 none /b.deb\n\
            linux-image-unsigned-7.0.0-1-generic - - none < 7.0 amd64 none /c.deb\n\
            linux-image-6.0.0 6.0 amd64 none > - - none **REMOVE**\n";
        let steps = protocol::parse(text).unwrap();
        let names: Vec<String> = incoming(&steps).iter().map(ToString::to_string).collect();
        assert_eq!(names, ["6.12.1-amd64", "7.0.0-1-generic"]);
    }
}
