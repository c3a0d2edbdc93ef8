//! Request, publish, subscribe and buckets, from inside a plugin.

use std::time::Duration;

use futures_util::StreamExt;
use serde_json::{Value, json};

use harness::{Host, Nats, header, until};

fn heard(told: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let heard = told.as_array().unwrap().iter();
    heard
        .map(|h| (text(&h["subject"]), text(&h["payload"])))
        .collect()
}

#[tokio::test]
async fn an_agent_asks_others_and_can_tell_silence_from_absence() {
    let nats = Nats::start().await;
    let _host = Host::new(&nats)
        .plugin("probe", |p| {
            p.instances(2)
                .grant_request("tools.>")
                .grant_request("agent.*.cmd.execute")
                .grant_publish("free.>")
                .grant_publish("work.lab.>")
                .grant_publish("coord.>")
        })
        .with(harness::Plugin::shipped("echo"))
        .run()
        .await;
    // An agent of another plugin, on whichever host.
    let asked = json!({"do": "request", "subject": "tools.echo", "payload": "hello", "headers": [["X-Mine", "1"]]});
    let told = nats.tell("probe-001", asked).await;
    assert_eq!(told["payload"], "hello");
    let said: Vec<(String, String)> = serde_json::from_value(told["headers"].clone()).unwrap();
    let from = said
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case("x-agent-id"))
        .unwrap();
    assert!(from.1.starts_with("echo-00"), "{said:?}");
    let asked = json!({"do": "request", "subject": "agent.probe-002.cmd.execute", "payload": {"do": "context"}});
    let told = nats.tell("probe-001", asked).await;
    let context: Value = serde_json::from_str(told["payload"].as_str().unwrap()).unwrap();
    assert_eq!(context["agent"], "probe-002");

    // Somebody from outside, who sees who asks.
    let mut tool = nats.client.subscribe("tools.search").await.unwrap();
    let client = nats.client.clone();
    tokio::spawn(async move {
        let asked = tool.next().await.unwrap();
        let who = header(asked.headers.as_ref().unwrap(), "X-Agent-ID");
        client
            .publish(asked.reply.unwrap(), format!("for {who}").into())
            .await
            .unwrap();
    });
    nats.answers().await;
    let told = nats
        .tell(
            "probe-001",
            json!({"do": "request", "subject": "tools.search"}),
        )
        .await;
    assert_eq!(told["payload"], "for probe-001");

    let begun = std::time::Instant::now();
    let (kind, _) = nats
        .refused(
            "probe-001",
            json!({"do": "request", "subject": "tools.nobody"}),
        )
        .await;
    assert_eq!(kind, "no-responders");
    assert!(
        begun.elapsed() < Duration::from_secs(3),
        "absence is told at once: {:?}",
        begun.elapsed()
    );
    let _silent = nats.listen("tools.silent").await;
    let silent = json!({"do": "request", "subject": "tools.silent", "timeout_ms": 300});
    let (kind, _) = nats.refused("probe-001", silent).await;
    assert_eq!(kind, "timeout");

    // Without a timeout of its own a request may take what is left of the call, and that is no
    // death.
    let stored = json!({"do": "publish_stored", "subject": "work.lab.x", "payload": "1"});
    let told = nats.tell("probe-001", stored.clone()).await;
    assert_eq!(
        told,
        json!({"stream": "WORK_QUEUE", "sequence": 1, "duplicate": false})
    );
    assert_eq!(nats.tell("probe-001", stored).await["sequence"], 2);
    let (kind, _) = nats
        .refused(
            "probe-001",
            json!({"do": "publish_stored", "subject": "free.x"}),
        )
        .await;
    assert_eq!(kind, "not-found", "no stream captures it");
    assert_eq!(
        nats.tell(
            "probe-001",
            json!({"do": "publish_stored", "subject": "coord.w.mine"})
        )
        .await["stream"],
        "COORDINATION"
    );
}

#[tokio::test]
async fn a_call_that_waits_too_long_for_an_answer_is_told_so_before_its_time_is_over() {
    let nats = Nats::start().await;
    let _silent = nats.listen("tools.silent").await;
    let _host = Host::new(&nats)
        .plugin("probe", |p| {
            p.grant_request("tools.>").limit("timeout = \"1s\"")
        })
        .run()
        .await;
    let before = nats.tell("probe-001", json!({"do": "counter"})).await;
    let (kind, _) = nats
        .refused(
            "probe-001",
            json!({"do": "request", "subject": "tools.silent"}),
        )
        .await;
    assert_eq!(kind, "timeout");
    let after = nats.tell("probe-001", json!({"do": "counter"})).await;
    assert_eq!(
        after["instance"], before["instance"],
        "it could act on the error, and lives"
    );
}

#[tokio::test]
async fn an_agent_subscribes_and_unsubscribes_at_run_time() {
    let nats = Nats::start().await;
    let mut host = Host::new(&nats)
        .plugin("probe", |p| {
            p.instances(2)
                .grant_subscribe("news.>")
                .grant_publish("news.>")
        })
        .run()
        .await;
    let both = ["probe-001", "probe-002"];
    let tell = async |agent: &str, command: Value| nats.tell(agent, command).await;
    let subscription =
        tell("probe-001", json!({"do": "subscribe", "subject": "news.*"})).await["subscription"]
            .clone();
    // Its own words come back to it like those of others, and the neighbour hears nothing.
    tell(
        "probe-001",
        json!({"do": "publish", "subject": "news.own", "payload": "0"}),
    )
    .await;
    nats.publish("news.a", "1").await;
    nats.publish("news.a.b", "no").await;
    nats.publish("other.a", "no").await;
    let mut all = Vec::new();
    until("both messages are heard", async || {
        all.extend(heard(&tell("probe-001", json!({"do": "heard"})).await));
        (all.len() >= 2).then_some(())
    })
    .await;
    all.sort();
    assert_eq!(
        all,
        [
            ("news.a".into(), "1".into()),
            ("news.own".into(), "0".into())
        ]
    );
    assert_eq!(tell("probe-002", json!({"do": "heard"})).await, json!([]));

    // A request on it is answered by the handler's reply.
    let answer = nats.request("news.question", r#"{"do": "context"}"#).await;
    let context: Value = serde_json::from_slice(&answer.payload).unwrap();
    assert_eq!(context["agent"], "probe-001");
    assert_eq!(
        header(answer.headers.as_ref().unwrap(), "X-Agent-ID"),
        "probe-001"
    );

    let unsubscribe = json!({"do": "unsubscribe", "subscription": subscription});
    assert_eq!(
        tell("probe-002", unsubscribe.clone()).await["error"]["kind"],
        "not-found",
        "it is another's"
    );
    assert_eq!(tell("probe-001", unsubscribe.clone()).await["ok"], true);
    assert_eq!(
        tell("probe-001", unsubscribe).await["error"]["kind"],
        "not-found"
    );
    let nobody = nats
        .client
        .request("news.question", "x".into())
        .await
        .unwrap_err();
    assert_eq!(nobody.kind(), async_nats::RequestErrorKind::NoResponders);

    // In a queue group each message is heard once, whoever else is in the group.
    for agent in both {
        tell(
            agent,
            json!({"do": "subscribe", "subject": "news.queue", "queue": "readers"}),
        )
        .await;
    }
    tell("probe-001", json!({"do": "heard"})).await;
    for number in 0..40 {
        nats.publish("news.queue", number.to_string()).await;
    }
    let mut counts = [0, 0];
    until("all forty are heard", async || {
        for (count, agent) in counts.iter_mut().zip(both) {
            *count += heard(&tell(agent, json!({"do": "heard"})).await).len();
        }
        (counts.iter().sum::<usize>() >= 40).then_some(())
    })
    .await;
    assert_eq!(counts.iter().sum::<usize>(), 40, "{counts:?}");
    assert!(
        counts.iter().all(|count| *count > 0),
        "both take part: {counts:?}"
    );

    // A subscription ends with its instance, on the server too.
    nats.request_json("agent.probe-001.cmd.execute", r#"{"do": "trap"}"#)
        .await;
    nats.request_json("agent.probe-002.cmd.execute", r#"{"do": "trap"}"#)
        .await;
    until("nobody listens any longer", async || {
        let answer = nats.client.request("news.queue", "x".into()).await;
        answer
            .err()
            .filter(|e| e.kind() == async_nats::RequestErrorKind::NoResponders)
    })
    .await;
    assert!(host.exited().is_none());
}

#[tokio::test]
async fn subscriptions_of_the_manifest_reach_every_agent_or_one_of_the_group() {
    let nats = Nats::start().await;
    let report = nats.listen("report").await;
    let probe = |p: harness::Plugin| {
        p.instances(2)
            .subscribe("broadcast.global.*")
            .subscribe("broadcast.domain.lab.>")
            .subscribe_queue("jobs.>", "workers")
            .subscribe("mine.{plugin}")
            .subscribe_with("strict.in", "schema = \"s.json\"")
            .file("s.json", r#"{"type": "object", "required": ["do"]}"#)
            .config("report_to = \"report\"")
            .grant_publish("report")
    };
    let _one = Host::new(&nats)
        .named("one")
        .plugin("probe", probe)
        .run()
        .await;
    let _two = Host::new(&nats)
        .named("two")
        .plugin("probe", probe)
        .run()
        .await;
    let who = |subject: &str| {
        let mut agents: Vec<String> = report
            .all()
            .iter()
            .map(|m| serde_json::from_slice::<Value>(&m.payload).unwrap())
            .filter(|heard| heard["subject"] == subject)
            .map(|heard| heard["agent"].as_str().unwrap().to_owned())
            .collect();
        agents.sort();
        agents
    };
    let all = ["probe-001", "probe-002", "probe-003", "probe-004"];
    nats.publish("broadcast.global.hello", "x").await;
    nats.publish("broadcast.domain.lab.a.b", "x").await;
    nats.publish("mine.probe", "x").await;
    nats.publish("jobs.a", "x").await;
    until("all of it is heard", async || {
        (report.all().len() >= 13).then_some(())
    })
    .await;
    assert_eq!(who("broadcast.global.hello"), all);
    assert_eq!(who("broadcast.domain.lab.a.b"), all);
    assert_eq!(who("mine.probe"), all);
    assert_eq!(who("jobs.a").len(), 1);

    // A payload that breaks the schema wakes nobody, and whoever asks is told.
    report.forget();
    let answer = nats.request("strict.in", "no json").await;
    let said = answer.headers.unwrap();
    assert!(!header(&said, "Nats-Service-Error").is_empty());
    assert_eq!(header(&said, "Nats-Service-Error-Code"), "400");
    nats.publish("strict.in", "[]").await;
    let answer = nats
        .request("strict.in", r#"{"do": "echo", "value": 5}"#)
        .await;
    assert_eq!(answer.payload, "5");
    until("the good one is heard", async || {
        (who("strict.in").len() >= 4).then_some(())
    })
    .await;
    assert_eq!(who("strict.in"), all);
}
