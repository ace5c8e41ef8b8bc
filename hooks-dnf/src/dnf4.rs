//! dnf4: its plugin is Python, hands the transaction over as JSON on standard input, and reads the verdict as JSON from
//! standard output.

use std::io::{self, Write};

use serde::Deserialize;
use serde_json::json;

use crate::dnf5::stop_message;
use crate::files;
use crate::preflight;
use crate::run::dkms;
use crate::say;
use crate::transaction::Package;

/// The transaction, and what an earlier look at it has said.
#[derive(Debug, Deserialize)]
struct Question {
    packages: Vec<Package>,
    #[serde(default)]
    said: Vec<String>,
}

/// Reads the transaction, warns of what will go wrong and has not been said, and answers `{"said": [LINE...]}`, with
/// `"stop": REASON` if policy wants it stopped. Without an answer the plugin lets the transaction go on.
pub fn preflight() -> u8 {
    let mut question: Question = match serde_json::from_reader(io::stdin().lock()) {
        Ok(question) => question,
        Err(error) => {
            say(&format!("dkms: cannot look ahead: the plugin's question is not understood: {error}"));
            return 0;
        }
    };
    // Where a file is or would be, dnf4 knows: `location`.
    files::look_into(&mut question.packages, None);
    let verdict = match preflight::look(&question.packages) {
        Ok(verdict) => verdict,
        Err(error) => {
            say(&format!("dkms: cannot look ahead: {}", error.lines().join(" ")));
            return 0;
        }
    };
    let said: Vec<String> = verdict.findings.iter().map(|finding| format!("dkms: {finding}")).collect();
    for line in said.iter().filter(|line| !question.said.contains(line)) {
        say(line);
    }
    let mut answer = json!({"said": said});
    if verdict.stop {
        answer["stop"] = stop_message(&verdict).into();
    }
    u8::from(writeln!(io::stdout(), "{answer}").is_err())
}

/// The last words of a transaction.
pub fn summary() -> u8 {
    dkms(&["reconcile", "--all-kernels", "--event", "transaction-end"])
}
