//! The joined input of a stage: composed from the outputs of its branches.
//!
//! When a joined input returns as a dead letter, it is split into its branches again.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::{Map, Value, json};

use crate::delivery::{HeldMessage, Reason, ReasonKind};
use mistersmith_core::config::JoinSpec;
use mistersmith_nats::{Claim, ClaimError, Headers, Message, StoredMessage, TransportError};

use super::join::{Branch, Record};
use super::{INCOMPLETE, JOIN, JOINED, STAGE, StageRun};

/// Reason why the branches could not be composed.
pub(super) enum Trouble {
    /// The stream could not be read; retry.
    Passing(TransportError),
    /// A retry cannot help.
    Lasting(Reason),
}

/// Composes `{ "<branch>": <its output>, … }`.
pub(super) async fn compose(
    run: &StageRun,
    record: &Record,
    message: &Message,
    held: &HeldMessage,
) -> Result<Bytes, Trouble> {
    let stream = run
        .stage
        .connection
        .stream(&held.info.stream)
        .map_err(Trouble::Passing)?;
    let mut joined = Map::new();
    let mut size = 0;
    for (name, branch) in &record.branches {
        let found = if branch.sequence == held.info.stream_sequence {
            None
        } else {
            let found = stream.message(branch.sequence).await;
            let found = found.map_err(Trouble::Passing)?;
            Some(
                found
                    .filter(|found| is_of(found, run, name, branch))
                    .ok_or_else(|| {
                        let text = format!("the output of {name} is no longer in the stream");
                        Trouble::Lasting(Reason::new(ReasonKind::Join, text))
                    })?,
            )
        };
        let (headers, subject, payload) = match &found {
            Some(found) => (&found.headers, &found.subject, &found.payload),
            None => (&message.headers, &message.subject, &message.payload),
        };
        let payload = whole(run, headers, subject, payload).await?;
        let value = match branch.letter {
            true => object(&payload)?.remove(name).unwrap_or_default(),
            false => value(headers, &payload),
        };
        size += match branch.letter {
            true => value.to_string().len(),
            false => payload.len(),
        };
        if size > run.stage.payload {
            let most = run.stage.payload;
            let text =
                format!("the branches have more than {most} bytes, the most of [limits] payload");
            return Err(Trouble::Lasting(Reason::new(ReasonKind::TooLarge, text)));
        }
        joined.insert(name.clone(), value);
    }
    Ok(Value::Object(joined).to_string().into())
}

/// The payload of a branch, fetched from the object store where it lies there. It stays there until
/// it is swept.
async fn whole(
    run: &StageRun,
    headers: &Headers,
    subject: &str,
    payload: &Bytes,
) -> Result<Bytes, Trouble> {
    let lasting = |error: ClaimError| match error {
        ClaimError::Later(error) => Trouble::Passing(error),
        error => Trouble::Lasting(Reason::new(ReasonKind::Claim, error.to_string())),
    };
    match Claim::of(headers) {
        None => Ok(payload.clone()),
        Some(Err(error)) => Err(lasting(error)),
        Some(Ok(claim)) => {
            let fetched = claim.fetch(&run.stage.connection, subject, run.stage.payload);
            fetched.await.map_err(lasting)
        }
    }
}

/// Whether a message is the one that the record refers to: the sequences of a recreated stream
/// begin at one again.
fn is_of(found: &StoredMessage, run: &StageRun, name: &str, branch: &Branch) -> bool {
    let (workflow, stage) = (&run.at.workflow, &run.at.stage);
    let pattern = format!("pipeline.{workflow}.*.{stage}");
    let header = |name| found.headers.get(name);
    mistersmith_core::names::subject::matches(&pattern, &found.subject)
        && match branch.letter {
            true => matches!(header(JOIN), Some(JOINED | INCOMPLETE)),
            false => header(STAGE) == Some(name),
        }
}

/// An output as JSON: a payload declared as text becomes a string, even when it looks like a
/// number.
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

/// The branches that a dead letter of this stage holds.
pub(super) async fn branches_in(
    run: &StageRun,
    join: &JoinSpec,
    message: &Message,
) -> Result<Vec<String>, Trouble> {
    let payload = whole(run, &message.headers, &message.subject, &message.payload).await?;
    let held = object(&payload)?;
    let names = join.branches.iter().map(|branch| branch.as_str());
    Ok(names
        .filter(|name| held.contains_key(*name))
        .map(str::to_owned)
        .collect())
}

fn object(payload: &[u8]) -> Result<Map<String, Value>, Trouble> {
    serde_json::from_slice(payload).map_err(|error| {
        let text = format!("header {JOIN} says that the payload holds branches: {error}");
        Trouble::Lasting(Reason::new(ReasonKind::Malformed, text))
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn headers(of: &[(&str, &str)]) -> Headers {
        let mut headers = Headers::new();
        for (name, value) in of {
            headers.insert(name, value).unwrap();
        }
        headers
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
