//! Whether everything of ours is whole and where it belongs: the tree against the files beside the kernels' modules,
//! manifests against both, and our own state. Looking changes nothing. Every finding says how it can be mended; what is not
//! ours, and what somebody may have meant so, is only named.

mod kernels;
mod repair;
mod state;
mod tree;
mod words;

use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::error::Error;
use crate::names::{Kernel, Package, Release};
use crate::plan::Step;
use crate::run::Session;
use crate::tree::Trees;
use crate::tree::walk::{self, Filter};

pub use repair::repair;

/// What is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Fault {
    /// A change that a killed run has left unfinished.
    Interrupted,
    /// A journal that is of no use, and was set aside.
    BadJournal,
    /// A temporary file or directory that nobody needs any more.
    Leftover,
    /// A registration whose link leads to no source.
    NoSource,
    /// An entry of the tree that can't be looked at.
    Unreadable,
    /// The remains of something in the tree.
    Remains,
    /// A manifest that can't be understood.
    BadManifest,
    /// What is built lacks a module, or one of them is damaged.
    BuildDamaged,
    /// A built module is another one than was built.
    BuildChanged,
    /// The link that says what is installed leads nowhere.
    DanglingLink,
    /// An installed module is not there.
    ModuleMissing,
    /// An installed module can't be one any more.
    ModuleDamaged,
    /// An installed module is another one than was installed.
    ModuleChanged,
    /// Modules that are installed, which no manifest lists.
    NotListed,
    /// A manifest's entry of which nothing is left.
    NothingLeft,
    /// A module among ours that dkms did not install.
    Foreign,
    /// Modules that are installed, which the tree knows nothing of.
    Unregistered,
    /// Something of ours for a kernel that was removed.
    KernelGone,
    /// depmod's index is not of what lies there.
    StaleIndex,
    /// An initramfs that is still to be made anew.
    InitramfsOverdue,
}

/// How a finding is mended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Repair {
    /// The unfinished change is completed or undone.
    Finish,
    /// The file or directory is deleted: it is ours.
    Delete,
    /// The source is linked again.
    Link(PathBuf),
    /// A step of a plan.
    Step(Step),
    /// `reconcile` of the kernel, or of all.
    Reconcile(Option<Kernel>),
    /// A manifest's entries of which nothing is left are taken out.
    Forget(Release),
    /// depmod.
    Depmod(Release),
    /// The initramfs is made anew.
    Initramfs,
    /// Nobody but the administrator can tell: what to do.
    ByHand(String),
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Finding {
    /// What.
    pub fault: Fault,
    /// The package, if it is one's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub package: Option<Package>,
    /// The kernel, if it is one's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kernel: Option<Release>,
    /// The file, inside the root.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<PathBuf>,
    /// More about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// How it is mended.
    pub repair: Repair,
}

impl Finding {
    /// Whether `--repair` can mend it.
    pub fn can_be_mended(&self) -> bool {
        !matches!(self.repair, Repair::ByHand(_))
    }
}

/// Collects findings.
struct Findings<'a> {
    trees: &'a Trees,
    list: Vec<Finding>,
}

impl Findings<'_> {
    fn add(&mut self, fault: Fault, repair: Repair) -> &mut Finding {
        let path = None;
        self.list.push(Finding { fault, package: None, kernel: None, path, detail: None, repair });
        let last = self.list.len() - 1;
        &mut self.list[last]
    }

    /// A finding about the file at `path` (outer).
    fn at(&mut self, path: &Path, fault: Fault, repair: Repair) -> &mut Finding {
        let shown = self.trees.shown(path);
        let finding = self.add(fault, repair);
        finding.path = Some(shown);
        finding
    }
}

impl Finding {
    fn of(&mut self, package: &Package) -> &mut Self {
        self.package = Some(package.clone());
        self
    }

    fn on(&mut self, release: &Release) -> &mut Self {
        self.kernel = Some(release.clone());
        self
    }

    fn because(&mut self, why: impl std::fmt::Display) {
        self.detail = Some(why.to_string());
    }
}

/// Looks at everything. Under the tree's lock, if it can be had: then no change is under way.
pub fn check(session: &Session<'_>) -> Result<Vec<Finding>, Error> {
    let ctx = session.ctx;
    let is_there = ctx.trees.own().is_dir() && !ctx.options.dry_run;
    let _lock = is_there.then(|| ctx.lock_tree().ok()).flatten();
    let mut found = Findings { trees: &ctx.trees, list: Vec::new() };
    let walk = walk::walk(&ctx.trees, &Filter::default());
    state::look(ctx, &mut found);
    tree::look(ctx, &walk, &mut found)?;
    kernels::look(ctx, &walk, &mut found)?;
    Ok(found.list)
}
