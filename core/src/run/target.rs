//! What a build is of: one package for one kernel, with all that was learnt of both.

use std::path::PathBuf;
use std::sync::Arc;

use crate::conf::Directive;
use crate::facts::{Evaluated, KernelFacts};
use crate::names::{Kernel, Name, Package};

/// A package that the target needs, installed for the same kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dependency {
    /// Its name.
    pub name: Name,
    /// The version that is installed.
    pub version: Option<String>,
    /// Its Module.symvers (outer path), if it exports symbols.
    pub symvers: Option<PathBuf>,
}

/// One package for one kernel.
#[derive(Debug, Clone)]
pub struct Target {
    /// The package.
    pub package: Package,
    /// The kernel.
    pub kernel: Kernel,
    /// Its facts.
    pub facts: Arc<KernelFacts>,
    /// The package's dkms.conf for this kernel.
    pub evaluated: Evaluated,
    /// The packages it depends on.
    pub dependencies: Vec<Dependency>,
    /// The `--directive`s, which scripts find in their environment.
    pub directives: Vec<Directive>,
}
