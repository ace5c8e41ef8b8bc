//! dnf4.
fn main() {}
