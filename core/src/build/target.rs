//! What a build is of: one package for one kernel, with all that was learnt of both.

use std::sync::Arc;

use crate::conf::Directive;
use crate::facts::{Evaluated, KernelFacts};
use crate::names::{Kernel, Package};

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
    /// The `--directive`s, which scripts find in their environment.
    pub directives: Vec<Directive>,
}
