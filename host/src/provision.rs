//! JetStream as this host needs it.

pub mod claims;
pub mod consumers;

pub use claims::ConsumerClaims;

use serde_json::{Value, json};

/// Creates what is missing.
pub async fn ensure(
    link: &crate::transport::Link,
    _jetstream: &crate::config::JetstreamSpec,
    plugins: &[&crate::config::PluginSpec],
) -> anyhow::Result<()> {
    let day: u64 = 24 * 3600 * 1_000_000_000;
    let stream = |name: &str, subjects: &[&str], age: u64| json!({"name": name, "subjects": subjects, "retention": "limits", "storage": "file", "max_age": age, "num_replicas": 1, "max_msgs": -1, "max_bytes": -1, "max_consumers": -1, "allow_direct": true});
    let kv = |name: &str, ttl: u64| json!({"name": format!("KV_{name}"), "subjects": [format!("$KV.{name}.>")], "retention": "limits", "storage": "file", "max_age": ttl, "num_replicas": 1, "max_msgs_per_subject": 1, "discard": "new", "allow_rollup_hdrs": true, "deny_delete": true, "allow_direct": true, "max_msgs": -1, "max_bytes": -1, "max_consumers": -1});
    let mut work = stream("WORK_QUEUE", &["work.>"], day);
    work["retention"] = json!("workqueue");
    work["discard"] = json!("new");
    work["max_msgs_per_subject"] = json!(1000);
    work["discard_new_per_subject"] = json!(true);
    let mut all = vec![
        stream(
            "AGENT_LIFECYCLE",
            &[
                "agent.*.created",
                "agent.*.started",
                "agent.*.ready",
                "agent.*.stopped",
                "agent.*.error",
            ],
            7 * day,
        ),
        work,
        stream(
            "COORDINATION",
            &["coord.>", "pipeline.>", "scatter.>", "gather.>"],
            2 * day,
        ),
        stream("RESULTS", &["agent.*.resp.*"], day),
        stream("DLQ", &["dlq.>"], 30 * day),
        stream("AUDIT", &["audit.>"], 30 * day),
        kv("AGENT_STATE", 300_000_000_000),
        kv("AGENT_LEASES", 15_000_000_000),
        kv("AGENT_CLAIMS", 0),
        kv("AGENT_CONFIG", 0),
        kv("CIRCUITS", 0),
    ];
    for plugin in plugins {
        for grant in &plugin.permissions.kv {
            all.push(kv(grant.bucket.as_str(), 0));
        }
    }
    for config in all {
        let name = config["name"].as_str().unwrap_or_default().to_owned();
        let _ = link
            .call::<Value>(&format!("STREAM.CREATE.{name}"), &config)
            .await;
    }
    Ok(())
}
