//! dnf5's actions in JSON mode (libdnf5-actions(8)): we write requests to standard output, one JSON value each, and read
//! replies from standard input. Nothing else may ever be written there.

use std::io::{self, BufRead, Write};

use serde::Deserialize;
use serde_json::{Value, json};

use crate::preflight::{self, Verdict};
use crate::run::dkms;
use crate::say;
use crate::transaction::Package;

/// What can go wrong in the talk. It never stops a transaction.
#[derive(Debug, thiserror::Error)]
pub enum TalkError {
    /// dnf5 has gone away, or can't be written to.
    #[error("dnf5 does not answer: {0}")]
    Io(#[from] io::Error),
    /// A reply that is no JSON, or no reply.
    #[error("dnf5's answer is not understood: {0}")]
    Json(#[from] serde_json::Error),
    /// dnf5 refuses.
    #[error("dnf5 refuses to tell: {0}")]
    Refused(String),
}

/// A reply of dnf5.
#[derive(Debug, Deserialize)]
struct Reply {
    status: String,
    #[serde(default)]
    message: String,
    #[serde(default, rename = "return")]
    value: Value,
}

/// The two ends of the talk.
struct Talk<R, W> {
    from: R,
    to: W,
}

impl<R: BufRead, W: Write> Talk<R, W> {
    fn send(&mut self, request: &Value) -> Result<(), TalkError> {
        writeln!(self.to, "{request}")?;
        self.to.flush()?;
        Ok(())
    }

    fn ask(&mut self, request: &Value) -> Result<Value, TalkError> {
        self.send(request)?;
        let mut line = String::new();
        self.from.read_line(&mut line)?;
        let reply: Reply = serde_json::from_str(&line)?;
        if reply.status == "OK" { Ok(reply.value) } else { Err(TalkError::Refused(reply.message)) }
    }

    /// The packages that come with the transaction.
    fn incoming(&mut self) -> Result<Vec<Package>, TalkError> {
        let mut value = self.ask(&json!({
            "op": "get", "domain": "trans_packages",
            "args": {
                "output": ["name", "version", "release", "arch", "direction"],
                "filters": [{"key": "direction", "value": "IN"}],
            },
        }))?;
        Ok(serde_json::from_value(value["trans_packages"].take())?)
    }

    fn tell(&mut self, verdict: &Verdict) -> Result<(), TalkError> {
        for finding in &verdict.findings {
            self.ask(&json!({"op": "log", "args": {"level": "WARNING", "message": format!("dkms: {finding}")}}))?;
        }
        if verdict.stop {
            self.send(&json!({"op": "stop", "args": {"message": stop_message(verdict)}}))?;
        }
        Ok(())
    }
}

/// What the user reads when a transaction was stopped: the reasons, and the way out.
pub fn stop_message(verdict: &Verdict) -> String {
    let reasons: Vec<String> = verdict.findings.iter().map(ToString::to_string).collect();
    format!("dkms: {} (stopped by policy=fail or a required package, see dkms(8))", reasons.join("; "))
}

/// Before the user is asked: warns of what will go wrong, and stops the transaction if policy wants it.
pub fn goal_resolved() -> u8 {
    let mut talk = Talk { from: io::stdin().lock(), to: io::stdout().lock() };
    let done = talk.incoming().map(|packages| preflight::look(&packages));
    let verdict = match done {
        Ok(Ok(verdict)) => verdict,
        Ok(Err(error)) => return give_up(&error.lines().join(" ")),
        Err(error) => return give_up(&error.to_string()),
    };
    for finding in &verdict.findings {
        say(&format!("dkms: {finding}"));
    }
    match talk.tell(&verdict) {
        Ok(()) => 0,
        Err(error) => give_up(&error.to_string()),
    }
}

/// After everything: the core tries once more what failed in between, and says what every kernel has and lacks.
pub fn post_transaction() -> u8 {
    let mut talk = Talk { from: io::stdin().lock(), to: io::stdout().lock() };
    // A transaction of other things needs no summary.
    match talk.incoming() {
        Ok(_) => {}
        Err(error) => return give_up(&error.to_string()),
    }
    dkms(&["reconcile", "--all-kernels", "--event", "transaction-end"])
}

/// A preflight that can't be made is worth a line, and stops nothing.
fn give_up(why: &str) -> u8 {
    say(&format!("dkms: cannot look ahead: {why}"));
    0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::preflight::Finding;

    fn room() -> Finding {
        Finding::NoRoom { dir: "/var".into(), free: 0, needed: 1 << 24 }
    }

    #[test]
    fn asks_for_what_comes() {
        let reply = r#"{"op":"reply","requested_op":"get","domain":"trans_packages","status":"OK","return":{"trans_packages":[{"name":"kernel-core","version":"7.2","release":"1","arch":"x86_64","direction":"IN"}]}}"#;
        let mut sent = Vec::new();
        let mut talk = Talk { from: format!("{reply}\n").leak().as_bytes(), to: &mut sent };
        let packages = talk.incoming().unwrap();
        assert_eq!((packages.len(), packages[0].name.as_str()), (1, "kernel-core"));
        let sent = String::from_utf8(sent).unwrap();
        assert!(sent.ends_with('\n') && sent.lines().count() == 1, "{sent}");
    }

    #[test]
    fn a_refusal_is_no_answer() {
        let reply =
            "{\"op\":\"reply\",\"requested_op\":\"get\",\"domain\":\"x\",\"status\":\"ERROR\",\"message\":\"no\"}\n";
        let error = Talk { from: reply.as_bytes(), to: Vec::new() }.incoming().unwrap_err();
        assert_eq!(error.to_string(), "dnf5 refuses to tell: no");
        let error = Talk { from: &b""[..], to: Vec::new() }.incoming().unwrap_err();
        assert!(error.to_string().contains("not understood"), "{error}");
    }

    #[test]
    fn stops_only_if_told_to() {
        let ok = "{\"op\":\"reply\",\"status\":\"OK\"}\n";
        for (stop, lines) in [(false, 1), (true, 2)] {
            let mut sent = Vec::new();
            let verdict = Verdict { findings: vec![room()], stop };
            Talk { from: ok.as_bytes(), to: &mut sent }.tell(&verdict).unwrap();
            let sent = String::from_utf8(sent).unwrap();
            assert_eq!(sent.lines().count(), lines, "{sent}");
            assert_eq!(sent.contains("\"op\":\"stop\""), stop, "{sent}");
        }
    }
}
