//! How long a call computes: the time spent in polls of it, whatever it does there.
//!
//! Waiting costs nothing, and giving way to others costs nothing. A call that never waits pays for
//! one look at the clock beyond the one that its deadline needs. A call that computes aside gives way to
//! everything, so there it is the thread's own time that counts.

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

use super::apart::{apart, computed};
use super::ticker::Pulse;
use crate::limits::EPOCH_TICK;

/// How long a call computes without being looked after: so late can its end be that somebody else wants.
const STAY: Duration = Duration::from_millis(100);

/// Measures one call at a time. Shared by the call, which is polled, and by the store, whose ticks
/// ask from inside of a poll.
#[derive(Debug)]
pub(super) struct Stopwatch {
    origin: Instant,
    /// When the call began, and when its last poll was over, in nanoseconds since the origin.
    begun: AtomicU64,
    over: AtomicU64,
    /// Of the polls that are over, in nanoseconds.
    used: AtomicU64,
    /// When the poll that runs began, in nanoseconds since the origin.
    since: AtomicU64,
    /// What the thread of a poll aside had computed when that began, in nanoseconds.
    before: AtomicU64,
    /// The poll that runs has computed beyond a tick.
    ticked: AtomicBool,
    /// The last poll had, be it of the call before: the next one begins aside.
    long: AtomicBool,
    /// The poll that runs has a place aside.
    aside: AtomicBool,
    pulse: Pulse,
}

impl Stopwatch {
    pub(super) fn new(pulse: Pulse) -> Self {
        Self {
            pulse,
            origin: Instant::now(),
            begun: AtomicU64::new(0),
            over: AtomicU64::new(0),
            used: AtomicU64::new(0),
            since: AtomicU64::new(0),
            before: AtomicU64::new(0),
            ticked: AtomicBool::new(false),
            long: AtomicBool::new(false),
            aside: AtomicBool::new(false),
        }
    }

    /// A call begins, and its first poll with it.
    pub(super) fn restart(&self, now: Instant) {
        self.used.store(0, Ordering::Relaxed);
        self.begun.store(self.at(now), Ordering::Relaxed);
        self.resume(now);
    }

    /// A tick has come and the call runs still: its clock must not stand still. Returns whether the poll
    /// has computed beyond one tick; the first one may have come while a host function waited.
    pub(super) fn goes_on(&self, now: Instant) -> bool {
        self.pulse.beat();
        let computes = self.used(now).saturating_sub(self.total()) >= EPOCH_TICK;
        if computes {
            self.ticked.store(true, Ordering::Relaxed);
        }
        computes
    }

    /// Whether the call may go on computing where it is: aside, and nobody waits for its place. The
    /// longer a thread computes the sooner the system prefers others to it, and it begins anew with
    /// each other thread.
    pub(super) fn stays(&self, now: Instant, aside: &Aside) -> bool {
        let begun = self.since.load(Ordering::Relaxed);
        let computed = Duration::from_nanos(self.at(now).saturating_sub(begun));
        self.aside.load(Ordering::Relaxed) && computed < STAY && aside.has_room()
    }

    fn is_long(&self) -> bool {
        self.long.load(Ordering::Relaxed)
    }

    /// How long the call has computed. To be asked while it does, on its thread, and at least with every turn.
    pub(super) fn used(&self, now: Instant) -> Duration {
        let (running, begun) = if self.aside.load(Ordering::Relaxed) {
            (nanos(computed()), &self.before)
        } else {
            (self.at(now), &self.since)
        };
        let running = running.saturating_sub(begun.load(Ordering::Relaxed));
        Duration::from_nanos(self.used.load(Ordering::Relaxed).saturating_add(running))
    }

    /// How long the call has computed. To be asked after it.
    pub(super) fn total(&self) -> Duration {
        Duration::from_nanos(self.used.load(Ordering::Relaxed))
    }

    /// How long the call took, waits included. To be asked after it.
    pub(super) fn took(&self) -> Duration {
        let over = self.over.load(Ordering::Relaxed);
        Duration::from_nanos(over.saturating_sub(self.begun.load(Ordering::Relaxed)))
    }

    fn resume(&self, now: Instant) {
        self.pulse.beat();
        self.since.store(self.at(now), Ordering::Relaxed);
    }

    /// The poll that begins computes aside, on this thread.
    fn step_aside(&self) {
        self.aside.store(true, Ordering::Relaxed);
        self.before.store(nanos(computed()), Ordering::Relaxed);
    }

    fn pause(&self, now: Instant) {
        self.used.store(nanos(self.used(now)), Ordering::Relaxed);
        self.over.store(self.at(now), Ordering::Relaxed);
        self.aside.store(false, Ordering::Relaxed);
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

/// Room beside the threads that serve messages for calls that compute long: one for each processor.
/// Whoever finds none waits for its turn, and all get turns of the same length.
#[derive(Debug, Clone)]
pub(super) struct Aside(Arc<Semaphore>);

impl Aside {
    pub(super) fn new() -> Self {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        Self(Arc::new(Semaphore::new(processors)))
    }

    fn has_room(&self) -> bool {
        self.0.available_permits() > 0
    }
}

/// A call whose polls are measured; [`Stopwatch::restart`] began the first one.
///
/// A call that computes beyond one tick goes on aside: on a thread of its own, which is less urgent than
/// those that serve messages. Others serve in the place of the one that waits for it.
pub(super) async fn measured<F>(stopwatch: &Stopwatch, aside: &Aside, call: F) -> F::Output
where
    F: Future<Output: Send> + Send,
{
    let mut call = pin!(call);
    let mut waited = false;
    let mut turn: Option<PollSemaphore> = None;
    poll_fn(|cx| {
        let mut place = None;
        if stopwatch.is_long() && can_step_aside() {
            let turn = turn.get_or_insert_with(|| PollSemaphore::new(Arc::clone(&aside.0)));
            match turn.poll_acquire(cx) {
                Poll::Ready(free) => place = free,
                Poll::Pending => {
                    // The wait for a place is no computing, also before the first poll.
                    waited = true;
                    return Poll::Pending;
                }
            }
        }
        if waited {
            stopwatch.resume(Instant::now());
        }
        let mut poll = |cx: &mut Context<'_>| {
            let poll = call.as_mut().poll(cx);
            stopwatch.pause(Instant::now());
            poll
        };
        let poll = match place {
            Some(_) => {
                let waker = cx.waker();
                let poll = || {
                    stopwatch.step_aside();
                    poll(&mut Context::from_waker(waker))
                };
                block_in_place(|| apart(poll))
            }
            None => poll(cx),
        };
        waited = poll.is_pending();
        poll
    })
    .await
}

/// Only a runtime with several threads has others to serve in its place.
fn can_step_aside() -> bool {
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
        let watch = Stopwatch::new(Pulse::alone());
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
        let watch = Stopwatch::new(Pulse::alone());
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
        let (watch, aside) = (Stopwatch::new(Pulse::alone()), Aside::new());
        let at = |ms| watch.origin + Duration::from_millis(ms);
        watch.restart(at(0));
        assert!(!watch.stays(at(2), &aside), "it is not aside yet");
        watch.pause(at(2));
        watch.resume(at(10));
        watch.step_aside();
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
        let (watch, aside) = (Stopwatch::new(Pulse::alone()), Aside::new());
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
        let (watch, aside) = (Stopwatch::new(Pulse::alone()), Aside::new());
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
        let watch = Stopwatch::new(Pulse::alone());
        watch.restart(Instant::now());
        let slept = tokio::time::sleep(Duration::from_millis(200));
        measured(&watch, &Aside::new(), slept).await;
        assert!(
            Duration::from_nanos(watch.used.load(Ordering::Relaxed)) < Duration::from_millis(150)
        );
    }
}
