//! What a transaction's paths mean, before and after it: alpm tells which paths it touches, the disk tells whether they
//! came or went.

use std::collections::BTreeSet;

use dkms_core::context::Context;
use dkms_core::event::{Arrival, Event, EventOptions};
use dkms_core::kernel::installed::{self, Presence};
use dkms_core::names::Release;
use dkms_core::reconcile::Initramfs;

use crate::sources;
use crate::targets::Targets;

/// Before the transaction: packages whose source goes for good, and which `incoming` does not replace. They go while
/// their scripts, and dkms itself, are still there.
pub fn leaving(ctx: &Context, targets: &Targets, incoming: &BTreeSet<String>) -> Vec<Event> {
    let goes =
        |(directory, entry): &(String, _)| targets.sources.contains(directory) && !sources::replaces(incoming, entry);
    sources::registered(&ctx.trees).into_iter().filter(goes).map(|(_, package)| Event::SourceGoing(package)).collect()
}

/// After the transaction: everything that came or went.
pub fn arrived(ctx: &Context, targets: &Targets) -> Vec<Event> {
    let is_here = |release: &Release| {
        installed::look(&ctx.trees, release.clone(), &|_, _| false).map(|found| found.presence)
            == Some(Presence::Installed)
    };
    let sources = targets.sources.iter().map(|directory| {
        let path = ctx.trees.source.inside.join(directory);
        if sources::is_there(&ctx.trees, directory) {
            Event::SourceArrived(Arrival::Directory(path))
        } else {
            Event::SourceUpgraded(path)
        }
    });
    let kernels = targets.all_kernels().into_iter().map(|release| match is_here(&release) {
        true if targets.kernels.contains(&release) => Event::KernelInstalled(release),
        true => Event::HeadersInstalled(release),
        false => Event::KernelGone(release),
    });
    sources.chain(kernels).collect()
}

/// How pacman's transactions go on.
pub fn options(targets: &Targets) -> EventOptions {
    EventOptions {
        // The hooks that make it look for kernels and for module packages, not for headers.
        initramfs: if targets.kernels.is_empty() && targets.sources.is_empty() {
            Initramfs::Auto
        } else {
            Initramfs::Later
        },
        // A new module is no reason to repeat what has failed on a kernel where nothing has changed.
        again: targets.kernels.is_empty() && targets.headers.is_empty(),
        over: true,
        everything: true,
        ..EventOptions::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::preflight_table as table;
    use dkms_core::names::Package;

    #[test]
    fn the_disk_tells_what_came_and_went() {
        let dir = tempfile::tempdir().unwrap();
        let ctx = table::system(dir.path(), "wanted", "");
        fs_err::create_dir_all(ctx.trees.outer("/lib/modules/7.2")).unwrap();
        fs_err::write(ctx.trees.outer("/lib/modules/7.2/modules.order"), "").unwrap();
        let targets = Targets::parse(
            "usr/src/zfs-1/dkms.conf\nusr/src/old-1/dkms.conf\nusr/lib/modules/7.2/build/include/\n\
             usr/lib/modules/7.1/vmlinuz\n",
        );
        let release = |text: &str| Release::new(text).unwrap();
        assert_eq!(
            arrived(&ctx, &targets),
            [
                Event::SourceUpgraded("/usr/src/old-1".into()),
                Event::SourceArrived(Arrival::Directory("/usr/src/zfs-1".into())),
                Event::KernelGone(release("7.1")),
                Event::HeadersInstalled(release("7.2")),
            ]
        );
        let going = [Event::SourceGoing(Package::new("zfs", "1").unwrap())];
        assert_eq!(leaving(&ctx, &targets, &BTreeSet::new()), going);
        assert_eq!(leaving(&ctx, &targets, &["zfs-2".to_owned()].into()), []);
    }
}
