//! The CPU time of a call: the time spent in its polls.
//!
//! Neither waits nor yields count. On a background thread, which yields to everything, the CPU time
//! of the thread counts instead of the wall time; otherwise a loaded machine would use up the
//! budgets of its guests. A call that never waits pays for one more reading of the clock than its
//! deadline needs.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::Semaphore;
use tokio::task::block_in_place;
use tokio_util::sync::PollSemaphore;

use super::background_thread::{computed, on_background_thread};
use super::ticker::EpochSignal;
use mistersmith_core::limits::EPOCH_TICK;

/// How long a poll computes on a background thread at a stretch: an end that the host wants, such
/// as a reload, can be so late.
const STAY: Duration = Duration::from_millis(100);

/// Measures one call at a time. Shared by the call, which is polled, and by the store, whose epoch
/// callback reads it during a poll.
#[derive(Debug)]
pub(super) struct CpuMeter {
    origin: Instant,
    /// When the call began, and when its last poll was over, in nanoseconds since the origin.
    begun: AtomicU64,
    over: AtomicU64,
    /// Of the polls that are over, in nanoseconds.
    used: AtomicU64,
    /// When the poll that runs began, in nanoseconds since the origin.
    since: AtomicU64,
    /// The CPU time of the background thread when the poll began there, in nanoseconds.
    before: AtomicU64,
    /// The poll that runs has computed beyond a tick.
    ticked: AtomicBool,
    /// The last poll had, also of the call before: the next one begins in the background.
    long: AtomicBool,
    /// The poll that runs has a compute slot.
    in_background: AtomicBool,
    epochs: EpochSignal,
}

impl CpuMeter {
    pub(super) fn new(epochs: EpochSignal) -> Self {
        Self {
            epochs,
            origin: Instant::now(),
            begun: AtomicU64::new(0),
            over: AtomicU64::new(0),
            used: AtomicU64::new(0),
            since: AtomicU64::new(0),
            before: AtomicU64::new(0),
            ticked: AtomicBool::new(false),
            long: AtomicBool::new(false),
            in_background: AtomicBool::new(false),
        }
    }

    /// A call begins, and its first poll with it.
    pub(super) fn restart(&self, now: Instant) {
        self.used.store(0, Ordering::Relaxed);
        self.begun.store(self.at(now), Ordering::Relaxed);
        self.resume(now);
    }

    /// A tick came while the call runs: keeps the clock of the engine going. Returns whether the
    /// poll has computed beyond one tick; the first tick may have come while a host function
    /// waited.
    pub(super) fn goes_on(&self, now: Instant) -> bool {
        self.epochs.notify();
        let computes = self.used(now).saturating_sub(self.total()) >= EPOCH_TICK;
        if computes {
            self.ticked.store(true, Ordering::Relaxed);
        }
        computes
    }

    /// Whether the call may go on computing where it is: in the background, and none waits for its
    /// slot. A thread that computes longer is scheduled later, so a new one for each turn would get
    /// more than its share.
    pub(super) fn stays(&self, now: Instant, slots: &ComputeSlots) -> bool {
        let begun = self.since.load(Ordering::Relaxed);
        let computed = Duration::from_nanos(self.at(now).saturating_sub(begun));
        self.in_background.load(Ordering::Relaxed) && computed < STAY && slots.has_room()
    }

    fn is_long(&self) -> bool {
        self.long.load(Ordering::Relaxed)
    }

    /// The CPU time of the running call; read on its thread.
    pub(super) fn used(&self, now: Instant) -> Duration {
        let (running, begun) = if self.in_background.load(Ordering::Relaxed) {
            (nanos(computed()), &self.before)
        } else {
            (self.at(now), &self.since)
        };
        let running = running.saturating_sub(begun.load(Ordering::Relaxed));
        Duration::from_nanos(self.used.load(Ordering::Relaxed).saturating_add(running))
    }

    /// The CPU time of the last call.
    pub(super) fn total(&self) -> Duration {
        Duration::from_nanos(self.used.load(Ordering::Relaxed))
    }

    /// The wall time of the last call, waits included.
    pub(super) fn took(&self) -> Duration {
        let over = self.over.load(Ordering::Relaxed);
        Duration::from_nanos(over.saturating_sub(self.begun.load(Ordering::Relaxed)))
    }

    fn resume(&self, now: Instant) {
        self.epochs.notify();
        self.since.store(self.at(now), Ordering::Relaxed);
    }

    /// The poll that begins runs on this background thread.
    fn enter_background(&self) {
        self.in_background.store(true, Ordering::Relaxed);
        self.before.store(nanos(computed()), Ordering::Relaxed);
    }

    fn pause(&self, now: Instant) {
        self.used.store(nanos(self.used(now)), Ordering::Relaxed);
        self.over.store(self.at(now), Ordering::Relaxed);
        self.in_background.store(false, Ordering::Relaxed);
        let ticked = self.ticked.swap(false, Ordering::Relaxed);
        self.long.store(ticked, Ordering::Relaxed);
    }

    fn at(&self, now: Instant) -> u64 {
        nanos(now.saturating_duration_since(self.origin))
    }
}

/// 584 years fit.
fn nanos(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}

/// Slots for calls that compute long, beside the threads that serve messages: one for each
/// processor. A call that finds none waits for its turn; all turns have the same length.
#[derive(Debug, Clone)]
pub(super) struct ComputeSlots(Arc<Semaphore>);

impl ComputeSlots {
    pub(super) fn new() -> Self {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        Self(Arc::new(Semaphore::new(processors)))
    }

    fn has_room(&self) -> bool {
        self.0.available_permits() > 0
    }
}

/// A call whose polls are measured; [`CpuMeter::restart`] began the first one.
///
/// A call that computes beyond one tick moves to a background thread, of lower priority than those
/// that serve messages; another thread takes the place of the one that waits for it.
pub(super) async fn measured<F>(meter: &CpuMeter, slots: &ComputeSlots, call: F) -> F::Output
where
    F: Future<Output: Send> + Send,
{
    let mut call = pin!(call);
    let mut waited = false;
    let mut turn: Option<PollSemaphore> = None;
    poll_fn(|cx| {
        let mut place = None;
        if meter.is_long() && can_use_background() {
            let turn = turn.get_or_insert_with(|| PollSemaphore::new(Arc::clone(&slots.0)));
            match turn.poll_acquire(cx) {
                Poll::Ready(free) => place = free,
                Poll::Pending => {
                    // The wait for a slot is not CPU time, also before the first poll.
                    waited = true;
                    return Poll::Pending;
                }
            }
        }
        if waited {
            meter.resume(Instant::now());
        }
        let mut poll = |cx: &mut Context<'_>| {
            let poll = call.as_mut().poll(cx);
            meter.pause(Instant::now());
            poll
        };
        let poll = match place {
            Some(_) => {
                let waker = cx.waker();
                let poll = || {
                    meter.enter_background();
                    poll(&mut Context::from_waker(waker))
                };
                block_in_place(|| on_background_thread(poll))
            }
            None => poll(cx),
        };
        waited = poll.is_pending();
        poll
    })
    .await
}

/// Only a runtime with several threads has another one to take the place.
fn can_use_background() -> bool {
    let runtime = Handle::try_current();
    runtime.is_ok_and(|runtime| runtime.runtime_flavor() == RuntimeFlavor::MultiThread)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::thread;

    use super::*;

    #[test]
    fn polls_are_added_up_and_waits_are_not() {
        let watch = CpuMeter::new(EpochSignal::alone());
        let at = |ms| watch.origin + Duration::from_millis(ms);
        watch.restart(at(1000));
        assert_eq!(watch.used(at(1030)), Duration::from_millis(30));
        watch.pause(at(1040));
        watch.resume(at(5000));
        assert_eq!(watch.used(at(5005)), Duration::from_millis(45));
        watch.pause(at(5010));
        assert_eq!(watch.took(), Duration::from_millis(4010), "with its waits");
        watch.restart(at(6000));
        assert_eq!(
            watch.used(at(6000)),
            Duration::ZERO,
            "each call begins anew"
        );
    }

    #[test]
    fn a_call_is_long_after_a_poll_that_computed_beyond_a_tick() {
        let watch = CpuMeter::new(EpochSignal::alone());
        let now = watch.origin;
        let later = now + EPOCH_TICK;
        watch.restart(now);
        assert!(watch.goes_on(later));
        watch.pause(later);
        assert!(watch.is_long());
        watch.resume(later);
        assert!(!watch.goes_on(later));
        watch.pause(later);
        assert!(!watch.is_long(), "the tick had come while it waited");
        watch.resume(now);
        assert!(watch.goes_on(later));
        watch.pause(later);
        watch.restart(later);
        assert!(watch.is_long(), "the next call is taken for one like it");
    }

    #[test]
    fn a_call_stays_aside_for_a_while_where_there_is_room() {
        let (watch, aside) = (CpuMeter::new(EpochSignal::alone()), ComputeSlots::new());
        let at = |ms| watch.origin + Duration::from_millis(ms);
        watch.restart(at(0));
        assert!(!watch.stays(at(2), &aside), "it is not aside yet");
        watch.pause(at(2));
        watch.resume(at(10));
        watch.enter_background();
        assert!(watch.stays(at(30), &aside));
        assert!(!watch.stays(at(110), &aside));
        let all = aside.0.available_permits();
        let _others = aside
            .0
            .try_acquire_many(u32::try_from(all).unwrap())
            .unwrap();
        assert!(!watch.stays(at(30), &aside));
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn the_wait_for_a_place_aside_is_no_computing() {
        let (watch, aside) = (CpuMeter::new(EpochSignal::alone()), ComputeSlots::new());
        // As after a call that computed long.
        watch.long.store(true, Ordering::Relaxed);
        let all = aside.0.available_permits();
        let others = aside.0.try_acquire_many(u32::try_from(all).unwrap());
        let (others, free) = (others.unwrap(), Duration::from_millis(300));
        watch.restart(Instant::now());
        let call = async { watch.used(Instant::now()) };
        let (used, ()) = tokio::join!(measured(&watch, &aside, call), async {
            tokio::time::sleep(free).await;
            drop(others);
        });
        assert!(used < free, "{used:?}");
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn aside_only_what_is_computed_counts() {
        let (watch, aside) = (CpuMeter::new(EpochSignal::alone()), ComputeSlots::new());
        watch.long.store(true, Ordering::Relaxed);
        let held_up = Duration::from_millis(300);
        let call = async {
            let aside = thread::current().name() == Some("aside");
            // As when the system runs others instead.
            thread::sleep(held_up);
            (aside, watch.used(Instant::now()))
        };
        watch.restart(Instant::now());
        let (aside, used) = measured(&watch, &aside, call).await;
        assert!(aside);
        assert!(
            used < held_up / 2 && watch.total() < held_up / 2,
            "{used:?}"
        );
    }

    #[tokio::test]
    async fn a_future_that_sleeps_computes_little() {
        let watch = CpuMeter::new(EpochSignal::alone());
        watch.restart(Instant::now());
        let slept = tokio::time::sleep(Duration::from_millis(200));
        measured(&watch, &ComputeSlots::new(), slept).await;
        assert!(
            Duration::from_nanos(watch.used.load(Ordering::Relaxed)) < Duration::from_millis(150)
        );
    }
}
