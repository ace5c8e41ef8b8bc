//! What is wrong with a system's modules, why, and what mends it: at the end of a run ([`summary`]), of one package on one kernel
//! ([`why`]), of the whole system ([`doctor`]).

mod cause;
pub(crate) mod doctor;
pub mod summary;
pub(crate) mod why;
