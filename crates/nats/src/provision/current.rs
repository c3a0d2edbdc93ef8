//! Reads the streams that the server holds, and those whose subjects are in the way.

use std::collections::BTreeMap;

use futures_util::future::try_join_all;
use serde_json::Value;

use super::Asset;
use crate::api::{CallError, code};
use crate::stream::StreamInfo;
use crate::{Connection, TransportError};

/// The wanted streams that exist, and the obstacles to the others.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Current {
    /// The streams that exist, by name.
    pub(super) streams: BTreeMap<String, StreamInfo>,
    /// For a stream that does not exist: which others capture one of its subjects.
    pub(super) in_the_way: BTreeMap<String, Vec<String>>,
}

/// Reads what exists of these assets, and what stands in the way of the others.
pub async fn read(connection: &Connection, assets: &[Asset]) -> Result<Current, TransportError> {
    let mut current = Current::default();
    // Together: each is a question and an answer, and a host that starts asks a dozen.
    let found = try_join_all(assets.iter().map(|asset| look(connection, asset))).await?;
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

/// The stream of one asset, or the obstacles to it.
enum Found {
    Stream(Box<StreamInfo>),
    InTheWay(Vec<String>),
}

async fn look(connection: &Connection, asset: &Asset) -> Result<Found, TransportError> {
    if let Some(stream) = stream(connection, &asset.stream).await? {
        return Ok(Found::Stream(Box::new(stream)));
    }
    let mut others = in_the_way(connection, asset).await?;
    if others.contains(&asset.stream) {
        // Another host has made it since we asked for it.
        others.retain(|name| *name != asset.stream);
        if let Some(stream) = stream(connection, &asset.stream).await? {
            return Ok(Found::Stream(Box::new(stream)));
        }
    }
    Ok(Found::InTheWay(others))
}

/// One stream; none when it does not exist.
pub(super) async fn stream(
    connection: &Connection,
    name: &str,
) -> Result<Option<StreamInfo>, CallError> {
    match connection.stream_info(name).await {
        Ok(stream) => Ok(Some(stream)),
        Err(error) if error.is(code::STREAM_NOT_FOUND) => Ok(None),
        Err(error) => Err(error),
    }
}

async fn in_the_way(connection: &Connection, asset: &Asset) -> Result<Vec<String>, TransportError> {
    let mut found = Vec::new();
    for subject in asset.subjects() {
        // Another host may have made this very stream since we asked for it.
        let others = connection.capturing(subject).await?;
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
