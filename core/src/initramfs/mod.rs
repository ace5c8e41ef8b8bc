//! A kernel's initramfs: which modules it needs ([`list`]), what it may still hold of those that went ([`pending`]), what it holds, and
//! making it anew ([`image`]).

pub(crate) mod image;
pub(crate) mod list;
pub mod pending;
