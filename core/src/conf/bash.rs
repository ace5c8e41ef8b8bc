//! Evaluates conf files with a real bash, many requests in one process.
//!
//! `evaluate.bash` is the other half and describes the words that go to and fro. Both ends work
//! in lockstep, one request at a time, so that what a file says on standard error, how long it
//! takes and how it dies are known to be that file's.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

use super::directive::{self, Directive, Raw};
use super::error::ConfError;
use super::session::{Session, Stop};

pub use super::session::{Launcher, PATIENCE};

/// Which names the files of a request may set.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Kind {
    /// A package's dkms.conf and its overrides.
    #[default]
    Package,
    /// framework.conf and its fragments.
    Framework,
}

/// Some files to be evaluated one after the other, for one kernel.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// Which names they may set.
    pub kind: Kind,
    /// The files as bash finds them; each sees the directives of those before it.
    pub files: Vec<PathBuf>,
    /// Variables the files may use (`kernelver`, `arch`, `kernel_source_dir`, …).
    pub variables: BTreeMap<String, String>,
    /// What the command line sets after all files.
    pub directives: Vec<Directive>,
    /// Release and architecture that patterns are matched against; without them nothing matches.
    pub kernel: Option<(String, String)>,
}

/// What the files of one request set.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answer {
    /// The directives' values.
    pub raw: Raw,
    /// What the package's own file sets of [`directive::ADMINISTRATORS`]: it is in no other field.
    pub ignored: Raw,
    /// The files that were evaluated, in order.
    pub files: Vec<PathBuf>,
    /// The values of `MAKE_MATCH`, `PATCH_MATCH`, `BUILD_EXCLUSIVE_KERNEL` and `BUILD_EXCLUSIVE_ARCH`
    /// that match the request's kernel, as bash's `=~` sees it.
    pub matching: BTreeSet<(String, usize)>,
    /// Those of them that are no valid regular expression (they match nothing).
    pub invalid: BTreeSet<(String, usize)>,
    /// Deprecated directives, one for each file after which they were set.
    pub deprecated: Vec<Deprecation>,
    /// The beginning of what the files said on standard error.
    pub stderr: String,
}

impl Answer {
    /// Whether the pattern `name[index]` matches the kernel.
    pub fn matches(&self, name: &str, index: usize) -> bool {
        self.matching.contains(&(name.to_owned(), index))
    }
}

/// A deprecated directive; displayed as the classic does behind `Deprecated feature: `.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deprecation {
    /// Its name.
    pub directive: &'static str,
    /// The file after which it was set.
    pub file: PathBuf,
}

impl std::fmt::Display for Deprecation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({})", self.directive, self.file.display())?;
        match self.directive {
            "OBSOLETE_BY" => write!(f, ": use BUILD_EXCLUSIVE_KERNEL_MAX instead"),
            "CLEAN" => write!(f, ": nothing is cleaned, every build has a fresh copy of the source"),
            "REMAKE_INITRD" => write!(f, ": the kernel's hooks renew the initramfs, or post_transaction does"),
            name if name.starts_with("MODULES_CONF") => {
                write!(f, ": it goes to /etc/modprobe.d/dkms-NAME.conf, unless modprobe_conf=\"no\"")
            }
            _ => Ok(()),
        }
    }
}

/// Evaluates requests; keeps one bash for all of them and starts another after a mishap.
#[derive(Debug)]
pub struct Evaluator {
    launcher: Launcher,
    session: Option<Session>,
}

impl Evaluator {
    /// An evaluator; bash is started with the first request.
    pub fn new(launcher: Launcher) -> Self {
        Self { launcher, session: None }
    }

    /// Evaluates one request. A failure leaves the evaluator usable.
    pub fn evaluate(&mut self, request: &Request) -> Result<Answer, ConfError> {
        let words = words(request)?;
        let mut reading = Reading::new(request);
        let mut session = match self.session.take() {
            Some(session) => session,
            None => Session::start(&self.launcher).map_err(|source| ConfError::Start {
                program: self.launcher.argv.first().map(PathBuf::from).unwrap_or_default(),
                file: reading.file.clone(),
                source,
            })?,
        };
        let deadline = Instant::now() + self.launcher.timeout;
        let stop = session.ask(&words, deadline, &mut |word| reading.take(word));
        let stderr = session.stderr(reading.done() && stop.is_ok());
        match stop {
            Ok(()) => {
                self.session = Some(session);
                reading.finish(stderr)
            }
            Err(stop) => {
                session.kill();
                let file = reading.file;
                Err(match stop {
                    Stop::Deadline => ConfError::TimedOut { file, limit: self.launcher.timeout },
                    Stop::Flood => ConfError::TooLarge { file },
                    Stop::Ended => ConfError::Died { file, message: first_line(&stderr) },
                    Stop::Failed(source) => ConfError::BashIo { file, source },
                })
            }
        }
    }
}

/// The request as evaluate.bash reads it.
fn words(request: &Request) -> Result<Vec<u8>, ConfError> {
    let mut words = Words::default();
    words.add(match request.kind {
        Kind::Package => "package",
        Kind::Framework => "framework",
    })?;
    words.count(request.files.len())?;
    for file in &request.files {
        words.add(file)?;
    }
    let variables: Vec<_> = request.variables.iter().filter(|(name, _)| directive::is_variable(name)).collect();
    words.count(variables.len())?;
    for (name, value) in variables {
        words.add(name)?;
        words.add(value)?;
    }
    let known = match request.kind {
        Kind::Package => directive::PACKAGE,
        Kind::Framework => directive::FRAMEWORK,
    };
    let directives: Vec<_> =
        request.directives.iter().filter(|directive| known.contains(&directive.name.as_str())).collect();
    words.count(directives.len())?;
    for directive in directives {
        words.add(&directive.name)?;
        words.count(directive.index)?;
        words.add(if directive.append { "+" } else { "" })?;
        words.add(&directive.value)?;
    }
    let (release, arch) = match &request.kernel {
        Some((release, arch)) => (release.as_str(), arch.as_str()),
        None => ("", ""),
    };
    words.add(release)?;
    words.add(arch)?;
    Ok(words.0)
}

#[derive(Default)]
struct Words(Vec<u8>);

impl Words {
    fn add(&mut self, word: impl AsRef<OsStr>) -> Result<(), ConfError> {
        let word = word.as_ref();
        if word.as_bytes().contains(&0) {
            return Err(ConfError::Nul { what: format!("{word:?}") });
        }
        self.0.extend_from_slice(word.as_bytes());
        self.0.push(0);
        Ok(())
    }

    fn count(&mut self, count: usize) -> Result<(), ConfError> {
        self.add(count.to_string())
    }
}

/// An answer that is being read.
struct Reading {
    answer: Answer,
    /// The file whose turn it is.
    file: PathBuf,
    /// The words of the current item; the first says how many there will be.
    item: Vec<String>,
    expanding: Option<String>,
    error: Option<(String, String)>,
    status: Option<i32>,
}

impl Reading {
    fn new(request: &Request) -> Self {
        Self {
            answer: Answer::default(),
            file: request.files.first().cloned().unwrap_or_default(),
            item: Vec::new(),
            expanding: None,
            error: None,
            status: None,
        }
    }

    fn done(&self) -> bool {
        self.status.is_some()
    }

    /// Takes the next word; gives whether it was the answer's last.
    fn take(&mut self, word: &[u8]) -> bool {
        // A file's own name is the one word that need not be text; it is known from the request.
        self.item.push(String::from_utf8_lossy(word).into_owned());
        let item = std::mem::take(&mut self.item);
        let words: Vec<&str> = item.iter().map(String::as_str).collect();
        match words[..] {
            ["f", _] => {
                self.end_file();
                self.file = PathBuf::from(OsStr::from_bytes(word));
                self.answer.files.push(self.file.clone());
            }
            ["s", name, index] => self.expanding = Some(format!("{name}[{index}]")),
            ["v", name, index, value] => {
                self.expanding = None;
                if let Ok(index) = index.parse() {
                    self.answer.raw.set(name, index, value);
                }
            }
            ["i", name, index, value] => {
                self.expanding = None;
                if let Ok(index) = index.parse() {
                    self.answer.ignored.set(name, index, value);
                }
            }
            ["m", name, index] => note(&mut self.answer.matching, name, index),
            ["r", name, index] => note(&mut self.answer.invalid, name, index),
            ["e", kind, text] => self.error = Some((kind.to_owned(), text.to_owned())),
            ["z", status] => {
                self.end_file();
                self.status = Some(status.parse().unwrap_or(1));
                return true;
            }
            _ => self.item = item,
        }
        false
    }

    /// Notes what the file whose turn ends leaves deprecated (docs/contract.md 4.3).
    fn end_file(&mut self) {
        if self.answer.files.is_empty() {
            return;
        }
        for name in directive::DEPRECATED {
            let harmless = |value: &str| *name == "CLEAN" && matches!(value, "true" | "/bin/true" | "/usr/bin/true");
            if self.answer.raw.all(name).any(|(_, value)| !value.is_empty() && !harmless(value)) {
                self.answer.deprecated.push(Deprecation { directive: name, file: self.file.clone() });
            }
        }
    }

    fn finish(self, stderr: String) -> Result<Answer, ConfError> {
        let file = self.file;
        if let Some((kind, text)) = self.error {
            return Err(match kind.as_str() {
                "unreadable" => ConfError::Unreadable { file },
                "syntax" => ConfError::Syntax { message: syntax_line(&stderr, &file), file },
                "large" => ConfError::TooLarge { file },
                _ => ConfError::Exited { file, status: text.parse().unwrap_or(-1), message: first_line(&stderr) },
            });
        }
        match (self.status, self.expanding) {
            (Some(0), _) => Ok(Answer { stderr, ..self.answer }),
            (_, Some(directive)) => Err(ConfError::Expansion { file, directive, message: first_line(&stderr) }),
            _ => Err(ConfError::Died { file, message: first_line(&stderr) }),
        }
    }
}

fn note(set: &mut BTreeSet<(String, usize)>, name: &str, index: &str) {
    if let Ok(index) = index.parse() {
        set.insert((name.to_owned(), index));
    }
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().to_owned()
}

/// bash's line about the file (`FILE: line 7: …`), without the file's name.
fn syntax_line(stderr: &str, file: &Path) -> String {
    let prefix = format!("{}: ", file.display());
    stderr
        .lines()
        .rev()
        .filter_map(|line| line.strip_prefix(&prefix))
        .find(|line| !line.contains(": `"))
        .map_or_else(|| first_line(stderr), str::to_owned)
}
