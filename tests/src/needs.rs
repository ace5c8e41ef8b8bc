//! What a test needs of the machine.

use std::path::PathBuf;

use crate::settings::{self, Subject};

/// Something that a test can't do without.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// To be root, with private mounts, and mmdebstrap: what a bed takes.
    Bed,
    /// The program under test.
    Subject,
    /// That the program under test is ours: the classic can't do it.
    Ours,
    /// `make test-long`.
    Long,
    /// Our Debian packages (`make deb`).
    Packages,
    /// Our rpm packages (`make rpm`).
    Rpms,
    /// A program of ours beside the one under test.
    Beside(&'static str),
    /// A program of this name.
    Program(&'static str),
}

impl Need {
    /// What the machine lacks for it, whatever has been built; `None` if nothing.
    pub(crate) fn lacking(self) -> Option<String> {
        let programs: &[&str] = match self {
            Need::Packages if !settings::chosen() => &["dpkg-buildpackage", "dh"],
            Need::Rpms if !settings::chosen() => &["rpmbuild"],
            Need::Bed | Need::Long | Need::Program(_) => return self.unmet(),
            _ => &[],
        };
        programs.iter().find_map(|name| Need::Program(name).unmet())
    }

    /// Why the machine does not meet the need; `None` if it does.
    pub fn unmet(self) -> Option<String> {
        match self {
            Need::Bed => {
                if !rustix::process::geteuid().is_root() {
                    return Some("not root".into());
                }
                let lacking: Vec<&str> = ["mmdebstrap", "unshare", "apt-get", "dpkg-deb"]
                    .into_iter()
                    .filter(|p| find(p).is_none())
                    .collect();
                (!lacking.is_empty()).then(|| format!("no {} on this machine", lacking.join(", ")))
            }
            Need::Subject => (settings::subject() == Subject::Missing)
                .then(|| "there is no program to try: run `make release` or set DKMS_BIN".into()),
            Need::Ours => match settings::subject() {
                Subject::Ours(_) => None,
                Subject::Classic => Some("the classic can't do it".into()),
                Subject::Missing => Need::Subject.unmet(),
            },
            Need::Long => (!settings::long()).then(|| "takes minutes: it is part of `make test-long`".into()),
            Need::Packages | Need::Rpms if self.lacking().is_some() => self.lacking(),
            Need::Packages => {
                crate::debian::our_packages().is_none().then(|| "there are no packages of ours: run `make deb`".into())
            }
            Need::Rpms => {
                (!settings::rpms().is_dir()).then(|| "there are no rpm packages of ours: run `make rpm`".into())
            }
            Need::Beside(name) => {
                settings::beside(name).is_none().then(|| format!("there is no {name} beside the program under test"))
            }
            Need::Program(name) => find(name).is_none().then(|| format!("no {name} on this machine")),
        }
    }
}

/// The first program called `name` among the places where programs are.
pub fn find(name: &str) -> Option<PathBuf> {
    settings::program_directories().into_iter().map(|d| d.join(name)).find(|p| p.is_file())
}
