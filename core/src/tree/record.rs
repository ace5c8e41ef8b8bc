//! Records: the latest result for a package on a kernel. History, never proof of state.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::durable::{self, FileError, at};
use crate::names::{Arch, Kernel, Name, Package, Release, Version};

use super::manifest;
use super::paths::Trees;

/// No log is kept beyond this length, in bytes: what matters comes early.
const LONGEST_LOG: u64 = 16 << 20;

/// How it ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "outcome", rename_all = "lowercase")]
pub enum Outcome {
    /// Its modules are beside the kernel's.
    Installed,
    /// It has an artefact.
    Built,
    /// It is registered, with no artefact for this kernel.
    Added,
    /// It is not meant for this kernel.
    Skipped {
        /// Why, as a person reads it.
        why: String,
    },
    /// Something must come first.
    Waiting {
        /// What, as a person reads it ("headers of 6.12.1", "zfs/2.3").
        #[serde(rename = "for")]
        what: String,
    },
    /// A step failed.
    Failed {
        /// The step: "build", "sign", "install", …
        step: String,
        /// The exit code that the classic has for it.
        code: i32,
        /// The first compiler error, `file:line: message`.
        #[serde(default)]
        diagnostic: Option<String>,
        /// Where the log is, as an inside path.
        #[serde(default)]
        log: Option<PathBuf>,
        /// What all the inputs of the failed step were: the same again fails again.
        #[serde(default)]
        remembered_key: Option<Digest>,
    },
}

/// The latest result for a package on a kernel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Record {
    /// The package.
    pub package: Package,
    /// The kernel.
    pub kernel: Kernel,
    /// How it ended.
    #[serde(flatten)]
    pub outcome: Outcome,
    /// When, in seconds since 1970.
    pub at: i64,
}

impl Record {
    /// Reads the record of a package on a kernel; `None` if there is none, or none of any use.
    pub fn load(trees: &Trees, package: &Package, kernel: &Kernel) -> Result<Option<Self>, FileError> {
        Self::read(trees, &trees.record(package, kernel))
    }

    /// The same, from a file. A log that is gone is not named any more.
    fn read(trees: &Trees, path: &Path) -> Result<Option<Self>, FileError> {
        let mut record: Option<Self> = manifest::load(path)?;
        if let Some(Self { outcome: Outcome::Failed { log, .. }, .. }) = &mut record {
            let is_gone =
                |log: &PathBuf| fs::symlink_metadata(trees.outer(log)).is_err_and(|error| durable::missing(&error));
            log.take_if(|log| is_gone(log));
        }
        Ok(record)
    }

    /// Writes the record in place of an older one. Of a build that did not fail, no failed one's log is kept.
    pub fn store(&self, trees: &Trees) -> Result<(), FileError> {
        let path = trees.record(&self.package, &self.kernel);
        if let Some(dir) = path.parent() {
            durable::own_dirs(dir)?;
        }
        let bytes = manifest::to_bytes(self).map_err(|e| at("write", &path)(e.into()))?;
        trees.write(&path, &bytes, 0o644)?;
        if matches!(self.outcome, Outcome::Failed { .. }) {
            return Ok(());
        }
        durable::remove_any(&trees.record_log(&self.package, &self.kernel))
    }

    /// The same, unless the kernel is not in the root and has nothing of the package: a slip in a release's name would be reported
    /// of as missing for ever.
    pub fn store_if_here(&self, trees: &Trees) -> Result<(), FileError> {
        if is_here(trees, &self.package, &self.kernel) { self.store(trees) } else { Ok(()) }
    }

    /// Removes the records of kernels that are not in the root any more and have nothing of the package.
    pub fn forget_gone(trees: &Trees) -> Result<(), FileError> {
        let top = top(trees);
        for name in names::<Name>(&top)? {
            for version in names::<Version>(&top.join(&name))? {
                let dir = top.join(&name).join(&version);
                let gone = names::<Release>(&dir)?.into_iter().filter(|release| !trees.modules_dir(release).is_dir());
                for release in gone {
                    let package = Package { name: name.clone(), version: version.clone() };
                    for file in names::<Arch>(&dir.join(&release))? {
                        let Some(arch) = file.as_str().strip_suffix(".json").and_then(|arch| Arch::new(arch).ok())
                        else {
                            continue;
                        };
                        let kernel = Kernel { release: release.clone(), arch };
                        if !is_here(trees, &package, &kernel) {
                            Self::remove(trees, &package, &kernel)?;
                        }
                    }
                }
            }
        }
        Ok(())
    }

    /// Keeps a copy of the log that a failed build has left in the package's build directory, which the next build
    /// takes: the same package's for another kernel, it may be. Gives the copy's path; `None` if the log is not of this
    /// kernel, or no file.
    pub fn keep_log(trees: &Trees, package: &Package, kernel: &Kernel) -> Result<Option<PathBuf>, FileError> {
        let from = trees.build_dir(package).join("make.log");
        // What a build has left there is not to be followed.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let Ok(file) = rustix::fs::open(&from, flags, Mode::empty()) else { return Ok(None) };
        let file = fs::File::from(file);
        if !file.metadata().map_err(at("look at", &from))?.is_file() {
            return Ok(None);
        }
        let mut bytes = Vec::new();
        file.take(LONGEST_LOG).read_to_end(&mut bytes).map_err(at("read", &from))?;
        let first = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
        if !String::from_utf8_lossy(first).ends_with(&format!("make.log for {package} for kernel {kernel}")) {
            return Ok(None);
        }
        let to = trees.record_log(package, kernel);
        if let Some(dir) = to.parent() {
            durable::own_dirs(dir)?;
        }
        trees.write(&to, &bytes, 0o644)?;
        Ok(Some(to))
    }

    /// All records, or those of one kernel release, by package and kernel in byte order.
    pub fn list(trees: &Trees, release: Option<&Release>) -> Result<Vec<Self>, FileError> {
        let mut found = Vec::new();
        let top = top(trees);
        for name in names::<Name>(&top)? {
            let dir = top.join(&name);
            for version in names::<Version>(&dir)? {
                let dir = dir.join(&version);
                let releases = match release {
                    Some(release) => vec![release.clone()],
                    None => names::<Release>(&dir)?,
                };
                for release in releases {
                    for file in names::<Arch>(&dir.join(&release))? {
                        if file.as_str().ends_with(".json") {
                            found.extend(Self::read(trees, &dir.join(&release).join(&file))?);
                        }
                    }
                }
            }
        }
        Ok(found)
    }

    /// Removes the record of a package on a kernel, and the directories that become empty.
    pub fn remove(trees: &Trees, package: &Package, kernel: &Kernel) -> Result<(), FileError> {
        let path = trees.record(package, kernel);
        durable::remove_any(&path)?;
        durable::remove_any(&trees.record_log(package, kernel))?;
        path.parent().map_or(Ok(()), |dir| durable::prune(dir, &top(trees)))
    }

    /// Removes all records of a package, on every kernel.
    pub fn remove_package(trees: &Trees, package: &Package) -> Result<(), FileError> {
        let dir = top(trees).join(&package.name);
        durable::remove_any(&dir.join(&package.version))?;
        durable::prune(&dir, &top(trees))
    }
}

/// Whether the kernel is in the root, or something is built of the package for it.
fn is_here(trees: &Trees, package: &Package, kernel: &Kernel) -> bool {
    trees.modules_dir(&kernel.release).is_dir() || trees.artefact_modules(package, kernel).is_dir()
}

fn top(trees: &Trees) -> PathBuf {
    trees.state("records")
}

/// The usable names in a directory, sorted; none if it is not there.
fn names<T: TryFrom<String> + Ord>(dir: &Path) -> Result<Vec<T>, FileError> {
    let entries = match fs::read_dir(dir) {
        Err(error) if durable::missing(&error) || error.kind() == std::io::ErrorKind::NotADirectory => {
            return Ok(Vec::new());
        }
        other => other.map_err(at("read", dir))?,
    };
    let mut names = Vec::new();
    for entry in entries {
        let name = entry.map_err(at("read", dir))?.file_name();
        names.extend(name.into_string().ok().and_then(|n| T::try_from(n).ok()));
    }
    names.sort();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::root::Root;

    fn record(name: &str, release: &str, outcome: Outcome) -> Record {
        Record {
            package: Package::new(name, "1.0").unwrap(),
            kernel: Kernel::new(release, "x86_64").unwrap(),
            outcome,
            at: 1_763_000_000,
        }
    }

    #[test]
    fn what_is_stored_is_loaded_listed_and_removed() {
        let tmp = tempfile::tempdir().unwrap();
        let trees = Trees::new(Root::at(tmp.path()).unwrap());
        assert!(Record::list(&trees, None).unwrap().is_empty());
        let failed = record(
            "zfs",
            "6.1",
            Outcome::Failed {
                step: "build".into(),
                code: 10,
                diagnostic: Some("a.c:3: no such thing".into()),
                log: Some("/var/lib/dkms/zfs/1.0/build/make.log".into()),
                remembered_key: Some(Digest::of(b"x")),
            },
        );
        let waiting = record("nvidia", "6.1", Outcome::Waiting { what: "headers".into() });
        let built = record("nvidia", "6.2", Outcome::Built);
        let log = trees.build_dir(&failed.package).join("make.log");
        fs::create_dir_all(log.parent().unwrap()).unwrap();
        fs::write(&log, "").unwrap();
        for record in [&failed, &waiting, &built] {
            record.store(&trees).unwrap();
            let back = Record::load(&trees, &record.package, &record.kernel).unwrap();
            assert_eq!(back.as_ref(), Some(record));
        }
        assert_eq!(Record::list(&trees, Some(&failed.kernel.release)).unwrap(), [waiting.clone(), failed.clone()]);
        assert_eq!(Record::list(&trees, None).unwrap().len(), 3);
        Record::remove(&trees, &built.package, &built.kernel).unwrap();
        Record::remove_package(&trees, &failed.package).unwrap();
        assert_eq!(Record::list(&trees, None).unwrap(), std::slice::from_ref(&waiting));
        assert!(!top(&trees).join("zfs").exists());
        Record::remove(&trees, &waiting.package, &waiting.kernel).unwrap();
        assert_eq!(fs::read_dir(top(&trees)).unwrap().count(), 0);
    }

    #[test]
    fn kernels_that_are_not_here_have_no_records() {
        let tmp = tempfile::tempdir().unwrap();
        let trees = Trees::new(Root::at(tmp.path()).unwrap());
        let waiting = |release| record("a", release, Outcome::Waiting { what: "headers".into() });
        fs::create_dir_all(trees.modules_dir(&Release::new("6.1").unwrap())).unwrap();
        fs::create_dir_all(trees.artefact_modules(&waiting("elsewhere").package, &waiting("elsewhere").kernel))
            .unwrap();
        for release in ["6.1", "6.l", "elsewhere"] {
            waiting(release).store_if_here(&trees).unwrap();
        }
        let here = [waiting("6.1"), waiting("elsewhere")];
        assert_eq!(Record::list(&trees, None).unwrap(), here);
        // Its record is from before, or it was removed since.
        waiting("gone").store(&trees).unwrap();
        Record::forget_gone(&trees).unwrap();
        assert_eq!(Record::list(&trees, None).unwrap(), here);
    }

    #[test]
    fn formats_of_the_future_and_rubbish_count_as_absent() {
        let tmp = tempfile::tempdir().unwrap();
        let trees = Trees::new(Root::at(tmp.path()).unwrap());
        let record = record("a", "6.1", Outcome::Added);
        record.store(&trees).unwrap();
        let path = trees.record(&record.package, &record.kernel);
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, text.replace("\"at\"", "\"news\":[1],\"at\"")).unwrap();
        assert_eq!(Record::list(&trees, None).unwrap(), [record]);
        fs::write(&path, text.replace("\"format\":1", "\"format\":2")).unwrap();
        assert!(Record::list(&trees, None).unwrap().is_empty());
        fs::write(&path, "").unwrap();
        assert!(Record::list(&trees, None).unwrap().is_empty());
    }

    #[test]
    fn the_log_of_a_failure_is_kept_until_there_is_something_better() {
        let tmp = tempfile::tempdir().unwrap();
        let trees = Trees::new(Root::at(tmp.path()).unwrap());
        let built = record("a", "6.1", Outcome::Built);
        let (package, kernel) = (&built.package, &built.kernel);
        let log = trees.build_dir(package).join("make.log");
        fs::create_dir_all(log.parent().unwrap()).unwrap();
        assert_eq!(Record::keep_log(&trees, package, kernel).unwrap(), None, "there is none");
        fs::write(&log, format!("DKMS (x) make.log for {package} for kernel 6.2 (x86_64)\n")).unwrap();
        assert_eq!(Record::keep_log(&trees, package, kernel).unwrap(), None, "another kernel's");
        let text = format!("DKMS (x) make.log for {package} for kernel {kernel}\nerror\n");
        fs::write(&log, &text).unwrap();
        let kept = Record::keep_log(&trees, package, kernel).unwrap().unwrap();
        assert_eq!(fs::read_to_string(&kept).unwrap(), text);
        assert!(Record::list(&trees, None).unwrap().is_empty(), "a log is no record");
        // A link that a build left is not followed.
        fs::rename(&log, tmp.path().join("secret")).unwrap();
        std::os::unix::fs::symlink(tmp.path().join("secret"), &log).unwrap();
        assert_eq!(Record::keep_log(&trees, package, kernel).unwrap(), None);
        built.store(&trees).unwrap();
        assert!(!kept.exists());
    }
}
