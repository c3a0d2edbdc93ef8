//! What commands that change something leave in the audit trail.

use anyhow::Context;
use serde_json::{Map, Value, json};

use crate::patterns::lifecycle::now;
use crate::transport::{Headers, Link};

/// A person did something by a command.
pub(crate) use crate::patterns::audit::COMMAND;
/// A person had something done that destroys.
pub(crate) const FORCED: &str = "forced";

/// Stores `audit.<kind>`: which command, by whom, when, and `details`, which is an object.
///
/// Called before the deed: what cannot be told is not done.
pub(crate) async fn write(
    link: &Link,
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
    headers.insert("Content-Type", "application/json")?;
    let subject = format!("audit.{kind}");
    let id = format!("audit:cli:{}", nuid::next());
    link.store(
        &subject,
        &id,
        headers,
        Value::Object(entry).to_string().into(),
    )
    .await
    .with_context(|| format!("cannot write `{command}` into the audit trail, so it is not done"))?;
    Ok(())
}

/// Who sits at the terminal, as far as the environment tells.
fn user() -> String {
    let name = ["SUDO_USER", "USER", "LOGNAME"]
        .into_iter()
        .find_map(|name| std::env::var(name).ok());
    name.unwrap_or_else(|| "unknown".to_owned())
}
