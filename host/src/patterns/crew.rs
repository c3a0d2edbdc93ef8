//! What the agents of one plugin share: the queue they take from, and how free they are.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use super::circuit::Gate;
use super::delivery::{Answer, Delivery};
use super::election::Board;
use crate::limits;

/// The agents of one plugin on this host, seen from the patterns that feed them.
///
/// The queue outlives a reload of the plugin: what was taken in for the old version is handled by
/// the new one instead of being handed back.
#[derive(Debug)]
pub struct Crew {
    /// Messages that any agent of the plugin may take: work items, queue groups.
    tasks: Mutex<VecDeque<Delivery>>,
    /// Tells agents that wait for one. The one that came last is told first: what it needs is still
    /// in the processor's caches, and of a thousand agents only as many work as have work.
    offered: Notify,
    /// Agents that take messages at all: alive, not paused, not waiting to be started again.
    taking: AtomicUsize,
    /// Agents that wait for a message.
    idle: AtomicUsize,
    /// Pulls on the way, waiting ones included.
    pulls: AtomicUsize,
    mean_call_ns: AtomicU64,
    /// Bytes of payload that wait for agents and came by a subscription.
    waiting_bytes: Arc<AtomicUsize>,
    changed: Notify,
    /// What they know of their election.
    pub election: Arc<Board>,
    /// The gate before their calls.
    pub circuit: Arc<Gate>,
}

impl Default for Crew {
    fn default() -> Self {
        Self {
            tasks: Mutex::default(),
            offered: Notify::new(),
            taking: AtomicUsize::new(0),
            idle: AtomicUsize::new(0),
            pulls: AtomicUsize::new(0),
            mean_call_ns: AtomicU64::new(0),
            waiting_bytes: Arc::new(AtomicUsize::new(0)),
            changed: Notify::new(),
            election: Arc::default(),
            circuit: Arc::default(),
        }
    }
}

impl Crew {
    /// Puts a message where the next free agent takes it. The caller bounds what it puts in: the
    /// work queue by what the agents can start, a subscription by [`Crew::weigh`].
    pub fn offer(&self, delivery: Delivery) {
        self.tasks().push_back(delivery);
        self.offered.notify_last();
    }

    /// Waits for the next message; cancel safe.
    pub async fn take(&self) -> Delivery {
        loop {
            let offered = self.offered.notified();
            tokio::pin!(offered);
            // Before the look: what is offered after it is told.
            offered.as_mut().enable();
            if let Some(delivery) = self.try_take() {
                return delivery;
            }
            offered.await;
        }
    }

    /// Takes a waiting message, if there is one.
    pub fn try_take(&self) -> Option<Delivery> {
        self.tasks().pop_front()
    }

    /// As [`Crew::try_take`], for an agent that goes on without having been idle. Whoever fetches
    /// work ahead hears of it.
    pub fn take_at_hand(&self) -> Option<Delivery> {
        let delivery = self.try_take()?;
        if matches!(delivery.answer, Answer::Held(_)) {
            self.changed.notify_waiters();
        }
        Some(delivery)
    }

    /// How many messages wait for an agent.
    pub fn waiting(&self) -> usize {
        self.tasks().len()
    }

    fn tasks(&self) -> MutexGuard<'_, VecDeque<Delivery>> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reserves room for a message of a subscription until the weight is dropped; none when the
    /// plugin's agents have too much waiting already.
    pub fn weigh(&self, bytes: usize) -> Option<Weight> {
        Weight::take(&self.waiting_bytes, bytes)
    }

    /// Counts the caller among those that take messages, until the guard is dropped.
    pub fn join(self: &Arc<Self>) -> Taking {
        self.taking.fetch_add(1, Ordering::AcqRel);
        self.changed.notify_waiters();
        Taking(self.clone())
    }

    /// How many agents take messages, idle or busy.
    pub fn taking(&self) -> usize {
        self.taking.load(Ordering::Acquire)
    }

    /// Tells how many pulls are on their way.
    pub fn set_pulls(&self, pulls: usize) {
        self.pulls.store(pulls, Ordering::Release);
    }

    /// Whether more work may still come although nothing new is asked for.
    pub fn expects_work(&self) -> bool {
        self.pulls.load(Ordering::Acquire) > 0
    }

    /// How many agents wait for a message right now.
    pub fn idle(&self) -> usize {
        self.idle.load(Ordering::Acquire)
    }

    /// Counts the caller as idle until the guard is dropped.
    pub fn wait(&self) -> Idle<'_> {
        self.idle.fetch_add(1, Ordering::AcqRel);
        self.changed.notify_waiters();
        Idle(self)
    }

    /// Resolves when an agent became idle, came or went, after the future was first polled.
    pub fn changed(&self) -> tokio::sync::futures::Notified<'_> {
        self.changed.notified()
    }

    /// Counts a call into the moving mean (weight 1/8).
    pub fn called(&self, took: Duration) {
        let sample = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX).max(1);
        let _ = self
            .mean_call_ns
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |mean| {
                Some(if mean == 0 {
                    sample
                } else {
                    mean - mean / 8 + sample / 8
                })
            });
    }

    /// The moving mean of the time of a call; none before the first.
    pub fn mean_call(&self) -> Option<Duration> {
        match self.mean_call_ns.load(Ordering::Relaxed) {
            0 => None,
            ns => Some(Duration::from_nanos(ns)),
        }
    }
}

/// An agent that takes messages.
#[derive(Debug)]
pub struct Taking(Arc<Crew>);

impl Drop for Taking {
    fn drop(&mut self) {
        self.0.taking.fetch_sub(1, Ordering::AcqRel);
        self.0.changed.notify_waiters();
    }
}

/// An agent that waits for a message.
#[derive(Debug)]
pub struct Idle<'a>(&'a Crew);

impl Drop for Idle<'_> {
    fn drop(&mut self) {
        self.0.idle.fetch_sub(1, Ordering::AcqRel);
        self.0.changed.notify_waiters();
    }
}

/// The room that a waiting message takes.
#[derive(Debug)]
pub struct Weight {
    total: Arc<AtomicUsize>,
    bytes: usize,
}

impl Weight {
    /// Takes room for a payload of so many bytes, if `total` stays within [`limits::MAX_WAITING_BYTES`].
    pub(super) fn take(total: &Arc<AtomicUsize>, bytes: usize) -> Option<Self> {
        // An empty message costs its bookkeeping too.
        let bytes = bytes.saturating_add(limits::MESSAGE_OVERHEAD);
        let before = total.fetch_add(bytes, Ordering::AcqRel);
        let total = total.clone();
        let weight = Self { total, bytes };
        (before.saturating_add(bytes) <= limits::MAX_WAITING_BYTES).then_some(weight)
    }
}

impl Drop for Weight {
    fn drop(&mut self) {
        self.total.fetch_sub(self.bytes, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn agents_are_counted_while_they_take_and_while_they_wait() {
        let crew = Arc::new(Crew::default());
        let member = crew.join();
        let (a, b) = (crew.wait(), crew.wait());
        assert_eq!((crew.taking(), crew.idle()), (1, 2));
        drop((a, b, member));
        assert_eq!((crew.taking(), crew.idle()), (0, 0));
    }

    #[test]
    fn the_mean_follows_the_calls() {
        let crew = Crew::default();
        assert_eq!(crew.mean_call(), None);
        crew.called(Duration::from_millis(8));
        assert_eq!(crew.mean_call(), Some(Duration::from_millis(8)));
        for _ in 0..100 {
            crew.called(Duration::from_millis(80));
        }
        assert!(crew.mean_call().unwrap() > Duration::from_millis(70));
    }

    #[test]
    fn what_waits_is_bounded_in_bytes() {
        let crew = Crew::default();
        let half = limits::MAX_WAITING_BYTES / 2;
        let first = crew.weigh(half).unwrap();
        assert!(crew.weigh(half).is_none());
        drop(first);
        assert!(crew.weigh(half).is_some());
    }
}
