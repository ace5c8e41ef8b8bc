//! What builds for one kernel follow from besides the package: headers, compilers and other programs, by what they hold.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::compilers::{self, Compilers};
use crate::context::Context;
use crate::digest::Digest;
use crate::kernel::{Headers, Toolchain, headers_contents};
use crate::parallel;

/// Where systems say what they are (os-release(5)).
const OS_RELEASE: [&str; 2] = ["/etc/os-release", "/usr/lib/os-release"];

/// Digests that are the same wherever the same files lie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// Of all that is in the headers.
    pub headers: Digest,
    /// Of the compilers.
    pub compilers: Digest,
    /// Of other programs that make modules, by name.
    pub programs: BTreeMap<String, Digest>,
    /// Of os-release.
    pub distribution: Digest,
}

impl Origin {
    /// Looks at everything; what was not touched since it was last read is not read again.
    ///
    /// # Errors
    /// In words, if that can't be known.
    pub(super) fn take(
        ctx: &Context,
        headers: &Headers,
        compilers: impl FnOnce() -> Result<Arc<Compilers>, compilers::Error>,
        toolchain: &Toolchain,
    ) -> Result<Self, String> {
        // Who only looks remembers nothing: to them, everything was written to just now.
        let now = if ctx.options.dry_run { 0 } else { ctx.now };
        // The one waits for programs, the other looks at thousands of files.
        let (compilers, headers) = parallel::both(compilers, || headers_contents::take(&ctx.trees, headers, now));
        let compilers = compilers.map_err(|error| error.to_string())?;
        let headers = headers.map_err(|error| error.to_string())?;
        if compilers.all.is_empty() {
            return Err("there is no compiler".to_owned());
        }
        if !compilers.are_unchanged() {
            return Err("the compilers have changed".to_owned());
        }
        let failed = |error: std::io::Error| error.to_string();
        let mut programs = BTreeMap::new();
        for name in programs_of(toolchain) {
            if let Some(path) = ctx.world.find(&name) {
                programs.insert(name, Digest::of_file(&path).map_err(failed)?);
            }
        }
        let os_release = OS_RELEASE.iter().map(|path| ctx.world.outer(path.as_ref())).find(|path| path.is_file());
        Ok(Self {
            headers: headers.ok_or("its kernel's headers are a whole source, of which it may read anything")?,
            compilers: compilers.portable(&ctx.trees, now).map_err(failed)?.clone(),
            programs,
            distribution: os_release
                .map_or_else(|| Ok(Digest::of(b"")), |path| Digest::of_file(&path))
                .map_err(failed)?,
        })
    }
}

/// The names of programs that change what is in a module, but for compilers.
fn programs_of(toolchain: &Toolchain) -> Vec<String> {
    let cross = toolchain.cross.as_ref().and_then(|cross| cross.prefix).unwrap_or_default();
    let mut names = vec!["make".to_owned(), "pahole".to_owned()];
    names.extend(["strip", "objcopy"].map(|name| format!("{cross}{name}")));
    if toolchain.llvm {
        names.extend(["llvm-strip", "llvm-objcopy", "ld.lld"].map(String::from));
    }
    names
}
