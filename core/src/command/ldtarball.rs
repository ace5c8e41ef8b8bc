//! `dkms ldtarball`: register a package from an archive.

use std::path::Path;

use super::{check_access, source};
use crate::cli::args::Args;
use crate::context::Context;
use crate::error::{ArchiveError, Error, RequestError};
use crate::register::{Again, Asked, missing};
use crate::report::Reporter;

pub(super) fn run(ctx: &Context, args: &Args, reporter: &dyn Reporter) -> Result<u8, Error> {
    let Some(archive) = args.archive.clone() else {
        return Err(nothing_named(args));
    };
    if ctx.options.force && !ctx.machine.root && ctx.trees.root.is_host() {
        return Err(Error::Request(RequestError::NotRoot));
    }
    check_access(ctx, args)?;
    let found = source::look(ctx, args, || Ok(Asked::File(archive, Again::Refused)), reporter)?;
    source::finish(found, args, reporter)
}

/// No word is a file. The words were taken for a package then, which a path is cut in two for.
fn nothing_named(args: &Args) -> Error {
    let words: Vec<&str> = [&args.module, &args.version].into_iter().flatten().map(String::as_str).collect();
    if words.is_empty() {
        return Error::Archive(ArchiveError::NotNamed);
    }
    missing(Path::new(&words.join("/")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_not_there_is_named_as_it_was_written() {
        for word in ["nosuch.tar", "/root/nosuch.tar", "dir/nosuch.tar.xz", "../a/b/nosuch.tgz", "./nosuch.tar"] {
            let args = Args::parse(["ldtarball", word].map(Into::into)).unwrap();
            assert_eq!(args.archive, None);
            let error = nothing_named(&args);
            assert_eq!(error.lines()[0], format!("{word} does not exist."));
            assert_eq!(error.code(), 2);
        }
        let error = nothing_named(&Args::parse(["ldtarball".into()]).unwrap());
        assert!(error.lines()[0].contains("No archive") && error.code() == 2, "{:?}", error.lines());
    }
}
