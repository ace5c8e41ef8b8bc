//! The same question asked of many things, by as many threads as there are processors.

use std::thread;

/// Fewer are not worth a thread: making one costs as much as some twenty looks at files.
const WORTH_A_THREAD: usize = 32;

/// More threads wait for each other's looks at the same directories.
const MOST_THREADS: usize = 4;

/// What `ask` gives for each of `items`, in their order. `ask` looks at files, and starts no program: one that goes on after the
/// answer would be killed with the thread (PR_SET_PDEATHSIG(2const): the parent is the thread). Where the system has no more
/// threads for us, those that there are do it.
pub fn map<T: Sync, R: Send>(items: &[T], ask: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let worth = items.len() / WORTH_A_THREAD;
    let processors = if worth < 2 { 1 } else { thread::available_parallelism().map_or(1, usize::from) };
    let threads = worth.min(processors).clamp(1, MOST_THREADS);
    let mut parts = items.chunks(items.len().div_ceil(threads).max(1));
    let ask = &ask;
    let Some(own) = parts.next() else { return Vec::new() };
    thread::scope(|scope| {
        let others: Vec<_> = parts
            .map(|part| {
                let work = move || part.iter().map(ask).collect::<Vec<R>>();
                thread::Builder::new().spawn_scoped(scope, work).map_err(|_| part)
            })
            .collect();
        let mut found: Vec<R> = own.iter().map(ask).collect();
        for other in others {
            match other.map(thread::ScopedJoinHandle::join) {
                Ok(Ok(part)) => found.extend(part),
                Ok(Err(panic)) => std::panic::resume_unwind(panic),
                Err(part) => found.extend(part.iter().map(ask)),
            }
        }
        found
    })
}

/// What `own` gives, and what `other` gives meanwhile in a thread of its own, or after it where there are no more threads for us.
/// `other` looks at files, as for [`map`].
pub fn both<A, B: Send>(own: impl FnOnce() -> A, other: impl Fn() -> B + Sync) -> (A, B) {
    thread::scope(|scope| {
        let meanwhile = thread::Builder::new().spawn_scoped(scope, &other);
        let own = own();
        let other = match meanwhile.map(thread::ScopedJoinHandle::join) {
            Ok(Ok(found)) => found,
            Ok(Err(panic)) => std::panic::resume_unwind(panic),
            Err(_) => other(),
        };
        (own, other)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_answers_come_and_each_needs_the_other_to_go_on() {
        let gate = std::sync::Barrier::new(2);
        let (own, other) = both(|| gate.wait().is_leader(), || gate.wait().is_leader());
        assert_ne!(own, other);
    }

    #[test]
    fn answers_come_in_the_order_of_what_was_asked() {
        for length in [0, 1, 31, 32, 63, 64, 65, 127, 128, 129, 1000] {
            let items: Vec<usize> = (0..length).collect();
            assert_eq!(map(&items, |item| item * 2), items.iter().map(|item| item * 2).collect::<Vec<_>>());
        }
    }
}
