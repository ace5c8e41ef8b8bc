//! `dkms-rpm`: what rpm, dnf and kernel-install call. See `dkms_hooks_dnf`.

use std::process::ExitCode;

fn main() -> ExitCode {
    dkms_hooks_dnf::main()
}
