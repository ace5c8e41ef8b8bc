//! What `dkms` asks for: a result by its key, or to push one.

use std::io::Write;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use dkms_core::results::{Kept, Results};
use dkms_core::root::Root;
use dkms_core::share::{Answer, KEYS, LONGEST_WORK, Request, Task};
use dkms_core::tree::Trees;
use std::path::Path;

use crate::address::Address;
use crate::artefact::{self, Manifest, Packed};
use crate::error::Error;
use crate::road;
use crate::share::{Limits, Road};
use crate::trust::{Signer, Trust};

/// Reads a request, does what it says, and answers: the exit code says nothing.
pub fn serve() -> ExitCode {
    let answer = match serde_json::from_reader::<_, Request>(std::io::stdin().lock()) {
        Ok(request) => work(&request).unwrap_or_else(|error| match error {
            Error::Refused(why) => Answer::Refused { why },
            Error::Away(why) => Answer::Away { why },
            error => Answer::Failed { why: error.to_string() },
        }),
        Err(error) => Answer::Failed { why: format!("the request can't be read: {error}") },
    };
    let Ok(text) = serde_json::to_string(&answer) else { return ExitCode::FAILURE };
    let mut out = std::io::stdout().lock();
    // Who has asked may be gone.
    let said = writeln!(out, "{text}").and_then(|()| out.flush());
    if said.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn work(request: &Request) -> Result<Answer, Error> {
    let begun = Instant::now();
    let root = Root::at(&request.root).map_err(|error| Error::Usage(format!("{}: {error}", request.root.display())))?;
    let trees = Trees::new(root);
    let results = Results::new(&trees, request.limit, request.now);
    let dir = trees.outer(Path::new(KEYS));
    let trust = Trust::read(&dir, request.now)?;
    if trust.is_empty() && matches!(request.task, Task::Pull) {
        let why = trust.unfit().first().map_or_else(|| format!("there is no key in {KEYS}"), Clone::clone);
        return Ok(Answer::Refused { why: format!("nobody is trusted here: {why}") });
    }
    let answer = Duration::from_millis(request.answer_ms);
    let limits = Limits { answer, ends: begun + LONGEST_WORK };
    let road = road::open(&Address::parse(&request.share)?, &dir, limits)?;
    match &request.task {
        Task::Pull => {
            let Some(entry) = artefact::fetch(road.as_ref(), &request.key, &trust, request.limit)? else {
                return Ok(Answer::Missing);
            };
            match results.keep(&entry)? {
                Kept::Yes => Ok(Answer::Done),
                Kept::No(why) => Ok(Answer::Failed { why: why.to_owned() }),
            }
        }
        Task::Push { key } => {
            let signer = Signer::read(&trees.outer(key))?;
            let Some(entry) = results.find(&request.key) else { return Ok(Answer::Missing) };
            if has(road.as_ref(), &request.key, &trust)? {
                return Ok(Answer::Done);
            }
            push(road.as_ref(), &Packed::new(&entry, &signer)?)?;
            Ok(Answer::Done)
        }
    }
}

/// Whether the share has the artefact of `key` with all its parts, signed by somebody who is trusted: then it need not be pushed.
pub fn has(road: &dyn Road, key: &dkms_core::digest::Digest, trust: &Trust) -> Result<bool, Error> {
    let Some(bytes) = road.manifest(&key.to_string())? else { return Ok(false) };
    // What nobody could use is replaced.
    match Manifest::parse(&bytes).and_then(|manifest| manifest.open(road, trust)) {
        Ok(found) if found.key != *key => Ok(false),
        Ok(found) => {
            for blob in found.record.blobs() {
                if !road.has_blob(blob)? {
                    log::info!("what the share has is replaced: it lacks the blob sha256:{blob}");
                    return Ok(false);
                }
            }
            Ok(true)
        }
        Err(Error::Refused(why)) => {
            log::info!("what the share has is replaced: {why}");
            Ok(false)
        }
        Err(error) => Err(error),
    }
}

/// Pushes an artefact: first what its manifest names, so that whoever finds it finds all of it.
pub fn push(road: &dyn Road, packed: &Packed) -> Result<(), Error> {
    for (digest, bytes) in &packed.blobs {
        road.put_blob(digest, bytes)?;
    }
    // That by which it is found last.
    packed.tags.iter().rev().try_for_each(|tag| road.put_manifest(tag, &packed.manifest))
}
