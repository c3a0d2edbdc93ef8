//! Random faults: no term has two leaders.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

/// A time in the middle of a case, in milliseconds.
const MIDDLE: std::ops::Range<u64> = 5_000..50_000;

fn fault() -> impl Strategy<Value = Option<Fault>> {
    let ms = |range: std::ops::Range<u64>| range.prop_map(Duration::from_millis);
    prop_oneof![
        4 => Just(None),
        2 => (ms(0..6_000), ms(0..20_000)).prop_map(|(there, back)| Some(Fault::Slow(there, back))),
        1 => ms(0..8_000).prop_map(|after| Some(Fault::Lost(after))),
        2 => ms(0..8_000).prop_map(|after| Some(Fault::AnswerLost(after))),
    ]
}

/// The faults of one host: on the way to its lease and to the record, the time at which its agent
/// is paused, and the time at which it loses its server for longer than a lease lives.
#[derive(Debug, Clone)]
struct Ways {
    lease: Vec<Option<Fault>>,
    term: Vec<Option<Fault>>,
    paused: Option<u64>,
    cut_off: Option<u64>,
}

fn ways() -> impl Strategy<Value = Ways> {
    let faults = |most| prop::collection::vec(fault(), 0..most);
    let time = || prop::option::of(MIDDLE);
    let all = (faults(14), faults(6), time(), time());
    all.prop_map(|(lease, term, paused, cut_off)| Ways {
        lease,
        term,
        paused,
        cut_off,
    })
}

/// Runs two candidates for a minute, sampled every tenth of a second.
async fn play(ways: [Ways; 2], emptied: Option<(u64, bool)>) -> Result<(), TestCaseError> {
    let bed = Bed::new();
    let mut hosts = Vec::new();
    for (id, ways) in ["one-001", "two-001"].into_iter().zip(ways) {
        let host = bed.host_with(id, |lease, term| {
            ways.lease.into_iter().for_each(|fault| lease.next(fault));
            ways.term.into_iter().for_each(|fault| term.next(fault));
        });
        hosts.push((host, ways.paused, ways.cut_off));
    }
    let mut terms: BTreeMap<u64, usize> = BTreeMap::new();
    for ms in (0..60_000_u64).step_by(100) {
        let at = |time: Option<u64>| time.is_some_and(|time| time / 100 == ms / 100);
        if at(emptied.map(|(time, _)| time)) {
            bed.leases.remake();
            if emptied.is_some_and(|(_, both)| both) {
                bed.claims.remake();
            }
        }
        for (host, paused, cut_off) in &hosts {
            if at(*cut_off) {
                host.lease.always(Fault::Lost(Duration::from_millis(700)));
            } else if at(cut_off.map(|cut_off| cut_off + 25_000)) {
                host.lease.always(None);
            }
            if at(*paused) {
                host.agent.state.pause(true);
            } else if at(paused.map(|paused| paused + 7_000)) {
                host.agent.state.pause(false);
            }
        }
        let leads = hosts.iter().enumerate();
        let leads: Vec<(usize, u64)> = leads
            .filter_map(|(who, (host, ..))| Some((who, host.leads()?)))
            .collect();
        // A bucket emptied by hand frees a key whose owner still relies on it; the two then have
        // different terms.
        prop_assert!(
            leads.len() < 2 || emptied.is_some(),
            "two leaders: {:?}",
            leads
        );
        for (who, term) in leads {
            let newest = terms.last_key_value().map_or(0, |(newest, _)| *newest);
            let led = terms.entry(term).or_insert(who);
            prop_assert_eq!(*led, who, "a term has one leader");
            prop_assert!(term >= newest || emptied.is_some(), "terms grow");
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    for (host, ..) in hosts {
        host.task.abort();
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Two candidates on one bucket, with slow, lost and unanswered writes, paused agents and
    /// emptied buckets: no term has two leaders.
    #[test]
    fn two_candidates_never_lead_one_term(
        one in ways(),
        two in ways(),
        emptied in prop::option::weighted(0.3, (MIDDLE, any::<bool>())),
    ) {
        let paused = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        paused.block_on(play([one, two], emptied))?;
    }
}
