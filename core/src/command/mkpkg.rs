//! `dkms mkpkg`, `mkdeb`, `mkrpm`, `mkdriverdisk` and `share`: other programs do them, so that this one stays small.

use std::os::unix::process::CommandExt;
use std::path::PathBuf;

use crate::cli::surroundings;
use crate::context::Context;
use crate::error::{Error, RequestError};
use crate::process;

/// Becomes that program, with the same words.
pub(super) fn run(_ctx: &Context) -> Result<u8, Error> {
    become_program("dkms-mkpkg", RequestError::NoPackager)
}

/// Becomes the program that shares what was built.
pub(super) fn share() -> Result<u8, Error> {
    become_program("dkms-share", RequestError::NoShareProgram)
}

fn become_program(name: &str, missing: impl FnOnce(PathBuf) -> RequestError) -> Result<u8, Error> {
    let program = process::companion(name);
    if !program.is_file() {
        return Err(Error::Request(missing(program)));
    }
    let error = process::command(&program).args(surroundings::words()).exec();
    Err(std::io::Error::new(error.kind(), format!("cannot run {}: {error}", program.display())).into())
}
