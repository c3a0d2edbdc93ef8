//! What the agents of one plugin share: the queue they take from, and how free they are.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use super::circuit::Gate;
use super::delivery::{Answer, Delivery};
use super::election::Board;
use super::posted::Offer;
use super::work_queue::FailingPulls;
use crate::limits;
use crate::transport::{Backlog, Budget};

/// The agents of one plugin on this host, seen from the patterns that feed them.
///
/// The queue outlives a reload of the plugin: what was taken in for the old version is handled by
/// the new one instead of being handed back.
#[derive(Debug)]
pub struct Crew {
    /// Messages that any agent of the plugin may take: work items, queue groups.
    tasks: Mutex<Backlog<Offer>>,
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
    changed: Notify,
    /// What may wait of that which came by subscriptions: here, in the mailboxes of the agents, and before
    /// both. What waits here is counted apart, with `tasks` locked only.
    pub room: Budget,
    /// What they know of their election.
    pub election: Arc<Board>,
    /// Consumers whose pulls keep failing.
    pub failing_pulls: FailingPulls,
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
            changed: Notify::new(),
            room: Budget::new(limits::MAX_WAITING_BYTES),
            election: Arc::default(),
            failing_pulls: FailingPulls::default(),
            circuit: Arc::default(),
        }
    }
}

impl Crew {
    /// Puts a message where the next free agent takes it. The caller bounds what it puts in: the
    /// work queue by what the agents can start, others by what was there already.
    pub fn offer(&self, delivery: Delivery) {
        let offer = Offer::Ready(delivery);
        let mut tasks = self.tasks();
        self.count_queued(|queued| queued.saturating_add(offer.waiting_bytes()));
        tasks.push(offer);
        drop(tasks);
        self.offered.notify_last();
    }

    /// Puts messages of a subscription there, in one go, as far as there is room for them. Returns the
    /// others: the plugin's agents have too much waiting already.
    pub fn offer_all(&self, offers: impl IntoIterator<Item = Offer>) -> Vec<Offer> {
        let (mut offered, mut crowded) = (0, Vec::new());
        let mut tasks = self.tasks();
        let elsewhere = self.room.charged();
        let mut queued = self.room.apart();
        for offer in offers {
            let more = queued.saturating_add(offer.waiting_bytes());
            let all = more.saturating_add(elsewhere);
            // One of any size, where nothing waits.
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
        // An agent that is not counted as idle yet has not looked yet.
        for _ in 0..offered.min(self.idle().max(1)) {
            self.offered.notify_last();
        }
        crowded
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

    fn tasks(&self) -> MutexGuard<'_, Backlog<Offer>> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// For a caller that has locked `tasks`: nobody else changes it meanwhile.
    fn count_queued(&self, change: impl FnOnce(usize) -> usize) {
        self.room.count_apart(change(self.room.apart()));
    }

    /// So many bytes may wait in the mailbox of one of so many agents before it is given more: one that has
    /// stopped taking messages must leave room for those that the others take.
    pub fn share(&self, agents: usize) -> usize {
        match agents {
            0 | 1 => usize::MAX,
            _ => self.room.free().saturating_mul(2),
        }
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
            .try_update(Ordering::Relaxed, Ordering::Relaxed, |mean| {
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::patterns::posted::Posted;

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

    /// A message that counts with so many bytes.
    fn posted(bytes: usize) -> Posted {
        Posted::of(bytes - limits::WAITING_OVERHEAD)
    }

    fn sizes(offers: &[Offer]) -> Vec<usize> {
        offers.iter().map(Offer::waiting_bytes).collect()
    }

    #[test]
    fn what_waits_for_any_agent_is_bounded_with_what_waits_in_mailboxes() {
        let crew = Crew::default();
        let third = limits::MAX_WAITING_BYTES / 3;
        let offers = [third, third, third, 500].map(|bytes| Offer::Posted(posted(bytes)));
        let crowded = crew.offer_all(offers);
        assert_eq!((sizes(&crowded), crew.waiting()), (vec![500], 3));
        assert!(crew.room.take(third).is_none(), "the queue counts there");
        crew.try_take().unwrap();
        let mailed = crew.room.take(third).unwrap();
        let again = crew.offer_all([Offer::Posted(posted(third))]);
        assert_eq!(again.len(), 1, "mailboxes count here");
        drop(mailed);
        assert!(crew.offer_all(again).is_empty());
        while crew.try_take().is_some() {}
        assert_eq!(crew.room.used(), 0);
    }

    #[test]
    fn small_messages_are_bounded_by_their_bytes_and_not_by_their_number() {
        let crew = Crew::default();
        let fit = limits::MAX_WAITING_BYTES / posted(300).waiting_bytes();
        assert!(fit > 200_000);
        for _ in 0..fit {
            assert!(crew.offer_all([Offer::Posted(posted(300))]).is_empty());
        }
        assert_eq!(crew.offer_all([Offer::Posted(posted(300))]).len(), 1);
        assert_eq!(crew.waiting(), fit);
        while crew.try_take().is_some() {}
        assert_eq!(crew.room.used(), 0);
    }

    #[test]
    fn a_message_of_any_size_has_room_where_nothing_waits() {
        let crew = Crew::default();
        let large = || Offer::Posted(posted(2 * limits::MAX_WAITING_BYTES));
        assert!(crew.offer_all([large()]).is_empty());
        assert_eq!(crew.offer_all([large()]).len(), 1);
    }

    #[test]
    fn a_batch_counts_with_all_its_messages() {
        let crew = Crew::default();
        let half = limits::MAX_WAITING_BYTES / 2;
        let batch = || Offer::Batch(vec![posted(half), posted(half)]);
        assert!(crew.offer_all([Offer::Posted(posted(500))]).is_empty());
        assert_eq!(crew.offer_all([batch()]).len(), 1);
        crew.try_take().unwrap();
        assert!(crew.offer_all([batch()]).is_empty());
        let taken = crew.try_take().unwrap();
        assert_eq!(crew.room.used(), 0);
        // What comes back to the queue has been let in before.
        crew.offer(taken);
        assert!(crew.room.used() > limits::MAX_WAITING_BYTES);
        let each: Vec<Delivery> = crew.try_take().unwrap().each().collect();
        assert!(each.len() == 2 && each.iter().all(|one| one.rest.is_none()));
    }

    #[test]
    fn an_agent_that_takes_nothing_leaves_room_for_what_the_others_take() {
        let crew = Crew::default();
        assert_eq!(crew.share(1), usize::MAX);
        assert_eq!(crew.share(2), 2 * limits::MAX_WAITING_BYTES);
        let (mut stuck, mut held) = (0, Vec::new());
        while stuck <= crew.share(2) {
            held.push(crew.room.take(1 << 20).unwrap());
            stuck += 1 << 20;
        }
        let most = limits::MAX_WAITING_BYTES;
        assert!(stuck < most * 3 / 4, "{stuck} of {most}");
    }
}
