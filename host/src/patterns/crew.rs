//! What the agents of one plugin share: the queue they take from, and how free they are.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use super::circuit::Gate;
use super::delivery::{Answer, Delivery};
use super::election::Board;
use super::work_queue::FailingPulls;
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
    /// Bytes of what waits here and came by a subscription. Changed with `tasks` locked only.
    queued_bytes: AtomicUsize,
    /// Bytes of what came by a subscription and waits in the mailboxes of the agents.
    mailed_bytes: Arc<AtomicUsize>,
    changed: Notify,
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
            queued_bytes: AtomicUsize::new(0),
            mailed_bytes: Arc::default(),
            changed: Notify::new(),
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
        let mut tasks = self.tasks();
        self.count_queued(|queued| queued.saturating_add(delivery.waiting_bytes()));
        tasks.push_back(delivery);
        drop(tasks);
        self.offered.notify_last();
    }

    /// Puts messages of a subscription there, in one go, as far as there is room for them. Returns the
    /// others: the plugin's agents have too much waiting already.
    pub fn offer_all(&self, deliveries: impl IntoIterator<Item = Delivery>) -> Vec<Delivery> {
        let (mut offered, mut crowded) = (0, Vec::new());
        let mut tasks = self.tasks();
        let mailed = self.mailed_bytes.load(Ordering::Acquire);
        let mut queued = self.queued_bytes.load(Ordering::Relaxed);
        for delivery in deliveries {
            let more = queued.saturating_add(delivery.waiting_bytes());
            if more.saturating_add(mailed) > limits::MAX_WAITING_BYTES {
                crowded.push(delivery);
                continue;
            }
            queued = more;
            offered += 1;
            tasks.push_back(delivery);
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
        let mut tasks = self.tasks();
        let delivery = tasks.pop_front()?;
        self.count_queued(|queued| queued.saturating_sub(delivery.waiting_bytes()));
        Some(delivery)
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

    /// For a caller that has locked `tasks`: nobody else changes it meanwhile.
    fn count_queued(&self, change: impl FnOnce(usize) -> usize) {
        let before = self.queued_bytes.load(Ordering::Relaxed);
        self.queued_bytes.store(change(before), Ordering::Release);
    }

    /// Reserves room for a message of a subscription in the mailbox of an agent, until the weight is
    /// dropped; none when the plugin's agents have too much waiting already.
    pub fn weigh(&self, payload: usize) -> Option<Weight> {
        self.weigh_all([payload])
    }

    /// As [`Crew::weigh`], for messages with such payloads that go together.
    pub fn weigh_all(&self, payloads: impl IntoIterator<Item = usize>) -> Option<Weight> {
        let each = payloads.into_iter().map(waiting_bytes);
        let bytes = each.fold(0, usize::saturating_add);
        let queued = self.queued_bytes.load(Ordering::Acquire);
        Weight::take(&self.mailed_bytes, queued, bytes)
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

/// The room that a waiting message with a payload of so many bytes takes.
pub(super) fn waiting_bytes(payload: usize) -> usize {
    // An empty message costs its bookkeeping too.
    payload.saturating_add(limits::MESSAGE_OVERHEAD)
}

/// The room that messages take in a mailbox.
#[derive(Debug)]
pub struct Weight {
    total: Arc<AtomicUsize>,
    bytes: usize,
}

impl Weight {
    /// Takes room for so many bytes, if `total` and what is taken elsewhere stay within
    /// [`limits::MAX_WAITING_BYTES`].
    pub(super) fn take(total: &Arc<AtomicUsize>, elsewhere: usize, bytes: usize) -> Option<Self> {
        let before = total.fetch_add(bytes, Ordering::AcqRel);
        let total = total.clone();
        let weight = Self { total, bytes };
        let all = before.saturating_add(elsewhere).saturating_add(bytes);
        (all <= limits::MAX_WAITING_BYTES).then_some(weight)
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
    use crate::patterns::delivery::call;
    use crate::runtime::Kind;
    use crate::transport::{Headers, Message, RequestId, Trace};

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
    fn what_waits_in_mailboxes_is_bounded_in_bytes() {
        let crew = Crew::default();
        let half = limits::MAX_WAITING_BYTES / 2;
        let first = crew.weigh(half).unwrap();
        assert!(crew.weigh(half).is_none());
        drop(first);
        assert!(crew.weigh_all([half, half]).is_none(), "each is counted");
        assert!(crew.weigh_all([half, 0]).is_some());
        assert!(crew.weigh(half).is_some(), "what had no room takes none");
    }

    fn delivery(bytes: usize, rest: Option<Vec<Delivery>>) -> Delivery {
        let message = Message {
            subject: "a".to_owned(),
            reply: None,
            headers: Headers::default(),
            payload: vec![0; bytes].into(),
        };
        let kind = Kind::Subscription {
            id: None,
            wants_reply: false,
        };
        Delivery {
            call: call(kind, message, Trace::begin(RequestId::new())),
            answer: Answer::Nobody,
            weight: None,
            rest,
        }
    }

    fn sizes(deliveries: &[Delivery]) -> Vec<usize> {
        let all = deliveries.iter();
        all.map(|delivery| delivery.call.payload.len()).collect()
    }

    #[test]
    fn what_waits_for_any_agent_is_bounded_with_what_waits_in_mailboxes() {
        let crew = Crew::default();
        let third = limits::MAX_WAITING_BYTES / 3;
        let crowded = crew.offer_all([third, third, third, 1].map(|b| delivery(b, None)));
        assert_eq!((sizes(&crowded), crew.waiting()), (vec![third], 3));
        assert!(crew.weigh(third).is_none(), "the queue counts there");
        assert_eq!(crew.try_take().unwrap().call.payload.len(), third);
        let mailed = crew.weigh(third).unwrap();
        let again = crew.offer_all([delivery(third, None)]);
        assert_eq!(again.len(), 1, "mailboxes count here");
        drop(mailed);
        assert!(crew.offer_all(again).is_empty());
        while crew.try_take().is_some() {}
        assert_eq!(crew.queued_bytes.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn a_batch_counts_with_all_its_messages() {
        let crew = Crew::default();
        let half = limits::MAX_WAITING_BYTES / 2;
        let batch = || delivery(half, Some(vec![delivery(half, None)]));
        assert_eq!(crew.offer_all([batch()]).len(), 1);
        // What comes back to the queue has been let in before.
        crew.offer(batch());
        assert!(crew.weigh(0).is_none());
        let taken = crew.try_take().unwrap();
        assert!(crew.weigh(0).is_some());
        let each: Vec<Delivery> = taken.each().collect();
        assert_eq!(sizes(&each), [half, half]);
        assert!(each.iter().all(|one| one.rest.is_none()));
    }
}
