//! The job budget: one GNU make jobserver that all builds of a run share.

use std::sync::{Mutex, MutexGuard, PoisonError};

use jobserver::{Acquired, Client};

use crate::error::Error;

/// How many jobs may run at once, over all makes of this run. Each running build holds one token
/// itself (make's implicit job, see "POSIX Jobserver Interaction" in the GNU make manual).
#[derive(Debug)]
pub struct Budget {
    client: Client,
    total: usize,
    /// Two builds that each wait for several tokens must not hold halves: one collects at a time.
    collecting: Mutex<()>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Tokens held through us, those of a collection under way included.
    held: usize,
    /// Builds that hold theirs.
    running: usize,
    /// A collection is under way.
    collecting: bool,
    /// A failed make may have taken tokens with it.
    lost: bool,
    /// The collector is to count.
    recount: bool,
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
        Ok(Self { client: Client::new(total)?, total, collecting: Mutex::default(), state: Mutex::default() })
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
        let _one = self.collecting.lock().unwrap_or_else(PoisonError::into_inner);
        self.state().collecting = true;
        let mut acquired = Vec::new();
        let mut failure = None;
        while acquired.len() < count.clamp(1, self.total) && failure.is_none() {
            match self.client.acquire() {
                Ok(token) => acquired.push(token),
                Err(error) => failure = Some(error),
            }
            let mut state = self.state();
            state.held += usize::from(failure.is_none());
            self.recount(&mut state);
        }
        let mut state = self.state();
        state.collecting = false;
        self.recount(&mut state);
        state.running += 1;
        drop(state);
        let tokens = Tokens { budget: self, acquired };
        failure.map_or(Ok(tokens), |error| Err(error.into()))
    }

    /// A make of this run failed or was killed: it may have held tokens, which come back when nothing runs.
    pub fn make_failed(&self) {
        self.state().lost = true;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets the number of free tokens right, if that was asked for. Nothing runs.
    fn recount(&self, state: &mut State) {
        if !std::mem::take(&mut state.recount) {
            return;
        }
        let Ok(free) = self.client.available() else { return };
        let right = self.total.saturating_sub(state.held);
        for _ in free..right {
            let _ = self.client.release_raw();
        }
        for _ in right..free {
            let _ = self.client.acquire_raw();
        }
    }
}

impl Drop for Tokens<'_> {
    fn drop(&mut self) {
        let mut state = self.budget.state();
        state.held -= self.acquired.len();
        state.running -= 1;
        self.acquired.clear();
        if state.running > 0 || !std::mem::take(&mut state.lost) {
            return;
        }
        state.recount = true;
        if state.collecting {
            // Whether the collector has just got a token, it alone knows: it is woken up, and counts.
            let _ = self.budget.client.release_raw();
        } else {
            self.budget.recount(&mut state);
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
        budget.make_failed();
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

    #[test]
    fn who_waits_for_several_gets_those_of_a_killed_make() {
        let budget = Budget::new(2).unwrap();
        let held = budget.acquire(1).unwrap();
        budget.client().acquire_raw().unwrap();
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| budget.acquire(2).map(|tokens| tokens.acquired.len()).unwrap());
            while !budget.state().collecting {
                std::thread::yield_now();
            }
            budget.make_failed();
            drop(held);
            assert_eq!(waiting.join().unwrap(), 2);
        });
        assert_eq!(budget.client().available().unwrap(), 2);
    }
}
