//! `dkms fsck`: whether everything of ours is whole and in its place; `--repair` mends it.

use super::check_access;
use crate::cli::args::Args;
use crate::context::Context;
use crate::error::{Error, RegistrationError};
use crate::fsck::{self, Finding};
use crate::report::{Buffer, Reporter};
use crate::run::Session;

pub(super) fn run(ctx: &Context, args: &Args, repair: bool, json: bool, reporter: &dyn Reporter) -> Result<u8, Error> {
    check_access(ctx, args)?;
    let session = Session::new(ctx)?;
    let mut found = fsck::check(&session)?;
    let mut mended: Vec<Finding> = Vec::new();
    if repair && !ctx.options.dry_run && !found.is_empty() {
        let before = found.clone();
        // With JSON, standard output is for a program.
        let quiet = Buffer::default();
        let said: &dyn Reporter = if json { &quiet } else { reporter };
        found = fsck::repair(&session, found, said)?;
        mended = before.into_iter().filter(|finding| !found.contains(finding)).collect();
    }
    if json {
        let report = Report { found: &found, mended: &mended };
        super::document(&report, reporter)?;
    } else {
        for finding in &mended {
            reporter.line(&format!("Mended: {finding}"));
        }
        for finding in &found {
            reporter.line(finding);
            let would = if !finding.can_be_mended() {
                "By hand"
            } else if repair && ctx.options.dry_run {
                "Would"
            } else {
                "To mend it"
            };
            reporter.line(&format!("    {would}: {}", finding.repair));
        }
        if found.is_empty() && mended.is_empty() {
            reporter.line(&"Everything is as it should be.");
        }
    }
    let mendable = found.iter().filter(|finding| finding.can_be_mended()).count();
    if found.is_empty() || (repair && ctx.options.dry_run) {
        return Ok(0);
    }
    Err(RegistrationError::Unsound { left: found.len(), mendable }.into())
}

/// What is printed as JSON.
#[derive(serde::Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub(super) struct Report<'a> {
    found: &'a [Finding],
    mended: &'a [Finding],
}
