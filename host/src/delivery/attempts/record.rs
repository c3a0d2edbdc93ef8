//! The record of an item: its attempts, as ATTEMPTS stores them. Pure.
//!
//! Merging is idempotent: an attempt is counted once, however often and in whatever order it is
//! noted.

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::super::reason::{Reason, ReasonKind};
use super::super::retry_rule::RetryRule;
use mistersmith_core::limits;
use mistersmith_nats::DeliveryInfo;

/// The identity of a stored message. It includes the storage time, because a recreated stream
/// counts from one again.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Item {
    stream: String,
    sequence: u64,
    stored_at_ns: u64,
}

impl Item {
    /// The item of a delivery.
    pub fn of(info: &DeliveryInfo) -> Self {
        Self {
            stream: info.stream.clone(),
            sequence: info.stream_sequence,
            stored_at_ns: info.stored_at_ns,
        }
    }

    /// `<stream>.<sequence>.<stored-at ns>`.
    pub(super) fn name(&self) -> String {
        format!("{}.{}.{}", self.stream, self.sequence, self.stored_at_ns)
    }

    /// Reads [`Item::name`].
    pub(super) fn parse(name: &str) -> Option<Self> {
        let (rest, stored_at) = name.rsplit_once('.')?;
        let (stream, sequence) = rest.rsplit_once('.')?;
        Some(Self {
            stream: stream.to_owned(),
            sequence: sequence.parse().ok()?,
            stored_at_ns: stored_at.parse().ok()?,
        })
    }
}

/// One attempt: a call of the handler that began.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// When it began, RFC 3339 in UTC.
    pub at: String,
    /// The agent that was called.
    pub agent_id: String,
    /// The process that called it: `<host id>.<when the process started>`.
    pub process: String,
    /// The delivery in which it began, from 1.
    pub delivery: u64,
    /// The kind of its failure; none while its end is unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<ReasonKind>,
    /// The sentence of its failure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

impl Attempt {
    /// A copy of the attempt with its failure.
    pub fn failed(mut self, reason: &Reason) -> Self {
        let error = reason.message.chars().take(limits::MAX_ATTEMPT_ERROR);
        self.kind = Some(reason.kind);
        self.error = Some(error.collect());
        self
    }

    fn time(&self) -> Option<OffsetDateTime> {
        OffsetDateTime::parse(&self.at, &Rfc3339).ok()
    }

    /// Compares time and agent: an agent runs one attempt at a time.
    fn is_same(&self, other: &Self) -> bool {
        self.at == other.at && self.agent_id == other.agent_id
    }
}

/// The value of `item.<stream>.<sequence>.<stored-at ns>` in ATTEMPTS.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// How often the item began.
    pub begun: u32,
    /// The newest of these attempts, oldest first.
    pub attempts: Vec<Attempt>,
    /// Set when the item has failed for good and its dead letter is not stored yet: the reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sealed: Option<Reason>,
}

impl Record {
    /// Adds an attempt. A known attempt is not counted again; only its failure is taken over.
    pub fn note(&mut self, attempt: &Attempt) {
        if let Some(known) = self
            .attempts
            .iter_mut()
            .find(|known| known.is_same(attempt))
        {
            if attempt.kind.is_some() {
                attempt.clone_into(known);
            }
            return;
        }
        let dropped = usize::try_from(self.begun).is_ok_and(|all| all > self.attempts.len());
        let oldest = self.attempts.first();
        // Older than the listed attempts: it was counted and then dropped from the list.
        if dropped && oldest.is_some_and(|oldest| attempt.time() < oldest.time()) {
            return;
        }
        self.begun = self.begun.saturating_add(1);
        let time = attempt.time();
        let place = self.attempts.partition_point(|known| known.time() <= time);
        self.attempts.insert(place, attempt.clone());
        if self.attempts.len() > limits::MAX_ATTEMPTS_LISTED {
            self.attempts.remove(0);
        }
    }

    /// Merges another record of the same item.
    pub(super) fn merge(&mut self, other: &Self) {
        for attempt in &other.attempts {
            self.note(attempt);
        }
        self.begun = self.begun.max(other.begun);
        if self.sealed.is_none() {
            self.sealed.clone_from(&other.sealed);
        }
    }

    /// The reason if the item began as often as its rule allows. It must not begin again, because
    /// it may be the cause that its host ends each time.
    pub(super) fn exhausted(&self, rule: &RetryRule) -> Option<Reason> {
        (self.begun >= rule.max_deliver).then(|| {
            let last = self.attempts.last();
            let error = last.and_then(|last| last.error.as_deref());
            let error = error.unwrap_or("its process was killed, or lost its connection");
            let text = format!(
                "begun {} times, {} allowed, and never finished; the last time: {error}",
                self.begun, rule.max_deliver
            );
            Reason::new(ReasonKind::MaxDeliver, text)
        })
    }

    /// The newest attempt, if its end is unknown.
    pub(super) fn unended(&self) -> Option<&Attempt> {
        self.attempts.last().filter(|last| last.kind.is_none())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;
    use mistersmith_runtime::ExitKind;

    fn attempt(second: u32) -> Attempt {
        Attempt {
            at: format!("2026-01-01T00:00:{second:02}Z"),
            agent_id: "probe-001".to_owned(),
            process: "host-a.1".to_owned(),
            delivery: u64::from(second),
            kind: None,
            error: None,
        }
    }

    #[test]
    fn an_attempt_counts_once() {
        let mut record = Record::default();
        record.note(&attempt(1));
        record.note(&attempt(1));
        assert_eq!(record.begun, 1);
        assert!(record.unended().is_some());
        record.note(&attempt(1).failed(&Reason::new(ExitKind::Trap, "unreachable")));
        assert_eq!(record.begun, 1);
        assert_eq!(record.attempts[0].kind, Some(ExitKind::Trap.into()));
        assert_eq!(record.unended(), None);
        // An older copy of the attempt, without an end, does not remove the end.
        record.note(&attempt(1));
        assert_eq!(record.attempts[0].kind, Some(ExitKind::Trap.into()));
        let mut other = attempt(1);
        other.agent_id = "probe-002".to_owned();
        record.note(&other);
        assert_eq!(record.begun, 2);
    }

    #[test]
    fn the_list_is_bounded_and_the_count_is_not() {
        let mut record = Record::default();
        for second in 1..40 {
            record.note(&attempt(second));
        }
        assert_eq!(record.begun, 39);
        assert_eq!(record.attempts.len(), limits::MAX_ATTEMPTS_LISTED);
        assert_eq!(record.attempts.last(), Some(&attempt(39)));
        record.note(&attempt(3));
        assert_eq!(record.begun, 39, "it was counted when it was listed");
        let long = "é".repeat(9999);
        let failed = attempt(1).failed(&Reason::new(ExitKind::Trap, long));
        let length = failed.error.unwrap().chars().count();
        assert_eq!(length, limits::MAX_ATTEMPT_ERROR);
    }

    #[test]
    fn an_item_that_never_finished_is_not_begun_once_more() {
        let rule = RetryRule {
            max_deliver: 3,
            backoff: Vec::new(),
        };
        let begun = |begun| Record {
            begun,
            ..Record::default()
        };
        assert_eq!(begun(2).exhausted(&rule), None);
        assert!(begun(3).exhausted(&rule).is_some());
    }

    #[test]
    fn two_records_of_an_item_are_one() {
        let (mut one, mut two) = (Record::default(), Record::default());
        one.note(&attempt(1));
        two.note(&attempt(1).failed(&Reason::new(ExitKind::Trap, "x")));
        two.note(&attempt(2));
        two.sealed = Some(Reason::new(ReasonKind::Rejected, "no"));
        one.merge(&two);
        assert_eq!(one, two);
    }

    #[test]
    fn an_item_has_a_name() {
        let item = Item {
            stream: "WORK_QUEUE".to_owned(),
            sequence: 17,
            stored_at_ns: 1_790_230_470_084_404_000,
        };
        assert_eq!(item.name(), "WORK_QUEUE.17.1790230470084404000");
        assert_eq!(Item::parse(&item.name()), Some(item));
        for bad in ["", "a", "a.b", "a.1", "a.b.1", "a.1.b"] {
            assert_eq!(Item::parse(bad), None, "{bad}");
        }
    }
}
