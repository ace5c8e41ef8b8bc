//! More work than one builder holds: what is to be built, a task a line, and one of them done. Who gives tasks to machines is
//! somebody else: a batch system or a cluster has a scheduler. A task may be done twice, killed, and done in two places.

use std::ffi::OsString;
use std::path::Path;

use dkms_core::cli::args::Args;
use dkms_core::cli::surroundings;
use dkms_core::command;
use dkms_core::digest::Digest;
use dkms_core::durable;
use dkms_core::error::{Error as CoreError, StepError};
use dkms_core::execute::work;
use dkms_core::kernel::installed::{self, Presence};
use dkms_core::names::{Arch, Kernel, Name, Package, Release, Version};
use dkms_core::run::Session;
use dkms_core::tree::walk::{self, Filter, Source};
use serde::{Deserialize, Serialize};

use crate::artefact::Packed;
use crate::error::Error;
use crate::service::{has, push};
use crate::verbs::{Item, Run};
use crate::words::Which;

/// The most that a file of tasks may be: some hundred thousand.
const LONGEST: u64 = 64 << 20;

/// A build that the share lacks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Task {
    package: Name,
    version: Version,
    kernel: Release,
    arch: Arch,
    /// What it is to be built from: what would be built from something else is not what was planned.
    key: Digest,
}

impl Task {
    /// Reads a line of a plan.
    pub fn parse(line: &str) -> Result<Self, Error> {
        serde_json::from_str(line).map_err(|error| Error::Usage(format!("this is no task of a plan: {line}: {error}")))
    }

    /// Reads the task `index` of a file.
    pub fn read(file: &Path, index: usize) -> Result<Self, Error> {
        let unfit = |why: String| Error::Unfit { path: file.to_owned(), why };
        let bytes = durable::read_at_most(file, LONGEST).map_err(|error| unfit(error.to_string()))?;
        let text = String::from_utf8(bytes).map_err(|_| unfit("it is no text".to_owned()))?;
        let line = text.lines().nth(index);
        Self::parse(line.ok_or_else(|| unfit(format!("it has no task {index}: they are counted from 0")))?)
    }
}

impl Run<'_> {
    /// Prints a task for each build that the share lacks. What can't be built, or not be shared, is told beside them.
    pub fn plan(&mut self, which: &Which) -> Result<(), Error> {
        let ctx = self.ctx;
        let (road, trust) = (self.road()?, self.trust()?);
        let session = Session::new(ctx).map_err(CoreError::from)?;
        for kernel in self.kernels(which)? {
            for entry in walk::walk(&ctx.trees, &Filter::default()).packages {
                let package = entry.package;
                if entry.source != Source::Added || !which.meets_build(&package, &kernel) {
                    continue;
                }
                match work::key(&session, &package, &kernel, self.reporter) {
                    Ok(Some(key)) => {
                        if !has(road.as_ref(), &key, &trust)? {
                            let (kernel, arch) = (kernel.release.clone(), kernel.arch.clone());
                            let Package { name, version } = package;
                            let task = Task { package: name, version, kernel, arch, key };
                            let line = serde_json::to_string(&task).map_err(|error| Error::Output(error.into()))?;
                            self.reporter.line(&line);
                        }
                    }
                    Ok(None) => self.reporter.warning(&[&format!(
                        "{package} for kernel {kernel} is not shared: its result may follow from more than can be seen."
                    )]),
                    Err(CoreError::Step(StepError::Excluded { .. })) => {
                        log::info!("{package} is not for kernel {kernel}");
                    }
                    Err(error) => {
                        self.reporter.warning(&[&format!("{package} for kernel {kernel}: {}", error.cause())]);
                    }
                }
            }
        }
        Ok(())
    }

    fn kernels(&self, which: &Which) -> Result<Vec<Kernel>, Error> {
        let ctx = self.ctx;
        let named = |text: &String| {
            let (release, arch) =
                text.split_once('/').map_or((text.as_str(), None), |(release, arch)| (release, Some(arch)));
            let release = Release::new(release).map_err(CoreError::from)?;
            match arch {
                Some(arch) => Ok(Kernel { release, arch: Arch::new(arch).map_err(CoreError::from)? }),
                None => ctx.kernel(&release).map_err(CoreError::from),
            }
        };
        if !which.kernels.is_empty() {
            return Ok(which.kernels.iter().map(named).collect::<Result<_, CoreError>>()?);
        }
        let found = installed::scan(&ctx.trees, &|_, _| false).map_err(|error| Error::Usage(error.to_string()))?;
        let found = found.iter().filter(|found| found.presence != Presence::Leftover);
        let kernels = found.map(|found| ctx.kernel(&found.release).map_err(CoreError::from));
        Ok(kernels.collect::<Result<_, _>>()?)
    }

    /// Does the task that the words name: a line of `plan`, or a file of such lines and which of them.
    pub fn build_named(&mut self, line: Option<&str>, file: Option<&Path>, index: Option<usize>) -> Result<(), Error> {
        let task = match (line, file, index) {
            (Some(line), ..) => Task::parse(line)?,
            (_, Some(file), Some(index)) => Task::read(file, index)?,
            _ => return Err(Error::Usage("Which task? --task or --tasks and --index say so.".to_owned())),
        };
        self.build(&task)
    }

    /// Does a task, unless it is done.
    fn build(&mut self, task: &Task) -> Result<(), Error> {
        let (road, trust, results, signer) = (self.road()?, self.trust()?, self.results()?, self.signer()?);
        let key = &task.key;
        let package = &Package { name: task.package.clone(), version: task.version.clone() };
        let kernel = Kernel { release: task.kernel.clone(), arch: task.arch.clone() };
        let what = format!("{package} for kernel {kernel}");
        let mut item = Item::there(package, &kernel, key);
        if has(road.as_ref(), key, &trust)? {
            return self.say(&item);
        }
        let session = Session::new(self.ctx).map_err(CoreError::from)?;
        let here = work::key(&session, package, &kernel, self.reporter)?;
        if here.as_ref() != Some(key) {
            let here = here.map_or_else(|| "none that can be shared".to_owned(), |key| key.to_string());
            return Err(Error::Refused(format!(
                "{what} would be built from something else here than was planned: its key is {here}"
            )));
        }
        if self.words.dry_run {
            item.result = "would be built and pushed";
            return self.say(&item);
        }
        if results.find(key).is_none() {
            let kernel = format!("{}/{}", kernel.release, kernel.arch);
            // Also what was built before: its result is not kept any more.
            let mut words: Vec<OsString> =
                ["build", &package.to_string(), "-k", &kernel, "--force"].map(OsString::from).into();
            words.extend(self.words.root.iter().flat_map(|root| [OsString::from("--root"), root.into()]));
            let args = Args::parse(words).map_err(|error| Error::Usage(error.to_string()))?;
            let code = command::run(&surroundings::context(&args)?, &args, self.reporter);
            if code != 0 {
                return Err(Error::NotBuilt { what, code });
            }
        }
        let entry = results
            .find(key)
            .ok_or_else(|| Error::Refused(format!("the result of {what} is not kept: see dkms build --debug")))?;
        if !has(road.as_ref(), key, &trust)? {
            let packed = Packed::new(&entry, &signer)?;
            push(road.as_ref(), &packed)?;
            (item.result, item.bytes) = ("pushed", Some(packed.size()));
        }
        self.say(&item)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tasks_are_lines() {
        let key = Digest::of(b"key");
        let line = |kernel: &str| {
            format!(r#"{{"package":"hello","version":"1.0","kernel":"{kernel}","arch":"x86_64","key":"{key}"}}"#)
        };
        let tmp = tempfile::tempdir().unwrap();
        let file = tmp.path().join("tasks");
        fs_err::write(&file, format!("{}\n{}\n", line("6.1"), line("6.2"))).unwrap();
        let task = Task::read(&file, 1).unwrap();
        assert_eq!((task.kernel.as_str(), serde_json::to_string(&task).unwrap()), ("6.2", line("6.2")));
        assert!(matches!(Task::read(&file, 2), Err(Error::Unfit { .. })));
        assert!(matches!(Task::parse(&line("../x")), Err(Error::Usage(_))) && Task::parse("{}").is_err());
    }
}
