//! Pull scheduling: smooth weighted round robin over the consumers of a plugin, as pure decisions.
//!
//! JetStream has no message priority, so each priority has its own consumer, and the host
//! distributes its pulls over those with a backlog in the ratio 8:4:2:1. Strict priority would
//! starve the low ones; here the lowest weight still gets its share, and the weight of a waiting
//! consumer grows ([`AGEING`]) until it is as urgent as a critical one.

use std::iter::zip;
use std::time::Duration;

use mistersmith_core::limits;
use mistersmith_core::names::Priority;

/// The weight of a consumer with a backlog grows by its own size for each such span without a pull.
pub(super) const AGEING: Duration = Duration::from_secs(5);

/// One consumer's state in the rotation.
#[derive(Debug, Clone)]
pub(super) struct Turn {
    weight: i64,
    credit: i64,
    waited: Duration,
}

impl Turn {
    /// A consumer of this priority, without credit.
    pub(super) fn new(priority: Priority) -> Self {
        Self {
            weight: i64::from(priority.weight()),
            credit: 0,
            waited: Duration::ZERO,
        }
    }

    /// Sets how long the consumer has had a backlog without being pulled.
    pub(super) fn waited(&mut self, waited: Duration) {
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

/// The running pull of a consumer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pulling {
    /// No running pull.
    No,
    /// A standing poll: one message, as soon as there is one.
    LongPoll,
    /// A pull for this many messages.
    Batch(usize),
}

/// The state of the agents and of the messages between them and the consumers.
#[derive(Debug, Clone, Copy)]
pub(super) struct Demand {
    /// Active agents, idle or busy.
    pub(super) taking: usize,
    /// Agents that wait for a message.
    pub(super) idle: usize,
    /// Messages that wait for an agent.
    pub(super) waiting: usize,
    /// Messages in intake.
    pub(super) arriving: usize,
    /// The mean duration of a call, once there was one.
    pub(super) mean_call: Option<Duration>,
    /// Messages that the circuit allows to wait or be in flight.
    pub(super) circuit: usize,
    /// So many settlements are pending that no further items may begin.
    pub(super) is_stuck: bool,
}

impl Demand {
    /// Number of messages to request besides the `asked` already in flight. None: nothing can
    /// start, so standing polls are cancelled.
    pub(super) fn room(&self, asked: usize) -> Option<usize> {
        if self.taking == 0 || self.circuit == 0 || self.is_stuck {
            return None;
        }
        let held = self.waiting.saturating_add(self.arriving);
        let room = room(self.taking, self.idle, held, asked, self.mean_call);
        let elsewhere = self.waiting.saturating_add(asked);
        Some(room.min(self.circuit.saturating_sub(elsewhere)))
    }
}

/// The input of the scheduling decision for one consumer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Candidate {
    /// A pull may start: none is running, and no pause after an error applies.
    pub(super) is_open: bool,
    /// Estimated number of its messages.
    pub(super) backlog: u64,
    /// Time since it has had a backlog without being pulled.
    pub(super) waited: Duration,
}

/// The pulls to start, for at most `room` messages: batches from consumers with a backlog, and a
/// standing poll at each consumer that seems empty.
pub(super) fn starts(
    turns: &mut [Turn],
    candidates: &[Candidate],
    room: usize,
) -> impl Iterator<Item = (usize, Pulling)> {
    let mut backlog = Vec::with_capacity(candidates.len());
    for (turn, candidate) in zip(turns.iter_mut(), candidates) {
        turn.waited(candidate.waited);
        let counts = candidate.is_open;
        backlog.push(if counts { candidate.backlog } else { 0 });
    }
    let shares = distribute(turns, &backlog, room);
    let pulls = zip(candidates, shares).map(|(candidate, share)| match share {
        1.. => Pulling::Batch(share),
        0 if candidate.is_open && candidate.backlog == 0 => Pulling::LongPoll,
        0 => Pulling::No,
    });
    let pulls = pulls.enumerate();
    pulls.filter(|(_, pull)| *pull != Pulling::No)
}

/// Distributes `room` messages over the consumers with a backlog.
///
/// `backlog[i]` is the estimated number of messages of consumer `i`; the result never exceeds it,
/// and sums to at most `room`. The slices have the same length; a missing entry of `backlog` counts
/// as zero.
pub(super) fn distribute(turns: &mut [Turn], backlog: &[u64], room: usize) -> Vec<usize> {
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
            // On a tie the first wins: critical comes first.
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

/// Number of further messages to request.
///
/// Each idle agent can start one. Beyond that, only as many as the agents will start within
/// [`limits::PREFETCH_SPAN`], by the mean duration of a call: slow work is never held back from
/// other hosts, fast work does not wait for a round trip per message. `held` are the messages that
/// wait here for an agent, `asked` those in flight.
pub(super) fn room(
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
        assert_eq!(distribute(&mut four(), &[1000; 4], 150), [80, 40, 20, 10]);
    }

    #[test]
    fn single_pulls_over_time_are_shared_by_weight_too() {
        let mut turns = four();
        let mut sum = [0; 4];
        for _ in 0..150 {
            for (s, n) in sum.iter_mut().zip(distribute(&mut turns, &[1000; 4], 1)) {
                *s += n;
            }
        }
        assert_eq!(sum, [80, 40, 20, 10]);
    }

    #[test]
    fn critical_is_first() {
        assert_eq!(distribute(&mut four(), &[9; 4], 1), [1, 0, 0, 0]);
    }

    #[test]
    fn nobody_is_asked_for_more_than_there_is() {
        assert_eq!(distribute(&mut four(), &[2, 0, 1, 5], 100), [2, 0, 1, 5]);
    }

    #[test]
    fn low_work_alone_gets_everything() {
        assert_eq!(distribute(&mut four(), &[0, 0, 0, 7], 5), [0, 0, 0, 5]);
    }

    #[test]
    fn who_waited_becomes_as_urgent_as_critical() {
        let mut turns = four();
        turns[3].waited(AGEING * 20);
        let shares = distribute(&mut turns, &[1000; 4], 22);
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
