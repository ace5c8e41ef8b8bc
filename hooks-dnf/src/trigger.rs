//! rpm's file triggers (rpm-file-triggers(7)). Standard input lists files, new and old alike on installation and none on
//! removal: that is no use, so it is only a wake-up, and the core looks for itself.

use dkms_core::event::{Event, EventOptions};

use crate::run;

/// Reconciles every kernel. A trigger that fails is reported as a failure of the whole transaction, though nothing is
/// undone: the core's policy decides whether it may be.
pub fn main() -> u8 {
    run::report(&Event::FilesChanged, &EventOptions::default())
}
