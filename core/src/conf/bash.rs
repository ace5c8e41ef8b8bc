//! Evaluates conf files with a real bash.
//!
//! `evaluate.bash` is the other half and describes the words that go to and fro. Both ends work
//! in lockstep, one request at a time, so that what a file says on standard error, how long it
//! takes and how it dies are known to be that file's.
//!
//! A package is not trusted, where there is a [`Shelter`]. Its own files are evaluated there, by a bash that no other package's
//! files ever meet. So are the overrides, by another bash, since what they set may contain the package's text. What only the
//! administrator sets comes from the overrides without anything of the package, which are evaluated as we are.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::time::Instant;

use super::answer::Answer;
use super::directive::{self, Directive, Raw};

use super::error::ConfError;
use super::reading::{Reading, Whose, first_line};
use super::rights::BuildAs;
use super::session::{Session, Stop};

pub use super::session::{Launcher, PATIENCE, Shelter};

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

/// Evaluates requests; keeps each bash for the next request that it is good for, and starts another after a mishap.
#[derive(Debug)]
pub struct Evaluator {
    launcher: Launcher,
    /// The one that is who we are.
    ours: Option<Session>,
    /// Those in a shelter, and whose they are; the latest used is the last.
    theirs: Vec<(Tenant, Session)>,
    /// How many kinds of shelter this system has refused.
    refused: usize,
}

/// What a bash in a shelter is good for: the package's own file, and the part of it.
type Tenant = (PathBuf, Whose);

/// How many of them are kept: most packages are asked for all kernels in a row.
const KEPT: usize = 4;

/// A request, or a part of one.
#[derive(Debug)]
struct Part<'a> {
    whose: Whose,
    request: &'a Request,
    files: &'a [PathBuf],
    /// What is set already.
    given: &'a Raw,
    /// Whether it is the last that has to do with the package: it gets the command line's directives, and matches.
    last: bool,
}

impl Evaluator {
    /// An evaluator; bash is started with the first request.
    pub fn new(launcher: Launcher) -> Self {
        Self { launcher, ours: None, theirs: Vec::new(), refused: 0 }
    }

    /// Evaluates one request. A failure leaves the evaluator usable.
    pub fn evaluate(&mut self, request: &Request) -> Result<Answer, ConfError> {
        let files = request.files.as_slice();
        let nothing = Raw::default();
        if request.kind == Kind::Framework {
            let part = Part { whose: Whose::Framework, request, files, given: &nothing, last: true };
            return self.ask(&part, files, &Answer::default(), false);
        }
        let (own, overrides) = files.split_at(files.len().min(1));
        let (administrator, failure) = self.administrator(request, overrides)?;
        let trusted = match administrator.text("DKMS_BUILD_AS", 0).and_then(BuildAs::parse) {
            Some(build_as) => build_as == BuildAs::Root,
            None => self.launcher.trusting,
        };
        let last = overrides.is_empty();
        let part = Part { whose: Whose::Package, request, files: own, given: &nothing, last };
        let mut answer = self.ask_readable(&part, &Answer::default(), trusted)?;
        if !last {
            let given = answer.raw.clone();
            let part = Part { whose: Whose::Overrides, request, files: overrides, given: &given, last: true };
            answer = self.ask_readable(&part, &answer, trusted)?;
        }
        answer.raw.extend(administrator);
        if let Some(failure) = failure {
            answer.stderr.push_str(&format!(
                "{failure}\nThis is so where the file is read without the package's values, for what only the administrator sets.\n"
            ));
        }
        Ok(answer)
    }

    /// What only the administrator sets, and why that is not known of the overrides.
    fn administrator(
        &mut self,
        request: &Request,
        overrides: &[PathBuf],
    ) -> Result<(Raw, Option<ConfError>), ConfError> {
        let mut failure = None;
        let mut raw = Raw::default();
        if !overrides.is_empty() {
            let part =
                Part { whose: Whose::Administrator, request, files: overrides, given: &Raw::default(), last: false };
            match self.ask(&part, overrides, &Answer::default(), false) {
                Ok(answer) => raw = answer.raw,
                // Perhaps because it lacks what the package sets.
                Err(error @ (ConfError::Exited { .. } | ConfError::Expansion { .. } | ConfError::Died { .. })) => {
                    failure = Some(error);
                }
                Err(error) => return Err(error),
            }
        }
        for Directive { name, index, append, value } in &request.directives {
            if directive::ADMINISTRATORS.contains(&name.as_str()) {
                let before = if *append { raw.at(name, *index).unwrap_or_default() } else { "" };
                raw.set(name, *index, &format!("{before}{value}"));
            }
        }
        Ok((raw, failure))
    }

    /// Asks about files of which some may be readable for us only.
    fn ask_readable(&mut self, part: &Part<'_>, earlier: &Answer, trusted: bool) -> Result<Answer, ConfError> {
        let mut places = part.files.to_vec();
        loop {
            let answer = self.ask(part, &places, earlier, !trusted);
            let Err(ConfError::Unreadable { file }) = &answer else { return answer };
            let Some(at) = part.files.iter().position(|named| named == file) else { return answer };
            let copy = self.launcher.shelter.as_ref().filter(|_| !trusted && places[at] == *file);
            let Some(copy) = copy.and_then(|shelter| shelter.copy(file)) else { return answer };
            places[at] = copy;
        }
    }

    /// Asks about one part, whose files are at `places`.
    fn ask(
        &mut self,
        part: &Part<'_>,
        places: &[PathBuf],
        earlier: &Answer,
        sheltered: bool,
    ) -> Result<Answer, ConfError> {
        let words = words(part, places)?;
        let deadline = Instant::now() + self.launcher.timeout;
        let (tenant, mut session, reading, stop) = loop {
            let mut reading = Reading::new(part.whose, part.files, earlier.clone());
            let (tenant, mut session) = self.session(part, sheltered, deadline)?;
            match session.ask(&words, deadline, &mut |word| reading.take(word)) {
                // A confined bash ends with the thread that started it (PR_SET_PDEATHSIG(2const)): one that was kept may have.
                Err(Stop::Ended) if session.was_kept => session.kill(),
                stop => break (tenant, session, reading, stop),
            }
        };
        let mut stderr = session.stderr(reading.done() && stop.is_ok());
        let advice = (tenant.is_some() && DENIED.iter().any(|words| stderr.contains(words))).then(|| advice(part));
        match stop {
            Ok(()) => {
                self.keep(tenant, session);
                if let Some(advice) = &advice {
                    stderr = format!("{}\n{advice}\n", stderr.trim_end());
                }
                reading.finish(&stderr)
            }
            Err(stop) => {
                session.kill();
                Err(self.stopped(stop, reading.file(), &stderr))
            }
        }
        .map_err(|error| match (advice, error) {
            (None, error) | (_, error @ ConfError::Unreadable { .. }) => error,
            (Some(advice), error) => ConfError::Denied { source: Box::new(error), advice },
        })
    }

    fn stopped(&self, stop: Stop, file: PathBuf, stderr: &str) -> ConfError {
        match stop {
            Stop::Deadline => ConfError::TimedOut { file, limit: self.launcher.timeout },
            Stop::Flood => ConfError::TooLarge { file },
            Stop::Ended | Stop::Refused => ConfError::Died { file, message: first_line(stderr) },
            Stop::Failed(source) => ConfError::BashIo { file, source },
        }
    }

    /// A bash for the part: one that is kept, or a new one in the best shelter that may be had.
    fn session(
        &mut self,
        part: &Part<'_>,
        sheltered: bool,
        deadline: Instant,
    ) -> Result<(Option<Tenant>, Session), ConfError> {
        let file = part.files.first().cloned().unwrap_or_default();
        let tenant: Tenant = (part.request.files.first().cloned().unwrap_or_default(), part.whose);
        if let Some(at) = self.theirs.iter().position(|(whose, _)| sheltered && *whose == tenant) {
            let (tenant, session) = self.theirs.remove(at);
            return Ok((Some(tenant), session));
        }
        loop {
            let shelter = self.launcher.shelter.as_deref().filter(|_| sheltered);
            let confinement = shelter.and_then(|shelter| shelter.confinement(self.refused, &part.request.files));
            let tenant = confinement.as_ref().map(|_| tenant.clone());
            if let (None, Some(session)) = (&tenant, self.ours.take()) {
                return Ok((None, session));
            }
            let mut session = Session::start(&self.launcher, confinement).map_err(|source| ConfError::Start {
                program: self.launcher.argv.first().map(PathBuf::from).unwrap_or_default(),
                file: file.clone(),
                source,
            })?;
            match session.greet(deadline) {
                Ok(()) => return Ok((tenant, session)),
                Err(stop) => {
                    let why = session.stderr(false);
                    session.kill();
                    match (stop, shelter) {
                        (Stop::Refused, Some(shelter)) => {
                            shelter.refused(self.refused, first_line(&why).trim());
                            self.refused += 1;
                        }
                        (stop, _) => return Err(self.stopped(stop, file, &why)),
                    }
                }
            }
        }
    }

    fn keep(&mut self, tenant: Option<Tenant>, mut session: Session) {
        session.was_kept = true;
        let Some(tenant) = tenant else {
            self.ours = Some(session);
            return;
        };
        if self.theirs.len() >= KEPT {
            self.theirs.remove(0);
        }
        self.theirs.push((tenant, session));
    }
}

/// What programs say when they lack a right that root has (strerror(3): EACCES, EROFS, EPERM).
const DENIED: [&str; 3] = ["Permission denied", "Read-only file system", "Operation not permitted"];

/// What helps a file that lacks rights.
fn advice(part: &Part<'_>) -> String {
    let name = part.request.variables.get("module").map_or("NAME", String::as_str);
    format!(
        "dkms.conf files are evaluated by a user who owns nothing and can only read. If you trust {name} with more, write \
         DKMS_BUILD_AS=\"root\" in /etc/dkms/{name}.conf"
    )
}

/// The request as evaluate.bash reads it.
fn words(part: &Part<'_>, places: &[PathBuf]) -> Result<Vec<u8>, ConfError> {
    let request = part.request;
    let mut words = Words::default();
    words.add(match request.kind {
        Kind::Package => "package",
        Kind::Framework => "framework",
    })?;
    words.count(part.files.len())?;
    for (file, place) in part.files.iter().zip(places) {
        words.add(file)?;
        words.add(place)?;
    }
    let mut variables: BTreeMap<&str, &OsStr> = request
        .variables
        .iter()
        .filter(|(name, _)| directive::is_variable(name))
        .map(|(name, value)| (name.as_str(), OsStr::new(value)))
        .collect();
    if let Some(own) = request.files.first() {
        variables.insert("read_conf_file", own.as_os_str());
    }
    words.count(variables.len())?;
    for (name, value) in variables {
        words.add(name)?;
        words.add(value)?;
    }
    let given: Vec<_> = part
        .given
        .directives()
        .flat_map(|(name, values)| values.iter().map(move |(index, value)| (name, index, value)))
        .collect();
    words.count(given.len())?;
    for (name, index, value) in given {
        words.add(name)?;
        words.count(*index)?;
        words.add(value)?;
    }
    let known = match request.kind {
        Kind::Package => directive::PACKAGE,
        Kind::Framework => directive::FRAMEWORK,
    };
    let ours = |name: &str| known.contains(&name) && !directive::ADMINISTRATORS.contains(&name);
    let directives: Vec<_> = request.directives.iter().filter(|directive| part.last && ours(&directive.name)).collect();
    words.count(directives.len())?;
    for directive in directives {
        words.add(&directive.name)?;
        words.count(directive.index)?;
        words.add(if directive.append { "+" } else { "" })?;
        words.add(&directive.value)?;
    }
    let (release, arch) = match &request.kernel {
        Some((release, arch)) if part.last => (release.as_str(), arch.as_str()),
        _ => ("", ""),
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
