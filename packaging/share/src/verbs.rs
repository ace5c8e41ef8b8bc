//! The verbs of `dkms share`.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;
use std::time::Instant;

use dkms_core::cli::args::Args;
use dkms_core::cli::surroundings;
use dkms_core::clock;
use dkms_core::context::Context;
use dkms_core::digest::Digest;
use dkms_core::names::{Kernel, Package};
use dkms_core::report::{Event, Reporter};
use dkms_core::results::{Kept, Key, Results};
use dkms_core::share::KEYS;
use serde::Serialize;

use crate::address::Address;
use crate::artefact::{self, Manifest, Packed, Sought};
use crate::error::Error;
use crate::road;
use crate::service::{has, push};
use crate::share::{Limits, PATIENT, Road};
use crate::trust::{self, Signer, Trust};
use crate::words::{Format, Verb, Which, Words};

/// Nobody minds a server that thinks for so long, when a person has asked.
const ANSWER: std::time::Duration = std::time::Duration::from_secs(30);

/// What became of an artefact.
#[derive(Debug, Serialize)]
pub struct Item {
    pub package: String,
    pub kernel: String,
    pub key: String,
    pub result: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signed_by: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

impl Item {
    /// Of an artefact that the share has; it is said otherwise if it has not.
    pub fn there(package: &Package, kernel: &Kernel, key: &Digest) -> Self {
        Self {
            package: package.to_string(),
            kernel: kernel.to_string(),
            key: key.to_string(),
            result: "there already",
            bytes: None,
            signed_by: None,
            why: None,
        }
    }

    /// Names it by what was signed.
    fn name(&mut self, key: &Key) -> Result<(), Error> {
        (self.package, self.kernel) = (key.package.to_string(), key.kernel.to_string());
        self.key = key.digest().map_err(|error| Error::Refused(error.to_string()))?.to_string();
        Ok(())
    }
}

pub struct Run<'a> {
    pub words: &'a Words,
    pub ctx: &'a Context,
    pub reporter: &'a dyn Reporter,
    refused: bool,
}

/// Does what the words say; gives the exit code.
pub fn run(words: &Words, reporter: &dyn Reporter) -> u8 {
    let failed = |text: &str, code| {
        reporter.report(Event::Error(text.lines().map(str::to_owned).collect()));
        code
    };
    let root = words.root.iter().flat_map(|root| [OsString::from("--root"), root.into()]);
    // Those that build are another user, where this system has users to spare.
    let verb = if matches!(words.verb, Verb::Plan(_) | Verb::Build { .. }) { "build" } else { "status" };
    let args = match Args::parse([OsString::from(verb)].into_iter().chain(root)) {
        Ok(args) => args,
        Err(error) => return failed(&error.to_string(), 2),
    };
    let ctx = match surroundings::context(&args) {
        Ok(ctx) => ctx,
        Err(error) => return failed(&error.to_string(), error.code()),
    };
    let mut run = Run { words, ctx: &ctx, reporter, refused: false };
    match run.verb() {
        Ok(()) if run.refused => Error::Refused(String::new()).code(),
        Ok(()) => 0,
        Err(error) => failed(&error.to_string(), error.code()),
    }
}

impl Run<'_> {
    fn verb(&mut self) -> Result<(), Error> {
        match &self.words.verb {
            Verb::Keygen { name, expires } => self.keygen(name, expires.as_deref()),
            Verb::Push(which) => self.push(which),
            Verb::Pull(which) => self.pull(which),
            Verb::List(which) => self.list(which),
            Verb::Verify(which) => self.verify(which),
            Verb::Plan(which) => self.plan(which),
            Verb::Build { task, tasks, index } => self.build_named(task.as_deref(), tasks.as_deref(), *index),
            Verb::Prune { older_than, which } => self.prune(*older_than, which),
        }
    }

    pub fn road(&self) -> Result<Box<dyn Road>, Error> {
        let address = self.words.share.as_ref().or(self.ctx.framework.share.address.as_ref());
        let none = || {
            Error::Usage(
                "There is no share: set share= in /etc/dkms/framework.conf, or say --share ADDRESS.".to_owned(),
            )
        };
        let answer = self.ctx.framework.share.time_limit.max(ANSWER);
        let limits = Limits { answer, ends: Instant::now() + PATIENT };
        road::open(&Address::parse(address.ok_or_else(none)?)?, &self.ctx.trees.outer(Path::new(KEYS)), limits)
    }

    pub fn trust(&self) -> Result<Trust, Error> {
        let trust = Trust::read(&self.ctx.trees.outer(Path::new(KEYS)), self.ctx.now)?;
        for why in trust.unfit() {
            self.reporter.warning(&[why]);
        }
        Ok(trust)
    }

    pub fn results(&self) -> Result<Results<'_>, Error> {
        Results::of(self.ctx).ok_or_else(|| {
            Error::Usage(
                "The result cache is switched off (result_cache in framework.conf): what is shared goes through it."
                    .to_owned(),
            )
        })
    }

    pub fn signer(&self) -> Result<Signer, Error> {
        Signer::read(&self.ctx.trees.outer(&self.ctx.framework.share.key))
    }

    pub fn say(&self, item: &Item) -> Result<(), Error> {
        let text = match self.words.format {
            Format::Json => serde_json::to_string(item).map_err(|error| Error::Output(error.into()))?,
            Format::Text => {
                let bytes = item.bytes.map(|bytes| format!(", {bytes} bytes")).unwrap_or_default();
                let by = item.signed_by.as_ref().map(|name| format!(", signed by {name}")).unwrap_or_default();
                let why = item.why.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
                format!("{}, {}: {}{bytes}{by}{why}", item.package, item.kernel, item.result)
            }
        };
        self.reporter.line(&text);
        Ok(())
    }

    fn keygen(&self, name: &str, expires: Option<&str>) -> Result<(), Error> {
        let fits = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        if name.is_empty() || name.starts_with('.') || !name.chars().all(fits) {
            return Err(Error::Usage(format!("{name:?} is no name for a file: letters, digits, . _ and -")));
        }
        let (secret, shown) = (&self.ctx.framework.share.key, Path::new(KEYS).join(format!("{name}.pub")));
        let outer = |path: &Path| self.ctx.trees.outer(path);
        if !self.words.dry_run {
            trust::generate(&outer(secret), &outer(&shown), expires)?;
        }
        let verb = if self.words.dry_run { "Would write" } else { "Wrote" };
        self.reporter.line(&format!("{verb} the private key {}: it stays on this builder.", secret.display()));
        self.reporter.line(&format!(
            "{verb} the public key {}: copy it to every machine that is to trust this one.",
            shown.display()
        ));
        Ok(())
    }

    fn push(&mut self, which: &Which) -> Result<(), Error> {
        let (road, trust, results, signer) = (self.road()?, self.trust()?, self.results()?, self.signer()?);
        for key in results.keys() {
            let Some(entry) = results.find(&key) else { continue };
            let (package, kernel) = (&entry.key.package, &entry.key.kernel);
            if !which.meets_build(package, kernel) {
                continue;
            }
            let mut item = Item::there(package, kernel, &key);
            if !has(road.as_ref(), &key, &trust)? {
                let packed = Packed::new(&entry, &signer)?;
                item.bytes = Some(packed.size());
                item.result = if self.words.dry_run { "would be pushed" } else { "pushed" };
                if !self.words.dry_run {
                    push(road.as_ref(), &packed)?;
                }
            }
            self.say(&item)?;
        }
        Ok(())
    }

    /// The artefacts of the share that claim to be what is meant, each once: the tag, the manifest's bytes and the manifest.
    fn listed(&mut self, road: &dyn Road, which: &Which) -> Result<Vec<(String, Vec<u8>, Manifest)>, Error> {
        let beginning = which.name().map(artefact::name_beginning);
        let mut found = Vec::new();
        for tag in road.tags()? {
            let is_meant =
                beginning.as_ref().map_or_else(|| artefact::is_key(&tag), |beginning| tag.starts_with(beginning));
            if !is_meant {
                continue;
            }
            let Some(bytes) = road.manifest(&tag)? else { continue };
            match Manifest::parse(&bytes) {
                Ok(manifest) if which.meets(manifest.claims()) => found.push((tag, bytes, manifest)),
                Ok(_) => {}
                Err(error) => self.refuse(&tag, &error),
            }
        }
        Ok(found)
    }

    fn refuse(&mut self, what: &str, error: &Error) {
        self.refused = true;
        self.reporter.warning(&[&format!("{what}: {error}.")]);
    }

    fn item(manifest: &Manifest, result: &'static str) -> Item {
        let [name, version, release, arch] = manifest.claims();
        Item {
            package: format!("{name}/{version}"),
            kernel: format!("{release} ({arch})"),
            key: manifest.claimed_key().map(|key| key.to_string()).unwrap_or_default(),
            result,
            bytes: Some(manifest.size()),
            signed_by: None,
            why: None,
        }
    }

    fn list(&mut self, which: &Which) -> Result<(), Error> {
        let (road, trust) = (self.road()?, self.trust()?);
        for (_, _, manifest) in self.listed(road.as_ref(), which)? {
            let mut item = Self::item(&manifest, "trusted");
            match manifest.open(road.as_ref(), &trust) {
                Ok(found) => {
                    item.name(&found.record.key)?;
                    item.signed_by = Some(found.signed_by);
                }
                Err(Error::Refused(why)) => (item.result, item.why) = ("not trusted", Some(why)),
                Err(error) => return Err(error),
            }
            self.say(&item)?;
        }
        Ok(())
    }

    /// Fetches what is meant and checks it. `limit`: how large an artefact may be.
    fn fetched(
        &mut self,
        which: &Which,
        mut each: impl FnMut(&mut Self, Item, dkms_core::results::Entry) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let (road, trust) = (self.road()?, self.trust()?);
        let limit = self.ctx.framework.result_cache.unwrap_or(u64::MAX);
        for (_, _, manifest) in self.listed(road.as_ref(), which)? {
            let mut item = Self::item(&manifest, "whole");
            // Under the tag by which it is found.
            let key = manifest.claimed_key().ok_or_else(|| Error::Refused("it names no key".to_owned()));
            let carried = key.and_then(|key| artefact::fetch(road.as_ref(), Sought::Key(&key), &trust, limit));
            let entry = carried.and_then(|carried| carried.map(|carried| carried.entry(&trust)).transpose());
            // That tag may have another manifest than the one that was listed.
            let entry = entry.and_then(|entry| match entry {
                Some(entry) => manifest.check_claims(&entry.key).map(|()| Some(entry)),
                None => Ok(None),
            });
            match entry {
                Ok(Some(entry)) => {
                    item.name(&entry.key)?;
                    each(self, item, entry)?;
                }
                Ok(None) => self.refuse(
                    &format!("{} for kernel {}", item.package, item.kernel),
                    &Error::Refused("it is not found by its key".to_owned()),
                ),
                Err(error @ Error::Refused(_)) => {
                    self.refuse(&format!("{} for kernel {}", item.package, item.kernel), &error);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn verify(&mut self, which: &Which) -> Result<(), Error> {
        self.fetched(which, |run, item, _| run.say(&item))
    }

    fn pull(&mut self, which: &Which) -> Result<(), Error> {
        let ctx = self.ctx;
        let results = Results::of(ctx);
        self.results()?;
        self.fetched(which, |run, mut item, entry| {
            item.result = if run.words.dry_run { "would be pulled" } else { "pulled" };
            if let (Some(results), false) = (&results, run.words.dry_run)
                && let Kept::No(why) = results.keep(&entry)?
            {
                (item.result, item.why) = ("not kept", Some(why.to_owned()));
            }
            run.say(&item)
        })
    }

    fn prune(&mut self, days: u64, which: &Which) -> Result<(), Error> {
        let road = self.road()?;
        let oldest = self.ctx.timestamp().saturating_sub_unsigned(days.saturating_mul(24 * 3600));
        let oldest = clock::utc(oldest).to_string();
        // All tags of each manifest: a directory has a file for each.
        let mut all: BTreeMap<Digest, (Vec<u8>, Manifest, Vec<String>)> = BTreeMap::new();
        for tag in road.tags()? {
            let Some(bytes) = road.manifest(&tag)? else { continue };
            match Manifest::parse(&bytes) {
                Ok(manifest) if which.meets(manifest.claims()) && manifest.is_older(&oldest) => {
                    all.entry(Digest::of(&bytes)).or_insert_with(|| (bytes, manifest, Vec::new())).2.push(tag);
                }
                Ok(_) => {}
                Err(error) => self.refuse(&tag, &error),
            }
        }
        for (bytes, manifest, tags) in all.values() {
            self.say(&Self::item(manifest, if self.words.dry_run { "would be deleted" } else { "deleted" }))?;
            if !self.words.dry_run {
                road.delete(bytes, tags)?;
            }
        }
        if !self.words.dry_run {
            road.sweep()?;
        }
        Ok(())
    }
}
