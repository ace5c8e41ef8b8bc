//! What a run has had of its share: how long it has waited, and what it has said. A share must not hold a run up, nor fill its output,
//! once for each of a hundred packages.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How long a run waits for its share, all packages together.
pub(super) const LONGEST: Duration = Duration::from_secs(600);
/// So many questions in a row without an answer: there will be none.
const IN_VAIN: u32 = 3;

/// That of this process, which is a run.
pub(super) static OF_RUN: Spent =
    Spent(Mutex::new(State { waited: Duration::ZERO, in_vain: 0, said: BTreeSet::new() }));

#[derive(Debug)]
pub(super) struct Spent(Mutex<State>);

#[derive(Debug)]
struct State {
    /// What is waited for side by side counts for each.
    waited: Duration,
    in_vain: u32,
    said: BTreeSet<String>,
}

impl Spent {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Why the share is not to be asked again in this run.
    /// `answer`: how long an answer may take.
    pub(super) fn is_enough(&self, answer: Duration) -> Option<String> {
        let State { in_vain, .. } = *self.state();
        let left = self.left();
        // In what is left it might not answer, and would be taken for away. Who waits long for an answer has more than one, though.
        if left.is_zero() || left < answer.min(LONGEST / 2) {
            return Some(format!("this run has waited as long as it may, {} s in all", LONGEST.as_secs()));
        }
        (in_vain >= IN_VAIN).then(|| format!("it did not answer {IN_VAIN} times in a row"))
    }

    /// How long may still be waited.
    pub(super) fn left(&self) -> Duration {
        LONGEST.saturating_sub(self.state().waited)
    }

    /// Notes that it was asked.
    pub(super) fn note(&self, waited: Duration, in_vain: bool) {
        let mut state = self.state();
        state.waited = state.waited.saturating_add(waited);
        state.in_vain = if in_vain { state.in_vain.saturating_add(1) } else { 0 };
    }

    /// Whether this run has not said so yet.
    pub(super) fn is_news(&self, text: &str) -> bool {
        self.state().said.insert(text.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_has_enough_at_some_time() {
        let new = || Spent(Mutex::new(State { waited: Duration::ZERO, in_vain: 0, said: BTreeSet::new() }));
        let (spent, answer) = (new(), Duration::from_secs(5));
        for _ in 0..9 {
            spent.note(Duration::from_secs(60), false);
            assert_eq!(spent.is_enough(answer), None);
        }
        assert_eq!(spent.left(), Duration::from_secs(60));
        assert_eq!(spent.is_enough(Duration::from_secs(60)), None);
        assert!(spent.is_enough(Duration::from_secs(61)).is_some());
        assert_eq!(new().is_enough(Duration::from_secs(3600)), None);
        spent.note(Duration::from_secs(300), false);
        assert!(spent.is_enough(answer).unwrap().contains("600 s") && spent.left().is_zero());
        let spent = new();
        for in_vain in [true, true, false, true, true] {
            spent.note(Duration::ZERO, in_vain);
        }
        assert_eq!(spent.is_enough(answer), None);
        spent.note(Duration::ZERO, true);
        assert!(spent.is_enough(answer).unwrap().contains("3 times"));
        assert!(spent.is_news("a") && spent.is_news("b") && !spent.is_news("a"));
    }
}
