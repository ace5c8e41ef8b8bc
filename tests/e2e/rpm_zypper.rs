//! zypper.
fn main() {}
