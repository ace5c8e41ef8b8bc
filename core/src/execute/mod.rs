//! Running a plan under the job budget.

pub mod budget;
mod progress;
pub mod run;
pub mod session;
pub mod work;

pub use run::{Results, Voice, run};
pub use session::Session;
pub use work::Done;
