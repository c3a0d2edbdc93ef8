//! Reader of the buckets AGENT_STATE and AGENT_LEASES.
//!
//! Every host writes the state of its agents to AGENT_STATE; AGENT_LEASES shows whether that host
//! is alive. Without the leases, agents of a dead host would look alive: a value outlives its host
//! by some minutes.

use std::collections::BTreeSet;

use futures_util::{StreamExt, TryStreamExt, stream};
use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::cli::output;
use mistersmith_nats::{Connection, TransportError};

/// The bucket.
const BUCKET: &str = "AGENT_STATE";
/// The keys of agents in it.
const KEYS: &str = "agent.*";
/// The bucket of the leases, and the keys of hosts in it.
const LEASES: &str = "AGENT_LEASES";
const HOSTS: &str = "host.";
/// Most agents shown, over all hosts of a large system.
const MOST: usize = 100_000;
/// Number of concurrent requests for values.
const AT_ONCE: usize = 32;

/// The state of one agent, as its host wrote it.
#[derive(Debug)]
pub(super) struct State {
    /// `<plugin>-<NNN>`.
    id: String,
    /// The value in the bucket.
    pub(super) value: Value,
    /// The lease of its host has expired: the value is out of date.
    host_gone: bool,
    /// Time since it was written, by the clock of the server.
    age: Option<String>,
}

/// All agents, by id.
pub(super) async fn read(connection: &Connection) -> Result<Vec<State>, TransportError> {
    let bucket = connection.kv(BUCKET).await?;
    let keys = match bucket.keys(KEYS, MOST).await {
        // No host has run on this system yet.
        Err(TransportError::NotFound(_)) => return Ok(Vec::new()),
        keys => keys?,
    };
    let now = connection.server_time().await?;
    let now = now.unwrap_or_else(OffsetDateTime::now_utc);
    let values = connection.stream(&format!("KV_{BUCKET}"))?;
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
        // An agent may stop between the listing and the read.
        .try_filter_map(async |state| Ok::<_, TransportError>(state))
        .try_collect()
        .await?;
    // Read after the values: a host has its lease before it writes any.
    let living = living(connection).await?;
    for state in &mut states {
        state.look_for_host(living.as_ref());
    }
    states.sort_by(|one, other| one.id.cmp(&other.id));
    Ok(states)
}

/// The ids of the hosts with a live lease; none when they cannot be read, for example for lack of
/// permissions.
async fn living(connection: &Connection) -> Result<Option<BTreeSet<String>>, TransportError> {
    let leases = connection.stream(&format!("KV_{LEASES}"))?;
    let subject = format!("$KV.{LEASES}.{HOSTS}*");
    match leases.subjects(&subject, MOST).await {
        Ok(subjects) => {
            let ids = subjects.into_keys();
            let id = |subject: String| subject.rsplit('.').next().map(str::to_owned);
            Ok(Some(ids.filter_map(id).collect()))
        }
        Err(error) => {
            tracing::debug!(%error, "not known which hosts live");
            Ok(None)
        }
    }
}

impl State {
    fn new(key: &str, value: &[u8]) -> State {
        // Any client with write permission could have stored something else.
        let value: Value = serde_json::from_slice(value).unwrap_or(Value::Null);
        let id = key.strip_prefix("agent.").unwrap_or(key).to_owned();
        State {
            id,
            value,
            host_gone: false,
            age: None,
        }
    }

    /// Checks whether its host is alive; where the live hosts are unknown, it counts as alive.
    fn look_for_host(&mut self, living: Option<&BTreeSet<String>>) {
        let host = self.value.pointer("/metadata/host_id");
        let host = host.and_then(Value::as_str);
        self.host_gone = host
            .zip(living)
            .is_some_and(|(host, living)| !living.contains(host));
    }

    /// The value in the bucket, and whether its host is gone.
    pub(super) fn json(&self) -> Value {
        let mut value = self.value.clone();
        if let Some(value) = value.as_object_mut() {
            value.insert("host_gone".to_owned(), Value::Bool(self.host_gone));
        }
        value
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
            match self.host_gone {
                true => "host gone".to_owned(),
                false => text(top("status")),
            },
            load.map_or("?".to_owned(), |load| format!("{:.0} %", load * 100.0)),
            self.age.clone().unwrap_or("?".to_owned()),
            text(meta("host")),
            text(meta("version")),
            text(meta("handled")),
            text(meta("failed")),
        ]
    }
}

impl State {
    /// The subjects that the server denies it, each in a row.
    pub(super) fn denied(&self) -> Vec<Vec<String>> {
        let denied = self.value.pointer("/metadata/denied");
        let subjects = denied.and_then(Value::as_array).into_iter().flatten();
        subjects
            .filter_map(Value::as_str)
            .map(|subject| {
                vec![
                    output::one_line(&self.id, 80),
                    output::one_line(subject, 255),
                ]
            })
            .collect()
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

/// The time between `time` and `now`.
fn age(time: &str, now: OffsetDateTime) -> Option<String> {
    let time = OffsetDateTime::parse(time, &Rfc3339).ok()?;
    // It may have been written after the server's time was read.
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
        let deaf = json!({ "metadata": { "denied": ["tools.echo", "a\u{1b}b", 1] } });
        let deaf = State::new("agent.echo-001", deaf.to_string().as_bytes());
        assert_eq!(
            deaf.denied(),
            [["echo-001", "tools.echo"], ["echo-001", "a\\u{1b}b"]]
        );
        let strange = State::new("agent.x-001", b"no json");
        assert!(strange.denied().is_empty());
        let strange = strange.row();
        assert!(strange.iter().skip(1).all(|cell| cell == "?"));
    }

    #[test]
    fn an_agent_of_a_host_without_a_lease_is_shown_as_such() {
        let value = json!({ "status": "ready", "metadata": { "host_id": "h1" } }).to_string();
        let state = |living: Option<&[&str]>| {
            let living: Option<BTreeSet<String>> =
                living.map(|ids| ids.iter().map(ToString::to_string).collect());
            let mut state = State::new("agent.a-001", value.as_bytes());
            state.look_for_host(living.as_ref());
            state
        };
        let shown = |state: &State| {
            let gone = state.json().get("host_gone").cloned();
            (state.row().get(1).cloned(), gone)
        };
        let cases: [(Option<&[&str]>, &str, bool); 4] = [
            (Some(&["h1", "h2"]), "ready", false),
            (Some(&["h2"]), "host gone", true),
            (Some(&[]), "host gone", true),
            // Where the live hosts are unknown, no host counts as gone.
            (None, "ready", false),
        ];
        for (living, status, gone) in cases {
            let (row, json) = shown(&state(living));
            assert_eq!(
                (row.as_deref(), json),
                (Some(status), Some(json!(gone))),
                "{living:?}"
            );
        }
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
