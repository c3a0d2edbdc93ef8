//! The record of a join, and the transition for each arrival: pure decisions.
//!
//! The record alone decides. Whether a message completes the join, was counted before, is a
//! duplicate or is too late follows from its sequence in the stream, so that each of its deliveries
//! has the same outcome on every host. Times are those at which the stream stored messages: no
//! host's clock takes part.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use mistersmith_core::config::{JoinSpec, Missing};

/// The value of `<workflow>.<stage>` in PIPELINES.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    /// The branches that have arrived, by the stage that sent them.
    pub branches: BTreeMap<String, Branch>,
    /// When the first branch was stored.
    pub opened_at: Moment,
    /// When the join ends without the missing branches.
    pub deadline: Moment,
    /// The request id of the workflow.
    pub request_id: String,
    /// Branches that have failed for good, with the reason. They arrive only if their dead letters
    /// are sent again.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub failed: BTreeMap<String, Failure>,
    /// The dead letter of the join that was sent again last, by the sequence of its message in
    /// COORDINATION.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reopened: Option<u64>,
    /// The end of the join, once it has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closed: Option<Closed>,
}

/// A branch that has arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Branch {
    /// The sequence of its message in COORDINATION.
    pub sequence: u64,
    /// Its step number in the workflow.
    pub n: u8,
    /// The message is a dead letter of the join, which holds this branch among others.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub letter: bool,
}

/// A branch that has failed for good.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Failure {
    /// The sequence of the message in COORDINATION that reports it.
    pub sequence: u64,
    /// The reason.
    pub error: String,
}

/// The end of a join.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Closed {
    /// The message that ended it: the last branch, or the deadline. It is the one that is handled.
    pub by: u64,
    /// The outcome.
    pub how: How,
}

/// The outcome of a join.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum How {
    /// Every branch has arrived.
    Complete,
    /// The deadline has passed, or all missing branches have failed; the stage runs with the
    /// branches it has.
    Partial,
    /// The deadline has passed, or a branch has failed; the workflow fails, unless the missing
    /// branches still arrive.
    Failed,
}

/// A point in time, serialized for people as RFC 3339 in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub(super) struct Moment(OffsetDateTime);

impl Moment {
    /// Converts the nanoseconds since 1970 that a stream reports.
    pub(super) fn of(ns: u64) -> Self {
        let time = OffsetDateTime::from_unix_timestamp_nanos(i128::from(ns));
        Self(time.unwrap_or(OffsetDateTime::UNIX_EPOCH))
    }

    /// Nanoseconds since 1970.
    pub(super) fn nanos(self) -> i128 {
        self.0.unix_timestamp_nanos()
    }

    /// This moment plus `wait`.
    fn after(self, wait: Duration) -> Self {
        Self(
            self.0
                .saturating_add(wait.try_into().unwrap_or(time::Duration::MAX)),
        )
    }

    /// Time elapsed since this moment; none when it lies in the future.
    pub(super) fn overdue(self, now: OffsetDateTime) -> Option<Duration> {
        (now - self.0).try_into().ok()
    }
}

impl From<Moment> for String {
    fn from(moment: Moment) -> Self {
        // Formatting fails only for years beyond 9999.
        moment.0.format(&Rfc3339).unwrap_or_default()
    }
}

impl TryFrom<String> for Moment {
    type Error = time::error::Parse;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        OffsetDateTime::parse(&text, &Rfc3339).map(Self)
    }
}

/// A message at a joining stage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct JoinInput<'a> {
    /// Its kind.
    pub what: InputKind<'a>,
    /// Its sequence in COORDINATION.
    pub sequence: u64,
    /// Its step number in the workflow.
    pub n: u8,
    /// When the stream stored it.
    pub stored_at: Moment,
    /// Its request id.
    pub request_id: &'a str,
}

/// The kind of a message at a joining stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum InputKind<'a> {
    /// The output of this stage, which is one of the branches.
    Branch(&'a str),
    /// A host's notice that the deadline has passed.
    Deadline,
    /// A host's notice that this branch has failed for good, and the reason.
    Failed(&'a str, &'a str),
    /// A dead letter of the join that was sent again, with these branches.
    Letter(&'a [String]),
}

/// The decision for an arrival.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Decision {
    /// Write this record, then decide again.
    Write(Record),
    /// Run the stage with the branches of the record.
    Run,
    /// The workflow fails here: branches are missing.
    Fail,
    /// No branch arrived and none will: notify the stages that follow this one.
    PassOn,
    /// The arrival is counted, and others are still missing.
    Wait,
    /// Another message of the same branch was counted.
    Duplicate,
    /// The join ended without this branch.
    Late,
    /// The deadline is not due, or belongs to no join, or to one that has ended.
    Void,
}

/// Decides what happens to an arrival.
pub(super) fn step(record: Option<&Record>, arrival: &JoinInput<'_>, join: &JoinSpec) -> Decision {
    if let Some(record) = record
        && let Some(closed) = record.closed
        && closed.by == arrival.sequence
    {
        return match closed.how {
            How::Complete | How::Partial => Decision::Run,
            How::Failed if record.branches.is_empty() => Decision::PassOn,
            How::Failed => Decision::Fail,
        };
    }
    match arrival.what {
        InputKind::Branch(name) => branch(record, name, arrival, join),
        InputKind::Deadline => deadline(record, arrival, join),
        InputKind::Failed(name, error) => failure(record, (name, error), arrival, join),
        InputKind::Letter(names) => letter(record, names, arrival, join),
    }
}

/// Transition for the output of a branch. It reopens a join that failed without it.
fn branch(
    record: Option<&Record>,
    name: &str,
    arrival: &JoinInput<'_>,
    join: &JoinSpec,
) -> Decision {
    let mut record = match record {
        None => opened(arrival, join),
        Some(record) => match (record.branches.get(name), record.closed) {
            (Some(known), _) if known.sequence == arrival.sequence => return Decision::Wait,
            (Some(_), _) => return Decision::Duplicate,
            (None, None) => record.clone(),
            (None, Some(closed)) if closed.how == How::Failed => reopened(record, arrival, join),
            (None, Some(_)) => return Decision::Late,
        },
    };
    // The branch has arrived, so an earlier report of its failure no longer applies.
    record.failed.remove(name);
    let (sequence, n) = (arrival.sequence, arrival.n);
    let branch = Branch {
        sequence,
        n,
        letter: false,
    };
    record.branches.insert(name.to_owned(), branch);
    Decision::Write(decided(record, sequence, join))
}

/// Transition for a deadline. A join without branches has no deadline.
fn deadline(record: Option<&Record>, arrival: &JoinInput<'_>, join: &JoinSpec) -> Decision {
    let open = record.filter(|record| record.closed.is_none() && !record.branches.is_empty());
    let Some(record) = open.filter(|record| arrival.stored_at >= record.deadline) else {
        return Decision::Void;
    };
    let how = match join.missing {
        Missing::Continue => How::Partial,
        Missing::Fail => How::Failed,
    };
    let by = arrival.sequence;
    Decision::Write(Record {
        closed: Some(Closed { by, how }),
        ..record.clone()
    })
}

/// Transition for a branch that has failed for good.
fn failure(
    record: Option<&Record>,
    (name, error): (&str, &str),
    arrival: &JoinInput<'_>,
    join: &JoinSpec,
) -> Decision {
    let mut record = match record {
        None => opened(arrival, join),
        Some(record) if record.closed.is_some() || record.branches.contains_key(name) => {
            return Decision::Duplicate;
        }
        Some(record) => record.clone(),
    };
    let (sequence, error) = (arrival.sequence, error.to_owned());
    match record.failed.get(name) {
        Some(known) if known.sequence == sequence => return Decision::Wait,
        // Known already, or older than the letter that reopened the join.
        Some(_) => return Decision::Duplicate,
        None if record.reopened.is_some_and(|by| sequence < by) => return Decision::Duplicate,
        None => {}
    }
    let failure = Failure { sequence, error };
    record.failed.insert(name.to_owned(), failure);
    Decision::Write(decided(record, sequence, join))
}

/// Transition for a dead letter of the join that was sent again: the branches it holds count as
/// arrived, and the missing ones are waited for once more.
fn letter(
    record: Option<&Record>,
    names: &[String],
    arrival: &JoinInput<'_>,
    join: &JoinSpec,
) -> Decision {
    let mut record = match record {
        None => opened(arrival, join),
        Some(record) if record.reopened == Some(arrival.sequence) => return Decision::Wait,
        Some(record) => match record.closed {
            Some(closed) if closed.how != How::Failed => return Decision::Duplicate,
            _ => reopened(record, arrival, join),
        },
    };
    let (sequence, n) = (arrival.sequence, arrival.n);
    for name in names {
        let branch = Branch {
            sequence,
            n,
            letter: true,
        };
        record.branches.insert(name.clone(), branch);
    }
    record.reopened = Some(sequence);
    Decision::Write(decided(record, sequence, join))
}

fn opened(arrival: &JoinInput<'_>, join: &JoinSpec) -> Record {
    Record {
        branches: BTreeMap::new(),
        opened_at: arrival.stored_at,
        deadline: arrival.stored_at.after(join.timeout),
        request_id: arrival.request_id.to_owned(),
        failed: BTreeMap::new(),
        reopened: None,
        closed: None,
    }
}

/// The record of a failed join, reopened with the full timeout for the missing branches.
fn reopened(record: &Record, arrival: &JoinInput<'_>, join: &JoinSpec) -> Record {
    Record {
        deadline: arrival.stored_at.after(join.timeout),
        failed: BTreeMap::new(),
        closed: None,
        ..record.clone()
    }
}

/// The record, closed by this message if no further branch is to be waited for.
fn decided(mut record: Record, by: u64, join: &JoinSpec) -> Record {
    let missing = record.missing(join);
    let all_failed = missing.iter().all(|name| record.failed.contains_key(name));
    let how = if missing.is_empty() {
        Some(How::Complete)
    } else if record.branches.is_empty() {
        all_failed.then_some(How::Failed)
    } else {
        match join.missing {
            Missing::Fail => (!record.failed.is_empty()).then_some(How::Failed),
            Missing::Continue => all_failed.then_some(How::Partial),
        }
    };
    record.closed = how.map(|how| Closed { by, how });
    record
}

impl Record {
    /// The missing branches, in the order of the manifest.
    pub(super) fn missing(&self, join: &JoinSpec) -> Vec<String> {
        let names = join.branches.iter().map(|branch| branch.as_str());
        names
            .filter(|name| !self.branches.contains_key(*name))
            .map(str::to_owned)
            .collect()
    }

    /// The branches that have failed for good, each with its reason.
    pub(super) fn failures(&self) -> Vec<String> {
        let failed = self.failed.iter();
        failed
            .map(|(name, failure)| format!("{name} has failed for good ({})", failure.error))
            .collect()
    }

    /// The step number of the joining stage: from the branch with the highest one.
    pub(super) fn number(&self) -> u8 {
        self.branches.values().map(|b| b.n).max().unwrap_or(1)
    }
}

#[cfg(test)]
mod tests;
