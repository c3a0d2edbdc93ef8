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
    /// The deadline; the stage runs with what is there.
    Partial,
    /// The deadline; the workflow fails.
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
    let Some(record) = record else {
        return match arrival.what {
            What::Branch(branch) => Step::Write(opened(branch, arrival, join)),
            What::Deadline => Step::Void,
        };
    };
    if let Some(closed) = record.closed
        && closed.by == arrival.sequence
    {
        return match closed.how {
            How::Complete | How::Partial => Step::Run,
            How::Failed => Step::Fail,
        };
    }
    match arrival.what {
        What::Branch(name) => match record.branches.get(name) {
            Some(branch) if branch.sequence == arrival.sequence => Step::Wait,
            Some(_) => Step::Duplicate,
            None if record.closed.is_some() => Step::Late,
            None => Step::Write(joined(record, name, arrival, join)),
        },
        What::Deadline if record.closed.is_none() && arrival.stored_at >= record.deadline => {
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
        What::Deadline => Step::Void,
    }
}

fn opened(name: &str, arrival: &Arrival<'_>, join: &JoinSpec) -> Record {
    let record = Record {
        branches: BTreeMap::new(),
        opened_at: arrival.stored_at,
        deadline: arrival.stored_at.after(join.timeout),
        request_id: arrival.request_id.to_owned(),
        closed: None,
    };
    joined(&record, name, arrival, join)
}

/// The record with one more branch, ended if it was the last.
fn joined(record: &Record, name: &str, arrival: &Arrival<'_>, join: &JoinSpec) -> Record {
    let mut record = record.clone();
    let (sequence, n) = (arrival.sequence, arrival.n);
    record
        .branches
        .insert(name.to_owned(), Branch { sequence, n });
    if record.missing(join).is_empty() {
        record.closed = Some(Closed {
            by: sequence,
            how: How::Complete,
        });
    }
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

    /// The number of the joining stage: that of the branch that came farthest.
    pub(super) fn number(&self) -> u8 {
        self.branches.values().map(|b| b.n).max().unwrap_or(1)
    }
}

#[cfg(test)]
mod tests;
