//! From source to modules: the work directory, patches, scripts and make.

pub mod diagnostic;
pub mod log;
