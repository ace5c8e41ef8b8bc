//! The kernel-install plugin `40-dkms.install` (kernel-install(8)): it runs after the kernel's files are in place and
//! before 50-dracut makes the initramfs.

use dkms_core::cli::surroundings;

use crate::run::dkms;
use crate::say;

/// `kernel-install` reads this code as "done, call no further plugin": it would skip the initramfs and the boot entry.
const STOP_EVERYTHING: u8 = 77;

/// What kernel-install asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Request<'a> {
    /// A kernel has come.
    Add(&'a str),
    /// A kernel is going; its modules are still there.
    Remove(&'a str),
    /// Nothing for us (`inspect`, verbs to come).
    Other,
}

impl<'a> Request<'a> {
    /// Reads the plugin's arguments: verb, kernel release, entry directory, image, initrds.
    pub fn parse(words: &[&'a str]) -> Self {
        match words {
            ["add", kernel, ..] if !kernel.is_empty() => Request::Add(kernel),
            ["remove", kernel, ..] if !kernel.is_empty() => Request::Remove(kernel),
            _ => Request::Other,
        }
    }

    /// The words for `dkms`.
    fn words(self) -> Option<Vec<&'a str>> {
        match self {
            // A later plugin makes the initramfs.
            Request::Add(kernel) => {
                Some(vec!["reconcile", "-k", kernel, "--event", "kernel-installed", "--initramfs", "later"])
            }
            Request::Remove(kernel) => Some(vec!["kernel_prerm", "-k", kernel]),
            Request::Other => None,
        }
    }
}

/// The whole plugin; gives its exit code. What a failed build means, the core's policy has decided: its code is passed
/// on, except for the one that would stop kernel-install.
pub fn main(words: &[&str]) -> u8 {
    let request = Request::parse(words);
    let Some(mut words) = request.words() else { return 0 };
    if is_verbose(surroundings::environment().get(std::ffi::OsStr::new("KERNEL_INSTALL_VERBOSE"))) {
        words.push("--verbose");
    }
    let code = dkms(&words);
    match request {
        // The kernel goes, whatever we think of it.
        Request::Remove(kernel) if code != 0 => {
            say(&format!("dkms: modules of kernel {kernel} may be left behind; dkms reconcile clears them away"));
            0
        }
        Request::Remove(_) | Request::Other => 0,
        Request::Add(_) => harmless(code),
    }
}

/// The code that may be let out.
fn harmless(code: u8) -> u8 {
    if code == STOP_EVERYTHING { 0 } else { code }
}

fn is_verbose(value: Option<&std::ffi::OsString>) -> bool {
    value.is_some_and(|value| value.to_string_lossy().parse::<u32>().is_ok_and(|level| level > 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments() {
        assert_eq!(Request::parse(&["add", "6.1", "/boot/x/6.1", "/lib/modules/6.1/vmlinuz"]), Request::Add("6.1"));
        assert_eq!(Request::parse(&["remove", "6.1", "/boot/x/6.1"]), Request::Remove("6.1"));
        for other in [&["inspect"][..], &["add"], &["add", ""], &[]] {
            assert_eq!(Request::parse(other).words(), None, "{other:?}");
        }
    }

    #[test]
    fn what_would_stop_kernel_install_is_kept_in() {
        assert_eq!([0, 1, 11, 77].map(harmless), [0, 1, 11, 0]);
    }

    #[test]
    fn verbosity() {
        for (value, verbose) in [("1", true), ("2", true), ("0", false), ("", false), ("x", false)] {
            assert_eq!(is_verbose(Some(&value.into())), verbose, "{value}");
        }
        assert!(!is_verbose(None));
    }
}
