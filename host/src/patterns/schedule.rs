//! Which consumer is pulled next, and for how many messages: pure decisions.
//!
//! JetStream has no message priority, so each priority is a consumer of its own and the host
//! shares its pulls out among those that have a backlog: smooth weighted round robin, 8:4:2:1.
//! Strict priority would starve the low ones; here the lowest weight still gets its share, and a
//! consumer that has waited gains weight ([`AGEING`]) until it is as urgent as a critical one.

use std::time::Duration;

use crate::limits;
use crate::names::Priority;

/// For each such span that a consumer with a backlog was not pulled its weight grows by its own size.
pub const AGEING: Duration = Duration::from_secs(5);

/// One consumer's place in the rotation.
#[derive(Debug, Clone)]
pub struct Turn {
    weight: i64,
    credit: i64,
    waited: Duration,
}

impl Turn {
    /// A consumer of this priority, with no claim yet.
    pub fn new(priority: Priority) -> Self {
        Self {
            weight: i64::from(priority.weight()),
            credit: 0,
            waited: Duration::ZERO,
        }
    }

    /// Tells how long the consumer has had a backlog without being pulled.
    pub fn waited(&mut self, waited: Duration) {
        self.waited = waited;
    }

    fn effective(&self) -> i64 {
        let steps = i64::try_from(self.waited.as_millis() / AGEING.as_millis()).unwrap_or(i64::MAX);
        let top = i64::from(Priority::Critical.weight());
        self.weight
            .saturating_mul(steps.saturating_add(1))
            .min(top.max(self.weight))
    }
}

/// Shares `room` messages out among the consumers that have a backlog.
///
/// `backlog[i]` is how many messages consumer `i` is believed to have; the answer never asks for
/// more than that, and sums to at most `room`. The slices have the same length; what is missing in
/// `backlog` counts as nothing.
pub fn allot(turns: &mut [Turn], backlog: &[u64], room: usize) -> Vec<usize> {
    let mut shares = vec![0usize; turns.len()];
    for _ in 0..room {
        let open = |i: usize, shares: &[usize]| {
            let taken = shares.get(i).copied().unwrap_or(0) as u64;
            backlog.get(i).is_some_and(|b| *b > taken)
        };
        let mut total = 0;
        let mut best: Option<(usize, i64)> = None;
        for (i, turn) in turns.iter_mut().enumerate() {
            if !open(i, &shares) {
                continue;
            }
            let weight = turn.effective();
            turn.credit += weight;
            total += weight;
            // On a tie the first wins: critical stands first.
            if best.is_none_or(|(_, credit)| turn.credit > credit) {
                best = Some((i, turn.credit));
            }
        }
        let Some((chosen, _)) = best else { break };
        if let (Some(turn), Some(share)) = (turns.get_mut(chosen), shares.get_mut(chosen)) {
            turn.credit -= total;
            *share += 1;
        }
    }
    shares
}

/// How many more messages may be asked for.
///
/// The agents that are idle can start one each. Beyond that only what they will have started
/// within [`limits::PREFETCH_SPAN`], judged by the mean time of a call: slow work is never held
/// back from other hosts, fast work does not wait for a round trip per message. `held` are the
/// messages that wait here for an agent, `asked` those that are on their way.
pub fn room(
    agents: usize,
    idle: usize,
    held: usize,
    asked: usize,
    mean_call: Option<Duration>,
) -> usize {
    let ahead = match mean_call {
        Some(mean) if agents > 0 => {
            let calls = limits::PREFETCH_SPAN.as_nanos() / mean.as_nanos().max(1);
            usize::try_from(calls)
                .unwrap_or(usize::MAX)
                .saturating_mul(agents)
                .min(limits::PREFETCH_MAX)
        }
        _ => 0,
    };
    (idle.saturating_add(ahead)).saturating_sub(held.saturating_add(asked))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;

    fn four() -> Vec<Turn> {
        Priority::ALL.iter().map(|p| Turn::new(*p)).collect()
    }

    #[test]
    fn a_backlog_everywhere_is_shared_by_weight() {
        assert_eq!(allot(&mut four(), &[1000; 4], 150), [80, 40, 20, 10]);
    }

    #[test]
    fn single_pulls_over_time_are_shared_by_weight_too() {
        let mut turns = four();
        let mut sum = [0; 4];
        for _ in 0..150 {
            for (s, n) in sum.iter_mut().zip(allot(&mut turns, &[1000; 4], 1)) {
                *s += n;
            }
        }
        assert_eq!(sum, [80, 40, 20, 10]);
    }

    #[test]
    fn critical_is_first() {
        assert_eq!(allot(&mut four(), &[9; 4], 1), [1, 0, 0, 0]);
    }

    #[test]
    fn nobody_is_asked_for_more_than_there_is() {
        assert_eq!(allot(&mut four(), &[2, 0, 1, 5], 100), [2, 0, 1, 5]);
    }

    #[test]
    fn low_work_alone_gets_everything() {
        assert_eq!(allot(&mut four(), &[0, 0, 0, 7], 5), [0, 0, 0, 5]);
    }

    #[test]
    fn who_waited_becomes_as_urgent_as_critical() {
        let mut turns = four();
        turns[3].waited(AGEING * 20);
        let shares = allot(&mut turns, &[1000; 4], 22);
        assert_eq!(shares[3], shares[0]);
    }

    #[test]
    fn room_follows_the_speed_of_the_work() {
        let cases = [
            // agents, idle, held, asked, mean, room
            (4, 4, 0, 0, None, 4),
            (4, 1, 0, 1, None, 0),
            (4, 0, 0, 0, Some(Duration::from_secs(5)), 0),
            (1, 1, 0, 0, Some(limits::PREFETCH_SPAN), 2),
            (
                1,
                0,
                limits::PREFETCH_MAX,
                0,
                Some(Duration::from_micros(1)),
                0,
            ),
            (1, 0, 0, 0, Some(Duration::ZERO), limits::PREFETCH_MAX),
            (0, 0, 0, 0, Some(Duration::from_micros(1)), 0),
        ];
        for (agents, idle, held, asked, mean, expected) in cases {
            assert_eq!(
                room(agents, idle, held, asked, mean),
                expected,
                "{agents} {idle} {mean:?}"
            );
        }
    }
}
