//! Applies a plan, and compares what the server has set.

use std::fmt;
use std::time::Duration;

use serde_json::{Map, Value, json};
use thiserror::Error;

use super::current::stream;
use super::diff::{compare, limit, updated};
use super::shown::shown;
use super::{Action, Change, Effect, Plan, window};
use crate::api::{CallError, code};
use crate::stream::StreamInfo;
use crate::{Connection, TransportError, retry};

/// How long a cluster that just starts, or has lost a leader, is waited for.
pub(super) const PATIENCE: Duration = Duration::from_secs(15);
/// The least that an elastic byte limit is reduced to.
const LEAST_BYTES: u64 = 16_000_000;

/// Why the assets are not as they should be.
#[derive(Debug, Error)]
pub enum ProvisionError {
    /// Something exists that cannot be used; nothing was changed. One line for each.
    #[error("JetStream holds what the host cannot use:\n{}", .0.join("\n"))]
    Refused(Vec<String>),
    /// The server did not do it.
    #[error("cannot provision {asset}: {source}")]
    Failed {
        /// Which asset.
        asset: String,
        /// The server's error.
        source: TransportError,
    },
    /// The server could not be asked what it holds.
    #[error("cannot ask JetStream what it holds: {0}")]
    Unread(#[from] TransportError),
}

/// The changes that were made.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Applied {
    /// One line for each asset that was changed.
    pub done: Vec<String>,
    /// Settings that differ from what is wanted, and work nevertheless.
    pub warnings: Vec<String>,
}

impl fmt::Display for Applied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in &self.done {
            writeln!(f, "{line}")?;
        }
        for line in &self.warnings {
            writeln!(f, "warning: {line}")?;
        }
        Ok(())
    }
}

/// Applies a plan. Refuses as a whole, before it does anything, when something cannot be used as it
/// is; `force` narrows what is too wide, and recreates what cannot be changed.
pub async fn apply(
    connection: &Connection,
    plan: &Plan,
    force: bool,
) -> Result<Applied, ProvisionError> {
    let refused: Vec<String> = plan
        .changes
        .iter()
        .filter(|change| match change.action {
            Action::InTheWay { .. } => true,
            Action::Refused { .. } => !force,
            _ => false,
        })
        .map(ToString::to_string)
        .collect();
    if !refused.is_empty() {
        return Err(ProvisionError::Refused(refused));
    }
    let mut applied = Applied::default();
    // Small reservations first: the large ones take what is left.
    let mut changes: Vec<&Change> = plan.changes.iter().collect();
    changes.sort_by_key(|change| change.asset.max_bytes());
    for change in changes {
        let outcome = apply_change(connection, change, force, &mut applied).await;
        outcome.map_err(|source| ProvisionError::Failed {
            asset: change.title(),
            source,
        })?;
    }
    Ok(applied)
}

async fn apply_change(
    connection: &Connection,
    change: &Change,
    force: bool,
    applied: &mut Applied,
) -> Result<(), TransportError> {
    match change.action {
        Action::Same | Action::InTheWay { .. } => Ok(()),
        Action::Create => create(connection, change, applied).await,
        Action::Drift if !force => {
            applied.warnings.push(change.to_string());
            Ok(())
        }
        Action::Update | Action::Drift => {
            let config = updated(&change.current, &change.diffs, force);
            let now = configure(connection, "UPDATE", &config).await?;
            if compare(&change.asset, &now, true) != change.diffs {
                applied.done.push(change.to_string());
            }
            verify(change, &now, force, applied);
            Ok(())
        }
        Action::Refused { .. } => {
            tracing::warn!(stream = change.asset.stream, "deleting a stream by force");
            let call = format!("STREAM.DELETE.{}", change.asset.stream);
            connection.call::<Value>(&call, &json!(null)).await?;
            create(connection, change, applied).await
        }
    }
}

/// Creates a stream; with fewer bytes reserved when the server has no more.
async fn create(
    connection: &Connection,
    change: &Change,
    applied: &mut Applied,
) -> Result<(), TransportError> {
    let mut config = change.asset.config.clone();
    loop {
        let created = configure(connection, "CREATE", &config).await;
        let bytes = config.get("max_bytes").and_then(Value::as_u64);
        match (created, bytes) {
            (Err(TransportError::Full(_)), Some(bytes))
                if change.asset.elastic && bytes / 2 >= LEAST_BYTES =>
            {
                config.insert("max_bytes".to_owned(), json!(bytes / 2));
            }
            (Err(error), _) => return Err(error),
            (Ok(now), _) => {
                let mut line = format!("create   {}", change.title());
                if config != change.asset.config {
                    let less = shown("max_bytes", config.get("max_bytes").unwrap_or(&Value::Null));
                    line.push_str(&format!(": the server has only {less} to reserve for it"));
                }
                applied.done.push(line);
                verify(change, &now, true, applied);
                return Ok(());
            }
        }
    }
}

/// Creates or updates a stream, waiting for a cluster to be ready; returns the configuration it has
/// now.
async fn configure(
    connection: &Connection,
    verb: &str,
    config: &Map<String, Value>,
) -> Result<Map<String, Value>, TransportError> {
    let name = config
        .get("name")
        .and_then(Value::as_str)
        .unwrap_or_default();
    retry(PATIENCE, || async {
        match put(connection, verb, name, config).await {
            Ok(stream) => Ok(stream.config),
            // Another host was quicker, or is at it. How the stream looks is compared afterwards.
            Err(error) if code::STREAM_IS_THERE.iter().any(|code| error.is(*code)) => {
                let there = stream(connection, name).await?;
                there
                    .map(|stream| stream.config)
                    .ok_or_else(|| TransportError::Unavailable(error_text(&error)))
            }
            // So says a cluster what a single server calls insufficient storage.
            Err(error) if error.is(code::NO_PEERS) && error_text(&error).contains("storage") => {
                Err(TransportError::Full(error_text(&error)))
            }
            // The server looks for room first, also where another host was quicker.
            Err(error) if verb == "CREATE" && code::STORAGE.iter().any(|code| error.is(*code)) => {
                let there = stream(connection, name).await?;
                there
                    .map(|stream| stream.config)
                    .ok_or_else(|| error.into())
            }
            Err(error) if error.is(code::NO_PEERS) => Err(TransportError::Unavailable(format!(
                "{}; fix: start the missing servers of the cluster, or set [jetstream] replicas = 1",
                error_text(&error)
            ))),
            Err(error) => Err(error.into()),
        }
    })
    .await
}

/// Creates or updates a stream; with a shorter window for duplicates when the server allows no
/// longer one.
async fn put(
    connection: &Connection,
    verb: &str,
    name: &str,
    config: &Map<String, Value>,
) -> Result<StreamInfo, CallError> {
    let call = format!("STREAM.{verb}.{name}");
    let put = connection.call(&call, &Value::Object(config.clone())).await;
    let window = match &put {
        Err(error) if error.is(code::STREAM_CONFIG) => window::allowed(&error_text(error)),
        _ => None,
    };
    let Some(window) = window else {
        return put;
    };
    let mut config = config.clone();
    config.insert("duplicate_window".to_owned(), json!(window));
    connection.call(&call, &Value::Object(config)).await
}

fn error_text(error: &CallError) -> String {
    TransportError::from(error.clone()).to_string()
}

/// Compares what the server answered: older ones ignore settings that they do not know, without a
/// word.
fn verify(change: &Change, now: &Map<String, Value>, all: bool, applied: &mut Applied) {
    let mut asset = change.asset.clone();
    // A reduced reservation was reported already.
    asset.elastic = asset.elastic || change.action == Action::Create;
    for diff in compare(&asset, now, true) {
        let kept = diff.effect == Effect::Narrows && !all;
        if diff.field == "duplicate_window" && limit(&diff.current) < limit(&diff.desired) {
            applied.warnings.push(format!(
                "{}: the server recognises a message that is stored again for {} only, instead of {}; fix: \
                 raise duplicate_window in the limits of its JetStream",
                change.title(),
                shown(&diff.field, &diff.current),
                shown(&diff.field, &diff.desired)
            ));
        } else if !kept {
            applied.warnings.push(format!(
                "{}: the server has not set {diff}; it may be too old for it",
                change.title()
            ));
        }
    }
}
