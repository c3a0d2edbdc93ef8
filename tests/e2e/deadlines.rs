//! Requests whose time shrinks along a chain of agents.

use serde_json::{Value, json};

use harness::{Host, Nats, header, headers, until};

/// `request` of another agent.
fn asking(agent: &str, command: Value) -> Value {
    let subject = format!("agent.{agent}.cmd.execute");
    json!({"do": "request", "subject": subject, "payload": command})
}

fn inner(told: &Value) -> Value {
    let text = told["payload"].as_str();
    serde_json::from_str(text.unwrap_or_else(|| panic!("no answer: {told}"))).unwrap()
}

fn timeout(ms: &str) -> harness::Headers {
    headers(&[("X-Timeout-Ms", ms)])
}

#[tokio::test]
async fn times_shrink_along_a_chain_of_agents_on_two_hosts() {
    let nats = Nats::start().await;
    let host = |name: &str| {
        Host::new(&nats).named(name).plugin("probe", |p| {
            p.instances(2)
                .grant_request("agent.*.cmd.execute")
                .limit("timeout = \"1m\"")
        })
    };
    let _first = host("h1").run().await;
    let _second = host("h2").run().await;
    // 001 asks 003 on the other host, which asks 002, which asks 004 how much time is left.
    let times = json!({"do": "sequence", "commands": [
        {"do": "header", "name": "X-Timeout-Ms"}, {"do": "context"}]});
    let last = asking("probe-004", times);
    let middle = json!({"do": "sequence", "commands": [
        {"do": "header", "name": "X-Timeout-Ms"}, asking("probe-002", last)]});
    let chain = asking("probe-003", middle);
    let answer = nats
        .request_with(
            "agent.probe-001.cmd.execute",
            timeout("20000"),
            chain.to_string(),
        )
        .await;
    let first: Value = serde_json::from_slice(&answer.payload).unwrap();
    let second = inner(&first);
    let third = inner(&second[1]);
    let fourth = inner(&third);
    let number = |value: &Value| value.as_str().unwrap().parse::<u64>().unwrap();
    let (second_waits, fourth_waits) = (number(&second[0]), number(&fourth[0]));
    let left = fourth[1]["remaining_ms"].as_u64().unwrap();
    assert!(second_waits < 20_000, "{second_waits}");
    assert!(fourth_waits < second_waits, "{fourth_waits}");
    assert!(left <= fourth_waits, "{left}");
}

#[tokio::test]
async fn a_request_waits_no_longer_than_whoever_asked_and_leaves_time_to_say_so() {
    let nats = Nats::start().await;
    let _silent = nats.listen("tools.silent").await;
    let _host = Host::new(&nats)
        .plugin("probe", |p| {
            p.grant_request("tools.>").limit("timeout = \"1m\"")
        })
        .run()
        .await;
    let before = nats.tell("probe-001", json!({"do": "counter"})).await;
    let ask = json!({"do": "request", "subject": "tools.silent"});
    let told = nats
        .request_with(
            "agent.probe-001.cmd.execute",
            timeout("1000"),
            ask.to_string(),
        )
        .await;
    let told: Value = serde_json::from_slice(&told.payload).unwrap();
    assert_eq!(told["error"]["kind"], "timeout", "{told}");
    // A plugin cannot say by itself how long it waits.
    let forged =
        json!({"do": "request", "subject": "tools.silent", "headers": [["X-Timeout-Ms", "1"]]});
    let (kind, _) = nats.refused("probe-001", forged).await;
    assert_eq!(kind, "invalid");
    let after = nats.tell("probe-001", json!({"do": "counter"})).await;
    assert_eq!(after["instance"], before["instance"]);
}

#[tokio::test]
async fn what_nobody_waits_for_any_longer_is_not_begun() {
    let nats = Nats::start().await;
    let replies = nats.listen("replies.>").await;
    let _host = Host::new(&nats)
        .plugin("probe", |p| {
            p.limit("timeout = \"20s\"")
                .subscribe_with("tools.sum", "batch = 2\nbatch_wait = \"1ms\"")
        })
        .run()
        .await;
    let slow = r#"{"do": "sleep", "ms": 1500, "how": "wait"}"#;
    nats.publish("agent.probe-001.cmd.execute", slow).await;
    nats.state_is("probe-001", "busy").await;
    let counter = r#"{"do": "counter"}"#;
    for (subject, reply) in [
        ("agent.probe-001.cmd.execute", "replies.execute"),
        ("tools.sum", "replies.batch"),
    ] {
        let sent = nats.client.publish_with_reply_and_headers(
            subject,
            reply,
            timeout("1"),
            counter.into(),
        );
        sent.await.unwrap();
    }
    for reply in ["replies.execute", "replies.batch"] {
        let answer = replies.on_subject(reply).await;
        let said = answer.headers.unwrap();
        assert_eq!(header(&said, "Nats-Service-Error-Code"), "408", "{reply}");
    }
    let told = nats.tell("probe-001", json!({"do": "counter"})).await;
    assert_eq!(told["count"], 2, "the sleep, and this: {told}");
}

#[tokio::test]
async fn a_time_that_is_none_is_ignored() {
    let nats = Nats::start().await;
    let _host = Host::new(&nats)
        .plugin("probe", |p| p.limit("timeout = \"30s\""))
        .run()
        .await;
    for absurd in ["-5", "0", "soon", "1.5", "99999999999999999999", "3600001"] {
        let answer = nats
            .request_with(
                "agent.probe-001.cmd.execute",
                timeout(absurd),
                r#"{"do": "context"}"#,
            )
            .await;
        let told: Value = serde_json::from_slice(&answer.payload).unwrap();
        let left = told["remaining_ms"].as_u64().unwrap_or_default();
        assert!(left > 5000, "{absurd}: {told}");
    }
    // Without a reply subject nobody can be waiting.
    let headers = headers(&[("X-Timeout-Ms", "1"), ("X-Request-ID", "no-hurry")]);
    let subject = "agent.probe-001.cmd.execute";
    nats.publish_with(subject, headers, r#"{"do": "context"}"#)
        .await;
    until("the result is stored", async || {
        nats.results_of("no-hurry").await.pop()
    })
    .await;
}
