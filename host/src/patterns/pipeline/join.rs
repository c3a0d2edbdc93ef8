//! What a joining stage remembers of a workflow, and what an arrival makes of it: pure decisions.
//!
//! The record alone decides. Whether a message is the one that completes the join, one that was
//! counted already, a repetition or too late follows from its sequence in the stream, so that each of
//! its deliveries is judged alike, on every host. Times are those at which the stream stored messages:
//! no host's clock takes part.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::config::{JoinSpec, Missing};

/// The value of `<workflow>.<stage>` in PIPELINES.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    /// What has come, by the stage that it comes from.
    pub branches: BTreeMap<String, Branch>,
    /// When the first branch was stored.
    pub opened_at: Moment,
    /// When the join ends without what is missing.
    pub deadline: Moment,
    /// The request that it belongs to.
    pub request_id: String,
    /// Branches that have failed for good: why. They come only if their dead letters are sent
    /// again.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub failed: BTreeMap<String, Failure>,
    /// The dead letter of the join that was sent again last, by its message in COORDINATION.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reopened: Option<u64>,
    /// Once it has ended: how.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closed: Option<Closed>,
}

/// A branch that has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Branch {
    /// Its message in COORDINATION.
    pub sequence: u64,
    /// Its number in the workflow.
    pub n: u8,
    /// The message is a dead letter of the join, which holds this branch among others.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub letter: bool,
}

/// A branch that has failed for good.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Failure {
    /// The message in COORDINATION that says so.
    pub sequence: u64,
    /// Why.
    pub error: String,
}

/// How a join has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Closed {
    /// The message that ended it: the last branch, or the deadline. It is the one that is handled.
    pub by: u64,
    /// What it was.
    pub how: How,
}

/// What ended a join.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum How {
    /// Every branch has come.
    Complete,
    /// The deadline, or the failure of all that is missing; the stage runs with what is there.
    Partial,
    /// The deadline, or the failure of a branch; the workflow fails, unless what is missing comes
    /// yet.
    Failed,
}

/// A time, RFC 3339 in UTC where people read it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub(super) struct Moment(OffsetDateTime);

impl Moment {
    /// From the nanoseconds since 1970 that a stream tells.
    pub(super) fn of(ns: u64) -> Self {
        let time = OffsetDateTime::from_unix_timestamp_nanos(i128::from(ns));
        Self(time.unwrap_or(OffsetDateTime::UNIX_EPOCH))
    }

    /// Nanoseconds since 1970.
    pub(super) fn nanos(self) -> i128 {
        self.0.unix_timestamp_nanos()
    }

    /// So much later.
    fn after(self, wait: Duration) -> Self {
        Self(
            self.0
                .saturating_add(wait.try_into().unwrap_or(time::Duration::MAX)),
        )
    }

    /// How long ago it is; none when it is still to come.
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
pub(super) struct Arrival<'a> {
    /// What it is.
    pub what: What<'a>,
    /// Its sequence in COORDINATION.
    pub sequence: u64,
    /// Its number in the workflow.
    pub n: u8,
    /// When it was stored.
    pub stored_at: Moment,
    /// Its request.
    pub request_id: &'a str,
}

/// What a message at a joining stage is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What<'a> {
    /// The output of this stage, one of those that are waited for.
    Branch(&'a str),
    /// The word of a host that the time is over.
    Deadline,
    /// The word of a host that this branch has failed for good, and why.
    Failed(&'a str, &'a str),
    /// A dead letter of the join that was sent again, with these branches.
    Letter(&'a [String]),
}

/// What happens to an arrival.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// Write this record, and look again: it says the rest.
    Write(Record),
    /// The stage runs with the branches of the record.
    Run,
    /// The workflow fails here: branches are missing.
    Fail,
    /// Nothing came and nothing will: whatever follows this stage is to know.
    PassOn,
    /// It is counted, and others are to come.
    Wait,
    /// Another message of the same branch was counted.
    Duplicate,
    /// The join ended without this branch.
    Late,
    /// A deadline that is not due, or of no join, or of one that has ended.
    Void,
}

/// Decides what becomes of an arrival.
pub(super) fn step(record: Option<&Record>, arrival: &Arrival<'_>, join: &JoinSpec) -> Step {
    if let Some(record) = record
        && let Some(closed) = record.closed
        && closed.by == arrival.sequence
    {
        return match closed.how {
            How::Complete | How::Partial => Step::Run,
            How::Failed if record.branches.is_empty() => Step::PassOn,
            How::Failed => Step::Fail,
        };
    }
    match arrival.what {
        What::Branch(name) => branch(record, name, arrival, join),
        What::Deadline => deadline(record, arrival, join),
        What::Failed(name, error) => failure(record, (name, error), arrival, join),
        What::Letter(names) => letter(record, names, arrival, join),
    }
}

/// An output of a branch. It reopens a join that had failed without it.
fn branch(record: Option<&Record>, name: &str, arrival: &Arrival<'_>, join: &JoinSpec) -> Step {
    let mut record = match record {
        None => opened(arrival, join),
        Some(record) => match (record.branches.get(name), record.closed) {
            (Some(known), _) if known.sequence == arrival.sequence => return Step::Wait,
            (Some(_), _) => return Step::Duplicate,
            (None, None) => record.clone(),
            (None, Some(closed)) if closed.how == How::Failed => reopened(record, arrival, join),
            (None, Some(_)) => return Step::Late,
        },
    };
    // Whatever was said of it, it is here.
    record.failed.remove(name);
    let (sequence, n) = (arrival.sequence, arrival.n);
    let branch = Branch {
        sequence,
        n,
        letter: false,
    };
    record.branches.insert(name.to_owned(), branch);
    Step::Write(decided(record, sequence, join))
}

/// The time is over. A join to which nothing has come has none.
fn deadline(record: Option<&Record>, arrival: &Arrival<'_>, join: &JoinSpec) -> Step {
    let open = record.filter(|record| record.closed.is_none() && !record.branches.is_empty());
    let Some(record) = open.filter(|record| arrival.stored_at >= record.deadline) else {
        return Step::Void;
    };
    let how = match join.missing {
        Missing::Continue => How::Partial,
        Missing::Fail => How::Failed,
    };
    let by = arrival.sequence;
    Step::Write(Record {
        closed: Some(Closed { by, how }),
        ..record.clone()
    })
}

/// A branch has failed for good.
fn failure(
    record: Option<&Record>,
    (name, error): (&str, &str),
    arrival: &Arrival<'_>,
    join: &JoinSpec,
) -> Step {
    let mut record = match record {
        None => opened(arrival, join),
        Some(record) if record.closed.is_some() || record.branches.contains_key(name) => {
            return Step::Duplicate;
        }
        Some(record) => record.clone(),
    };
    let (sequence, error) = (arrival.sequence, error.to_owned());
    match record.failed.get(name) {
        Some(known) if known.sequence == sequence => return Step::Wait,
        // Known, or older than the letter that has reopened the join.
        Some(_) => return Step::Duplicate,
        None if record.reopened.is_some_and(|by| sequence < by) => return Step::Duplicate,
        None => {}
    }
    let failure = Failure { sequence, error };
    record.failed.insert(name.to_owned(), failure);
    Step::Write(decided(record, sequence, join))
}

/// A dead letter of the join was sent again: what it holds is there, and what is missing is waited
/// for once more.
fn letter(
    record: Option<&Record>,
    names: &[String],
    arrival: &Arrival<'_>,
    join: &JoinSpec,
) -> Step {
    let mut record = match record {
        None => opened(arrival, join),
        Some(record) if record.reopened == Some(arrival.sequence) => return Step::Wait,
        Some(record) => match record.closed {
            Some(closed) if closed.how != How::Failed => return Step::Duplicate,
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
    Step::Write(decided(record, sequence, join))
}

fn opened(arrival: &Arrival<'_>, join: &JoinSpec) -> Record {
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

/// The record of a join that had failed, with the whole time for what is missing.
fn reopened(record: &Record, arrival: &Arrival<'_>, join: &JoinSpec) -> Record {
    Record {
        deadline: arrival.stored_at.after(join.timeout),
        failed: BTreeMap::new(),
        closed: None,
        ..record.clone()
    }
}

/// The record, ended by this message if nothing more is to be waited for.
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
    /// The branches that have not come, in the order of the manifest.
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

    /// The number of the joining stage: that of the branch that came farthest.
    pub(super) fn number(&self) -> u8 {
        self.branches.values().map(|b| b.n).max().unwrap_or(1)
    }
}

#[cfg(test)]
mod tests;
