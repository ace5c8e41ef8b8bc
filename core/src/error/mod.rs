//! What can go wrong in a command: the sum of the errors of the rooms below, and what the rooms above add to it.

mod archive;
mod code;
pub mod exit_status;
mod registration;
mod request;
mod step;

use crate::names::NameError;
use crate::sign::NotSigned;
use crate::system_error::{SystemError, from_system_error};
use crate::{compile, facts, finish, install};

pub use archive::ArchiveError;
pub use registration::RegistrationError;
pub use request::{RequestError, UsageError};
pub use step::StepError;

/// Why a command, or a part of one, did not do what it was asked for.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The command line is wrong.
    #[error(transparent)]
    Usage(#[from] UsageError),
    /// What was asked for can't be done.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// A package is not registered as it must be.
    #[error(transparent)]
    Registration(#[from] RegistrationError),
    /// An archive was not loaded or written.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// A step of the plan was not carried out.
    #[error(transparent)]
    Step(#[from] StepError),
    /// A name can't be used.
    #[error(transparent)]
    Name(#[from] NameError),
    /// A fact about a kernel or a dkms.conf is not known.
    #[error(transparent)]
    Facts(facts::Error),
    /// A source was not built.
    #[error(transparent)]
    Compile(compile::Error),
    /// Modules did not become an artefact.
    #[error(transparent)]
    Finish(finish::Error),
    /// An artefact was not installed, or not taken out.
    #[error(transparent)]
    Install(install::Error),
    /// A module is not signed, and must be.
    #[error(transparent)]
    NotSigned(#[from] NotSigned),
    /// What any room may meet.
    #[error(transparent)]
    System(SystemError),
}

from_system_error!(Error);

// What a room only hands on stays the error of the room that it comes from: there is one way to match it.

impl From<facts::Error> for Error {
    fn from(error: facts::Error) -> Self {
        match error {
            facts::Error::System(error) => error.into(),
            error => Self::Facts(error),
        }
    }
}

impl From<compile::Error> for Error {
    fn from(error: compile::Error) -> Self {
        match error {
            compile::Error::Finish(error) => error.into(),
            compile::Error::Facts(error) => error.into(),
            compile::Error::System(error) => error.into(),
            error => Self::Compile(error),
        }
    }
}

impl From<finish::Error> for Error {
    fn from(error: finish::Error) -> Self {
        match error {
            finish::Error::NotSigned(error) => error.into(),
            finish::Error::System(error) => error.into(),
            error => Self::Finish(error),
        }
    }
}

impl From<install::Error> for Error {
    fn from(error: install::Error) -> Self {
        match error {
            install::Error::NotSigned(error) => error.into(),
            install::Error::Facts(error) => error.into(),
            install::Error::System(error) => error.into(),
            error => Self::Install(error),
        }
    }
}

impl Error {
    /// Which step failed, for records: `conf`, `patch`, `build`, `sign`, `install`, ….
    pub fn step(&self) -> &'static str {
        match self {
            Self::Facts(facts::Error::BadConf { .. } | facts::Error::ConfMissing(_))
            | Self::System(SystemError::Conf(_)) => "conf",
            Self::Compile(error) => match error {
                compile::Error::PatchPath(_)
                | compile::Error::PatchMissing { .. }
                | compile::Error::PatchFailed { .. } => "patch",
                compile::Error::Script { script, .. } => script,
                _ => "build",
            },
            Self::Finish(_) | Self::Step(StepError::NoTool { .. } | StepError::EmptySource(_)) => "build",
            Self::Install(install::Error::PreInstall) => "pre_install",
            Self::Install(install::Error::Depmod { .. }) => "depmod",
            Self::Install(_) => "install",
            Self::NotSigned(_) => "sign",
            Self::Step(StepError::NotLoadable { .. }) => "load",
            Self::System(SystemError::Lock(_)) => "lock",
            _ => "prepare",
        }
    }

    /// The lines to print: the first follows `Error! `.
    pub fn lines(&self) -> Vec<String> {
        without_numbers(&self.to_string()).lines().map(str::to_owned).collect()
    }

    /// Why it went wrong, in one line; [`Self::lines`] say more.
    pub fn cause(&self) -> String {
        let lines = self.lines();
        let line = |index: usize| lines.get(index).cloned().unwrap_or_default();
        let without_numbers = |why: &dyn std::fmt::Display| first_line(&without_numbers(&why.to_string()));
        // Where the first line says only what failed.
        match self {
            Self::Install(install::Error::NotPut(why)) => without_numbers(why),
            Self::Install(install::Error::NothingInstalled(reasons)) => {
                reasons.iter().map(|reason| first_line(reason)).collect::<Vec<_>>().join("; ")
            }
            Self::Finish(finish::Error::BadArtefact(why)) => without_numbers(why),
            Self::Compile(compile::Error::PatchFailed { why: Some(why), .. }) => format!("{} {why}", line(0)),
            Self::Compile(compile::Error::Script { said, .. }) => match said.last() {
                Some(said) => format!("{} {said}", line(0)),
                None => line(0),
            },
            Self::Compile(compile::Error::Make { diagnostic: Some(diagnostic), .. }) => diagnostic.text.clone(),
            Self::Compile(compile::Error::NotProduced { module, .. }) => {
                format!("{module}: {}", line(1))
            }
            Self::Step(StepError::BuildInTheWay { .. } | StepError::NotLoadable { .. })
            | Self::Facts(facts::Error::ConfMissing(_)) => line(1),
            Self::Step(StepError::Excluded { why, .. }) => why.clone(),
            Self::Facts(facts::Error::BadConf { why, .. }) => first_line(why),
            _ => line(0),
        }
    }
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().to_owned()
}

/// The text without the numbers that the standard library adds to the system's own words: `(os error 28)`.
fn without_numbers(text: &str) -> String {
    let mut parts = text.split(" (os error ");
    let mut kept = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        match part.split_once(')') {
            Some((number, rest)) if number.bytes().all(|byte| byte.is_ascii_digit()) => kept += rest,
            _ => kept.extend([" (os error ", part]),
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::path::Path;

    use super::{Error, StepError, without_numbers};
    use crate::durable::at;
    use crate::journal::JournalError;
    use crate::names::{Kernel, Package};
    use crate::{compile, install};

    /// The first line alone may say that it failed, not why.
    #[test]
    fn the_cause_is_the_line_that_says_why() {
        let full = at("write", Path::new("/lib/modules/6.1/x.ko"))(io::Error::from_raw_os_error(28));
        let error = Error::Install(install::Error::NotPut(JournalError::File(full)));
        let cause = error.cause();
        let begin = "cannot write /lib/modules/6.1/x.ko: No space left on device; free some space on the file system, \
                     which has ";
        assert!(cause.starts_with(begin) && cause.ends_with(" left, and try again"), "{cause}");
        let error = Error::Compile(compile::Error::PatchFailed {
            patch: "a.patch".into(),
            why: Some("x.c: hunk 1".into()),
            log: "/make.log".into(),
        });
        assert_eq!(error.cause(), "Application of patch a.patch failed. x.c: hunk 1");
        let error =
            Error::Facts(crate::facts::Error::BadConf { file: "/x".into(), why: "line 1: a\nline 2: b".into() });
        assert_eq!(error.cause(), "line 1: a");
        let error = Error::Step(StepError::EmptySource("/usr/src/a-1".into()));
        assert!(error.cause().ends_with("located within it."), "{}", error.cause());
        let (package, kernel) = (Package::new("a", "1").unwrap(), Kernel::new("6.1", "x").unwrap());
        let lines = vec!["a.ko: it needs b".to_owned(), "c.ko: it needs d".to_owned()];
        let error = Error::Step(StepError::NotLoadable { package, kernel, lines });
        assert_eq!(error.cause(), "a.ko: it needs b");
        assert_eq!(without_numbers("a (os error 2), b (os error x) (os error 13)"), "a, b (os error x)");
    }

    /// What a room hands on is matched as the error of the room that it comes from.
    #[test]
    fn what_is_handed_on_stays_the_error_of_its_room() {
        let missing = || crate::facts::Error::ConfMissing("/x".into());
        assert!(matches!(compile::Error::from(missing()).into(), Error::Facts(_)));
        assert!(matches!(install::Error::from(missing()).into(), Error::Facts(_)));
        let refused = || crate::finish::Error::from(crate::sign::NotSigned(String::new()));
        assert!(matches!(compile::Error::from(refused()).into(), Error::NotSigned(_)));
        let io = crate::facts::Error::from(io::Error::other("x"));
        assert!(matches!(compile::Error::from(io).into(), Error::System(_)));
    }
}
