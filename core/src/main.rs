//! The `dkms` command: see `dkms_core::cli`.

use std::process::ExitCode;

fn main() -> ExitCode {
    dkms_core::cli::main()
}
