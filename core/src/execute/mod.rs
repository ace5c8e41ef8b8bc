//! Running a plan under the job budget.

mod confirm;
mod order;
mod progress;
pub mod run;
pub mod work;

pub use run::{Results, Voice, run};
pub use work::Done;
