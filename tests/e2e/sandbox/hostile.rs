//! Hostile arguments: forged headers, subjects that are none, keys that are none.

use serde_json::{Value, json};

use harness::{Host, Nats, Outside, header};

async fn kind(nats: &Outside, command: Value) -> String {
    let told = nats.tell("probe-001", command).await;
    told["error"]["kind"].as_str().unwrap_or("ok").to_owned()
}

#[tokio::test]
async fn headers_cannot_be_forged() {
    let nats = Nats::start().await;
    let out = nats.listen("out").await;
    let _host = Host::new(&nats)
        .plugin("probe", |p| {
            p.grant_publish("out")
                .grant_publish("work.lab.x")
                .grant_request("out")
        })
        .run()
        .await;
    let long = "v".repeat(17 * 1024);
    let many: Vec<(String, &str)> = (0..65).map(|n| (format!("X-{n}"), "v")).collect();
    let forged = [
        ("X-Agent-ID", "boss-001"),
        ("x-agent-id", "boss-001"),
        ("X_Agent_ID", "boss-001"),
        ("X-Request-ID", "r"),
        ("X-Trace-ID", "t"),
        ("X-Span-ID", "s"),
        ("X-Priority", "critical"),
        ("X-Retry-Count", "0"),
        ("X-Claim", "x"),
        (
            "traceparent",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        ),
        ("tracestate", "a=b"),
        ("Nats-Msg-Id", "WORK_QUEUE:1:1:result"),
        ("Nats-Rollup", "all"),
        ("Nats-Expected-Last-Sequence", "0"),
        ("Nats-TTL", "1s"),
        ("Nats-Service-Error", "x"),
        ("KV-Operation", "PURGE"),
        ("Status", "503"),
        ("", "v"),
        ("X-A B", "v"),
        ("X-A:", "v"),
        ("X-A", "v\r\nNats-Rollup: all"),
        ("X-A\r\nNats-Rollup", "all"),
        ("X-A", "v\0"),
    ];
    for name in ["publish", "publish_stored", "request"] {
        let subject = if name == "publish_stored" {
            "work.lab.x"
        } else {
            "out"
        };
        let send = |headers: Value| json!({"do": name, "subject": subject, "headers": headers});
        for (header, value) in forged {
            let kind = kind(&nats, send(json!([[header, value]]))).await;
            assert_eq!(kind, "invalid", "{name} with {header:?}: {value:?}");
        }
        assert_eq!(
            kind(&nats, send(json!([["X-Long", long]]))).await,
            "too-large",
            "{name}"
        );
        assert_eq!(kind(&nats, send(json!(many))).await, "too-large", "{name}");
    }
    assert!(out.all().is_empty());
    assert_eq!(nats.stream_info("WORK_QUEUE").await.state.messages, 0);

    let good = json!([
        ["Content-Type", "text/plain"],
        ["X-Mine", "ä"],
        ["X-Mine", "2"]
    ]);
    let sent = json!({"do": "publish", "subject": "out", "headers": good});
    assert_eq!(kind(&nats, sent).await, "ok");
    let message = out.on_subject("out").await;
    let said = message.headers.unwrap();
    assert_eq!(header(&said, "X-Agent-ID"), "probe-001");
    assert_eq!(header(&said, "Content-Type"), "text/plain");
    assert_eq!(said.get_all("X-Mine").count(), 2);

    // A reply has the same rules: what it forges does not leave the host.
    let reply = json!({"do": "reply", "payload": "p", "headers": [["X-Agent-ID", "boss-001"]]});
    let answer = nats
        .request("agent.probe-001.cmd.execute", reply.to_string())
        .await;
    assert_eq!(
        header(answer.headers.as_ref().unwrap(), "X-Agent-ID"),
        "probe-001"
    );
}

#[tokio::test]
async fn what_is_no_subject_or_key_is_said_to_be_none() {
    let nats = Nats::start().await;
    let _host = Host::new(&nats)
        .plugin("probe", |p| {
            p.grant_publish(">")
                .grant_request(">")
                .grant_subscribe("a.>")
                .grant_kv("B", ">", "read-write")
                .subscribe_queue("still.here", "q")
        })
        .run()
        .await;
    let long = format!("a.{}", "x".repeat(254));
    let control_line = "a".repeat(5000);
    let both = [
        "",
        " ",
        "a b",
        "a\tb",
        "a\r\nPUB b 0\r\n",
        "a\n",
        "a\0b",
        "a..b",
        ".a",
        "a.",
        ".",
        &long,
        &control_line,
    ];
    let literal = ["*", ">", "a.*", "a.>", "a.*.b"];
    let pattern = ["a.>.b", ">.a", "a.**.b.", "a.>x "];
    for subject in both.iter().chain(&literal) {
        for name in ["publish", "publish_stored", "request"] {
            let told = kind(&nats, json!({"do": name, "subject": subject})).await;
            assert_eq!(told, "invalid", "{name} {subject:?}");
        }
    }
    for subject in both.iter().chain(&pattern) {
        let told = kind(&nats, json!({"do": "subscribe", "subject": subject})).await;
        assert_eq!(told, "invalid", "subscribe {subject:?}");
    }
    for queue in ["", "a b", "q\r\n", &long, &control_line] {
        let told = kind(
            &nats,
            json!({"do": "subscribe", "subject": "a.b", "queue": queue}),
        )
        .await;
        assert_eq!(told, "invalid", "queue {queue:?}");
    }
    let long_key = "k".repeat(201);
    for key in [
        "", " ", "a b", ".a", "a.", "a..b", "ä", "a\0", "a\r\n", "*", ">", &long_key,
    ] {
        for name in ["kv_get", "kv_put", "kv_create", "kv_update", "kv_delete"] {
            let mut command = json!({"do": name, "bucket": "B", "key": key});
            if !matches!(name, "kv_get" | "kv_delete") {
                command["value"] = json!("v");
            }
            if name == "kv_update" {
                command["revision"] = json!(1);
            }
            assert_eq!(kind(&nats, command).await, "invalid", "{name} {key:?}");
        }
    }
    for bucket in ["", "B C", "B.C", "../B", "B\r\n", "*"] {
        let told = kind(&nats, json!({"do": "kv_get", "bucket": bucket, "key": "k"})).await;
        assert_eq!(told, "invalid", "bucket {bucket:?}");
    }
    assert_eq!(
        kind(
            &nats,
            json!({"do": "kv_keys", "bucket": "B", "pattern": "a.>.b"})
        )
        .await,
        "invalid"
    );
    // The connection that all agents share was never in danger.
    let log = nats
        .request("still.here", r#"{"do": "echo", "value": "here"}"#)
        .await;
    assert_eq!(log.payload, "\"here\"");
    let told = nats.request_json("agent.probe-001.cmd.status", "").await;
    assert_eq!(told["ok"], true);
}
