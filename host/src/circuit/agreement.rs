//! Pure decisions about the shared record of a circuit.
//!
//! Times run on the local clock, from when the record was seen or from before it was sent. The
//! clocks of hosts are never compared.

use std::time::{Duration, Instant};

use mistersmith_core::limits;
use mistersmith_nats::Entry;
use mistersmith_runtime::CircuitState;

use super::breaker::State;
use super::record::Record;

/// Number of unanswered writes that are remembered.
const REMEMBERED: usize = 8;
/// The shortest wait until an open circuit ends.
const SOON: Duration = Duration::from_millis(20);

/// The record, as this host knows it.
#[derive(Debug)]
pub(super) struct Agreement {
    /// Distinguishes our right to the probe from that of others, including another plugin of this
    /// host.
    me: String,
    /// How long a circuit stays open.
    reset: Duration,
    seen: Option<Seen>,
    /// Writes whose answers were lost, with the times at which they were sent.
    unanswered: Vec<(Record, Instant)>,
}

/// The record, and the time from which its durations run.
#[derive(Debug)]
struct Seen {
    record: Option<Record>,
    /// `None` if the key has no value.
    revision: Option<u64>,
    at: Instant,
}

/// The result of a read of the record.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Look {
    /// Another writer has written since the last read.
    pub(super) changed: bool,
    /// The record is new and cannot be parsed; it counts as closed.
    pub(super) unreadable: bool,
    /// Our own write whose answer was lost and which nobody has published yet.
    pub(super) recognised: Option<Record>,
}

/// The next step of this host.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// Follow the record.
    Follow(State),
    /// Follow the record, then request the right to the probe, or renew it.
    Probe(State),
    /// Write this local state into the record.
    Write(CircuitState),
}

impl Agreement {
    pub(super) fn new(me: String, reset: Duration) -> Self {
        Self {
            me,
            reset,
            seen: None,
            unanswered: Vec::new(),
        }
    }

    pub(super) fn me(&self) -> &str {
        &self.me
    }

    /// The revision that the next write replaces.
    pub(super) fn revision(&self) -> Option<u64> {
        self.seen.as_ref().and_then(|seen| seen.revision)
    }

    /// The record that was read last.
    pub(super) fn record(&self) -> Option<&Record> {
        self.seen.as_ref().and_then(|seen| seen.record.as_ref())
    }

    /// Takes in a read of the record. A read decides nothing: each write names the revision read.
    pub(super) fn saw(&mut self, entry: Option<&Entry>, now: Instant) -> Look {
        let revision = entry.map(|entry| entry.revision);
        if self.seen.as_ref().map(|seen| seen.revision) == Some(revision) {
            return Look::default();
        }
        let renewed = self.is_mine();
        let record = entry.and_then(|entry| Record::read(&entry.value));
        let sent = self
            .unanswered
            .iter()
            .find(|(ours, _)| Some(ours) == record.as_ref())
            .map(|(_, sent)| *sent);
        let first = self.seen.is_none();
        self.seen = Some(Seen {
            record: record.clone(),
            revision,
            // Others may have seen it as early as that, and count from then.
            at: sent.unwrap_or(now),
        });
        let ours = sent.is_some();
        if ours {
            self.unanswered.clear();
        }
        Look {
            changed: !first && !ours,
            unreadable: entry.is_some() && record.is_none(),
            recognised: record.filter(|record| ours && !(renewed && is_probe(record))),
        }
    }

    /// Takes in that a write sent at `sent` was stored.
    pub(super) fn wrote(&mut self, record: Record, revision: u64, sent: Instant) {
        self.unanswered.clear();
        self.seen = Some(Seen {
            record: Some(record),
            revision: Some(revision),
            at: sent,
        });
    }

    /// Takes in that a write is about to be sent. Until its answer it may be stored or not.
    pub(super) fn sends(&mut self, record: Record, sent: Instant) {
        if self.unanswered.len() == REMEMBERED {
            self.unanswered.remove(0);
        }
        self.unanswered.push((record, sent));
    }

    /// Takes in that the last write was not stored.
    pub(super) fn was_late(&mut self) {
        self.unanswered.pop();
    }

    /// Whether this host has the right to the probe.
    pub(super) fn is_mine(&self) -> bool {
        self.record()
            .is_some_and(|record| is_probe(record) && record.probe.as_deref() == Some(&self.me))
    }

    /// How long a right that is not used yet stays usable; `None` if there is none.
    pub(super) fn unused(&self, local: State, now: Instant) -> Option<Duration> {
        let unused = matches!(
            local,
            State::HalfOpen {
                ours: true,
                begun: false
            }
        );
        unused.then(|| limits::PROBE_SAFE.saturating_sub(self.age(now)))
    }

    fn age(&self, now: Instant) -> Duration {
        let at = self.seen.as_ref().map_or(now, |seen| seen.at);
        now.saturating_duration_since(at)
    }

    /// The state that the record means on this host: an unused right ends here before others take
    /// it.
    pub(super) fn shared(&self, local: State, now: Instant) -> State {
        match self.record().map(|record| record.state) {
            Some(CircuitState::Open) => State::Open,
            Some(CircuitState::HalfOpen) => {
                let fresh = self.age(now) < limits::PROBE_SAFE;
                State::HalfOpen {
                    ours: self.is_mine() && (fresh || has_begun(local)),
                    begun: false,
                }
            }
            Some(CircuitState::Closed) | None => State::Closed { failures: 0 },
        }
    }

    /// The next step after a read of the record; `able` is whether an agent takes messages.
    pub(super) fn next(&self, local: State, look: &Look, able: bool, now: Instant) -> Action {
        match (local, self.shared(local, now)) {
            // The probe ran here.
            (State::Open, _) if self.is_mine() => Action::Write(CircuitState::Open),
            (State::Closed { .. }, _) if self.is_mine() => Action::Write(CircuitState::Closed),
            // The circuit opened here, unless another host has just closed it.
            (State::Open, State::Closed { .. }) if !look.changed => {
                Action::Write(CircuitState::Open)
            }
            (local, shared) if able && self.is_due(local, now) => Action::Probe(shared),
            (_, shared) => Action::Follow(shared),
        }
    }

    /// Whether to let a probe through here, or to report that one is still running.
    fn is_due(&self, local: State, now: Instant) -> bool {
        let wait = match self.shared(local, now) {
            State::Closed { .. } => return false,
            State::Open => self.reset,
            State::HalfOpen { .. } if !self.is_mine() => limits::PROBE_GRANT,
            State::HalfOpen { .. } if has_begun(local) => limits::PROBE_RENEWAL,
            // No message came to probe with. Others get their turn before us.
            State::HalfOpen { .. } => limits::PROBE_AGAIN,
        };
        self.age(now) >= wait
    }

    /// The wait until the next read if no change is received.
    pub(super) fn next_look(&self, local: State, now: Instant) -> Duration {
        if self.seen.is_none() {
            return limits::CIRCUIT_RETRY;
        }
        match (local, self.shared(local, now)) {
            (State::Closed { .. }, State::Closed { .. }) => limits::CIRCUIT_LOOK,
            (State::Open, State::Open) => {
                let left = self.reset.saturating_sub(self.age(now));
                left.clamp(SOON, limits::CIRCUIT_LOOK)
            }
            _ => limits::CIRCUIT_RETRY,
        }
    }
}

fn is_probe(record: &Record) -> bool {
    record.state == CircuitState::HalfOpen
}

fn has_begun(local: State) -> bool {
    matches!(local, State::HalfOpen { begun: true, .. })
}
