//! Packages of the three families, written in-process: no rpmbuild, dpkg-deb or makepkg.
//!
//! A [`Plan`] says what is in a package; [`source`] and [`binary`] make plans; [`deb`], [`rpm`] and [`arch`]
//! turn one into the bytes of a package; [`driverdisk`]
//! puts packages on an image for an installer. The same plan always gives the same bytes.

pub mod arch;
pub mod binary;
mod cpio;
pub mod deb;
pub mod driverdisk;
pub mod iso;
pub mod plan;
pub mod repodata;
pub mod rpm;
pub mod source;

mod payload;

pub use plan::{Family, File, Node, PackageError, Plan, Scripts};

/// Makes the package of `family` that `plan` describes: its file name and its bytes.
pub fn write(family: Family, plan: &Plan) -> Result<(String, Vec<u8>), PackageError> {
    plan.check(family)?;
    match family {
        Family::Deb => deb::write(plan),
        Family::Rpm => rpm::write(plan),
        Family::Arch => arch::write(plan),
    }
}

#[cfg(test)]
mod tests;
