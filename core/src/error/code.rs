//! The one table from errors to exit codes (docs/contract.md 2.15): the classic's for what it knows, ours for the rest.

use super::{ArchiveError, Error, RegistrationError, RequestError, StepError, UsageError};
use crate::archive::layout::LayoutError;
use crate::system_error::SystemError;
use crate::{compile, facts, finish, install};

impl Error {
    /// The exit code for this.
    pub fn code(&self) -> u8 {
        match self {
            Self::Usage(UsageError::TwoVerbs(..)) => 4,
            Self::Usage(_) => 2,
            Self::Name(_) => 1,
            Self::Request(error) => of_request(error),
            Self::Registration(error) => of_registration(error),
            Self::Archive(error) => of_archive(error),
            Self::Step(error) => of_step(error),
            Self::NotSigned(_) => NOT_SIGNED,
            Self::Facts(error) => of_facts(error),
            Self::Compile(error) => of_compile(error),
            Self::Finish(error) => of_finish(error),
            Self::Install(error) => of_install(error),
            Self::System(error) => of_system(error),
        }
    }
}

fn of_request(error: &RequestError) -> u8 {
    match error {
        RequestError::NoPackage { .. }
        | RequestError::ArchCount { .. }
        | RequestError::NotRoot
        | RequestError::ReadOnlyTree { .. }
        | RequestError::NoLog
        | RequestError::NoTemplate => 1,
        RequestError::AllAndKernel(_)
        | RequestError::OwnTemplate
        | RequestError::HoldVersion { .. }
        | RequestError::HeldForAll(_) => 2,
        RequestError::AllAndArch | RequestError::NotInTree(_) => 3,
        RequestError::OneKernel(_) => 4,
        RequestError::NoAll(_) => 5,
        RequestError::NoKernel { .. } | RequestError::EmptyKernel => 16,
        RequestError::BinariesAndSource => 8,
        RequestError::NoPackager(_) | RequestError::NoShareProgram(_) => 127,
    }
}

fn of_registration(error: &RegistrationError) -> u8 {
    match error {
        RegistrationError::NoSource(..) => 2,
        RegistrationError::NotAdded(_)
        | RegistrationError::NotThere(_)
        | RegistrationError::AlreadyAdded(_)
        | RegistrationError::DirectoryTaken { .. } => 3,
        RegistrationError::Broken { .. } | RegistrationError::Unsound { .. } => 4,
        RegistrationError::NoConf(_) | RegistrationError::ConfExists(_) | RegistrationError::NoDraft { .. } => 9,
    }
}

fn of_archive(error: &ArchiveError) -> u8 {
    match error {
        ArchiveError::NotNamed | ArchiveError::Missing(_) => 2,
        ArchiveError::Layout(LayoutError::NoConf) => 3,
        ArchiveError::Write(_) | ArchiveError::NothingBuilt(_) | ArchiveError::NoFileName(_) => 6,
        ArchiveError::Read(_) | ArchiveError::Layout(_) | ArchiveError::OtherPackage { .. } => 7,
        ArchiveError::AlreadyAdded(_) => 8,
        ArchiveError::NotByRpm(_) | ArchiveError::NotWritable(_) => 9,
    }
}

fn of_step(error: &StepError) -> u8 {
    match error {
        StepError::BuildInTheWay { .. } | StepError::Removed(_) => 3,
        StepError::NotLoadable { .. } => 6,
        StepError::EmptySource(_) => 8,
        StepError::NoTool { .. } => 10,
        StepError::MissingDependencies { .. } => 13,
        StepError::KernelGone { .. } => 17,
        StepError::Excluded { .. } => 77,
    }
}

fn of_compile(error: &compile::Error) -> u8 {
    match error {
        compile::Error::PatchPath(_) | compile::Error::PatchMissing { .. } => 5,
        compile::Error::PatchFailed { .. } => 6,
        compile::Error::NotProduced { .. } => 7,
        compile::Error::Make { .. } | compile::Error::TooLong { .. } => 10,
        compile::Error::NotShared { .. } => 22,
        compile::Error::Script { code, .. } => u8::try_from(*code).unwrap_or(1),
        compile::Error::Finish(error) => of_finish(error),
        compile::Error::Facts(error) => of_facts(error),
        compile::Error::System(error) => of_system(error),
    }
}

fn of_finish(error: &finish::Error) -> u8 {
    match error {
        finish::Error::NotAModule { .. } | finish::Error::BadArtefact(_) => 7,
        finish::Error::NotSigned(_) => NOT_SIGNED,
        finish::Error::System(error) => of_system(error),
    }
}

fn of_install(error: &install::Error) -> u8 {
    match error {
        install::Error::NoModulesDir(_)
        | install::Error::MissingModule { .. }
        | install::Error::DamagedModule { .. }
        | install::Error::NotPut(_)
        | install::Error::NothingInstalled(_)
        | install::Error::Depmod { .. } => 6,
        install::Error::PreInstall => 101,
        install::Error::NotSigned(_) => NOT_SIGNED,
        install::Error::Facts(error) => of_facts(error),
        install::Error::System(error) => of_system(error),
    }
}

fn of_facts(error: &facts::Error) -> u8 {
    match error {
        facts::Error::ConfMissing(_) => 4,
        facts::Error::BadConf { .. } => 8,
        facts::Error::OutsideRoot { .. } => 9,
        facts::Error::NoHeaders { .. } => 21,
        facts::Error::System(error) => of_system(error),
    }
}

/// Ours, as are most of those below: the classic had neither locks nor a journal (see dkms(8), EXIT STATUS).
const NOT_SIGNED: u8 = 19;

fn of_system(error: &SystemError) -> u8 {
    match error {
        SystemError::Host(_) => 4,
        SystemError::Conf(_) => 8,
        SystemError::Kernel(_) => 12,
        SystemError::Lock(_) => 17,
        SystemError::Interrupted(stop) => stop.code(),
        SystemError::Journal(_) | SystemError::Io(_) | SystemError::Process(_) | SystemError::Handover(_) => 18,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    /// Every exit code in the table above, and of the verbs that have their own, is explained in dkms(8).
    #[test]
    fn every_exit_code_is_explained() {
        let (table, _) = include_str!("code.rs").split_once("mod tests").unwrap();
        let mut codes: BTreeSet<u8> = table
            .split("=> ")
            .skip(1)
            .filter_map(|rest| rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok())
            .collect();
        assert!(codes.len() > 15, "the table was not found: {codes:?}");
        // (23 is that of `dkms-share`.)
        codes.extend([0, super::NOT_SIGNED, crate::policy::FAILED, 14, 23, 129, 130, 143]);
        let described: BTreeSet<u8> = super::super::exit_status::EXIT_STATUS
            .iter()
            .flat_map(|(code, _)| code.split(", "))
            .filter_map(|code| code.parse().ok())
            .collect();
        assert_eq!(described, codes);
    }
}
