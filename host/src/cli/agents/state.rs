//! Reads AGENT_STATE, where every host writes how its agents are.

use std::collections::BTreeSet;

use futures_util::{StreamExt, TryStreamExt, stream};
use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::cli::output;
use crate::transport::{Link, TransportError};

/// The bucket.
const BUCKET: &str = "AGENT_STATE";
/// The keys of agents in it.
const KEYS: &str = "agent.*";
/// Agents that are shown at most: all hosts of a large system together.
const MOST: usize = 100_000;
/// Values that are asked for at a time.
const AT_ONCE: usize = 32;

/// How one agent is, in its host's words.
#[derive(Debug)]
pub(super) struct State {
    /// `<plugin>-<NNN>`.
    id: String,
    /// The value as it stands in the bucket.
    pub(super) value: Value,
    /// How long ago it was written, by the clock of the server.
    age: Option<String>,
}

/// All agents, by id.
pub(super) async fn read(link: &Link) -> Result<Vec<State>, TransportError> {
    let bucket = link.kv(BUCKET).await?;
    let keys = match bucket.keys(KEYS, MOST).await {
        // No host was ever here.
        Err(TransportError::NotFound(_)) => return Ok(Vec::new()),
        keys => keys?,
    };
    let now = link.server_time().await?;
    let now = now.unwrap_or_else(OffsetDateTime::now_utc);
    let values = link.stream(&format!("KV_{BUCKET}"))?;
    let mut states: Vec<State> = stream::iter(keys)
        .map(async |key| {
            let newest = values.newest(&format!("$KV.{BUCKET}.{key}")).await?;
            let newest = newest.filter(|entry| entry.headers.get("KV-Operation").is_none());
            Ok(newest.map(|entry| State {
                age: age(&entry.stored_at, now),
                ..State::new(&key, &entry.payload)
            }))
        })
        .buffer_unordered(AT_ONCE)
        // An agent may stop between the list and the look.
        .try_filter_map(async |state| Ok::<_, TransportError>(state))
        .try_collect()
        .await?;
    states.sort_by(|one, other| one.id.cmp(&other.id));
    Ok(states)
}

impl State {
    fn new(key: &str, value: &[u8]) -> State {
        // Anybody with the right to write could have put something else there.
        let value = serde_json::from_slice(value).unwrap_or(Value::Null);
        let id = key.strip_prefix("agent.").unwrap_or(key).to_owned();
        State {
            id,
            value,
            age: None,
        }
    }

    pub(super) fn row(&self) -> Vec<String> {
        let top = |name: &str| self.value.get(name);
        let meta = |name: &str| self.value.get("metadata")?.get(name);
        let text = |value: Option<&Value>| match value {
            Some(Value::String(text)) => output::one_line(text, 63),
            Some(Value::Null) | None => "?".to_owned(),
            Some(value) => value.to_string(),
        };
        let load = top("current_load").and_then(Value::as_f64);
        vec![
            output::one_line(&self.id, 80),
            text(top("status")),
            load.map_or("?".to_owned(), |load| format!("{:.0} %", load * 100.0)),
            self.age.clone().unwrap_or("?".to_owned()),
            text(meta("host")),
            text(meta("version")),
            text(meta("handled")),
            text(meta("failed")),
        ]
    }
}

/// Consumers whose pulls keep failing, with host and error, each once.
pub(super) fn failing_pulls(states: &[State]) -> Vec<Vec<String>> {
    let of = |state: &State| -> Option<Vec<Vec<String>>> {
        let metadata = state.value.get("metadata")?;
        let host = metadata.get("host")?.as_str()?;
        let errors = metadata.get("pull_errors")?.as_object()?.iter();
        let row = |(consumer, error): (&String, &Value)| {
            let error = error.as_str().unwrap_or_default();
            vec![
                output::one_line(consumer, 100),
                output::one_line(host, 63),
                output::one_line(error, 300),
            ]
        };
        Some(errors.map(row).collect())
    };
    let rows: BTreeSet<Vec<String>> = states.iter().filter_map(of).flatten().collect();
    rows.into_iter().collect()
}

/// How long before `now` a time was.
fn age(time: &str, now: OffsetDateTime) -> Option<String> {
    let time = OffsetDateTime::parse(time, &Rfc3339).ok()?;
    // It may have been written after the server was asked for its time.
    let seconds = (now - time).whole_seconds().max(0);
    Some(match seconds {
        0..120 => format!("{seconds} s ago"),
        120..7200 => format!("{} min ago", seconds / 60),
        _ => format!("{} h ago", seconds / 3600),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::json;

    #[test]
    fn a_row_shows_what_is_there() {
        let value = json!({
            "agent_id": "echo-001", "status": "busy", "current_load": 0.255,
            "metadata": { "host": "h\u{1b}[2J", "version": "0.1.0", "handled": 3 },
        });
        let row = State::new("agent.echo-001", value.to_string().as_bytes()).row();
        let shown = [
            "echo-001",
            "busy",
            "26 %",
            "?",
            "h\\u{1b}[2J",
            "0.1.0",
            "3",
            "?",
        ];
        assert_eq!(row, shown);
        let strange = State::new("agent.x-001", b"no json").row();
        assert!(strange.iter().skip(1).all(|cell| cell == "?"));
    }

    #[test]
    fn a_consumer_whose_pulls_fail_is_shown_once_for_each_host() {
        let on = |id: &str, host: &str, errors: Value| {
            let value = json!({"metadata": {"host": host, "pull_errors": errors}});
            State::new(&format!("agent.{id}"), value.to_string().as_bytes())
        };
        let states = [
            on("a-001", "h1", json!({"workers-x": "no answer"})),
            on("a-002", "h1", json!({"workers-x": "no answer"})),
            on("a-003", "h2", json!({"workers-x": "gone"})),
            on("b-001", "h1", Value::Null),
            State::new("agent.c-001", b"no json"),
        ];
        let shown = [
            ["workers-x", "h1", "no answer"],
            ["workers-x", "h2", "gone"],
        ];
        assert_eq!(failing_pulls(&states), shown);
    }

    #[test]
    fn ages_are_short() {
        let now = OffsetDateTime::parse("2026-01-02T03:00:00Z", &Rfc3339).unwrap();
        let age = |time| age(time, now);
        assert_eq!(age("2026-01-02T02:59:48.5Z").unwrap(), "11 s ago");
        assert_eq!(age("2026-01-02T03:00:09Z").unwrap(), "0 s ago");
        assert_eq!(age("2026-01-02T02:00:00Z").unwrap(), "60 min ago");
        assert_eq!(age("2026-01-01T00:00:00Z").unwrap(), "27 h ago");
        assert_eq!(age("yesterday"), None);
    }
}
