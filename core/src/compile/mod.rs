//! From source to modules: the work directory, patches, scripts and make.

pub mod apport;
pub mod command;
pub mod diagnostic;
mod run;

pub use run::build;
