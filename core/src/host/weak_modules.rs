//! Whose program makes links between kernels that can share modules (weak modules).

use super::Distribution;

/// A vendor's program for weak modules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WeakProgram {
    /// `weak-modules` of RHEL's package kmod.
    Rhel,
    /// `weak-modules2` of suse-module-tools.
    Suse,
}

impl WeakProgram {
    /// Where the program may be.
    pub fn places(self) -> [&'static str; 2] {
        match self {
            Self::Rhel => ["/usr/sbin/weak-modules", "/sbin/weak-modules"],
            Self::Suse => ["/usr/lib/module-init-tools/weak-modules2", "/usr/sbin/weak-modules2"],
        }
    }
}

impl Distribution {
    /// The program that this distribution's kernels are made for. Fedora has RHEL's program, and no kernels that could share
    /// modules.
    pub fn weak_modules(&self) -> Option<WeakProgram> {
        // RHEL itself, whose `ID_LIKE` is only `fedora`, CentOS, and their rebuilds.
        let mut words = self.family.split_whitespace().chain([self.id.as_str()]);
        if words.any(|word| matches!(word, "rhel" | "centos")) {
            return Some(WeakProgram::Rhel);
        }
        self.is_like(&["sles", "suse", "opensuse"]).then_some(WeakProgram::Suse)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whose_family_has_them() {
        for (text, whose) in [
            ("ID=rhel\nID_LIKE=fedora\n", Some(WeakProgram::Rhel)),
            ("ID=almalinux\nID_LIKE=\"rhel centos fedora\"\n", Some(WeakProgram::Rhel)),
            ("ID=centos\nID_LIKE=\"rhel fedora\"\n", Some(WeakProgram::Rhel)),
            ("ID=sles\nID_LIKE=suse\n", Some(WeakProgram::Suse)),
            ("ID=opensuse-leap\nID_LIKE=\"suse opensuse\"\n", Some(WeakProgram::Suse)),
            ("ID=fedora\n", None),
            ("ID=nobara\nID_LIKE=fedora\n", None),
            ("ID=debian\n", None),
        ] {
            assert_eq!(Distribution::parse(text).weak_modules(), whose, "{text}");
        }
    }
}
