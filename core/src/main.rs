//! The `dkms` command: see `dkms_core::program`.

use std::process::ExitCode;

fn main() -> ExitCode {
    dkms_core::program::main()
}
