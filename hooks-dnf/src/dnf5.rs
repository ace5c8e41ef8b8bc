//! dnf5's actions in JSON mode (libdnf5-actions(8)): we write requests to standard output, one JSON value each, and read
//! replies from standard input. Nothing else may ever be written there.

use std::io::{self, BufRead, Write};
use std::path::Path;

use dkms_core::error::Error;
use dkms_core::event::{Event, EventOptions};
use dkms_core::preflight::Verdict;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::files;
use crate::preflight;
use crate::run;
use crate::say;
use crate::transaction::Package;

/// The variable in which dnf5 keeps, for the time of the transaction, what has been said.
const SAID: &str = "dkms_said";

/// What can go wrong in the channel. It never stops a transaction.
#[derive(Debug, thiserror::Error)]
pub enum ChannelError {
    /// dnf5 has gone away, or can't be written to.
    #[error("dnf5 does not answer: {0}")]
    Io(#[from] io::Error),
    /// A reply that is no JSON, or no reply.
    #[error("dnf5's answer is not understood: {0}")]
    Json(#[from] serde_json::Error),
    /// We fail ourselves.
    #[error("{}", .0.lines().join(" "))]
    Core(#[from] Error),
    /// dnf5 refuses.
    #[error("dnf5 reports an error: {0}")]
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

/// The two ends of the channel.
struct Channel<R, W> {
    from: R,
    to: W,
}

impl<R: BufRead, W: Write> Channel<R, W> {
    fn send(&mut self, request: &Value) -> Result<(), ChannelError> {
        writeln!(self.to, "{request}")?;
        self.to.flush()?;
        Ok(())
    }

    fn ask(&mut self, request: &Value) -> Result<Value, ChannelError> {
        self.send(request)?;
        let mut line = String::new();
        self.from.read_line(&mut line)?;
        let reply: Reply = serde_json::from_str(&line)?;
        if reply.status == "OK" { Ok(reply.value) } else { Err(ChannelError::Refused(reply.message)) }
    }

    /// The packages of the transaction, those that go included.
    fn packages(&mut self) -> Result<Vec<Package>, ChannelError> {
        let output =
            ["name", "version", "release", "arch", "direction", "install_size", "repo_id", "location"].as_slice();
        let mut value = self.ask(&json!({"op": "get", "domain": "trans_packages", "args": {"output": output}}))?;
        Ok(serde_json::from_value(value["trans_packages"].take())?)
    }

    /// The value of an option; `None` also if there is no such option.
    fn option(&mut self, key: &str) -> Result<Option<String>, ChannelError> {
        let value = match self.ask(&json!({"op": "get", "domain": "conf", "args": {"key": key}})) {
            Ok(value) => value,
            Err(ChannelError::Refused(_)) => return Ok(None),
            Err(error) => return Err(error),
        };
        let value = value["keys_val"][0]["value"].as_str().filter(|value| !value.is_empty());
        Ok(value.map(str::to_owned))
    }

    /// What an earlier look at this transaction has said already.
    fn said(&mut self) -> Result<Vec<String>, ChannelError> {
        let value = self.ask(&json!({"op": "get", "domain": "actions_vars", "args": {"name": SAID}}))?;
        let text = value["actions_vars"][0]["value"].as_str().unwrap_or_default();
        Ok(serde_json::from_str(text).unwrap_or_default())
    }

    fn look(&mut self, last: bool) -> Result<(), ChannelError> {
        let mut packages = self.packages()?;
        let cache = self.option("cachedir")?;
        files::look_into(&mut packages, cache.as_deref().map(Path::new));
        let verdict = preflight::look(&packages, last)?;
        // Most transactions bring no kernel.
        if verdict.findings.is_empty() {
            return Ok(());
        }
        let said = self.said()?;
        self.tell(&verdict, &said)
    }

    /// Keeps it for a later look.
    fn remember(&mut self, said: &[String]) -> Result<(), ChannelError> {
        let value = json!(said).to_string();
        self.ask(&json!({"op": "set", "domain": "actions_vars", "args": {"name": SAID, "value": value}}))?;
        Ok(())
    }

    /// Warns of what has not been said yet, and stops the transaction if that is the verdict.
    fn tell(&mut self, verdict: &Verdict, said: &[String]) -> Result<(), ChannelError> {
        let words = preflight::lines(verdict);
        for line in words.iter().filter(|line| !said.contains(line)) {
            say(line);
            self.ask(&json!({"op": "log", "args": {"level": "WARNING", "message": line}}))?;
        }
        if words != said {
            self.remember(&words)?;
        }
        if let Some(message) = preflight::stop_message(verdict) {
            self.send(&json!({"op": "stop", "args": {"message": message}}))?;
        }
        Ok(())
    }
}

/// A look at the transaction: warns of what will go wrong, and stops it if policy wants that. It is taken twice: before
/// the user is asked, when most of what comes is known by name only, and again when all of it has been downloaded and
/// nothing is changed yet (`last`). What the first look has said, the second does not say again.
pub fn look(last: bool) -> u8 {
    let mut channel = Channel { from: io::stdin().lock(), to: io::stdout().lock() };
    match channel.look(last) {
        Ok(()) => 0,
        Err(error) => give_up(&error),
    }
}

/// After everything: the core tries once more what failed in between, and says what every kernel has and lacks.
pub fn post_transaction() -> u8 {
    let mut channel = Channel { from: io::stdin().lock(), to: io::stdout().lock() };
    // A transaction of other things needs no summary.
    if let Err(error) = channel.packages() {
        return give_up(&error);
    }
    run::report(&Event::TransactionEnd, &EventOptions::default())
}

/// A preflight that can't be made is worth a line, and stops nothing.
fn give_up(why: &ChannelError) -> u8 {
    say(&format!("dkms: cannot look ahead: {why}"));
    0
}

#[cfg(test)]
mod tests {
    use super::*;
    use dkms_core::preflight::{Finding, What};

    fn failed(stop: bool) -> Finding {
        Finding {
            what: What::Failed("x".into()),
            kernel: None,
            packages: vec!["a/1".into()],
            mend: None,
            stops: stop.then(|| "policy=fail".into()),
        }
    }

    #[test]
    fn asks_for_what_comes() {
        let reply = r#"{"op":"reply","requested_op":"get","domain":"trans_packages","status":"OK","return":{"trans_packages":[{"name":"kernel-core","version":"7.2","release":"1","arch":"x86_64","direction":"IN","install_size":"9"}]}}"#;
        let mut sent = Vec::new();
        let mut channel = Channel { from: format!("{reply}\n").leak().as_bytes(), to: &mut sent };
        let packages = channel.packages().unwrap();
        assert_eq!((packages.len(), packages[0].name.as_str(), packages[0].install_size), (1, "kernel-core", 9));
        let sent = String::from_utf8(sent).unwrap();
        assert!(sent.ends_with('\n') && sent.lines().count() == 1, "{sent}");
    }

    #[test]
    fn a_refusal_is_no_answer() {
        let reply =
            "{\"op\":\"reply\",\"requested_op\":\"get\",\"domain\":\"x\",\"status\":\"ERROR\",\"message\":\"no\"}\n";
        let error = Channel { from: reply.as_bytes(), to: Vec::new() }.packages().unwrap_err();
        assert_eq!(error.to_string(), "dnf5 reports an error: no");
        let error = Channel { from: &b""[..], to: Vec::new() }.packages().unwrap_err();
        assert!(error.to_string().contains("not understood"), "{error}");
    }

    #[test]
    fn an_option_that_is_not_there_is_none() {
        for (reply, expected) in [
            (
                r#"{"status":"OK","return":{"keys_val":[{"key":"cachedir","value":"/var/cache/libdnf5"}]}}"#,
                Some("/var/cache/libdnf5"),
            ),
            (r#"{"status":"OK","return":{"keys_val":[{"key":"x","value":""}]}}"#, None),
            (r#"{"status":"OK","return":{"keys_val":[]}}"#, None),
            (r#"{"status":"ERROR","message":"no such option"}"#, None),
        ] {
            let mut channel = Channel { from: reply.as_bytes(), to: Vec::new() };
            assert_eq!(channel.option("x").unwrap().as_deref(), expected, "{reply}");
        }
    }

    #[test]
    fn stops_only_if_told_to_and_says_nothing_twice() {
        let ok = "{\"op\":\"reply\",\"status\":\"OK\"}\n".repeat(2);
        let words = [format!("dkms: {}", failed(false))];
        // The warning, the memory of it, and the stop, which is not answered.
        for (stop, said, lines) in [(false, &[][..], 2), (true, &[], 3), (false, &words, 0), (true, &words, 1)] {
            let mut sent = Vec::new();
            let verdict = Verdict { findings: vec![failed(stop)] };
            Channel { from: ok.as_bytes(), to: &mut sent }.tell(&verdict, said).unwrap();
            let sent = String::from_utf8(sent).unwrap();
            assert_eq!(sent.lines().count(), lines, "{sent}");
            assert_eq!(sent.contains("\"op\":\"stop\""), stop, "{sent}");
        }
    }

    #[test]
    fn what_was_said_comes_back() {
        let mut sent = Vec::new();
        let ok = "{\"status\":\"OK\"}\n";
        Channel { from: ok.as_bytes(), to: &mut sent }.remember(&["a \"b\"".to_owned()]).unwrap();
        let sent: Value = serde_json::from_slice(&sent).unwrap();
        let reply = json!({"status": "OK", "return": {"actions_vars": [sent["args"]]}}).to_string();
        assert_eq!(Channel { from: reply.as_bytes(), to: Vec::new() }.said().unwrap(), ["a \"b\""]);
        let none = r#"{"status":"OK","return":{"actions_vars":[]}}"#;
        assert!(Channel { from: none.as_bytes(), to: Vec::new() }.said().unwrap().is_empty());
    }
}
