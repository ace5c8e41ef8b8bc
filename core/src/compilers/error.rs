//! Why compilers are not known.

use crate::process::ProcessError;

/// Why it is not known what the compilers of a build are.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// They could not be asked.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// What was said is no answer.
    #[error("the compilers can't be identified; bash says: {0}")]
    Answer(String),
}
