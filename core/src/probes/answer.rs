//! A compiler's answer, and the form in which it is kept.

use serde::{Deserialize, Serialize};

use super::question::Question;
use crate::digest::Digest;

/// The longest answer, in bytes, all in all.
pub const LONGEST: usize = 128 << 10;
/// What a kept answer begins with; its digest and its text follow.
const MAGIC: &[u8] = b"dkms compiler answer 1\n";

/// What came of a question.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    /// The compiler itself is to be asked each time: what it does does not follow from the question.
    Unfit,
    /// It always says this.
    Said(Said),
}

/// What a compiler says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Said {
    /// Its exit code.
    pub code: u8,
    /// What it writes to standard output; `None`: something else each time.
    pub stdout: Option<Vec<u8>>,
    /// The same for standard error.
    pub stderr: Option<Vec<u8>>,
    /// What the output file has in it; `None`: it makes none.
    pub output: Option<Vec<u8>>,
}

impl Answer {
    /// The answer to `question` as it is kept.
    pub fn keep(&self, question: &Question) -> Vec<u8> {
        let text = serde_json::to_vec(&(question, self)).unwrap_or_default();
        let mut kept = MAGIC.to_vec();
        kept.extend_from_slice(Digest::of(&text).to_string().as_bytes());
        kept.push(b'\n');
        kept.extend_from_slice(&text);
        kept
    }

    /// Reads what was kept. `None`: it is damaged, or the answer to another question.
    pub fn read(kept: &[u8], question: &Question) -> Option<Self> {
        let rest = kept.strip_prefix(MAGIC)?;
        let (digest, text) = rest.split_at_checked(64)?;
        let text = text.strip_prefix(b"\n")?;
        if Digest::of(text).to_string().as_bytes() != digest {
            return None;
        }
        let (asked, answer): (Question, Self) = serde_json::from_slice(text).ok()?;
        (asked == *question).then_some(answer)
    }
}
