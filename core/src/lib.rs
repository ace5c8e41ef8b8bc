//! Dynamic Kernel Module Support: the shared core.
//!
//! `ARCHITECTURE.md` in the project's top directory is the map of these rooms. Rooms that no front needs are private, so that the
//! compiler reports what nobody uses.

#[cfg(test)]
extern crate self as dkms_core;

pub mod archive;
pub(crate) mod assignments;
pub mod cli;
pub mod clock;
pub mod command;
pub(crate) mod compile;
pub mod compilers;
pub(crate) mod compress;
pub mod conf;
pub mod context;
pub mod depmod;
pub mod diagnosis;
pub mod digest;
pub mod durable;
pub mod elf;
pub mod error;
pub mod event;
pub mod execute;
pub mod facts;
pub(crate) mod files;
pub(crate) mod finish;
pub(crate) mod fsck;
pub mod host;
pub mod initramfs;
pub mod inputs;
pub mod install;
pub mod journal;
pub mod kernel;
pub mod launchers;
pub mod lint;
pub mod loadable;
pub(crate) mod lock;
pub(crate) mod modprobe;
pub mod names;
pub(crate) mod notice;
pub mod parallel;
pub mod plan;
pub mod policy;
pub mod preflight;
pub mod probes;
pub mod process;
pub mod program;
pub mod reconcile;
pub(crate) mod register;
pub mod report;
pub(crate) mod resign;
pub mod results;
pub mod reuse;
pub mod root;
pub mod run;
pub mod sandbox;
pub mod share;
pub mod sign;
pub mod superseded;
pub mod system_error;
#[cfg(test)]
mod test_support;
pub mod tree;
pub mod weak;
pub(crate) mod workdir;
pub mod world;

/// What this program calls itself: compared by packages that need `dkms (>= …)`.
pub const VERSION: &str = concat!("dkms-", env!("CARGO_PKG_VERSION"));
