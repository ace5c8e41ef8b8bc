//! Findings in words.

use std::fmt;

use super::{Fault, Finding, Repair};

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Interrupted => "an earlier run was interrupted",
            Self::BadJournal => "a journal that can't be understood was set aside",
            Self::Leftover => "left over from a run that has ended",
            Self::NoSource => "the link to the source leads nowhere",
            Self::Unreadable => "it can't be looked at",
            Self::Remains => "the remains of something that was removed",
            Self::BadManifest => "the manifest can't be understood",
            Self::BuildDamaged => "a built module is missing or damaged",
            Self::BuildChanged => "a built module is not what was built",
            Self::DanglingLink => "the link to what is installed leads nowhere",
            Self::ModuleMissing => "an installed module is missing",
            Self::ModuleDamaged => "an installed module is damaged",
            Self::ModuleChanged => "an installed module is not what was installed",
            Self::NotListed => "the installed modules are in no manifest",
            Self::NothingLeft => "the manifest lists modules of which nothing is left",
            Self::Foreign => "a module that dkms did not install",
            Self::Unregistered => "modules are installed, but the package is not registered",
            Self::KernelGone => "the kernel was removed",
            Self::StaleIndex => "the index of modules is out of date",
            Self::InitramfsOverdue => "the initramfs is still to be made anew",
        })
    }
}

impl fmt::Display for Repair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Finish => f.write_str("complete or undo it"),
            Self::Delete => f.write_str("delete it"),
            Self::Link(source) => write!(f, "link it to {}", source.display()),
            Self::Step(step) => write!(f, "{step}"),
            Self::Reconcile(Some(kernel)) => write!(f, "reconcile kernel {kernel}"),
            Self::Reconcile(None) => f.write_str("reconcile all kernels"),
            Self::Forget(_) => f.write_str("take the entry out"),
            Self::Depmod(release) => write!(f, "run depmod for kernel {release}"),
            Self::Initramfs => f.write_str("make it anew"),
            Self::ByHand(what) => f.write_str(what),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut about: Vec<String> = Vec::new();
        about.extend(self.package.as_ref().map(ToString::to_string));
        about.extend(self.kernel.as_ref().map(|release| format!("kernel {release}")));
        if !about.is_empty() {
            write!(f, "{}: ", about.join(", "))?;
        }
        write!(f, "{}", self.fault)?;
        if let Some(path) = &self.path {
            write!(f, ": {}", path.display())?;
        }
        if let Some(detail) = &self.detail {
            write!(f, " ({detail})")?;
        }
        Ok(())
    }
}
