//! The report of a gathering: `gather.<request>.complete`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::{Value, json};

use crate::clock::now;
use mistersmith_nats::{Connection, Headers, TransportError};
use mistersmith_runtime::Gathered;

/// Bytes reserved for the headers of the report.
const HEADERS: usize = 4 * 1024;

/// A report to be stored; it fits into one message, whatever the answers were.
pub struct Report {
    request: String,
    headers: Headers,
    body: Bytes,
}

impl Report {
    /// `most` is the server's maximum message size, in bytes.
    pub(super) fn of(
        gathered: &Gathered,
        asking: Option<&str>,
        mut headers: Headers,
        most: usize,
    ) -> Self {
        headers.set_json();
        Self {
            request: gathered.request.clone(),
            headers,
            body: fitting(gathered, asking, most.saturating_sub(HEADERS)),
        }
    }

    /// Stores `gather.<request>.complete` once: the stream drops repetitions by its id. Retries for
    /// a while.
    ///
    /// # Errors
    /// As [`Connection::store`].
    pub async fn store(self, connection: &Connection) -> Result<(), TransportError> {
        let Self {
            request,
            headers,
            body,
        } = self;
        let subject = format!("gather.{request}.complete");
        let id = format!("gather:{request}:complete");
        connection
            .store(&subject, &id, headers, body)
            .await
            .map(|_| ())
    }
}

/// The report; without the payloads of the answers where they would exceed the server's limit.
fn fitting(gathered: &Gathered, asking: Option<&str>, room: usize) -> Bytes {
    // Base64 adds a third; payloads larger than that in bytes never fit as JSON.
    let bytes: usize = gathered.answers.iter().map(|a| a.payload.len()).sum();
    if bytes <= room {
        let whole = body(gathered, asking, true).to_string();
        if whole.len() <= room {
            return whole.into();
        }
    }
    body(gathered, asking, false).to_string().into()
}

fn body(gathered: &Gathered, asking: Option<&str>, whole: bool) -> Value {
    let results: Vec<Value> = gathered
        .answers
        .iter()
        .map(|answer| {
            if whole {
                json!({"agent_id": answer.agent, "result": shown(&answer.payload)})
            } else {
                json!({"agent_id": answer.agent})
            }
        })
        .collect();
    let failed: Vec<Value> = gathered
        .failed
        .iter()
        .map(|(agent, error)| json!({"agent_id": agent, "error": error}))
        .collect();
    json!({
        "request": gathered.request, "status": gathered.status, "asked_by": asking,
        "results": results, "results_omitted": !whole,
        "failed": failed, "missing": gathered.missing, "at": now(),
    })
}

/// A payload in JSON: as the JSON that it is, else as text, else as `{"base64"}`.
pub fn shown(payload: &[u8]) -> Value {
    if let Ok(json) = serde_json::from_slice(payload) {
        return json;
    }
    match std::str::from_utf8(payload) {
        Ok(text) => Value::from(text),
        Err(_) => json!({"base64": STANDARD.encode(payload)}),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use mistersmith_runtime::{GatherAnswer, GatherStatus};

    fn gathered(payload: &[u8]) -> Gathered {
        Gathered {
            request: "r1".into(),
            status: GatherStatus::Partial,
            answers: vec![GatherAnswer {
                agent: "a-001".parse().unwrap(),
                payload: payload.to_vec().into(),
                content_type: None,
            }],
            failed: vec![("a-002".parse().unwrap(), "busy".into())],
            missing: vec!["a-002".parse().unwrap()],
        }
    }

    fn read(bytes: &Bytes) -> Value {
        let mut value: Value = serde_json::from_slice(bytes).unwrap();
        value.as_object_mut().unwrap().remove("at").unwrap();
        value
    }

    #[test]
    fn answers_stand_as_what_they_are() {
        assert_eq!(shown(b"{\"a\": 1}"), json!({"a": 1}));
        assert_eq!(shown("grün".as_bytes()), json!("grün"));
        assert_eq!(shown(&[255, 0]), json!({"base64": "/wA="}));
        assert_eq!(shown(b""), json!(""));
    }

    #[test]
    fn the_report_says_how_it_ended() {
        let told = read(&fitting(&gathered(b"7"), Some("b-001"), 1000));
        let expected = json!({
            "request": "r1", "status": "partial", "asked_by": "b-001",
            "results": [{"agent_id": "a-001", "result": 7}], "results_omitted": false,
            "failed": [{"agent_id": "a-002", "error": "busy"}], "missing": ["a-002"],
        });
        assert_eq!(told, expected);
    }

    #[test]
    fn what_does_not_fit_is_left_out_and_that_is_said() {
        let told = read(&fitting(&gathered(&[b'x'; 2000]), None, 1000));
        assert_eq!(told.get("results"), Some(&json!([{"agent_id": "a-001"}])));
        assert_eq!(told.get("results_omitted"), Some(&json!(true)));
    }
}
