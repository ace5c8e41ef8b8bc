//! stub
#![allow(clippy::all)]
fn main() {
    println!("{:?}", dkms_tests::bed::Base::boot());
}
