//! Messages with headers at which the client library panics: they cost a connection for a moment.

use std::time::Duration;

use serde_json::{Value, json};

use harness::{DEADLY, Host, Nats};

#[tokio::test]
async fn a_storm_of_them_leaves_agents_answering_and_the_host_running() {
    let nats = Nats::start().await;
    let mut host = Host::new(&nats)
        .line("metrics = \"1s\"")
        .plugin("probe", |p| p.subscribe("probe.in").work("lab", "*"))
        .plugin("echo", |p| p.subscribe("tools.echo"))
        .run()
        .await;
    // Two a second for the connection of plugins, each at another moment between two questions, and
    // as many for the one that hears commands and questions for services.
    let mut deadly = tokio::time::interval(Duration::from_millis(487));
    let mut others = ["agent.all.cmd.status", "$SRV.PING"].iter().cycle();
    let mut clock = tokio::time::interval(Duration::from_millis(10));
    // No questions at once for those that had to wait while a deadly one was sent.
    clock.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    let mut asked = tokio::task::JoinSet::new();
    while asked.len() < 1000 {
        tokio::select! {
            _ = clock.tick() => {}
            _ = deadly.tick() => {
                nats.publish_raw("probe.in", DEADLY, b"x");
                nats.publish_raw(others.next().unwrap(), DEADLY, b"x");
                continue;
            }
        }
        let client = nats.client.clone();
        asked.spawn(async move {
            let request = async_nats::Request::new()
                .payload("hello".into())
                .timeout(Some(Duration::from_secs(1)));
            let answer = client.send_request("tools.echo", request).await;
            answer.is_ok_and(|answer| &*answer.payload == b"hello")
        });
    }
    let answers = asked.join_all().await;
    let answered = answers.iter().filter(|answered| **answered).count();
    println!("{answered} of {} answered", answers.len());
    assert!(answered * 100 >= answers.len() * 95, "{answered}");
    assert_eq!(host.exited(), None);

    // Everything works as before.
    nats.work_as(
        "good",
        "work.lab.x",
        json!({"do": "echo", "value": 1}).to_string(),
    )
    .await;
    nats.result_of("good").await;
    let status = nats.request_json("agent.probe-001.cmd.status", "").await;
    assert_eq!(status["ok"], true, "{status}");
    nats.request_json("health.check.probe-001", "").await;
    // It is counted, and said a few times only.
    let metric = nats.listen("metrics.system.connections.revivals").await;
    let counts = |message: &async_nats::Message| {
        let metric: Value = serde_json::from_slice(&message.payload).unwrap();
        metric["value"].as_u64() >= Some(10)
    };
    metric.first("the metric counts them", counts).await;
    let told = host.logs.find(|line| {
        line.level() == "WARN" && line.message().contains("a carriage return in a header")
    });
    assert!((1..=8).contains(&told.len()), "{told:#?}");
    assert!(!host.logs.tail(usize::MAX).contains("a panic"));
    assert_eq!(host.stop().await.0, Some(0));
}

#[tokio::test]
async fn stored_in_the_host_s_own_buckets_they_keep_no_host_from_starting() {
    let nats = Nats::start().await;
    let mut host = Host::new(&nats)
        .plugin("probe", |p| {
            p.work("lab", "*")
                .section("[circuit]\nservice = \"db\"\nfailures = 1\nreset = \"1s\"")
                .section("[[pipeline]]\nstage = \"one\"\njoin = [\"two\", \"three\"]")
        })
        .run()
        .await;
    assert_eq!(host.stop().await.0, Some(0));
    let subjects = [
        "$KV.AGENT_CLAIMS.durable.x",
        "$KV.AGENT_CLAIMS.probe-009",
        "$KV.AGENT_LEASES.host.x",
        "$KV.CIRCUITS.db",
        "$KV.PIPELINES.w.one",
    ];
    for subject in subjects {
        nats.publish_raw(subject, DEADLY, b"poison");
    }
    host.start();
    host.wait_ready().await;
    for subject in subjects {
        let letter = nats.dead_letters(subject, 1).await.remove(0);
        assert_eq!(letter.text(), "poison", "{subject}");
        assert_eq!(letter.header("X-DLQ-Error-Kind"), "unreadable");
        nats.audited("dead-letter", |entry| entry["subject"] == subject)
            .await;
    }
    let circuit = nats.listen("circuit.db.*").await;
    nats.work_as("opener", "work.lab.x", r#"{"do": "fail_times", "n": 1}"#)
        .await;
    circuit.on_subject("circuit.db.open").await;
    circuit.on_subject("circuit.db.closed").await;
    nats.result_of("opener").await;

    // The same while the host runs: those that it watches go at once, the others at its next start.
    for subject in subjects {
        nats.publish_raw(subject, DEADLY, b"poison");
    }
    nats.dead_letters("$KV.CIRCUITS.db", 2).await;
    nats.work_as("later", "work.lab.x", r#"{"do": "echo", "value": 1}"#)
        .await;
    nats.result_of("later").await;
    assert_eq!(host.stop().await.0, Some(0));
    host.start();
    host.wait_ready().await;
    for subject in subjects {
        nats.dead_letters(subject, 2).await;
    }
    nats.work_as("last", "work.lab.x", r#"{"do": "echo", "value": 1}"#)
        .await;
    nats.result_of("last").await;
    assert_eq!(host.exited(), None);
}

#[tokio::test]
async fn a_plugin_lists_a_bucket_in_which_one_is_stored() {
    let nats = Nats::start().await;
    let mut host = Host::new(&nats)
        .plugin("probe", |p| p.grant_kv("B", ">", "read-write"))
        .run()
        .await;
    for key in ["a", "b"] {
        nats.kv("B").await.put(key, "1".into()).await.unwrap();
    }
    nats.publish_raw("$KV.B.c", DEADLY, b"poison");
    let list = json!({"do": "kv_keys", "bucket": "B", "pattern": ">"});
    let listed = nats.tell("probe-001", list.clone()).await;
    assert_eq!(listed, json!({"keys": ["a", "b"]}));
    let letter = nats.dead_letters("$KV.B.c", 1).await.remove(0);
    assert_eq!(letter.text(), "poison");
    assert_eq!(nats.tell("probe-001", list).await, listed);
    assert_eq!(host.exited(), None);
}
