//! Our own state: what killed runs have left, and which follow-ups are overdue.

use std::path::Path;

use super::{Fault, Findings, Repair};
use crate::context::Context;
use crate::durable::{NEW, OLD};
use crate::initramfs::pending;
use crate::journal::{self, Unfinished};
use crate::names::Release;
use crate::plan::{FollowUp, Overdue};
use crate::run::follow_up;
use crate::tree::record::Record;

pub(super) fn look(ctx: &Context, found: &mut Findings<'_>) {
    let trees = &ctx.trees;
    let mut is_busy = false;
    for (path, what) in journal::unfinished(trees) {
        match what {
            Unfinished::Change(what) => {
                is_busy = true;
                found.at(&path, Fault::Interrupted, Repair::Finish).because(what);
            }
            Unfinished::SetAside => {
                let advice = "look into it, and delete it".to_owned();
                found.at(&path, Fault::BadJournal, Repair::ByHand(advice));
            }
        }
    }
    for path in journal::dead_work(trees) {
        found.at(&path, Fault::Leftover, Repair::Finish);
    }
    // What an unfinished change needs is not left over.
    if !is_busy {
        for directory in ["", "journal", "owed/depmod", "owed/initramfs", "initramfs", "stale"] {
            leftovers(&trees.state(directory), found);
        }
        leftovers(&trees.source.outer, found);
        // Copies of images that were about to be made anew.
        leftovers(&trees.outer("/boot"), found);
    }
    let is_kernel = |release: &Release| trees.modules_dir(release).is_dir();
    for Overdue { kernel, what, .. } in follow_up::overdue(trees) {
        let (fault, repair) = match what {
            FollowUp::Depmod => (Fault::StaleIndex, Repair::Depmod(kernel.clone())),
            FollowUp::Initramfs => (Fault::InitramfsOverdue, Repair::Initramfs),
        };
        found.add(fault, repair).on(&kernel).because("a run was interrupted");
    }
    for (release, _) in pending::all(trees) {
        let path = trees.state("initramfs").join(&release);
        let (fault, repair) = if is_kernel(&release) {
            (Fault::InitramfsOverdue, Repair::Initramfs)
        } else {
            (Fault::KernelGone, Repair::Delete)
        };
        found.at(&path, fault, repair).on(&release);
    }
    for entry in std::fs::read_dir(trees.state("stale")).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let release = name.rsplit_once('@').and_then(|(release, _)| Release::new(release).ok());
        if let Some(release) = release.filter(|release| !is_kernel(release)) {
            found.at(&entry.path(), Fault::KernelGone, Repair::Delete).on(&release);
        }
    }
    for record in Record::list(trees, None).unwrap_or_default() {
        let release = &record.kernel.release;
        if !is_kernel(release) && !trees.artefact(&record.package, &record.kernel).exists() {
            let path = trees.record(&record.package, &record.kernel);
            found.at(&path, Fault::KernelGone, Repair::Delete).of(&record.package).on(release);
        }
    }
}

/// Temporary files in `directory` whose makers are gone. Their names say which process made them.
pub(super) fn leftovers(directory: &Path, found: &mut Findings<'_>) {
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let Some(rest) = name.strip_prefix(NEW).or_else(|| name.strip_prefix(OLD)) else { continue };
        let process: String = rest.chars().take_while(char::is_ascii_digit).collect();
        if process.is_empty() || !Path::new("/proc").join(&process).exists() {
            found.at(&entry.path(), Fault::Leftover, Repair::Delete);
        }
    }
}
