//! The DKMS tree: names of paths, what is in it, and how state is written.

pub mod paths;

pub use paths::{Place, Trees};
