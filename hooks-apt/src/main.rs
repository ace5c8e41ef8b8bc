//! The face of dkms towards dpkg and apt: one program under several names.
//!
//! | called | by |
//! |---|---|
//! | `kernel-{preinst,postinst,prerm,postrm,header-postinst} RELEASE [IMAGE]` | the hooks in /etc/kernel |
//! | `kernel-install add\|remove RELEASE …` | kernel-install's plugin |
//! | `package-{postinst,prerm} WORDS…` | our own package's scripts, dpkg's trigger among them |
//! | `common.postinst NAME VERSION TARBALL_ROOT ARCH UPGRADE` | the postinst of every `*-dkms` package |
//! | `apt-preflight`, `summary` | apt, before and after dpkg |
//! | `dkms_autoinstaller VERB [RELEASE]` | whoever still calls the old init script |
//!
//! It reports to the core what happened, and adds what only dpkg and apt know. Standard output belongs to debconf in
//! many of these places, so nothing is ever written there, and standard input is never read but for apt's list.

mod autoinstaller;
mod end_of_run;
mod hooks;
mod kernels;
mod own_package;
mod pending;
mod postinst;
mod preflight;
#[cfg(test)]
#[path = "../../tests/fronts/preflight_table.rs"]
mod preflight_table;
mod protocol;
mod streams;
mod summary;

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

use dkms_core::probes;

fn main() -> ExitCode {
    let mut words = std::env::args_os();
    let called = words.next().unwrap_or_default();
    let words: Vec<OsString> = words.collect();
    if let Some(code) = probes::stage(&words) {
        return code;
    }
    let name = Path::new(&called).file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let mut words: Vec<String> = words.iter().map(|word| word.to_string_lossy().into_owned()).collect();
    let verb = match name.as_str() {
        "common.postinst" | "apt-preflight" | "dkms_autoinstaller" => name,
        _ if words.is_empty() => String::new(),
        _ => words.remove(0),
    };
    ExitCode::from(run(&verb, &words))
}

fn run(verb: &str, words: &[String]) -> u8 {
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    if verb == "apt-preflight" {
        return preflight::run();
    }
    streams::leave_alone();
    streams::log_warnings();
    match verb {
        "kernel-preinst" => hooks::preinst(words),
        "kernel-postinst" => hooks::postinst(words),
        "kernel-header-postinst" => hooks::header_postinst(words),
        "kernel-prerm" => hooks::prerm(words),
        "kernel-postrm" => hooks::postrm(words),
        "kernel-install" => hooks::kernel_install(words),
        "package-postinst" => own_package::postinst(words),
        "package-prerm" => own_package::prerm(words),
        "common.postinst" => postinst::run(words),
        "dkms_autoinstaller" => autoinstaller::run(words),
        "summary" => summary::run(),
        _ => {
            streams::say("dkms-apt is called by dpkg, apt and kernel packages; there is nothing to be typed.");
            2
        }
    }
}
