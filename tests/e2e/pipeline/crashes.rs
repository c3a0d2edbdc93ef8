//! A host dies at any moment; every workflow goes on, and what was stored is recognised.

use std::collections::BTreeMap;
use std::time::Duration;

use async_nats::jetstream::message::PublishMessage;

use harness::{Host, Nats, Stored, headers, until_in};

use super::{output_id, put, result_of, stage, stage_doing, stage_is_done};

/// The server delivers an input again after the ack wait, 30 s; the machine may be busy.
const ACK_WAIT: Duration = Duration::from_secs(120);

#[tokio::test]
async fn outputs_that_were_stored_before_the_crash_are_recognised() {
    let nats = Nats::start().await;
    let _host = Host::new(&nats)
        .with(stage("a", "next = [\"b\"]"))
        .with(stage("b", ""))
        .run()
        .await;
    nats.request_json("agent.a-001.cmd.pause", "").await;
    let input = put(&nats, "pipeline.w.01.a", &[], "x").await;
    // What a host leaves that dies after it has stored its output, and before it acknowledged.
    let id = output_id(&nats, input, "next.b").await;
    let publish = PublishMessage::build()
        .payload("first".into())
        .headers(headers(&[("X-Stage", "a")]))
        .message_id(id);
    let stored = nats
        .js
        .send_publish("pipeline.w.02.b", publish)
        .await
        .unwrap();
    stored.await.unwrap();
    result_of(&nats, "w").await;
    nats.request_json("agent.a-001.cmd.resume", "").await;
    for name in ["a", "b"] {
        stage_is_done(&nats, name).await;
    }
    let all = nats.stored("COORDINATION", "pipeline.w.>").await;
    let subjects: Vec<&str> = all.iter().map(|m| m.subject.as_str()).collect();
    assert_eq!(
        subjects,
        ["pipeline.w.01.a", "pipeline.w.02.b", "pipeline.w.complete"]
    );
    assert_eq!(result_of(&nats, "w").await.json()["input"], "first");
}

/// Every input of a stage in a history, and what was made of it.
fn check_history(
    history: &[Stored],
    outputs: &BTreeMap<&str, Vec<&str>>,
    ids: &BTreeMap<String, u64>,
) {
    let mut made: BTreeMap<String, usize> = BTreeMap::new();
    for message in history {
        *made.entry(message.header("Nats-Msg-Id")).or_default() += 1;
    }
    assert!(made.iter().all(|(id, count)| id.is_empty() || *count == 1));
    for (stage, outputs) in outputs {
        let of_stage = |m: &&Stored| m.subject.ends_with(&format!(".{stage}"));
        for input in history.iter().filter(of_stage) {
            for output in outputs {
                let wanted = format!("COORDINATION:{}:", input.sequence);
                let found = ids
                    .iter()
                    .any(|(id, _)| id.starts_with(&wanted) && id.ends_with(&format!(":{output}")));
                assert!(found, "{} has no {output}", input.subject);
            }
        }
    }
}

#[tokio::test]
async fn a_host_killed_in_the_middle_completes_every_workflow_exactly_once() {
    const WORKFLOWS: usize = 100;
    let nats = Nats::start().await;
    let slow = "{ do = \"sequence\", commands = [\
        { do = \"sleep\", ms = 5, how = \"wait\" }, { do = \"stage\" } ] }";
    let host = |name: &str| {
        Host::new(&nats)
            .named(name)
            .with(stage_doing("split", "next = [\"left\", \"right\"]", slow))
            .with(stage_doing("left", "next = [\"both\"]", slow))
            .with(stage_doing("right", "next = [\"both\"]", slow).instances(2))
            .with(stage_doing("both", "join = [\"left\", \"right\"]", slow))
    };
    let mut one = host("one").run().await;
    let _two = host("two").run().await;
    for n in 0..WORKFLOWS {
        put(&nats, &format!("pipeline.w{n}.01.split"), &[], "x").await;
        if n == 40 {
            one.kill();
        }
        if n == 70 {
            one.start();
        }
    }
    until_in(ACK_WAIT, "every workflow is complete", async || {
        let all = nats.stored("COORDINATION", "pipeline.*.complete").await;
        (all.len() >= WORKFLOWS).then_some(())
    })
    .await;
    for name in ["split", "left", "right", "both"] {
        until_in(ACK_WAIT, "everything is acknowledged", async || {
            tokio::time::timeout(Duration::from_secs(5), stage_is_done(&nats, name))
                .await
                .ok()
        })
        .await;
    }

    let history = nats.stored("COORDINATION", ">").await;
    let ids: BTreeMap<String, u64> = history
        .iter()
        .map(|m| (m.header("Nats-Msg-Id"), m.sequence))
        .collect();
    // No input was acknowledged without what was to be made of it.
    let outputs = BTreeMap::from([
        (
            "split",
            vec!["next.left", "next.right", "coord.split.complete"],
        ),
        ("left", vec!["next.both", "coord.left.complete"]),
        ("right", vec!["next.both", "coord.right.complete"]),
    ]);
    check_history(&history, &outputs, &ids);
    let mut complete: BTreeMap<String, usize> = BTreeMap::new();
    for message in &history {
        if message.subject.ends_with(".complete") && message.subject.starts_with("pipeline.") {
            *complete.entry(message.subject.clone()).or_default() += 1;
            let joined = &message.json()[1]["input"];
            assert_eq!(joined.as_object().unwrap().len(), 2, "{joined}");
        }
    }
    assert_eq!(complete.len(), WORKFLOWS, "none is lost");
    assert!(complete.values().all(|count| *count == 1), "{complete:?}");
    assert!(nats.stored("DLQ", "dlq.>").await.is_empty());
    let late = nats.stored("COORDINATION", "coord.*.late").await;
    assert_eq!(late.len(), 0);
    let records = nats.keys("PIPELINES").await;
    assert_eq!(records.len(), WORKFLOWS);
}

#[tokio::test]
async fn the_same_start_twice_is_one_workflow() {
    let nats = Nats::start().await;
    let _host = Host::new(&nats).with(stage("a", "")).run().await;
    let id = [("Nats-Msg-Id", "start-w")];
    let first = put(&nats, "pipeline.w.01.a", &id, "x").await;
    let second = put(&nats, "pipeline.w.01.a", &id, "x").await;
    assert_eq!(first, second);
    result_of(&nats, "w").await;
    stage_is_done(&nats, "a").await;
    let all = nats.stored("COORDINATION", "pipeline.w.complete").await;
    assert_eq!(all.len(), 1);
}
