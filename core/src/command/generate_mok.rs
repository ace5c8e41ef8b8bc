//! `dkms generate_mok`: make the key that signs modules, if there is none (docs/contract.md 2.12).

use crate::cli::args::Args;
use crate::context::Context;
use crate::error::Error;
use crate::report::Reporter;
use crate::run::Session;
use crate::sign::signing;

pub(super) fn run(ctx: &Context, args: &Args, reporter: &dyn Reporter) -> Result<u8, Error> {
    let session = Session::new(ctx)?;
    // Paths of keys may hold ${kernelver}.
    let kernel = session.facts.kernel(&super::source::some_kernel(ctx, args)?)?;
    let options = session.facts.signing_options(&kernel)?;
    if ctx.options.dry_run {
        return Ok(u8::from(!signing::promise_keys(ctx, &kernel, &options, reporter)));
    }
    let made = signing::make_keys(ctx, &kernel, &options, reporter);
    Ok(u8::from(made.is_none()))
}
