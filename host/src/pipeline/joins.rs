//! Driver of joins: applies a message to its record, and builds the joined input.
//!
//! A branch is acknowledged once its record in PIPELINES is written; its payload stays in
//! COORDINATION and is read from there when the last branch, or the deadline, runs the stage. The
//! record is written by compare-and-swap before anything else is done: without that, a host that
//! receives the message after a crash would not find the earlier decision.

use std::time::Duration;

use bytes::Bytes;
use rand::Rng as _;
use serde_json::{Value, json};

use crate::delivery::{HeldMessage, Reason, ReasonKind};
use mistersmith_core::config::{JoinSpec, Missing};
use mistersmith_core::limits;
use mistersmith_nats::{CLAIM, CLAIM_SIZE, Headers, Message, Trace, TransportError};

use super::event::Event;
use super::join::{self, Decision, InputKind, JoinInput, Moment, Record};
use super::joined::{Trouble, branches_in, compose};
use super::{DEADLINE, FAILED, INCOMPLETE, JOIN, JOINED, Received, STAGE, StageRun};

/// Longest pause, in milliseconds, before reading a record again that another host has changed.
const MAX_PAUSE: u64 = 20;

/// Decides what happens to a message at a joining stage.
pub(super) async fn arrive(
    run: StageRun,
    join: &JoinSpec,
    message: Message,
    held: &HeldMessage,
) -> Received {
    let names: Vec<String>;
    let error: String;
    let what = match came(&message.headers, join) {
        Ok(Came::Branch(name)) => InputKind::Branch(name),
        Ok(Came::Deadline) => InputKind::Deadline,
        Ok(Came::Failed(name)) => {
            error = why(&message.payload);
            InputKind::Failed(name, &error)
        }
        // A dead letter that was sent again.
        Ok(Came::Letter { joined }) => match branches_in(&run, join, &message).await {
            Ok(found) if joined && is_enough(&found, join) => {
                return Received::Input(message, run);
            }
            Ok(found) => {
                names = found;
                InputKind::Letter(&names)
            }
            Err(Trouble::Passing(_)) => return Received::Later,
            Err(Trouble::Lasting(reason)) => return Received::Failed(message, run, reason),
        },
        Err(reason) => return Received::Foreign(message, reason),
    };
    let trace = Trace::received(&message.headers, || run.at.workflow.as_str());
    let arrival = JoinInput {
        what,
        sequence: held.info.stream_sequence,
        n: run.at.number,
        stored_at: Moment::of(held.info.stored_at_ns),
        request_id: trace.request_id(),
    };
    let (step, record) = match decide(&run, join, &arrival).await {
        Ok(decided) => decided,
        Err(error) => {
            tracing::warn!(%error, subject = message.subject,
                "the record of the join in bucket PIPELINES could not be read or written; \
                the message comes again");
            return Received::Later;
        }
    };
    match step {
        Decision::Run | Decision::Fail => join_all(run, join, message, held, step, record).await,
        Decision::Late => late(&run, &arrival, &trace, held).await,
        Decision::PassOn => nothing_comes(&run, &trace, held, &record).await,
        Decision::Wait | Decision::Duplicate | Decision::Void | Decision::Write(_) => {
            tracing::debug!(subject = message.subject, ?arrival, ?step, "at the join");
            Received::Over
        }
    }
}

/// The kind of a message, by its headers.
#[derive(Debug, PartialEq, Eq)]
enum Came<'a> {
    /// The output of this branch.
    Branch(&'a str),
    /// A host reports that the deadline has passed.
    Deadline,
    /// A host reports that this branch has failed for good.
    Failed(&'a str),
    /// A dead letter of this stage: the joined input, or the part of it that had arrived.
    Letter {
        /// It holds every branch that the stage needs.
        joined: bool,
    },
}

fn came<'a>(headers: &'a Headers, join: &JoinSpec) -> Result<Came<'a>, Reason> {
    let malformed = |text: String| Err(Reason::new(ReasonKind::Malformed, text));
    let mut failed = false;
    match headers.get(JOIN) {
        Some(DEADLINE) => return Ok(Came::Deadline),
        Some(JOINED) => return Ok(Came::Letter { joined: true }),
        Some(INCOMPLETE) => return Ok(Came::Letter { joined: false }),
        Some(FAILED) => failed = true,
        Some(other) => {
            return malformed(format!("header {JOIN} is {other:?}, which has no meaning"));
        }
        None => {}
    }
    let wanted = || {
        let names: Vec<&str> = join.branches.iter().map(|b| b.as_str()).collect();
        names.join(", ")
    };
    match headers.get(STAGE) {
        Some(stage) if join.branches.iter().any(|b| b.as_str() == stage) => Ok(match failed {
            true => Came::Failed(stage),
            false => Came::Branch(stage),
        }),
        Some(stage) => malformed(format!(
            "header {STAGE} names {stage:?}; the stage joins {}",
            wanted()
        )),
        None => malformed(format!(
            "header {STAGE} is missing, which says of which branch it is; the stage joins {}",
            wanted()
        )),
    }
}

/// Reason of a branch's failure, from the host that gave it up.
fn why(payload: &[u8]) -> String {
    let said: Value = serde_json::from_slice(payload).unwrap_or_default();
    let text = |name: &str| said.get(name).and_then(Value::as_str).unwrap_or("unknown");
    let letter = said.get("dlq_sequence").and_then(Value::as_u64);
    let letter = letter.map(|number| format!(", dead letter {number}"));
    let why = format!(
        "{}: {}{}",
        text("kind"),
        text("error"),
        letter.unwrap_or_default()
    );
    why.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(limits::MAX_ERROR_CHARS)
        .collect()
}

/// Whether the stage may run with these branches: with some missing only where its manifest allows
/// it.
fn is_enough(names: &[String], join: &JoinSpec) -> bool {
    join.missing == Missing::Continue || names.len() == join.branches.len()
}

/// Reads the record, decides and writes, until there is nothing more to write.
async fn decide(
    run: &StageRun,
    join: &JoinSpec,
    arrival: &JoinInput<'_>,
) -> Result<(Decision, Record), TransportError> {
    let (records, key) = (&run.stage.records, key(run));
    for _ in 0..limits::JOIN_TRIES {
        let entry = records.get(&key).await?;
        let record = entry.as_ref().map(|entry| read(&entry.value)).transpose()?;
        let new = match join::step(record.as_ref(), arrival, join) {
            Decision::Write(new) => new,
            step => return Ok((step, record.unwrap_or_else(|| nothing(arrival)))),
        };
        let value = Bytes::from(serde_json::to_vec(&new).unwrap_or_default());
        let written = match entry {
            Some(entry) => records.update(&key, value, entry.revision).await,
            None => records.create(&key, value).await,
        };
        match written {
            Ok(_) => return Ok((join::step(Some(&new), arrival, join), new)),
            // Another branch changed the record at the same moment: read it again.
            Err(TransportError::Conflict) => {}
            Err(error) => return Err(error),
        }
        let pause = rand::rng().random_range(1..MAX_PAUSE);
        tokio::time::sleep(Duration::from_millis(pause)).await;
    }
    Err(TransportError::Unavailable(format!(
        "other hosts changed the record {key:?} of PIPELINES {} times in a row; \
         the message comes again",
        limits::JOIN_TRIES
    )))
}

/// The key in PIPELINES: `<workflow>.<stage>`.
pub(super) fn key(run: &StageRun) -> String {
    format!("{}.{}", run.at.workflow, run.at.stage)
}

/// Parses a record.
pub(super) fn read(value: &[u8]) -> Result<Record, TransportError> {
    serde_json::from_slice(value)
        .map_err(|error| TransportError::Other(format!("a record of PIPELINES: {error}")))
}

/// An empty record, for a deadline without a join.
fn nothing(arrival: &JoinInput<'_>) -> Record {
    Record {
        branches: std::collections::BTreeMap::new(),
        opened_at: arrival.stored_at,
        deadline: arrival.stored_at,
        request_id: arrival.request_id.to_owned(),
        failed: std::collections::BTreeMap::new(),
        reopened: None,
        closed: None,
    }
}

/// Every branch has failed: neither this stage nor the following ones run.
async fn nothing_comes(
    run: &StageRun,
    trace: &Trace,
    held: &HeldMessage,
    record: &Record,
) -> Received {
    let error = record.failures().join("; ");
    let why = json!({"stage": run.at.stage, "kind": "join", "error": error});
    let why = Bytes::from(why.to_string());
    match run.pass_on(trace, held, &why).await {
        Ok(()) => Received::Over,
        Err(error) => {
            tracing::warn!(%error, stage = %run.at.stage, "a failure could not be passed on yet");
            Received::Later
        }
    }
}

async fn late(
    run: &StageRun,
    arrival: &JoinInput<'_>,
    trace: &Trace,
    held: &HeldMessage,
) -> Received {
    let branch = match arrival.what {
        InputKind::Branch(branch) | InputKind::Failed(branch, _) => branch,
        InputKind::Deadline | InputKind::Letter(_) => DEADLINE,
    };
    let event = Event {
        name: "late",
        run,
        held,
        trace,
        agent: None,
        more: vec![("branch", json!(branch))],
    };
    match event.store(&run.stage.connection).await {
        Ok(_) => Received::Over,
        Err(error) => {
            tracing::warn!(%error, branch,
                "the event of a late branch was not stored; the branch comes again");
            Received::Later
        }
    }
}

/// The message with the joined input in place of its own payload.
async fn join_all(
    mut run: StageRun,
    join: &JoinSpec,
    mut message: Message,
    held: &HeldMessage,
    step: Decision,
    record: Record,
) -> Received {
    run.at.number = record.number();
    let joined = match compose(&run, &record, &message, held).await {
        Ok(joined) => joined,
        Err(Trouble::Passing(error)) => {
            tracing::warn!(%error, subject = message.subject, "branches could not be read; the join comes again");
            return Received::Later;
        }
        Err(Trouble::Lasting(reason)) => return Received::Failed(message, run, reason),
    };
    message.subject = run.at.to_string();
    message.payload = joined;
    // These headers belong to the payload of the last branch.
    for name in [CLAIM, CLAIM_SIZE] {
        message.headers.remove(name);
    }
    message.headers.set_json();
    if step == Decision::Run {
        message.headers.set(JOIN, JOINED);
        return Received::Input(message, run);
    }
    message.headers.set(JOIN, INCOMPLETE);
    let missing = record.missing(join).join(", ");
    let text = if record.failed.is_empty() {
        format!(
            "no output of {missing} came within {} of the first branch",
            mistersmith_core::config::show_duration(join.timeout)
        )
    } else {
        format!(
            "{}; the join goes on when what is missing ({missing}) comes after all",
            record.failures().join("; ")
        )
    };
    Received::Failed(message, run, Reason::new(ReasonKind::Join, text))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use mistersmith_testing::fuzz;

    fn headers(of: &[(&str, &str)]) -> Headers {
        let mut headers = Headers::new();
        for (name, value) in of {
            headers.insert(name, value).unwrap();
        }
        headers
    }

    #[test]
    fn what_a_message_is_its_headers_say() {
        let join = JoinSpec {
            branches: ["a", "b"].map(|b| b.parse().unwrap()).to_vec(),
            timeout: Duration::from_secs(1),
            missing: Missing::Fail,
        };
        let cases = [
            (headers(&[("x-stage", "a")]), Ok(Came::Branch("a"))),
            (headers(&[("X-Join", "deadline")]), Ok(Came::Deadline)),
            (
                headers(&[("X-Join", "joined"), ("X-Stage", "a")]),
                Ok(Came::Letter { joined: true }),
            ),
            (
                headers(&[("X-Join", "incomplete"), ("X-Stage", "a")]),
                Ok(Came::Letter { joined: false }),
            ),
            (
                headers(&[("X-Join", "failed"), ("X-Stage", "b")]),
                Ok(Came::Failed("b")),
            ),
            (
                headers(&[("X-Stage", "c")]),
                Err("header X-Stage names \"c\"; the stage joins a, b"),
            ),
            (
                headers(&[]),
                Err(
                    "header X-Stage is missing, which says of which branch it is; the stage joins a, b",
                ),
            ),
            (
                headers(&[("X-Join", "now"), ("X-Stage", "a")]),
                Err("header X-Join is \"now\", which has no meaning"),
            ),
        ];
        for (headers, expected) in cases {
            let got = came(&headers, &join).map_err(|reason| reason.message);
            assert_eq!(got, expected.map_err(str::to_owned), "{headers:?}");
        }
    }

    #[test]
    fn why_a_branch_failed_is_one_bounded_line() {
        let said = json!({"kind": "trap", "error": "a\nb", "dlq_sequence": 7}).to_string();
        assert_eq!(why(said.as_bytes()), "trap: a b, dead letter 7");
        assert_eq!(why(b"no json"), "unknown: unknown");
    }

    #[test]
    fn fuzz_join() {
        let words = [
            "\"kind\":",
            "\"dlq_sequence\":",
            "null",
            "18446744073709551616",
            "[",
            "{",
        ];
        fuzz("join", &words, |value| {
            let said = why(value);
            assert!(said.len() <= value.len() * 2 + 256, "{} bytes", said.len());
            let _ = read(value);
        });
    }
}
