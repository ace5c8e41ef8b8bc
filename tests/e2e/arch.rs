//! skeleton
use dkms_tests::bed::{Base, Flavour};
fn main() {
    for s in ["sid", "bookworm"] {
        let b = Base::get(s, 1, Flavour::Cloud, &["pacman-package-manager", "makepkg"]);
        println!("{b:?}");
    }
}
