//! What the work of one run shares: its state, its job budget, the notes of what is to follow, the packages' scripts, depmod;
//! and the target of one build.

pub mod budget;
pub mod depmod;
pub mod follow_up;
pub mod foresight;
mod own_index;
pub mod script;
pub mod session;
pub mod target;
mod which_depmod;

pub use session::Session;
