//! What dpkg says of a package. Asking is allowed from within its maintainer scripts; it changes nothing.

use std::path::Path;

use crate::process::{self, Output, ProcessError};
use crate::world::World;

/// A package that dpkg has files or conffiles of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// `installed`, `unpacked`, `half-configured`, `config-files`, … (dpkg(1), "Package states").
    pub state: String,
    /// Its version; that of the new one while it is replaced.
    pub version: String,
}

impl Status {
    /// Whether its files are there.
    pub fn has_files(&self) -> bool {
        !matches!(self.state.as_str(), "not-installed" | "config-files")
    }
}

/// What dpkg says of `package`; `None`: it does not know it.
pub fn status(world: &World, package: &str) -> Result<Option<Status>, ProcessError> {
    let format = "--showformat=${db:Status-Status} ${Version}\n";
    let mut task = world.task(["dpkg-query", "--show", format, package], Path::new("/"));
    task.output = Output::Capture;
    let end = process::run(task)?;
    // dpkg-query(1): 1 means that nothing was found; its complaint is then part of the output.
    if !end.status.success() {
        return Ok(None);
    }
    Ok(parse(&end.text()))
}

/// The trigger by which our package is called once more at the end of dpkg's run.
pub const TRIGGER: &str = "dkms-end-of-run";

/// Asks dpkg for that call. Works within maintainer scripts only; where our package is not there, nobody minds.
pub fn ask_for_end_of_run(world: &World) {
    let mut task = world.task(["dpkg-trigger", "--no-await", TRIGGER], Path::new("/"));
    task.output = Output::Capture;
    if let Err(error) = process::run(task) {
        log::warn!("{error}");
    }
}

fn parse(text: &str) -> Option<Status> {
    // With foreign architectures there may be several; the one with files counts.
    let all: Vec<Status> = text
        .lines()
        .filter_map(|line| {
            let (state, version) = line.split_once(' ')?;
            Some(Status { state: state.to_owned(), version: version.to_owned() })
        })
        .collect();
    all.iter().find(|status| status.has_files()).or(all.first()).cloned()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The package listens to the trigger by its name of today, and by the one that an older program activates.
    #[test]
    fn the_package_listens_to_the_trigger() {
        let triggers = include_str!("../../../packaging/debian/dkms.triggers");
        let names: Vec<&str> = triggers.lines().filter_map(|line| line.strip_prefix("interest-noawait ")).collect();
        assert_eq!(names, [TRIGGER, "dkms-drain"]);
    }

    #[test]
    fn the_answer() {
        let status = parse("config-files 1.0-1\nhalf-configured 1.0-2\n").unwrap();
        assert_eq!(
            (status.state.as_str(), status.version.as_str(), status.has_files()),
            ("half-configured", "1.0-2", true)
        );
        assert!(!parse("config-files 1.0-1\n").unwrap().has_files());
        assert_eq!(parse(""), None);
    }
}
