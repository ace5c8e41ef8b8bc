//! Questions that builds put to compilers, answered once.
//!
//! kbuild finds out what a compiler can do by trying: some 35 of the 40 compilers that a small module starts see no source of
//! that module. Here is what answers those from a store, and passes everything else on.
//!
//! - [`stub`] is what a build finds as `gcc`: this program, by way of a directory in front of PATH. It decides from the
//!   command alone ([`question`]) whether it has a pure question, looks for the answer in the store, which it can only read,
//!   and becomes the compiler itself in every other case.
//! - [`service`] is root's side, one for each build. A question without an answer comes to it over a socket.
//! - [`ask`] puts it to the compiler, as a user that owns nothing, in a system that can only be read, without anything of any
//!   build. What a build says is believed for the question, never for the answer.
//! - [`store`] has the answers ([`answer`]), by the identity of the compilers ([`crate::compilers`]) and the question's digest.

pub(crate) mod answer;
mod ask;
pub(crate) mod question;
mod service;
mod settings;
mod store;
mod stub;

use std::ffi::OsString;
use std::process::ExitCode;

use crate::sandbox::confine;

pub use service::Service;

/// What every program that uses the core does first: it may have been started as a compiler, to ask one, or as the first
/// stage of a confined task. `args`: without the program's name. `None`: they are for somebody else.
pub fn stage(args: &[OsString]) -> Option<ExitCode> {
    stub::called(args).or_else(|| ask::called(args)).or_else(|| confine::stage(args))
}

#[cfg(test)]
mod tests;
