//! Connections of unit tests to their servers, and manifests.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::time::Duration;

use mistersmith_core::config::{InstanceMode, PermissionSpec, PluginSpec};
use mistersmith_core::digest::Digest;
use mistersmith_core::limits::PluginLimits;
use mistersmith_nats::{ConnectSpec, Connection, Headers, Transport};
use mistersmith_testing::TestServer;
use serde_json::Value;

/// The connections of a host to this server.
pub(crate) async fn connect(server: &TestServer) -> Transport {
    let spec = ConnectSpec::open(vec![server.url()], "test");
    Transport::connect(spec).await.unwrap()
}

/// Calls `$JS.API.<call>`, which succeeds.
pub(crate) async fn api(connection: &Connection, call: &str, body: &Value) -> Value {
    let subject = format!("$JS.API.{call}");
    let body = if body.is_null() {
        String::new()
    } else {
        body.to_string()
    };
    let asked = connection.request(
        &subject,
        Headers::new(),
        body.into(),
        Duration::from_secs(5),
    );
    let answer: Value = serde_json::from_slice(&asked.await.unwrap().payload).unwrap();
    assert_eq!(answer["error"], Value::Null, "{call}");
    answer
}

/// What the manifest of a plugin says that has nothing but a name and a version.
pub(crate) fn plugin_spec(name: &str, version: &str) -> PluginSpec {
    PluginSpec {
        name: name.parse().unwrap(),
        version: version.to_owned(),
        description: String::new(),
        dir: name.into(),
        manifest: "plugin.toml".into(),
        digest: Digest::of(version.as_bytes()),
        component: "plugin.wasm".into(),
        instances: 1,
        instance: InstanceMode::Agent,
        capabilities: Vec::new(),
        credentials: None,
        config: serde_json::Map::new(),
        work: Vec::new(),
        pipeline: Vec::new(),
        subscribe: Vec::new(),
        scatter: None,
        election: None,
        circuit: None,
        idempotence: None,
        execute_schema: None,
        permissions: PermissionSpec::default(),
        limits: PluginLimits::default(),
    }
}
