//! Asking the share: what another machine has built from the same inputs need not be built here.
//!
//! The way there is another program's, `dkms-share`, which is started only where `share` is set in framework.conf. It verifies what it
//! fetches, and keeps it in the result cache; from there it is taken as what was built here is, with all the checks of that.
//! Whatever fails ends with a build. A share that is away is not asked again for a while.

mod away;
mod spent;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::context::Context;
use crate::digest::Digest;
use crate::process;
use crate::report::Reporter;
use crate::sandbox::Demotion;
use away::Away;
use spent::{LONGEST, OF_RUN, Spent};

/// The word by which `dkms-share` is asked to serve a [`Request`].
pub const SERVE: &str = "__serve";
/// The directory of the keys that are trusted, and of passwords and certificates.
pub const KEYS: &str = "/etc/dkms/share.d";
/// `dkms-share` ends by itself when its time is over; if it does not, it is ended after so much more.
const PATIENCE: Duration = Duration::from_secs(10);
/// The program.
const PROGRAM: &str = "dkms-share";
/// The format of requests and answers: both programs are of one version.
const FORMAT: u32 = 1;

/// What `dkms-share` finds on its standard input.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// The format.
    pub format: u32,
    /// What is to be done.
    pub task: Task,
    /// The root, as an outer path.
    pub root: PathBuf,
    /// The address of the share.
    pub share: String,
    /// The key of the result.
    pub key: Digest,
    /// How much the results may be that are kept, in bytes.
    pub limit: u64,
    /// The present time, in seconds since 1970.
    pub now: u64,
    /// How long an answer of the share may take, in milliseconds.
    pub answer_ms: u64,
    /// How long all of it may take, however steadily something comes.
    pub work_ms: u64,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Task {
    /// The result is to be fetched, verified and kept.
    Pull,
    /// The same of any result with this outline, whose digest is given as the key.
    PullLike,
    /// The result that is kept is to be signed and pushed.
    Push {
        /// The private key, as an inside path.
        key: PathBuf,
    },
}

/// What it says on its standard output, in a line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "answer")]
pub enum Answer {
    /// It is done.
    Done,
    /// There is a result with that outline; it is kept under this key now.
    Found {
        /// Its key.
        key: Digest,
    },
    /// There is no such result.
    Missing,
    /// What the share has is not to be used.
    Refused {
        /// Why.
        why: String,
    },
    /// The share is of no use for now.
    Away {
        /// Why.
        why: String,
    },
    /// Something is wrong with this machine.
    Failed {
        /// What.
        why: String,
    },
}

/// The share of a run that may use one.
#[derive(Debug)]
pub struct Share<'a> {
    ctx: &'a Context,
    address: &'a str,
    /// How much the results may be that are kept.
    limit: u64,
    /// What this run has had of it.
    spent: &'a Spent,
}

impl<'a> Share<'a> {
    /// That of framework.conf; `None`: there is none, or what comes from it could not be kept.
    pub fn of(ctx: &'a Context) -> Option<Self> {
        let address = ctx.framework.share.address.as_deref()?;
        let limit = ctx.framework.result_cache?;
        ctx.machine.root.then_some(Self { ctx, address, limit, spent: &OF_RUN })
    }

    /// Its address.
    pub fn address(&self) -> &'a str {
        self.address
    }

    /// Has the result of `key` fetched into the result cache, where it is then. `what` names it.
    ///
    /// # Errors
    /// Why it is not there, in a line, if it is more than that the share has none.
    pub fn pull(&self, key: &Digest, what: &str, reporter: &dyn Reporter) -> Result<(), Option<String>> {
        self.fetch(Task::Pull, key, what, reporter).map(drop)
    }

    /// The same of what a trusted builder has made with this outline; gives the key under which it is kept then.
    ///
    /// # Errors
    /// As of [`Share::pull`].
    pub fn pull_like(
        &self,
        outline: &Digest,
        what: &str,
        reporter: &dyn Reporter,
    ) -> Result<Option<Digest>, Option<String>> {
        self.fetch(Task::PullLike, outline, what, reporter)
    }

    fn fetch(
        &self,
        task: Task,
        key: &Digest,
        what: &str,
        reporter: &dyn Reporter,
    ) -> Result<Option<Digest>, Option<String>> {
        match self.ask(task, key) {
            Ok(Answer::Done) => Ok(None),
            Ok(Answer::Found { key }) => Ok(Some(key)),
            Ok(Answer::Missing) => {
                log::info!("the share {} has no build of {what}", self.address);
                Err(None)
            }
            Ok(Answer::Refused { why }) => {
                self.warn(&format!("what the share has of {what} is not used: {why}."), reporter);
                Err(Some(format!("What it has is not used: {why}.")))
            }
            Ok(Answer::Away { why } | Answer::Failed { why }) => {
                // Of every package it would be the same.
                if self.spent.is_news(&why) {
                    self.warn(&format!("the share could not be asked for {what}: {why}."), reporter);
                }
                Err(Some(format!("It could not be asked: {why}.")))
            }
            Err(why) => Err(Some(format!("It was not asked: {why}."))),
        }
    }

    /// Has the result of `key`, which is kept, pushed, if this machine is to.
    pub fn push(&self, key: &Digest, what: &str, reporter: &dyn Reporter) {
        if !self.ctx.framework.share.push {
            return;
        }
        match self.ask(Task::Push { key: self.ctx.framework.share.key.clone() }, key) {
            Ok(Answer::Done | Answer::Found { .. }) => reporter.line(&format!("Pushed to the share {}.", self.address)),
            Ok(Answer::Missing) => log::info!("{what} is not pushed: it is not kept any more"),
            Ok(Answer::Refused { why } | Answer::Away { why } | Answer::Failed { why }) => {
                if self.spent.is_news(&format!("push: {why}")) {
                    self.warn(&format!("{what} could not be pushed to the share: {why}."), reporter);
                }
            }
            Err(why) => {
                // From here on nothing is pushed.
                if self.spent.is_news(&format!("not asked: {why}")) {
                    self.warn(&format!("{what} is not pushed to the share: {why}."), reporter);
                }
            }
        }
    }

    fn warn(&self, text: &str, reporter: &dyn Reporter) {
        log::debug!("the share is {}", self.address);
        reporter.warning(&[&text]);
    }

    /// Asks, unless it is known that this is of no use: why.
    fn ask(&self, task: Task, key: &Digest) -> Result<Answer, String> {
        let Self { ctx, address, limit, spent } = self;
        let away = Away::new(&ctx.trees, address);
        let answer_limit = ctx.framework.share.time_limit;
        // Who does not build has nothing better to do than to ask again, as long as somebody answers now and then.
        let builds = ctx.framework.share.build_locally;
        let why = if builds { away.still(ctx.now) } else { None };
        if let Some(why) = why.or_else(|| spent.is_enough(answer_limit)) {
            log::info!("the share {address} is not asked: {why}");
            return Err(why);
        }
        let answer_ms = u64::try_from(answer_limit.as_millis()).unwrap_or(u64::MAX);
        let left = spent.left();
        let request = Request {
            format: FORMAT,
            task,
            root: ctx.trees.root.dir().to_owned(),
            share: (*address).to_owned(),
            key: key.clone(),
            limit: *limit,
            now: ctx.now,
            answer_ms,
            work_ms: u64::try_from(left.as_millis()).unwrap_or(u64::MAX),
        };
        let begun = Instant::now();
        let answer = self.run(&request).unwrap_or_else(|why| Answer::Failed { why });
        spent.note(begun.elapsed(), matches!(answer, Answer::Away { .. }));
        match &answer {
            // Had it the time for an answer?
            Answer::Away { why } if left >= answer_limit.min(LONGEST) => away.note(ctx.now, why),
            Answer::Done | Answer::Found { .. } | Answer::Missing | Answer::Refused { .. } => away.forget(),
            Answer::Away { .. } | Answer::Failed { .. } => {}
        }
        Ok(answer)
    }

    fn run(&self, request: &Request) -> Result<Answer, String> {
        let program = process::companion(PROGRAM);
        if !program.is_file() {
            return Err(format!("the program {} is not installed (package {PROGRAM})", program.display()));
        }
        // It can't say so itself: what it writes is its answer.
        let is_network = !self.address.starts_with("file:");
        if is_network && self.ctx.world.demotion() == Demotion::None && self.spent.is_news("as root") {
            log::warn!("the share is talked with as root, since this system lets us have no other user");
        }
        let mut task = process::Task::new(
            [program.as_os_str(), SERVE.as_ref()],
            std::path::Path::new("/"),
            self.ctx.world.environment(),
        );
        task.input = Some(serde_json::to_vec(request).map_err(|error| error.to_string())?);
        task.limit = Some(Duration::from_millis(request.work_ms) + PATIENCE);
        let end = process::run(task).map_err(|error| error.to_string())?;
        if end.timed_out {
            return Ok(Answer::Away { why: "it takes too long".to_owned() });
        }
        let text = end.text();
        let line = text.lines().rfind(|line| line.starts_with('{'));
        line.and_then(|line| serde_json::from_str(line).ok()).ok_or_else(|| {
            format!("{} ended with {}: {}", program.display(), end.code(), text.lines().next_back().unwrap_or_default())
        })
    }
}
