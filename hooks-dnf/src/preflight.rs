//! What will go wrong with the kernels of a transaction, said before it begins.

use dkms_core::cli::args::Args;
use dkms_core::cli::surroundings;
use dkms_core::error::Error;
use dkms_core::preflight::{self, Verdict};

use crate::transaction::{self, Package};

/// Looks at the transaction that brings `packages`. `last`: it is not looked again, and all that can be known of the
/// packages is.
pub fn look(packages: &[Package], last: bool) -> Result<Verdict, Error> {
    let incoming = transaction::incoming(packages, last);
    // Most transactions bring no kernel.
    if incoming.kernels.is_empty() {
        return Ok(Verdict::default());
    }
    let args = Args::parse(["status".into()]).map_err(Error::Usage)?;
    preflight::look(&surroundings::context(&args)?, &incoming)
}

/// What the user reads, line by line.
pub fn lines(verdict: &Verdict) -> Vec<String> {
    verdict.findings.iter().map(|finding| format!("dkms: {finding}")).collect()
}

/// What the user reads when the transaction is stopped: the reasons, and the way out. `None`: it goes on.
pub fn stop_message(verdict: &Verdict) -> Option<String> {
    let reasons = verdict.findings.iter().filter(|finding| finding.stops.is_some());
    let reasons: Vec<String> = reasons.map(ToString::to_string).collect();
    Some(format!("dkms: {} ({}, see dkms-framework.conf(5))", reasons.join("; "), verdict.stop()?))
}
