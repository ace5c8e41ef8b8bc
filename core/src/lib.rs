//! Dynamic Kernel Module Support: the shared core.
//!
//! `ARCHITECTURE.md` in the project's top directory is the map of these rooms.

pub mod conf;
pub mod digest;
pub mod names;
pub mod process;
pub mod report;
pub mod root;
pub mod tree;
