//! modprobe: the settings that a package brings for it and for the boot ([`conf`]), and loading what matches this machine's devices
//! ([`devices`]).

pub(crate) mod conf;
pub(crate) mod devices;
