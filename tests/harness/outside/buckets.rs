//! The content of buckets, read by an outside client.

use async_nats::jetstream::kv;
use futures_util::StreamExt;
use serde_json::Value;

use super::Outside;
use crate::wait::{until, within};

impl Outside {
    /// Creates a bucket that does not belong to the host.
    pub async fn make_bucket(&self, bucket: &str) {
        let config = serde_json::json!({
            "name": format!("KV_{bucket}"), "subjects": [format!("$KV.{bucket}.>")],
            "max_msgs_per_subject": 1, "discard": "new", "storage": "file", "retention": "limits",
            "allow_rollup_hdrs": true, "deny_delete": true, "allow_direct": true, "num_replicas": 1,
            "max_msgs": -1, "max_bytes": -1, "max_consumers": -1,
        });
        let made = self
            .request_json(
                &format!("$JS.API.STREAM.CREATE.KV_{bucket}"),
                config.to_string(),
            )
            .await;
        assert!(made["error"].is_null(), "{made}");
    }

    pub async fn kv(&self, bucket: &str) -> kv::Store {
        within("a bucket answers", self.js.get_key_value(bucket))
            .await
            .unwrap()
    }

    /// A value as JSON, when there is one.
    pub async fn kv_json(&self, bucket: &str, key: &str) -> Option<Value> {
        let value = self.kv(bucket).await.get(key).await.unwrap()?;
        Some(serde_json::from_slice(&value).unwrap())
    }

    pub async fn keys(&self, bucket: &str) -> Vec<String> {
        let keys = self.kv(bucket).await.keys().await.unwrap();
        let mut keys: Vec<String> = keys.map(Result::unwrap).collect().await;
        keys.sort();
        keys
    }

    /// The value of an agent in AGENT_STATE.
    pub async fn state(&self, agent: &str) -> Option<Value> {
        self.kv_json("AGENT_STATE", &format!("agent.{agent}")).await
    }

    /// Waits until an agent has this status in AGENT_STATE.
    pub async fn state_is(&self, agent: &str, status: &str) -> Value {
        until(&format!("{agent} is {status} in AGENT_STATE"), async || {
            self.state(agent)
                .await
                .filter(|state| state["status"] == status)
        })
        .await
    }
}
