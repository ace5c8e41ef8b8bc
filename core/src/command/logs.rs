//! `dkms logs`: the logs of builds that are kept: of each package on each kernel that of the build that is there, and that of the
//! latest one that failed since. It looks, and changes nothing.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::Serialize;

use super::status;
use crate::cli::args::Args;
use crate::cli::verb::Reach;
use crate::clock;
use crate::context::Context;
use crate::durable;
use crate::error::{Error, RequestError};
use crate::names::{Kernel, Package};
use crate::report::{Event, Reporter};
use crate::tree::Trees;
use crate::tree::record::{Outcome, Record};
use crate::tree::walk::{self, Filter};

/// Builds have no longer logs, in bytes.
const LONGEST: u64 = 512 << 20;

/// A log that is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub(super) struct Log {
    package: Package,
    kernel: Kernel,
    /// Whether the build came to an end; else `step` has failed.
    built: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    step: Option<String>,
    /// When it was written last, in seconds since 1970.
    at: u64,
    /// Where it is, inside the root.
    path: PathBuf,
    /// What it says; not in a list.
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
}

/// Prints the latest log of what the words name, one for each kernel named; with `--all` a list of the logs.
pub(super) fn run(ctx: &Context, args: &Args, reach: Reach, json: bool, reporter: &dyn Reporter) -> Result<u8, Error> {
    let found = logs(&ctx.trees, &status::filter(args))?;
    if found.is_empty() {
        return Err(Error::Request(RequestError::NoLog));
    }
    let mut chosen: Vec<Log> = match reach {
        Reach::All => found,
        Reach::Named => latest(&found, !args.kernels.is_empty()),
    };
    if reach == Reach::Named {
        for log in &mut chosen {
            let file = ctx.trees.outer(&log.path);
            let bytes = durable::read_at_most(&file, LONGEST).map_err(durable::named(&file))?;
            log.text = Some(String::from_utf8_lossy(&bytes).into_owned());
        }
    }
    if json {
        super::document(&chosen, reporter)?;
        return Ok(0);
    }
    for log in &chosen {
        match &log.text {
            // Which log this is goes beside it: what is piped on is the log.
            Some(text) => {
                reporter.report(Event::Note(log.heading()));
                reporter.line(&text.trim_end());
            }
            None => reporter.line(&log.heading()),
        }
    }
    Ok(0)
}

impl Log {
    fn heading(&self) -> String {
        let Self { package, kernel, .. } = self;
        let how = match (&self.step, self.built) {
            (_, true) => "built".to_owned(),
            (Some(step), false) => format!("{step} failed"),
            (None, false) => "failed".to_owned(),
        };
        let at = clock::date(self.at);
        format!("{package}, {}, {}: {how}, {at}, {}", kernel.release, kernel.arch, self.path.display())
    }
}

/// The logs that `filter` wants, the latest first.
fn logs(trees: &Trees, filter: &Filter) -> Result<Vec<Log>, Error> {
    let mut found = Vec::new();
    for entry in walk::walk(trees, filter).packages {
        for built in entry.built {
            let path = trees.artefact_log(&entry.package, &built.kernel);
            if let Some(at) = written(&path) {
                let path = trees.shown(&path);
                let package = entry.package.clone();
                found.push(Log { package, kernel: built.kernel, built: true, step: None, at, path, text: None });
            }
        }
    }
    for record in Record::list(trees, None)? {
        let Record { package, kernel, outcome, .. } = record;
        let Outcome::Failed { step, log: Some(path), .. } = outcome else { continue };
        if !filter.wants_package(&package) || !filter.wants_kernel(kernel.release.as_str(), kernel.arch.as_str()) {
            continue;
        }
        if let Some(at) = written(&trees.outer(&path)) {
            found.push(Log { package, kernel, built: false, step: Some(step), at, path, text: None });
        }
    }
    // What failed within the same second came later: a build that succeeds ends the log of a failure.
    found.sort_by(|a, b| b.at.cmp(&a.at).then_with(|| a.built.cmp(&b.built)).then_with(|| a.package.cmp(&b.package)));
    Ok(found)
}

/// The first of `found`, or the first of each kernel.
fn latest(found: &[Log], each_kernel: bool) -> Vec<Log> {
    let mut chosen: Vec<Log> = Vec::new();
    for log in found {
        if !chosen.iter().any(|known| !each_kernel || known.kernel == log.kernel) {
            chosen.push(log.clone());
        }
    }
    chosen
}

/// When a file was written, in seconds since 1970; `None` if there is no file.
fn written(path: &Path) -> Option<u64> {
    let meta = fs_err::symlink_metadata(path).ok().filter(std::fs::Metadata::is_file)?;
    let at = meta.modified().ok()?.duration_since(SystemTime::UNIX_EPOCH).ok()?;
    Some(at.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::test_system::System;
    use std::time::Duration;

    fn at(seconds: u64, file: &Path, text: &str) {
        fs_err::create_dir_all(file.parent().unwrap()).unwrap();
        fs_err::write(file, text).unwrap();
        let file = std::fs::File::options().write(true).open(file).unwrap();
        file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)).unwrap();
    }

    fn failed(system: &System, release: &str, seconds: u64, text: &str) {
        let trees = &system.ctx.trees;
        let (package, kernel) = (Package::new("hello", "1").unwrap(), Kernel::new(release, "x86_64").unwrap());
        let path = trees.record_log(&package, &kernel);
        at(seconds, &path, text);
        let outcome = Outcome::Failed {
            step: "build".to_owned(),
            code: 10,
            diagnostic: None,
            log: Some(trees.shown(&path)),
            remembered_key: None,
        };
        Record { package, kernel, outcome, at: 0 }.store(trees).unwrap();
    }

    fn built(system: &System, release: &str, seconds: u64, text: &str) {
        let (package, kernel) = (Package::new("hello", "1").unwrap(), Kernel::new(release, "x86_64").unwrap());
        fs_err::create_dir_all(system.ctx.trees.artefact_modules(&package, &kernel)).unwrap();
        at(seconds, &system.ctx.trees.artefact_log(&package, &kernel), text);
    }

    #[test]
    fn the_latest_log_of_what_is_named() {
        let system = System::new();
        assert_eq!(system.run(&["logs"]).0, 1, "there is none");
        system.add("");
        built(&system, "6.1", 100, "good\n");
        failed(&system, "6.1", 200, "bad\n");
        built(&system, "6.2", 300, "newer\n");
        for (words, expected) in [
            (&["logs"][..], &["newer"][..]),
            (&["logs", "hello", "-k", "6.1"], &["bad"]),
            (&["logs", "hello/1", "-k", "6.1", "-k", "6.2"], &["newer", "bad"]),
        ] {
            assert_eq!(system.run(words), (0, expected.iter().map(|line| (*line).to_owned()).collect()), "{words:?}");
        }
        for words in [&["logs", "other"][..], &["logs", "-k", "9"], &["logs", "hello/2"]] {
            assert_eq!(system.run(words).0, 1, "{words:?}");
        }
        let (_, lines) = system.run(&["logs", "--all"]);
        assert_eq!(lines.len(), 3);
        assert_eq!(
            lines[1],
            "hello/1, 6.1, x86_64: build failed, Thu Jan  1 00:03:20 UTC 1970, /var/lib/dkms/.dkms/records/hello/1/6.1/x86_64.log"
        );
        let (_, json) = system.run(&["logs", "-k", "6.1", "--format", "json"]);
        let json: serde_json::Value = serde_json::from_str(&json.join("\n")).unwrap();
        assert_eq!((json[0]["text"].as_str(), json[0]["step"].as_str()), (Some("bad\n"), Some("build")), "{json}");
    }

    /// Nobody is sent to a file that is gone.
    #[test]
    fn a_log_that_is_gone_is_named_nowhere() {
        let system = System::new();
        system.add("");
        failed(&system, "6.1", 200, "bad\n");
        let shown =
            || [&["why", "hello", "-k", "6.1"][..], &["status", "--long"]].map(|words| system.run(words).1.join("\n"));
        assert!(shown().iter().all(|text| text.contains("x86_64.log")), "{:?}", shown());
        let kernel = Kernel::new("6.1", "x86_64").unwrap();
        fs_err::remove_file(system.ctx.trees.record_log(&Package::new("hello", "1").unwrap(), &kernel)).unwrap();
        assert!(
            shown().iter().all(|text| text.contains("build failed") && !text.contains("x86_64.log")),
            "{:?}",
            shown()
        );
        assert_eq!(system.run(&["logs"]).0, 1);
    }
}
