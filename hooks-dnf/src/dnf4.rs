//! dnf4: its plugin is Python, hands the transaction over as JSON on standard input, and reads the verdict as JSON from
//! standard output.

use std::io::{self, Write};

use serde::Deserialize;
use serde_json::json;

use crate::dnf5::stop_message;
use crate::preflight;
use crate::run::dkms;
use crate::say;
use crate::transaction::Package;

/// The transaction.
#[derive(Debug, Deserialize)]
struct Question {
    packages: Vec<Package>,
}

/// Reads the transaction, warns of what will go wrong, and answers `{"stop": REASON}` if policy wants it stopped, else
/// `{}`. Without an answer the plugin lets the transaction go on.
pub fn preflight() -> u8 {
    let question: Question = match serde_json::from_reader(io::stdin().lock()) {
        Ok(question) => question,
        Err(error) => {
            say(&format!("dkms: cannot look ahead: the plugin's question is not understood: {error}"));
            return 0;
        }
    };
    let verdict = match preflight::look(&question.packages) {
        Ok(verdict) => verdict,
        Err(error) => {
            say(&format!("dkms: cannot look ahead: {}", error.lines().join(" ")));
            return 0;
        }
    };
    for finding in &verdict.findings {
        say(&format!("dkms: {finding}"));
    }
    let answer = if verdict.stop { json!({"stop": stop_message(&verdict)}) } else { json!({}) };
    u8::from(writeln!(io::stdout(), "{answer}").is_err())
}

/// The last words of a transaction.
pub fn summary() -> u8 {
    dkms(&["reconcile", "--all-kernels", "--event", "transaction-end"])
}
