//! A conf resolved for one kernel: what is to be built, how, and what is left out and why.

use super::exclusive::{self, KernelInfo, Reason};
use super::typed::{Conf, Record, Scripts};

/// What to do for one package on one kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recipe {
    /// The modules to be built.
    pub modules: Vec<Module>,
    /// The modules this kernel is excluded from.
    pub excluded: Vec<Excluded>,
    /// Why the whole package is excluded from this kernel; empty if it is not.
    pub excluded_wholly: Vec<Reason>,
    /// The command that builds.
    pub make: MakeCommand,
    /// The patches to be applied, in order: files below `patches/`.
    pub patches: Vec<String>,
    /// The scripts.
    pub scripts: Scripts,
}

/// A module to be built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Module {
    /// Its record number.
    pub index: usize,
    /// Its names and places.
    pub record: Record,
}

/// A module that is left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Excluded {
    /// Its record number.
    pub index: usize,
    /// Its names and places.
    pub record: Record,
    /// Why.
    pub reasons: Vec<Reason>,
}

/// The command that builds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MakeCommand {
    /// Shell text.
    pub text: String,
    /// Whether the text begins with `make`: these four characters are to be replaced by make with
    /// the number of jobs and `KERNELRELEASE=` (docs/contract.md 4.3).
    pub prefixed: bool,
}

impl MakeCommand {
    fn new(text: String) -> Self {
        Self { prefixed: text.starts_with("make"), text }
    }
}

impl Recipe {
    /// Resolves `conf`, which must have been evaluated for this kernel. `kernel_source_dir` and
    /// `build_dir` are where make works when the conf names no command, as scripts see them.
    pub fn new(conf: &Conf, facts: &KernelInfo<'_>, kernel_source_dir: &str, build_dir: &str) -> Self {
        let mut modules = Vec::new();
        let mut excluded = Vec::new();
        for (index, record) in conf.records.iter().enumerate() {
            let record = record.clone();
            let reasons = exclusive::failing(&conf.exclusive, index, facts);
            if reasons.is_empty() {
                modules.push(Module { index, record });
            } else {
                excluded.push(Excluded { index, record, reasons });
            }
        }
        let excluded_wholly = if modules.is_empty() {
            let mut reasons = exclusive::general(&conf.exclusive, facts);
            for reason in excluded.iter().flat_map(|module| &module.reasons) {
                if !reasons.contains(reason) {
                    reasons.push(reason.clone());
                }
            }
            reasons
        } else {
            Vec::new()
        };
        Self {
            modules,
            excluded,
            excluded_wholly,
            make: make(conf).unwrap_or_else(|| MakeCommand::new(format!("make -C {kernel_source_dir} M={build_dir}"))),
            patches: conf
                .patches
                .iter()
                .filter(|patch| patch.pattern.as_ref().is_none_or(|pattern| pattern.matches))
                .map(|patch| patch.file.clone())
                .collect(),
            scripts: conf.scripts.clone(),
        }
    }

    /// Why the whole package is excluded from this kernel; `None` if it is not.
    pub fn exclusion(&self) -> Option<String> {
        let reasons = self.excluded_wholly.iter().map(ToString::to_string).collect::<Vec<_>>();
        (!reasons.is_empty()).then(|| reasons.join("; "))
    }
}

/// The last command whose pattern matches, else the first one if that has no pattern.
fn make(conf: &Conf) -> Option<MakeCommand> {
    let matching = conf.make.iter().rev().find(|make| make.pattern.as_ref().is_some_and(|pattern| pattern.matches));
    let plain = conf.make.iter().find(|make| make.index == 0 && make.pattern.is_none());
    matching.or(plain).map(|make| MakeCommand::new(make.text.clone()))
}
