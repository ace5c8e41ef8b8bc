//! dkms.conf, its overrides and framework.conf: from files to decisions.
//!
//! Data flows from top to bottom: `files` names what is to be read, `bash` has it evaluated by a real
//! bash (`session`) into raw directives (`reading`, `directive`), `typed` checks them and gives a [`Conf`], `recipe` resolves
//! that for one kernel, `exclusive` decides what a kernel is excluded from. `framework` is the same
//! for framework.conf.

pub mod answer;
pub mod bash;
pub mod compiler_launcher;
pub mod directive;
pub mod error;
pub mod exclusive;
pub mod files;
pub mod framework;
pub mod holds;
pub mod misspelt;
mod reading;
pub mod recipe;
mod rights;
mod session;
pub mod shared;
pub mod typed;
pub mod unknown;
mod values;
pub mod wish;

pub use answer::Answer;
pub use bash::{Evaluator, Kind, Launcher, Request, Shelter};
pub use directive::{Directive, Raw};
pub use error::ConfError;
pub use exclusive::{KernelInfo, Lookup, Reason};
pub use files::{Source, package_files};
pub use framework::Framework;
pub use recipe::{MakeCommand, Recipe};
pub use typed::{Conf, Problem};
pub use wish::Wish;

#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_typed;
