//! Tests of hosts that share a circuit: paused time, a bucket in memory.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod bed;

use std::time::Duration;

use proptest::prelude::*;

use mistersmith_core::limits;

use super::super::CallResult;
use super::*;
use crate::kv_key::memory::{Call, Fault};
use bed::*;

#[tokio::test(start_paused = true)]
async fn failures_in_a_row_open_it_on_every_host() {
    let bed = Bed::new();
    let hosts = bed.hosts(3).await;
    hosts[0].calls(FAILURES - 1, CallResult::Failed);
    hosts[0].calls(1, CallResult::Well);
    hosts[0].calls(FAILURES - 1, CallResult::Failed);
    sleep(SOON).await;
    assert_eq!(bed.state(), None, "not in a row");
    hosts[0].calls(1, CallResult::Failed);
    assert_eq!(hosts[0].state(), CircuitState::Open);
    sleep(SOON * 2).await;
    assert_eq!(bed.state(), Some(CircuitState::Open));
    assert!(hosts.iter().all(|host| host.state() == CircuitState::Open));
    let record = Record::read(&bed.bucket.newest(KEY).unwrap().value).unwrap();
    assert_eq!(
        (record.error.as_str(), record.agent_id.as_str()),
        ("it broke", "a-001")
    );
    // Two hosts fail at the same moment: only one of them writes.
    assert_eq!(bed.count("open"), 1);
    let bed = Bed::new();
    let hosts = bed.hosts(2).await;
    hosts.iter().for_each(Host::opens);
    sleep(SOON * 2).await;
    assert_eq!(
        (bed.count("open"), bed.state()),
        (1, Some(CircuitState::Open))
    );
}

#[tokio::test(start_paused = true)]
async fn one_probe_across_hosts_decides() {
    for (call_result, state) in [
        (CallResult::Well, CircuitState::Closed),
        (CallResult::Failed, CircuitState::Open),
    ] {
        let bed = Bed::new();
        let hosts = bed.hosts(3).await;
        hosts[1].opens();
        sleep(RESET - SOON).await;
        assert!(!hosts.iter().any(Host::lets_through), "not before `reset`");
        let at = probing(&hosts, SOON * 4).await;
        assert_eq!(bed.count("half-open"), 1);
        let probe = hosts[at].begin();
        assert!(hosts[at].gate.begin().is_none(), "one alone");
        sleep(SOON * 2).await;
        assert!(!hosts.iter().any(Host::lets_through));
        probe.ended("a-001", call_result, Some("still broken"));
        sleep(SOON * 2).await;
        assert!(
            hosts.iter().all(|host| host.state() == state),
            "{call_result:?}"
        );
        assert_eq!(bed.state(), Some(state));
        if call_result == CallResult::Failed {
            sleep(RESET - SOON * 4).await;
            assert!(!hosts.iter().any(Host::lets_through), "another `reset`");
            probing(&hosts, SOON * 8).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_right_that_is_not_used_goes_to_another_host() {
    let bed = Bed::new();
    let hosts = bed.hosts(2).await;
    let first = half_open(&hosts).await;
    let begun = clock();
    while hosts[first].lets_through() {
        sleep(SOON / 2).await;
    }
    let lasted = clock() - begun;
    assert!(lasted <= limits::PROBE_SAFE, "{lasted:?}");
    let second = probing(&hosts, limits::PROBE_GRANT).await;
    assert_ne!(first, second);
    assert!(clock() - begun >= limits::PROBE_GRANT - SOON);
    let third = probing(&hosts[first..=first], limits::PROBE_GRANT * 2).await;
    assert_eq!(third, 0, "in turns");
}

#[tokio::test(start_paused = true)]
async fn a_long_probe_is_renewed_and_a_dead_one_is_followed() {
    let bed = Bed::new();
    let mut hosts = bed.hosts(2).await;
    let at = half_open(&hosts).await;
    let probe = hosts[at].begin();
    for _ in 0..60 {
        sleep(Duration::from_secs(1)).await;
        assert!(!hosts.iter().any(Host::lets_through));
    }
    assert_eq!(bed.count("half-open"), 1, "renewals are no events");
    let renewed = hosts[at].key.calls(Call::Update).len();
    assert!((20..40).contains(&renewed), "every two seconds: {renewed}");
    // The host dies during its probe.
    drop(hosts.remove(at));
    let begun = clock();
    probing(&hosts, limits::PROBE_GRANT + limits::CIRCUIT_RETRY).await;
    assert!(clock() - begun >= limits::PROBE_GRANT - limits::PROBE_RENEWAL);
    drop(probe);
}

#[tokio::test(start_paused = true)]
async fn a_host_keeps_to_what_it_decided_while_the_store_is_away() {
    let bed = Bed::new();
    let hosts = bed.hosts(2).await;
    hosts[0].key.always(Fault::Lost(Duration::from_secs(1)));
    hosts[0].opens();
    sleep(RESET * 4).await;
    assert_eq!(
        hosts[0].state(),
        CircuitState::Open,
        "and nobody grants a probe"
    );
    assert_eq!((bed.state(), hosts[1].lets_through()), (None, true));
    hosts[0].key.always(None);
    sleep(limits::CIRCUIT_LOOK + Duration::from_secs(2)).await;
    assert_eq!(hosts[1].state(), CircuitState::Open);
    assert_eq!(bed.count("open"), 1);
}

#[tokio::test(start_paused = true)]
async fn a_silent_store_takes_the_right_to_the_probe_away_in_time() {
    for fault in [Fault::Silence, Fault::Lost(Duration::from_secs(8))] {
        let bed = Bed::new();
        let hosts = bed.hosts(2).await;
        let at = half_open(&hosts).await;
        hosts[at].key.always(fault);
        sleep(limits::PROBE_SAFE + SOON).await;
        assert!(!hosts[at].lets_through(), "{fault:?}");
        assert_ne!(probing(&hosts, limits::PROBE_GRANT).await, at);
    }
}

#[tokio::test(start_paused = true)]
async fn a_write_whose_answer_is_lost_is_recognised() {
    let bed = Bed::new();
    let hosts = bed.hosts(2).await;
    hosts[0].key.next(None);
    hosts[0].key.next(Fault::AnswerLost(Duration::from_secs(1)));
    hosts[0].opens();
    sleep(Duration::from_secs(3)).await;
    assert_eq!(
        (bed.state(), bed.count("open")),
        (Some(CircuitState::Open), 1)
    );
    // The right to the probe, with an answer lost early and one lost late.
    for (lost, granted) in [(1, true), (5, false)] {
        let bed = Bed::new();
        let host = bed.host("h").await;
        host.opens();
        sleep(RESET - SOON * 2).await;
        host.key
            .writes(Fault::AnswerLost(Duration::from_secs(lost)));
        sleep(SOON * 4).await;
        host.key.writes(None);
        let begun = clock();
        let mut let_through = false;
        while clock() - begun < limits::PROBE_GRANT {
            let_through |= host.lets_through();
            let over = clock() - begun > limits::PROBE_SAFE;
            assert!(!(over && host.lets_through()), "others may have it: {lost}");
            sleep(SOON / 2).await;
        }
        assert_eq!(let_through, granted, "{lost}");
        assert_eq!(bed.count("half-open"), 1, "{lost}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_record_that_is_deleted_closes_it_and_an_unreadable_one_counts_as_closed() {
    for unreadable in [false, true] {
        let bed = Bed::new();
        let hosts = bed.hosts(2).await;
        hosts[0].opens();
        sleep(Duration::from_secs(1)).await;
        if unreadable {
            bed.bucket.put(KEY, "ajar");
        } else {
            bed.bucket.remove(KEY);
        }
        sleep(SOON * 2).await;
        assert!(hosts.iter().all(Host::lets_through), "{unreadable}");
        hosts[1].opens();
        sleep(SOON * 2).await;
        assert_eq!(bed.state(), Some(CircuitState::Open));
    }
}

fn fault() -> impl Strategy<Value = Option<Fault>> {
    let ms = |range: std::ops::Range<u64>| range.prop_map(Duration::from_millis);
    prop_oneof![
        4 => Just(None),
        2 => (ms(0..500), ms(0..8_000)).prop_map(|(there, back)| Some(Fault::Slow(there, back))),
        1 => ms(0..8_000).prop_map(|after| Some(Fault::Lost(after))),
        2 => ms(0..8_000).prop_map(|after| Some(Fault::AnswerLost(after))),
    ]
}

/// Three hosts without work, with faults from when the first right to a probe is due.
async fn play(faults: Vec<Vec<Option<Fault>>>) -> Result<(), TestCaseError> {
    let bed = Bed::new();
    let hosts = bed.hosts(3).await;
    hosts[0].opens();
    sleep(RESET - Duration::from_secs(1)).await;
    for (host, faults) in hosts.iter().zip(faults) {
        faults.into_iter().for_each(|fault| host.key.next(fault));
    }
    for _ in 0..1_200 {
        let let_through = hosts.iter().filter(|host| host.lets_through()).count();
        prop_assert!(let_through < 2, "two probes");
        sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    /// Slow, lost or unanswered writes never give two hosts the right to the probe.
    #[test]
    fn never_two_probes_across_hosts(
        faults in prop::collection::vec(prop::collection::vec(fault(), 0..20), 3),
    ) {
        let paused = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        paused.block_on(play(faults))?;
    }
}
