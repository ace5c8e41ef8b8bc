//! From source to modules: the work directory, patches, scripts and make.

pub mod apport;
pub mod command;
pub mod diagnostic;
pub mod log;
mod privilege;
mod run;
pub mod script;
pub mod target;
pub mod workdir;

pub use run::build;
