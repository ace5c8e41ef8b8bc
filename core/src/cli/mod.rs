//! The command line: words to [`args::Args`], and this process's surroundings to a `Context`.

pub mod args;
pub mod options;
pub mod parser;
pub mod surroundings;
pub mod table;
pub(crate) mod verb;
