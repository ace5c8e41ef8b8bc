//! What the work of one run shares: its state, its job budget and debts, the packages' scripts, depmod; and the target of one build.

pub mod budget;
pub mod debt;
pub mod depmod;
pub mod foresight;
pub mod script;
pub mod session;
pub mod target;

pub use session::Session;
