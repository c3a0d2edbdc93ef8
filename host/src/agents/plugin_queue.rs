//! The plugin queue: the in-memory queue of one plugin's agents on this host, with counts of active
//! and idle agents.
//!
//! Waiting messages of subscriptions stay within a byte budget. Otherwise a flood of messages would
//! fill the host's memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::Notify;

use super::failing_pulls::FailingPulls;
use super::leader_view::LeaderView;
use super::posted::Offer;
use crate::circuit::Gate;
use crate::delivery::{Delivery, Destination};
use mistersmith_core::byte_budget::ByteBudget;
use mistersmith_core::limits;
use mistersmith_nats::Backlog;

/// The queue and the shared state of one plugin's agents on this host, as the patterns that feed
/// them see it.
///
/// It outlives a reload of the plugin: the new version handles messages that were queued for the
/// old one, instead of giving them back.
#[derive(Debug)]
pub struct PluginQueue {
    /// Messages for any agent of the plugin: work items and messages of queue groups.
    tasks: Mutex<Backlog<Offer>>,
    /// Wakes agents that wait for a message, the most recent one first: its data is still in the
    /// processor's caches, and of a thousand agents only as many are active as there is work.
    offered: Notify,
    /// The number of agents that take messages: alive, not paused, not waiting for a restart.
    taking: AtomicUsize,
    /// The number of agents that wait for a message.
    idle: AtomicUsize,
    /// The number of open pulls, waiting ones included.
    pulls: AtomicUsize,
    mean_call_ns: AtomicU64,
    changed: Notify,
    /// The byte budget for waiting messages of subscriptions: in this queue, in the mailboxes, and
    /// before both. This queue is its external part, which is set only with `tasks` locked.
    pub room: ByteBudget,
    /// The agents' view of their election.
    pub election: Arc<LeaderView>,
    /// Consumers whose pulls keep failing.
    pub failing_pulls: FailingPulls,
    /// The circuit breaker in front of their calls.
    pub circuit: Arc<Gate>,
}

impl Default for PluginQueue {
    fn default() -> Self {
        Self {
            tasks: Mutex::default(),
            offered: Notify::new(),
            taking: AtomicUsize::new(0),
            idle: AtomicUsize::new(0),
            pulls: AtomicUsize::new(0),
            mean_call_ns: AtomicU64::new(0),
            changed: Notify::new(),
            room: ByteBudget::new(limits::MAX_WAITING_BYTES),
            election: Arc::default(),
            failing_pulls: FailingPulls::default(),
            circuit: Arc::default(),
        }
    }
}

impl PluginQueue {
    /// Queues a message for the next free agent. The caller bounds the queue: the work queue by the
    /// calls that agents can start, others by the bytes that already wait.
    pub fn offer(&self, delivery: Delivery) {
        let offer = Offer::Ready(delivery);
        let mut tasks = self.tasks();
        self.count_queued(|queued| queued.saturating_add(offer.waiting_bytes()));
        tasks.push(offer);
        drop(tasks);
        self.offered.notify_last();
    }

    /// Queues messages of a subscription under one lock, as far as the budget allows, and returns
    /// the rest.
    pub fn offer_all(&self, offers: impl IntoIterator<Item = Offer>) -> Vec<Offer> {
        let (mut offered, mut crowded) = (0, Vec::new());
        let mut tasks = self.tasks();
        let elsewhere = self.room.charged();
        let mut queued = self.room.external();
        for offer in offers {
            let more = queued.saturating_add(offer.waiting_bytes());
            let all = more.saturating_add(elsewhere);
            // An empty queue accepts one message of any size.
            if self.room.is_exceeded_by(all) && queued.saturating_add(elsewhere) > 0 {
                crowded.push(offer);
                continue;
            }
            queued = more;
            offered += 1;
            tasks.push(offer);
        }
        self.count_queued(|_| queued);
        drop(tasks);
        // Wakes at least one agent: one that is not yet counted as idle has not polled the queue
        // yet.
        for _ in 0..offered.min(self.idle().max(1)) {
            self.offered.notify_last();
        }
        crowded
    }

    /// Waits for the next message. Cancel safe.
    pub async fn take(&self) -> Delivery {
        loop {
            let offered = self.offered.notified();
            tokio::pin!(offered);
            // Enabled before the queue is polled, so that a message queued after the poll wakes
            // this agent.
            offered.as_mut().enable();
            if let Some(delivery) = self.try_take() {
                return delivery;
            }
            offered.await;
        }
    }

    /// Takes a ready message, if there is one.
    pub fn try_take(&self) -> Option<Delivery> {
        loop {
            let mut tasks = self.tasks();
            let offer = tasks.pop()?;
            self.count_queued(|queued| queued.saturating_sub(offer.waiting_bytes()));
            drop(tasks);
            if let Some(delivery) = offer.delivery() {
                return Some(delivery);
            }
        }
    }

    /// As [`PluginQueue::try_take`], for an agent that was not idle in between. Notifies the task
    /// that prefetches work.
    pub fn take_ready(&self) -> Option<Delivery> {
        let delivery = self.try_take()?;
        if matches!(delivery.destination, Destination::HeldMessage(_)) {
            self.changed.notify_waiters();
        }
        Some(delivery)
    }

    /// The number of waiting messages.
    pub fn waiting(&self) -> usize {
        self.tasks().len()
    }

    fn tasks(&self) -> MutexGuard<'_, Backlog<Offer>> {
        self.tasks.lock()
    }

    /// Updates the queued bytes. The caller holds the lock of `tasks`, so that updates do not race.
    fn count_queued(&self, change: impl FnOnce(usize) -> usize) {
        self.room.set_external(change(self.room.external()));
    }

    /// The bytes that may wait in one mailbox, of `agents` mailboxes, before it gets no more
    /// messages: an agent that has stopped taking messages must leave room for those of the others.
    pub fn share(&self, agents: usize) -> usize {
        match agents {
            0 | 1 => usize::MAX,
            _ => self.room.free().saturating_mul(2),
        }
    }

    /// Counts the caller as an agent that takes messages until the guard is dropped.
    pub fn join(self: &Arc<Self>) -> ActiveGuard {
        self.taking.fetch_add(1, Ordering::AcqRel);
        self.changed.notify_waiters();
        ActiveGuard(self.clone())
    }

    /// The number of agents that take messages, idle or busy.
    pub fn taking(&self) -> usize {
        self.taking.load(Ordering::Acquire)
    }

    /// Sets the number of open pulls.
    pub fn set_pulls(&self, pulls: usize) {
        self.pulls.store(pulls, Ordering::Release);
    }

    /// Whether open pulls may still deliver work.
    pub fn expects_work(&self) -> bool {
        self.pulls.load(Ordering::Acquire) > 0
    }

    /// The number of agents that wait for a message now.
    pub fn idle(&self) -> usize {
        self.idle.load(Ordering::Acquire)
    }

    /// Counts the caller as idle until the guard is dropped.
    pub fn wait(&self) -> IdleGuard<'_> {
        self.idle.fetch_add(1, Ordering::AcqRel);
        self.changed.notify_waiters();
        IdleGuard(self)
    }

    /// Resolves when an agent becomes idle, joins or leaves, after the future was first polled.
    pub fn changed(&self) -> tokio::sync::futures::Notified<'_> {
        self.changed.notified()
    }

    /// Adds a call's duration to the moving mean (weight 1/8).
    pub fn called(&self, took: Duration) {
        let sample = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX).max(1);
        let _ = self
            .mean_call_ns
            .try_update(Ordering::Relaxed, Ordering::Relaxed, |mean| {
                Some(if mean == 0 {
                    sample
                } else {
                    mean - mean / 8 + sample / 8
                })
            });
    }

    /// The moving mean of call durations; none before the first call.
    pub fn mean_call(&self) -> Option<Duration> {
        match self.mean_call_ns.load(Ordering::Relaxed) {
            0 => None,
            ns => Some(Duration::from_nanos(ns)),
        }
    }
}

/// Counts an agent that takes messages while it lives.
#[derive(Debug)]
pub struct ActiveGuard(Arc<PluginQueue>);

impl Drop for ActiveGuard {
    fn drop(&mut self) {
        self.0.taking.fetch_sub(1, Ordering::AcqRel);
        self.0.changed.notify_waiters();
    }
}

/// Counts an agent that waits for a message while it lives.
#[derive(Debug)]
pub struct IdleGuard<'a>(&'a PluginQueue);

impl Drop for IdleGuard<'_> {
    fn drop(&mut self) {
        self.0.idle.fetch_sub(1, Ordering::AcqRel);
        self.0.changed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::agents::posted::Posted;

    #[test]
    fn agents_are_counted_while_they_take_and_while_they_wait() {
        let plugin_queue = Arc::new(PluginQueue::default());
        let member = plugin_queue.join();
        let (a, b) = (plugin_queue.wait(), plugin_queue.wait());
        assert_eq!((plugin_queue.taking(), plugin_queue.idle()), (1, 2));
        drop((a, b, member));
        assert_eq!((plugin_queue.taking(), plugin_queue.idle()), (0, 0));
    }

    #[test]
    fn the_mean_follows_the_calls() {
        let plugin_queue = PluginQueue::default();
        assert_eq!(plugin_queue.mean_call(), None);
        plugin_queue.called(Duration::from_millis(8));
        assert_eq!(plugin_queue.mean_call(), Some(Duration::from_millis(8)));
        for _ in 0..100 {
            plugin_queue.called(Duration::from_millis(80));
        }
        assert!(plugin_queue.mean_call().unwrap() > Duration::from_millis(70));
    }

    /// A message that is charged `bytes` bytes.
    fn posted(bytes: usize) -> Posted {
        Posted::of(bytes - limits::WAITING_OVERHEAD)
    }

    fn sizes(offers: &[Offer]) -> Vec<usize> {
        offers.iter().map(Offer::waiting_bytes).collect()
    }

    #[test]
    fn what_waits_for_any_agent_is_bounded_with_what_waits_in_mailboxes() {
        let plugin_queue = PluginQueue::default();
        let third = limits::MAX_WAITING_BYTES / 3;
        let offers = [third, third, third, 500].map(|bytes| Offer::Posted(posted(bytes)));
        let crowded = plugin_queue.offer_all(offers);
        assert_eq!((sizes(&crowded), plugin_queue.waiting()), (vec![500], 3));
        assert!(
            plugin_queue.room.take(third).is_none(),
            "the queue counts there"
        );
        plugin_queue.try_take().unwrap();
        let mailed = plugin_queue.room.take(third).unwrap();
        let again = plugin_queue.offer_all([Offer::Posted(posted(third))]);
        assert_eq!(again.len(), 1, "mailboxes count here");
        drop(mailed);
        assert!(plugin_queue.offer_all(again).is_empty());
        while plugin_queue.try_take().is_some() {}
        assert_eq!(plugin_queue.room.used(), 0);
    }

    #[test]
    fn small_messages_are_bounded_by_their_bytes_and_not_by_their_number() {
        let plugin_queue = PluginQueue::default();
        let fit = limits::MAX_WAITING_BYTES / posted(300).waiting_bytes();
        assert!(fit > 200_000);
        for _ in 0..fit {
            assert!(
                plugin_queue
                    .offer_all([Offer::Posted(posted(300))])
                    .is_empty()
            );
        }
        assert_eq!(
            plugin_queue.offer_all([Offer::Posted(posted(300))]).len(),
            1
        );
        assert_eq!(plugin_queue.waiting(), fit);
        while plugin_queue.try_take().is_some() {}
        assert_eq!(plugin_queue.room.used(), 0);
    }

    #[test]
    fn a_message_of_any_size_has_room_where_nothing_waits() {
        let plugin_queue = PluginQueue::default();
        let large = || Offer::Posted(posted(2 * limits::MAX_WAITING_BYTES));
        assert!(plugin_queue.offer_all([large()]).is_empty());
        assert_eq!(plugin_queue.offer_all([large()]).len(), 1);
    }

    #[test]
    fn a_batch_counts_with_all_its_messages() {
        let plugin_queue = PluginQueue::default();
        let half = limits::MAX_WAITING_BYTES / 2;
        let batch = || Offer::Batch(vec![posted(half), posted(half)]);
        assert!(
            plugin_queue
                .offer_all([Offer::Posted(posted(500))])
                .is_empty()
        );
        assert_eq!(plugin_queue.offer_all([batch()]).len(), 1);
        plugin_queue.try_take().unwrap();
        assert!(plugin_queue.offer_all([batch()]).is_empty());
        let taken = plugin_queue.try_take().unwrap();
        assert_eq!(plugin_queue.room.used(), 0);
        // A message that returns to the queue was admitted before, so the budget does not stop it.
        plugin_queue.offer(taken);
        assert!(plugin_queue.room.used() > limits::MAX_WAITING_BYTES);
        let each: Vec<Delivery> = plugin_queue.try_take().unwrap().each().collect();
        assert!(each.len() == 2 && each.iter().all(|one| one.rest.is_none()));
    }

    #[test]
    fn an_agent_that_takes_nothing_leaves_room_for_what_the_others_take() {
        let plugin_queue = PluginQueue::default();
        assert_eq!(plugin_queue.share(1), usize::MAX);
        assert_eq!(plugin_queue.share(2), 2 * limits::MAX_WAITING_BYTES);
        let (mut stuck, mut held) = (0, Vec::new());
        while stuck <= plugin_queue.share(2) {
            held.push(plugin_queue.room.take(1 << 20).unwrap());
            stuck += 1 << 20;
        }
        let most = limits::MAX_WAITING_BYTES;
        assert!(stuck < most * 3 / 4, "{stuck} of {most}");
    }
}
