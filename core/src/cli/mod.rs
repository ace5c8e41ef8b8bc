//! The command line: from words to a run, and from its outcome to an exit code.

pub mod args;
pub mod table;
