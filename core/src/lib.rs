//! Dynamic Kernel Module Support: the shared core.
//!
//! `ARCHITECTURE.md` in the project's top directory is the map of these rooms.

pub mod digest;
pub mod durable;
pub mod journal;
pub mod lock;
pub mod names;
pub mod process;
pub mod report;
pub mod root;
pub mod tree;
