//! Doing what a plan says.

use std::fmt;

use serde_json::{Map, Value, json};
use thiserror::Error;

use super::current::{Stream, stream};
use super::diff::{compare, limit, updated};
use super::plan::shown;
use super::{Action, Change, Effect, PATIENCE, Plan, window};
use crate::transport::api::{CallError, code};
use crate::transport::{Link, TransportError, persist};

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
        /// What the server said.
        source: TransportError,
    },
    /// The server could not be asked what it holds.
    #[error("cannot ask JetStream what it holds: {0}")]
    Unread(#[from] TransportError),
}

/// What was done.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Applied {
    /// One line for each asset that was changed.
    pub done: Vec<String>,
    /// What is not as it should be, and works nevertheless.
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

/// Does what a plan says. Refuses as a whole, before it does anything, when something cannot be used as it
/// is; `force` narrows what is too wide, and makes anew what cannot be changed.
pub async fn apply(link: &Link, plan: &Plan, force: bool) -> Result<Applied, ProvisionError> {
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
        let outcome = one(link, change, force, &mut applied).await;
        outcome.map_err(|source| ProvisionError::Failed {
            asset: change.title(),
            source,
        })?;
    }
    Ok(applied)
}

async fn one(
    link: &Link,
    change: &Change,
    force: bool,
    applied: &mut Applied,
) -> Result<(), TransportError> {
    match change.action {
        Action::Same | Action::InTheWay { .. } => Ok(()),
        Action::Create => create(link, change, applied).await,
        Action::Drift if !force => {
            applied.warnings.push(change.to_string());
            Ok(())
        }
        Action::Update | Action::Drift => {
            let config = updated(&change.current, &change.diffs, force);
            let now = configure(link, "UPDATE", &config).await?;
            if compare(&change.asset, &now, true) != change.diffs {
                applied.done.push(change.to_string());
            }
            verify(change, &now, force, applied);
            Ok(())
        }
        Action::Refused { .. } => {
            tracing::warn!(stream = change.asset.stream, "deleting a stream by force");
            let call = format!("STREAM.DELETE.{}", change.asset.stream);
            link.call::<Value>(&call, &json!(null)).await?;
            create(link, change, applied).await
        }
    }
}

/// Creates a stream; with fewer bytes reserved when the server has no more.
async fn create(link: &Link, change: &Change, applied: &mut Applied) -> Result<(), TransportError> {
    let mut config = change.asset.config.clone();
    loop {
        let created = configure(link, "CREATE", &config).await;
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

/// Creates or updates a stream, waiting for a cluster to be ready; returns the configuration it has now.
async fn configure(
    link: &Link,
    verb: &str,
    config: &Map<String, Value>,
) -> Result<Map<String, Value>, TransportError> {
    let name = config
        .get("name")
        .and_then(Value::as_str)
        .unwrap_or_default();
    persist(PATIENCE, || async {
        match put(link, verb, name, config).await {
            Ok(stream) => Ok(stream.config),
            // Another host was quicker, or is at it. How the stream looks is compared afterwards.
            Err(error) if code::STREAM_IS_THERE.iter().any(|code| error.is(*code)) => {
                let there = stream(link, name).await?;
                there
                    .map(|stream| stream.config)
                    .ok_or_else(|| TransportError::Unavailable(said(&error)))
            }
            // So says a cluster what a single server calls insufficient storage.
            Err(error) if error.is(code::NO_PEERS) && said(&error).contains("storage") => {
                Err(TransportError::Full(said(&error)))
            }
            // The server looks for room first, also where another host was quicker.
            Err(error) if verb == "CREATE" && code::STORAGE.iter().any(|code| error.is(*code)) => {
                let there = stream(link, name).await?;
                there
                    .map(|stream| stream.config)
                    .ok_or_else(|| error.into())
            }
            Err(error) if error.is(code::NO_PEERS) => Err(TransportError::Unavailable(format!(
                "{}; fix: start the missing servers of the cluster, or set [jetstream] replicas = 1",
                said(&error)
            ))),
            Err(error) => Err(error.into()),
        }
    })
    .await
}

/// Creates or updates a stream; with a shorter window for duplicates when the server allows no longer one.
async fn put(
    link: &Link,
    verb: &str,
    name: &str,
    config: &Map<String, Value>,
) -> Result<Stream, CallError> {
    let call = format!("STREAM.{verb}.{name}");
    let put = link.call(&call, &Value::Object(config.clone())).await;
    let window = match &put {
        Err(error) if error.is(code::STREAM_CONFIG) => window::allowed(&said(error)),
        _ => None,
    };
    let Some(window) = window else {
        return put;
    };
    let mut config = config.clone();
    config.insert("duplicate_window".to_owned(), json!(window));
    link.call(&call, &Value::Object(config)).await
}

fn said(error: &CallError) -> String {
    TransportError::from(error.clone()).to_string()
}

/// Compares what the server answered: older ones ignore settings that they do not know, without a word.
fn verify(change: &Change, now: &Map<String, Value>, all: bool, applied: &mut Applied) {
    let mut asset = change.asset.clone();
    // A reduced reservation was said already.
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
