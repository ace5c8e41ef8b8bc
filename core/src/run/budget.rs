//! The job budget: one GNU make jobserver that all builds of a run share.

use std::sync::{Mutex, MutexGuard, PoisonError};

use jobserver::{Acquired, Client};

use crate::system_error::SystemError;

/// How many jobs may run at once, over all makes of this run. Each running build holds one token
/// itself (make's implicit job, see "POSIX Jobserver Interaction" in the GNU make manual).
#[derive(Debug)]
pub struct Budget {
    /// The jobserver of now: a new one whenever no build is left that could have a hand in it.
    client: Mutex<Client>,
    total: usize,
    /// Two builds that each wait for several tokens must not hold halves: one collects at a time.
    collecting: Mutex<()>,
    state: Mutex<Count>,
}

#[derive(Debug, Default)]
struct Count {
    /// Tokens held through us, those of a collection under way included.
    held: usize,
    /// Builds that hold theirs.
    running: usize,
    /// A collection is under way.
    collecting: bool,
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
    pub fn new(total: usize) -> Result<Self, SystemError> {
        let total = total.max(1);
        let client = Mutex::new(Client::new(total)?);
        Ok(Self { client, total, collecting: Mutex::default(), state: Mutex::default() })
    }

    /// How many jobs may run at once.
    pub fn total(&self) -> usize {
        self.total
    }

    /// The jobserver for the makes of a build that holds tokens.
    pub fn client(&self) -> Client {
        self.client.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits for `count` tokens (no more than there are).
    pub fn acquire(&self, count: usize) -> Result<Tokens<'_>, SystemError> {
        let _one = self.collecting.lock().unwrap_or_else(PoisonError::into_inner);
        self.state().collecting = true;
        // From now on it stays the one.
        let client = self.client();
        let mut acquired = Vec::new();
        let mut failure = None;
        while acquired.len() < count.clamp(1, self.total) && failure.is_none() {
            match client.acquire() {
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

    fn state(&self) -> MutexGuard<'_, Count> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets the number of free tokens right, if that was asked for. Nothing runs.
    fn recount(&self, state: &mut Count) {
        if !std::mem::take(&mut state.recount) {
            return;
        }
        let client = self.client();
        let Ok(free) = client.available() else { return };
        let right = self.total.saturating_sub(state.held);
        for _ in free..right {
            let _ = client.release_raw();
        }
        for _ in right..free {
            let _ = client.acquire_raw();
        }
    }

    /// Gives tokens back while other builds run. A build may have filled the pipe with tokens of its own making, and
    /// another one would make us wait for ever: there are enough then.
    fn give_back(&self, tokens: Vec<Acquired>) {
        let client = self.client();
        for token in tokens {
            if client.available().is_ok_and(|free| free >= self.total) {
                token.drop_without_releasing();
            }
        }
    }
}

impl Drop for Tokens<'_> {
    fn drop(&mut self) {
        let budget = self.budget;
        let mut state = budget.state();
        state.held -= self.acquired.len();
        state.running -= 1;
        let acquired = std::mem::take(&mut self.acquired);
        if state.running > 0 {
            budget.give_back(acquired);
            return;
        }
        // Nothing runs. Whatever builds have done to the tokens, by dying with them or by taking or making some, is over.
        acquired.into_iter().for_each(Acquired::drop_without_releasing);
        if state.collecting {
            state.recount = true;
            // Whether the collector has just got a token, it alone knows: it is woken up, and counts.
            let client = budget.client();
            if client.available().is_ok_and(|free| free == 0) {
                let _ = client.release_raw();
            }
        } else if let Ok(client) = Client::new(budget.total) {
            // Nor does a descriptor count that somebody still has.
            *budget.client.lock().unwrap_or_else(PoisonError::into_inner) = client;
        } else {
            state.recount = true;
            budget.recount(&mut state);
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
            drop(held);
            assert_eq!(waiting.join().unwrap(), 2);
        });
        assert_eq!(budget.client().available().unwrap(), 2);
    }

    /// What builds do to the jobserver makes nobody wait for ever, whether they end well or not.
    #[test]
    fn builds_that_take_or_make_tokens_stop_nobody() {
        type Harm = fn(&Client);
        let harms: [(&str, Harm); 2] = [
            ("takes all", |client| {
                while client.available().unwrap() > 0 {
                    client.acquire_raw().unwrap();
                }
            }),
            ("makes more", |client| (0..100).for_each(|_| client.release_raw().unwrap())),
        ];
        for (what, harm) in harms {
            let budget = Budget::new(4).unwrap();
            // Alone.
            let held = budget.acquire(2).unwrap();
            harm(&budget.client());
            drop(held);
            assert_eq!(budget.client().available().unwrap(), 4, "{what}");
            // Beside another one, which then gets all that there is.
            let hostile = budget.acquire(1).unwrap();
            let beside = budget.acquire(1).unwrap();
            harm(&budget.client());
            drop(hostile);
            drop(beside);
            assert_eq!(budget.acquire(4).unwrap().acquired.len(), 4, "{what}");
            // And while somebody waits for more than are left.
            let hostile = budget.acquire(1).unwrap();
            harm(&budget.client());
            std::thread::scope(|scope| {
                let waiting = scope.spawn(|| budget.acquire(4).map(|tokens| tokens.acquired.len()).unwrap());
                while !waiting.is_finished() && !budget.state().collecting {
                    std::thread::yield_now();
                }
                drop(hostile);
                assert_eq!(waiting.join().unwrap(), 4, "{what}");
            });
            assert_eq!(budget.client().available().unwrap(), 4, "{what}");
        }
    }
}
