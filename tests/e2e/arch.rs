//! skeleton
fn main() { for s in ["sid","bookworm"] { let b = dkms_tests::arch::root(s); println!("{b:?}"); } }
