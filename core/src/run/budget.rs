//! The job budget: so many jobs run at once, over all builds of a run.
//!
//! Each build has a GNU make jobserver of its own, into which tokens of the budget are put, and from which they are taken
//! again while it does not use them. What a build does to its jobserver, by keeping tokens or by making some, concerns no
//! other build; when it ends, all that it was lent is there again.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jobserver::Client;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::OFlags;

use crate::process;
use crate::system_error::SystemError;

/// How often tokens go from builds that do not use them to those that have none left. Nobody tells that it waits for one.
const TICK: Duration = Duration::from_millis(50);

/// How many jobs may run at once, over all makes of this run. Each running build holds one token
/// itself (make's implicit job, see "POSIX Jobserver Interaction" in the GNU make manual).
#[derive(Debug)]
pub struct Budget {
    total: usize,
    /// Two builds that each wait for several tokens must not hold halves: one collects at a time.
    collecting: Mutex<()>,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    /// Tokens came back.
    changed: Condvar,
}

/// Where the tokens are: here, with builds ([`Tokens::held`]), or in their jobservers.
#[derive(Debug, Default)]
struct State {
    free: usize,
    servers: BTreeMap<u64, Server>,
    next: u64,
    /// Somebody waits for tokens: what is free is for him.
    collecting: bool,
    /// A thread evens out.
    evening_out: bool,
}

/// The jobserver of a build.
#[derive(Debug)]
struct Server {
    client: Client,
    /// The same pipe, opened once more: reading and writing never wait, whatever the build has made of it. `None` where nothing
    /// is mounted on /proc, by which a pipe is opened: what the build was lent at its start stays with it until it ends.
    pipe: Option<Arc<File>>,
    /// The build has it.
    is_given: bool,
    /// How many tokens of the budget it has, used or not.
    lent: usize,
}

/// Tokens held for a build, and its jobserver.
#[derive(Debug)]
pub struct Tokens {
    shared: Arc<Shared>,
    held: usize,
    server: Option<u64>,
}

impl Budget {
    /// A budget of `total` jobs, at least one.
    pub fn new(total: usize) -> Self {
        let total = total.max(1);
        let shared = Arc::<Shared>::default();
        shared.state().free = total;
        Self { total, collecting: Mutex::default(), shared }
    }

    /// How many jobs may run at once.
    pub fn total(&self) -> usize {
        self.total
    }

    /// Waits for `count` tokens (no more than there are).
    pub fn acquire(&self, count: usize) -> Result<Tokens, SystemError> {
        let _one = self.collecting.lock().unwrap_or_else(PoisonError::into_inner);
        let count = count.clamp(1, self.total);
        // What has been collected goes back with it after an error.
        let mut tokens = Tokens { shared: Arc::clone(&self.shared), held: 0, server: None };
        loop {
            let mut state = self.shared.state();
            while tokens.held < count && (state.free > 0 || state.take_back()) {
                state.free -= 1;
                tokens.held += 1;
            }
            state.collecting = tokens.held < count;
            if !state.collecting {
                state.distribute();
                return Ok(tokens);
            }
            // What a build has put there itself is none of the budget, and would be seen at once for ever.
            let lenders = state.servers.values().filter(|server| server.lent > 0);
            let pipes: Vec<Arc<File>> = lenders.filter_map(|server| server.pipe.clone()).collect();
            if pipes.is_empty() {
                drop(self.shared.changed.wait_timeout(state, TICK));
                continue;
            }
            drop(state);
            // Among the makes that wait for a token, too.
            let mut fds: Vec<PollFd<'_>> = pipes.iter().map(|pipe| PollFd::new(pipe, PollFlags::IN)).collect();
            if let Err(error) = poll(&mut fds, Some(&tick())) {
                if error != rustix::io::Errno::INTR {
                    self.shared.state().collecting = false;
                    return Err(io::Error::from(error).into());
                }
            }
        }
    }
}

fn tick() -> Timespec {
    Timespec { tv_sec: 0, tv_nsec: TICK.subsec_nanos().into() }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Moves tokens between builds as long as there are several.
    fn even_out(&self) {
        let mut state = self.state();
        while state.servers.len() > 1 {
            state.move_one();
            let (next, _) = self.changed.wait_timeout(state, TICK).unwrap_or_else(PoisonError::into_inner);
            state = next;
        }
        state.evening_out = false;
    }
}

impl State {
    /// Takes one token that no job of a build uses.
    fn take_back(&mut self) -> bool {
        let richest = self.servers.values_mut().max_by_key(|server| server.unused());
        let taken = richest.is_some_and(Server::take);
        self.free += usize::from(taken);
        taken
    }

    /// Puts what is free into the jobservers, unless somebody waits for it.
    fn distribute(&mut self) {
        self.distribute_but_to(BTreeSet::new());
    }

    /// The same, passing over the builds `full`; a build may have filled its pipe, then the others get it.
    fn distribute_but_to(&mut self, mut full: BTreeSet<u64>) {
        while self.free > 0 && !self.collecting {
            let servers = self.servers.iter_mut().filter(|(id, _)| !full.contains(*id));
            let Some((id, poorest)) = servers.min_by_key(|(_, server)| server.unused()) else { return };
            if poorest.lend() {
                self.free -= 1;
            } else {
                full.insert(*id);
            }
        }
    }

    /// A build that has no token left to use gets one that another does not use.
    fn move_one(&mut self) {
        let unused: Vec<(usize, u64)> = self.servers.iter().map(|(id, server)| (server.unused(), *id)).collect();
        if let (Some((0, _)), Some((1.., richest))) = (unused.iter().min(), unused.iter().max()) {
            if self.servers.get_mut(richest).is_some_and(Server::take) {
                self.free += 1;
                self.distribute_but_to(BTreeSet::from([*richest]));
            }
        }
        self.distribute();
    }
}

impl Server {
    fn new() -> io::Result<Self> {
        let client = Client::new(0)?;
        // Only makes get the number of the pipe's end (GNU make manual, "POSIX Jobserver Interaction").
        let mut make = process::command("make");
        client.configure_make(&mut make);
        let flags = make.get_envs().find_map(|(key, value)| value.filter(|_| key == "MAKEFLAGS")?.to_str());
        let (_, ends) = flags.and_then(|flags| flags.split_once("--jobserver-auth=")).unwrap_or_default();
        let read = ends.split(',').next().unwrap_or_default();
        let flags = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or(0);
        let pipe = OpenOptions::new().read(true).write(true).custom_flags(flags).open(format!("/proc/self/fd/{read}"));
        let pipe = pipe.map_err(|error| log::info!("/proc: {error}: builds keep their jobs until they end")).ok();
        Ok(Self { client, pipe: pipe.map(Arc::new), is_given: false, lent: 0 })
    }

    /// How many of the tokens lent are there; a build may have put more than that into the pipe.
    fn unused(&self) -> usize {
        self.client.available().unwrap_or(0).min(self.lent)
    }

    fn lend(&mut self) -> bool {
        let done = match &self.pipe {
            Some(pipe) => matches!((&**pipe).write(b"+"), Ok(1)),
            // Nobody else has put anything into it yet, so that there is room.
            None => !self.is_given && self.client.release_raw().is_ok(),
        };
        self.lent += usize::from(done);
        done
    }

    fn take(&mut self) -> bool {
        let pipe = self.pipe.as_ref().filter(|_| self.lent > 0);
        let done = pipe.is_some_and(|pipe| matches!((&**pipe).read(&mut [0; 1]), Ok(1)));
        self.lent -= usize::from(done);
        done
    }
}

impl Tokens {
    /// The jobserver for the makes of this build: what the budget has left, shared with the other builds of now.
    pub fn server(&mut self) -> Result<Client, SystemError> {
        let mut state = self.shared.state();
        if let Some(server) = self.server.and_then(|id| state.servers.get(&id)) {
            return Ok(server.client.clone());
        }
        let server = Server::new()?;
        let client = server.client.clone();
        let id = state.next;
        state.next += 1;
        state.servers.insert(id, server);
        self.server = Some(id);
        state.distribute();
        if let Some(server) = state.servers.get_mut(&id) {
            server.is_given = true;
        }
        if state.servers.len() > 1 && !state.evening_out {
            let shared = Arc::clone(&self.shared);
            // Without a thread, builds keep what they have until they end.
            let thread = std::thread::Builder::new().name("jobs".to_owned()).spawn(move || shared.even_out());
            state.evening_out = thread.is_ok();
        }
        Ok(client)
    }
}

impl Drop for Tokens {
    fn drop(&mut self) {
        let mut state = self.shared.state();
        let lent = self.server.and_then(|id| state.servers.remove(&id)).map_or(0, |server| server.lent);
        state.free += self.held + lent;
        state.distribute();
        self.shared.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    /// Nothing is lost, nothing is won.
    fn count(budget: &Budget, held: usize) -> usize {
        let state = budget.shared.state();
        state.free + held + state.servers.values().map(|server| server.lent).sum::<usize>()
    }

    fn until(what: &str, mut holds: impl FnMut() -> bool) {
        let began = Instant::now();
        while !holds() {
            assert!(began.elapsed() < Duration::from_secs(60), "{what}");
            std::thread::yield_now();
        }
    }

    #[test]
    fn a_build_alone_gets_the_whole_budget() {
        let budget = Budget::new(3);
        let mut held = budget.acquire(1).unwrap();
        let server = held.server().unwrap();
        assert_eq!(server.available().unwrap(), 2);
        assert_eq!(held.server().unwrap().available().unwrap(), 2);
        // A make takes a token and dies with it.
        server.acquire_raw().unwrap();
        drop(held);
        assert_eq!(count(&budget, 0), 3);
        assert_eq!(budget.acquire(8).unwrap().held, 3, "more than there is is all there is");
    }

    /// A build that begins gets a token that another one does not use, and from then on both have some.
    #[test]
    fn builds_share() {
        let budget = Budget::new(4);
        let mut first = budget.acquire(1).unwrap();
        let one = first.server().unwrap();
        assert_eq!(one.available().unwrap(), 3);
        let mut second = budget.acquire(1).unwrap();
        let two = second.server().unwrap();
        assert_eq!(one.available().unwrap() + two.available().unwrap(), 2);
        // What the one does not use, the other one gets, as often as it wants more.
        for _ in 0..2 {
            let pipe = budget.shared.state().servers.values().last().unwrap().pipe.clone().unwrap();
            until("the second build gets them all", || (&*pipe).read(&mut [0; 1]).is_ok_and(|count| count == 1));
        }
        assert_eq!(one.available().unwrap(), 0);
        drop(first);
        until("and what the first one held", || two.available().unwrap() == 1);
        drop(second);
        assert_eq!(count(&budget, 0), 4);
    }

    /// What a build does to its jobserver concerns no other one, whether it is still there or has ended.
    #[test]
    fn builds_that_take_or_make_tokens_stop_nobody() {
        type Harm = fn(&Client);
        let harms: [(&str, Harm, bool); 3] = [
            (
                "takes all",
                |client| {
                    while client.available().unwrap() > 0 {
                        client.acquire_raw().unwrap();
                    }
                },
                false,
            ),
            ("makes a thousand", |client| (0..1000).for_each(|_| client.release_raw().unwrap()), true),
            (
                "fills the pipe",
                |client| {
                    // As much as one has room for (pipe(7)).
                    (0..65_536 - client.available().unwrap()).for_each(|_| client.release_raw().unwrap());
                },
                true,
            ),
        ];
        for (what, harm, leaves_some) in harms {
            let budget = Budget::new(4);
            let mut hostile = budget.acquire(1).unwrap();
            harm(&hostile.server().unwrap());
            std::thread::scope(|scope| {
                let waiting = scope.spawn(|| budget.acquire(3).map(|tokens| (tokens.held, tokens)).unwrap());
                if !leaves_some {
                    // It does its work; who needs its tokens waits until it ends, and no longer.
                    until(what, || budget.shared.state().collecting);
                    drop(hostile);
                    assert_eq!(waiting.join().unwrap().0, 3, "{what}");
                    return;
                }
                let (held, tokens) = waiting.join().unwrap();
                assert_eq!((held, count(&budget, 4)), (3, 4), "{what}");
                // What it has made is nobody else's.
                drop(tokens);
                let mut beside = budget.acquire(1).unwrap();
                assert!(beside.server().unwrap().available().unwrap() <= 3, "{what}");
                drop(hostile);
            });
            assert_eq!(count(&budget, 0), 4, "{what}");
            let mut next = budget.acquire(1).unwrap();
            assert_eq!(next.server().unwrap().available().unwrap(), 3, "{what}");
        }
    }

    /// What a build that has filled its pipe can't be lent, another one gets.
    #[test]
    fn a_full_pipe_keeps_nothing_from_others() {
        let budget = Budget::new(4);
        let mut hostile = budget.acquire(1).unwrap();
        let pipe = hostile.server().unwrap();
        let mut beside = budget.acquire(1).unwrap();
        let server = beside.server().unwrap();
        // The thread that evens out waits for the state meanwhile.
        let mut state = budget.shared.state();
        while state.take_back() {}
        (0..65_536 - pipe.available().unwrap()).for_each(|_| pipe.release_raw().unwrap());
        state.distribute();
        assert_eq!((server.available().unwrap(), state.free), (2, 0));
        for _ in 0..5 {
            state.move_one();
            assert_eq!((server.available().unwrap(), state.free), (2, 0));
        }
        drop(state);
        drop((hostile, beside));
        assert_eq!(count(&budget, 0), 4);
    }

    /// Without /proc a build has what it was lent when it began.
    #[test]
    fn a_pipe_that_is_not_opened_again_keeps_its_tokens() {
        let budget = Budget::new(3);
        let mut held = budget.acquire(1).unwrap();
        let mut state = budget.shared.state();
        let mut server = Server::new().unwrap();
        server.pipe = None;
        let client = server.client.clone();
        state.servers.insert(7, server);
        held.server = Some(7);
        state.distribute();
        assert_eq!((client.available().unwrap(), state.free), (2, 0));
        state.servers.values_mut().for_each(|server| server.is_given = true);
        assert!(!state.take_back());
        state.free = 1;
        state.distribute();
        assert_eq!((client.available().unwrap(), state.free), (2, 1), "it may be full by now");
        state.free = 0;
        drop(state);
        drop(held);
        assert_eq!(count(&budget, 0), 3);
    }
}
