//! The order in which components are compiled.
//!
//! As many components as there are processors are compiled at the same time, as far as there is
//! memory for them. Those with fewer failed attempts go first, then the smaller ones. One that
//! takes long gives its turn back while one with fewer attempts waits: otherwise two hostile
//! components on two processors could hold up all others.
//!
//! [`Queue`] decides and is pure; [`Turns`] waits.

use std::num::NonZero;
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::{oneshot, watch};
use tokio::time::Instant;

use super::memory;
use mistersmith_core::limits::{COMPILE_PARALLEL, COMPILE_PATIENCE};

/// The precedence of a component: the least first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rank {
    /// How often it was tried in vain, or gave its turn back.
    pub(super) tries: u32,
    /// Its bytes.
    pub(super) size: u64,
}

/// The turns of one host.
#[derive(Clone)]
pub(super) struct Turns {
    queue: Arc<Mutex<Queue<oneshot::Sender<()>>>>,
    /// Changes with each arrival and departure.
    changes: watch::Sender<()>,
    memory: u64,
}

/// A turn, given back when dropped.
pub(super) struct Turn {
    turns: Turns,
    id: u64,
    began: Instant,
}

impl Turns {
    /// For this machine.
    pub(super) fn of_this_machine() -> Self {
        let processors = std::thread::available_parallelism().map_or(1, NonZero::get);
        Self::new(processors.clamp(2, COMPILE_PARALLEL), memory::budget())
    }

    pub(super) fn new(places: usize, memory: u64) -> Self {
        Self {
            queue: Arc::new(Mutex::new(Queue::new(places, memory))),
            changes: watch::Sender::new(()),
            memory,
        }
    }

    /// The memory that all have together, in bytes.
    pub(super) fn memory(&self) -> u64 {
        self.memory
    }

    /// Waits for a turn with so much memory; cancel safe.
    pub(super) async fn take(&self, rank: Rank, memory: u64) -> Turn {
        let (called, call) = oneshot::channel();
        let id = self.queue().join(rank, memory.min(self.memory), called);
        // From here on dropping it leaves the queue.
        let mut turn = Turn {
            turns: self.clone(),
            id,
            began: Instant::now(),
        };
        self.step();
        // The sender stays in the queue until it calls.
        let _ = call.await;
        turn.began = Instant::now();
        turn
    }

    /// How many have a turn, and how many wait.
    pub(super) fn count(&self) -> (usize, usize) {
        let queue = self.queue();
        (queue.running.len(), queue.waiting.len())
    }

    /// Wakes those that can begin, and notifies all of the change.
    fn step(&self) {
        let mut queue = self.queue();
        while let Some(called) = queue.next(Instant::now()) {
            // One that no longer waits leaves by itself.
            let _ = called.send(());
        }
        drop(queue);
        self.changes.send_replace(());
    }

    fn queue(&self) -> MutexGuard<'_, Queue<oneshot::Sender<()>>> {
        self.queue.lock()
    }
}

impl Turn {
    /// When it began.
    pub(super) fn began(&self) -> Instant {
        self.began
    }

    /// Resolves when it lasts long and one with fewer attempts waits.
    pub(super) async fn asked_back(&self) {
        let mut changes = self.turns.changes.subscribe();
        tokio::time::sleep_until(self.began + COMPILE_PATIENCE).await;
        while !self.turns.queue().is_asked_back(self.id, Instant::now()) {
            // The sender lives as long as the turns do.
            if changes.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.turns.queue().leave(self.id);
        self.turns.step();
    }
}

/// The components that have a turn, and those that wait.
struct Queue<C> {
    places: usize,
    /// Memory that nobody has, in bytes.
    memory: u64,
    running: Vec<Running>,
    waiting: Vec<Waiting<C>>,
    /// The number of the next.
    next: u64,
}

struct Running {
    id: u64,
    memory: u64,
    since: Instant,
}

struct Waiting<C> {
    id: u64,
    rank: Rank,
    memory: u64,
    /// What calls it.
    call: C,
}

impl<C> Queue<C> {
    fn new(places: usize, memory: u64) -> Self {
        Self {
            places,
            memory,
            running: Vec::new(),
            waiting: Vec::new(),
            next: 0,
        }
    }

    fn join(&mut self, rank: Rank, memory: u64, call: C) -> u64 {
        let id = self.next;
        self.next += 1;
        self.waiting.push(Waiting {
            id,
            rank,
            memory,
            call,
        });
        id
    }

    fn leave(&mut self, id: u64) {
        self.waiting.retain(|waiting| waiting.id != id);
        if let Some(at) = self.running.iter().position(|running| running.id == id) {
            let gone = self.running.swap_remove(at);
            self.memory += gone.memory;
        }
    }

    /// Gives a turn to the first of those that wait, if there is room. None overtakes one that
    /// waits for more memory: it might never get its turn.
    fn next(&mut self, now: Instant) -> Option<C> {
        if self.running.len() >= self.places {
            return None;
        }
        let waiting = self.waiting.iter().enumerate();
        let (at, best) = waiting.min_by_key(|(_, waiting)| (waiting.rank, waiting.id))?;
        if best.memory > self.memory {
            return None;
        }
        let best = self.waiting.swap_remove(at);
        self.memory -= best.memory;
        self.running.push(Running {
            id: best.id,
            memory: best.memory,
            since: now,
        });
        Some(best.call)
    }

    /// Whether this turn lasts long and goes to one that had none yet. Each that waits takes back
    /// one turn: the one that lasts longest.
    fn is_asked_back(&self, id: u64, now: Instant) -> bool {
        let long = |running: &&Running| now.duration_since(running.since) >= COMPILE_PATIENCE;
        let Some(own) = self.running.iter().find(|running| running.id == id) else {
            return false;
        };
        let longer = |other: &&Running| (other.since, other.id) < (own.since, own.id);
        let before = self.running.iter().filter(long).filter(longer).count();
        let asking = self.waiting.iter().filter(|one| one.rank.tries == 0);
        long(&own) && before < asking.count()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::time::Duration;

    const fn rank(tries: u32, size: u64) -> Rank {
        Rank { tries, size }
    }

    /// Lets all begin that can; returns their names.
    fn begin(queue: &mut Queue<&'static str>, now: Instant) -> Vec<&'static str> {
        std::iter::from_fn(|| queue.next(now)).collect()
    }

    #[test]
    fn those_that_failed_less_often_go_first_then_the_smaller_then_the_earlier() {
        let (mut queue, now) = (Queue::new(1, 100), Instant::now());
        for (name, tries, size) in [
            ("failed", 1, 1),
            ("large", 0, 9),
            ("first", 0, 5),
            ("second", 0, 5),
        ] {
            queue.join(rank(tries, size), 1, name);
        }
        let mut order = Vec::new();
        while let [name] = *begin(&mut queue, now) {
            order.push(name);
            queue.leave(queue.running.first().unwrap().id);
        }
        assert_eq!(order, ["first", "second", "large", "failed"]);
    }

    #[test]
    fn places_and_memory_are_bounded_and_given_back() {
        let (mut queue, now) = (Queue::new(2, 100), Instant::now());
        let one = queue.join(rank(0, 1), 60, "one");
        queue.join(rank(0, 2), 60, "two");
        queue.join(rank(0, 3), 10, "three");
        assert_eq!(
            begin(&mut queue, now),
            ["one"],
            "nobody overtakes the second"
        );
        queue.leave(one);
        assert_eq!(begin(&mut queue, now), ["two", "three"]);
        queue.join(rank(0, 0), 1, "four");
        assert_eq!(begin(&mut queue, now), [""; 0], "two have a place");
        let ids: Vec<u64> = queue.running.iter().map(|running| running.id).collect();
        for id in ids {
            queue.leave(id);
            queue.leave(id);
        }
        assert_eq!(begin(&mut queue, now), ["four"]);
        assert_eq!(queue.memory, 99);
    }

    #[test]
    fn the_longest_turn_is_asked_back_for_one_that_had_none_yet() {
        let (mut queue, begun) = (Queue::new(2, 100), Instant::now());
        let one = queue.join(rank(0, 1), 1, "one");
        begin(&mut queue, begun);
        let later = begun + Duration::from_secs(1);
        let two = queue.join(rank(3, 1), 1, "two");
        begin(&mut queue, later);
        let both = |queue: &Queue<_>, at| [one, two].map(|id| queue.is_asked_back(id, at));
        let long = later + COMPILE_PATIENCE;
        queue.join(rank(1, 1), 1, "tried before");
        assert_eq!(
            both(&queue, long),
            [false, false],
            "nobody waits who had none yet"
        );
        let fresh = queue.join(rank(0, 1), 1, "fresh");
        assert_eq!(both(&queue, begun + COMPILE_PATIENCE), [true, false]);
        assert_eq!(both(&queue, long), [true, false], "one asks one");
        queue.join(rank(0, 1), 1, "fresh too");
        assert_eq!(both(&queue, long), [true, true]);
        queue.leave(fresh);
        assert_eq!(both(&queue, long), [true, false]);
        assert!(!queue.is_asked_back(fresh, long), "it has no turn");
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_stops_waiting_is_not_waited_for() {
        let turns = Turns::new(1, 100);
        let held = turns.take(rank(0, 1), 1).await;
        let mut impatient = Box::pin(turns.take(rank(0, 1), 1));
        assert!(futures_util::poll!(&mut impatient).is_pending());
        let patient = tokio::spawn({
            let turns = turns.clone();
            async move { turns.take(rank(0, 2), 1000).await }
        });
        tokio::task::yield_now().await;
        assert_eq!(turns.count(), (1, 2));
        drop(impatient);
        drop(held);
        let turn = patient.await.unwrap();
        assert_eq!(turns.count(), (1, 0));
        drop(turn);
        assert_eq!(turns.count(), (0, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn a_long_turn_is_asked_back_when_somebody_comes() {
        let turns = Turns::new(1, 100);
        let held = turns.take(rank(0, 1), 1).await;
        let mut asked = Box::pin(held.asked_back());
        tokio::select! {
            () = &mut asked => unreachable!("nobody waits"),
            () = tokio::time::sleep(10 * COMPILE_PATIENCE) => {}
        }
        let mut waits = Box::pin(turns.take(rank(0, 1), 1));
        assert!(futures_util::poll!(&mut waits).is_pending());
        asked.await;
        assert!(held.began().elapsed() >= COMPILE_PATIENCE);
        drop(held);
        waits.await;
    }
}
