//! The process may die at any moment; what JetStream has acknowledged is not lost.

use std::time::Duration;

use async_nats::jetstream::message::PublishMessage;
use serde_json::json;

use super::attempts::attempts_are_stored;
use harness::{Host, Nats, Plugin, until, until_in};

/// The server delivers an item again after the ack wait, 30 s; the machine may be busy.
const ACK_WAIT: Duration = Duration::from_secs(75);

#[tokio::test]
async fn what_was_in_hand_when_the_host_was_killed_is_done_by_the_next() {
    let nats = Nats::start().await;
    let ran = nats.listen("ran").await;
    let mut host = Host::new(&nats)
        .plugin("probe", |p| {
            p.instances(2).work("lab", "*").grant_publish("ran")
        })
        .run()
        .await;
    let slow = json!({"do": "sequence", "commands": [
        {"do": "publish", "subject": "ran"}, {"do": "sleep", "ms": 2000, "how": "wait"},
        {"do": "header", "name": "X-Retry-Count"},
    ]});
    nats.work_as("held-1", "work.lab.high.x", slow.to_string())
        .await;
    nats.work_as("held-2", "work.lab.x", slow.to_string()).await;
    ran.number(2).await;
    attempts_are_stored(&nats, 2).await;
    host.kill();
    // Until the server has noticed, it would give an item to a poll of the dead host.
    until("the server knows that the host is gone", async || {
        (nats.polls().await == 0).then_some(())
    })
    .await;
    nats.work_as("later", "work.lab.low.x", r#"{"do": "echo", "value": 1}"#)
        .await;
    assert_eq!(nats.stream_info("WORK_QUEUE").await.state.messages, 3);
    host.start();
    host.wait_ready().await;
    // What nobody had begun need not wait.
    assert_eq!(nats.result_of("later").await.text(), "1");
    for id in ["held-1", "held-2"] {
        let results = until_in(ACK_WAIT, "it is delivered again", async || {
            let results = nats.results_of(id).await;
            (!results.is_empty()).then_some(results)
        })
        .await;
        assert_eq!(results.len(), 1);
        assert_eq!(results[0].json()[2], "1", "the second try");
        assert_eq!(results[0].header("X-Retry-Count"), "1");
    }
    nats.work_is_done().await;
    assert_eq!(ran.all().len(), 4, "each was begun twice, and no more");
}

#[tokio::test]
async fn an_item_may_take_longer_than_the_ack_wait() {
    let nats = Nats::start().await;
    let ran = nats.listen("ran").await;
    let _host = Host::new(&nats)
        .plugin("probe", |p| {
            p.instances(2)
                .work("lab", "*")
                .grant_publish("ran")
                .limit("timeout = \"60s\"")
        })
        .run()
        .await;
    let slow = json!({"do": "sequence", "commands": [
        {"do": "publish", "subject": "ran"}, {"do": "sleep", "ms": 40_000, "how": "wait"},
    ]});
    nats.work_as("slow", "work.lab.high.x", slow.to_string())
        .await;
    let result = until_in(ACK_WAIT, "it is done", async || {
        nats.results_of("slow").await.pop()
    })
    .await;
    assert_eq!(result.header("X-Retry-Count"), "0");
    nats.work_is_done().await;
    assert_eq!(
        ran.all().len(),
        1,
        "it ran once, although another agent was free"
    );
}

#[tokio::test]
async fn a_result_that_was_stored_before_the_crash_is_recognised() {
    let nats = Nats::start().await;
    let _host = Host::new(&nats)
        .plugin("probe", |p| p.work("lab", "*"))
        .run()
        .await;
    nats.request_json("agent.probe-001.cmd.pause", "").await;
    let ok = r#"{"do": "echo", "value": "second"}"#;
    let sequence = nats.work_as("twice", "work.lab.high.ok", ok).await;
    let reject = r#"{"do": "fail_reject", "message": "second"}"#;
    let rejected = nats.work_as("dead", "work.lab.high.dead", reject).await;

    // What a host leaves that dies after it has stored its output, and before it acknowledged.
    for (sequence, output, subject) in [
        (sequence, "result", "agent.probe-009.resp.twice"),
        (rejected, "dlq", "dlq.work.lab.high.dead"),
    ] {
        let item = nats
            .stream("WORK_QUEUE")
            .await
            .get_raw_message(sequence)
            .await
            .unwrap();
        let id = format!(
            "WORK_QUEUE:{sequence}:{}:{output}",
            item.time.unix_timestamp_nanos()
        );
        let publish = PublishMessage::build()
            .payload("first".into())
            .message_id(id);
        nats.js
            .send_publish(subject.to_owned(), publish)
            .await
            .unwrap()
            .await
            .unwrap();
    }
    nats.request_json("agent.probe-001.cmd.resume", "").await;
    nats.work_is_done().await;
    let results = nats.results_of("twice").await;
    assert_eq!(results.len(), 1, "stored once, whichever agent did it");
    assert_eq!(results[0].text(), "first");
    let letters = nats.stored("DLQ", "dlq.>").await;
    assert_eq!(letters.len(), 1);
    assert_eq!(letters[0].text(), "first");
}

#[tokio::test]
async fn work_outlives_the_server() {
    let mut nats = Nats::start().await;
    let host = Host::new(&nats)
        .plugin("probe", |p| p.work("lab", "*"))
        .run()
        .await;
    nats.request_json("agent.probe-001.cmd.pause", "").await;
    nats.work_as("before", "work.lab.high.x", r#"{"do": "echo", "value": 1}"#)
        .await;
    nats.kill();
    host.logs
        .first("it notices", |line| {
            line.message().contains("disconnected") || line.message().contains("connection")
        })
        .await;
    nats.start_again().await;
    nats.resume_when_back("probe-001").await;
    assert_eq!(nats.result_of("before").await.text(), "1");
    nats.work_as("after", "work.lab.high.x", r#"{"do": "echo", "value": 2}"#)
        .await;
    assert_eq!(nats.result_of("after").await.text(), "2");
    nats.work_is_done().await;
}

#[tokio::test]
async fn a_host_killed_under_load_loses_nothing_and_nothing_is_stored_twice() {
    const ITEMS: usize = 400;
    let nats = Nats::start().await;
    let probe = |p: Plugin| p.instances(2).work("lab", "*");
    let one = Host::new(&nats).named("one").plugin("probe", probe);
    let mut one = one.run().await;
    let two = Host::new(&nats).named("two").plugin("probe", probe);
    let _two = two.run().await;
    let command = json!({"do": "sequence", "commands": [
        {"do": "sleep", "ms": 10, "how": "wait"}, {"do": "context"},
    ]});
    for number in 0..ITEMS {
        let subject = format!("work.lab.{}.x", ["high", "low"][number % 2]);
        nats.work_as(&format!("i{number}"), &subject, command.to_string())
            .await;
        // In the middle of it, without a word, and back again.
        if number == 150 {
            one.kill();
        }
        if number == 250 {
            one.start();
        }
    }
    until_in(ACK_WAIT, "all of it is done", async || {
        (nats.stream_info("WORK_QUEUE").await.state.messages == 0).then_some(())
    })
    .await;
    let results = nats.stored("RESULTS", "agent.*.resp.*").await;
    let mut ids: Vec<String> = results.iter().map(|r| r.header("X-Request-ID")).collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), ITEMS, "none is lost");
    assert_eq!(
        results.len(),
        ITEMS,
        "an item that ran twice is stored once"
    );
    let again = results
        .iter()
        .filter(|r| r.header("X-Retry-Count") != "0")
        .count();
    assert!(
        again <= 40,
        "{again} had to be tried again: the host held far more than it could start"
    );
    assert!(nats.stored("DLQ", "dlq.>").await.is_empty());
}
