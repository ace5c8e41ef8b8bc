//! What is wrong with a system's modules, why, and what mends it: at the end of a run ([`summary`]), of one package on one kernel
//! ([`why`]), of the whole system ([`doctor`]), for those who only start it anew ([`next_boot`]).

mod cause;
pub(crate) mod doctor;
pub(crate) mod next_boot;
pub mod summary;
pub(crate) mod why;
