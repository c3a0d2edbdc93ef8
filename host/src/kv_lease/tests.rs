//! Tests of the lease's driver: paused time, a bucket in memory.
#![allow(clippy::unwrap_used)]

use tokio::time::Instant;

use super::*;
use crate::kv_key::memory::{Bucket, Call, Fault, MemoryKey};

const TTL: Duration = Duration::from_secs(15);

const RULES: Rules = Rules {
    safe: Duration::from_secs(10),
    renewal: Duration::from_secs(5),
    retry: Duration::from_millis(500),
    late: Late::StaysOver,
    conflict: Conflict::Ends,
};

type TestLease = KvLease<MemoryKey, TestClock>;

fn lease(bucket: &Bucket) -> TestLease {
    KvLease::new(bucket.key("k"), TestClock::from(Duration::ZERO), RULES)
}

async fn held(bucket: &Bucket) -> TestLease {
    let mut lease = lease(bucket);
    assert_eq!(lease.take("0".into(), None).await, Ok(true));
    lease
}

#[tokio::test(start_paused = true)]
async fn a_lease_is_renewed_on_top_of_its_own_last_write() {
    let bucket = Bucket::new(TTL);
    let mut lease = held(&bucket).await;
    for round in 1..20_u64 {
        assert_eq!(lease.pause(), RULES.renewal);
        tokio::time::sleep(lease.pause()).await;
        assert_eq!(lease.renew("1".into()).await, Renewal::Renewed);
        assert_eq!(bucket.newest("k").unwrap().revision, 1 + round);
        assert_eq!(lease.held().map(|held| held.first), Some(1));
        assert_eq!(lease.left(), RULES.safe);
    }
}

#[tokio::test(start_paused = true)]
async fn another_owner_ends_a_lease_and_stays_untouched() {
    let bucket = Bucket::new(TTL);
    let mut lease = held(&bucket).await;
    let theirs = bucket.put("k", "theirs");
    assert_eq!(lease.renew("1".into()).await, Renewal::Lost);
    assert!(!lease.is_held());
    assert_eq!(lease.give_up().await, Ok(()));
    assert_eq!(bucket.newest("k").unwrap().revision, theirs);
}

#[tokio::test(start_paused = true)]
async fn a_renewal_whose_answer_is_lost_is_recognised() {
    let bucket = Bucket::new(TTL);
    let mut lease = held(&bucket).await;
    lease.port().next(Fault::AnswerLost(Duration::from_secs(1)));
    let failed = lease.renew("1".into()).await;
    assert_eq!(failed, Renewal::Failed(TransportError::Timeout));
    assert!(lease.is_held());
    let left = lease.left();
    assert_eq!(lease.renew("2".into()).await, Renewal::Recognised);
    assert_eq!(lease.left(), left, "only an answer moves the end");
    assert_eq!(lease.renew("3".into()).await, Renewal::Renewed);
    assert_eq!(lease.left(), RULES.safe);
}

#[tokio::test(start_paused = true)]
async fn a_taking_whose_answer_is_lost_is_recognised() {
    let bucket = Bucket::new(TTL);
    let mut lease = lease(&bucket);
    lease.port().next(Fault::AnswerLost(Duration::from_secs(1)));
    let taken = lease.take("ours".into(), None).await;
    assert_eq!(taken, Err(TransportError::Timeout));
    assert!(!lease.is_held(), "nobody knows");
    let found = lease.read().await.unwrap().unwrap();
    assert!(lease.has_sent(&found.value));
    let again = lease.take("ours again".into(), Some(found.revision)).await;
    assert_eq!(again, Ok(true));
    assert!(lease.is_held());
}

#[tokio::test(start_paused = true)]
async fn a_silent_server_does_not_keep_anybody_from_stopping_in_time() {
    let bucket = Bucket::new(TTL);
    for fault in [Fault::Silence, Fault::DoneInSilence] {
        let mut lease = held(&bucket).await;
        let begun = Instant::now();
        lease.port().always(fault);
        tokio::time::sleep(lease.pause()).await;
        let failed = lease.renew("1".into()).await;
        assert_eq!(failed, Renewal::Failed(TransportError::Timeout));
        assert_eq!(begun.elapsed(), RULES.safe);
        assert!(!lease.is_held());
        assert!(bucket.newest("k").is_some(), "nobody else can have it yet");
        bucket.remove("k");
    }
}

#[tokio::test(start_paused = true)]
async fn a_good_answer_after_the_end_brings_nothing_back() {
    let bucket = Bucket::new(TTL);
    let mut lease = held(&bucket).await;
    tokio::time::sleep(lease.pause()).await;
    // The write arrives after its sender has stopped waiting.
    let slow = Fault::Slow(Duration::from_secs(6), Duration::ZERO);
    lease.port().next(slow);
    assert_eq!(
        lease.renew("1".into()).await,
        Renewal::Failed(TransportError::Timeout)
    );
    assert!(!lease.is_held());
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(bucket.newest("k").unwrap().value, "1");
    assert_eq!(lease.give_up().await, Ok(()));
    assert_eq!(bucket.newest("k"), None, "it is found and deleted");
}

#[tokio::test(start_paused = true)]
async fn retries_are_spread() {
    let bucket = Bucket::new(TTL);
    let mut lease = held(&bucket).await;
    lease.port().always(Fault::Lost(Duration::ZERO));
    assert!(matches!(lease.renew("1".into()).await, Renewal::Failed(_)));
    let pauses: Vec<Duration> = (0..20).map(|_| lease.pause()).collect();
    let within = |pause: &Duration| (RULES.retry / 2..=RULES.retry).contains(pause);
    assert!(pauses.iter().all(within), "{pauses:?}");
    assert!(pauses.iter().any(|pause| Some(pause) != pauses.first()));
}

#[tokio::test(start_paused = true)]
async fn what_was_taken_and_never_answered_is_given_up_too() {
    let bucket = Bucket::new(TTL);
    let mut lease = lease(&bucket);
    assert_eq!(lease.give_up().await, Ok(()));
    assert!(
        lease.port().calls(Call::Read).is_empty(),
        "nothing to look for"
    );
    lease.port().next(Fault::AnswerLost(Duration::ZERO));
    assert!(lease.take("ours".into(), None).await.is_err());
    assert_eq!(lease.give_up().await, Ok(()));
    assert_eq!(bucket.newest("k"), None);
}
