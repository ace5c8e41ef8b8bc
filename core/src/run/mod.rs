//! What the work of one run shares: its state, its job budget, the notes of what is to follow, the packages' scripts, depmod;
//! and the target of one build.

pub mod budget;
pub mod depmod;
pub mod follow_up;
pub mod foresight;
pub mod script;
pub mod session;
pub mod target;

pub use session::Session;
