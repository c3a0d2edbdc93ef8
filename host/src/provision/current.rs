//! What the server holds now.

use std::collections::BTreeMap;

use futures_util::future::try_join_all;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::Asset;
use crate::transport::api::{CallError, code};
use crate::transport::{Link, TransportError};

/// What the server holds of what is wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Current {
    /// The streams that exist, by name.
    pub(super) streams: BTreeMap<String, Stream>,
    /// For a stream that does not exist: which others capture one of its subjects.
    pub(super) in_the_way: BTreeMap<String, Vec<String>>,
}

/// One stream that exists.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub(super) struct Stream {
    /// Its whole configuration, also what we do not know.
    pub(super) config: Map<String, Value>,
    #[serde(default)]
    pub(super) state: State,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub(super) struct State {
    #[serde(default)]
    pub(super) messages: u64,
    #[serde(default)]
    pub(super) bytes: u64,
}

impl Stream {
    /// What it takes of the account's storage for files, on all servers.
    pub(super) fn used_storage(&self) -> u64 {
        self.on_disks(self.state.bytes)
    }

    /// What its byte limit reserves of that.
    pub(super) fn reserved_storage(&self) -> u64 {
        let limit = self.config.get("max_bytes").and_then(Value::as_u64);
        self.on_disks(limit.unwrap_or(0))
    }

    fn on_disks(&self, bytes: u64) -> u64 {
        if self.config.get("storage").and_then(Value::as_str) == Some("memory") {
            return 0;
        }
        let replicas = self.config.get("num_replicas").and_then(Value::as_u64);
        bytes.saturating_mul(replicas.unwrap_or(1))
    }
}

/// Reads what exists of these assets, and what stands in the way of the others.
pub async fn read(link: &Link, assets: &[Asset]) -> Result<Current, TransportError> {
    let mut current = Current::default();
    // Together: each is a question and an answer, and a host that starts asks a dozen.
    let found = try_join_all(assets.iter().map(|asset| look(link, asset))).await?;
    for (asset, found) in assets.iter().zip(found) {
        match found {
            Found::Stream(stream) => {
                current.streams.insert(asset.stream.clone(), *stream);
            }
            Found::InTheWay(others) if others.is_empty() => {}
            Found::InTheWay(others) => {
                current.in_the_way.insert(asset.stream.clone(), others);
            }
        }
    }
    Ok(current)
}

/// What there is of one asset.
enum Found {
    Stream(Box<Stream>),
    InTheWay(Vec<String>),
}

async fn look(link: &Link, asset: &Asset) -> Result<Found, TransportError> {
    if let Some(stream) = stream(link, &asset.stream).await? {
        return Ok(Found::Stream(Box::new(stream)));
    }
    let mut others = in_the_way(link, asset).await?;
    if others.contains(&asset.stream) {
        // Another host has made it since we asked for it.
        others.retain(|name| *name != asset.stream);
        if let Some(stream) = stream(link, &asset.stream).await? {
            return Ok(Found::Stream(Box::new(stream)));
        }
    }
    Ok(Found::InTheWay(others))
}

/// One stream; none when it does not exist.
pub(super) async fn stream(link: &Link, name: &str) -> Result<Option<Stream>, CallError> {
    match link
        .call(&format!("STREAM.INFO.{name}"), &json!(null))
        .await
    {
        Ok(stream) => Ok(Some(stream)),
        Err(error) if error.is(code::STREAM_NOT_FOUND) => Ok(None),
        Err(error) => Err(error),
    }
}

async fn in_the_way(link: &Link, asset: &Asset) -> Result<Vec<String>, TransportError> {
    #[derive(Deserialize)]
    struct Names {
        #[serde(default)]
        streams: Option<Vec<String>>,
    }
    let mut found = Vec::new();
    for subject in asset.subjects() {
        let names: Names = link
            .call("STREAM.NAMES", &json!({ "subject": subject }))
            .await?;
        // Another host may have made this very stream since we asked for it.
        let others = names.streams.unwrap_or_default();
        found.extend(others.into_iter().filter(|name| *name != asset.stream));
    }
    found.sort();
    found.dedup();
    Ok(found)
}

impl Asset {
    pub(super) fn subjects(&self) -> Vec<&str> {
        let subjects = self.config.get("subjects").and_then(Value::as_array);
        subjects
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect()
    }
}
