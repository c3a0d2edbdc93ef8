//! The transport against a real server.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod acks;
mod authority;
mod cluster;
mod connect;
mod core;
mod denials;
mod fake_server;
mod intake;
mod kv;
mod kv_cursor;
mod kv_unreadable;
mod listing;
mod object;
mod pool;
mod pull;
mod pull_status;
mod revival;
mod secrets;
mod stored;
mod stream;
mod undecided;
mod unreadable;

use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};

use super::Connection;

const SECOND: Duration = Duration::from_secs(1);

fn payload(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

/// Makes a stream with these settings and any name.
async fn stream(connection: &Connection, config: Value) {
    let name = config["name"].as_str().unwrap().to_owned();
    let call = format!("STREAM.CREATE.{name}");
    connection.call::<Value>(&call, &config).await.unwrap();
}

/// Makes a bucket with what makes a stream one.
async fn bucket(connection: &Connection, name: &str, more: Value) {
    let mut config = json!({
        "name": format!("KV_{name}"),
        "subjects": [format!("$KV.{name}.>")],
        "max_msgs_per_subject": 1,
        "discard": "new",
        "allow_rollup_hdrs": true,
        "deny_delete": true,
        "allow_direct": true,
    });
    for (key, value) in more.as_object().unwrap() {
        config[key] = value.clone();
    }
    stream(connection, config).await;
}
