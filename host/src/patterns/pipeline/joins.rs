//! A message at a stage that joins: what the record says, and the joined input.
//!
//! A branch is acknowledged once the record in PIPELINES has it; its payload stays in COORDINATION and
//! is read from there when the last branch, or the deadline, runs the stage. The record is written by
//! compare-and-swap before anything else is done, so that whoever gets the message after a crash finds
//! what was decided.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use rand::Rng as _;
use serde_json::{Map, Value, json};

use crate::config::JoinSpec;
use crate::limits;
use crate::patterns::delivery::Held;
use crate::patterns::disposition::Reason;
use crate::transport::{
    CLAIM, CLAIM_SIZE, Claim, ClaimError, Headers, Message, StoredMessage, Trace, TransportError,
};

use super::event::Event;
use super::join::{self, Arrival, Moment, Record, Step, What};
use super::{DEADLINE, JOIN, JOINED, Received, STAGE, StageRun};

/// Longest pause before a record is read again that another host has changed, in milliseconds.
const MAX_PAUSE: u64 = 20;

/// Decides what becomes of a message at a joining stage.
pub(super) async fn arrive(
    run: StageRun,
    join: &JoinSpec,
    message: Message,
    held: &Held,
) -> Received {
    let what = match what(&message.headers, join) {
        Ok(Some(what)) => what,
        // Sent again from the dead letters.
        Ok(None) => return Received::Input(message, run),
        Err(reason) => return Received::Foreign(message, reason),
    };
    let trace = Trace::received(&message.headers, || run.at.workflow.as_str());
    let arrival = Arrival {
        what,
        sequence: held.meta.stream_sequence,
        n: run.at.number,
        stored_at: Moment::of(held.meta.stored_at_ns),
        request_id: trace.request_id(),
    };
    let (step, record) = match decide(&run, join, &arrival).await {
        Ok(decided) => decided,
        Err(error) => {
            tracing::warn!(%error, subject = message.subject, "the join is not known; its message comes again");
            return Received::Later;
        }
    };
    match step {
        Step::Run | Step::Fail => join_all(run, join, message, held, step, record).await,
        Step::Late => late(&run, &arrival, &trace, held).await,
        Step::Wait | Step::Duplicate | Step::Void | Step::Write(_) => {
            tracing::debug!(subject = message.subject, ?arrival, ?step, "at the join");
            Received::Over
        }
    }
}

/// What a message is by its headers; none when it is a joined input already.
fn what<'a>(headers: &'a Headers, join: &JoinSpec) -> Result<Option<What<'a>>, Reason> {
    let malformed = |text: String| Err(Reason::new("malformed", text));
    match headers.get(JOIN) {
        Some(DEADLINE) => return Ok(Some(What::Deadline)),
        Some(JOINED) => return Ok(None),
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
        Some(stage) if join.branches.iter().any(|b| b.as_str() == stage) => {
            Ok(Some(What::Branch(stage)))
        }
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

/// Looks into the record, writes what is to be written, until there is nothing more to write.
async fn decide(
    run: &StageRun,
    join: &JoinSpec,
    arrival: &Arrival<'_>,
) -> Result<(Step, Record), TransportError> {
    let (records, key) = (&run.stage.records, key(run));
    for _ in 0..limits::JOIN_TRIES {
        let entry = records.get(&key).await?;
        let record = entry.as_ref().map(|entry| read(&entry.value)).transpose()?;
        let new = match join::step(record.as_ref(), arrival, join) {
            Step::Write(new) => new,
            step => return Ok((step, record.unwrap_or_else(|| nothing(arrival)))),
        };
        let value = Bytes::from(serde_json::to_vec(&new).unwrap_or_default());
        let written = match entry {
            Some(entry) => records.update(&key, value, entry.revision).await,
            None => records.create(&key, value).await,
        };
        match written {
            Ok(_) => return Ok((join::step(Some(&new), arrival, join), new)),
            // Another branch came at the same moment: look again.
            Err(TransportError::Conflict) => {}
            Err(error) => return Err(error),
        }
        let pause = rand::rng().random_range(1..MAX_PAUSE);
        tokio::time::sleep(Duration::from_millis(pause)).await;
    }
    Err(TransportError::Unavailable(format!(
        "too many write the record {key:?} of PIPELINES"
    )))
}

/// `<workflow>.<stage>`.
pub(super) fn key(run: &StageRun) -> String {
    format!("{}.{}", run.at.workflow, run.at.stage)
}

/// Reads a record.
pub(super) fn read(value: &[u8]) -> Result<Record, TransportError> {
    serde_json::from_slice(value)
        .map_err(|error| TransportError::Other(format!("a record of PIPELINES: {error}")))
}

/// The record of a join that is not there: of a deadline without one.
fn nothing(arrival: &Arrival<'_>) -> Record {
    Record {
        branches: std::collections::BTreeMap::new(),
        opened_at: arrival.stored_at,
        deadline: arrival.stored_at,
        request_id: arrival.request_id.to_owned(),
        closed: None,
    }
}

async fn late(run: &StageRun, arrival: &Arrival<'_>, trace: &Trace, held: &Held) -> Received {
    let branch = match arrival.what {
        What::Branch(branch) => branch,
        What::Deadline => DEADLINE,
    };
    let event = Event {
        name: "late",
        run,
        held,
        trace,
        agent: None,
        more: vec![("branch", json!(branch))],
    };
    match event.store(&run.stage.link).await {
        Ok(_) => Received::Over,
        Err(error) => {
            tracing::warn!(%error, branch, "a late branch could not be told of; it comes again");
            Received::Later
        }
    }
}

/// The message with the joined input in place of its own payload.
async fn join_all(
    mut run: StageRun,
    join: &JoinSpec,
    mut message: Message,
    held: &Held,
    step: Step,
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
    // They are those of the last branch.
    for name in [CLAIM, CLAIM_SIZE] {
        message.headers.remove(name);
    }
    message.headers.set(JOIN, JOINED);
    message.headers.set("Content-Type", "application/json");
    if step == Step::Run {
        return Received::Input(message, run);
    }
    let missing = record.missing(join).join(", ");
    let text = format!(
        "no output of {missing} came within {} of the first branch",
        crate::config::show_duration(join.timeout)
    );
    Received::Failed(message, run, Reason::new("join", text))
}

/// Why the branches could not be put together.
enum Trouble {
    /// The stream could not be asked.
    Passing(TransportError),
    /// Asking again cannot help.
    Lasting(Reason),
}

/// `{ "<branch>": <its output>, … }`.
async fn compose(
    run: &StageRun,
    record: &Record,
    message: &Message,
    held: &Held,
) -> Result<Bytes, Trouble> {
    let stream = run
        .stage
        .link
        .stream(&held.meta.stream)
        .map_err(Trouble::Passing)?;
    let mut joined = Map::new();
    let mut size = 0;
    for (name, branch) in &record.branches {
        let value = if branch.sequence == held.meta.stream_sequence {
            let payload = whole(run, &message.headers, &message.subject, &message.payload).await?;
            size += payload.len();
            value(&message.headers, &payload)
        } else {
            let found = stream.message(branch.sequence).await;
            let found = found.map_err(Trouble::Passing)?;
            let found = found.filter(|found| is_of(found, run, name));
            let Some(found) = found else {
                let text = format!("the output of {name} is no longer in the stream");
                return Err(Trouble::Lasting(Reason::new("join", text)));
            };
            let payload = whole(run, &found.headers, &found.subject, &found.payload).await?;
            size += payload.len();
            value(&found.headers, &payload)
        };
        if size > run.stage.payload {
            let most = run.stage.payload;
            let text =
                format!("the branches have more than {most} bytes, the most of [limits] payload");
            return Err(Trouble::Lasting(Reason::new("too-large", text)));
        }
        joined.insert(name.clone(), value);
    }
    Ok(Value::Object(joined).to_string().into())
}

/// The payload of a branch, which may lie in the object store. It stays there until it is swept.
async fn whole(
    run: &StageRun,
    headers: &Headers,
    subject: &str,
    payload: &Bytes,
) -> Result<Bytes, Trouble> {
    let lasting = |error: ClaimError| match error {
        ClaimError::Later(error) => Trouble::Passing(error),
        error => Trouble::Lasting(Reason::new("claim", error.to_string())),
    };
    match Claim::of(headers) {
        None => Ok(payload.clone()),
        Some(Err(error)) => Err(lasting(error)),
        Some(Ok(claim)) => {
            let fetched = claim.fetch(&run.stage.link, subject, run.stage.payload);
            fetched.await.map_err(lasting)
        }
    }
}

/// Whether a message is what the record means: a stream that was made anew counts from one again.
fn is_of(found: &StoredMessage, run: &StageRun, branch: &str) -> bool {
    let (workflow, stage) = (&run.at.workflow, &run.at.stage);
    let pattern = format!("pipeline.{workflow}.*.{stage}");
    crate::names::subject::matches(&pattern, &found.subject)
        && found.headers.get(STAGE) == Some(branch)
}

/// An output as JSON: what is said to be text is a string, also when it looks like a number.
fn value(headers: &Headers, payload: &[u8]) -> Value {
    let kind = headers.get("Content-Type").unwrap_or_default();
    let is_text = kind
        .get(..5)
        .is_some_and(|start| start.eq_ignore_ascii_case("text/"));
    let json = (!is_text)
        .then(|| serde_json::from_slice(payload).ok())
        .flatten();
    json.unwrap_or_else(|| match std::str::from_utf8(payload) {
        Ok(text) => Value::String(text.to_owned()),
        Err(_) => json!({ "base64": STANDARD.encode(payload) }),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::config::Missing;

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
            (headers(&[("x-stage", "a")]), Ok(Some(What::Branch("a")))),
            (headers(&[("X-Join", "deadline")]), Ok(Some(What::Deadline))),
            (headers(&[("X-Join", "joined"), ("X-Stage", "a")]), Ok(None)),
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
            let got = what(&headers, &join).map_err(|reason| reason.message);
            assert_eq!(got, expected.map_err(str::to_owned), "{headers:?}");
        }
    }

    #[test]
    fn an_output_is_json_or_text() {
        let none = headers(&[]);
        let text = headers(&[("content-type", "Text/plain; charset=utf-8")]);
        assert_eq!(value(&none, b"{\"a\":1}"), json!({"a": 1}));
        assert_eq!(value(&none, b"12"), json!(12));
        assert_eq!(value(&text, b"12"), json!("12"));
        assert_eq!(value(&none, b"twelve"), json!("twelve"));
        assert_eq!(value(&none, b""), json!(""));
        assert_eq!(value(&none, &[255]), json!({"base64": "/w=="}));
    }
}
