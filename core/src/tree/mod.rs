//! The DKMS tree: names of paths, what is in it, and how state is written.

pub mod below;
pub mod beside;
pub mod compare;
pub mod entry;
pub mod fallback;
pub mod glob;
pub mod identity;
pub mod manifest;
pub mod paths;
pub mod record;
pub mod snapshot;
pub mod walk;

pub use paths::{Place, Trees};
