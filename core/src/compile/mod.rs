//! From source to modules: the work directory, patches, scripts and make.

pub mod advice;
pub mod apport;
pub mod command;
mod compilers;
pub mod diagnostic;
mod environment;
mod error;
mod fetch;
mod outlined;
pub mod refusal;
mod reuse;
mod run;
mod taken;

pub use error::Error;
pub use reuse::{foresee, key};
pub use run::build;
