//! `dkms mkpkg`, `mkdeb`, `mkrpm` and `mkdriverdisk`: another program does them, so that this one stays small.

use std::os::unix::process::CommandExt;

use crate::cli::surroundings;
use crate::context::Context;
use crate::error::{Error, RequestError};
use crate::process;

/// Becomes that program, with the same words.
pub(super) fn run(_ctx: &Context) -> Result<u8, Error> {
    let program = surroundings::packager();
    if !program.is_file() {
        return Err(Error::Request(RequestError::NoPackager(program)));
    }
    let error = process::command(&program).args(surroundings::words()).exec();
    Err(std::io::Error::new(error.kind(), format!("cannot run {}: {error}", program.display())).into())
}
