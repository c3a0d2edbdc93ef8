//! The settings of every asset, as any client sees them.

use serde_json::{Value, json};

use harness::{Host, Nats};

const SECOND: u64 = 1_000_000_000;
const HOUR: u64 = 3600 * SECOND;
const DAY: u64 = 24 * HOUR;

/// Stream, subjects, age, and further settings.
fn expected() -> Vec<(&'static str, Vec<&'static str>, u64, Value)> {
    let lifecycle = ["created", "started", "ready", "stopped", "error"];
    let lifecycle = lifecycle
        .map(|event| -> &'static str { Box::leak(format!("agent.*.{event}").into_boxed_str()) });
    vec![
        (
            "AGENT_LIFECYCLE",
            lifecycle.to_vec(),
            7 * DAY,
            json!({"retention": "limits", "max_bytes": 10_000_000_000_u64}),
        ),
        (
            "WORK_QUEUE",
            vec!["work.>"],
            DAY,
            json!({
                "retention": "workqueue", "max_msgs_per_subject": 1000, "discard": "new",
                "discard_new_per_subject": true, "allow_direct": true,
            }),
        ),
        (
            "COORDINATION",
            vec!["coord.>", "pipeline.>", "scatter.>", "gather.>"],
            48 * HOUR,
            json!({"retention": "limits"}),
        ),
        (
            "RESULTS",
            vec!["agent.*.resp.*"],
            DAY,
            json!({"retention": "limits"}),
        ),
        (
            "DLQ",
            vec!["dlq.>"],
            30 * DAY,
            json!({"retention": "limits", "duplicate_window": DAY}),
        ),
        (
            "AUDIT",
            vec!["audit.>"],
            30 * DAY,
            json!({"retention": "limits"}),
        ),
        (
            "KV_AGENT_STATE",
            vec!["$KV.AGENT_STATE.>"],
            300 * SECOND,
            json!({"max_msgs_per_subject": 1}),
        ),
        (
            "KV_AGENT_LEASES",
            vec!["$KV.AGENT_LEASES.>"],
            15 * SECOND,
            json!({}),
        ),
        ("KV_AGENT_CLAIMS", vec!["$KV.AGENT_CLAIMS.>"], 0, json!({})),
        ("KV_AGENT_CONFIG", vec!["$KV.AGENT_CONFIG.>"], 0, json!({})),
        ("KV_CIRCUITS", vec!["$KV.CIRCUITS.>"], 0, json!({})),
        ("KV_ATTEMPTS", vec!["$KV.ATTEMPTS.>"], 2 * DAY, json!({})),
        ("KV_PIPELINES", vec!["$KV.PIPELINES.>"], 2 * DAY, json!({})),
        (
            "KV_IDEMPOTENCE",
            vec!["$KV.IDEMPOTENCE.>"],
            24 * 3600 * SECOND,
            json!({}),
        ),
        (
            "KV_NOTES",
            vec!["$KV.NOTES.>"],
            0,
            json!({"max_msgs_per_subject": 1}),
        ),
        (
            "OBJ_PAYLOADS",
            vec!["$O.PAYLOADS.C.>", "$O.PAYLOADS.M.>"],
            31 * DAY,
            json!({}),
        ),
    ]
}

#[tokio::test]
async fn a_host_makes_what_is_needed_as_the_contract_says() {
    let nats = Nats::start().await;
    let host = Host::new(&nats)
        .plugin("probe", |p| {
            p.work("lab", "*")
                .work("lab2", "sorting")
                .grant_kv("NOTES", "mine.>", "read")
        })
        .run()
        .await;
    for (name, subjects, max_age, more) in expected() {
        let config = serde_json::to_value(nats.stream_info(name).await.config).unwrap();
        assert_eq!(config["subjects"], json!(subjects), "{name}");
        assert_eq!(
            config["max_age"].as_u64().unwrap_or_default(),
            max_age,
            "{name}"
        );
        assert_eq!(config["storage"], "file", "{name}");
        assert_eq!(config["num_replicas"], 1, "{name}: one server");
        for (key, value) in more.as_object().unwrap() {
            if key == "max_bytes" {
                // A reservation is scaled to what the server has: here 20 GB for everything.
                let bytes = config[key].as_u64().unwrap();
                assert!(
                    bytes > 0 && bytes <= value.as_u64().unwrap(),
                    "{name}: {bytes}"
                );
            } else {
                assert_eq!(config[key], *value, "{name}: {key}");
            }
        }
    }
    let state = nats.stream_info("KV_AGENT_STATE").await.config;
    assert_eq!(
        state.description.as_deref(),
        Some("Current state of all agents")
    );

    let stream = nats.stream("WORK_QUEUE").await;
    for (durable, filter) in [
        ("workers-lab_critical_all", "work.lab.critical.*"),
        ("workers-lab_high_all", "work.lab.high.*"),
        ("workers-lab_normal_all", "work.lab.normal.*"),
        ("workers-lab_low_all", "work.lab.low.*"),
        ("workers-lab_short_all", "work.lab.*"),
        ("workers-lab2_low_sorting", "work.lab2.low.sorting"),
        ("workers-lab2_short_sorting", "work.lab2.sorting"),
    ] {
        let info = stream.consumer_info(durable).await.unwrap();
        let config = serde_json::to_value(&info.config).unwrap();
        assert_eq!(config["filter_subject"], filter, "{durable}");
        assert_eq!(config["ack_policy"], "explicit", "{durable}");
        assert_eq!(config["ack_wait"], 30 * SECOND, "{durable}");
        assert_eq!(config["max_deliver"], -1, "the host counts: {durable}");
        let threshold = config["inactive_threshold"].as_u64().unwrap_or_default();
        assert_eq!(threshold, 0, "{durable} is kept");
    }
    // One server holds one copy, which is said once.
    let said = "one replica of everything";
    let warned = host.logs.find(|line| line.message().contains(said));
    assert_eq!(warned.len(), 1, "{warned:#?}");
}
