//! The record of an item: which attempts it has had. Pure.

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::limits;
use crate::patterns::disposition::Reason;
use crate::transport::Meta;

/// Which message of which stream. The time belongs to it, because a stream that is made again
/// counts from one again.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Item {
    stream: String,
    sequence: u64,
    stored_at_ns: u64,
}

impl Item {
    /// The item that was delivered.
    pub fn of(meta: &Meta) -> Self {
        Self {
            stream: meta.stream.clone(),
            sequence: meta.stream_sequence,
            stored_at_ns: meta.stored_at_ns,
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
    /// Why it failed: a word. None while nobody knows how it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Why it failed: a sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

impl Attempt {
    /// The same attempt, which has failed.
    pub fn failed(mut self, reason: &Reason) -> Self {
        let error = reason.message.chars().take(limits::MAX_ATTEMPT_ERROR);
        self.kind = Some(reason.kind.clone());
        self.error = Some(error.collect());
        self
    }

    fn time(&self) -> Option<OffsetDateTime> {
        OffsetDateTime::parse(&self.at, &Rfc3339).ok()
    }

    /// An agent makes one attempt at a time, so that the time tells its attempts apart.
    fn is_same(&self, other: &Self) -> bool {
        self.at == other.at && self.agent_id == other.agent_id
    }
}

/// The value of `item.<stream>.<sequence>.<stored-at ns>` in ATTEMPTS.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// How often the item was begun.
    pub begun: u32,
    /// The newest of these attempts, oldest first.
    pub attempts: Vec<Attempt>,
    /// The item has failed for good, and its dead letter could not be stored yet: why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sealed: Option<Reason>,
}

impl Record {
    /// Takes an attempt in. One that is known already is not counted again; its end is taken over.
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
        // Older than what is listed: it was counted, and is no longer listed.
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

    /// Takes in what another record of the same item knows.
    pub(super) fn merge(&mut self, other: &Self) {
        for attempt in &other.attempts {
            self.note(attempt);
        }
        self.begun = self.begun.max(other.begun);
        if self.sealed.is_none() {
            self.sealed.clone_from(&other.sealed);
        }
    }

    /// The newest attempt, if nobody knows how it ended.
    pub(super) fn unended(&self) -> Option<&Attempt> {
        self.attempts.last().filter(|last| last.kind.is_none())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;

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
        record.note(&attempt(1).failed(&Reason::new("trap", "unreachable")));
        assert_eq!(record.begun, 1);
        assert_eq!(record.attempts[0].kind.as_deref(), Some("trap"));
        assert_eq!(record.unended(), None);
        // An older word of it does not take its end away.
        record.note(&attempt(1));
        assert_eq!(record.attempts[0].kind.as_deref(), Some("trap"));
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
        let failed = attempt(1).failed(&Reason::new("trap", long));
        let length = failed.error.unwrap().chars().count();
        assert_eq!(length, limits::MAX_ATTEMPT_ERROR);
    }

    #[test]
    fn two_records_of_an_item_are_one() {
        let (mut one, mut two) = (Record::default(), Record::default());
        one.note(&attempt(1));
        two.note(&attempt(1).failed(&Reason::new("trap", "x")));
        two.note(&attempt(2));
        two.sealed = Some(Reason::new("rejected", "no"));
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
