//! The kernel-install plugin `40-dkms.install` (kernel-install(8)): it runs after the kernel's files are in place and
//! before 50-dracut makes the initramfs.

use dkms_core::cli::surroundings;
use dkms_core::event::{Event, EventOptions};
use dkms_core::names::Release;
use dkms_core::reconcile::Initramfs;

use crate::run;
use crate::say;

/// `kernel-install` reads this code as "done, call no further plugin": it would skip the initramfs and the boot entry.
const STOP_EVERYTHING: u8 = 77;

/// What the plugin's arguments report: verb, kernel release, entry directory, image, initrds. `None`: nothing for us
/// (`inspect`, verbs to come).
fn event(words: &[&str]) -> Option<Event> {
    match words {
        ["add", kernel, ..] => Release::new(*kernel).ok().map(Event::KernelInstalled),
        ["remove", kernel, ..] => Release::new(*kernel).ok().map(Event::KernelGoing),
        _ => None,
    }
}

/// The whole plugin; gives its exit code. What a failed build means, the core's policy has decided: its code is passed
/// on, except for the one that would stop kernel-install.
pub fn main(words: &[&str]) -> u8 {
    let Some(event) = event(words) else { return 0 };
    let verbose = is_verbose(surroundings::environment().get(std::ffi::OsStr::new("KERNEL_INSTALL_VERBOSE")));
    // A later plugin makes the initramfs.
    let code = run::report(&event, &EventOptions { initramfs: Initramfs::Later, verbose, ..EventOptions::default() });
    match event {
        Event::KernelInstalled(_) => harmless(code),
        // The kernel goes, whatever we think of it.
        Event::KernelGoing(kernel) if code != 0 => {
            say(&format!("dkms: modules of kernel {kernel} may be left behind; dkms reconcile clears them away"));
            0
        }
        _ => 0,
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
        let release = || Release::new("6.1").unwrap();
        let add = event(&["add", "6.1", "/boot/x/6.1", "/lib/modules/6.1/vmlinuz"]);
        assert_eq!(add, Some(Event::KernelInstalled(release())));
        assert_eq!(event(&["remove", "6.1", "/boot/x/6.1"]), Some(Event::KernelGoing(release())));
        for other in [&["inspect"][..], &["add"], &["add", ""], &["add", "../x"], &[]] {
            assert_eq!(event(other), None, "{other:?}");
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
