//! Tests of the host's lease: paused time, a bucket in memory.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use serde_json::{Value as Json, json};
use tokio::time::Instant;

use mistersmith_core::limits;
use mistersmith_runtime::clock;

use super::*;
use crate::kv_key::memory::{Bucket, Call, Fault, MemoryKey};
use crate::kv_lease::TestClock;

const TTL: Duration = Duration::from_secs(15);
const KEY: &str = "host.h";
/// More than the real clock advances in a test.
const REAL: Duration = Duration::from_secs(1);

struct Bed {
    bucket: Bucket,
    key: MemoryKey,
    clock: TestClock,
    alarm: Arc<Notify>,
}

impl Bed {
    fn new() -> Self {
        let bucket = Bucket::new(TTL);
        Self {
            key: bucket.key(KEY),
            bucket,
            clock: TestClock::from(clock()),
            alarm: Arc::default(),
        }
    }

    async fn take(&self, name: &str, place: Option<&str>) -> anyhow::Result<Lease> {
        let holder = Holder {
            host: "h".to_owned(),
            name: name.to_owned(),
            place: place.map(str::to_owned),
        };
        let (key, alarm) = (self.key.clone(), self.alarm.clone());
        Lease::start(key, self.clock.clone(), holder, alarm).await
    }

    async fn one(&self) -> Lease {
        self.take("one", Some("folder")).await.unwrap()
    }

    /// Whether agents may act under the lease. Its term runs on the real clock, which stands still
    /// here.
    fn may_act(&self, lease: &Lease) -> bool {
        let until = clock() + lease.term().left();
        until > self.clock.now() + REAL
    }

    fn value(&self) -> Json {
        let entry = self.bucket.newest(KEY).expect("the lease stands there");
        serde_json::from_slice(&entry.value).unwrap()
    }
}

fn theirs() -> String {
    json!({"host_id": "h", "name": "two", "place": "copy"}).to_string()
}

async fn seconds(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}

/// The next change of the lease, and the time it took.
async fn turned(lease: &mut Lease) -> (bool, Duration) {
    let begun = Instant::now();
    let turned = tokio::time::timeout(Duration::from_secs(60), lease.turned()).await;
    (turned.expect("the lease turns"), begun.elapsed())
}

async fn stays(lease: &mut Lease, so_long: u64) {
    let turned = tokio::time::timeout(Duration::from_secs(so_long), lease.turned()).await;
    assert!(turned.is_err(), "the lease turned: {turned:?}");
}

#[tokio::test(start_paused = true)]
async fn a_lease_is_renewed_every_five_seconds_and_kept() {
    let bed = Bed::new();
    let mut lease = bed.one().await;
    assert_eq!(bed.value()["term"], 0, "the writer does not know it yet");
    stays(&mut lease, 601).await;
    assert!(bed.may_act(&lease));
    assert_eq!(bed.value()["term"], 1);
    let renewed = bed.key.calls(Call::Update);
    assert_eq!(renewed.len(), 120);
    let spaced = |pair: (&Instant, &Instant)| *pair.1 - *pair.0;
    let pauses = renewed.iter().zip(renewed.iter().skip(1)).map(spaced);
    for pause in pauses {
        let late = pause.saturating_sub(limits::LEASE_RENEWAL);
        assert!(late < Duration::from_millis(5), "{pause:?}");
    }
    lease.give_up(REAL).await;
    assert_eq!(bed.bucket.newest(KEY), None);
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_another_host_took_ends_with_the_next_renewal() {
    let bed = Bed::new();
    let mut lease = bed.one().await;
    let revision = bed.bucket.put(KEY, theirs());
    let (held, after) = turned(&mut lease).await;
    assert!(!held);
    assert!(after < limits::LEASE_RENEWAL + REAL, "{after:?}");
    assert!(!bed.may_act(&lease));
    seconds(8).await;
    let found = bed.bucket.newest(KEY).unwrap();
    assert_eq!(found.revision, revision, "the other one is left alone");
    // The other host's lease expires, and ours returns under a new term.
    assert!(turned(&mut lease).await.0);
    assert!(bed.may_act(&lease));
    assert_eq!(bed.value()["name"], "one");
}

#[tokio::test(start_paused = true)]
async fn a_lost_answer_is_not_taken_for_another_host() {
    let bed = Bed::new();
    let mut lease = bed.one().await;
    bed.key.next(Fault::AnswerLost(Duration::from_secs(1)));
    stays(&mut lease, 60).await;
    assert!(bed.may_act(&lease));
    // An answer that arrives after this renewal was abandoned: the renewal is cancelled in flight.
    bed.key.next(Fault::DoneInSilence);
    assert!(!turned(&mut lease).await.0, "nobody knows");
    let (held, after) = turned(&mut lease).await;
    assert!(held, "the own write is recognised");
    assert!(after <= limits::LEASE_RETRY * 2, "{after:?}");
}

#[tokio::test(start_paused = true)]
async fn a_silent_server_ends_the_lease_before_another_host_can_have_it() {
    for fault in [
        Fault::Silence,
        Fault::DoneInSilence,
        Fault::Lost(Duration::from_millis(30)),
        Fault::AnswerLost(Duration::from_secs(2)),
    ] {
        let bed = Bed::new();
        let mut lease = bed.one().await;
        bed.key.always(fault);
        let (held, after) = turned(&mut lease).await;
        assert!(!held);
        let late = after.saturating_sub(limits::LEASE_SAFE);
        assert!(late < Duration::from_millis(5), "{fault:?}: {after:?}");
        // The remaining time is for ending the agents.
        assert!(bed.may_act(&lease), "{fault:?}");
        seconds(2).await;
        assert!(!bed.may_act(&lease), "{fault:?}");
        assert!(bed.bucket.newest(KEY).is_some(), "{fault:?}");
        bed.key.always(None);
        assert!(turned(&mut lease).await.0);
    }
}

#[tokio::test(start_paused = true)]
async fn failed_renewals_are_tried_again_soon_and_not_in_step() {
    let bed = Bed::new();
    let mut lease = bed.one().await;
    bed.key.always(Fault::Lost(Duration::ZERO));
    assert!(!turned(&mut lease).await.0);
    let tried = bed.key.calls(Call::Update);
    let pauses: Vec<Duration> = tried
        .iter()
        .zip(tried.iter().skip(1))
        .map(|(before, after)| *after - *before)
        .collect();
    assert!(pauses.len() >= 8, "{pauses:?}");
    let least = limits::LEASE_RETRY / 2;
    let most = limits::LEASE_RETRY + Duration::from_millis(5);
    assert!(
        pauses.iter().all(|pause| (least..most).contains(pause)),
        "{pauses:?}"
    );
    assert!(pauses.iter().any(|pause| Some(pause) != pauses.first()));
}

#[tokio::test(start_paused = true)]
async fn a_lease_goes_on_in_a_bucket_that_was_lost_and_made_again() {
    let bed = Bed::new();
    let mut lease = bed.one().await;
    stays(&mut lease, 6).await;
    bed.bucket.lose();
    tokio::time::timeout(Duration::from_secs(6), bed.alarm.notified())
        .await
        .expect("it is missed");
    bed.bucket.remake();
    stays(&mut lease, 60).await;
    assert!(bed.may_act(&lease));
    assert_eq!(bed.value()["term"], 1, "the lease is the same");
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_was_deleted_in_its_bucket_counts_as_expired() {
    let bed = Bed::new();
    let mut lease = bed.one().await;
    bed.bucket.remove(KEY);
    assert!(!turned(&mut lease).await.0);
    assert!(
        !bed.may_act(&lease),
        "another host may have had it meanwhile"
    );
    assert!(turned(&mut lease).await.0);
}

#[tokio::test(start_paused = true)]
async fn a_machine_that_slept_asks_whether_the_key_is_still_its_own() {
    let bed = Bed::new();
    let mut lease = bed.one().await;
    stays(&mut lease, 1).await;
    // Shorter than the key lives: no other host can have had it.
    bed.clock.jump(limits::LEASE_SAFE - Duration::from_secs(1));
    stays(&mut lease, 30).await;
    assert!(bed.may_act(&lease));
    // Longer than the key lives; the server's time advanced as well.
    bed.clock.jump(TTL * 2);
    bed.bucket.remove(KEY);
    assert!(!bed.may_act(&lease), "at once, before anybody looks");
    assert!(!turned(&mut lease).await.0);
    assert!(turned(&mut lease).await.0);
}

#[tokio::test(start_paused = true)]
async fn giving_up_leaves_nothing_of_a_renewal_that_is_on_its_way() {
    let bed = Bed::new();
    let lease = bed.one().await;
    bed.key.next(Fault::DoneInSilence);
    seconds(6).await;
    lease.give_up(REAL).await;
    assert_eq!(bed.bucket.newest(KEY), None);
    // A key of another host is left untouched.
    let lease = bed.one().await;
    let theirs = bed.bucket.put(KEY, theirs());
    lease.give_up(REAL).await;
    assert_eq!(bed.bucket.newest(KEY).unwrap().revision, theirs);
}

#[tokio::test(start_paused = true)]
async fn a_host_that_starts_waits_for_a_lease_that_may_be_a_living_hosts() {
    let bed = Bed::new();
    let _first = bed.one().await;
    let begun = Instant::now();
    let refused = bed.take("two", Some("copy")).await;
    let error = refused.err().expect("a living host has it").to_string();
    assert!(error.contains("\"one\""), "{error}");
    assert!(begun.elapsed() <= limits::LEASE_RENEWAL + REAL);

    let bed = Bed::new();
    drop(bed.one().await);
    let begun = Instant::now();
    let lease = bed.take("one", None).await.unwrap();
    assert!(begun.elapsed() >= TTL, "it has expired first");
    drop(lease);

    // With a ttl changed by hand, the bucket never lets a lease expire.
    let bucket = Bucket::new(TTL * 1000);
    let bed = Bed {
        key: bucket.key(KEY),
        bucket,
        ..Bed::new()
    };
    drop(bed.one().await);
    let begun = Instant::now();
    bed.take("one", None).await.unwrap();
    let waited = begun.elapsed();
    assert!(
        (limits::LEASE_WATCH..limits::LEASE_WATCH + REAL).contains(&waited),
        "{waited:?}"
    );
}
