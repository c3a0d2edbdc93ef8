//! Buckets and full streams, from inside a plugin.

use serde_json::{Value, json};

use harness::{Host, Nats};

#[tokio::test]
async fn buckets_are_read_and_written_by_compare_and_swap() {
    let nats = Nats::start().await;
    let _host = Host::new(&nats)
        .plugin("probe", |p| {
            p.instances(2)
                .grant_kv("B", ">", "read-write")
                .grant_kv("GONE", ">", "read")
        })
        .run()
        .await;
    let tell = async |command: Value| nats.tell("probe-001", command).await;
    let kv = |what: &str, more: Value| {
        let mut command = json!({"do": what, "bucket": "B"});
        command
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        command
    };
    // The bucket that a grant names is made by the host.
    assert_eq!(tell(kv("kv_get", json!({"key": "a"}))).await, Value::Null);
    assert_eq!(
        tell(kv("kv_keys", json!({"pattern": ">"}))).await,
        json!({"keys": []})
    );
    let revision = tell(kv("kv_create", json!({"key": "a", "value": "1"}))).await["revision"]
        .as_u64()
        .unwrap();
    let taken = tell(kv("kv_create", json!({"key": "a", "value": "2"}))).await;
    assert_eq!(taken["error"]["kind"], "conflict");
    let entry = tell(kv("kv_get", json!({"key": "a"}))).await;
    assert_eq!(entry, json!({"value": "1", "revision": revision}));

    // Somebody else writes in between.
    nats.kv("B").await.put("a", "theirs".into()).await.unwrap();
    let late = tell(kv(
        "kv_update",
        json!({"key": "a", "value": "2", "revision": revision}),
    ))
    .await;
    assert_eq!(late["error"]["kind"], "conflict");
    let late = tell(kv("kv_delete", json!({"key": "a", "revision": revision}))).await;
    assert_eq!(late["error"]["kind"], "conflict");
    let now = tell(kv("kv_get", json!({"key": "a"}))).await;
    assert_eq!(now["value"], "theirs");
    let next = tell(kv(
        "kv_update",
        json!({"key": "a", "value": "2", "revision": now["revision"]}),
    ))
    .await;
    assert_eq!(nats.kv("B").await.get("a").await.unwrap().unwrap(), "2");
    assert_eq!(
        tell(kv(
            "kv_delete",
            json!({"key": "a", "revision": next["revision"]})
        ))
        .await,
        json!({"ok": true})
    );
    assert_eq!(tell(kv("kv_get", json!({"key": "a"}))).await, Value::Null);
    // What was deleted can be made anew.
    assert!(tell(kv("kv_create", json!({"key": "a", "value": "3"}))).await["revision"].is_u64());

    for key in ["x.1", "x.2", "y.1"] {
        tell(kv("kv_put", json!({"key": key, "value": "v"}))).await;
    }
    for (pattern, keys) in [
        (">", json!(["a", "x.1", "x.2", "y.1"])),
        ("x.*", json!(["x.1", "x.2"])),
        ("*.1", json!(["x.1", "y.1"])),
        ("z.>", json!([])),
    ] {
        let told = tell(kv("kv_keys", json!({"pattern": pattern}))).await;
        assert_eq!(told["keys"], keys, "{pattern}");
    }
    // What one agent writes the other one reads.
    let other = nats
        .tell("probe-002", kv("kv_get", json!({"key": "x.1"})))
        .await;
    assert_eq!(other["value"], "v");
    // A bucket that somebody took away.
    nats.js.delete_key_value("GONE").await.unwrap();
    let gone = tell(json!({"do": "kv_get", "bucket": "GONE", "key": "a"})).await;
    assert_eq!(gone["error"]["kind"], "not-found");
}

#[tokio::test]
async fn a_full_bucket_or_stream_is_said_to_be_full() {
    let nats = Nats::start().await;
    let _host = Host::new(&nats)
        .config("[jetstream.buckets.SMALL]\nmax_bytes = \"1MiB\"")
        .config("[jetstream.streams.WORK_QUEUE]\nmax_msgs_per_subject = 3")
        .plugin("probe", |p| {
            p.grant_kv("SMALL", ">", "read-write")
                .grant_publish("work.>")
        })
        .run()
        .await;
    let mut last = Value::Null;
    for number in 0..20 {
        let put = json!({"do": "kv_put", "bucket": "SMALL", "key": format!("k{number}"), "value": "", "bytes": 100_000});
        last = nats.tell("probe-001", put).await;
        if last["error"].is_object() {
            break;
        }
    }
    assert_eq!(last["error"]["kind"], "full", "{last}");
    for expected in ["ok", "ok", "ok", "full", "full"] {
        let told = nats
            .tell(
                "probe-001",
                json!({"do": "publish_stored", "subject": "work.lab.high.x"}),
            )
            .await;
        assert_eq!(
            told["error"]["kind"].as_str().unwrap_or("ok"),
            expected,
            "{told}"
        );
    }
    // Another subject of the same stream has room.
    let told = nats
        .tell(
            "probe-001",
            json!({"do": "publish_stored", "subject": "work.lab.low.x"}),
        )
        .await;
    assert_eq!(told["stream"], "WORK_QUEUE");
}
