//! Is a module that was built one for this kernel? make may well succeed with one for another: for the kernel that is
//! running, where a Makefile asks `uname -r`.

use crate::elf::Module;
use crate::kernel::{Config, compiler};
use crate::names::Kernel;

/// What a module must be for.
#[derive(Debug)]
pub struct Wanted<'a> {
    /// The kernel.
    pub kernel: &'a Kernel,
    /// The release that the headers say they are of (`UTS_RELEASE`), if they do.
    pub headers_release: Option<&'a str>,
    /// The kernel's configuration, if there is one.
    pub config: Option<&'a Config>,
}

/// How far a module is for the kernel.
#[derive(Debug, PartialEq, Eq)]
pub enum Fitness {
    /// It is.
    Fit,
    /// It is for the kernel that the headers are of, and that is another one: what is wrong, for a warning.
    Headers(String),
    /// It names another release: what is wrong, and what to do.
    OtherRelease(String),
    /// It is not: what is wrong, and what to do.
    Unfit(String),
}

const NOT_LINKED: &str =
    "it is an object file that kbuild has made no module of.\nDoes MAKE in dkms.conf make the target modules?";

impl Wanted<'_> {
    /// Judges `module` by its machine and by the first word of its vermagic, which is the release of the kernel it was built
    /// for (include/linux/vermagic.h). A module that says neither is not held against anybody.
    pub fn judge(&self, module: &Module) -> Fitness {
        let Kernel { release, arch } = self.kernel;
        if !module.is_linked {
            return Fitness::Unfit(NOT_LINKED.to_owned());
        }
        // The label comes from the machine that builds, which may be another one (`--root`), or from the programs that run
        // on it (setarch(8)): the kernel's configuration tells better.
        let fits = match self.config.and_then(compiler::machines) {
            Some(machines) => machines.iter().any(|machine| module.runs_on(machine)),
            None => module.runs_on(arch.as_str()),
        };
        if !fits {
            return Fitness::Unfit(format!(
                "it was built for the machine {}, and {release} is a kernel for {arch}.\nDoes the package's Makefile set ARCH or CROSS_COMPILE itself? They are in its environment where they are needed.",
                module.machine
            ));
        }
        let vermagic = module.field("vermagic").unwrap_or_default();
        let built_for = vermagic.split(' ').next().filter(|word| !word.is_empty());
        match built_for {
            None => Fitness::Fit,
            Some(found) if found == release.as_str() => Fitness::Fit,
            Some(found) if Some(found) == self.headers_release => Fitness::Headers(format!(
                "The headers that were found for kernel {release} are of kernel {found}: what is built with them may not load."
            )),
            Some(found) => Fitness::OtherRelease(format!(
                "it was built for kernel {}, not for {release}.\nDoes the package's Makefile ask `uname -r`? It is to build for KERNELRELEASE, or for what MAKE in dkms.conf hands it ($kernelver, $kernel_source_dir).",
                found.escape_default()
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn module(machine: &'static str, vermagic: &str) -> Module {
        let text = [("vermagic".to_owned(), vermagic.to_owned())];
        Module {
            machine,
            modinfo: text.into_iter().filter(|(_, value)| !value.is_empty()).collect(),
            has_debug: false,
            is_linked: true,
            signature: crate::elf::Signature::None,
        }
    }

    #[test]
    fn modules_for_other_kernels_and_machines_are_told() {
        let config = Config::new("CONFIG_X86_64=y\nCONFIG_X86=y\n");
        let arm = Config::new("CONFIG_ARM64=y\n");
        for (machine, vermagic, arch, headers, config, expected) in [
            ("x86_64", "6.1.2 SMP mod_unload ", "x86_64", Some("6.1.2"), None, "fit"),
            ("x86_64", "6.1.2 SMP", "amd64", None, None, "fit"),
            ("x86_64", "6.1.2", "mine", None, None, "fit"),
            ("unknown", "6.1.2", "x86_64", None, None, "fit"),
            ("x86_64", "", "x86_64", Some("6.1.2"), None, "fit"),
            ("x86_64", "6.1.2 SMP", "i686", None, Some(&config), "fit"),
            ("x86_64", "6.1.1 SMP", "x86_64", Some("6.1.2"), None, "built for kernel 6.1.1, not for 6.1.2"),
            ("x86_64", "6.1.20 SMP", "x86_64", None, None, "built for kernel 6.1.20, not for 6.1.2"),
            ("x86_64", "6.1.2+ SMP", "x86_64", Some("6.1.2+"), None, "The headers"),
            ("x86_64", "\u{1b}[2J SMP", "x86_64", None, None, r"built for kernel \u{1b}[2J"),
            // Built on another machine, whose label it got.
            ("aarch64", "6.1.2 SMP", "x86_64", Some("6.1.2"), Some(&arm), "fit"),
            ("x86_64", "6.1.2 SMP", "aarch64", Some("6.1.2"), Some(&arm), "built for the machine x86_64"),
            ("aarch64", "6.1.2 SMP", "x86_64", Some("6.1.2"), None, "built for the machine aarch64"),
            ("x86_64", "6.1.2 SMP", "i686", Some("6.1.2"), None, "built for the machine x86_64"),
            ("i686", "6.1.2 SMP", "x86_64", Some("6.1.2"), Some(&config), "built for the machine i686"),
        ] {
            let kernel = Kernel::new("6.1.2", arch).unwrap();
            let wanted = Wanted { kernel: &kernel, headers_release: headers, config };
            let found = match wanted.judge(&module(machine, vermagic)) {
                Fitness::Fit => "fit".to_owned(),
                Fitness::Headers(why) | Fitness::OtherRelease(why) | Fitness::Unfit(why) => why,
            };
            assert!(found.contains(expected), "{machine} {vermagic} {arch}: {found}");
        }
        let object = Module { is_linked: false, ..module("x86_64", "") };
        let kernel = Kernel::new("6.1.2", "x86_64").unwrap();
        let wanted = Wanted { kernel: &kernel, headers_release: None, config: None };
        assert_eq!(wanted.judge(&object), Fitness::Unfit(NOT_LINKED.to_owned()));
    }
}
