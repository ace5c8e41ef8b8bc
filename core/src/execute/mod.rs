//! Running a plan under the job budget.

pub mod budget;
