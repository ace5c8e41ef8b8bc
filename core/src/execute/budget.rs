//! The job budget: one GNU make jobserver that all builds of a run share.

use std::sync::Mutex;

use jobserver::{Acquired, Client};

use crate::error::Error;

/// How many jobs may run at once, over all makes of this run. Each running build holds one token
/// itself (make's implicit job, see "POSIX Jobserver Interaction" in the GNU make manual).
#[derive(Debug)]
pub struct Budget {
    client: Client,
    total: usize,
    /// How many tokens builds hold through us, and how many a killed make may have taken with it.
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    held: usize,
    lost: bool,
}

/// Tokens held for a build.
#[derive(Debug)]
pub struct Tokens<'a> {
    budget: &'a Budget,
    acquired: Vec<Acquired>,
}

impl Budget {
    /// A budget of `total` jobs, at least one.
    pub fn new(total: usize) -> Result<Self, Error> {
        let total = total.max(1);
        Ok(Self { client: Client::new(total)?, total, state: Mutex::default() })
    }

    /// How many jobs may run at once.
    pub fn total(&self) -> usize {
        self.total
    }

    /// The jobserver for the makes of a build that holds tokens.
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// Waits for `count` tokens (no more than there are).
    pub fn acquire(&self, count: usize) -> Result<Tokens<'_>, Error> {
        let mut acquired = Vec::new();
        // Two builds that each wait for several tokens must not hold halves: one collects at a time.
        static COLLECTING: Mutex<()> = Mutex::new(());
        let _one = COLLECTING.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        for _ in 0..count.clamp(1, self.total) {
            acquired.push(self.client.acquire()?);
        }
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner).held += acquired.len();
        Ok(Tokens { budget: self, acquired })
    }

    /// A make of this run was killed: it may have held tokens, which come back when nothing runs.
    pub fn make_was_killed(&self) {
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner).lost = true;
    }
}

impl Drop for Tokens<'_> {
    fn drop(&mut self) {
        let mut state = self.budget.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        state.held -= self.acquired.len();
        self.acquired.clear();
        if state.held == 0 && state.lost {
            // Nothing of ours runs now, so every token should be in the pipe.
            state.lost = false;
            if let Ok(free) = self.budget.client.available() {
                for _ in free..self.budget.total {
                    let _ = self.budget.client.release_raw();
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_of_a_killed_make_come_back() {
        let budget = Budget::new(3).unwrap();
        let held = budget.acquire(1).unwrap();
        // A make takes a token and dies with it.
        budget.client().acquire_raw().unwrap();
        budget.make_was_killed();
        assert_eq!(budget.client().available().unwrap(), 1);
        drop(held);
        assert_eq!(budget.client().available().unwrap(), 3);
    }

    #[test]
    fn more_than_there_is_is_all_there_is() {
        let budget = Budget::new(2).unwrap();
        let held = budget.acquire(8).unwrap();
        assert_eq!(budget.client().available().unwrap(), 0);
        drop(held);
        assert_eq!(budget.client().available().unwrap(), 2);
    }
}
