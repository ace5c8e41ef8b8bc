//! Before a package manager's transaction: what will go wrong with the kernels that it brings, and whether policy stops
//! it. A front says what comes ([`Incoming`]); [`look`] gathers what is known of it here, and [`judge`] decides, purely.
//!
//! The table of findings is in COMPATIBILITY.md, "Before a transaction"; a test reads and walks it.

mod gather;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;

use crate::conf::Wish;
use crate::conf::framework::Policy;
use crate::context::Context;
use crate::error::Error;
use crate::names::{Name, Package, Release};

/// What a transaction brings, as far as its package manager can tell.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Incoming {
    /// Kernels, each once.
    pub kernels: Vec<Kernel>,
    /// Releases whose headers come.
    pub headers: BTreeSet<Release>,
    /// Module packages.
    pub packages: Packages,
    /// How much more of the disk its packages take afterwards, in bytes; 0 where nobody tells.
    pub bytes: u64,
    /// What a kernel takes in /boot, in bytes, if no other is there to be measured; `None` if its image takes the place of
    /// the one before.
    pub boot: Option<u64>,
    /// More will be known at a later look, before anything is changed.
    pub again: bool,
    /// Packages that do not ask for AUTOINSTALL are installed as well.
    pub by_hand: bool,
}

/// A kernel that comes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kernel {
    /// Its release.
    pub release: Release,
    /// What would bring its headers, if the package manager knows better than the distribution's usual names.
    pub headers: Option<String>,
}

impl Kernel {
    /// A kernel of which nothing more is known.
    pub fn new(release: Release) -> Self {
        Self { release, headers: None }
    }
}

/// What comes and goes of module packages.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Packages {
    /// Those whose source comes for certain.
    pub sources: BTreeSet<Package>,
    /// The package manager's names of packages that come and were not looked into: what they bring is not known.
    pub unread: BTreeSet<String>,
    /// The package manager's names of packages that go, and do not come anew.
    pub going: BTreeSet<String>,
}

impl Packages {
    /// Whether another version of the module package `module` may come: one does, or the name of a package that was not
    /// looked into says so. An incoming akmod counts as well.
    pub fn may_bring(&self, module: &str) -> bool {
        let by_name = |name: &String| named_for(name.strip_prefix("akmod-").unwrap_or(name), module);
        self.sources.iter().any(|package| package.name.as_str() == module) || self.unread.iter().any(by_name)
    }

    /// Whether the module package `module` goes with its package, and nothing comes in its place.
    pub fn takes_out(&self, module: &str) -> bool {
        self.going.iter().any(|name| named_for(name, module)) && !self.may_bring(module)
    }
}

/// The name of the module package that a package called `name` brings, going by what is usual: `zfs-dkms`, `dkms-zfs`,
/// `kmod-zfs-dkms`.
fn module_of(name: &str) -> Option<&str> {
    name.strip_prefix("dkms-").or_else(|| {
        let name = name.strip_suffix("-dkms")?;
        Some(name.strip_prefix("kmod-").unwrap_or(name))
    })
}

/// Whether the package `name` brings the source of the module package `module`, going by its name, which may also be the
/// module's own.
fn named_for(name: &str, module: &str) -> bool {
    module_of(name).unwrap_or(name) == module
}

/// What is known before a transaction, as far as the judgement depends on it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PreflightInput {
    /// The system's policy.
    pub policy: Policy,
    /// The kernels that come.
    pub kernels: Vec<NewKernel>,
    /// File systems with less room than is needed.
    pub room: Vec<LowSpace>,
    /// What is known of the packages that are here may be void, since others may come.
    pub uncertain: bool,
}

/// A kernel that comes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewKernel {
    /// Its release.
    pub release: Release,
    /// Whether its headers are here or come with it.
    pub has_headers: bool,
    /// What would bring them: a command, perhaps with an explanation before it.
    pub headers: String,
    /// The packages that it should have modules of.
    pub packages: Vec<ExpectedPackage>,
}

/// A package that a kernel should have modules of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExpectedPackage {
    /// What it is called: name and version, or the name of the package that brings it.
    pub label: String,
    /// Its name.
    pub name: Name,
    /// How much the administrator cares.
    pub wish: Wish,
    /// What is to be expected.
    pub prediction: Prediction,
}

/// What is to be expected of a package on a kernel that comes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Prediction {
    /// It will be built, for all that is known.
    Builds,
    /// It says itself that it is not meant for the kernel.
    Excluded(String),
    /// It could not be built for this kernel before.
    Failed(String),
    /// Its dkms.conf can't be used now; with the kernel in place it may be.
    Unusable(String),
}

/// A file system with too little room: a guess, in bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LowSpace {
    /// A directory in it, inside the root.
    pub dir: PathBuf,
    /// How much is free.
    pub free: u64,
    /// How much may be needed.
    pub needed: u64,
    /// What needs it.
    pub by: Taker,
}

/// What takes room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taker {
    /// Building modules.
    Builds,
    /// The transaction's packages, and building modules.
    PackagesAndBuilds,
    /// A kernel and its initramfs.
    Kernel,
}

/// What will go wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// A kernel comes without headers: nothing can be built for it.
    NoHeaders,
    /// A package failed to build for this very kernel before.
    Failed(String),
    /// A package says that the kernel is not for it.
    Excluded(String),
    /// A dkms.conf can't be used.
    Unusable(String),
    /// A file system has not the room that may be needed.
    LowSpace(LowSpace),
}

/// One thing that will go wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What.
    pub what: What,
    /// With which kernel.
    pub kernel: Option<Release>,
    /// With which packages.
    pub packages: Vec<String>,
    /// What mends it: a command, perhaps with an explanation before it.
    pub mend: Option<String>,
    /// Why policy stops the transaction for it: the setting, and the file that it is in.
    pub stops: Option<String>,
}

/// What was found, the gravest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Everything worth a warning.
    pub findings: Vec<Finding>,
}

impl Verdict {
    /// Why the transaction must not go on, and the way out; `None` if it may.
    pub fn stop(&self) -> Option<String> {
        let mut settings: Vec<&str> = self.findings.iter().filter_map(|finding| finding.stops.as_deref()).collect();
        settings.sort_unstable();
        settings.dedup();
        (!settings.is_empty()).then(|| format!("stopped by {}", settings.join(" and ")))
    }
}

/// Whether a finding of this kind stops the transaction, where it concerns a package with this wish.
///
/// Nobody lacks a package that its own author excluded, unless it is required. A guess never stops anything.
pub fn stops(what: &What, wish: Wish, policy: Policy) -> bool {
    match what {
        What::NoHeaders | What::Failed(_) => match wish {
            Wish::Optional => false,
            Wish::Wanted => policy == Policy::Fail,
            Wish::Required => true,
        },
        What::Excluded(_) => wish == Wish::Required,
        What::Unusable(_) | What::LowSpace(_) => false,
    }
}

/// Looks at a transaction. Without a kernel in it, or a package that wants modules, nothing is found.
pub fn look(ctx: &Context, incoming: &Incoming) -> Result<Verdict, Error> {
    if incoming.kernels.is_empty() || ctx.autoinstall_is_off() {
        return Ok(Verdict::default());
    }
    Ok(judge(&gather::facts(ctx, incoming)?))
}

/// What will go wrong, given the facts.
pub fn judge(facts: &PreflightInput) -> Verdict {
    let (mut no_headers, mut others) = (Vec::new(), Vec::new());
    let setting = |what: &What, package: &ExpectedPackage| {
        stops(what, package.wish, facts.policy).then(|| match package.wish {
            Wish::Required => format!("DKMS_POLICY=required in /etc/dkms/{}.conf", package.name),
            Wish::Optional | Wish::Wanted => "policy=fail in /etc/dkms/framework.conf".to_owned(),
        })
    };
    let mut builds = false;
    for kernel in &facts.kernels {
        let mut lacking = Vec::new();
        for package in &kernel.packages {
            let (what, mend) = match &package.prediction {
                Prediction::Builds => (None, None),
                Prediction::Excluded(why) => (Some(What::Excluded(why.clone())), None),
                Prediction::Failed(why) => {
                    let mend = format!("dkms status {} --long", package.label);
                    (Some(What::Failed(why.clone())), Some(mend))
                }
                Prediction::Unusable(why) => (Some(What::Unusable(why.clone())), None),
            };
            if !matches!(package.prediction, Prediction::Excluded(_)) {
                lacking.push(package);
            }
            others.extend(what.map(|what| Finding {
                stops: setting(&what, package).filter(|_| !facts.uncertain),
                what,
                kernel: Some(kernel.release.clone()),
                packages: vec![package.label.clone()],
                mend,
            }));
        }
        if lacking.is_empty() {
            continue;
        }
        builds |= kernel.has_headers;
        if !kernel.has_headers {
            no_headers.push(Finding {
                what: What::NoHeaders,
                kernel: Some(kernel.release.clone()),
                packages: lacking.iter().map(|package| package.label.clone()).collect(),
                mend: Some(kernel.headers.clone()),
                stops: lacking.iter().find_map(|package| setting(&What::NoHeaders, package)),
            });
        }
    }
    let room = facts.room.iter().filter(|room| builds || room.by == Taker::Kernel);
    others.extend(room.map(|room| Finding {
        what: What::LowSpace(room.clone()),
        kernel: None,
        packages: Vec::new(),
        mend: None,
        stops: None,
    }));
    no_headers.append(&mut others);
    Verdict { findings: no_headers }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let packages = self.packages.join(", ");
        let kernel = self.kernel.as_ref().map(ToString::to_string).unwrap_or_default();
        match &self.what {
            What::NoHeaders => {
                write!(f, "kernel {kernel} comes without its headers, so it will lack the modules of {packages}")?;
            }
            What::Failed(why) => write!(f, "{packages} could not be built for kernel {kernel} before: {why}")?,
            What::Excluded(why) => {
                write!(f, "{packages} is not meant for kernel {kernel}, which will lack its modules: {why}")?;
            }
            What::Unusable(why) => write!(f, "{packages} can't be judged for kernel {kernel}: {why}")?,
            What::LowSpace(room) => {
                let by = match room.by {
                    Taker::Builds => "building modules takes",
                    Taker::PackagesAndBuilds => "the transaction and building modules take",
                    Taker::Kernel => "the kernels that come take",
                };
                let (dir, free, needed) = (room.dir.display(), room.free >> 20, room.needed >> 20);
                write!(f, "{dir} has {free} MiB free, and {by} about {needed} MiB")?;
            }
        }
        match &self.mend {
            Some(mend) => write!(f, " (to fix it: {mend})"),
            None => Ok(()),
        }
    }
}
