//! More messages at once than agents can handle: what waits is bounded in bytes, and not in number.

use bytes::Bytes;
use serde_json::Value;

use harness::{Ear, Host, Nats, until};

/// More than any queue on the way ever had room for that counted messages: 65,536. They take less
/// than half of the bytes that may wait.
const BURST: usize = 100_000;

async fn send_burst(nats: &Nats, subject: &'static str) {
    let payload = Bytes::from_static(&[b'x'; 64]);
    for _ in 0..BURST {
        let sent = nats.client.publish(subject, payload.clone());
        sent.await.unwrap();
    }
    nats.answers().await;
}

#[tokio::test]
async fn a_burst_to_agents_that_take_nothing_waits_whole_for_each_of_them() {
    let nats = Nats::start().await;
    let host = Host::new(&nats)
        .plugin("bench", |p| {
            p.instances(2)
                .subscribe("single.count")
                .subscribe_with("batched.count", "batch = 64\nbatch_wait = \"0ms\"")
        })
        .run()
        .await;
    for subject in ["single.count", "batched.count"] {
        for agent in ["bench-001", "bench-002"] {
            nats.request_json(&format!("agent.{agent}.cmd.pause"), "")
                .await;
        }
        send_burst(&nats, subject).await;
        for agent in ["bench-001", "bench-002"] {
            nats.request_json(&format!("agent.{agent}.cmd.resume"), "")
                .await;
        }
        // The question waits for its turn behind all of them.
        let counts = nats.ask_all(subject, "?", 2).await;
        assert_eq!(counts, [BURST, BURST].map(Value::from));
    }
    let dropped = host.logs.find(|line| line.message().contains("dropped"));
    assert!(dropped.is_empty(), "{dropped:?}");
}

#[tokio::test]
async fn a_burst_to_a_queue_group_arrives_whole() {
    let nats = Nats::start().await;
    let _host = Host::new(&nats)
        .plugin("bench", |p| p.subscribe_queue("group.count", "g"))
        .run()
        .await;
    send_burst(&nats, "group.count").await;
    // The question waits for its turn behind all of them.
    assert_eq!(nats.request_json("group.count", "?").await, BURST);
}

/// What agents have counted in all, going by their answers; refusals are none.
fn counted(answers: &Ear) -> usize {
    let answers = answers.all().into_iter();
    let numbers = answers.filter(|answer| {
        let said = answer.headers.as_ref();
        said.is_none_or(|said| said.get("Nats-Service-Error-Code").is_none())
    });
    let numbers = numbers.map(|answer| std::str::from_utf8(&answer.payload).unwrap().to_owned());
    numbers.map(|text| text.parse::<usize>().unwrap()).sum()
}

#[tokio::test]
async fn an_agent_that_takes_nothing_costs_the_others_of_its_plugin_no_message() {
    // Together more bytes than may wait for the agents of a plugin.
    const ROUNDS: usize = 15;
    const EACH: usize = 100;
    let nats = Nats::start().await;
    let host = Host::new(&nats)
        .plugin("bench", |p| p.instances(2).subscribe("single.count"))
        .run()
        .await;
    nats.request_json("agent.bench-001.cmd.pause", "").await;
    let inbox = nats.client.new_inbox();
    let answers = nats.listen(&inbox).await;
    let payload = Bytes::from(vec![b'x'; 64 * 1024]);
    for round in 1..=ROUNDS {
        for _ in 0..EACH {
            let sent = nats.client.publish("single.count", payload.clone());
            sent.await.unwrap();
        }
        let asked = nats
            .client
            .publish_with_reply("single.count", inbox.clone(), "?".into());
        asked.await.unwrap();
        until("the other agent has counted all of them", async || {
            (counted(&answers) == round * EACH).then_some(())
        })
        .await;
    }
    let dropped = host.logs.saying("messages dropped").await;
    assert_eq!(dropped.field("plugin"), "bench");
}
