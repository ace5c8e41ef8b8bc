//! `dkms add`: register a package's source.

use super::{check_access, source};
use crate::cli::args::Args;
use crate::context::Context;
use crate::error::Error;
use crate::register::Again;
use crate::report::Reporter;

pub(super) fn run(ctx: &Context, args: &Args, reporter: &dyn Reporter) -> Result<u8, Error> {
    check_access(ctx, args)?;
    let found = source::look(ctx, args, || source::asked(ctx, args, Again::Refused), reporter)?;
    source::finish(found, args, reporter)
}
