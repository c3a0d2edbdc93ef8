//! Grants: each host function is refused without one, and no further than one reaches.

use serde_json::{Value, json};

use harness::{Host, Nats, Outside};

/// Asserts what comes of each command: `ok`, or the kind of the refusal.
async fn outcomes(nats: &Outside, cases: &[(Value, &str)]) {
    for (command, expected) in cases {
        let told = nats.tell("probe-001", command.clone()).await;
        let kind = told["error"]["kind"].as_str().unwrap_or("ok");
        assert_eq!(kind, *expected, "{command}: {told}");
    }
}

fn publish(subject: &str) -> Value {
    json!({"do": "publish", "subject": subject})
}

fn subscribe(subject: &str) -> Value {
    json!({"do": "subscribe", "subject": subject})
}

fn request(subject: &str) -> Value {
    json!({"do": "request", "subject": subject, "timeout_ms": 200})
}

fn kv(what: &str, bucket: &str, key: &str) -> Value {
    let mut command = json!({"do": what, "bucket": bucket});
    let (name, value) = if what == "kv_keys" {
        ("pattern", key)
    } else {
        ("key", key)
    };
    command[name] = json!(value);
    if matches!(what, "kv_put" | "kv_create" | "kv_update") {
        command["value"] = json!("v");
    }
    if what == "kv_update" {
        command["revision"] = json!(1);
    }
    command
}

#[tokio::test]
async fn every_host_function_is_refused_without_a_grant() {
    let nats = Nats::start().await;
    nats.make_bucket("B").await;
    nats.kv("B").await.put("k", "theirs".into()).await.unwrap();
    let heard = nats.listen("orders.>").await;
    let _host = Host::new(&nats).plugin("probe", |p| p).run().await;
    let mut refusals = Vec::new();
    let cases = [
        (publish("orders.paid"), "orders.paid", "publish"),
        (
            json!({"do": "publish_stored", "subject": "orders.paid"}),
            "orders.paid",
            "publish",
        ),
        (request("orders.paid"), "orders.paid", "request"),
        (subscribe("orders.paid"), "orders.paid", "subscribe"),
        (
            json!({"do": "subscribe", "subject": "orders.*", "queue": "q"}),
            "orders.*",
            "subscribe",
        ),
        (kv("kv_get", "B", "k"), "k", "kv"),
        (kv("kv_put", "B", "k"), "k", "kv"),
        (kv("kv_create", "B", "new"), "new", "kv"),
        (kv("kv_update", "B", "k"), "k", "kv"),
        (kv("kv_delete", "B", "k"), "k", "kv"),
        (kv("kv_keys", "B", ">"), ">", "kv"),
    ];
    for (command, what, list) in cases {
        let (kind, sentence) = nats.refused("probe-001", command.clone()).await;
        assert_eq!(kind, "denied", "{command}");
        // Who, what, and the line to add, with the file to add it to.
        for part in [
            "agent `probe-001` cannot ",
            what,
            "no grant matches; add ",
            list,
            "probe/plugin.toml",
        ] {
            assert!(
                sentence.contains(part),
                "{command}: {part:?} is not in: {sentence}"
            );
        }
        refusals.push(sentence);
    }
    // A flood of refusals would be a few entries; the first ones are all there.
    for sentence in &refusals[..3] {
        nats.audited("refusal", |entry| {
            entry["agent"] == "probe-001" && entry["reason"] == sentence.as_str()
        })
        .await;
    }
    // Neither did anything happen.
    assert!(heard.all().is_empty());
    let bucket = nats.kv("B").await;
    assert_eq!(bucket.get("k").await.unwrap().unwrap(), "theirs");
    assert_eq!(bucket.get("new").await.unwrap(), None);
    // What needs no grant goes on.
    let unsubscribe = json!({"do": "unsubscribe", "subscription": 1});
    outcomes(
        &nats,
        &[(unsubscribe, "not-found"), (json!({"do": "context"}), "ok")],
    )
    .await;
}

#[tokio::test]
async fn a_grant_reaches_exactly_as_far_as_it_says() {
    let nats = Nats::start().await;
    let mut echo = nats.client.subscribe("ask.>").await.unwrap();
    let client = nats.client.clone();
    tokio::spawn(async move {
        use futures_util::StreamExt;
        while let Some(message) = echo.next().await {
            if let Some(reply) = message.reply {
                client.publish(reply, "yes".into()).await.unwrap();
            }
        }
    });
    let _host = Host::new(&nats)
        .plugin("probe", |p| {
            p.instances(2)
                .grant_publish("a.*")
                .grant_publish("b.>")
                .grant_publish("mine.{agent}.x")
                .grant_publish("ours.{plugin}")
                .deny("b.*.secret")
                .grant_subscribe("s.*")
                .grant_subscribe("t.>")
                .deny("s.secret")
                .grant_request("ask.*")
                .grant_kv("READ", ">", "read")
                .grant_kv("WRITE", "{agent}.>", "write")
                .grant_kv("BOTH", "{plugin}.*", "read-write")
        })
        .run()
        .await;
    outcomes(
        &nats,
        &[
            (publish("a.x"), "ok"),
            (publish("a"), "denied"),
            (publish("a.x.y"), "denied"),
            (publish("b.x.y.z"), "ok"),
            (publish("b.x.secret"), "denied"),
            (publish("b"), "denied"),
            (publish("mine.probe-001.x"), "ok"),
            (publish("mine.probe-002.x"), "denied"),
            (publish("ours.probe"), "ok"),
            (publish("ours.echo"), "denied"),
            // A grant to ask is none to tell, and the other way round.
            (publish("ask.x"), "denied"),
            (request("ask.x"), "ok"),
            (request("a.x"), "denied"),
            (request("ask.x.y"), "denied"),
            (subscribe("a.x"), "denied"),
            (subscribe("s.x"), "ok"),
            (subscribe("s.*"), "ok"),
            // `s.*` is no licence for `s.>`, although NATS itself thinks so.
            (subscribe("s.>"), "denied"),
            (subscribe("s"), "denied"),
            (subscribe(">"), "denied"),
            (subscribe("*.x"), "denied"),
            (subscribe("t.>"), "ok"),
            (subscribe("t.*.x"), "ok"),
            (subscribe("s.secret"), "denied"),
            (kv("kv_get", "READ", "any.key"), "ok"),
            (kv("kv_keys", "READ", ">"), "ok"),
            (kv("kv_put", "READ", "any.key"), "denied"),
            (kv("kv_delete", "READ", "any.key"), "denied"),
            (kv("kv_put", "WRITE", "probe-001.k"), "ok"),
            (kv("kv_get", "WRITE", "probe-001.k"), "denied"),
            (kv("kv_keys", "WRITE", "probe-001.>"), "denied"),
            (kv("kv_put", "WRITE", "probe-002.k"), "denied"),
            (kv("kv_create", "BOTH", "probe.k"), "ok"),
            (kv("kv_get", "BOTH", "probe.k"), "ok"),
            (kv("kv_keys", "BOTH", "probe.*"), "ok"),
            (kv("kv_keys", "BOTH", "probe.>"), "denied"),
            (kv("kv_keys", "BOTH", ">"), "denied"),
            (kv("kv_get", "BOTH", "probe.k.deeper"), "denied"),
            (kv("kv_get", "OTHER", "probe.k"), "denied"),
        ],
    )
    .await;
}

#[tokio::test]
async fn the_widest_grant_does_not_open_what_is_reserved() {
    let nats = Nats::start().await;
    let everything = nats.listen(">").await;
    let _host = Host::new(&nats)
        .plugin("probe", |p| {
            p.grant_publish(">")
                .grant_request(">")
                .grant_subscribe("agent.>")
                .grant_kv("AGENT_STATE", ">", "read")
        })
        .run()
        .await;
    let reserved = [
        "agent.probe-001.created",
        "agent.other-001.ready",
        "agent.probe-001.heartbeat",
        "agent.probe-001.error",
        "agent.other-001.cmd.pause",
        "agent.all.cmd.shutdown",
        "agent.probe.cmd.config",
        "agent.probe-001.resp.r1",
        "dlq.work.lab.x",
        "audit.command",
        "metrics.system.work_queue.depth",
        "metrics.agent.other-001.mine",
        "metrics.agent.probe-001.cpu_usage",
        "election.lab.leader",
        "election.lab.vote.resp.probe-001",
        "gather.r1.complete",
        "health.check.probe-001",
        "circuit.db.open",
        "broadcast.emergency.shutdown",
        "$JS.API.STREAM.PURGE.WORK_QUEUE",
        "$JS.ACK.WORK_QUEUE.c.1.1.1.1.0",
        "$KV.AGENT_CLAIMS.probe-001",
        "$SYS.REQ.SERVER.PING",
        "$SRV.PING",
        "_INBOX.someone.else",
        "_R_.x",
        "_GR_.x",
    ];
    everything.forget();
    for subject in reserved {
        let stored = json!({"do": "publish_stored", "subject": subject});
        outcomes(
            &nats,
            &[
                (publish(subject), "denied"),
                (stored, "denied"),
                (request(subject), "denied"),
            ],
        )
        .await;
    }
    let (_, sentence) = nats.refused("probe-001", publish("dlq.x")).await;
    assert!(sentence.contains("no grant can allow it"), "{sentence}");
    for subject in reserved {
        // The host itself beats, and writes the audit trail of all this.
        if !subject.starts_with("audit.") && !subject.ends_with(".heartbeat") {
            assert_eq!(everything.count(subject), 0, "{subject}");
        }
    }
    // Everything else is open, and so is what the host alone may forbid by wildcard.
    outcomes(
        &nats,
        &[
            (publish("orders.paid"), "ok"),
            (publish("agent.other-001.cmd.execute"), "ok"),
            (publish("metrics.agent.probe-001.mine"), "ok"),
            (publish("work.lab.high.x"), "ok"),
            (publish("broadcast.global.hello"), "ok"),
            (subscribe("agent.*.ready"), "ok"),
            (subscribe("work.lab.>"), "denied"),
            (subscribe("pipeline.>"), "denied"),
            (subscribe("$JS.API.>"), "denied"),
            (subscribe("_INBOX.>"), "denied"),
            (kv("kv_get", "AGENT_STATE", "agent.probe-001"), "ok"),
            (kv("kv_put", "AGENT_STATE", "agent.probe-001"), "denied"),
            (kv("kv_get", "AGENT_CLAIMS", "probe-001"), "denied"),
            (kv("kv_get", "AGENT_CONFIG", "probe-001"), "denied"),
            (kv("kv_get", "AGENT_LEASES", "x"), "denied"),
        ],
    )
    .await;
}

#[tokio::test]
async fn what_is_denied_is_not_heard_through_a_wider_subscription() {
    let nats = Nats::start().await;
    let _host = Host::new(&nats)
        .plugin("probe", |p| {
            p.grant_subscribe("foo.>")
                .subscribe("news.>")
                .deny("foo.*.secret")
                .deny("news.secret.>")
        })
        .run()
        .await;
    let subscription = nats.tell("probe-001", subscribe("foo.bar.*")).await;
    assert!(subscription["subscription"].is_u64(), "{subscription}");
    for subject in [
        "foo.bar.secret",
        "news.secret.x",
        "foo.bar.open",
        "news.open",
    ] {
        nats.publish(subject, "x").await;
    }
    let mut heard: Vec<String> = Vec::new();
    while heard.len() < 2 {
        let more = nats.tell("probe-001", json!({"do": "heard"})).await;
        heard.extend(
            more.as_array()
                .unwrap()
                .iter()
                .map(|h| h["subject"].as_str().unwrap().to_owned()),
        );
    }
    heard.sort();
    assert_eq!(heard, ["foo.bar.open", "news.open"]);
}
