//! Two packages in a bed, and what a script does with them.

use anyhow::{Result, ensure};

use crate::bed::{Base, Bed};
use crate::compare::fill;
use crate::hello::package;

/// A case: `hello` and `other`, version 1.0, are in /usr/src of a bed of `base`; `prelude` and then `text` must end with 0.
/// `{k}` in them is the kernel's release.
pub fn two_packages(
    base: fn() -> Result<Base>,
    prelude: &'static str,
    text: &'static str,
) -> impl FnOnce() -> Result<()> + Send + 'static {
    move || {
        let bed = Bed::subject(&base()?)?;
        let hand = tempfile::tempdir()?;
        for name in ["hello", "other"] {
            bed.copy_in(&package(name).build_in(hand.path())?, &format!("/usr/src/{name}-1.0"))?;
        }
        let text = fill(bed.base(), &format!("{prelude}{text}"));
        let outcome = bed.run(&["bash", "-ec", &text])?;
        ensure!(outcome.code == 0, "exit code {}\n{}", outcome.code, outcome.tail());
        Ok(())
    }
}
