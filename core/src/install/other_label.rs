//! What is installed for a kernel under another label of its architecture: `amd64` beside `x86_64`, in a tree that another
//! program wrote. It is the same package on the same kernel, and its modules are in the same place.

use std::path::{Path, PathBuf};

use crate::context::Context;
use crate::elf::machine_of_label;
use crate::names::{Arch, Kernel, Name};
use crate::tree::compare::same_bytes;

/// An installation under another label.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Other {
    /// The kernel, with that label.
    pub kernel: Kernel,
    /// The link in the tree that counts it as installed.
    pub link: PathBuf,
}

/// Whether two labels mean the same machine.
pub fn is_same_machine(one: &Arch, other: &Arch) -> bool {
    let machine = machine_of_label(one.as_str());
    one == other || (machine.is_some() && machine == machine_of_label(other.as_str()))
}

/// The installations of `name` for `kernel` under other labels; not those that have put an original module aside, which only
/// their own removal puts back.
pub fn find(ctx: &Context, name: &Name, kernel: &Kernel) -> Vec<Other> {
    let prefix = format!("kernel-{}-", kernel.release);
    let entries = std::fs::read_dir(ctx.trees.name_dir(name)).into_iter().flatten().flatten();
    let labels = entries.filter_map(|entry| Arch::new(entry.file_name().to_str()?.strip_prefix(&prefix)?).ok());
    labels
        .filter(|label| *label != kernel.arch && is_same_machine(label, &kernel.arch))
        .map(|arch| Kernel { release: kernel.release.clone(), arch })
        .filter(|kernel| !ctx.trees.originals(name, kernel).exists())
        .map(|kernel| Other { link: ctx.trees.active_link(name, &kernel), kernel })
        .collect()
}

impl Other {
    /// Whether the installed file at `path` is one of its modules.
    pub fn has(&self, path: &Path) -> bool {
        path.file_name().is_some_and(|file| same_bytes(&self.link.join("module").join(file), path).unwrap_or(false))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_of_one_machine() {
        let arch = |text| Arch::new(text).unwrap();
        for (one, other, same) in [
            ("x86_64", "amd64", true),
            ("arm64", "aarch64", true),
            ("x86_64", "i686", false),
            ("mine", "mine", true),
            ("mine", "yours", false),
        ] {
            assert_eq!(is_same_machine(&arch(one), &arch(other)), same, "{one} {other}");
        }
    }
}
