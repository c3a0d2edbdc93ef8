//! Audit entries of commands that change something.

use anyhow::Context;
use serde_json::{Map, Value, json};

use crate::clock::now;
use mistersmith_nats::{Connection, Headers};

/// Kind of an entry: a person ran a command.
pub(crate) use crate::events::audit::COMMAND;
/// Kind of an entry: a person forced a destructive change.
pub(crate) const FORCED: &str = "forced";

/// Stores `audit.<kind>`: the command, the user, the time, and `details`, which is an object.
///
/// Called before the change: a change that cannot be recorded is not made.
pub(crate) async fn write(
    connection: &Connection,
    kind: &str,
    command: &str,
    details: Value,
) -> anyhow::Result<()> {
    let mut entry = match details {
        Value::Object(entry) => entry,
        other => Map::from_iter([("details".to_owned(), other)]),
    };
    entry.insert("kind".to_owned(), json!(kind));
    entry.insert("command".to_owned(), json!(command));
    entry.insert("by".to_owned(), json!(user()));
    entry.insert("at".to_owned(), json!(now()));
    let mut headers = Headers::new();
    headers.set_json();
    let subject = format!("audit.{kind}");
    let id = format!("audit:cli:{}", nuid::next());
    connection
        .store(
            &subject,
            &id,
            headers,
            Value::Object(entry).to_string().into(),
        )
        .await
        .with_context(|| {
            format!("cannot write `{command}` into the audit trail, so it is not done")
        })?;
    Ok(())
}

/// The user at the terminal, as far as the environment shows.
#[expect(
    clippy::disallowed_methods,
    reason = "the audit trail names the person"
)]
fn user() -> String {
    let name = ["SUDO_USER", "USER", "LOGNAME"]
        .into_iter()
        .find_map(|name| std::env::var(name).ok());
    name.unwrap_or_else(|| "unknown".to_owned())
}
