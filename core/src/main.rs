//! The `dkms` command.
fn main() {}
