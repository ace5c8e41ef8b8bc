//! The only room that names a distribution or a package manager.

pub mod boot_loader;
pub mod caller;
pub mod distro;
pub mod dpkg;
pub mod headers_package;
pub mod initramfs;
pub mod owner;
pub mod rpm_upgrade;
pub mod signing;
pub mod tools;
pub mod weak_modules;

pub use distro::{Distribution, Error};
pub use weak_modules::WeakProgram;
