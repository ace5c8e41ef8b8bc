//! dnf4: its plugin is Python, hands the transaction over as JSON on standard input, and reads the verdict as JSON from
//! standard output.

use std::io::{self, Write};
use std::path::Path;

use dkms_core::event::{Event, EventOptions};
use serde::Deserialize;
use serde_json::json;

use crate::files;
use crate::preflight;
use crate::run;
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
    let verdict = match preflight::look(&question.packages, are_all_there(&question.packages)) {
        Ok(verdict) => verdict,
        Err(error) => {
            say(&format!("dkms: cannot look ahead: {}", error.lines().join(" ")));
            return 0;
        }
    };
    let said = preflight::lines(&verdict);
    for line in said.iter().filter(|line| !question.said.contains(line)) {
        say(line);
    }
    let mut answer = json!({"said": said});
    if let Some(message) = preflight::stop_message(&verdict) {
        answer["stop"] = message.into();
    }
    u8::from(writeln!(io::stdout(), "{answer}").is_err())
}

/// Whether the file of every package that comes is there: more will not be known of them, so this look is as good as the
/// last.
fn are_all_there(packages: &[Package]) -> bool {
    packages.iter().filter(|package| package.comes()).all(|package| Path::new(&package.location).is_file())
}

/// The last words of a transaction.
pub fn summary() -> u8 {
    run::report(&Event::TransactionEnd, &EventOptions::default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_look_is_the_one_with_all_files() {
        let dir = tempfile::TempDir::new().unwrap();
        let path = dir.path().join("a.rpm");
        fs_err::write(&path, "").unwrap();
        let of = |direction: &str, location: &Path| Package {
            direction: direction.into(),
            location: location.to_string_lossy().into_owned(),
            ..Package::default()
        };
        let absent = dir.path().join("b.rpm");
        assert!(are_all_there(&[of("IN", &path), of("OUT", Path::new(""))]));
        assert!(!are_all_there(&[of("IN", &path), of("IN", &absent)]));
        assert!(!are_all_there(&[of("IN", Path::new(""))]));
    }
}
