//! What `dkms` asks for: a result by its key, or to push one.

use std::io::{Read, Seek, Write};
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use dkms_core::process;
use dkms_core::results::{Kept, Results};
use dkms_core::root::Root;
use dkms_core::sandbox;
use dkms_core::share::{Answer, KEYS, Request, Task};
use dkms_core::tree::Trees;

use crate::address::Address;
use crate::artefact::{self, Manifest, Packed, Sought};
use crate::carried::{self, Carried};
use crate::error::Error;
use crate::road;
use crate::share::{LONGEST_MANIFEST, Limits, Road};
use crate::trust::{Signer, Trust};

/// The word by which this program is asked to talk with the share for another process of it.
pub const FETCH: &str = "__fetch";
/// It ends by itself when its time is over; if it does not, it is ended after so much more.
const PATIENCE: Duration = Duration::from_secs(5);

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

/// Reads a request as [`serve`] does, looks for what it says, and writes what was found: as a user that owns nothing, since strangers
/// send it.
pub fn fetch_apart() -> ExitCode {
    // Standard error is the artefact's file, too.
    let quiet = std::fs::OpenOptions::new().write(true).open("/dev/null");
    if quiet.and_then(|null| Ok(rustix::stdio::dup2_stderr(null)?)).is_err() {
        return ExitCode::FAILURE;
    }
    let outcome = serde_json::from_reader::<_, Request>(std::io::stdin().lock())
        .map_err(|error| Error::Usage(format!("the request can't be read: {error}")))
        .and_then(|request| {
            // Keys, certificates and passwords are root's to read.
            let here = Here::of(&request)?;
            let road = here.road()?;
            own_nothing(&request);
            artefact::fetch(road.as_ref(), sought(&request), &here.trust, request.limit)
        });
    match carried::write(&mut std::io::stdout().lock(), outcome) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

/// What a request is worked on with.
struct Here {
    trees: Trees,
    address: Address,
    trust: Trust,
    limits: Limits,
}

impl Here {
    fn of(request: &Request) -> Result<Self, Error> {
        let begun = Instant::now();
        let root =
            Root::at(&request.root).map_err(|error| Error::Usage(format!("{}: {error}", request.root.display())))?;
        let trees = Trees::new(root);
        let trust = Trust::read(&trees.outer(Path::new(KEYS)), request.now)?;
        let limits = Limits {
            answer: Duration::from_millis(request.answer_ms),
            ends: begun + Duration::from_millis(request.work_ms),
        };
        Ok(Self { trees, address: Address::parse(&request.share)?, trust, limits })
    }

    fn road(&self) -> Result<Box<dyn Road>, Error> {
        road::open(&self.address, &self.trees.outer(Path::new(KEYS)), self.limits)
    }

    /// Whether strangers are talked with, by root.
    fn is_apart(&self) -> bool {
        !matches!(self.address, Address::Directory(_)) && rustix::process::geteuid().is_root()
    }
}

/// Gives everything up that this process does not need to talk with strangers, as far as the system lets it.
fn own_nothing(request: &Request) {
    // No more memory than an artefact may take.
    let most = request.limit.saturating_add(2 * LONGEST_MANIFEST);
    let hard = rustix::process::getrlimit(rustix::process::Resource::Fsize).maximum;
    let most = Some(hard.map_or(most, |hard| most.min(hard)));
    let limit = rustix::process::Rlimit { current: most, maximum: most };
    if let Err(error) = rustix::process::setrlimit(rustix::process::Resource::Fsize, limit) {
        log::debug!("what the share sends has no limit: {error}");
    }
    // Where the system gives no other user, dkms has said so: what is written here is the answer.
    if let Err(error) = sandbox::own_nothing() {
        log::debug!("the share is talked with as root: {error}");
    }
}

fn sought(request: &Request) -> Sought<'_> {
    match request.task {
        Task::PullLike => Sought::Outline(&request.key),
        Task::Pull | Task::Push { .. } => Sought::Key(&request.key),
    }
}

fn work(request: &Request) -> Result<Answer, Error> {
    let here = Here::of(request)?;
    let results = Results::new(&here.trees, request.limit, request.now);
    match &request.task {
        Task::Pull | Task::PullLike => {
            if here.trust.is_empty() {
                let why = here.trust.unfit().first().cloned();
                let why = why.unwrap_or_else(|| format!("there is no key in {KEYS}"));
                return Ok(Answer::Refused { why: format!("nobody is trusted here: {why}") });
            }
            let carried = if here.is_apart() {
                from_apart(request)?
            } else {
                artefact::fetch(here.road()?.as_ref(), sought(request), &here.trust, request.limit)?
            };
            let Some(carried) = carried else { return Ok(Answer::Missing) };
            let entry = carried.entry(&here.trust)?;
            sought(request).check(&entry.key)?;
            match (results.keep(&entry)?, &request.task) {
                (Kept::No(why), _) => Ok(Answer::Failed { why: why.to_owned() }),
                (Kept::Yes, Task::PullLike) => {
                    let key = entry.key.digest().map_err(|error| Error::Refused(error.to_string()))?;
                    Ok(Answer::Found { key })
                }
                (Kept::Yes, _) => Ok(Answer::Done),
            }
        }
        Task::Push { key } => {
            let signer = Signer::read(&here.trees.outer(key))?;
            let Some(entry) = results.find(&request.key) else { return Ok(Answer::Missing) };
            // Before anything of a stranger's is read.
            let packed = Packed::new(&entry, &signer)?;
            let road = here.road()?;
            if here.is_apart() {
                own_nothing(request);
            }
            if !has(road.as_ref(), &request.key, &here.trust)? {
                push(road.as_ref(), &packed)?;
            }
            Ok(Answer::Done)
        }
    }
}

/// What another process of this program has fetched.
fn from_apart(request: &Request) -> Result<Option<Carried>, Error> {
    let failed = |error: &dyn std::fmt::Display| Error::Usage(format!("the share can't be asked: {error}"));
    // It may name a proxy.
    let environment: process::Environment = std::env::vars_os().collect();
    let flags = rustix::fs::MemfdFlags::CLOEXEC;
    let memory = rustix::fs::memfd_create("share", flags).map_err(|error| failed(&error))?;
    let mut memory = std::fs::File::from(memory);
    let mut task = process::Task::new(["/proc/self/exe", FETCH], Path::new("/"), &environment);
    task.input = Some(serde_json::to_vec(request).map_err(|error| failed(&error))?);
    task.output = process::Output::File(memory.try_clone().map_err(|error| failed(&error))?);
    task.limit = Some(Duration::from_millis(request.work_ms) + PATIENCE);
    let end = process::run(task).map_err(|error| failed(&error))?;
    if end.timed_out {
        return Err(Error::Away("it takes too long".to_owned()));
    }
    if !end.status.success() {
        return Err(failed(&format_args!("who asks it ended with {}", end.code())));
    }
    let mut bytes = Vec::new();
    memory.rewind().and_then(|()| memory.read_to_end(&mut bytes)).map_err(|error| failed(&error))?;
    carried::read(&bytes)
}

/// Whether the share has the artefact of `key` with all its parts and tags, signed by somebody who is trusted: then it need not
/// be pushed. A tag of its outline may lead to another artefact, that a machine of the same outline pushed later.
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
            for tag in artefact::other_tags(&found.record.key, key)? {
                if road.manifest(&tag)?.is_none() {
                    log::info!("what the share has is pushed again: it lacks the tag {tag}");
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
