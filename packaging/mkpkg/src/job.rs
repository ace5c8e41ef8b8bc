//! One run of a packaging verb.

use std::path::PathBuf;

use dkms_core::cli::args::Args;
use dkms_core::context::Context;
use dkms_core::digest::Digest;
use dkms_core::names::Package;
use dkms_core::tree::walk::PackageEntry;
use dkms_mkpkg::source::About;

/// What the verbs work with.
pub(crate) struct Job<'a> {
    pub ctx: &'a Context,
    pub args: &'a Args,
    pub package: Package,
    pub entry: PackageEntry,
    /// The source directory itself.
    pub tree: PathBuf,
    pub about: About,
    pub forbidden: Vec<Digest>,
}
