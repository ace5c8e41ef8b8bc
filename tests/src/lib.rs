//! Support for tests that need more than a temporary directory: Debian roots to break, the classic dkms to compare
//! with, module packages made to order, a kernel small enough for unit tests.
//!
//! It knows nothing of `dkms-core`: the program is tried from outside, as its users see it, and the unit tests of any
//! crate may use this one. Nothing here needs more than a Debian machine; what a test needs and lacks is told by
//! [`suite`] at the end of a run.
//!
//! | room | is for |
//! |---|---|
//! | [`arch`] | roots that pacman manages |
//! | [`bed`] | Debian roots: made once, cloned for a test, thrown away |
//! | [`debs`] | real `*-dkms` packages from the archive |
//! | [`debian`] | Debian roots with real package managers |
//! | [`hello`] | small module packages made to order |
//! | [`mini_kernel`] | a kernel that builds a module in some 30 ms, without root |
//! | [`rpm`] | a Fedora of sorts: rpm kernels, module packages, our own package |
//! | [`rpm_classic`] | the same with the classic, which ours takes the place of |
//! | [`observe`] | what a run of dkms left behind, and the difference between two of those |
//! | [`compare`] | the same steps with the classic and with ours |
//! | [`programs`] | builds what is tried |
//! | [`transcript`] | transcripts of the guide, replayed |
//! | [`needs`], [`suite`] | cases, what they need, what was left out and why |
//!
//! `citations`, `distributions`, `floors`, `guide`, `honesty`, `reads` support no tests but are some: they check this repository.

#![allow(clippy::format_push_string, clippy::format_collect)] // short texts for people

pub mod arch;
pub mod bed;
pub mod building;
#[cfg(test)]
mod citations;
pub mod compare;
pub mod debian;
pub mod debs;
#[cfg(test)]
mod distributions;
#[cfg(test)]
mod floors;
#[cfg(test)]
mod guide;
pub mod hello;
#[cfg(test)]
mod honesty;
#[cfg(test)]
mod hook_files;
mod left_out;
pub mod mini_kernel;
pub mod needs;
pub mod observe;
pub mod programs;
#[cfg(test)]
mod reads;
pub mod rpm;
pub mod rpm_classic;
pub mod run;
pub mod settings;
pub mod suite;
pub mod transcript;
pub mod two_packages;
